/* Timers, clocks, turns, and what an idle loop costs. */
#include <criterion/criterion.h>

#include "tests/support/loop_fixture.h"

enum { TIMERS = 8 };

struct clock_rig;

struct tick {
    struct clock_rig *rig;
    struct timer timer;
    char name;
};

struct clock_rig {
    struct loop *loop;
    struct io *io;
    struct tick ticks[TIMERS];
    char order[32];
    size_t order_size;
    uint64_t last_ms;
    uint64_t stop_at; /* ticks */
};

static void on_tick(void *owner)
{
    struct tick *t = owner;
    struct clock_rig *r = t->rig;
    cr_assert_geq(io_now_ms(r->io), t->timer.deadline_ms, "a timer ran early");
    cr_assert_geq(io_now_ms(r->io), r->last_ms, "the clock went back");
    r->last_ms = io_now_ms(r->io);
    cr_assert_lt(r->order_size, sizeof r->order - 1);
    r->order[r->order_size++] = t->name;
    if (r->order_size == r->stop_at)
        loop_stop(r->loop);
}

static struct clock_rig rig_open(const struct loop_options *options)
{
    struct clock_rig r = { .loop = loop_fixture_open(options), .stop_at = UINT64_MAX };
    r.io = loop_io(r.loop);
    return r;
}

static void rig_start(struct clock_rig *r, timer_fn *fn)
{
    for (size_t i = 0; i < TIMERS; i++) {
        r->ticks[i] = (struct tick){ .rig = r, .name = (char)('a' + i) };
        timer_init(&r->ticks[i].timer, fn, &r->ticks[i]);
    }
}

Test(loop_time, timers_run_in_the_order_of_their_deadlines)
{
    struct clock_rig r = rig_open(NULL);
    rig_start(&r, on_tick);
    static const unsigned after_ms[TIMERS] = { 9, 1, 5, 3, 0, 30, 7, 2 };
    uint64_t now = io_now_ms(r.io);
    for (size_t i = 0; i < TIMERS; i++)
        cr_assert(io_timer_set(r.io, &r.ticks[i].timer, now + after_ms[i]));
    io_timer_cancel(r.io, &r.ticks[2].timer);
    cr_assert(io_timer_set(r.io, &r.ticks[5].timer, now + 6), "sooner");
    cr_assert(io_timer_set(r.io, &r.ticks[1].timer, now + 20), "later");
    r.stop_at = TIMERS - 1;
    loop_fixture_run(r.loop);
    cr_expect_str_eq(r.order, "ehdfgab");
    loop_close(r.loop);
}

static void on_tick_again(void *owner)
{
    struct tick *t = owner;
    on_tick(owner);
    cr_assert(io_timer_set(t->rig->io, &t->timer, io_now_ms(t->rig->io)));
}

Test(loop_time, a_timer_may_set_itself_again_and_shares_each_turn)
{
    struct clock_rig r = rig_open(NULL);
    rig_start(&r, on_tick_again);
    cr_assert(io_timer_set(r.io, &r.ticks[0].timer, 0));
    cr_assert(io_timer_set(r.io, &r.ticks[1].timer, 0));
    r.stop_at = 10;
    loop_fixture_run(r.loop);
    cr_expect_str_eq(r.order, "ababababab");
    cr_expect_geq(loop_counters(r.loop)->turns, 5, "a turn runs each once");
    loop_close(r.loop);
}

static void on_tick_cancel_others(void *owner)
{
    struct tick *t = owner;
    on_tick(owner);
    for (size_t i = 0; i < TIMERS; i++)
        io_timer_cancel(t->rig->io, &t->rig->ticks[i].timer);
    loop_stop(t->rig->loop);
}

Test(loop_time, a_timer_may_cancel_those_due_with_it)
{
    struct clock_rig r = rig_open(NULL);
    rig_start(&r, on_tick_cancel_others);
    for (size_t i = 0; i < TIMERS; i++)
        cr_assert(io_timer_set(r.io, &r.ticks[i].timer, 0));
    loop_fixture_run(r.loop);
    cr_expect_eq(r.order_size, 1);
    loop_fixture_settle(r.loop);
    cr_expect_eq(r.order_size, 1);
    loop_close(r.loop);
}

Test(loop_time, refuses_and_counts_a_timer_past_its_cap)
{
    struct loop_options options = loop_fixture_options();
    options.timer_count_max = TIMERS - 1;
    struct clock_rig r = rig_open(&options);
    rig_start(&r, on_tick);
    for (size_t i = 0; i < TIMERS - 1; i++)
        cr_assert(io_timer_set(r.io, &r.ticks[i].timer, 0));
    cr_assert_not(io_timer_set(r.io, &r.ticks[TIMERS - 1].timer, 0));
    cr_expect_eq(loop_counters(r.loop)->timers_refused, 1);
    io_timer_cancel(r.io, &r.ticks[0].timer);
    cr_assert(io_timer_set(r.io, &r.ticks[TIMERS - 1].timer, 0));
    loop_close(r.loop);
}

Test(loop_time, an_idle_loop_takes_no_turns)
{
    struct clock_rig r = rig_open(NULL);
    rig_start(&r, on_tick);
    r.stop_at = 1;
    cr_assert(io_timer_set(r.io, &r.ticks[0].timer, io_now_ms(r.io) + 300));
    loop_fixture_run(r.loop);
    cr_expect_leq(loop_counters(r.loop)->turns, 2);
    loop_close(r.loop);
}

Test(loop_time, the_clock_stands_still_within_a_turn_and_not_before)
{
    struct loop *l = loop_fixture_open(NULL);
    struct io *io = loop_io(l);
    uint64_t first_ms = io_now_ms(io);
    uint64_t start_us = io->ops->now_us(io);
    while (io->ops->now_us(io) < start_us + 2000)
        ;
    cr_expect_gt(io_now_ms(io), first_ms, "outside of callbacks it is read afresh");
    cr_expect_gt(io->ops->wall_ms(io), UINT64_C(1700000000000));
    loop_close(l);
}

Test(loop_time, random_numbers_differ)
{
    struct loop *l = loop_fixture_open(NULL);
    struct io *io = loop_io(l);
    cr_expect_neq(io->ops->random(io), io->ops->random(io));
    loop_close(l);
}

struct turn_rig {
    struct loop *loop;
    struct timer timer;
    unsigned timers;
    unsigned turn_ends;
};

static void turn_on_timer(void *owner)
{
    struct turn_rig *r = owner;
    cr_assert_eq(r->turn_ends, 1, "turn_end runs before the first wait");
    r->timers++;
    loop_stop(r->loop);
}

static void turn_on_end(void *owner)
{
    struct turn_rig *r = owner;
    r->turn_ends++;
}

Test(loop_time, the_turn_ends_after_its_timers)
{
    struct turn_rig r = { 0 };
    struct loop_options options = loop_fixture_options();
    options.turn_end = turn_on_end;
    options.owner = &r;
    r.loop = loop_fixture_open(&options);
    timer_init(&r.timer, turn_on_timer, &r);
    cr_assert(io_timer_set(loop_io(r.loop), &r.timer, 0));
    loop_fixture_run(r.loop);
    cr_expect_eq(r.timers, 1);
    cr_expect_eq(r.turn_ends, 2);
    loop_close(r.loop);
}
