#include "tests/crash/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/prng.h"

enum { PAGE_BYTES = 4096, NAMES_MAX = 64, CHANGES_MAX = 512 };

struct bytes {
    uint8_t *data;
    uint64_t size;
    uint64_t capacity;
};

/* What a sector held after a write that nothing has synced yet. */
struct version {
    uint64_t sector;
    uint64_t op;
    uint8_t bytes[DISK_SECTOR_BYTES];
};

struct name {
    char text[DISK_NAME_BYTES_MAX];
    uint32_t node;
};

struct names {
    struct name at[NAMES_MAX];
    uint32_t count;
};

struct node {
    bool is_dir;
    ino_t inode;
    /* A file. */
    struct bytes durable;
    struct bytes cache;
    struct version *versions; /* oldest first */
    size_t version_count;
    size_t version_capacity;
    uint64_t *sizes; /* since the last sync */
    size_t size_count;
    /* A directory. */
    struct names names; /* durable */
    struct disk_op *changes;
    size_t change_count;
};

struct disk {
    struct node nodes[DISK_NODES_MAX];
    uint32_t node_count;
    uint64_t op_count;
};

static void *allocated(void *p)
{
    ASSERT(p != NULL);
    return p;
}

/* ---- bytes ---- */

static void bytes_resize(struct bytes *b, uint64_t size)
{
    if (size > b->capacity) {
        b->capacity = 2 * size;
        b->data = allocated(realloc(b->data, b->capacity));
    }
    if (size > b->size)
        memset(b->data + b->size, 0, size - b->size);
    b->size = size;
}

static void bytes_put(struct bytes *b, uint64_t offset, const uint8_t *from, uint64_t size)
{
    if (offset + size > b->size)
        bytes_resize(b, offset + size);
    memcpy(b->data + offset, from, size);
}

static void bytes_set(struct bytes *b, const struct bytes *from)
{
    bytes_resize(b, 0);
    if (from->size > 0)
        bytes_put(b, 0, from->data, from->size);
}

/* ---- life ---- */

struct disk *disk_new(void)
{
    struct disk *d = allocated(calloc(1, sizeof *d));
    d->node_count = 1;
    d->nodes[DISK_ROOT].is_dir = true;
    return d;
}

static void *copied(const void *from, size_t size)
{
    void *to = allocated(malloc(size + 1));
    if (size > 0)
        memcpy(to, from, size);
    return to;
}

struct disk *disk_copy(const struct disk *from)
{
    struct disk *d = copied(from, sizeof *from);
    for (uint32_t i = 0; i < d->node_count; i++) {
        struct node *n = &d->nodes[i];
        n->durable = n->cache = (struct bytes){ 0 };
        bytes_set(&n->durable, &from->nodes[i].durable);
        bytes_set(&n->cache, &from->nodes[i].cache);
        n->version_capacity = n->version_count;
        n->versions = copied(n->versions, n->version_count * sizeof *n->versions);
        n->sizes = copied(n->sizes, n->size_count * sizeof *n->sizes);
        n->changes = copied(n->changes, n->change_count * sizeof *n->changes);
    }
    return d;
}

void disk_free(struct disk *d)
{
    for (uint32_t i = 0; d != NULL && i < d->node_count; i++) {
        free(d->nodes[i].durable.data);
        free(d->nodes[i].cache.data);
        free(d->nodes[i].versions);
        free(d->nodes[i].sizes);
        free(d->nodes[i].changes);
    }
    free(d);
}

bool disk_node_of(const struct disk *d, ino_t inode, uint32_t *ret_node)
{
    for (uint32_t i = 0; i < d->node_count; i++) {
        *ret_node = i;
        if (d->nodes[i].inode == inode)
            return true;
    }
    return false;
}

void disk_bind(struct disk *d, uint32_t node, ino_t inode)
{
    ASSERT(node < DISK_NODES_MAX);
    if (node >= d->node_count)
        d->node_count = node + 1;
    d->nodes[node].inode = inode;
}

uint32_t disk_node_count(const struct disk *d)
{
    return d->node_count;
}

bool disk_is_clean(const struct disk *d)
{
    for (uint32_t i = 0; i < d->node_count; i++)
        if (d->nodes[i].version_count + d->nodes[i].size_count + d->nodes[i].change_count > 0)
            return false;
    return true;
}

