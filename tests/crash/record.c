#include "tests/crash/record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"

static struct disk *disk;
static struct record_trace *trace;
static uint32_t node_next;
static enum record_drop dropped;

void record_trace_done(struct record_trace *t)
{
    for (size_t i = 0; i < t->count; i++)
        free(t->ops[i].bytes);
    free(t->ops);
    *t = (struct record_trace){ 0 };
}

void record_begin(struct disk *of, struct record_trace *to)
{
    ASSERT(trace == NULL);
    disk = of;
    trace = to;
    node_next = disk_node_count(of);
}

void record_end(void)
{
    trace = NULL;
}

void record_drop(enum record_drop what)
{
    dropped = what;
}

static struct disk_op *op_add(enum disk_op_type type, uint32_t node)
{
    if (trace->count == trace->capacity) {
        trace->capacity = 2 * trace->capacity + 256;
        trace->ops = realloc(trace->ops, trace->capacity * sizeof *trace->ops);
        ASSERT(trace->ops != NULL);
    }
    struct disk_op *op = &trace->ops[trace->count++];
    *op = (struct disk_op){ .type = type, .node = node };
    return op;
}

void record_mark(uint64_t mark)
{
    if (trace != NULL)
        op_add(DISK_OP_MARK, DISK_ROOT)->mark = mark;
}

/* ---- which file ---- */

static bool node_of_fd(int fd, uint32_t *ret_node)
{
    struct stat st;
    return trace != NULL && fstat(fd, &st) == 0 && disk_node_of(disk, st.st_ino, ret_node);
}

/* A name below dir_fd or an absolute path: its directory, if that is ours, and its last part. */
static bool dir_of_path(int dir_fd, const char *path, uint32_t *ret_dir, const char **ret_name)
{
    char dir[PATH_MAX];
    struct stat st;
    if (trace == NULL)
        return false;
    const char *slash = strrchr(path, '/');
    int size =
        snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    *ret_name = slash ? slash + 1 : path;
    return size > 0 && (size_t)size < sizeof dir && fstatat(dir_fd, dir, &st, 0) == 0 &&
           disk_node_of(disk, st.st_ino, ret_dir);
}

static void name_note(enum disk_op_type type, uint32_t node, uint32_t dir, const char *name,
                      const char *to)
{
    struct disk_op *op = op_add(type, node);
    op->dir = dir;
    ASSERT(snprintf(op->name, sizeof op->name, "%s", name) < (int)sizeof op->name);
    ASSERT(snprintf(op->to, sizeof op->to, "%s", to) < (int)sizeof op->to);
}

static void made_note(int dir_fd, const char *path, const struct stat *st)
{
    uint32_t dir;
    uint32_t node;
    const char *name;
    if (!dir_of_path(dir_fd, path, &dir, &name) || disk_node_of(disk, st->st_ino, &node))
        return;
    disk_bind(disk, node_next, st->st_ino);
    name_note(DISK_OP_MAKE, node_next++, dir, name, "");
    trace->ops[trace->count - 1].is_dir = S_ISDIR(st->st_mode);
}

static int fail_with(long result)
{
    return (int)result; /* syscall(2) has set errno */
}

/* ---- names ---- */

static int open_at(int dir_fd, const char *path, int flags, mode_t mode)
{
    int fd = fail_with(syscall(SYS_openat, dir_fd, path, flags, mode));
    struct stat st;
    if (fd >= 0 && (flags & O_CREAT) != 0 && trace != NULL && fstat(fd, &st) == 0)
        made_note(dir_fd, path, &st);
    return fd;
}

