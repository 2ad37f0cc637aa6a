#include "tests/support/fake_io.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "base/timer.h"

enum { WALL_MS_AT_START = 1700000000 };

struct fake_op {
    bool in_use;
    bool is_sync;
    bool cancelled;
    uint32_t generation;
    int fd;
    struct slice bytes;
    uint64_t bytes_sum; /* the buffer belongs to the operation: nobody changes it meanwhile */
    uint64_t offset;
    bool durable;
    int error; /* injected */
    io_done_fn *fn;
    void *owner;
};

struct fake_fault {
    uint64_t left; /* 0: none */
    int error;
};

struct fake_io {
    struct io io;
    struct fake_disk *disk;
    struct prng chance;
    struct timer_heap timers;
    uint64_t now_ms;
    uint64_t now_us_extra;
    struct fake_op ops[FAKE_IO_OPS_MAX];
    size_t op_count;
    struct list jobs_to_run;
    struct list jobs_done;
    size_t job_count;
    struct fake_fault faults[FAKE_IO_KINDS];
    uint64_t counts[FAKE_IO_KINDS];
    uint64_t busy_left;
    uint64_t crash_left;
    enum fake_crash crash_kind;
    bool dead;
};

static struct fake_io *fake(struct io *io)
{
    return (struct fake_io *)(void *)io;
}

/* ---- crash and faults ---- */

static void op_tear(struct fake_io *f, const struct fake_op *op)
{
    if (!op->is_sync)
        fake_disk_write_part(f->disk, op->fd, op->bytes, op->offset, &f->chance);
}

void fake_io_crash(struct fake_io *f, enum fake_crash kind)
{
    ASSERT(!f->dead);
    for (size_t i = 0; i < FAKE_IO_OPS_MAX; i++)
        if (f->ops[i].in_use)
            op_tear(f, &f->ops[i]);
    fake_disk_crash(f->disk, kind, &f->chance);
    f->dead = true;
    f->crash_left = 0;
}

void fake_io_crash_at(struct fake_io *f, uint64_t nth, enum fake_crash kind)
{
    f->crash_left = nth;
    f->crash_kind = kind;
}

bool fake_io_is_dead(const struct fake_io *f)
{
    return f->dead;
}

void fake_io_reboot(struct fake_io *f)
{
    ASSERT(f->dead);
    ASSERT(fake_io_waiting(f) == 0);
    f->dead = false;
    f->crash_left = 0;
    f->busy_left = 0;
    memset(f->faults, 0, sizeof f->faults);
}

/* True when this is where the power goes. */
static bool crash_is_due(struct fake_io *f)
{
    if (f->dead || f->crash_left == 0 || --f->crash_left > 0)
        return false;
    fake_io_crash(f, f->crash_kind);
    return true;
}

void fake_io_fail(struct fake_io *f, enum fake_io_kind kind, uint64_t nth, int error)
{
    f->faults[kind] = (struct fake_fault){ .left = nth, .error = error };
}

uint64_t fake_io_count(const struct fake_io *f, enum fake_io_kind kind)
{
    return f->counts[kind];
}

void fake_io_be_busy(struct fake_io *f, uint64_t n)
{
    f->busy_left = n;
}

/* Counts a call; 0, or what it fails with. */
static int fault_of(struct fake_io *f, enum fake_io_kind kind)
{
    f->counts[kind]++;
    struct fake_fault *fault = &f->faults[kind];
    return fault->left > 0 && --fault->left == 0 ? -fault->error : 0;
}

/* ---- time ---- */

static uint64_t fake_now_ms(struct io *io)
{
    return fake(io)->now_ms;
}

static uint64_t fake_now_us(struct io *io)
{
    struct fake_io *f = fake(io);
    f->now_us_extra += f->now_us_extra < 999;
    return f->now_ms * 1000 + f->now_us_extra;
}

static uint64_t fake_wall_ms(struct io *io)
{
    return WALL_MS_AT_START + fake(io)->now_ms;
}

static uint64_t fake_random(struct io *io)
{
    return prng_next(&fake(io)->chance);
}

static bool fake_timer_set(struct io *io, struct timer *t, uint64_t deadline_ms)
{
    return timer_heap_set(&fake(io)->timers, t, deadline_ms);
}

