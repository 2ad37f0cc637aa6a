/* count_tree.h: the `count` tree: how many keys live from one boundary to the next.
 *
 * A boundary is a live key of up to COUNT_TREE_BOUNDARY_BYTES_MAX bytes whose hash ends in zeros,
 * about every 32nd; more zeros take it to higher levels, one boundary in 16 to the next. In front
 * of all keys stands the empty boundary, on every level. On each level the row of a boundary says
 * how many keys live from it (with it) up to the next one of that level:
 *
 *   LMDB key:  level (1) | boundary
 *   row:       format (1) | level of the boundary (1) | 2 zero | count (8) | check (4)
 *
 * Little-endian; the check is over the row's key and the rest. So a skip list: what lives in an
 * interval is a few rows of each level on the way up and down again, and the keys of two blocks at
 * its ends. Which keys are boundaries depends on nothing but the live keys: the same keys make the
 * same tree, whatever happened before, and nothing has to be split or joined for its size.
 *
 * The rows are always of the published revision: a flush changes them in the transaction that
 * publishes (I3). A row that was missed shows as STORE_E_CORRUPT or as a wrong count, so whatever
 * writes into the key tree changes them too: store_counts.c.
 *
 * Internal to storage/. Thread: that of the transaction. Errors: store_err.
 */
#ifndef STORAGE_COUNT_TREE_H
#define STORAGE_COUNT_TREE_H

#include <lmdb.h>

#include "storage/key_interval.h"
#include "storage/key_tree.h"
#include "storage/store.h"

enum {
    COUNT_TREE_LEVELS = 6,
    COUNT_TREE_BOUNDARY_BYTES_MAX = 500, /* LMDB's keys end at 511 */
    COUNT_TREE_ROW_BYTES = 16,
    COUNT_TREE_NONE = -1
};

/* flags: MDB_CREATE or 0. */
enum store_err count_tree_open(MDB_txn *txn, unsigned flags, MDB_dbi *ret_dbi)
    __attribute__((warn_unused_result));

/* The tree of no keys: nothing but the empty boundary. */
enum store_err count_tree_reset(MDB_txn *txn, MDB_dbi dbi) __attribute__((warn_unused_result));

/* The highest level on which the key is a boundary while it lives; COUNT_TREE_NONE: it is none. */
int count_tree_level_of(struct slice key);

/* ---- counting ---- */

struct count_tree_reader {
    MDB_cursor *rows;
    struct key_tree_cursor *keys; /* opened at the published revision, one version a key */
    uint64_t steps_max;           /* left to take: a row or a key each */
};

/* The live keys of the interval, which is not empty. *ret_known is false when steps_max is spent
 * before. */
enum store_err count_tree_count(struct count_tree_reader *r, const struct key_interval *keys,
                                uint64_t *ret_count, bool *ret_known)
    __attribute__((warn_unused_result));

/* ---- changing ---- */

struct count_boundary {
    size_t size;
    uint8_t bytes[COUNT_TREE_BOUNDARY_BYTES_MAX];
};

struct count_block {
    bool is_open;
    bool is_changed; /* its row says something else */
    bool has_next;
    int boundary_level;
    uint64_t count;
    struct count_boundary start;
    struct count_boundary next;
};

/* Through the keys that lived before in the block of level 0 as it was loaded, whatever became of
 * it since: as far as the last boundary that was born in it. */
struct count_walk {
    struct count_boundary from; /* where the block began */
    uint64_t total;             /* that lived from there to the block's end */
    uint64_t passed;            /* of them, so far */
    bool total_is_known;
    bool has_begun;
    struct kv_record record; /* that the cursor stands at */
    bool found;
};

/* Of 7 KiB, on its caller's stack; what is in it is count_tree_write.c's. Where pages rotted LMDB
 * may write past its copies of them: the less of ours stands beside these the better. */
struct count_tree_writer {
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_cursor *rows;
    struct key_tree_cursor *before; /* NULL: nothing lived */
    bool has_loaded;
    struct count_walk walk;
    struct count_block blocks[COUNT_TREE_LEVELS];
};

/* before: a cursor over the key tree as it was before the changes, borrowed until the end; NULL
 * when no key lives at or after any that will be added. */
enum store_err count_tree_writer_begin(struct count_tree_writer *w, MDB_txn *txn, MDB_dbi dbi,
                                       struct key_tree_cursor *before)
    __attribute__((warn_unused_result));

/* A key that lives from now on (change 1) or no longer (-1); keys ascend from call to call.
 * STORE_E_CORRUPT when the rows cannot be those of the keys before. */
enum store_err count_tree_change(struct count_tree_writer *w, struct slice key, int change)
    __attribute__((warn_unused_result));

/* Writes what is still in memory, or with `discard` nothing. The writer is done with, whatever it
 * returns; one that is all zeros has not begun, and that is fine. */
enum store_err count_tree_writer_end(struct count_tree_writer *w, bool discard)
    __attribute__((warn_unused_result));

/* At most so much of the tree's pages do so many changes dirty. */
enum store_err count_tree_dirty_bytes(MDB_txn *txn, MDB_dbi dbi, uint64_t changes,
                                      uint64_t *ret_bytes) __attribute__((warn_unused_result));

#endif