/* ---- files ---- */

static void version_add(struct disk *d, struct node *n, uint64_t sector)
{
    if (n->version_count == n->version_capacity) {
        n->version_capacity = 2 * n->version_capacity + 64;
        n->versions = allocated(realloc(n->versions, n->version_capacity * sizeof *n->versions));
    }
    struct version *v = &n->versions[n->version_count++];
    *v = (struct version){ .sector = sector, .op = d->op_count };
    uint64_t at = sector * DISK_SECTOR_BYTES;
    uint64_t left = n->cache.size - at;
    memcpy(v->bytes, n->cache.data + at, left < DISK_SECTOR_BYTES ? left : DISK_SECTOR_BYTES);
}

static void size_set(struct node *n, uint64_t size)
{
    if (size == n->cache.size)
        return;
    bytes_resize(&n->cache, size);
    n->sizes = allocated(realloc(n->sizes, (n->size_count + 1) * sizeof *n->sizes));
    n->sizes[n->size_count++] = size;
}

static void file_write(struct disk *d, struct node *n, const struct disk_op *op)
{
    if (op->size == 0)
        return;
    if (op->offset + op->size > n->cache.size)
        size_set(n, op->offset + op->size);
    bytes_put(&n->cache, op->offset, op->bytes, op->size);
    uint64_t last = (op->offset + op->size - 1) / DISK_SECTOR_BYTES;
    for (uint64_t sector = op->offset / DISK_SECTOR_BYTES; sector <= last; sector++)
        version_add(d, n, sector);
}

static void file_sync(struct node *n)
{
    bytes_set(&n->durable, &n->cache);
    n->version_count = 0;
    n->size_count = 0;
}

/* Of these sectors alone; the length is what finds them. */
static void file_sync_range(struct node *n, uint64_t offset, uint64_t size)
{
    uint64_t first = offset / DISK_SECTOR_BYTES;
    uint64_t last = (offset + size - 1) / DISK_SECTOR_BYTES;
    bytes_resize(&n->durable, n->cache.size);
    n->size_count = 0;
    size_t kept = 0;
    for (size_t i = 0; i < n->version_count; i++)
        if (n->versions[i].sector < first || n->versions[i].sector > last)
            n->versions[kept++] = n->versions[i];
    n->version_count = kept;
    uint64_t begin = first * DISK_SECTOR_BYTES;
    uint64_t end = (last + 1) * DISK_SECTOR_BYTES;
    end = end < n->cache.size ? end : n->cache.size;
    memcpy(n->durable.data + begin, n->cache.data + begin, end - begin);
}

/* ---- names ---- */

static void name_copy(char *to, const char *from)
{
    size_t size = strlen(from) + 1;
    ASSERT(size <= DISK_NAME_BYTES_MAX);
    memcpy(to, from, size);
}

static void name_remove(struct names *names, const char *text)
{
    for (uint32_t i = 0; i < names->count; i++)
        if (strcmp(names->at[i].text, text) == 0) {
            names->at[i] = names->at[--names->count];
            return;
        }
}

static void name_change(struct names *names, const struct disk_op *op)
{
    name_remove(names, op->name);
    if (op->type == DISK_OP_REMOVE)
        return;
    const char *text = op->type == DISK_OP_RENAME ? op->to : op->name;
    name_remove(names, text);
    ASSERT(names->count < NAMES_MAX);
    struct name *name = &names->at[names->count++];
    name->node = op->node;
    name_copy(name->text, text);
}

static void change_add(struct node *dir, const struct disk_op *op)
{
    ASSERT(dir->change_count < CHANGES_MAX);
    dir->changes = allocated(realloc(dir->changes, (dir->change_count + 1) * sizeof *dir->changes));
    dir->changes[dir->change_count++] = *op;
}

static void names_sync(struct node *dir)
{
    for (size_t i = 0; i < dir->change_count; i++)
        name_change(&dir->names, &dir->changes[i]);
    dir->change_count = 0;
}

