#include "tests/crash/file_io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"

static struct file_io *of(struct io *io)
{
    return LIST_ENTRY(io, struct file_io, io);
}

static uint64_t now_ms(struct io *io)
{
    return of(io)->now_ms;
}

static uint64_t now_us(struct io *io)
{
    return 1000 * of(io)->now_ms;
}

static uint64_t random_none(struct io *io)
{
    (void)io;
    return 4; /* as good as any, and the same in each run */
}

static bool timer_set(struct io *io, struct timer *t, uint64_t deadline_ms)
{
    return timer_heap_set(&of(io)->timers, t, deadline_ms);
}

static void timer_cancel(struct io *io, struct timer *t)
{
    timer_heap_cancel(&of(io)->timers, t);
}

static void wait_add(struct file_io *f, const struct file_io_waiting *waiting)
{
    ASSERT(f->waiting_count < FILE_IO_WAITING_MAX);
    f->waiting[f->waiting_count++] = *waiting;
}

static int file_write(struct io *io, int fd, struct slice bytes, uint64_t offset,
                      enum io_write_flags flags, io_done_fn *fn, void *owner,
                      struct io_ref *ret_ref)
{
    struct iovec piece = { (void *)(uintptr_t)bytes.data, bytes.size };
    bool durable = (flags & IO_WRITE_DURABLE) != 0;
    ssize_t n = pwritev2(fd, &piece, 1, (off_t)offset, durable ? RWF_DSYNC : 0);
    int32_t result = n < 0 ? -errno : (int32_t)n;
    wait_add(of(io), &(struct file_io_waiting){ .fn = fn, .owner = owner, .result = result });
    if (ret_ref != NULL)
        *ret_ref = (struct io_ref){ 0 };
    return 0;
}

static int file_sync(struct io *io, int fd, io_done_fn *fn, void *owner, struct io_ref *ret_ref)
{
    int32_t result = fdatasync(fd) == 0 ? 0 : -errno;
    wait_add(of(io), &(struct file_io_waiting){ .fn = fn, .owner = owner, .result = result });
    if (ret_ref != NULL)
        *ret_ref = (struct io_ref){ 0 };
    return 0;
}

static void names_list(struct file_io *f, int dir_fd)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = fdopendir(fd);
    ASSERT(listing != NULL);
    f->listed_fd = dir_fd;
    f->name_count = 0;
    struct dirent *entry;
    while ((entry = readdir(listing)) != NULL) {
        char *to = f->names[f->name_count++];
        ASSERT(f->name_count < FILE_IO_NAMES_MAX);
        ASSERT(snprintf(to, FILE_IO_NAME_BYTES_MAX, "%s", entry->d_name) < FILE_IO_NAME_BYTES_MAX);
    }
    closedir(listing);
}

static bool name_is_listed(struct file_io *f, int dir_fd, const char *name)
{
    if (f->listed_fd != dir_fd)
        names_list(f, dir_fd);
    size_t i = 0;
    while (i < f->name_count && strcmp(f->names[i], name) != 0)
        i++;
    return i < f->name_count;
}

static int file_open(struct io *io, int dir_fd, const char *name, enum io_open_flags flags)
{
    if ((flags & IO_OPEN_CREATE) != 0)
        of(io)->listed_fd = -1;
    else if (!name_is_listed(of(io), dir_fd, name))
        return -ENOENT;
    int fd = openat(dir_fd, name,
                    O_RDWR | O_CLOEXEC | ((flags & IO_OPEN_CREATE) != 0 ? O_CREAT : 0), 0600);
    return fd < 0 ? -errno : fd;
}

static void file_close(struct io *io, int fd)
{
    (void)io;
    close(fd);
}

static int64_t file_size(struct io *io, int fd)
{
    (void)io;
    struct stat st;
    return fstat(fd, &st) == 0 ? st.st_size : -errno;
}

static int64_t file_read(struct io *io, int fd, void *to, size_t size, uint64_t offset)
{
    (void)io;
    ssize_t n = pread(fd, to, size, (off_t)offset);
    return n < 0 ? -errno : n;
}

static int file_write_now(struct io *io, int fd, struct slice bytes, uint64_t offset)
{
    (void)io;
    ssize_t n = pwrite(fd, bytes.data, bytes.size, (off_t)offset);
    if (n < 0)
        return -errno;
    return (size_t)n == bytes.size ? 0 : -EIO;
}

static int file_sync_now(struct io *io, int fd)
{
    (void)io;
    return fdatasync(fd) == 0 ? 0 : -errno;
}

static int file_rename(struct io *io, int dir_fd, const char *from, const char *to)
{
    of(io)->listed_fd = -1;
    return renameat(dir_fd, from, dir_fd, to) == 0 ? 0 : -errno;
}

static int file_remove(struct io *io, int dir_fd, const char *name)
{
    of(io)->listed_fd = -1;
    return unlinkat(dir_fd, name, 0) == 0 ? 0 : -errno;
}

static int dir_open(struct io *io, int dir_fd, const char *name, enum io_open_flags flags)
{
    (void)io;
    if ((flags & IO_OPEN_CREATE) != 0 && mkdirat(dir_fd, name, 0700) != 0 && errno != EEXIST)
        return -errno;
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int dir_sync(struct io *io, int dir_fd)
{
    (void)io;
    return fsync(dir_fd) == 0 ? 0 : -errno;
}

static void job_pause(struct io *io, uint32_t us)
{
    (void)io;
    (void)us;
}

static void offload(struct io *io, struct io_job *job)
{
    wait_add(of(io), &(struct file_io_waiting){ .job = job });
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
    .file_write = file_write,
    .file_sync = file_sync,
    .file_open = file_open,
    .file_close = file_close,
    .file_size = file_size,
    .file_read = file_read,
    .file_write_now = file_write_now,
    .file_sync_now = file_sync_now,
    .file_rename = file_rename,
    .file_remove = file_remove,
    .dir_open = dir_open,
    .dir_sync = dir_sync,
    .offload = offload,
    .pause = job_pause,
    .cancel = cancel,
};

void file_io_init(struct file_io *f)
{
    *f = (struct file_io){ .io = { .ops = &ops }, .listed_fd = -1 };
    timer_heap_init(&f->timers, 64);
}

void file_io_done(struct file_io *f)
{
    ASSERT(f->waiting_count == 0);
    timer_heap_done(&f->timers);
}

void file_io_run(struct file_io *f)
{
    while (f->waiting_count > 0) {
        struct file_io_waiting first = f->waiting[0];
        f->waiting_count--;
        memmove(f->waiting, f->waiting + 1, f->waiting_count * sizeof f->waiting[0]);
        if (first.fn != NULL) {
            first.fn(first.owner, first.result);
        } else {
            first.job->run(first.job);
            first.job->done(first.job);
        }
    }
}

void file_io_pass(struct file_io *f, uint64_t ms)
{
    f->now_ms += ms;
    timer_heap_run(&f->timers, f->now_ms);
}
