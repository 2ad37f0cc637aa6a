/* The files of a simulated process, on its host's disk (tests/support/fake_disk.h), and LMDB's
 * commits, which are real but fall before or after a crash.
 */
#include <errno.h>
#include <lmdb.h>

#include "base/assert.h"
#include "tests/sim/host.h"

enum {
    WRITE_MIN_US = 60,
    WRITE_JITTER_US = 90,
    WRITE_TAIL_ODDS = 100, /* one in so many takes longer */
    WRITE_TAIL_US = 4000,
    SYNC_MORE_US = 300,
};

static struct sim_proc *proc_of(struct io *io)
{
    return (struct sim_proc *)(void *)io;
}

static uint64_t disk_us(struct sim_host *h, enum sim_op_kind kind)
{
    uint64_t us = WRITE_MIN_US + prng_below(&h->disk_chance, WRITE_JITTER_US);
    if (prng_below(&h->disk_chance, WRITE_TAIL_ODDS) == 0)
        us += prng_below(&h->disk_chance, WRITE_TAIL_US);
    if (kind == OP_SYNC)
        us += prng_below(&h->disk_chance, SYNC_MORE_US);
    us += h->disk_faults.slow_us;
    uint64_t now_us = h->sim->now_us;
    if (h->disk_faults.stalled_until_us > now_us)
        us += h->disk_faults.stalled_until_us - now_us;
    return us;
}

/* ---- in turns ---- */

static int op_begin(struct io *io, enum sim_op_kind kind, const struct sim_op *made,
                    struct io_ref *ret_ref)
{
    struct sim_proc *p = proc_of(io);
    if (p->is_dead)
        return -EIO;
    struct sim_op *op = sim_op_take(p, kind, made->owner);
    if (!op)
        return -EAGAIN;
    op->fn.done = made->fn.done;
    op->fd = made->fd;
    op->bytes = made->bytes;
    op->offset = made->offset;
    op->is_durable = made->is_durable;
    event_set(&p->sim->events, &op->due, sim_proc_now_us(p) + disk_us(p->host, kind));
    if (ret_ref)
        *ret_ref = (struct io_ref){ op->slot, op->generation };
    return 0;
}

int sim_disk_write(struct io *io, int fd, struct slice bytes, uint64_t offset,
                   enum io_write_flags flags, io_done_fn *fn, void *owner, struct io_ref *ret_ref)
{
    struct sim_op made = { .fn.done = fn,
                           .owner = owner,
                           .fd = fd,
                           .bytes = bytes,
                           .offset = offset,
                           .is_durable = flags & IO_WRITE_DURABLE };
    return op_begin(io, OP_WRITE, &made, ret_ref);
}

int sim_disk_sync(struct io *io, int fd, io_done_fn *fn, void *owner, struct io_ref *ret_ref)
{
    struct sim_op made = { .fn.done = fn, .owner = owner, .fd = fd };
    return op_begin(io, OP_SYNC, &made, ret_ref);
}

void sim_disk_tear(struct sim_op *op)
{
    struct sim_host *h = op->proc->host;
    if (op->kind == OP_WRITE)
        fake_disk_write_part(h->disk, op->fd, op->bytes, op->offset, &h->crash_chance);
}

/* ---- blocking ---- */

bool sim_disk_is_full(struct sim_host *h)
{
    h->disk_faults.was_full |= h->disk_faults.is_full;
    return h->disk_faults.is_full;
}

bool sim_disk_has_error(struct sim_host *h, uint32_t ppm)
{
    bool has = ppm > 0 && prng_below(&h->disk_chance, 1000000) < ppm;
    h->disk_faults.has_failed |= has;
    return has;
}

int sim_disk_open(struct io *io, int dir_fd, const char *name, enum io_open_flags flags)
{
    struct sim_proc *p = proc_of(io);
    if (!sim_proc_may_go_on(p))
        return -EIO;
    return fake_disk_open(p->host->disk, dir_fd, name, flags & IO_OPEN_CREATE,
                          flags & IO_OPEN_DIRECT);
}

void sim_disk_close(struct io *io, int fd)
{
    fake_disk_close(proc_of(io)->host->disk, fd);
}

int64_t sim_disk_size(struct io *io, int fd)
{
    return fake_disk_size(proc_of(io)->host->disk, fd);
}

int64_t sim_disk_read(struct io *io, int fd, void *to, size_t size, uint64_t offset)
{
    struct sim_proc *p = proc_of(io);
    if (!sim_proc_may_go_on(p) || sim_disk_has_error(p->host, p->host->disk_faults.read_errors_ppm))
        return -EIO;
    return fake_disk_read(p->host->disk, fd, to, size, offset);
}