void disk_apply(struct disk *d, const struct disk_op *op)
{
    ASSERT(op->node < DISK_NODES_MAX);
    if (op->node >= d->node_count)
        d->node_count = op->node + 1;
    struct node *n = &d->nodes[op->node];
    d->op_count++;
    switch (op->type) {
    case DISK_OP_WRITE:
        file_write(d, n, op);
        return;
    case DISK_OP_SIZE:
        size_set(n, op->size);
        return;
    case DISK_OP_SYNC:
        file_sync(n);
        return;
    case DISK_OP_SYNC_RANGE:
        file_sync_range(n, op->offset, op->size);
        return;
    case DISK_OP_MAKE:
        n->is_dir = op->is_dir;
        change_add(&d->nodes[op->dir], op);
        return;
    case DISK_OP_RENAME:
    case DISK_OP_REMOVE:
        change_add(&d->nodes[op->dir], op);
        return;
    case DISK_OP_SYNC_NAMES:
        names_sync(n);
        return;
    case DISK_OP_MARK:
        return;
    }
}

/* ---- what a cut leaves ---- */

static uint64_t chance_of(const struct disk_cut *cut, uint64_t what)
{
    struct prng p = prng_seeded(cut->salt ^ (what * 0x9e3779b97f4a7c15u));
    return prng_next(&p);
}

/* How many of eight are kept: few, half or most of them. */
static bool is_kept_by_chance(const struct disk_cut *cut, uint64_t what)
{
    static const uint64_t of_8[] = { 1, 4, 7 };
    return chance_of(cut, what) % 8 < of_8[chance_of(cut, UINT64_MAX) % 3];
}

static bool version_is_kept(const struct node *n, size_t i, const struct disk_cut *cut)
{
    const struct version *v = &n->versions[i];
    uint64_t chosen_op = n->versions[chance_of(cut, n->version_count) % n->version_count].op;
    switch (cut->loss) {
    case DISK_LOSS_NONE:
        return true;
    case DISK_LOSS_ALL:
        return false;
    case DISK_LOSS_SECTORS:
        return is_kept_by_chance(cut, i);
    case DISK_LOSS_PAGES:
        return is_kept_by_chance(cut, v->sector / (PAGE_BYTES / DISK_SECTOR_BYTES));
    case DISK_LOSS_WRITES:
        return is_kept_by_chance(cut, v->op);
    case DISK_LOSS_ONE_WRITE:
        return v->op != chosen_op;
    case DISK_LOSS_ALL_BUT_ONE:
        return v->op == chosen_op;
    case DISK_LOSS_KINDS:
        break;
    }
    return false;
}

/* As a first part of `count` changes: how many. */
static size_t part_kept(const struct disk_cut *cut, size_t count, uint64_t what)
{
    switch (cut->loss) {
    case DISK_LOSS_NONE:
    case DISK_LOSS_ONE_WRITE:
        return count;
    case DISK_LOSS_ALL:
        return 0;
    case DISK_LOSS_SECTORS:
    case DISK_LOSS_PAGES:
    case DISK_LOSS_WRITES:
    case DISK_LOSS_ALL_BUT_ONE:
    case DISK_LOSS_KINDS:
        break;
    }
    return chance_of(cut, ~what) % (count + 1);
}

static void file_cut(const struct node *n, const struct disk_cut *cut, struct bytes *to)
{
    bytes_set(to, &n->durable);
    size_t sizes = part_kept(cut, n->size_count, 1);
    uint64_t size = sizes == 0 ? n->durable.size : n->sizes[sizes - 1];
    bytes_resize(to, size);
    for (size_t i = 0; i < n->version_count; i++) {
        const struct version *v = &n->versions[i];
        uint64_t at = v->sector * DISK_SECTOR_BYTES;
        if (at >= size || !version_is_kept(n, i, cut))
            continue;
        uint64_t left = size - at < DISK_SECTOR_BYTES ? size - at : DISK_SECTOR_BYTES;
        memcpy(to->data + at, v->bytes, left);
    }
}

