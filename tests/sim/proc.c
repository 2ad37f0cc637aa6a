#include "tests/sim/proc.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tests/sim/check.h"
#include "tests/sim/host.h"

enum {
    CALLBACK_US = 2,
    TURN_US = 2,
    SEND_US = 3,
    FILE_US = 4,
    CLOCK_US = 20, /* between two looks at the clock something was done: 16 entries applied */
    JOB_RUN_MIN_US = 20,
    JOB_RUN_MAX_US = 200,
    JOB_DONE_MIN_US = 50,
    JOB_DONE_MAX_US = 2000,
    DRAIN_TURNS_MAX = 100000,
};

static struct sim_proc *current;

struct sim_proc *sim_proc_current(void)
{
    return current;
}

struct sim_proc *sim_proc_enter(struct sim_proc *p)
{
    struct sim_proc *before = current;
    current = p;
    return before;
}

static struct sim_proc *proc_of(struct io *io)
{
    return (struct sim_proc *)(void *)io;
}

/* ---- time ---- */

uint64_t sim_proc_now_us(const struct sim_proc *p)
{
    return (p->in_turn ? p->turn_us + p->cost_us : p->sim->now_us) + p->drain_us;
}

/* The host's clocks run a little fast or slow. */
static uint64_t local_us(const struct sim_proc *p, uint64_t us)
{
    return us + (uint64_t)((int64_t)(us / 1000) * p->host->clock_drift_ppm / 1000);
}

/* The world's moment at which the local clock shows so many ms. */
static uint64_t world_us_of(const struct sim_proc *p, uint64_t deadline_ms)
{
    if (deadline_ms >= UINT64_MAX / 4000)
        return UINT64_MAX;
    uint64_t us = deadline_ms * 1000;
    int64_t drift = p->host->clock_drift_ppm;
    us = (uint64_t)((int64_t)us - (int64_t)(us / 1000) * drift / 1000);
    while (local_us(p, us) < deadline_ms * 1000)
        us++;
    return us;
}

static uint64_t proc_now_ms(struct io *io)
{
    struct sim_proc *p = proc_of(io);
    return p->in_turn ? p->now_ms : local_us(p, sim_proc_now_us(p)) / 1000;
}

static uint64_t proc_now_us(struct io *io)
{
    struct sim_proc *p = proc_of(io);
    p->cost_us += CLOCK_US;
    return local_us(p, sim_proc_now_us(p));
}

/* Time zero is a day in 2026. */
static uint64_t proc_wall_ms(struct io *io)
{
    struct sim_proc *p = proc_of(io);
    uint64_t start_ms = 1780000000000;
    return (uint64_t)((int64_t)(start_ms + local_us(p, sim_proc_now_us(p)) / 1000) +
                      p->host->clock_offset_ms);
}

static uint64_t proc_random(struct io *io)
{
    return prng_next(&proc_of(io)->random);
}

void sim_proc_wake(struct sim_proc *p, uint64_t at_us)
{
    if (p->is_paused || p->is_dead || p->in_turn)
        return;
    if (at_us < p->busy_until_us)
        at_us = p->busy_until_us;
    if (at_us < p->sim->now_us)
        at_us = p->sim->now_us;
    if (!event_is_set(&p->wake) || p->wake.at_us > at_us)
        event_set(&p->sim->events, &p->wake, at_us);
}

static void wake_for_timers(struct sim_proc *p)
{
    uint64_t next_ms = timer_heap_next_ms(&p->timers);
    if (next_ms != UINT64_MAX)
        sim_proc_wake(p, world_us_of(p, next_ms));
}

static bool proc_timer_set(struct io *io, struct timer *t, uint64_t deadline_ms)
{
    struct sim_proc *p = proc_of(io);
    bool is_set = timer_heap_set(&p->timers, t, deadline_ms);
    wake_for_timers(p);
    return is_set;
}

static void proc_timer_cancel(struct io *io, struct timer *t)
{
    timer_heap_cancel(&proc_of(io)->timers, t);
}

/* ---- operations ---- */

static void op_on_due(void *owner);

static struct sim_op *op_new(struct sim_proc *p)
{
    struct sim_op *op = calloc(1, sizeof *op);
    p->ops = realloc(p->ops, (p->op_count + 1) * sizeof(struct sim_op *));
    ASSERT(op && p->ops);
    op->slot = p->op_count;
    op->generation = 1;
    op->proc = p;
    list_init(&op->ready);
    p->ops[p->op_count++] = op;
    return op;
}

