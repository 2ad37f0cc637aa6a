#include <criterion/criterion.h>

#include "server/retention.h"

Test(retention, by_entries)
{
    static const struct {
        uint64_t applied, floor;
    } rows[] = { { 0, 1 }, { 99, 1 }, { 100, 1 }, { 101, 2 }, { 1000, 901 } };
    struct retention r;
    retention_init(&r, 100, UINT64_MAX);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_assert_eq(retention_floor(&r, rows[i].applied), rows[i].floor, "%zu", i);
}

Test(retention, by_bytes_of_whole_flushes)
{
    struct retention r;
    retention_init(&r, 1000000, 250);
    cr_assert_eq(retention_floor(&r, 5), 1, "what was flushed before this start is not weighed");
    retention_on_flush(&r, 10, 100);
    retention_on_flush(&r, 20, 100);
    retention_on_flush(&r, 30, 100);
    cr_assert_eq(retention_floor(&r, 30), 1, "200 bytes behind the first");
    retention_on_flush(&r, 40, 100);
    cr_assert_eq(retention_floor(&r, 40), 11);
    retention_on_flush(&r, 45, 50);
    cr_assert_eq(retention_floor(&r, 45), 11, "exactly as many bytes as are kept");
    retention_on_flush(&r, 46, 1000);
    cr_assert_eq(retention_floor(&r, 46), 46);
    retention_reset(&r);
    cr_assert_eq(retention_floor(&r, 46), 1);
}

Test(retention, the_oldest_flushes_are_forgotten)
{
    struct retention r;
    retention_init(&r, 1000000, 10 * RETENTION_MARKS_MAX);
    for (uint64_t i = 1; i <= 2 * RETENTION_MARKS_MAX; i++)
        retention_on_flush(&r, i, 100);
    uint64_t floor = retention_floor(&r, 2 * RETENTION_MARKS_MAX);
    cr_assert_eq(r.mark_count, RETENTION_MARKS_MAX);
    cr_assert_eq(floor, 2 * RETENTION_MARKS_MAX - RETENTION_MARKS_MAX / 10);
}