static mode_t mode_of(int flags, va_list args)
{
    return (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return open_at(AT_FDCWD, path, flags, mode);
}

int openat(int dir_fd, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return open_at(dir_fd, path, flags, mode);
}

int mkdirat(int dir_fd, const char *path, mode_t mode)
{
    int rc = fail_with(syscall(SYS_mkdirat, dir_fd, path, mode));
    struct stat st;
    if (rc == 0 && trace != NULL && fstatat(dir_fd, path, &st, 0) == 0)
        made_note(dir_fd, path, &st);
    return rc;
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

/* Within one directory: nothing else is done here. */
int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    struct stat st = { 0 };
    bool known = trace != NULL && fstatat(from_fd, from, &st, 0) == 0;
    int rc = fail_with(syscall(SYS_renameat, from_fd, from, to_fd, to));
    uint32_t dir;
    uint32_t to_dir;
    uint32_t node;
    const char *name;
    const char *to_name;
    if (rc == 0 && known && disk_node_of(disk, st.st_ino, &node) &&
        dir_of_path(from_fd, from, &dir, &name) && dir_of_path(to_fd, to, &to_dir, &to_name)) {
        ASSERT(dir == to_dir);
        name_note(DISK_OP_RENAME, node, dir, name, to_name);
    }
    return rc;
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int unlinkat(int dir_fd, const char *path, int flags)
{
    struct stat st = { 0 };
    bool known = trace != NULL && fstatat(dir_fd, path, &st, 0) == 0;
    int rc = fail_with(syscall(SYS_unlinkat, dir_fd, path, flags));
    uint32_t dir;
    uint32_t node;
    const char *name;
    if (rc == 0 && known && disk_node_of(disk, st.st_ino, &node) &&
        dir_of_path(dir_fd, path, &dir, &name)) {
        name_note(DISK_OP_REMOVE, node, dir, name, "");
        disk_bind(disk, node, 0); /* the number may come again */
    }
    return rc;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

/* ---- bytes ---- */

static void written_note(int fd, const uint8_t *bytes, ssize_t size, off_t offset)
{
    uint32_t node;
    if (size <= 0 || !node_of_fd(fd, &node))
        return;
    struct disk_op *op = op_add(DISK_OP_WRITE, node);
    op->offset = (uint64_t)offset;
    op->size = (uint64_t)size;
    op->bytes = malloc(op->size);
    ASSERT(op->bytes != NULL);
    memcpy(op->bytes, bytes, op->size);
    uint64_t begin = op->offset;
    if ((fcntl(fd, F_GETFL) & O_DSYNC) == 0 || (dropped & RECORD_DROP_DURABLE) != 0)
        return;
    op = op_add(DISK_OP_SYNC_RANGE, node);
    op->offset = begin;
    op->size = (uint64_t)size;
}

static void pieces_note(int fd, const struct iovec *pieces, int count, ssize_t size, off_t offset)
{
    uint32_t node;
    if (size <= 0 || !node_of_fd(fd, &node))
        return;
    uint8_t *bytes = malloc((size_t)size);
    ASSERT(bytes != NULL);
    size_t used = 0;
    for (int i = 0; i < count && used < (size_t)size; i++) {
        size_t left = (size_t)size - used;
        size_t take = pieces[i].iov_len < left ? pieces[i].iov_len : left;
        memcpy(bytes + used, pieces[i].iov_base, take);
        used += take;
    }
    written_note(fd, bytes, size, offset);
    free(bytes);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    ssize_t n = syscall(SYS_pwrite64, fd, bytes, size, offset);
    written_note(fd, bytes, n, offset);
    return n;
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    off_t offset = trace != NULL ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t n = syscall(SYS_write, fd, bytes, size);
    written_note(fd, bytes, n, offset);
    return n;
}

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    off_t offset = trace != NULL ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t n = syscall(SYS_writev, fd, pieces, count);
    pieces_note(fd, pieces, count, n, offset);
    return n;
}

ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t offset)
{
    ssize_t n = syscall(SYS_pwritev, fd, pieces, count, offset, 0);
    pieces_note(fd, pieces, count, n, offset);
    return n;
}

/* RWF_DSYNC: durable whatever the descriptor says. */
ssize_t pwritev2(int fd, const struct iovec *pieces, int count, off_t offset, int flags)
{
    ssize_t n = syscall(SYS_pwritev2, fd, pieces, count, offset, 0, flags);
    pieces_note(fd, pieces, count, n, offset);
    uint32_t node;
    if (n <= 0 || (flags & RWF_DSYNC) == 0 || (dropped & RECORD_DROP_DURABLE) != 0 ||
        !node_of_fd(fd, &node))
        return n;
    struct disk_op *op = op_add(DISK_OP_SYNC_RANGE, node);
    op->offset = (uint64_t)offset;
    op->size = (uint64_t)n;
    return n;
}

int ftruncate(int fd, off_t size)
{
    int rc = fail_with(syscall(SYS_ftruncate, fd, size));
    uint32_t node;
    if (rc == 0 && node_of_fd(fd, &node))
        op_add(DISK_OP_SIZE, node)->size = (uint64_t)size;
    return rc;
}

/* ---- syncs ---- */

static void synced_note(int fd)
{
    uint32_t node;
    struct stat st;
    if (!node_of_fd(fd, &node) || fstat(fd, &st) != 0)
        return;
    bool is_dir = S_ISDIR(st.st_mode);
    if ((dropped & (is_dir ? RECORD_DROP_NAMES : RECORD_DROP_SYNC)) == 0)
        op_add(is_dir ? DISK_OP_SYNC_NAMES : DISK_OP_SYNC, node);
}

int fdatasync(int fd)
{
    int rc = fail_with(syscall(SYS_fdatasync, fd));
    if (rc == 0)
        synced_note(fd);
    return rc;
}

int fsync(int fd)
{
    int rc = fail_with(syscall(SYS_fsync, fd));
    if (rc == 0)
        synced_note(fd);
    return rc;
}

/* A map that is written would be out of sight. */
int msync(void *address, size_t size, int flags)
{
    ASSERT(trace == NULL);
    return fail_with(syscall(SYS_msync, address, size, flags));
}