static void fake_timer_cancel(struct io *io, struct timer *t)
{
    timer_heap_cancel(&fake(io)->timers, t);
}

void fake_io_advance(struct fake_io *f, uint64_t ms)
{
    f->now_ms += ms;
    f->now_us_extra = 0;
    timer_heap_run(&f->timers, f->now_ms);
}

/* ---- asynchronous writes and syncs ---- */

static int op_begin(struct fake_io *f, const struct fake_op *made, struct io_ref *ret_ref)
{
    if (f->dead)
        return -EIO;
    if (f->busy_left > 0) {
        f->busy_left--;
        return -EAGAIN;
    }
    if (f->op_count == FAKE_IO_OPS_MAX)
        return -EAGAIN;
    uint32_t slot = 0;
    while (f->ops[slot].in_use)
        slot++;
    struct fake_op *op = &f->ops[slot];
    uint32_t generation = op->generation + 1;
    *op = *made;
    op->in_use = true;
    op->generation = generation;
    op->bytes_sum = checksum(op->bytes, 0);
    op->error = fault_of(f, op->is_sync ? FAKE_IO_SYNC : FAKE_IO_WRITE);
    f->op_count++;
    if (ret_ref)
        *ret_ref = (struct io_ref){ .slot = slot, .generation = generation };
    return 0;
}

static int fake_file_write(struct io *io, int fd, struct slice bytes, uint64_t offset,
                           enum io_write_flags flags, io_done_fn *fn, void *owner,
                           struct io_ref *ret_ref)
{
    struct fake_op op = { .fd = fd,
                          .bytes = bytes,
                          .offset = offset,
                          .durable = flags & IO_WRITE_DURABLE,
                          .fn = fn,
                          .owner = owner };
    return op_begin(fake(io), &op, ret_ref);
}

static int fake_file_sync(struct io *io, int fd, io_done_fn *fn, void *owner,
                          struct io_ref *ret_ref)
{
    struct fake_op op = { .fd = fd, .is_sync = true, .fn = fn, .owner = owner };
    return op_begin(fake(io), &op, ret_ref);
}

static void fake_cancel(struct io *io, struct io_ref ref)
{
    struct fake_io *f = fake(io);
    if (ref.generation == 0 || ref.slot >= FAKE_IO_OPS_MAX)
        return;
    struct fake_op *op = &f->ops[ref.slot];
    if (op->in_use && op->generation == ref.generation)
        op->cancelled = true;
}

static int32_t op_carry_out(struct fake_io *f, const struct fake_op *op)
{
    if (f->dead)
        return -EIO;
    if (op->cancelled && prng_below(&f->chance, 2) == 0) {
        op_tear(f, op);
        return -ECANCELED;
    }
    if (op->error != 0) {
        op_tear(f, op);
        if (op->is_sync)
            fake_disk_sync_failed(f->disk, op->fd);
        return op->error;
    }
    if (op->is_sync)
        return fake_disk_sync(f->disk, op->fd);
    int err = fake_disk_write(f->disk, op->fd, op->bytes, op->offset, op->durable);
    return err != 0 ? err : (int32_t)op->bytes.size;
}

static void op_complete(struct fake_io *f, size_t nth)
{
    size_t slot = 0;
    while (!f->ops[slot].in_use || nth-- > 0)
        slot++;
    struct fake_op op = f->ops[slot];
    ASSERT(checksum(op.bytes, 0) == op.bytes_sum);
    int32_t result = op_carry_out(f, &op);
    f->ops[slot].in_use = false;
    f->op_count--;
    op.fn(op.owner, result);
}

/* ---- jobs ---- */

static void fake_pause(struct io *io, uint32_t us)
{
    (void)io;
    (void)us;
}

static void fake_offload(struct io *io, struct io_job *job)
{
    struct fake_io *f = fake(io);
    list_push_back(&f->jobs_to_run, &job->link);
    f->job_count++;
}

static struct io_job *job_pop(struct list *jobs)
{
    return LIST_ENTRY(list_pop_front(jobs), struct io_job, link);
}

