#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/history.h"
#include "tests/sim/workload.h"
#include "tests/support/etcd_fake.h"
#include "tests/support/loop_fixture.h"
#include "tools/check_judge.h"
#include "tools/check_load.h"

enum { ENDPOINTS = 3, TURN_MS = 2 };

/* A workload against a fake, until it has done so many operations. */
struct run {
    struct loop *loop;
    struct etcd_fake *fake;
    struct workload *workload;
    struct timer timer;
    unsigned closed;
};

static void on_turn_end(void *owner)
{
    struct run *r = owner;
    if (r->fake)
        etcd_fake_flush(r->fake);
}

static void on_closed(void *owner)
{
    struct run *r = owner;
    r->closed++;
    loop_stop(r->loop);
}

static void on_fake_closed(void *owner)
{
    struct run *r = owner;
    r->fake = NULL;
    on_closed(r);
}

static void on_timer(void *owner)
{
    struct run *r = owner;
    struct io *io = loop_io(r->loop);
    const struct workload_counters *c = workload_counters(r->workload);
    if (c->began == workload_history(r->workload)->ops_max && workload_is_drained(r->workload))
        loop_stop(r->loop);
    else
        cr_assert(io_timer_set(io, &r->timer, io_now_ms(io) + TURN_MS));
}

static void run_open(struct run *r, struct etcd_fake_options fake, size_t ops_max)
{
    struct loop_options options = loop_fixture_options();
    *r = (struct run){ 0 };
    options.op_count_max = 1024;
    options.timer_count_max = 1024;
    options.turn_end = on_turn_end;
    options.owner = r;
    r->loop = loop_fixture_open(&options);
    fake.io = loop_io(r->loop);
    r->fake = etcd_fake_open(&fake);
    struct io_addr endpoints[ENDPOINTS];
    for (int i = 0; i < ENDPOINTS; i++)
        endpoints[i] = etcd_fake_listen(r->fake);
    struct workload_options w = workload_options_usual();
    w.io = loop_io(r->loop);
    w.endpoints = endpoints;
    w.endpoint_count = ENDPOINTS;
    w.seed = fake.seed;
    w.think_max_ms = 2;
    w.ops_max = ops_max;
    r->workload = workload_open(&w);
    cr_assert(r->workload);
    timer_init(&r->timer, on_timer, r);
    cr_assert(io_timer_set(w.io, &r->timer, io_now_ms(w.io) + TURN_MS));
    workload_start(r->workload);
}

static void run_close(struct run *r)
{
    workload_close(r->workload, on_closed, r);
    loop_fixture_run(r->loop);
    etcd_fake_close(r->fake, on_fake_closed, r);
    while (r->closed < 2)
        loop_fixture_run(r->loop);
    loop_close(r->loop);
}

static enum check_verdict judge(const struct run *r, struct check_report *report)
{
    struct check_wgl_budget budget = check_wgl_budget_usual();
    return check_judge(workload_history(r->workload), 1, &budget, report);
}

static enum check_verdict judge_written(const struct run *r, struct check_report *report)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    cr_assert(file);
    cr_assert(
        history_write_edn(workload_history(r->workload), workload_classes(r->workload), file));
    fclose(file);
    struct check_calls calls;
    char error[CHECK_LOAD_ERROR_BYTES];
    struct check_wgl_budget budget = check_wgl_budget_usual();
    cr_assert(check_calls_open(&calls));
    cr_assert(check_load(&calls, CHECK_TXN, slice_of(text, size), error), "%s", error);
    enum check_verdict verdict = check_calls_judge(&calls, CHECK_TXN, &budget, report);
    check_calls_close(&calls);
    free(text);
    return verdict;
}

static void expect_valid(const struct run *r)
{
    struct check_report report;
    cr_assert_eq(judge(r, &report), CHECK_VALID, "%s: %s", report.rule, report.text);
    cr_assert_eq(judge_written(r, &report), CHECK_VALID, "%s: %s", report.rule, report.text);
}

