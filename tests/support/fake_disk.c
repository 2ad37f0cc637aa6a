#include "tests/support/fake_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/assert.h"

enum { FD_BASE = 1000, NAMES_MAX = 64, STATES_MAX = 64, FDS_MAX = 1 << 16 };

enum sector_state {
    SECTOR_CLEAN,
    SECTOR_DIRTY,
    SECTOR_DROPPED, /* a sync of it failed: readable until the crash, never durable */
};

struct fake_name {
    char name[FAKE_NAME_BYTES_MAX + 1];
    struct fake_file *file;
};

struct fake_names {
    struct fake_name names[NAMES_MAX];
    size_t count;
};

struct fake_file {
    struct fake_file *next_file;
    uint8_t *now;     /* what readers see */
    uint8_t *durable; /* what a power cut leaves for certain */
    uint8_t *sectors; /* enum sector_state */
    size_t size;
    size_t durable_size;
    size_t capacity;
    bool is_dir;
    struct fake_names *states; /* [0]: durable; each change adds one; the last is the present */
    size_t state_count;
};

struct fake_fd {
    struct fake_file *file; /* NULL: closed or stale */
    bool direct;
    bool locked; /* its file is this descriptor's alone */
};

struct fake_disk {
    struct fake_file *files;
    struct fake_file *root;
    struct fake_fd *fds;
    size_t fd_count;
    size_t open_count;
    uint64_t used_bytes;
    uint64_t capacity_bytes;
};

static void *must(void *memory)
{
    ASSERT(memory);
    return memory;
}

static struct fake_file *file_new(struct fake_disk *d, bool is_dir)
{
    struct fake_file *file = must(calloc(1, sizeof *file));
    file->is_dir = is_dir;
    if (is_dir) {
        file->states = must(calloc(1, sizeof *file->states));
        file->state_count = 1;
    }
    file->next_file = d->files;
    d->files = file;
    return file;
}

struct fake_disk *fake_disk_new(void)
{
    struct fake_disk *d = must(calloc(1, sizeof *d));
    d->capacity_bytes = UINT64_MAX;
    d->root = file_new(d, true);
    return d;
}

void fake_disk_free(struct fake_disk *d)
{
    while (d->files) {
        struct fake_file *file = d->files;
        d->files = file->next_file;
        free(file->now);
        free(file->durable);
        free(file->sectors);
        free(file->states);
        free(file);
    }
    free(d->fds);
    free(d);
}

void fake_disk_set_capacity(struct fake_disk *d, uint64_t capacity_bytes)
{
    d->capacity_bytes = capacity_bytes;
}

/* ---- descriptors and names ---- */

static int fd_new(struct fake_disk *d, struct fake_file *file, bool direct)
{
    ASSERT(d->fd_count < FDS_MAX);
    d->fds = must(realloc(d->fds, (d->fd_count + 1) * sizeof *d->fds));
    d->fds[d->fd_count] = (struct fake_fd){ .file = file, .direct = direct };
    d->open_count++;
    return FD_BASE + (int)d->fd_count++;
}

static struct fake_fd *fd_find(struct fake_disk *d, int fd)
{
    if (fd < FD_BASE || (size_t)(fd - FD_BASE) >= d->fd_count)
        return NULL;
    struct fake_fd *f = &d->fds[fd - FD_BASE];
    return f->file ? f : NULL;
}

static struct fake_file *dir_find(struct fake_disk *d, int dir_fd)
{
    if (dir_fd == AT_FDCWD)
        return d->root;
    struct fake_fd *f = fd_find(d, dir_fd);
    return f && f->file->is_dir ? f->file : NULL;
}

static struct fake_names *names_now(struct fake_file *dir)
{
    return &dir->states[dir->state_count - 1];
}

static struct fake_name *name_find(struct fake_file *dir, const char *name)
{
    struct fake_names *names = names_now(dir);
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->names[i].name, name) == 0)
            return &names->names[i];
    return NULL;
}

/* A copy of the present names, to be changed: the new present. */
static void names_push(struct fake_file *dir)
{
    ASSERT(dir->state_count < STATES_MAX);
    dir->states = must(realloc(dir->states, (dir->state_count + 1) * sizeof *dir->states));
    dir->states[dir->state_count] = dir->states[dir->state_count - 1];
    dir->state_count++;
}

