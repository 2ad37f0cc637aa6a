/* store_switch.h: a complete snapshot takes the place of the store.
 *
 * Three directories below the data directory: `store`, the environment in use; `store.new`, one
 * that a snapshot_sink builds; `store.old`, the one before, about to be removed. The order of an
 * install, each step durable before the next:
 *   1. store.new is complete at pos (snapshot_sink.h);
 *   2. the journal has a batch with JOURNAL_RESET_DROP or _KEEP at pos: the commit point;
 *   3. store_switch: store -> store.old, store.new -> store, store.old is removed.
 * A start calls store_switch_recover before store_open:
 *   the node dies          store    store.new    store.old  journal      the start does
 *   before 1               before   incomplete   -          as it was    removes store.new
 *   between 1 and 2        before   at pos       -          as it was    removes store.new
 *   between 2 and 3        before   at pos       -          reset at pos goes on with 3
 *   within 3               -        at pos       before     reset at pos goes on with 3
 *   within 3               at pos   -            before     reset at pos removes store.old
 *   after 3                at pos   -            -          reset at pos nothing
 * A store.new that is at the position of an older reset cannot be: a snapshot is taken only at a
 * position past everything that is committed here.
 *
 * Thread: blocking; before the loop runs, or in a job while nothing is flushed. Everything is on
 * LMDB's side of the line: these functions act on the file system themselves.
 * Readers of the store before may go on: it keeps its files until it is closed. But it is never
 * written again.
 * Errors: store_err; STORE_E_IO, _NOSPACE are final (I6).
 */
#ifndef STORAGE_STORE_SWITCH_H
#define STORAGE_STORE_SWITCH_H

#include "storage/journal.h"
#include "storage/store.h"

enum { STORE_PATH_BYTES_MAX = 4096 };

#define STORE_DIR     "store"
#define STORE_DIR_NEW "store.new"
#define STORE_DIR_OLD "store.old"

/* A store that was given up, until the repair is over: should one defect have made all members give
 * up theirs, people can still get at it. Nothing reads it. */
#define STORE_DIR_LOST "store.lost"

/* Step 3. Also goes on with one that was interrupted. store.new is not open. */
enum store_err store_switch(const char *data_dir) __attribute__((warn_unused_result));

enum store_switch_outcome {
    STORE_SWITCH_NONE,      /* there was nothing to do */
    STORE_SWITCH_DISCARDED, /* a snapshot that was not installed was removed */
    STORE_SWITCH_FINISHED,  /* one that was, is the store now */
};

/* What a start does first. `store` and `journal` are the options with which both are opened
 * afterwards (store->path is data_dir/store). Reads the journal, and changes nothing in it; a
 * journal that cannot be read says so when it is opened: then nothing is done here. */
enum store_err store_switch_recover(const char *data_dir, const struct store_options *store,
                                    const struct journal_options *journal,
                                    enum store_switch_outcome *ret_outcome)
    __attribute__((warn_unused_result));

/* The store is lost (repair_mark.h): sets it aside as store.lost, unless there is one already, and
 * removes store.new and store.old. Durable. */
enum store_err store_discard(const char *data_dir) __attribute__((warn_unused_result));

/* Removes store.lost, durably; none there is fine. */
enum store_err store_lost_remove(const char *data_dir) __attribute__((warn_unused_result));

#endif