Test(workload, sound_store)
{
    struct run r;
    run_open(&r, (struct etcd_fake_options){ .seed = 1 }, 3000);
    loop_fixture_run(r.loop);
    const struct workload_counters *c = workload_counters(r.workload);
    cr_assert_eq(c->began, 3000);
    cr_assert_eq(c->unknown + c->malformed + c->retries, 0);
    cr_assert_gt(c->ok, 2800, "the others ask for what is compacted");
    cr_assert_leq(c->newest_revision, etcd_fake_revision(r.fake));
    expect_valid(&r);
    run_close(&r);
}

Test(workload, store_with_trouble)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct run r;
        run_open(&r,
                 (struct etcd_fake_options){
                     .seed = seed, .refuse_percent = 5, .forget_percent = 2, .hide_percent = 2 },
                 2000);
        loop_fixture_run(r.loop);
        const struct workload_counters *c = workload_counters(r.workload);
        cr_assert_gt(c->unknown, 10);
        cr_assert_gt(c->retries, 10);
        expect_valid(&r);
        run_close(&r);
    }
}

Test(workload, every_bug_is_seen)
{
    for (enum etcd_fake_bug bug = ETCD_FAKE_SOUND + 1; bug < ETCD_FAKE_BUGS; bug++) {
        struct run r;
        struct check_report report;
        run_open(&r, (struct etcd_fake_options){ .seed = 7, .bug = bug }, 2500);
        loop_fixture_run(r.loop);
        cr_assert_gt(etcd_fake_bugs_shown(r.fake), 0, "bug %d", bug);
        cr_assert_eq(judge(&r, &report), CHECK_INVALID, "bug %d", bug);
        run_close(&r);
    }
}

static void on_stop_timer(void *owner)
{
    struct run *r = owner;
    loop_stop(r->loop);
}

/* Closing in the middle of things: all is given back, which the sanitizers see. */
Test(workload, closed_in_flight)
{
    struct run r;
    run_open(&r, (struct etcd_fake_options){ .seed = 3, .refuse_percent = 30 }, 100000);
    struct io *io = loop_io(r.loop);
    io_timer_cancel(io, &r.timer);
    timer_init(&r.timer, on_stop_timer, &r);
    cr_assert(io_timer_set(io, &r.timer, io_now_ms(io) + 40));
    loop_fixture_run(r.loop);
    cr_assert_gt(workload_counters(r.workload)->began, 10);
    run_close(&r);
}

Test(workload, stops_and_goes_on)
{
    struct run r;
    run_open(&r, (struct etcd_fake_options){ .seed = 4 }, 1000);
    workload_stop(r.workload);
    cr_assert(workload_is_drained(r.workload));
    loop_fixture_settle(r.loop);
    cr_assert_eq(workload_counters(r.workload)->began, 0);
    workload_start(r.workload);
    loop_fixture_run(r.loop);
    cr_assert_eq(workload_counters(r.workload)->began, 1000);
    expect_valid(&r);
    run_close(&r);
}

Test(workload, options_out_of_bounds)
{
    struct io_addr endpoint = { 0 };
    struct workload_options good = workload_options_usual(), o;
    good.endpoints = &endpoint;
    good.endpoint_count = 1;
    o = good;
    o.endpoint_count = 0;
    cr_assert_null(workload_open(&o));
    o = good;
    o.process_count = 0;
    cr_assert_null(workload_open(&o));
    o = good;
    o.think_min_ms = o.think_max_ms + 1;
    cr_assert_null(workload_open(&o));
    o = good;
    o.registers = 1;
    cr_assert_null(workload_open(&o));
    o = good;
    o.accounts = 1;
    cr_assert_null(workload_open(&o));
    o = good;
    o.registers = 2000;
    cr_assert_null(workload_open(&o));
}
