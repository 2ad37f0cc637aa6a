/* ctl_rows.h: responses as rows of cells, which the simple and the table format share.
 *
 * Owner:  the rows own their cells; ctl_rows_done frees them.
 * Bounds: by the response. Out of memory ends the program: a table with holes would be a lie.
 */
#ifndef TOOLS_CTL_ROWS_H
#define TOOLS_CTL_ROWS_H

#include "tools/ctl_print.h"

enum { CTL_COLUMN_COUNT_MAX = 10 };

struct ctl_rows {
    const char *const *headings;
    size_t column_count;
    size_t row_count;
    char **cells; /* row_count * column_count, each malloc'd */
};

struct ctl_rows ctl_rows_of_members(const Etcdserverpb__MemberListResponse *r);
struct ctl_rows ctl_rows_of_health(const struct ctl_endpoint_result *results, size_t count);
struct ctl_rows ctl_rows_of_status(const struct ctl_endpoint_result *results, size_t count);
struct ctl_rows ctl_rows_of_hashes(const struct ctl_endpoint_result *results, size_t count);

const char *ctl_rows_cell(const struct ctl_rows *rows, size_t row, size_t column);

void ctl_rows_done(struct ctl_rows *rows);

#endif