static void name_set(struct fake_file *dir, const char *name, struct fake_file *file)
{
    ASSERT(strlen(name) <= FAKE_NAME_BYTES_MAX);
    struct fake_name *entry = name_find(dir, name);
    if (!entry) {
        struct fake_names *names = names_now(dir);
        ASSERT(names->count < NAMES_MAX);
        entry = &names->names[names->count++];
        memcpy(entry->name, name, strlen(name) + 1);
    }
    entry->file = file;
}

static void name_drop(struct fake_file *dir, const char *name)
{
    struct fake_names *names = names_now(dir);
    struct fake_name *entry = name_find(dir, name);
    *entry = names->names[--names->count];
}

int fake_disk_root(struct fake_disk *d)
{
    return fd_new(d, d->root, false);
}

static int open_any(struct fake_disk *d, int dir_fd, const char *name, bool create, bool is_dir,
                    bool direct)
{
    struct fake_file *dir = dir_find(d, dir_fd);
    if (!dir)
        return -EIO;
    if (strcmp(name, ".") == 0)
        return fd_new(d, dir, false);
    struct fake_name *entry = name_find(dir, name);
    if (entry)
        return entry->file->is_dir == is_dir ? fd_new(d, entry->file, direct) : -EINVAL;
    if (!create)
        return -ENOENT;
    struct fake_file *file = file_new(d, is_dir);
    names_push(dir);
    name_set(dir, name, file);
    return fd_new(d, file, direct);
}

int fake_disk_open(struct fake_disk *d, int dir_fd, const char *name, bool create, bool direct)
{
    return open_any(d, dir_fd, name, create, false, direct);
}

int fake_disk_lock(struct fake_disk *d, int dir_fd, const char *name)
{
    int fd = fake_disk_open(d, dir_fd, name, true, false);
    struct fake_fd *f = fd_find(d, fd);
    if (!f)
        return fd;
    for (size_t i = 0; i < d->fd_count; i++) {
        if (d->fds[i].file == f->file && d->fds[i].locked) {
            fake_disk_close(d, fd);
            return -EWOULDBLOCK;
        }
    }
    f->locked = true;
    return fd;
}

int fake_disk_open_dir(struct fake_disk *d, int dir_fd, const char *name, bool create)
{
    return open_any(d, dir_fd, name, create, true, false);
}

void fake_disk_close(struct fake_disk *d, int fd)
{
    struct fake_fd *f = fd_find(d, fd);
    if (!f)
        return;
    f->file = NULL;
    d->open_count--;
}

size_t fake_disk_open_count(const struct fake_disk *d)
{
    return d->open_count;
}

int fake_disk_rename(struct fake_disk *d, int dir_fd, const char *from, const char *to)
{
    struct fake_file *dir = dir_find(d, dir_fd);
    if (!dir)
        return -EIO;
    struct fake_name *entry = name_find(dir, from);
    if (!entry)
        return -ENOENT;
    struct fake_file *file = entry->file;
    names_push(dir);
    name_drop(dir, from);
    name_set(dir, to, file);
    return 0;
}

int fake_disk_remove(struct fake_disk *d, int dir_fd, const char *name)
{
    struct fake_file *dir = dir_find(d, dir_fd);
    if (!dir)
        return -EIO;
    struct fake_name *entry = name_find(dir, name);
    if (!entry)
        return -ENOENT;
    d->used_bytes -= entry->file->size;
    names_push(dir);
    name_drop(dir, name);
    return 0;
}

/* ---- bytes ---- */

static bool is_aligned(const struct fake_fd *f, const void *memory, size_t size, uint64_t offset)
{
    uintptr_t all = (uintptr_t)memory | (uintptr_t)size | (uintptr_t)offset;
    return !f->direct || all % 4096 == 0;
}

int64_t fake_disk_size(struct fake_disk *d, int fd)
{
    struct fake_fd *f = fd_find(d, fd);
    return f ? (int64_t)f->file->size : -EIO;
}

