/* Jobs on other threads, and descriptors watched by the loop. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "tests/support/loop_fixture.h"

enum { JOBS = 500 };

struct bench;

struct task {
    struct bench *bench;
    struct io_job job;
    unsigned number;
    unsigned ran_as;
    bool ran_elsewhere;
};

struct bench {
    struct loop *loop;
    pthread_t loop_thread;
    struct task tasks[JOBS];
    atomic_uint started;
    unsigned done;
    unsigned again; /* offload from done so many times */
    bool done_on_loop;
};

static void task_run(struct io_job *job)
{
    struct task *t = LIST_ENTRY(job, struct task, job);
    t->ran_as = atomic_fetch_add(&t->bench->started, 1);
    t->ran_elsewhere = !pthread_equal(pthread_self(), t->bench->loop_thread);
}

static void task_done(struct io_job *job)
{
    struct task *t = LIST_ENTRY(job, struct task, job);
    struct bench *b = t->bench;
    b->done_on_loop = b->done_on_loop && pthread_equal(pthread_self(), b->loop_thread);
    b->done++;
    if (b->again > 0) {
        b->again--;
        io_offload(loop_io(b->loop), job);
    } else if (b->done == JOBS) {
        loop_stop(b->loop);
    }
}

static struct bench *bench_open(uint32_t thread_count)
{
    struct loop_options options = loop_fixture_options();
    options.thread_counts[IO_LANE_WORK] = thread_count;
    struct bench *b = calloc(1, sizeof *b);
    cr_assert(b);
    b->loop = loop_fixture_open(&options);
    b->loop_thread = pthread_self();
    b->done_on_loop = true;
    for (unsigned i = 0; i < JOBS; i++) {
        b->tasks[i] = (struct task){ .bench = b, .number = i };
        b->tasks[i].job = (struct io_job){ .run = task_run, .done = task_done };
    }
    return b;
}

Test(loop_jobs, run_elsewhere_in_order_and_are_done_on_the_loop, .timeout = 60)
{
    struct bench *b = bench_open(1);
    for (unsigned i = 0; i < JOBS; i++)
        io_offload(loop_io(b->loop), &b->tasks[i].job);
    cr_expect_eq(b->done, 0, "never inside the call");
    loop_fixture_run(b->loop);
    cr_expect_eq(b->done, JOBS);
    cr_expect(b->done_on_loop);
    for (unsigned i = 0; i < JOBS; i++) {
        cr_assert_eq(b->tasks[i].ran_as, i, "one thread takes them in order");
        cr_assert(b->tasks[i].ran_elsewhere);
    }
    cr_expect_eq(loop_counters(b->loop)->jobs_started, JOBS);
    loop_close(b->loop);
    free(b);
}

Test(loop_jobs, several_threads_finish_all, .timeout = 60)
{
    struct bench *b = bench_open(8);
    for (unsigned i = 0; i < JOBS; i++)
        io_offload(loop_io(b->loop), &b->tasks[i].job);
    loop_fixture_run(b->loop);
    cr_expect_eq(b->done, JOBS);
    cr_expect(b->done_on_loop);
    loop_close(b->loop);
    free(b);
}

static atomic_bool read_ran;

static void wait_for_read(struct io_job *job)
{
    while (!atomic_load(&read_ran))
        sched_yield();
    task_run(job);
}

static void read_run(struct io_job *job)
{
    atomic_store(&read_ran, true);
    task_run(job);
}

/* Every thread of one lane is busy until a job of the other has run. */
Test(loop_jobs, lanes_do_not_wait_for_each_other, .timeout = 60)
{
    struct bench *b = bench_open(2);
    for (unsigned i = 0; i < JOBS; i++) {
        b->tasks[i].job.run = wait_for_read;
        if (i == JOBS - 1) {
            b->tasks[i].job.run = read_run;
            b->tasks[i].job.lane = IO_LANE_READ;
        }
        io_offload(loop_io(b->loop), &b->tasks[i].job);
    }
    loop_fixture_run(b->loop);
    cr_expect_eq(b->done, JOBS);
    loop_close(b->loop);
    free(b);
}

