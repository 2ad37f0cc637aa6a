#include "tools/ctl_rows.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tools/ctl_text.h"

static const char *const member_headings[] = { "ID",         "STATUS",       "NAME",
                                               "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER" };
static const char *const health_headings[] = { "ENDPOINT", "HEALTH", "TOOK", "ERROR" };
static const char *const status_headings[] = { "ENDPOINT",  "ID",         "VERSION",
                                               "DB SIZE",   "IS LEADER",  "IS LEARNER",
                                               "RAFT TERM", "RAFT INDEX", "RAFT APPLIED INDEX",
                                               "ERRORS" };
static const char *const hash_headings[] = { "ENDPOINT", "HASH" };

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static _Noreturn void out_of_memory(void)
{
    fputs("Error: out of memory\n", stderr);
    exit(1);
}

static struct ctl_rows rows_make(const char *const *headings, size_t columns, size_t rows)
{
    ASSERT(columns <= CTL_COLUMN_COUNT_MAX);
    struct ctl_rows made = { .headings = headings, .column_count = columns, .row_count = rows };
    made.cells = calloc(rows * columns + 1, sizeof *made.cells);
    if (made.cells == NULL)
        out_of_memory();
    return made;
}

static void cell_set(struct ctl_rows *rows, size_t row, size_t column, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void cell_set(struct ctl_rows *rows, size_t row, size_t column, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&rows->cells[row * rows->column_count + column], format, arguments) < 0)
        out_of_memory();
    va_end(arguments);
}

/* Strings joined by a separator. */
static void cell_join(struct ctl_rows *rows, size_t row, size_t column, char *const *parts,
                      size_t count, const char *separator)
{
    size_t size = 0;
    FILE *out = open_memstream(&rows->cells[row * rows->column_count + column], &size);
    if (out == NULL)
        out_of_memory();
    for (size_t i = 0; i < count; i++)
        fprintf(out, "%s%s", i == 0 ? "" : separator, parts[i]);
    if (fclose(out) != 0)
        out_of_memory();
}

static const char *bool_text(bool value)
{
    return value ? "true" : "false";
}

struct ctl_rows ctl_rows_of_members(const Etcdserverpb__MemberListResponse *r)
{
    struct ctl_rows rows = rows_make(member_headings, COUNT(member_headings), r->n_members);
    for (size_t i = 0; i < r->n_members; i++) {
        const Etcdserverpb__Member *m = r->members[i];
        cell_set(&rows, i, 0, "%" PRIx64, m->id);
        cell_set(&rows, i, 1, "%s", m->name[0] == '\0' ? "unstarted" : "started");
        cell_set(&rows, i, 2, "%s", m->name);
        cell_join(&rows, i, 3, m->peerurls, m->n_peerurls, ",");
        cell_join(&rows, i, 4, m->clienturls, m->n_clienturls, ",");
        cell_set(&rows, i, 5, "%s", bool_text(m->islearner));
    }
    return rows;
}

struct ctl_rows ctl_rows_of_health(const struct ctl_endpoint_result *results, size_t count)
{
    struct ctl_rows rows = rows_make(health_headings, COUNT(health_headings), count);
    for (size_t i = 0; i < count; i++) {
        char took[TEXT_DURATION_BYTES_MAX];
        text_format_duration(took, results[i].took_ns);
        cell_set(&rows, i, 0, "%s", results[i].endpoint);
        cell_set(&rows, i, 1, "%s", bool_text(results[i].error[0] == '\0'));
        cell_set(&rows, i, 2, "%s", took);
        cell_set(&rows, i, 3, "%s", results[i].error);
    }
    return rows;
}

struct ctl_rows ctl_rows_of_status(const struct ctl_endpoint_result *results, size_t count)
{
    struct ctl_rows rows = rows_make(status_headings, COUNT(status_headings), count);
    for (size_t i = 0; i < count; i++) {
        const Etcdserverpb__StatusResponse *s =
            (const Etcdserverpb__StatusResponse *)results[i].response;
        uint64_t member_id = s->header == NULL ? 0 : s->header->member_id;
        char size[TEXT_SIZE_BYTES_MAX];
        text_format_bytes(size, (uint64_t)s->dbsize);
        cell_set(&rows, i, 0, "%s", results[i].endpoint);
        cell_set(&rows, i, 1, "%" PRIx64, member_id);
        cell_set(&rows, i, 2, "%s", s->version);
        cell_set(&rows, i, 3, "%s", size);
        cell_set(&rows, i, 4, "%s", bool_text(s->leader == member_id));
        cell_set(&rows, i, 5, "%s", bool_text(s->islearner));
        cell_set(&rows, i, 6, "%" PRIu64, s->raftterm);
        cell_set(&rows, i, 7, "%" PRIu64, s->raftindex);
        cell_set(&rows, i, 8, "%" PRIu64, s->raftappliedindex);
        cell_join(&rows, i, 9, s->errors, s->n_errors, ", ");
    }
    return rows;
}

struct ctl_rows ctl_rows_of_hashes(const struct ctl_endpoint_result *results, size_t count)
{
    struct ctl_rows rows = rows_make(hash_headings, COUNT(hash_headings), count);
    for (size_t i = 0; i < count; i++) {
        const Etcdserverpb__HashKVResponse *h =
            (const Etcdserverpb__HashKVResponse *)results[i].response;
        cell_set(&rows, i, 0, "%s", results[i].endpoint);
        cell_set(&rows, i, 1, "%" PRIu32, h->hash);
    }
    return rows;
}

const char *ctl_rows_cell(const struct ctl_rows *rows, size_t row, size_t column)
{
    ASSERT(row < rows->row_count);
    ASSERT(column < rows->column_count);
    return rows->cells[row * rows->column_count + column];
}

void ctl_rows_done(struct ctl_rows *rows)
{
    for (size_t i = 0; i < rows->row_count * rows->column_count; i++)
        free(rows->cells[i]);
    free(rows->cells);
    *rows = (struct ctl_rows){ 0 };
}
