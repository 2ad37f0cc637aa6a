#include <criterion/criterion.h>

#include "storage/store_pace.h"

struct resting_io {
    struct io io;
    uint64_t rests;
};

static void rest(struct io *io, uint32_t us)
{
    cr_assert_gt(us, 0);
    ((struct resting_io *)io)->rests++;
}

static const struct io_ops resting_ops = { .pause = rest };

static uint64_t rests_of(struct store_pace *p, uint64_t rows)
{
    struct resting_io io = { .io = { .ops = &resting_ops } };
    for (uint64_t i = 0; i < rows; i++)
        store_pace_row(p, &io.io);
    return io.rests;
}

static bool rests_at_a_step(struct store_pace *p)
{
    struct resting_io io = { .io = { .ops = &resting_ops } };
    store_pace_rest(p, &io.io);
    return io.rests > 0;
}

static void demand_set(struct store_pace *p, uint32_t permille)
{
    atomic_store(&p->demand, permille);
}

Test(store_pace, a_flush_that_nobody_hurries_rests_again_and_again)
{
    struct store_pace p = { 0 };
    store_pace_begin(&p, 64000);
    cr_assert_eq(rests_of(&p, 64000), 1000);
}

Test(store_pace, one_that_is_hurried_never_rests)
{
    struct store_pace p = { 0 };
    demand_set(&p, STORE_PACE_HURRY);
    store_pace_begin(&p, 64000);
    cr_assert_eq(rests_of(&p, 64000), 0);
}

Test(store_pace, it_rests_while_it_is_ahead_of_what_fills)
{
    struct store_pace p = { 0 };
    store_pace_begin(&p, 6400);
    demand_set(&p, 400);
    cr_assert_eq(rests_of(&p, 3200), 0, "a half is done when a half of the time is gone");
    cr_assert_eq(rests_of(&p, 640), 10);
    demand_set(&p, 600);
    cr_assert_eq(rests_of(&p, 640), 0);
    demand_set(&p, 800);
    cr_assert_eq(rests_of(&p, 1920), 0);
}

Test(store_pace, what_is_no_flush_of_a_memtable_does_not_rest)
{
    struct store_pace p = { 0 };
    cr_assert_eq(rests_of(&p, 1000), 0);
    cr_assert_not(rests_at_a_step(&p), "a snapshot's rows, on their way to the disk");
    store_pace_begin(&p, 1000);
    cr_assert_gt(rests_of(&p, 500), 0);
    cr_assert(rests_at_a_step(&p));
    store_pace_end(&p);
    cr_assert_eq(rests_of(&p, 1000), 0);
}

/* What the loop paces proposals by. */
Test(store_pace, says_how_much_is_done)
{
    struct store_pace p = { .demand = STORE_PACE_HURRY };
    store_pace_begin(&p, 640);
    rests_of(&p, 160);
    cr_assert_eq(atomic_load(&p.done), 200, "as of the 128th");
    rests_of(&p, 480);
    cr_assert_eq(atomic_load(&p.done), 1000);
    store_pace_end(&p);
    atomic_store(&p.done, 0);
    store_pace_begin(&p, 0);
    cr_assert_eq(atomic_load(&p.done), 1000, "there are no rows to wait for");
}
