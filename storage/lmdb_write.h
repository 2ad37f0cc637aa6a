/* lmdb_write.h: LMDB's page writes go to the disk in steps.
 *
 * A commit hands all its pages to the page cache and then syncs: megabytes are in the disk's queue
 * at once, and a write of the journal, which clients wait for, stands behind them. So inside a
 * commit each 256 KiB are written out and waited for before the next follow. The daemon's own
 * pwrite and writev, which call this, stand in front of libc's for LMDB (lmdb_calls.c).
 * Thread: each its own. What durable means stays LMDB's: it syncs behind them as ever.
 */
#ifndef STORAGE_LMDB_WRITE_H
#define STORAGE_LMDB_WRITE_H

#include <stdbool.h>
#include <sys/types.h>

/* Around mdb_txn_commit; not nested. `rest` is called after each step. */
void lmdb_write_steps_begin(void (*rest)(void *owner), void *owner);
void lmdb_write_steps_end(void);
bool lmdb_write_in_steps(void);

/* Inside: `size` bytes were written at `offset`. False, with errno: earlier ones did not get to the
 * disk, and this write has to fail in their place. */
bool lmdb_write_step(int fd, off_t offset, size_t size) __attribute__((warn_unused_result));

#endif
