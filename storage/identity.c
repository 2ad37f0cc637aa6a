#include "storage/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "storage/whole_file.h"

enum {
    AT_SUM = 0,
    AT_MAGIC = 8,
    AT_FORMAT = 16,
    AT_FORMATION_BYTES = 20,
    AT_CLUSTER = 24,
    AT_MEMBER = 32,
    AT_INCARNATION = 40,
    AT_FORMED = 56,
    AT_FORMATION = 64,
};

enum { IDENTITY_FORMAT = 1, MAGIC_BYTES = 8 };

static const char magic[MAGIC_BYTES + 1] = "HFIDENT";
static const char name_of_file[] = "identity";
static const char name_of_next[] = "identity.new";

const char *identity_strerror(enum identity_err err)
{
#define IDENTITY_TEXT(name, text) \
    case name:                    \
        return text;
    switch (err) {
        IDENTITY_ERRORS(IDENTITY_TEXT)
    }
#undef IDENTITY_TEXT
    return "unknown error";
}

static enum identity_err err_of(int64_t negative_errno)
{
    return negative_errno == -ENOSPC || negative_errno == -EDQUOT ? IDENTITY_E_NOSPACE
                                                                  : IDENTITY_E_IO;
}

static uint64_t sum_of(const uint8_t *bytes, size_t size)
{
    return checksum(slice_of(bytes + AT_MAGIC, size - AT_MAGIC), 0);
}

/* ---- the directory ---- */

/* The name of a directory that was just made is durable when its parent is synced; without that a
 * power cut leaves a blank member, whose journal and store were safe in vain (I7a). */
static int sync_parent(struct io *io, const char *path)
{
    char *copy = strdup(path);
    if (!copy)
        return -ENOMEM;
    int parent_fd = io->ops->dir_open(io, AT_FDCWD, dirname(copy), 0);
    free(copy);
    if (parent_fd == -EACCES)
        return 0; /* not ours to read, so whoever owns it made the directory for us */
    if (parent_fd < 0)
        return parent_fd;
    int err = io->ops->dir_sync(io, parent_fd);
    io->ops->file_close(io, parent_fd);
    return err;
}

int identity_dir_open(struct io *io, const char *path)
{
    int fd = io->ops->dir_open(io, AT_FDCWD, path, IO_OPEN_CREATE);
    int err = fd < 0 ? fd : sync_parent(io, path);
    if (fd >= 0 && err < 0)
        io->ops->file_close(io, fd);
    return err < 0 ? err : fd;
}

/* ---- lock ---- */

enum identity_err identity_lock(struct io *io, int dir_fd, int *ret_lock_fd)
{
    int fd = io->ops->file_lock(io, dir_fd, "lock");
    if (fd < 0)
        return fd == -EWOULDBLOCK ? IDENTITY_E_LOCKED : err_of(fd);
    *ret_lock_fd = fd;
    return IDENTITY_OK;
}

/* ---- load ---- */

static enum identity_err decode(struct slice in, struct identity *ret_identity)
{
    if (in.size < AT_FORMATION || memcmp(in.data + AT_MAGIC, magic, MAGIC_BYTES) != 0 ||
        get_le64(in.data + AT_SUM) != sum_of(in.data, in.size))
        return IDENTITY_E_CORRUPT;
    /* Only now, behind the checksum, is an odd number somebody's newer version. */
    if (get_le32(in.data + AT_FORMAT) != IDENTITY_FORMAT)
        return IDENTITY_E_VERSION;
    size_t formation_bytes = get_le32(in.data + AT_FORMATION_BYTES);
    if (formation_bytes > IDENTITY_FORMATION_BYTES_MAX ||
        formation_bytes != in.size - AT_FORMATION || in.data[AT_FORMED] > 1)
        return IDENTITY_E_CORRUPT;
    ret_identity->cluster_id = get_le64(in.data + AT_CLUSTER);
    ret_identity->member_id = get_le64(in.data + AT_MEMBER);
    memcpy(ret_identity->incarnation, in.data + AT_INCARNATION, INCARNATION_BYTES);
    ret_identity->formed = in.data[AT_FORMED] == 1;
    memcpy(ret_identity->formation, in.data + AT_FORMATION, formation_bytes);
    ret_identity->formation_bytes = formation_bytes;
    return IDENTITY_OK;
}

enum identity_err identity_load(struct io *io, int dir_fd, struct identity *ret_identity)
{
    /* One more than the largest: a longer file does not verify. */
    enum { BYTES_MAX = AT_FORMATION + IDENTITY_FORMATION_BYTES_MAX + 1 };
    uint8_t *bytes = malloc(BYTES_MAX);
    if (!bytes)
        return IDENTITY_E_IO;
    int64_t got = whole_file_load(io, dir_fd, name_of_file, bytes, BYTES_MAX);
    enum identity_err err = got == -ENOENT ? IDENTITY_E_ABSENT : IDENTITY_E_IO;
    if (got >= 0)
        err = decode(slice_of(bytes, (size_t)got), ret_identity);
    free(bytes);
    return err;
}

/* ---- save ---- */

static size_t encode(uint8_t *to, const struct identity *identity)
{
    size_t size = AT_FORMATION + identity->formation_bytes;
    memset(to, 0, AT_FORMATION);
    memcpy(to + AT_MAGIC, magic, MAGIC_BYTES);
    put_le32(to + AT_FORMAT, IDENTITY_FORMAT);
    put_le32(to + AT_FORMATION_BYTES, (uint32_t)identity->formation_bytes);
    put_le64(to + AT_CLUSTER, identity->cluster_id);
    put_le64(to + AT_MEMBER, identity->member_id);
    memcpy(to + AT_INCARNATION, identity->incarnation, INCARNATION_BYTES);
    to[AT_FORMED] = identity->formed ? 1 : 0;
    memcpy(to + AT_FORMATION, identity->formation, identity->formation_bytes);
    put_le64(to + AT_SUM, sum_of(to, size));
    return size;
}

enum identity_err identity_save(struct io *io, int dir_fd, const struct identity *identity)
{
    ASSERT(identity->formation_bytes <= IDENTITY_FORMATION_BYTES_MAX);
    uint8_t *bytes = malloc(AT_FORMATION + identity->formation_bytes);
    if (!bytes)
        return IDENTITY_E_IO;
    size_t size = encode(bytes, identity);
    int err = whole_file_replace(io, dir_fd, name_of_file, name_of_next, slice_of(bytes, size));
    free(bytes);
    return err == 0 ? IDENTITY_OK : err_of(err);
}
