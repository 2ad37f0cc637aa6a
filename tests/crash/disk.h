/* disk.h: a disk as a power cut sees it: what is durable, what is only in the cache, and the
 * states that may be found afterwards.
 *
 * The model, from recorded system calls:
 *   - a file's bytes are kept in sectors of 512 bytes, each written whole or not at all. Of what
 *     was written to a sector since it was last synced any version may be found, in any order
 *     among sectors (torn and reordered writes), or none of them;
 *   - a file's length is any that it had since the last sync; bytes that never arrived are zero;
 *   - a sync of a file makes all of it durable, a durable write (O_DSYNC, RWF_DSYNC) its own
 *     sectors and the length alone. A sync of a file says nothing about its name;
 *   - names made, renamed and removed since their directory was synced: any first part of them.
 * Not covered: sectors torn inside, sectors that a disk corrupts or misplaces, stale bytes of
 * other files in a file that grew, a disk that reports a sync that it did not do. The contents of
 * LMDB's lock file are written through a map, which nothing here sees: afterwards it is absent,
 * empty or garbage.
 *
 * Owner:  the caller; disk_free. Thread: one. Bounds: DISK_NODES_MAX files and directories.
 */
#ifndef TESTS_CRASH_DISK_H
#define TESTS_CRASH_DISK_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/slice.h"

enum {
    DISK_SECTOR_BYTES = 512,
    DISK_NODES_MAX = 128,
    DISK_NAME_BYTES_MAX = 32,
    DISK_ROOT = 0,
};

enum disk_op_type {
    DISK_OP_WRITE,      /* into the cache */
    DISK_OP_SIZE,       /* ftruncate, likewise */
    DISK_OP_SYNC,       /* the file */
    DISK_OP_SYNC_RANGE, /* the end of a durable write */
    DISK_OP_MAKE,       /* a name for a new file or directory */
    DISK_OP_RENAME,
    DISK_OP_REMOVE,
    DISK_OP_SYNC_NAMES, /* of the directory */
    DISK_OP_MARK,       /* nothing happens to the disk: the test's own note */
};

struct disk_op {
    enum disk_op_type type;
    uint32_t node; /* the file, or what is made; of SYNC_NAMES: the directory */
    uint32_t dir;  /* of names */
    bool is_dir;   /* what is made */
    uint64_t offset;
    uint64_t size;
    uint8_t *bytes; /* of a write */
    char name[DISK_NAME_BYTES_MAX];
    char to[DISK_NAME_BYTES_MAX]; /* of a rename */
    uint64_t mark;
};

struct disk;

struct disk *disk_new(void);                     /* an empty root directory, durable */
struct disk *disk_copy(const struct disk *from); /* with all that is not synced yet */
void disk_free(struct disk *d);

void disk_apply(struct disk *d, const struct disk_op *op);

/* Which part of what was not synced is lost. */
enum disk_loss {
    DISK_LOSS_NONE, /* the kernel had written all of it: or, the process died, not the machine */
    DISK_LOSS_ALL,
    DISK_LOSS_SECTORS,     /* each version of a sector by chance */
    DISK_LOSS_PAGES,       /* each page of 4096 bytes as a whole */
    DISK_LOSS_WRITES,      /* each write as a whole */
    DISK_LOSS_ONE_WRITE,   /* all is there but one write ... */
    DISK_LOSS_ALL_BUT_ONE, /* ... or nothing but one */
    DISK_LOSS_KINDS,
};

struct disk_cut {
    enum disk_loss loss;
    uint64_t salt; /* of all that chance decides */
};

/* Writes the files as this cut leaves them below `path`, an empty directory. With
 * DISK_LOSS_NONE the disk then stands for these very files (disk_node_of). */
void disk_write_out(struct disk *d, const struct disk_cut *cut, const char *path);

/* The files below `path`, all of them durable. */
struct disk *disk_load(const char *path);

/* For the recorder: files are known by inode. Binding a new one to the next free node. */
bool disk_node_of(const struct disk *d, ino_t inode, uint32_t *ret_node);
void disk_bind(struct disk *d, uint32_t node, ino_t inode);
uint32_t disk_node_count(const struct disk *d);

/* Whether there is something a cut could lose. */
bool disk_is_clean(const struct disk *d);

/* Removes what is below `path`, but not `path`. */
void disk_dir_clear(const char *path);

#endif
