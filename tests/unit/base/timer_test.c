#include "base/timer.h"

#include <criterion/criterion.h>

#include "base/prng.h"

enum { TIMERS = 200 };

struct record {
    struct timer_heap *heap;
    struct timer timer;
    unsigned runs;
    unsigned ran_as;
    unsigned *clock;
};

static void on_run(void *owner)
{
    struct record *r = owner;
    r->runs++;
    r->ran_as = (*r->clock)++;
}

static void records_init(struct record *records, size_t count, struct timer_heap *heap,
                         timer_fn *fn, unsigned *clock)
{
    for (size_t i = 0; i < count; i++) {
        records[i] = (struct record){ .heap = heap, .clock = clock };
        timer_init(&records[i].timer, fn, &records[i]);
    }
}

/* Against a model: an array that says when each is due. */
Test(timer, a_random_run_agrees_with_an_array)
{
    struct timer_heap h;
    timer_heap_init(&h, TIMERS);
    unsigned clock = 0;
    struct record records[TIMERS];
    records_init(records, TIMERS, &h, on_run, &clock);
    uint64_t due[TIMERS];
    unsigned runs[TIMERS] = { 0 };
    for (size_t i = 0; i < TIMERS; i++)
        due[i] = UINT64_MAX;
    struct prng p = prng_seeded(7);
    for (uint64_t now = 1; now < 5000; now++) {
        for (int n = 0; n < 5; n++) {
            size_t i = (size_t)prng_below(&p, TIMERS);
            if (prng_below(&p, 4) == 0) {
                timer_heap_cancel(&h, &records[i].timer);
                due[i] = UINT64_MAX;
            } else {
                due[i] = now + prng_below(&p, 100);
                cr_assert(timer_heap_set(&h, &records[i].timer, due[i]));
            }
        }
        uint64_t first = UINT64_MAX;
        for (size_t i = 0; i < TIMERS; i++)
            first = due[i] < first ? due[i] : first;
        cr_assert_eq(timer_heap_next_ms(&h), first);
        timer_heap_run(&h, now);
        for (size_t i = 0; i < TIMERS; i++) {
            if (due[i] <= now) {
                runs[i]++;
                due[i] = UINT64_MAX;
            }
            cr_assert_eq(records[i].runs, runs[i], "at %lu", (unsigned long)now);
        }
    }
    timer_heap_done(&h);
}

Test(timer, equal_deadlines_run_in_the_order_they_were_set)
{
    struct timer_heap h;
    timer_heap_init(&h, TIMERS);
    unsigned clock = 0;
    struct record records[TIMERS];
    records_init(records, TIMERS, &h, on_run, &clock);
    for (size_t i = 0; i < TIMERS; i++)
        cr_assert(timer_heap_set(&h, &records[i].timer, 5));
    cr_assert(timer_heap_set(&h, &records[0].timer, 5), "moves behind the others");
    timer_heap_run(&h, 4);
    cr_expect_eq(clock, 0);
    timer_heap_run(&h, 5);
    cr_expect_eq(records[0].ran_as, TIMERS - 1);
    for (size_t i = 1; i < TIMERS; i++)
        cr_assert_eq(records[i].ran_as, i - 1);
    timer_heap_done(&h);
}

static void on_run_again(void *owner)
{
    struct record *r = owner;
    on_run(owner);
    cr_assert(timer_heap_set(r->heap, &r->timer, 0));
}

Test(timer, one_that_sets_itself_to_now_or_earlier_waits_for_the_next_run)
{
    struct timer_heap h;
    timer_heap_init(&h, 10);
    unsigned clock = 0;
    struct record records[4];
    records_init(records, 4, &h, on_run_again, &clock);
    for (uint64_t i = 0; i < 3; i++)
        cr_assert(timer_heap_set(&h, &records[i].timer, 5 + i));
    cr_assert(timer_heap_set(&h, &records[3].timer, 1000));
    for (unsigned run = 1; run <= 5; run++) {
        timer_heap_run(&h, 100);
        for (unsigned i = 0; i < 3; i++)
            cr_assert_eq(records[i].runs, run, "each once a run, none starved");
    }
    cr_expect_eq(records[3].runs, 0);
    cr_expect_leq(timer_heap_next_ms(&h), 100, "and they are due at once");
    timer_heap_done(&h);
}

static void on_run_cancel_next(void *owner)
{
    struct record *r = owner;
    on_run(owner);
    timer_heap_cancel(r->heap, &(r + 1)->timer);
}

Test(timer, one_may_cancel_another_that_is_due)
{
    struct timer_heap h;
    timer_heap_init(&h, 10);
    unsigned clock = 0;
    struct record records[3];
    records_init(records, 3, &h, on_run_cancel_next, &clock);
    for (uint64_t i = 0; i < 2; i++)
        cr_assert(timer_heap_set(&h, &records[i].timer, i));
    timer_heap_run(&h, 9);
    cr_expect_eq(records[0].runs, 1);
    cr_expect_eq(records[1].runs, 0);
    cr_expect_eq(h.count, 0);
    timer_heap_done(&h);
}

Test(timer, refuses_one_more_than_its_cap)
{
    struct timer_heap h;
    timer_heap_init(&h, 2);
    unsigned clock = 0;
    struct record records[3];
    records_init(records, 3, &h, on_run, &clock);
    cr_expect(timer_heap_set(&h, &records[0].timer, 1));
    cr_expect(timer_heap_set(&h, &records[1].timer, 2));
    cr_expect_not(timer_heap_set(&h, &records[2].timer, 3));
    cr_expect(timer_heap_set(&h, &records[0].timer, 9), "moving needs no room");
    timer_heap_cancel(&h, &records[2].timer);
    timer_heap_cancel(&h, &records[1].timer);
    timer_heap_cancel(&h, &records[1].timer);
    cr_expect_eq(timer_heap_next_ms(&h), 9);
    timer_heap_done(&h);
}

Test(timer, an_empty_heap_is_never_due)
{
    struct timer_heap h;
    timer_heap_init(&h, 2);
    cr_expect_eq(timer_heap_next_ms(&h), UINT64_MAX);
    timer_heap_run(&h, UINT64_MAX);
    timer_heap_done(&h);
}
