#include "rpc/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "base/assert.h"
#include "rpc/loop_internal.h"

#define LOOP_ERROR_TEXT(name, text) [name] = text,
static const char *const error_texts[] = { LOOP_ERRORS(LOOP_ERROR_TEXT) };
#undef LOOP_ERROR_TEXT

const char *loop_strerror(enum loop_err err)
{
    size_t i = (size_t)err;
    return i < sizeof error_texts / sizeof *error_texts ? error_texts[i] : "unknown error";
}

/* ---- time and chance ---- */

static uint64_t clock_us(clockid_t clock)
{
    struct timespec now;
    int rc = clock_gettime(clock, &now);
    ASSERT(rc == 0);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t loop_now_ms(struct io *io)
{
    struct loop *l = loop_of(io);
    if (!l->in_turn)
        l->now_ms = clock_us(CLOCK_MONOTONIC) / 1000;
    return l->now_ms;
}

static uint64_t loop_now_us(struct io *io)
{
    (void)io;
    return clock_us(CLOCK_MONOTONIC);
}

static uint64_t loop_wall_ms(struct io *io)
{
    (void)io;
    return clock_us(CLOCK_REALTIME) / 1000;
}

static uint64_t loop_random(struct io *io)
{
    (void)io;
    uint64_t value;
    ssize_t n;
    do
        n = getrandom(&value, sizeof value, 0);
    while (n < 0 && errno == EINTR);
    ASSERT(n == sizeof value); /* getrandom(2): never short up to 256 bytes */
    return value;
}

static bool loop_timer_set(struct io *io, struct timer *t, uint64_t deadline_ms)
{
    struct loop *l = loop_of(io);
    if (!l->closing && timer_heap_set(&l->timers, t, deadline_ms))
        return true;
    l->counters.timers_refused++;
    return false;
}

static void loop_timer_cancel(struct io *io, struct timer *t)
{
    timer_heap_cancel(&loop_of(io)->timers, t);
}

static const struct io_ops loop_ops = {
    .now_ms = loop_now_ms,
    .now_us = loop_now_us,
    .wall_ms = loop_wall_ms,
    .random = loop_random,
    .timer_set = loop_timer_set,
    .timer_cancel = loop_timer_cancel,
    .listen = loop_listen,
    .accept = loop_accept,
    .connect = loop_connect,
    .recv = loop_recv,
    .send = loop_send,
    .shutdown = loop_shutdown,
    .close = loop_fd_close,
    .file_write = loop_file_write,
    .file_sync = loop_file_sync,
    .file_open = loop_file_open,
    .file_close = loop_fd_close,
    .file_size = loop_file_size,
    .file_read = loop_file_read,
    .file_write_now = loop_file_write_now,
    .file_sync_now = loop_file_sync_now,
    .file_rename = loop_file_rename,
    .file_remove = loop_file_remove,
    .file_lock = loop_file_lock,
    .dir_open = loop_dir_open,
    .dir_sync = loop_dir_sync,
    .offload = loop_jobs_offload,
    .pause = loop_jobs_pause,
    .cancel = loop_op_cancel_ref,
};

/* ---- open ---- */

static bool is_within(uint32_t value, uint32_t min, uint32_t max)
{
    return value >= min && value <= max;
}

/* NULL when all is well, else which option is not. */
static const char *option_out_of_bounds(const struct loop_options *o)
{
    if (!is_within(o->op_count_max, LOOP_OPS_MIN, LOOP_OPS_MAX))
        return "op_count_max";
    if (o->timer_count_max == 0)
        return "timer_count_max";
    if (!is_within(o->recv_buffer_count, 1, LOOP_BUFFERS_MAX) ||
        (o->recv_buffer_count & (o->recv_buffer_count - 1)) != 0)
        return "recv_buffer_count";
    if (!is_within(o->recv_buffer_bytes, LOOP_BUFFER_BYTES_MIN, LOOP_BUFFER_BYTES_MAX))
        return "recv_buffer_bytes";
    for (size_t i = 0; i < IO_LANE_COUNT; i++)
        if (!is_within(o->thread_counts[i], 1, LOOP_THREADS_MAX))
            return "thread_counts";
    return NULL;
}

uint64_t loop_memory_bytes(const struct loop_options *options)
{
    uint64_t rings = loop_ring_sq_entries(options) * sizeof(struct io_uring_sqe) +
                     loop_ring_cq_entries(options) * sizeof(struct io_uring_cqe);
    uint64_t timers = ((uint64_t)options->timer_count_max + options->op_count_max) * sizeof(void *);
    return sizeof(struct loop) + options->op_count_max * sizeof(struct loop_op) + timers + rings +
           loop_buffers_memory_bytes(options);
}

static enum loop_err loop_fill(struct loop *l, char *detail, size_t detail_bytes)
{
    l->ops = calloc(l->options.op_count_max, sizeof *l->ops);
    if (!l->ops)
        return LOOP_E_NOMEM;
    enum loop_err err = loop_ring_open(l, detail, detail_bytes);
    if (err != LOOP_OK)
        return err;
    const char *call = "";
    int rc = loop_jobs_open(l, &call);
    if (rc < 0) {
        snprintf(detail, detail_bytes, "%s: %s", call, strerror(-rc));
        return LOOP_E_SYSTEM;
    }
    return LOOP_OK;
}

enum loop_err loop_open(struct loop **ret_loop, const struct loop_options *options, char *detail,
                        size_t detail_bytes)
{
    snprintf(detail, detail_bytes, "%s", "");
    const char *option = option_out_of_bounds(options);
    if (option) {
        snprintf(detail, detail_bytes, "%s", option);
        return LOOP_E_OPTIONS;
    }
    struct loop *l = calloc(1, sizeof *l);
    if (!l)
        return LOOP_E_NOMEM;
    l->io.ops = &loop_ops;
    l->options = *options;
    list_init(&l->waiting);
    list_init(&l->cancels);
    timer_heap_init(&l->timers, options->timer_count_max);
    timer_heap_init(&l->rests, options->op_count_max);
    enum loop_err err = loop_fill(l, detail, detail_bytes);
    if (err != LOOP_OK) {
        loop_close(l);
        return err;
    }
    *ret_loop = l;
    return LOOP_OK;
}

struct io *loop_io(struct loop *l)
{
    return &l->io;
}

const struct loop_counters *loop_counters(const struct loop *l)
{
    return &l->counters;
}

int loop_watch(struct loop *l, int fd, void (*fn)(void *owner), void *owner)
{
    struct loop_op *op;
    int err = loop_op_take(l, LOOP_OP_WATCH, fd, owner, &op);
    if (err < 0)
        return err;
    op->fn.watch = fn;
    return loop_op_begin(l, op, NULL);
}

/* ---- turns ---- */

/* NULL: as long as it takes. The clock is read afresh: a turn may have lasted. */
static struct __kernel_timespec *timeout_until_due(struct loop *l, struct __kernel_timespec *ts)
{
    uint64_t due_ms = l->closing ? UINT64_MAX : timer_heap_next_ms(&l->timers);
    uint64_t rest_ms = timer_heap_next_ms(&l->rests);
    if (rest_ms < due_ms)
        due_ms = rest_ms;
    if (l->stopping || !list_is_empty(&l->waiting) || !list_is_empty(&l->cancels))
        due_ms = 0;
    if (due_ms == UINT64_MAX)
        return NULL;
    uint64_t now_us = clock_us(CLOCK_MONOTONIC);
    uint64_t wait_us = due_ms <= now_us / 1000 ? 0 : UINT64_MAX;
    if (wait_us > 0 && due_ms < UINT64_MAX / 1000)
        wait_us = due_ms * 1000 - now_us;
    ts->tv_sec = (int64_t)(wait_us / 1000000);
    ts->tv_nsec = (int64_t)(wait_us % 1000000) * 1000;
    return ts;
}

/* Submits what gathered and waits for a completion or a timer, in one system call. */
static enum loop_err turn_wait(struct loop *l)
{
    struct __kernel_timespec ts;
    struct __kernel_timespec *timeout = timeout_until_due(l, &ts);
    struct io_uring_cqe *cqe;
    int rc = io_uring_submit_and_wait_timeout(&l->ring, &cqe, 1, timeout, NULL);
    /* EAGAIN and EBUSY: the kernel wants completions taken before it takes requests. */
    bool is_passing = rc >= 0 || rc == -ETIME || loop_is_transient(rc) || rc == -EBUSY;
    return is_passing ? LOOP_OK : LOOP_E_SYSTEM;
}

/* Only what is there at the start: completions that callbacks cause wait for the next turn, so
 * that timers and turn_end get theirs. Each entry is freed before its callback runs, which may
 * submit and so need the room. */
static void turn_complete(struct loop *l)
{
    for (uint32_t left = io_uring_cq_ready(&l->ring); left > 0; left--) {
        struct io_uring_cqe *next;
        if (io_uring_peek_cqe(&l->ring, &next) != 0)
            break;
        struct io_uring_cqe cqe = *next;
        io_uring_cq_advance(&l->ring, 1);
        l->counters.completions++;
        loop_op_on_cqe(l, &cqe);
    }
}

static enum loop_err turn(struct loop *l)
{
    enum loop_err err = turn_wait(l);
    if (err != LOOP_OK)
        return err;
    l->counters.turns++;
    l->now_ms = clock_us(CLOCK_MONOTONIC) / 1000;
    l->in_turn = true;
    turn_complete(l);
    timer_heap_run(&l->rests, l->now_ms);
    if (!l->closing)
        timer_heap_run(&l->timers, l->now_ms);
    loop_op_resume(l); /* before turn_end: what it finishes calls owners too */
    if (!l->closing && l->options.turn_end)
        l->options.turn_end(l->options.owner);
    l->in_turn = false;
    return LOOP_OK;
}

enum loop_err loop_run(struct loop *l)
{
    enum loop_err err = LOOP_OK;
    if (l->options.turn_end)
        l->options.turn_end(l->options.owner);
    do
        err = turn(l);
    while (err == LOOP_OK && !l->stopping);
    l->stopping = false;
    return err;
}

void loop_stop(struct loop *l)
{
    l->stopping = true;
}

/* ---- close ---- */

static void cancel_all(struct loop *l, bool also_wake)
{
    for (uint32_t slot = 0; slot < l->ops_touched; slot++) {
        struct loop_op *op = &l->ops[slot];
        if (op->kind != LOOP_OP_FREE && (also_wake || op->kind != LOOP_OP_WAKE))
            loop_op_cancel(l, op);
    }
}

/* Finished jobs come through the wake operation, so that one goes last. */
static void loop_drain(struct loop *l)
{
    enum loop_err err = LOOP_OK;
    cancel_all(l, false);
    loop_op_resume(l);
    while (err == LOOP_OK && (l->ops_live > 1 || l->jobs.unfinished > 0))
        err = turn(l);
    cancel_all(l, true);
    loop_op_resume(l);
    while (err == LOOP_OK && l->ops_live > 0)
        err = turn(l);
}

void loop_close(struct loop *l)
{
    if (!l)
        return;
    l->closing = true;
    if (l->ops_live > 0)
        loop_drain(l);
    loop_jobs_close(l);
    if (l->ring_is_open)
        io_uring_queue_exit(&l->ring);
    loop_buffers_close(l);
    timer_heap_done(&l->timers);
    timer_heap_done(&l->rests);
    free(l->ops);
    free(l);
}