int sim_disk_write_now(struct io *io, int fd, struct slice bytes, uint64_t offset)
{
    struct sim_proc *p = proc_of(io);
    struct sim_host *h = p->host;
    bool was_dead = p->is_dead;
    bool is_growing = fake_disk_size(h->disk, fd) < (int64_t)(offset + bytes.size);
    if (!was_dead && sim_disk_is_full(h) && is_growing)
        return -ENOSPC;
    bool goes_on = sim_proc_may_go_on(p);
    if (goes_on && !sim_disk_has_error(h, h->disk_faults.write_errors_ppm))
        return fake_disk_write(h->disk, fd, bytes, offset, false);
    if (!was_dead) /* in the midst of it */
        fake_disk_write_part(h->disk, fd, bytes, offset, &h->crash_chance);
    return -EIO;
}

int sim_disk_sync_now(struct io *io, int fd)
{
    struct sim_proc *p = proc_of(io);
    struct sim_host *h = p->host;
    if (!sim_proc_may_go_on(p))
        return -EIO;
    if (!sim_disk_has_error(h, h->disk_faults.write_errors_ppm))
        return fake_disk_sync(h->disk, fd);
    fake_disk_sync_failed(h->disk, fd);
    return -EIO;
}

int sim_disk_rename(struct io *io, int dir_fd, const char *from, const char *to)
{
    struct sim_proc *p = proc_of(io);
    return sim_proc_may_go_on(p) ? fake_disk_rename(p->host->disk, dir_fd, from, to) : -EIO;
}

int sim_disk_remove(struct io *io, int dir_fd, const char *name)
{
    struct sim_proc *p = proc_of(io);
    return sim_proc_may_go_on(p) ? fake_disk_remove(p->host->disk, dir_fd, name) : -EIO;
}

int sim_disk_lock(struct io *io, int dir_fd, const char *name)
{
    struct sim_proc *p = proc_of(io);
    return sim_proc_may_go_on(p) ? fake_disk_lock(p->host->disk, dir_fd, name) : -EIO;
}

int sim_disk_dir_open(struct io *io, int dir_fd, const char *name, enum io_open_flags flags)
{
    struct sim_proc *p = proc_of(io);
    return sim_proc_may_go_on(p)
               ? fake_disk_open_dir(p->host->disk, dir_fd, name, flags & IO_OPEN_CREATE)
               : -EIO;
}

int sim_disk_dir_sync(struct io *io, int dir_fd)
{
    struct sim_proc *p = proc_of(io);
    return sim_proc_may_go_on(p) ? fake_disk_sync(p->host->disk, dir_fd) : -EIO;
}

/* ---- LMDB ---- */

int __real_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn);

/* The linker puts this in place of LMDB's own (-Wl,--wrap). A process that dies at a commit dies
 * before it or after it; a dead one commits nothing. */
int __wrap_mdb_txn_commit(MDB_txn *txn)
{
    struct sim_proc *p = sim_proc_current();
    if (!p)
        return __real_mdb_txn_commit(txn);
    bool was_dead = p->is_dead;
    int error = 0;
    if (!was_dead && sim_disk_is_full(p->host))
        error = ENOSPC;
    else if (!was_dead && sim_disk_has_error(p->host, p->host->disk_faults.write_errors_ppm))
        error = EIO;
    if (error != 0) {
        mdb_txn_abort(txn);
        return error;
    }
    if (sim_proc_may_go_on(p))
        return __real_mdb_txn_commit(txn);
    bool is_after = !was_dead && prng_below(&p->host->crash_chance, 2) == 0;
    if (is_after)
        IGNORE(__real_mdb_txn_commit(txn), "it has happened or not: nobody is left to know");
    else
        mdb_txn_abort(txn);
    return EIO;
}

/* ---- names of LMDB's directories ---- */

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __real_rmdir(const char *path);
int __wrap_rmdir(const char *path);

static bool name_may_change(void)
{
    struct sim_proc *p = sim_proc_current();
    if (!p || sim_proc_may_go_on(p))
        return true;
    errno = EIO;
    return false;
}

int __wrap_rename(const char *from, const char *to)
{
    return name_may_change() ? __real_rename(from, to) : -1;
}

int __wrap_rmdir(const char *path)
{
    return name_may_change() ? __real_rmdir(path) : -1;
}