struct sim_op *sim_op_take(struct sim_proc *p, enum sim_op_kind kind, void *owner)
{
    struct sim_op *op;
    if (p->ops_free != 0) {
        op = p->ops[p->ops_free - 1];
        p->ops_free = op->free_next;
    } else if (p->op_count < PROC_OPS_MAX) {
        op = op_new(p);
    } else {
        return NULL;
    }
    op->kind = kind;
    op->is_cancelled = false;
    op->is_ready = false;
    op->result = 0;
    op->owner = owner;
    op->sock = NULL;
    op->bytes = (struct slice){ 0 };
    event_init(&op->due, op_on_due, op);
    p->ops_live++;
    return op;
}

void sim_op_drop(struct sim_op *op)
{
    struct sim_proc *p = op->proc;
    ASSERT(op->kind != OP_FREE);
    event_cancel(&p->sim->events, &op->due);
    list_remove(&op->ready);
    op->kind = OP_FREE;
    if (++op->generation == 0)
        op->generation = 1;
    op->free_next = p->ops_free;
    p->ops_free = op->slot + 1;
    p->ops_live--;
}

void sim_op_ready(struct sim_op *op, int32_t result)
{
    if (op->is_ready)
        return;
    op->is_ready = true;
    op->result = result;
    list_push_back(&op->proc->ready, &op->ready);
    sim_proc_wake(op->proc, op->proc->sim->now_us);
}

static void ref_of(const struct sim_op *op, struct io_ref *ret_ref)
{
    if (ret_ref)
        *ret_ref = (struct io_ref){ op->slot, op->generation };
}

static void proc_cancel(struct io *io, struct io_ref ref)
{
    struct sim_proc *p = proc_of(io);
    if (ref.generation == 0 || ref.slot >= p->op_count)
        return;
    struct sim_op *op = p->ops[ref.slot];
    if (op->kind == OP_FREE || op->generation != ref.generation)
        return;
    bool is_of_file = op->kind == OP_WRITE || op->kind == OP_SYNC;
    if (is_of_file || op->is_cancelled)
        return; /* a disk cannot take a write back */
    op->is_cancelled = true;
    sim_op_ready(op, -ECANCELED);
}

void sim_op_finish(struct sim_op *op, int32_t result)
{
    enum sim_op_kind kind = op->kind;
    void *owner = op->owner;
    io_done_fn *done = op->fn.done;
    io_accept_fn *accept = op->fn.accept;
    io_recv_fn *recv = op->fn.recv;
    sim_net_op_forget(op);
    sim_op_drop(op);
    if (kind == OP_ACCEPT)
        accept(owner, result);
    else if (kind == OP_RECV)
        recv(owner, (struct slice){ 0 }, result);
    else
        done(owner, result);
}

static void op_run(struct sim_op *op)
{
    struct sim_proc *p = op->proc;
    op->is_ready = false;
    p->cost_us += CALLBACK_US;
    if (p->is_dead && op->result >= 0)
        op->result = -EIO; /* whatever it was, its kernel has taken it back */
    /* What is there to accept or to receive is the stream's; of one cancelled nothing comes. */
    int32_t end = op->is_cancelled && op->result >= 0 ? -ECANCELED : op->result;
    switch (op->kind) {
    case OP_ACCEPT:
        if (end < 0)
            sim_op_finish(op, end);
        else
            sim_net_run_accept(op);
        break;
    case OP_RECV:
        if (end < 0)
            sim_op_finish(op, end);
        else
            sim_net_run_recv(op);
        break;
    case OP_CONNECT:
    case OP_SEND:
    case OP_WRITE:
    case OP_SYNC:
        sim_op_finish(op, op->result);
        break;
    case OP_FREE:
        ASSERT(op->kind != OP_FREE);
    }
}

/* ---- files: due at the disk's time ---- */

