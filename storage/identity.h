/* identity.h: who this data directory is: one small file, replaced whole, and the lock on it.
 *
 * Blocking; used before the loop runs, or inside a job. The file `identity` holds {magic, format,
 * cluster id, member id, incarnation, formed, the formation record} with a checksum, and is
 * replaced by write, sync, rename, sync of the directory (docs: I7a).
 * Layout, little-endian: 0 checksum of the rest (8) | 8 magic "HFIDENT" and a zero (8) |
 * 16 format, 1 (4) | 20 formation bytes (4) | 24 cluster id (8) | 32 member id (8) |
 * 40 incarnation (16) | 56 formed (1) | 57 zero (7) | 64 formation
 * Thread: one at a time. Errors: as listed.
 */
#ifndef STORAGE_IDENTITY_H
#define STORAGE_IDENTITY_H

#include "base/io.h"

enum { INCARNATION_BYTES = 16, IDENTITY_FORMATION_BYTES_MAX = 1 << 16 };

#define IDENTITY_ERRORS(X)                                                                    \
    X(IDENTITY_OK, "ok")                                                                      \
    X(IDENTITY_E_ABSENT, "the data directory is blank")                                       \
    X(IDENTITY_E_IO, "the identity file cannot be read or written")                           \
    X(IDENTITY_E_NOSPACE, "no room on the disk for the identity file")                        \
    X(IDENTITY_E_CORRUPT, "the identity file is damaged")                                     \
    X(IDENTITY_E_VERSION, "the identity file was written by a newer version of this program") \
    X(IDENTITY_E_LOCKED, "another process uses the data directory")

#define IDENTITY_ENUM_ENTRY(name, text) name,
enum identity_err { IDENTITY_ERRORS(IDENTITY_ENUM_ENTRY) };
#undef IDENTITY_ENUM_ENTRY

const char *identity_strerror(enum identity_err err);

struct identity {
    uint64_t cluster_id;
    uint64_t member_id;
    uint8_t incarnation[INCARNATION_BYTES];
    bool formed; /* the initial members have settled on each other's disks */
    uint8_t formation[IDENTITY_FORMATION_BYTES_MAX]; /* holdfastpb.Formation, opaque here */
    size_t formation_bytes;
};

/* Opens the data directory, made when missing. The name stands in its parent, which nothing else
 * syncs: it is durable when this returns, or a power cut could take the directory with all that it
 * holds. A descriptor, or -errno. */
int identity_dir_open(struct io *io, const char *path);

/* Takes the lock file in the directory until ret_lock_fd is closed; IDENTITY_E_LOCKED when another
 * process has it. */
enum identity_err identity_lock(struct io *io, int dir_fd, int *ret_lock_fd)
    __attribute__((warn_unused_result));

enum identity_err identity_load(struct io *io, int dir_fd, struct identity *ret_identity)
    __attribute__((warn_unused_result));

/* Durable when it returns IDENTITY_OK. */
enum identity_err identity_save(struct io *io, int dir_fd, const struct identity *identity)
    __attribute__((warn_unused_result));

#endif