static void job_step(struct fake_io *f)
{
    bool may_run = !list_is_empty(&f->jobs_to_run);
    bool may_end = !list_is_empty(&f->jobs_done);
    if (may_run && (!may_end || prng_below(&f->chance, 2) == 0)) {
        struct io_job *job = job_pop(&f->jobs_to_run);
        job->run(job);
        list_push_back(&f->jobs_done, &job->link);
        return;
    }
    struct io_job *job = job_pop(&f->jobs_done);
    f->job_count--;
    job->done(job);
}

size_t fake_io_waiting(const struct fake_io *f)
{
    return f->op_count + f->job_count;
}

bool fake_io_step(struct fake_io *f)
{
    if (fake_io_waiting(f) == 0)
        return false;
    IGNORE(crash_is_due(f), "the step goes on either way, with -EIO when dead");
    size_t pick = (size_t)prng_below(&f->chance, fake_io_waiting(f));
    if (pick < f->op_count)
        op_complete(f, pick);
    else
        job_step(f);
    return true;
}

void fake_io_run(struct fake_io *f)
{
    while (fake_io_step(f)) {
    }
}

/* ---- blocking calls ---- */

/* 0 when the call may go on. */
static int call_begin(struct fake_io *f, enum fake_io_kind kind)
{
    if (f->dead || crash_is_due(f))
        return -EIO;
    return fault_of(f, kind);
}

static int fake_file_open(struct io *io, int dir_fd, const char *name, enum io_open_flags flags)
{
    struct fake_io *f = fake(io);
    int err = flags & IO_OPEN_CREATE ? call_begin(f, FAKE_IO_NAME) : 0;
    if (err != 0 || f->dead)
        return err != 0 ? err : -EIO;
    return fake_disk_open(f->disk, dir_fd, name, flags & IO_OPEN_CREATE, flags & IO_OPEN_DIRECT);
}

static void fake_file_close(struct io *io, int fd)
{
    fake_disk_close(fake(io)->disk, fd);
}

static int64_t fake_file_size(struct io *io, int fd)
{
    return fake_disk_size(fake(io)->disk, fd);
}

static int64_t fake_file_read(struct io *io, int fd, void *to, size_t size, uint64_t offset)
{
    struct fake_io *f = fake(io);
    int err = call_begin(f, FAKE_IO_READ);
    return err != 0 ? err : fake_disk_read(f->disk, fd, to, size, offset);
}

static int fake_file_write_now(struct io *io, int fd, struct slice bytes, uint64_t offset)
{
    struct fake_io *f = fake(io);
    if (f->dead)
        return -EIO;
    if (f->crash_left == 1) /* in the middle of it */
        fake_disk_write_part(f->disk, fd, bytes, offset, &f->chance);
    int err = call_begin(f, FAKE_IO_WRITE);
    if (err == 0)
        return fake_disk_write(f->disk, fd, bytes, offset, false);
    if (!f->dead)
        fake_disk_write_part(f->disk, fd, bytes, offset, &f->chance);
    return err;
}

static int fake_file_sync_now(struct io *io, int fd)
{
    struct fake_io *f = fake(io);
    int err = call_begin(f, FAKE_IO_SYNC);
    if (err == 0)
        return fake_disk_sync(f->disk, fd);
    fake_disk_sync_failed(f->disk, fd);
    return err;
}

static int fake_file_rename(struct io *io, int dir_fd, const char *from, const char *to)
{
    struct fake_io *f = fake(io);
    int err = call_begin(f, FAKE_IO_NAME);
    return err != 0 ? err : fake_disk_rename(f->disk, dir_fd, from, to);
}

static int fake_file_remove(struct io *io, int dir_fd, const char *name)
{
    struct fake_io *f = fake(io);
    int err = call_begin(f, FAKE_IO_NAME);
    return err != 0 ? err : fake_disk_remove(f->disk, dir_fd, name);
}

static int fake_file_lock(struct io *io, int dir_fd, const char *name)
{
    struct fake_io *f = fake(io);
    int err = call_begin(f, FAKE_IO_NAME);
    return err != 0 ? err : fake_disk_lock(f->disk, dir_fd, name);
}