static void op_on_due(void *owner)
{
    struct sim_op *op = owner;
    struct sim_host *h = op->proc->host;
    int32_t result;
    if (sim_disk_has_error(h, h->disk_faults.write_errors_ppm)) {
        sim_disk_tear(op);
        if (op->kind == OP_SYNC)
            fake_disk_sync_failed(h->disk, op->fd);
        result = -EIO;
    } else if (op->kind == OP_SYNC) {
        result = fake_disk_sync(h->disk, op->fd);
    } else if (sim_disk_is_full(h) &&
               fake_disk_size(h->disk, op->fd) < (int64_t)(op->offset + op->bytes.size)) {
        result = -ENOSPC;
    } else {
        result = fake_disk_write(h->disk, op->fd, op->bytes, op->offset, op->is_durable);
        result = result == 0 ? (int32_t)op->bytes.size : result;
    }
    sim_trace(op->proc->sim, TRACE_DISK, h->index, op->offset, (uint64_t)(int64_t)result);
    sim_op_ready(op, result);
}

/* ---- jobs ---- */

static void jobs_start(struct sim_proc *p);

static uint64_t job_us(struct sim_proc *p, uint64_t min_us, uint64_t max_us)
{
    struct sim_host *h = p->host;
    uint64_t us = min_us + prng_below(&h->job_chance, max_us - min_us);
    if (h->disk_faults.stalled_until_us > p->sim->now_us)
        us += h->disk_faults.stalled_until_us - p->sim->now_us;
    return us + h->disk_faults.slow_us;
}

/* LMDB and the job's files see who works on them. */
static void job_run(struct sim_job *j)
{
    struct sim_proc *before = sim_proc_enter(j->proc);
    j->job->run(j->job);
    sim_proc_enter(before);
    j->has_run = true;
}

static void job_finish(struct sim_job *j)
{
    struct io_job *job = j->job;
    j->job = NULL;
    job->done(job);
    jobs_start(j->proc);
}

static void job_on_due(void *owner)
{
    struct sim_job *j = owner;
    struct sim_proc *p = j->proc;
    if (p->is_paused) { /* its threads stand still, too */
        event_set(&p->sim->events, &j->due, p->sim->now_us + JOB_DONE_MAX_US);
        return;
    }
    sim_trace(p->sim, TRACE_JOB, p->host->index, (uint64_t)(j - p->jobs), j->has_run);
    if (!j->has_run) {
        job_run(j);
        if (!p->is_dead)
            event_set(&p->sim->events, &j->due,
                      p->sim->now_us + job_us(p, JOB_DONE_MIN_US, JOB_DONE_MAX_US));
        return;
    }
    /* Its done is of the next turn. */
    sim_proc_wake(p, p->sim->now_us);
}

static bool job_is_done(const struct sim_job *j)
{
    return j->job && j->has_run && !event_is_set(&j->due);
}

static void jobs_start(struct sim_proc *p)
{
    for (size_t i = 0; i < PROC_JOBS && !list_is_empty(&p->jobs_waiting); i++) {
        struct sim_job *j = &p->jobs[i];
        if (j->job)
            continue;
        j->job = LIST_ENTRY(list_pop_front(&p->jobs_waiting), struct io_job, link);
        j->has_run = false;
        if (!p->is_dead)
            event_set(&p->sim->events, &j->due,
                      p->sim->now_us + job_us(p, JOB_RUN_MIN_US, JOB_RUN_MAX_US));
    }
}

static void proc_pause(struct io *io, uint32_t us)
{
    (void)io;
    (void)us;
}

static void proc_offload(struct io *io, struct io_job *job)
{
    struct sim_proc *p = proc_of(io);
    list_push_back(&p->jobs_waiting, &job->link);
    jobs_start(p);
}

/* ---- turns ---- */

static bool has_work(const struct sim_proc *p)
{
    for (size_t i = 0; i < PROC_JOBS; i++) {
        if (job_is_done(&p->jobs[i]))
            return true;
    }
    return !list_is_empty(&p->ready);
}

static void take_ready(struct sim_proc *p)
{
    struct list batch;
    list_init(&batch);
    while (!list_is_empty(&p->ready))
        list_push_back(&batch, list_pop_front(&p->ready));
    while (!list_is_empty(&batch))
        op_run(LIST_ENTRY(list_pop_front(&batch), struct sim_op, ready));
    for (size_t i = 0; i < PROC_JOBS; i++) {
        if (job_is_done(&p->jobs[i]))
            job_finish(&p->jobs[i]);
    }
}

static void turn(struct sim_proc *p)
{
    struct sim_proc *before = sim_proc_enter(p);
    p->turn_us = p->sim->now_us;
    p->cost_us = 0;
    p->now_ms = local_us(p, sim_proc_now_us(p)) / 1000;
    p->in_turn = true;
    take_ready(p);
    timer_heap_run(&p->timers, p->now_ms);
    if (p->turn_end)
        p->turn_end(p->owner);
    p->in_turn = false;
    p->busy_until_us = p->turn_us + p->cost_us + TURN_US;
    sim_proc_enter(before);
}