int64_t fake_disk_read(struct fake_disk *d, int fd, void *to, size_t size, uint64_t offset)
{
    struct fake_fd *f = fd_find(d, fd);
    if (!f)
        return -EIO;
    if (!is_aligned(f, to, size, offset))
        return -EINVAL;
    if (offset >= f->file->size)
        return 0;
    size_t left = f->file->size - (size_t)offset;
    size_t count = size < left ? size : left;
    memcpy(to, f->file->now + offset, count);
    return (int64_t)count;
}

static void file_grow(struct fake_file *file, size_t size)
{
    if (size > file->capacity) {
        size_t capacity = file->capacity ? file->capacity : 4096;
        while (capacity < size)
            capacity *= 2;
        size_t sectors = capacity / FAKE_SECTOR_BYTES;
        size_t sectors_old = file->capacity / FAKE_SECTOR_BYTES;
        file->now = must(realloc(file->now, capacity));
        file->durable = must(realloc(file->durable, capacity));
        file->sectors = must(realloc(file->sectors, sectors));
        memset(file->now + file->capacity, 0, capacity - file->capacity);
        memset(file->durable + file->capacity, 0, capacity - file->capacity);
        memset(file->sectors + sectors_old, SECTOR_CLEAN, sectors - sectors_old);
        file->capacity = capacity;
    }
    if (size > file->size)
        file->size = size;
}

static void sector_settle(struct fake_file *file, size_t sector)
{
    size_t at = sector * FAKE_SECTOR_BYTES;
    memcpy(file->durable + at, file->now + at, FAKE_SECTOR_BYTES);
    file->sectors[sector] = SECTOR_CLEAN;
}

static int write_check(struct fake_disk *d, struct fake_fd *f, struct slice bytes, uint64_t offset)
{
    if (!f || f->file->is_dir)
        return -EIO;
    if (!is_aligned(f, bytes.data, bytes.size, offset))
        return -EINVAL;
    uint64_t end = offset + bytes.size;
    uint64_t growth = end > f->file->size ? end - f->file->size : 0;
    if (growth > d->capacity_bytes || d->used_bytes > d->capacity_bytes - growth)
        return -ENOSPC;
    d->used_bytes += growth;
    file_grow(f->file, (size_t)end);
    return 0;
}

int fake_disk_write(struct fake_disk *d, int fd, struct slice bytes, uint64_t offset, bool durable)
{
    struct fake_fd *f = fd_find(d, fd);
    int err = write_check(d, f, bytes, offset);
    if (err != 0 || bytes.size == 0)
        return err;
    struct fake_file *file = f->file;
    memcpy(file->now + offset, bytes.data, bytes.size);
    size_t end = (size_t)offset + bytes.size;
    for (size_t s = (size_t)offset / FAKE_SECTOR_BYTES; s * FAKE_SECTOR_BYTES < end; s++) {
        file->sectors[s] = SECTOR_DIRTY;
        if (durable)
            sector_settle(file, s);
    }
    if (durable && end > file->durable_size)
        file->durable_size = end;
    return 0;
}

void fake_disk_write_part(struct fake_disk *d, int fd, struct slice bytes, uint64_t offset,
                          struct prng *chance)
{
    struct fake_fd *f = fd_find(d, fd);
    if (write_check(d, f, bytes, offset) != 0)
        return;
    /* All, none, or a coin for each: the extremes are where mistakes hide. */
    uint64_t odds = prng_below(chance, 4);
    for (size_t at = 0; at < bytes.size;) {
        size_t room = FAKE_SECTOR_BYTES - ((size_t)offset + at) % FAKE_SECTOR_BYTES;
        size_t count = room < bytes.size - at ? room : bytes.size - at;
        if (odds == 3 || (odds != 2 && prng_below(chance, 2) == 0)) {
            memcpy(f->file->now + offset + at, bytes.data + at, count);
            f->file->sectors[((size_t)offset + at) / FAKE_SECTOR_BYTES] = SECTOR_DIRTY;
        }
        at += count;
    }
}

int fake_disk_sync(struct fake_disk *d, int fd)
{
    struct fake_fd *f = fd_find(d, fd);
    if (!f)
        return -EIO;
    struct fake_file *file = f->file;
    if (file->is_dir) {
        file->states[0] = *names_now(file);
        file->state_count = 1;
        return 0;
    }
    for (size_t s = 0; s * FAKE_SECTOR_BYTES < file->size; s++)
        if (file->sectors[s] == SECTOR_DIRTY)
            sector_settle(file, s);
    file->durable_size = file->size;
    return 0;
}