static int fake_dir_open(struct io *io, int dir_fd, const char *name, enum io_open_flags flags)
{
    struct fake_io *f = fake(io);
    int err = call_begin(f, FAKE_IO_NAME);
    return err != 0 ? err : fake_disk_open_dir(f->disk, dir_fd, name, flags & IO_OPEN_CREATE);
}

static int fake_dir_sync(struct io *io, int dir_fd)
{
    struct fake_io *f = fake(io);
    int err = call_begin(f, FAKE_IO_SYNC);
    return err != 0 ? err : fake_disk_sync(f->disk, dir_fd);
}

/* ---- no network here ---- */

static int fake_listen(struct io *io, const struct io_addr *addr, struct io_addr *ret_bound)
{
    IGNORE(io == NULL || addr == NULL || ret_bound == NULL, "no network");
    return -ENOSYS;
}

static int fake_accept(struct io *io, int fd, io_accept_fn *fn, void *owner, struct io_ref *ret_ref)
{
    IGNORE(io == NULL || fd < 0 || !fn || !owner || !ret_ref, "no network");
    return -ENOSYS;
}

static int fake_connect(struct io *io, const struct io_addr *addr, io_done_fn *fn, void *owner,
                        struct io_ref *ret_ref)
{
    IGNORE(io == NULL || !addr || !fn || !owner || !ret_ref, "no network");
    return -ENOSYS;
}

static int fake_recv(struct io *io, int fd, io_recv_fn *fn, void *owner, struct io_ref *ret_ref)
{
    IGNORE(io == NULL || fd < 0 || !fn || !owner || !ret_ref, "no network");
    return -ENOSYS;
}

static int fake_send(struct io *io, int fd, struct slice bytes, io_done_fn *fn, void *owner,
                     struct io_ref *ret_ref)
{
    IGNORE(io == NULL || fd < 0 || !bytes.data || !fn || !owner || !ret_ref, "no network");
    return -ENOSYS;
}

static void fake_shutdown(struct io *io, int fd)
{
    IGNORE(io == NULL || fd < 0, "no network");
}

/* ---- life ---- */

static const struct io_ops fake_ops = {
    .now_ms = fake_now_ms,
    .now_us = fake_now_us,
    .wall_ms = fake_wall_ms,
    .random = fake_random,
    .timer_set = fake_timer_set,
    .timer_cancel = fake_timer_cancel,
    .listen = fake_listen,
    .accept = fake_accept,
    .connect = fake_connect,
    .recv = fake_recv,
    .send = fake_send,
    .shutdown = fake_shutdown,
    .close = fake_file_close,
    .file_write = fake_file_write,
    .file_sync = fake_file_sync,
    .file_open = fake_file_open,
    .file_close = fake_file_close,
    .file_size = fake_file_size,
    .file_read = fake_file_read,
    .file_write_now = fake_file_write_now,
    .file_sync_now = fake_file_sync_now,
    .file_rename = fake_file_rename,
    .file_remove = fake_file_remove,
    .file_lock = fake_file_lock,
    .dir_open = fake_dir_open,
    .dir_sync = fake_dir_sync,
    .offload = fake_offload,
    .pause = fake_pause,
    .cancel = fake_cancel,
};

struct fake_io *fake_io_new(uint64_t seed)
{
    struct fake_io *f = calloc(1, sizeof *f);
    ASSERT(f);
    f->io.ops = &fake_ops;
    f->disk = fake_disk_new();
    f->chance = prng_seeded(seed);
    f->now_ms = 1;
    timer_heap_init(&f->timers, FAKE_IO_TIMERS_MAX);
    list_init(&f->jobs_to_run);
    list_init(&f->jobs_done);
    return f;
}

void fake_io_free(struct fake_io *f)
{
    ASSERT(fake_io_waiting(f) == 0);
    timer_heap_done(&f->timers);
    fake_disk_free(f->disk);
    free(f);
}

struct io *fake_io_io(struct fake_io *f)
{
    return &f->io;
}

struct fake_disk *fake_io_disk(struct fake_io *f)
{
    return f->disk;
}

struct prng *fake_io_chance(struct fake_io *f)
{
    return &f->chance;
}

int fake_io_root(struct fake_io *f)
{
    return fake_disk_root(f->disk);
}
