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

/* Rows of a hundred units: two of them from one rest to the next. */
enum { ROW = 100 };

static uint64_t rests_of(struct store_pace *p, uint64_t rows)
{
    struct resting_io io = { .io = { .ops = &resting_ops } };
    for (uint64_t i = 0; i < rows; i++)
        store_pace_work(p, &io.io, ROW);
    return io.rests;
}

static uint64_t rests_of_steps(struct store_pace *p, uint64_t steps)
{
    struct resting_io io = { .io = { .ops = &resting_ops } };
    for (uint64_t i = 0; i < steps; i++)
        store_pace_step(p, &io.io);
    return io.rests;
}

static void demand_set(struct store_pace *p, uint32_t permille)
{
    atomic_store(&p->demand, permille);
}

Test(store_pace, a_flush_that_nobody_hurries_rests_again_and_again)
{
    struct store_pace p = { 0 };
    store_pace_begin(&p, 2000 * ROW);
    cr_assert_eq(rests_of(&p, 2000), 1000);
}

Test(store_pace, one_that_is_hurried_never_rests)
{
    struct store_pace p = { 0 };
    demand_set(&p, STORE_PACE_HURRY);
    store_pace_begin(&p, 2000 * ROW);
    cr_assert_eq(rests_of(&p, 2000), 0);
}

Test(store_pace, it_rests_while_it_is_ahead_of_what_fills)
{
    struct store_pace p = { 0 };
    store_pace_begin(&p, 200 * ROW);
    demand_set(&p, 400);
    cr_assert_eq(rests_of(&p, 100), 0, "a half is done when a half of the time is gone");
    cr_assert_eq(rests_of(&p, 20), 10);
    demand_set(&p, 600);
    cr_assert_eq(rests_of(&p, 20), 0);
    demand_set(&p, 800);
    cr_assert_eq(rests_of(&p, 60), 0);
}

Test(store_pace, what_is_no_flush_of_a_memtable_does_not_rest)
{
    struct store_pace p = { 0 };
    cr_assert_eq(rests_of(&p, 1000), 0);
    cr_assert_eq(rests_of_steps(&p, 10), 0, "a snapshot's rows, on their way to the disk");
    store_pace_begin(&p, 1000 * ROW);
    cr_assert_gt(rests_of(&p, 500), 0);
    cr_assert_eq(rests_of_steps(&p, 10), 10);
    store_pace_end(&p);
    cr_assert_eq(rests_of(&p, 1000), 0);
}

/* Or the steps would come in a burst, when by the rows all seems to be done. */
Test(store_pace, as_many_steps_are_expected_as_in_the_flush_before)
{
    enum { ROWS = 80, STEPS = 10 }; /* half of the work each */
    struct store_pace p = { .demand = STORE_PACE_HURRY };
    store_pace_begin(&p, (uint64_t)ROWS * ROW);
    cr_assert_eq(rests_of(&p, ROWS), 0);
    cr_assert_eq(rests_of_steps(&p, STEPS), 0, "hurried, though it does more than was expected");
    cr_assert_eq(atomic_load(&p.done), 1000, "more was done than expected");
    store_pace_end(&p);
    store_pace_begin(&p, (uint64_t)ROWS * ROW);
    rests_of(&p, ROWS);
    cr_assert_eq(atomic_load(&p.done), 500);
    demand_set(&p, 480);
    cr_assert_eq(rests_of_steps(&p, 2), 0, "as far as it should be");
    demand_set(&p, 400);
    cr_assert_eq(rests_of_steps(&p, STEPS - 2), STEPS - 2);
    cr_assert_eq(atomic_load(&p.done), 1000);
}

/* What the loop paces proposals by. */
Test(store_pace, says_how_much_is_done)
{
    struct store_pace p = { .demand = STORE_PACE_HURRY };
    store_pace_begin(&p, 20 * ROW);
    rests_of(&p, 5);
    cr_assert_eq(atomic_load(&p.done), 200, "as of the fourth");
    rests_of(&p, 15);
    cr_assert_eq(atomic_load(&p.done), 1000);
    store_pace_end(&p);
    atomic_store(&p.done, 0);
    store_pace_begin(&p, 0);
    cr_assert_eq(atomic_load(&p.done), 1000, "there are no rows to wait for");
}