static void on_wake(void *owner)
{
    struct sim_proc *p = owner;
    if (p->is_paused || p->is_dead)
        return;
    turn(p);
    if (p->is_dead) {
        sim_host_on_death(p->host);
        return;
    }
    sim_trace(p->sim, TRACE_TURN, p->host->index, p->cost_us, p->ops_live);
    sim_check_turn(p->host);
    if (has_work(p))
        sim_proc_wake(p, p->busy_until_us);
    wake_for_timers(p);
}

void sim_proc_pause(struct sim_proc *p)
{
    p->is_paused = true;
    event_cancel(&p->sim->events, &p->wake);
}

void sim_proc_resume(struct sim_proc *p)
{
    p->is_paused = false;
    sim_proc_wake(p, p->sim->now_us);
}

/* ---- the end ---- */

void sim_proc_kill(struct sim_proc *p)
{
    if (p->is_dead)
        return;
    p->is_dead = true;
    p->is_paused = false;
    event_cancel(&p->sim->events, &p->wake);
    for (uint32_t i = 0; i < p->op_count; i++) {
        struct sim_op *op = p->ops[i];
        if (event_is_set(&op->due))
            sim_disk_tear(op);
        event_cancel(&p->sim->events, &op->due);
    }
    for (size_t i = 0; i < PROC_JOBS; i++)
        event_cancel(&p->sim->events, &p->jobs[i].due);
}

bool sim_proc_may_go_on(struct sim_proc *p)
{
    if (!p || p->is_dead)
        return !p;
    if (p->crash_after == 0 || --p->crash_after > 0)
        return true;
    sim_proc_kill(p);
    if (!p->in_turn)
        sim_host_on_death(p->host);
    return false;
}

static void fail_all(struct sim_proc *p)
{
    for (uint32_t i = 0; i < p->op_count; i++) {
        struct sim_op *op = p->ops[i];
        if (op->kind != OP_FREE && !op->is_ready)
            sim_op_ready(op, op->is_cancelled ? -ECANCELED : -EIO);
    }
    for (size_t i = 0; i < PROC_JOBS; i++) {
        if (p->jobs[i].job && !p->jobs[i].has_run)
            job_run(&p->jobs[i]);
    }
}

void sim_proc_drain(struct sim_proc *p, bool (*is_gone)(void *owner), void *owner)
{
    ASSERT(p->is_dead);
    for (uint32_t n = 0; !is_gone(owner); n++) {
        ASSERT(n < DRAIN_TURNS_MAX);
        fail_all(p);
        uint64_t next_ms = timer_heap_next_ms(&p->timers);
        uint64_t now_us = p->sim->now_us + p->drain_us;
        if (!has_work(p) && next_ms != UINT64_MAX && world_us_of(p, next_ms) > now_us)
            p->drain_us += world_us_of(p, next_ms) - now_us;
        turn(p);
    }
}

/* ---- struct io ---- */

static int proc_listen(struct io *io, const struct io_addr *addr, struct io_addr *ret_bound)
{
    struct sim_proc *p = proc_of(io);
    return p->is_dead ? -EIO : sim_net_listen(p, addr, ret_bound);
}

/* What has begun: 0, or the error with the slot given back. */
static int begun(struct sim_op *op, int err, struct io_ref *ret_ref)
{
    if (err == 0)
        ref_of(op, ret_ref);
    else
        sim_op_drop(op);
    return err;
}

static int proc_accept(struct io *io, int fd, io_accept_fn *fn, void *owner, struct io_ref *ret_ref)
{
    struct sim_proc *p = proc_of(io);
    struct sim_op *op = p->is_dead ? NULL : sim_op_take(p, OP_ACCEPT, owner);
    if (!op)
        return p->is_dead ? -EIO : -EAGAIN;
    op->fn.accept = fn;
    return begun(op, sim_net_accept(p, fd, op), ret_ref);
}

static int proc_connect(struct io *io, const struct io_addr *addr, io_done_fn *fn, void *owner,
                        struct io_ref *ret_ref)
{
    struct sim_proc *p = proc_of(io);
    struct sim_op *op = p->is_dead ? NULL : sim_op_take(p, OP_CONNECT, owner);
    if (!op)
        return p->is_dead ? -EIO : -EAGAIN;
    op->fn.done = fn;
    return begun(op, sim_net_connect(p, addr, op), ret_ref);
}

