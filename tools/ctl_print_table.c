#include <string.h>

#include "tools/ctl_print.h"
#include "tools/ctl_rows.h"
#include "tools/ctl_utf8.h"

/* Columns on the screen: code points, near enough for names and addresses. */
static size_t text_width(const char *text)
{
    size_t width = 0;
    for (struct slice rest = slice_of_text(text); rest.size > 0; width++) {
        uint32_t point = 0;
        size_t size = utf8_decode(rest, &point);
        size = size == 0 ? 1 : size;
        rest = slice_of(rest.data + size, rest.size - size);
    }
    return width;
}

static void print_repeated(FILE *file, char c, size_t count)
{
    while (count-- > 0)
        fputc(c, file);
}

static void print_line(FILE *file, const size_t *widths, size_t column_count)
{
    for (size_t column = 0; column < column_count; column++) {
        fputc('+', file);
        print_repeated(file, '-', widths[column] + 2);
    }
    fputs("+\n", file);
}

static void print_cell(FILE *file, const char *text, size_t left, size_t right)
{
    fputs("| ", file);
    print_repeated(file, ' ', left);
    fputs(text, file);
    print_repeated(file, ' ', right + 1);
}

/* Headings in the middle, cells to the right, as etcdctl draws them. */
static void print_rows(FILE *file, struct ctl_rows rows)
{
    size_t widths[CTL_COLUMN_COUNT_MAX] = { 0 };
    for (size_t column = 0; column < rows.column_count; column++) {
        widths[column] = text_width(rows.headings[column]);
        for (size_t row = 0; row < rows.row_count; row++) {
            size_t width = text_width(ctl_rows_cell(&rows, row, column));
            widths[column] = width > widths[column] ? width : widths[column];
        }
    }
    print_line(file, widths, rows.column_count);
    for (size_t column = 0; column < rows.column_count; column++) {
        size_t gap = widths[column] - text_width(rows.headings[column]);
        print_cell(file, rows.headings[column], gap / 2, gap - gap / 2);
    }
    fputs("|\n", file);
    print_line(file, widths, rows.column_count);
    for (size_t row = 0; row < rows.row_count; row++) {
        for (size_t column = 0; column < rows.column_count; column++) {
            const char *text = ctl_rows_cell(&rows, row, column);
            print_cell(file, text, widths[column] - text_width(text), 0);
        }
        fputs("|\n", file);
    }
    print_line(file, widths, rows.column_count);
    ctl_rows_done(&rows);
}

static void print_member_list(const struct ctl_out *out, const Etcdserverpb__MemberListResponse *r)
{
    print_rows(out->file, ctl_rows_of_members(r));
}

static void print_health(const struct ctl_out *out, const struct ctl_endpoint_result *results,
                         size_t count)
{
    print_rows(out->file, ctl_rows_of_health(results, count));
}

static void print_status(const struct ctl_out *out, const struct ctl_endpoint_result *results,
                         size_t count)
{
    print_rows(out->file, ctl_rows_of_status(results, count));
}

static void print_hashkv(const struct ctl_out *out, const struct ctl_endpoint_result *results,
                         size_t count)
{
    print_rows(out->file, ctl_rows_of_hashes(results, count));
}

const struct ctl_printer ctl_printer_table = {
    .name = "table",
    .member_list = print_member_list,
    .endpoint_health = print_health,
    .endpoint_status = print_status,
    .endpoint_hashkv = print_hashkv,
};
