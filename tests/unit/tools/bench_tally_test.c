#include "tools/bench_tally.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { BEGIN_NS = 1000, MS = 1000000 };

static struct bench_tally tally; /* zeroed in each test's process */

Test(bench_tally, the_longest_gap_counts_from_the_beginning_to_the_end)
{
    bench_tally_begin(&tally, BEGIN_NS);
    bench_tally_success(&tally, BEGIN_NS, BEGIN_NS + 3 * MS);
    cr_assert_eq(tally.gap_ns, 3 * MS);
    bench_tally_success(&tally, BEGIN_NS, BEGIN_NS + 4 * MS);
    cr_assert_eq(tally.gap_from_ns, BEGIN_NS);
    bench_tally_error(&tally, "UNAVAILABLE");
    bench_tally_end(&tally, BEGIN_NS + 14 * MS);
    cr_assert_eq(tally.gap_ns, 10 * MS);
    cr_assert_eq(tally.gap_from_ns, BEGIN_NS + 4 * MS);
}

Test(bench_tally, errors_are_counted_by_kind_up_to_a_number_of_them)
{
    for (int i = 0; i < BENCH_ERROR_KINDS + 5; i++) {
        char text[16];
        snprintf(text, sizeof text, "error %d", i);
        bench_tally_error(&tally, text);
        bench_tally_error(&tally, "error 0");
    }
    cr_assert_eq(tally.error_kinds, BENCH_ERROR_KINDS);
    cr_assert_str_eq(tally.errors[0].text, "error 0");
    cr_assert_eq(tally.errors[0].count, BENCH_ERROR_KINDS + 6);
    cr_assert_str_eq(tally.errors[BENCH_ERROR_KINDS - 1].text, "other");
    cr_assert_eq(tally.errors[BENCH_ERROR_KINDS - 1].count, 6);
    cr_assert_eq(tally.error_count, 2 * (BENCH_ERROR_KINDS + 5));
}

Test(bench_tally, intervals_of_a_tenth_of_a_second)
{
    bench_tally_begin(&tally, BEGIN_NS);
    bench_tally_success(&tally, BEGIN_NS, BEGIN_NS + 99 * MS);
    bench_tally_success(&tally, BEGIN_NS + 90 * MS, BEGIN_NS + 100 * MS);
    bench_tally_success(&tally, BEGIN_NS, BEGIN_NS + UINT64_C(86400000) * MS);
    cr_assert_eq(tally.intervals[0].operations, 1);
    cr_assert_eq(tally.intervals[0].max_ns, 99 * MS);
    cr_assert_eq(tally.intervals[1].operations, 1);
    cr_assert_eq(tally.intervals[1].max_ns, 10 * MS);
    cr_assert_eq(tally.intervals[BENCH_INTERVALS - 1].operations, 1);
}
