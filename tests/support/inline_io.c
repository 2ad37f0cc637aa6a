#include "tests/support/inline_io.h"

#include <errno.h>

static uint64_t now_us(struct io *io)
{
    return LIST_ENTRY(io, struct inline_io, io)->now_us;
}

static uint64_t now_ms(struct io *io)
{
    return now_us(io) / 1000;
}

static uint64_t random_none(struct io *io)
{
    (void)io;
    return 4; /* as good as any, and the same in each run */
}

static void job_pause(struct io *io, uint32_t us)
{
    (void)io;
    (void)us;
}

static void offload(struct io *io, struct io_job *job)
{
    (void)io;
    job->run(job);
    job->done(job);
}

static bool timer_set(struct io *io, struct timer *t, uint64_t deadline_ms)
{
    (void)io, (void)t, (void)deadline_ms;
    return false;
}

static void timer_cancel(struct io *io, struct timer *t)
{
    (void)io, (void)t;
}

static int listen_none(struct io *io, const struct io_addr *addr, struct io_addr *ret_bound)
{
    (void)io, (void)addr, (void)ret_bound;
    return -ENOSYS;
}

static int accept_none(struct io *io, int fd, io_accept_fn *fn, void *owner, struct io_ref *ret_ref)
{
    (void)io, (void)fd, (void)fn, (void)owner, (void)ret_ref;
    return -ENOSYS;
}

static int connect_none(struct io *io, const struct io_addr *addr, io_done_fn *fn, void *owner,
                        struct io_ref *ret_ref)
{
    (void)io, (void)addr, (void)fn, (void)owner, (void)ret_ref;
    return -ENOSYS;
}

static int recv_none(struct io *io, int fd, io_recv_fn *fn, void *owner, struct io_ref *ret_ref)
{
    (void)io, (void)fd, (void)fn, (void)owner, (void)ret_ref;
    return -ENOSYS;
}

static int send_none(struct io *io, int fd, struct slice bytes, io_done_fn *fn, void *owner,
                     struct io_ref *ret_ref)
{
    (void)io, (void)fd, (void)bytes, (void)fn, (void)owner, (void)ret_ref;
    return -ENOSYS;
}

static void fd_none(struct io *io, int fd)
{
    (void)io, (void)fd;
}

static int file_write(struct io *io, int fd, struct slice bytes, uint64_t offset,
                      enum io_write_flags flags, io_done_fn *fn, void *owner,
                      struct io_ref *ret_ref)
{
    (void)io, (void)fd, (void)bytes, (void)offset, (void)flags, (void)fn, (void)owner,
        (void)ret_ref;
    return -ENOSYS;
}

static int file_sync(struct io *io, int fd, io_done_fn *fn, void *owner, struct io_ref *ret_ref)
{
    (void)io, (void)fd, (void)fn, (void)owner, (void)ret_ref;
    return -ENOSYS;
}

static int open_none(struct io *io, int dir_fd, const char *name, enum io_open_flags flags)
{
    (void)io, (void)dir_fd, (void)name, (void)flags;
    return -ENOSYS;
}

static int64_t file_size(struct io *io, int fd)
{
    (void)io, (void)fd;
    return -ENOSYS;
}

static int64_t file_read(struct io *io, int fd, void *to, size_t size, uint64_t offset)
{
    (void)io, (void)fd, (void)to, (void)size, (void)offset;
    return -ENOSYS;
}

static int file_write_now(struct io *io, int fd, struct slice bytes, uint64_t offset)
{
    (void)io, (void)fd, (void)bytes, (void)offset;
    return -ENOSYS;
}

static int fd_sync_none(struct io *io, int fd)
{
    (void)io, (void)fd;
    return -ENOSYS;
}

static int file_rename(struct io *io, int dir_fd, const char *from, const char *to)
{
    (void)io, (void)dir_fd, (void)from, (void)to;
    return -ENOSYS;
}

static int file_remove(struct io *io, int dir_fd, const char *name)
{
    (void)io, (void)dir_fd, (void)name;
    return -ENOSYS;
}

static int file_lock(struct io *io, int dir_fd, const char *name)
{
    (void)io, (void)dir_fd, (void)name;
    return -ENOSYS;
}

static void cancel(struct io *io, struct io_ref ref)
{
    (void)io, (void)ref;
}

static const struct io_ops ops = {
    .now_ms = now_ms,
    .now_us = now_us,
    .wall_ms = now_ms,
    .random = random_none,
    .timer_set = timer_set,
    .timer_cancel = timer_cancel,
    .listen = listen_none,
    .accept = accept_none,
    .connect = connect_none,
    .recv = recv_none,
    .send = send_none,
    .shutdown = fd_none,
    .close = fd_none,
    .file_write = file_write,
    .file_sync = file_sync,
    .file_open = open_none,
    .file_close = fd_none,
    .file_size = file_size,
    .file_read = file_read,
    .file_write_now = file_write_now,
    .file_sync_now = fd_sync_none,
    .file_rename = file_rename,
    .file_remove = file_remove,
    .file_lock = file_lock,
    .dir_open = open_none,
    .dir_sync = fd_sync_none,
    .offload = offload,
    .pause = job_pause,
    .cancel = cancel,
};

void inline_io_init(struct inline_io *io)
{
    *io = (struct inline_io){ .io = { .ops = &ops } };
}