static int proc_recv(struct io *io, int fd, io_recv_fn *fn, void *owner, struct io_ref *ret_ref)
{
    struct sim_proc *p = proc_of(io);
    struct sim_op *op = p->is_dead ? NULL : sim_op_take(p, OP_RECV, owner);
    if (!op)
        return p->is_dead ? -EIO : -EAGAIN;
    op->fn.recv = fn;
    return begun(op, sim_net_recv(p, fd, op), ret_ref);
}

static int proc_send(struct io *io, int fd, struct slice bytes, io_done_fn *fn, void *owner,
                     struct io_ref *ret_ref)
{
    struct sim_proc *p = proc_of(io);
    struct sim_op *op = p->is_dead ? NULL : sim_op_take(p, OP_SEND, owner);
    if (!op)
        return p->is_dead ? -EIO : -EAGAIN;
    op->fn.done = fn;
    p->cost_us += SEND_US + bytes.size / 2000;
    return begun(op, sim_net_send(p, fd, bytes, op), ret_ref);
}

static void proc_shutdown(struct io *io, int fd)
{
    sim_net_shutdown(proc_of(io), fd);
}

static void proc_close(struct io *io, int fd)
{
    sim_net_close(proc_of(io), fd);
}

static int proc_file_write(struct io *io, int fd, struct slice bytes, uint64_t offset,
                           enum io_write_flags flags, io_done_fn *fn, void *owner,
                           struct io_ref *ret_ref)
{
    proc_of(io)->cost_us += FILE_US;
    return sim_disk_write(io, fd, bytes, offset, flags, fn, owner, ret_ref);
}

const struct io_ops sim_proc_ops = {
    .now_ms = proc_now_ms,
    .now_us = proc_now_us,
    .wall_ms = proc_wall_ms,
    .random = proc_random,
    .timer_set = proc_timer_set,
    .timer_cancel = proc_timer_cancel,
    .listen = proc_listen,
    .accept = proc_accept,
    .connect = proc_connect,
    .recv = proc_recv,
    .send = proc_send,
    .shutdown = proc_shutdown,
    .close = proc_close,
    .file_write = proc_file_write,
    .file_sync = sim_disk_sync,
    .file_open = sim_disk_open,
    .file_close = sim_disk_close,
    .file_size = sim_disk_size,
    .file_read = sim_disk_read,
    .file_write_now = sim_disk_write_now,
    .file_sync_now = sim_disk_sync_now,
    .file_rename = sim_disk_rename,
    .file_remove = sim_disk_remove,
    .file_lock = sim_disk_lock,
    .dir_open = sim_disk_dir_open,
    .dir_sync = sim_disk_dir_sync,
    .offload = proc_offload,
    .pause = proc_pause,
    .cancel = proc_cancel,
};

struct sim_proc *sim_proc_new(struct sim_host *host, void (*turn_end)(void *owner), void *owner)
{
    struct sim_proc *p = calloc(1, sizeof *p);
    ASSERT(p);
    p->io.ops = &sim_proc_ops;
    p->sim = host->sim;
    p->host = host;
    p->turn_end = turn_end;
    p->owner = owner;
    p->random = sim_chance(p->sim, SIM_CHANCE_RANDOM, host->index, host->lives);
    event_init(&p->wake, on_wake, p);
    timer_heap_init(&p->timers, PROC_TIMERS_MAX);
    list_init(&p->ready);
    list_init(&p->jobs_waiting);
    for (size_t i = 0; i < PROC_JOBS; i++) {
        p->jobs[i].proc = p;
        event_init(&p->jobs[i].due, job_on_due, &p->jobs[i]);
    }
    return p;
}

void sim_proc_abandon(struct sim_proc *p)
{
    for (uint32_t i = 0; i < p->op_count; i++) {
        if (p->ops[i]->kind != OP_FREE)
            sim_op_drop(p->ops[i]);
    }
}

void sim_proc_free(struct sim_proc *p)
{
    ASSERT(p->ops_live == 0);
    event_cancel(&p->sim->events, &p->wake);
    timer_heap_done(&p->timers);
    for (uint32_t i = 0; i < p->op_count; i++)
        free(p->ops[i]);
    free(p->ops);
    free(p->fds);
    free(p);
}
