#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rpc/loop_internal.h"

/* The data is the node's alone. */
enum { FILE_MODE = 0600, DIR_MODE = 0700 };

static int open_again(int dir_fd, const char *name, int flags)
{
    int fd;
    do
        fd = openat(dir_fd, name, flags | O_CLOEXEC, FILE_MODE);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

int loop_file_open(struct io *io, int dir_fd, const char *name, enum io_open_flags flags)
{
    (void)io;
    int mode = O_RDWR | (flags & IO_OPEN_CREATE ? O_CREAT : 0);
    int fd = -EINVAL;
    if (flags & IO_OPEN_DIRECT)
        fd = open_again(dir_fd, name, mode | O_DIRECT);
    /* Not every file system can (FUSE, older tmpfs): then through the cache. */
    return fd == -EINVAL ? open_again(dir_fd, name, mode) : fd;
}

int64_t loop_file_size(struct io *io, int fd)
{
    (void)io;
    struct stat st;
    return fstat(fd, &st) < 0 ? -errno : st.st_size;
}

int64_t loop_file_read(struct io *io, int fd, void *to, size_t size, uint64_t offset)
{
    if (size > INT64_MAX || offset > (uint64_t)INT64_MAX - size)
        return -EINVAL;
    size_t done = 0;
    while (done < size) {
        ssize_t n = pread(fd, (uint8_t *)to + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        done += (size_t)n;
        /* At an end of file off the alignment, O_DIRECT would answer one more read with EINVAL. */
        int64_t file_size = n == 0 || done == size ? 0 : loop_file_size(io, fd);
        if (file_size < 0)
            return file_size;
        if (n == 0 || offset + done >= (uint64_t)file_size)
            break;
    }
    return (int64_t)done;
}

int loop_file_write_now(struct io *io, int fd, struct slice bytes, uint64_t offset)
{
    (void)io;
    if (bytes.size > INT64_MAX || offset > (uint64_t)INT64_MAX - bytes.size)
        return -EINVAL;
    for (size_t done = 0; done < bytes.size;) {
        ssize_t n = pwrite(fd, bytes.data + done, bytes.size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        done += (size_t)n;
    }
    return 0;
}

/* A sync that was interrupted has reported nothing yet, unlike one that failed (I6). */
static int sync_again(int fd, int (*sync)(int fd))
{
    int rc;
    do
        rc = sync(fd);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

int loop_file_sync_now(struct io *io, int fd)
{
    (void)io;
    return sync_again(fd, fdatasync);
}

int loop_file_rename(struct io *io, int dir_fd, const char *from, const char *to)
{
    (void)io;
    return renameat(dir_fd, from, dir_fd, to) < 0 ? -errno : 0;
}

int loop_file_remove(struct io *io, int dir_fd, const char *name)
{
    (void)io;
    return unlinkat(dir_fd, name, 0) < 0 ? -errno : 0;
}

int loop_file_lock(struct io *io, int dir_fd, const char *name)
{
    (void)io;
    int fd = open_again(dir_fd, name, O_RDWR | O_CREAT);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    int err = -errno;
    close(fd);
    return err;
}

int loop_dir_open(struct io *io, int dir_fd, const char *name, enum io_open_flags flags)
{
    (void)io;
    if ((flags & IO_OPEN_CREATE) && mkdirat(dir_fd, name, DIR_MODE) < 0 && errno != EEXIST)
        return -errno;
    return open_again(dir_fd, name, O_RDONLY | O_DIRECTORY);
}

int loop_dir_sync(struct io *io, int dir_fd)
{
    (void)io;
    return sync_again(dir_fd, fsync);
}
