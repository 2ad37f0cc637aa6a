/* fake_disk.h: files in memory that remember what a power cut would leave of them.
 *
 * Every file has what readers see (the page cache) and what is durable, sector by sector; every
 * directory has its names likewise. A crash of the process loses nothing of the cache; a cut of
 * the power keeps any subset of the unsynced sectors and some prefix of the unsynced changes of
 * names. A failed sync drops what it covered: a later sync that succeeds does not bring it back,
 * as on Linux.
 *
 * Thread: one. Bounds: names of FAKE_NAME_BYTES_MAX; capacity_bytes over all files (ENOSPC).
 * Errors: -errno.
 */
#ifndef TESTS_SUPPORT_FAKE_DISK_H
#define TESTS_SUPPORT_FAKE_DISK_H

#include "base/prng.h"
#include "base/slice.h"

enum { FAKE_SECTOR_BYTES = 512, FAKE_NAME_BYTES_MAX = 63 };

enum fake_crash {
    FAKE_CRASH_PROCESS, /* kill -9: the cache stays */
    FAKE_CRASH_POWER,   /* the cache is gone, but for what chance had already written out */
};

struct fake_disk;

struct fake_disk *fake_disk_new(void);
void fake_disk_free(struct fake_disk *d);

/* Descriptors are never given twice; a crash makes all of them stale (-EIO). AT_FDCWD
 * as dir_fd is the root. */
int fake_disk_root(struct fake_disk *d);
int fake_disk_open(struct fake_disk *d, int dir_fd, const char *name, bool create, bool direct);
/* -EWOULDBLOCK while another descriptor has it; see io.h. */
int fake_disk_lock(struct fake_disk *d, int dir_fd, const char *name);
int fake_disk_open_dir(struct fake_disk *d, int dir_fd, const char *name, bool create);
void fake_disk_close(struct fake_disk *d, int fd);
size_t fake_disk_open_count(const struct fake_disk *d);

int64_t fake_disk_size(struct fake_disk *d, int fd);
int64_t fake_disk_read(struct fake_disk *d, int fd, void *to, size_t size, uint64_t offset);
int fake_disk_write(struct fake_disk *d, int fd, struct slice bytes, uint64_t offset, bool durable);
int fake_disk_sync(struct fake_disk *d, int fd); /* of a directory: its names */
int fake_disk_rename(struct fake_disk *d, int dir_fd, const char *from, const char *to);
int fake_disk_remove(struct fake_disk *d, int dir_fd, const char *name);

/* A write that did not end: any subset of its sectors reaches the cache. */
void fake_disk_write_part(struct fake_disk *d, int fd, struct slice bytes, uint64_t offset,
                          struct prng *chance);

/* A sync that failed: what it should have written is dropped for good. */
void fake_disk_sync_failed(struct fake_disk *d, int fd);

void fake_disk_crash(struct fake_disk *d, enum fake_crash kind, struct prng *chance);

void fake_disk_set_capacity(struct fake_disk *d, uint64_t capacity_bytes);

/* For tests that look, or damage: path is below the root, with '/' between names. Both the cache
 * and the durable bytes change. -1: no such file. */
int64_t fake_disk_path_size(struct fake_disk *d, const char *path);
void fake_disk_peek(struct fake_disk *d, const char *path, uint64_t offset, void *to, size_t size);
void fake_disk_poke(struct fake_disk *d, const char *path, uint64_t offset, struct slice bytes);
void fake_disk_flip(struct fake_disk *d, const char *path, uint64_t offset, uint8_t mask);

#endif
