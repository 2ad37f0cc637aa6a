#include "tools/bench_hist.h"

#include <criterion/criterion.h>

static struct bench_hist hist; /* zeroed in each test's process */

Test(bench_hist, empty)
{
    cr_assert_eq(bench_hist_at(&hist, 0.5), 0);
    cr_assert_eq(bench_hist_mean(&hist), 0.0);
}

Test(bench_hist, every_value_is_kept_to_three_digits)
{
    for (uint64_t ns = 1; ns < UINT64_C(100) * 1000000000; ns += ns / 7 + 1) {
        struct bench_hist *h = &hist;
        *h = (struct bench_hist){ 0 };
        bench_hist_add(h, ns);
        bench_hist_add(h, 4 * ns); /* so that the largest value does not stand in */
        uint64_t found = bench_hist_at(h, 0.5);
        cr_assert_geq(found, ns);
        cr_assert_leq(found - ns, ns / 1024, "%llu: %llu", (unsigned long long)ns,
                      (unsigned long long)found);
    }
}

Test(bench_hist, percentiles_of_a_thousand)
{
    static const struct {
        double fraction;
        uint64_t value;
    } rows[] = { { 0, 1 }, { 0.001, 1 }, { 0.5, 500 }, { 0.9, 900 }, { 0.999, 999 }, { 1, 1000 } };
    for (uint64_t i = 1; i <= 1000; i++)
        bench_hist_add(&hist, 1001 - i);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_assert_eq(bench_hist_at(&hist, rows[i].fraction), rows[i].value, "%g", rows[i].fraction);
    cr_assert_eq(hist.min_ns, 1);
    cr_assert_eq(hist.max_ns, 1000);
    cr_assert_eq(bench_hist_mean(&hist), 500.5);
}

Test(bench_hist, what_is_too_long_counts_as_the_longest)
{
    bench_hist_add(&hist, 1);
    bench_hist_add(&hist, UINT64_MAX);
    cr_assert_eq(bench_hist_at(&hist, 0.5), 1);
    cr_assert_eq(bench_hist_at(&hist, 1), UINT64_MAX);
    cr_assert_eq(hist.buckets[BENCH_HIST_BUCKETS - 1], 1);
}
