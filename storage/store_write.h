/* store_write.h: struct store, and the transactions of one write job. Shared by store*.c alone.
 *
 * A job writes through a store_writer. What it is about to dirty it announces; when the open
 * transaction has no room for it, that one commits and the next begins. Each commit carries a
 * meta row: as long as rows of the flush are still missing it says what the one before said,
 * but for the layer ids taken since, so that an id in a committed row is never given out again.
 * Thread: the job's. Errors: any is final for the store (I6).
 */
#ifndef STORAGE_STORE_WRITE_H
#define STORAGE_STORE_WRITE_H

#include "storage/key_tree.h"
#include "storage/store_internal.h"
#include "storage/store_meta.h"
#include "storage/store_pace.h"

enum {
    STORE_PAGE_BYTES = 4096,
    STORE_DIRTY_BYTES_MAX = 256 << 20, /* half of the pages at which LMDB 0.9.24 spills */
    STORE_DIRTY_BYTES_MIN = 64 << 10,
    STORE_MEMBERSHIP_BYTES_MAX = 64 << 10,
    STORE_OWN_READERS = 2, /* beside the caller's: store_log_read, the count of free pages */
    STORE_TREES = 5,
};

struct store_trees {
    MDB_dbi meta;
    MDB_dbi log;
    MDB_dbi rev;
    MDB_dbi key;
    MDB_dbi count;
};

struct store {
    struct io *io;
    MDB_env *env;
    const void *map; /* LMDB's; NULL: not guarded yet */
    struct store_trees trees;
    uint64_t cluster_id;
    uint64_t dirty_bytes_max;
    struct store_pace pace;
    uint32_t format_found; /* when it was opened */
    /* The loop's. */
    bool busy; /* a job is running */
    uint64_t began_us;
    struct store_state published;
    struct store_usage usage;
    struct list holds; /* of store_hold */
    uint32_t hold_count;
    uint8_t *membership;     /* behind published.membership; NULL: in open_arena */
    struct arena open_arena; /* what store_open gave out */
    /* The job's while it runs. */
    enum store_err failed; /* of an earlier job: nothing is written any more (I6) */
    int64_t compact_limit; /* changes above it keep what they superseded: the holds, at its begin */
    uint64_t next_layer_id;
    struct store_state next;
    struct store_usage next_usage;
};

struct store_writer {
    struct store *store;
    MDB_txn *txn;
    struct store_state publish;  /* what a commit's meta row says */
    uint64_t dirty_bytes;        /* of the open transaction, about */
    struct key_tree_writer keys; /* in it */
};

enum store_err store_writer_begin(struct store_writer *w, struct store *s)
    __attribute__((warn_unused_result));

/* What a row of the log or rev tree dirties: with its neighbours in a page, or in its own. */
uint64_t store_row_dirty_bytes(size_t row_bytes);

/* Room for what is about to be dirtied, or was just now (then it is little). */
enum store_err store_writer_reserve(struct store_writer *w, uint64_t bytes)
    __attribute__((warn_unused_result));

/* Puts a run of changes of one key into the key tree (key_tree_put), with room for it; in the order
 * of keys it costs least. */
enum store_err store_writer_put_keys(struct store_writer *w, const struct kv_record *records,
                                     size_t count) __attribute__((warn_unused_result));

/* Commits what is open; with STORE_OK nothing is open afterwards. */
enum store_err store_writer_commit(struct store_writer *w) __attribute__((warn_unused_result));

/* Drops what is not committed. Nothing open is fine. */
void store_writer_abort(struct store_writer *w);

/* Reads LMDB's list of free pages; what was known before when that cannot be read. */
struct store_usage store_usage_measure(struct store *s);

/* ---- the flush ---- */

/* Of a key that lives from some revision on (1), or no longer (-1); 0 where that came to nothing.
 */
struct store_count_change {
    const struct memtable_node *node; /* one of the key's */
    int change;
};

/* Those of a memtable, in the order of keys. They are noted by who walks all of it anyway: each
 * node of such a walk is a cache miss. */
struct store_count_changes {
    int64_t from; /* revisions in (from, to] count */
    int64_t to;
    struct store_count_change *items;
    size_t count;
    size_t capacity;
};

/* The rows of a memtable, of keys in key order, then of revisions. `changes`, when it is not NULL,
 * notes on the way what they make of the counts. */
enum store_err store_rows_write(struct store_writer *w, const struct memtable *memtable,
                                struct store_count_changes *changes)
    __attribute__((warn_unused_result));

/* ---- the counts of live keys (count_tree.h) ---- */

/* STORE_E_NOMEM, or it is to be ended with store_count_changes_done, before the memtable. */
enum store_err store_count_changes_begin(struct store_count_changes *c,
                                         const struct memtable *memtable, int64_t from, int64_t to)
    __attribute__((warn_unused_result));

/* The next record in the order of the memtable; each once. */
void store_count_changes_note(struct store_count_changes *c, const struct memtable_node *node);

void store_count_changes_done(struct store_count_changes *c);

/* Takes the counts from one revision to the other, in one transaction: the one that is open when it
 * returns, and which has to publish the latter. */
enum store_err store_counts_flush(struct store_writer *w, const struct store_count_changes *changes)
    __attribute__((warn_unused_result));

/* The same for rows that may come in any state, a snapshot's: before they are written. In several
 * transactions. */
enum store_err store_counts_batch(struct store_writer *w, const struct memtable *memtable)
    __attribute__((warn_unused_result));

/* Makes the tree of an older store, whose handles are open: counts all keys that live at
 * s->published. In several transactions; with the last the store is of STORE_FORMAT. */
enum store_err store_counts_build(struct store *s) __attribute__((warn_unused_result));

/* ---- the log ---- */

/* The next entry will be the one after pos, which is applied, or later: then the log begins there,
 * and rows that it had go with the next trim. */
void store_log_begin(struct raft_pos pos, struct store_state *state);

/* Writes the entry's rows, and its term into state. */
enum store_err store_log_append(struct store_writer *w, const struct raft_entry *entry,
                                struct store_state *state) __attribute__((warn_unused_result));

/* Removes entries below keep_index (and below what state->log_start already lets go of) and moves
 * w->publish on. */
enum store_err store_log_trim(struct store_writer *w, uint64_t keep_index)
    __attribute__((warn_unused_result));

/* ---- compaction ---- */

/* What the holds allow now, INT64_MAX without any. Ends those whose deadline has passed. */
int64_t store_holds_limit(struct store *s);

/* Removes what revisions up to w->publish.compact_revision superseded, and up to the store's
 * compact_limit; ends after about rows_max records, at the end of a revision. */
enum store_err store_compact(struct store_writer *w, uint64_t rows_max, bool *ret_pending)
    __attribute__((warn_unused_result));

#endif
