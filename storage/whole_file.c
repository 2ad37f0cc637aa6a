#include "storage/whole_file.h"

#include <errno.h>

int64_t whole_file_load(struct io *io, int dir_fd, const char *name, void *to, size_t size)
{
    int fd = io->ops->file_open(io, dir_fd, name, 0);
    if (fd < 0)
        return fd;
    int64_t got = io->ops->file_read(io, fd, to, size, 0);
    int err = got < 0 ? 0 : io->ops->file_sync_now(io, fd);
    if (got >= 0 && err == 0)
        err = io->ops->dir_sync(io, dir_fd);
    io->ops->file_close(io, fd);
    return err != 0 ? err : got;
}

static int next_write(struct io *io, int dir_fd, const char *next, struct slice bytes)
{
    int err = io->ops->file_remove(io, dir_fd, next);
    if (err != 0 && err != -ENOENT)
        return err;
    int fd = io->ops->file_open(io, dir_fd, next, IO_OPEN_CREATE);
    if (fd < 0)
        return fd;
    err = io->ops->file_write_now(io, fd, bytes, 0);
    if (err == 0)
        err = io->ops->file_sync_now(io, fd);
    io->ops->file_close(io, fd);
    return err;
}

int whole_file_replace(struct io *io, int dir_fd, const char *name, const char *next,
                       struct slice bytes)
{
    int err = next_write(io, dir_fd, next, bytes);
    if (err == 0)
        err = io->ops->file_rename(io, dir_fd, next, name);
    return err == 0 ? io->ops->dir_sync(io, dir_fd) : err;
}