static void file_write_out(struct node *n, const struct disk_cut *cut, int dir_fd, const char *name)
{
    static struct bytes image; /* kept for the next one */
    if (strcmp(name, "lock.mdb") == 0 && cut->loss != DISK_LOSS_NONE) {
        if (chance_of(cut, 2) % 3 == 0)
            return;
        bytes_resize(&image, 0);
        bytes_resize(&image, chance_of(cut, 2) % 3 == 1 ? 0 : 2 * PAGE_BYTES);
        memset(image.data, (int)(cut->salt & 0xff), image.size);
    } else {
        file_cut(n, cut, &image);
    }
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ASSERT(fd >= 0);
    ASSERT(write(fd, image.data, image.size) == (ssize_t)image.size);
    struct stat st;
    ASSERT(fstat(fd, &st) == 0);
    if (cut->loss == DISK_LOSS_NONE)
        n->inode = st.st_ino;
    close(fd);
}

static void dir_write_out(struct disk *d, uint32_t dir, const struct disk_cut *cut, int dir_fd)
{
    struct node *n = &d->nodes[dir];
    struct names names = n->names;
    size_t count = part_kept(cut, n->change_count, dir);
    for (size_t i = 0; i < count; i++)
        name_change(&names, &n->changes[i]);
    struct stat st;
    ASSERT(fstat(dir_fd, &st) == 0);
    if (cut->loss == DISK_LOSS_NONE)
        n->inode = st.st_ino;
    for (uint32_t i = 0; i < names.count; i++) {
        const struct name *name = &names.at[i];
        if (!d->nodes[name->node].is_dir) {
            file_write_out(&d->nodes[name->node], cut, dir_fd, name->text);
            continue;
        }
        ASSERT(mkdirat(dir_fd, name->text, 0700) == 0);
        int fd = openat(dir_fd, name->text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ASSERT(fd >= 0);
        dir_write_out(d, name->node, cut, fd);
        close(fd);
    }
}

void disk_write_out(struct disk *d, const struct disk_cut *cut, const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ASSERT(fd >= 0);
    dir_write_out(d, DISK_ROOT, cut, fd);
    close(fd);
}

/* ---- from files ---- */

static void dir_load(struct disk *d, uint32_t dir, int dir_fd);

static void node_load(struct disk *d, uint32_t dir, int dir_fd, const char *text)
{
    struct stat st;
    int fd = openat(dir_fd, text, O_RDONLY | O_CLOEXEC);
    ASSERT(fd >= 0 && fstat(fd, &st) == 0);
    ASSERT(d->node_count < DISK_NODES_MAX);
    uint32_t node = d->node_count++;
    struct node *n = &d->nodes[node];
    *n = (struct node){ .is_dir = S_ISDIR(st.st_mode), .inode = st.st_ino };
    struct names *names = &d->nodes[dir].names;
    ASSERT(names->count < NAMES_MAX);
    names->at[names->count].node = node;
    name_copy(names->at[names->count++].text, text);
    if (n->is_dir) {
        dir_load(d, node, fd);
    } else {
        bytes_resize(&n->cache, (uint64_t)st.st_size);
        ASSERT(pread(fd, n->cache.data, n->cache.size, 0) == st.st_size);
        bytes_set(&n->durable, &n->cache);
    }
    close(fd);
}

static void dir_load(struct disk *d, uint32_t dir, int dir_fd)
{
    DIR *listing = fdopendir(dup(dir_fd));
    ASSERT(listing != NULL);
    struct dirent *entry;
    while ((entry = readdir(listing)) != NULL)
        if (entry->d_name[0] != '.')
            node_load(d, dir, dir_fd, entry->d_name);
    closedir(listing);
}

struct disk *disk_load(const char *path)
{
    struct disk *d = disk_new();
    struct stat st;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ASSERT(fd >= 0 && fstat(fd, &st) == 0);
    d->nodes[DISK_ROOT].inode = st.st_ino;
    dir_load(d, DISK_ROOT, fd);
    close(fd);
    return d;
}

void disk_dir_clear(const char *path)
{
    DIR *listing = opendir(path);
    ASSERT(listing != NULL);
    struct dirent *entry;
    while ((entry = readdir(listing)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        char below[PATH_MAX];
        ASSERT(snprintf(below, sizeof below, "%s/%s", path, entry->d_name) < (int)sizeof below);
        if (unlink(below) == 0)
            continue;
        disk_dir_clear(below);
        ASSERT(rmdir(below) == 0);
    }
    closedir(listing);
}