/* A wake-up lost between two jobs would leave this waiting for ever. */
Test(loop_jobs, a_job_may_be_offloaded_again_from_its_end, .timeout = 60)
{
    struct bench *b = bench_open(2);
    b->again = JOBS - 1;
    io_offload(loop_io(b->loop), &b->tasks[0].job);
    loop_fixture_run(b->loop);
    cr_expect_eq(b->done, JOBS);
    loop_close(b->loop);
    free(b);
}

Test(loop_jobs, close_waits_for_those_that_are_queued, .timeout = 60)
{
    struct bench *b = bench_open(2);
    b->again = 3;
    for (unsigned i = 0; i < JOBS; i++)
        io_offload(loop_io(b->loop), &b->tasks[i].job);
    loop_close(b->loop);
    cr_expect_eq(b->done, JOBS + 3);
    cr_expect(b->done_on_loop);
    free(b);
}

static void mask_run(struct io_job *job)
{
    struct task *t = LIST_ENTRY(job, struct task, job);
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    t->ran_as = (unsigned)sigismember(&mask, SIGTERM);
}

Test(loop_jobs, their_threads_leave_signals_to_the_loop, .timeout = 60)
{
    struct bench *b = bench_open(1);
    struct task *t = &b->tasks[0];
    t->job.run = mask_run;
    b->done = JOBS - 1;
    io_offload(loop_io(b->loop), &t->job);
    loop_fixture_run(b->loop);
    cr_expect_eq(t->ran_as, 1);
    loop_close(b->loop);
    free(b);
}

/* ---- watched descriptors ---- */

struct watch {
    struct loop *loop;
    int fd;
    uint64_t sum;
    unsigned calls;
    uint64_t stop_at;
};

static void watch_on_event(void *owner)
{
    struct watch *w = owner;
    uint64_t count = 0;
    w->calls++;
    if (read(w->fd, &count, sizeof count) == sizeof count)
        w->sum += count;
    if (w->sum >= w->stop_at)
        loop_stop(w->loop);
}

static void event_run(struct io_job *job)
{
    struct task *t = LIST_ENTRY(job, struct task, job);
    uint64_t one = 1;
    cr_assert_eq(write((int)t->number, &one, sizeof one), sizeof one);
}

Test(loop_watch, every_event_is_seen, .timeout = 60)
{
    struct bench *b = bench_open(4);
    struct watch w = { .loop = b->loop, .stop_at = JOBS };
    w.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    cr_assert_eq(loop_watch(b->loop, w.fd, watch_on_event, &w), 0);
    b->done = JOBS; /* only the watch stops the loop */
    for (unsigned i = 0; i < JOBS; i++) {
        b->tasks[i].number = (unsigned)w.fd;
        b->tasks[i].job.run = event_run;
        io_offload(loop_io(b->loop), &b->tasks[i].job);
    }
    loop_fixture_run(b->loop);
    cr_expect_eq(w.sum, JOBS);
    loop_fixture_settle(b->loop);
    unsigned calls = w.calls;
    loop_fixture_settle(b->loop);
    cr_expect_eq(w.calls, calls, "silent when nothing happens");
    loop_close(b->loop);
    close(w.fd);
    free(b);
}

static void watch_on_signal(void *owner)
{
    struct watch *w = owner;
    struct signalfd_siginfo info;
    cr_assert_eq(read(w->fd, &info, sizeof info), sizeof info);
    w->sum = info.ssi_signo;
    loop_stop(w->loop);
}

Test(loop_watch, a_signal_arrives_as_an_event)
{
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    cr_assert_eq(pthread_sigmask(SIG_BLOCK, &mask, NULL), 0);
    struct watch w = { .loop = loop_fixture_open(NULL) };
    w.fd = signalfd(-1, &mask, SFD_CLOEXEC);
    cr_assert_eq(loop_watch(w.loop, w.fd, watch_on_signal, &w), 0);
    for (int again = 0; again < 3; again++) {
        w.sum = 0;
        cr_assert_eq(kill(getpid(), SIGTERM), 0);
        loop_fixture_run(w.loop);
        cr_expect_eq(w.sum, SIGTERM);
    }
    loop_close(w.loop);
    close(w.fd);
}