void fake_disk_sync_failed(struct fake_disk *d, int fd)
{
    struct fake_fd *f = fd_find(d, fd);
    if (!f || f->file->is_dir)
        return;
    for (size_t s = 0; s * FAKE_SECTOR_BYTES < f->file->size; s++)
        if (f->file->sectors[s] == SECTOR_DIRTY)
            f->file->sectors[s] = SECTOR_DROPPED;
}

/* ---- crash ---- */

static void file_crash(struct fake_file *file, struct prng *chance)
{
    uint64_t odds = prng_below(chance, 4); /* as in fake_disk_write_part */
    for (size_t s = 0; s * FAKE_SECTOR_BYTES < file->size; s++) {
        bool kept = odds == 3 || (odds != 2 && prng_below(chance, 2) == 0);
        if (file->sectors[s] == SECTOR_DIRTY && kept)
            sector_settle(file, s);
        file->sectors[s] = SECTOR_CLEAN;
    }
    if (file->durable_size < file->size && prng_below(chance, 2) == 0)
        file->durable_size = file->size;
    if (file->capacity > 0) {
        memset(file->durable + file->durable_size, 0, file->capacity - file->durable_size);
        memcpy(file->now, file->durable, file->capacity);
    }
    file->size = file->durable_size;
}

static void dir_crash(struct fake_file *dir, struct prng *chance)
{
    size_t kept = (size_t)prng_below(chance, dir->state_count);
    dir->states[0] = dir->states[kept];
    dir->state_count = 1;
}

static uint64_t used_bytes(const struct fake_file *dir)
{
    uint64_t bytes = 0;
    const struct fake_names *names = &dir->states[dir->state_count - 1];
    for (size_t i = 0; i < names->count; i++) {
        const struct fake_file *file = names->names[i].file;
        bytes += file->is_dir ? used_bytes(file) : file->size;
    }
    return bytes;
}

void fake_disk_crash(struct fake_disk *d, enum fake_crash kind, struct prng *chance)
{
    for (size_t i = 0; i < d->fd_count; i++)
        d->fds[i].file = NULL;
    d->open_count = 0;
    if (kind == FAKE_CRASH_PROCESS)
        return;
    for (struct fake_file *file = d->files; file; file = file->next_file) {
        if (file->is_dir)
            dir_crash(file, chance);
        else
            file_crash(file, chance);
    }
    d->used_bytes = used_bytes(d->root);
}

/* ---- looking and damaging ---- */

static struct fake_file *path_find(struct fake_disk *d, const char *path)
{
    struct fake_file *file = d->root;
    while (file && file->is_dir && *path) {
        size_t size = strcspn(path, "/");
        char name[FAKE_NAME_BYTES_MAX + 1] = { 0 };
        ASSERT(size < sizeof name);
        memcpy(name, path, size);
        struct fake_name *entry = name_find(file, name);
        file = entry ? entry->file : NULL;
        path += size + (path[size] == '/');
    }
    return file;
}

int64_t fake_disk_path_size(struct fake_disk *d, const char *path)
{
    struct fake_file *file = path_find(d, path);
    return file ? (int64_t)file->size : -1;
}

void fake_disk_peek(struct fake_disk *d, const char *path, uint64_t offset, void *to, size_t size)
{
    struct fake_file *file = path_find(d, path);
    ASSERT(file && offset + size <= file->size);
    memcpy(to, file->now + offset, size);
}

void fake_disk_poke(struct fake_disk *d, const char *path, uint64_t offset, struct slice bytes)
{
    struct fake_file *file = path_find(d, path);
    ASSERT(file && offset + bytes.size <= file->size);
    memcpy(file->now + offset, bytes.data, bytes.size);
    memcpy(file->durable + offset, bytes.data, bytes.size);
}

void fake_disk_flip(struct fake_disk *d, const char *path, uint64_t offset, uint8_t mask)
{
    uint8_t byte;
    fake_disk_peek(d, path, offset, &byte, 1);
    byte ^= mask;
    fake_disk_poke(d, path, offset, slice_of(&byte, 1));
}
