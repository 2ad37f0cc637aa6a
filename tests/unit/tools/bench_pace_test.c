#include "tools/bench_pace.h"

#include <criterion/criterion.h>

enum { BEGIN_NS = 5000000, MS = 1000000 };

static uint64_t take(struct bench_pace *p, uint64_t now_ns)
{
    uint64_t start_ns = 0;
    cr_assert(bench_pace_take(p, now_ns, &start_ns));
    return start_ns;
}

Test(bench_pace, a_closed_loop_starts_whenever_it_is_asked)
{
    struct bench_pace p = { .begin_ns = BEGIN_NS };
    cr_assert_eq(take(&p, BEGIN_NS + 7), BEGIN_NS + 7);
    cr_assert_eq(take(&p, BEGIN_NS + 7), BEGIN_NS + 7);
    cr_assert_eq(bench_pace_late(&p, BEGIN_NS + 100 * MS), 0);
}

Test(bench_pace, an_open_loop_starts_at_even_distances)
{
    struct bench_pace p = { .rate = 1000, .begin_ns = BEGIN_NS };
    uint64_t unused;
    cr_assert_eq(take(&p, BEGIN_NS), BEGIN_NS);
    cr_assert_not(bench_pace_take(&p, BEGIN_NS + MS - 1, &unused));
    cr_assert_eq(bench_pace_next_ns(&p), BEGIN_NS + MS);
    cr_assert_eq(take(&p, BEGIN_NS + MS), BEGIN_NS + MS);
}

/* What could not start in time keeps its start, so that its latency has the wait in it. */
Test(bench_pace, a_standstill_moves_no_start)
{
    struct bench_pace p = { .rate = 1000, .begin_ns = BEGIN_NS };
    uint64_t now_ns = BEGIN_NS + 2 * MS + MS / 2;
    uint64_t unused;
    cr_assert_eq(bench_pace_late(&p, now_ns), 3);
    for (uint64_t i = 0; i < 3; i++)
        cr_assert_eq(take(&p, now_ns), BEGIN_NS + i * MS);
    cr_assert_not(bench_pace_take(&p, now_ns, &unused));
    cr_assert_eq(bench_pace_late(&p, now_ns), 0);
}

Test(bench_pace, a_rate_that_divides_nothing_does_not_drift)
{
    struct bench_pace p = { .rate = 300007, .begin_ns = BEGIN_NS, .taken = 300007ULL * 86400 };
    cr_assert_eq(bench_pace_next_ns(&p), BEGIN_NS + UINT64_C(86400000000000));
}
