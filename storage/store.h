/* store.h: the LMDB environment: log store, key space, and what it says of itself. The only
 * module (with its internal files) that touches LMDB.
 *
 * Trees (named databases), see store_internal.h for the rows:
 *   meta  one row, holdfastpb.StoreMeta with a checksum
 *   log   index -> canonical entry (proto/entry.h)
 *   rev   (revision, sub, chunk) -> the whole record, long values in chunks; append-only
 *   key   (user key, revision descending) -> the record without its value
 *   count (level, boundary) -> how many keys live up to the next one (count_tree.h)
 * What the meta row says is published: rows of rev and key above its revision, of log above its
 * applied index, are leftovers of an interrupted flush; readers do not see them and writing them
 * again changes nothing (I3). Counts are always those of the published revision.
 *
 * Owner:    the caller; open .. close with no job running and no view open.
 * Thread:   opening blocks. Writing happens in one job at a time. Reading: views (storage/kv.h)
 *           and store_log_read, any thread.
 * Bounds:   map_bytes of address space; a write transaction stays under dirty_bytes_max, flushes
 *           take several.
 * Errors:   STORE_E_IO, _NOSPACE in a write are final: stop the node (I6). _CORRUPT: the row's
 *           own checksum fails; say so and stop (repair from the leader is built on this).
 */
#ifndef STORAGE_STORE_H
#define STORAGE_STORE_H

#include "base/arena.h"
#include "base/io.h"
#include "raft/types.h"
#include "storage/memtable.h"

#define STORE_ERRORS(X)                                                            \
    X(STORE_OK, "ok")                                                              \
    X(STORE_E_NOMEM, "out of memory")                                              \
    X(STORE_E_IO, "the store cannot be read or written")                           \
    X(STORE_E_NOSPACE, "no room on the disk, or in the map, for the store")        \
    X(STORE_E_VERSION, "the store was written by a newer version of this program") \
    X(STORE_E_FOREIGN, "the store belongs to another cluster")                     \
    X(STORE_E_CORRUPT, "a row of the store fails its checksum")                    \
    X(STORE_E_GONE, "no longer in the log store")

#define STORE_ENUM_ENTRY(name, text) name,
enum store_err { STORE_ERRORS(STORE_ENUM_ENTRY) };
#undef STORE_ENUM_ENTRY

const char *store_strerror(enum store_err err);

enum {
    STORE_TERM_STARTS_MAX = 256,
    STORE_HOLDS_MAX = 8, /* snapshots being sent (storage/snapshot_source.h) */
};

struct store;

struct store_options {
    struct io *io;            /* borrowed */
    const char *path;         /* a directory, made when missing */
    uint64_t map_bytes;       /* address space, not memory: terabytes are fine */
    uint64_t dirty_bytes_max; /* of one write transaction, [64 KiB, 256 MiB] */
    uint32_t readers_max;
    uint64_t cluster_id;
};

/* The published state, in memory. Plain: a value, but for `membership`, a view. */
struct store_state {
    struct raft_pos applied;
    int64_t revision;
    int64_t compact_revision;   /* what clients are told: below it history is gone */
    int64_t compacted_revision; /* how far rows are really gone */
    uint64_t state_hash;
    uint32_t feature_level;
    struct slice membership;   /* holdfastpb.Membership, opaque here */
    struct raft_pos log_start; /* the log store begins after it */
    /* Of (log_start, applied]; the first begins right after log_start. At the cap the log gives
     * up its oldest term. */
    struct raft_term_start term_starts[STORE_TERM_STARTS_MAX];
    uint32_t term_start_count;
};

/* Blocking. A new environment starts with revision 1, feature level 1 and everything else zero,
 * durably. Before it returns STORE_OK the environment is synced (I6). ret_state->membership lives
 * as long as the store. detail says more about an error, for the operator. */
enum store_err store_open(struct store **ret_s, const struct store_options *options,
                          struct store_state *ret_state, char *detail, size_t detail_bytes)
    __attribute__((warn_unused_result));

void store_close(struct store *s); /* NULL is fine */

/* The format that the store had before it was opened: an older one was brought to the newest. */
uint32_t store_format_found(const struct store *s);
uint32_t store_format_newest(void);

/* ---- the writer: one job at a time ---- */

/* A flush: writes a frozen memtable and the log entries up to state.applied, then publishes
 * `state`, then lets go of log entries below log_keep_index and of what a compaction superseded:
 * about compact_rows_max records are looked at, up to the end of a revision. Everything it points
 * to stays valid until done. After one has failed, all later ones fail with its error, and the
 * published state stays that of the last that was done. */
struct store_flush {
    const struct memtable *memtable; /* frozen; NULL: no changes of keys */
    /* The entries of (log_begin, state.applied], consecutive. log_begin is what is published as
     * applied, or later: then the log lets go of all up to it, and begins there. */
    struct raft_pos log_begin;
    const struct raft_entry *entries;
    size_t entry_count;
    struct store_state state; /* log_start, term_starts and compacted_revision: the store
                                 keeps these itself, as of the trim and the compaction */
    uint64_t log_keep_index;  /* entries from here on stay */
    uint64_t compact_rows_max;
    void (*done)(struct store_flush *flush); /* on the loop */
    void *owner;
    /* Filled when done. */
    enum store_err err;
    bool compaction_pending; /* more to let go: flush again when there is time */
    uint64_t took_us;
    /* Internal. */
    struct store *store;
    struct io_job job;
};

/* Begins it; no other is running. It takes its time as long as it is not hurried. */
void store_flush_begin(struct store *s, struct store_flush *flush);

/* How full that is which a flush makes room for, in permille; from 1000 on it goes as fast as it
 * can. Stays said, for later flushes too. */
void store_flush_demand(struct store *s, uint32_t permille);

/* How much of its rows the flush that runs has written, in permille. The loop's thread. */
uint32_t store_flush_progress(const struct store *s);

/* Whether a flush would let go of more than is gone: compaction up to compact_revision is not
 * done, and no snapshot that is being sent holds it up. The loop's thread. */
bool store_may_compact(const struct store *s, int64_t compact_revision);

/* As of the last flush that is done; valid until the next is. The loop's thread. */
const struct store_state *store_published(const struct store *s);

/* For Status: the file, and what of it is in use. The loop's thread; no disk access. */
struct store_usage {
    uint64_t file_bytes;
    uint64_t in_use_bytes;
};
struct store_usage store_usage(const struct store *s);

/* ---- the log store ---- */

/* Entries from first_index on, up to bytes_max (one at least): into one new block, whose only
 * reference is the caller's (each entry views it, without a reference of its own). The number
 * read is in *ret_count, at most count_max. STORE_E_GONE when first_index is not there.
 * Any thread, blocking: inside a job. */
enum store_err store_log_read(struct store *s, uint64_t first_index, uint32_t bytes_max,
                              struct raft_entry *ret_entries, size_t count_max, size_t *ret_count,
                              struct block **ret_block) __attribute__((warn_unused_result));

#endif
