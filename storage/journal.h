/* journal.h: the durable front of the log: a ring of pre-written segments, one sync a batch.
 *
 * A write (batch) carries the hard state and consecutive canonical entries (proto/entry.h) and
 * becomes durable as a whole. An entry whose index is at or below earlier ones replaces these and
 * all after them. LMDB takes the entries over later; journal_release then frees the segments.
 * A batch may be a reset: a snapshot has taken the place of everything up to a position.
 *
 * On disk (journal_format.h has the offsets): each segment has a header {magic, format, cluster,
 * incarnation, generation}; each batch begins at a multiple of JOURNAL_ALIGN_BYTES with {magic,
 * format, write number, generation, hard state, position before its first entry, the write
 * number known durable when it was submitted, sizes, reset, the previous batch's checksum, its
 * own checksum}. Beside the segments: two slots that repeat term and vote (synced before the write
 * that changes them completes), and two slots that say how far the journal is durable (written
 * lazily after a sync).
 *
 * Owner:    the caller keeps the entries' bytes alive until the write completes.
 * Lifetime: open .. close, with no write in flight.
 * Thread:   the loop's. Only journal_open blocks; making segments is a job.
 * Bounds:   one write in flight. Segments: options.segment_count_max; past it JOURNAL_E_FULL.
 * Errors:   JOURNAL_E_IO is final: stop the node, never retry (I6).
 */
#ifndef STORAGE_JOURNAL_H
#define STORAGE_JOURNAL_H

#include "base/io.h"
#include "raft/types.h"

#define JOURNAL_ERRORS(X)                                                              \
    X(JOURNAL_OK, "ok")                                                                \
    X(JOURNAL_E_NOMEM, "out of memory")                                                \
    X(JOURNAL_E_IO, "the journal cannot be read or written")                           \
    X(JOURNAL_E_NOSPACE, "no room on the disk for the journal")                        \
    X(JOURNAL_E_FULL, "all journal segments are in use until a flush frees them")      \
    X(JOURNAL_E_TOO_LARGE, "a batch does not fit in a journal segment")                \
    X(JOURNAL_E_VERSION, "the journal was written by a newer version of this program") \
    X(JOURNAL_E_FOREIGN, "the journal belongs to another cluster or data directory")   \
    X(JOURNAL_E_CORRUPT, "the journal is damaged below what was known durable")

#define JOURNAL_ENUM_ENTRY(name, text) name,
enum journal_err { JOURNAL_ERRORS(JOURNAL_ENUM_ENTRY) };
#undef JOURNAL_ENUM_ENTRY

const char *journal_strerror(enum journal_err err);

struct journal;

struct journal_options {
    struct io *io;              /* borrowed, outlives the journal */
    int dir_fd;                 /* borrowed: the data directory; "journal" below it is made */
    uint64_t segment_bytes;     /* multiple of JOURNAL_ALIGN_BYTES, [64 KiB, 1 GiB]; of a new
                                   journal: one that exists keeps its own */
    uint32_t segment_count_max; /* [3, 1024] */
    uint64_t cluster_id;
    struct slice incarnation; /* 16 bytes, of the data directory */
    bool direct;              /* O_DIRECT rather than the page cache */
    bool salvage;             /* damage is answered by letting go of what is behind it */
    bool must_exist;          /* that there is none is damage: its votes are gone */
};

enum { JOURNAL_ALIGN_BYTES = 4096 };

/* What open found. Entries are those after `flushed` that are to be replayed, in order. */
struct journal_recovery {
    struct raft_hard_state hard; /* the newest of batches and slots; zero on a blank journal */
    struct raft_entry *entries;  /* positions, types and bytes; each holds a block reference */
    size_t entry_count;
    uint64_t torn_bytes; /* dropped at the end, never acknowledged; 0: a clean end */
    bool salvaged;       /* part of what was durable was let go: `detail` says of what */
    char detail[160];    /* with an error: what is damaged, where, for the operator */
};

/* Blocking. `flushed` is where LMDB's log ends: entries up to it are skipped, later ones must
 * continue it in index and agree in term. It was durable here once (I3), so a journal that ends
 * before it, or knows a lower term, is damaged. Before it returns JOURNAL_OK everything that was
 * read is synced again (I6): it may have been in a cache alone. JOURNAL_E_CORRUPT, _VERSION,
 * _FOREIGN leave the files as they are; ret_recovery->detail says where.
 *
 * With options.salvage damage is no error where term and vote are known for sure all the same: from
 * two sound hard-state slots, or from the header of a batch that is newer than everything known
 * durable. Then what still verifies and continues `flushed` is kept, as far as one batch holds it,
 * everything else is dropped durably, and the journal goes on in a new generation. The same where
 * the store begins anew, at {0, 0}, and the journal cannot be based on that. The node has lost what
 * it had confirmed: the caller's repair mark (repair_mark.h) is durable before the call, and it
 * confirms nothing until it has caught up (I7). JOURNAL_E_CORRUPT: its vote may be lost, too. */
enum journal_err journal_open(struct journal **ret_j, const struct journal_options *options,
                              struct raft_pos flushed, struct journal_recovery *ret_recovery)
    __attribute__((warn_unused_result));

/* The newest reset that the journal holds, without `flushed` and without changing anything: for a
 * start that finds a snapshot beside the store (store_switch.h). What it answers is durable.
 * Blocking. *ret_found is false
 * without a journal, and where damage is newer than the reset. */
enum journal_err journal_find_reset(const struct journal_options *options, bool *ret_found,
                                    struct raft_pos *ret_pos) __attribute__((warn_unused_result));

/* Frees what a recovery holds. */
void journal_recovery_done(struct journal_recovery *recovery);

/* That a snapshot was installed: everything up to reset_pos is the store's business from here on.
 * It is durable, and the store at that position is complete, before the journal says so
 * (store_switch.h). */
enum journal_reset {
    JOURNAL_RESET_NONE = 0,
    JOURNAL_RESET_DROP = 1, /* and nothing else is left: the log begins anew after reset_pos */
    JOURNAL_RESET_KEEP = 2, /* the log, which has reset_pos, goes on: later entries stay */
};

struct journal_batch {
    enum journal_reset reset;
    struct raft_pos reset_pos; /* with a reset; hard.term is at least its term. With
                                  JOURNAL_RESET_DROP `prev` is it, entries or not. */
    struct raft_hard_state hard;
    struct raft_pos prev;             /* of the entry before the first; ignored without entries,
                                         then the header repeats where the log ends */
    const struct slice *entries;      /* canonical bytes, consecutive indexes */
    const struct raft_pos *positions; /* of the entries */
    uint32_t entry_count;             /* may be 0: the hard state alone */
};

typedef void journal_done_fn(void *owner, enum journal_err err);

/* Begins the one write; `fn` runs when the batch and (if term or vote changed) the hard-state
 * slot are durable, or failed: with JOURNAL_E_IO, after which every call returns that. Where the
 * next segment is still being made the write waits for it; should that fail for want of room on
 * the disk, until a release (journal_usage: is_stuck). JOURNAL_E_FULL, _TOO_LARGE: nothing
 * began. */
enum journal_err journal_write(struct journal *j, const struct journal_batch *batch,
                               journal_done_fn *fn, void *owner)
    __attribute__((warn_unused_result));

bool journal_is_writing(const struct journal *j);

/* The most bytes of entries that one batch can hold, for the caller's splitting; past it
 * JOURNAL_E_TOO_LARGE. */
uint64_t journal_batch_bytes_max(const struct journal *j);

/* LMDB durably holds everything up to flushed_index (I4): segments older than the newest batch
 * whose prev.index is at or below it are free, oldest first, never the one being written. So
 * writing the live tail again, from the flushed position on, frees all that is older. In one
 * batch: a part of it would be the end of the log if nothing else came after.
 * Starts a job that makes the next segment when none is ready; after one that found the disk full,
 * not before 500 ms have passed. */
void journal_release(struct journal *j, uint64_t flushed_index);

/* For flow control and status. room_bytes: what can still be written before a flush must free
 * something. release_index: once that much is flushed, the oldest segment in use is free (0: it
 * is the only one); when room is short and that is far off, the caller writes its live tail
 * again. */
struct journal_usage {
    uint64_t room_bytes;
    uint64_t release_index;
    uint64_t size_bytes;    /* on disk, all segments */
    uint64_t written_bytes; /* since open, headers and padding included */
    uint64_t write_count;
    uint32_t segments_in_use;
    bool is_stuck; /* a write waits for a segment that could not be made: the disk is full */
};
struct journal_usage journal_usage(const struct journal *j);

/* From now on every write fails with JOURNAL_E_IO; one that waits for a segment does so now. */
void journal_stop(struct journal *j);

/* Ends jobs and closes the files; no write is in flight. `fn` runs when it is gone (a segment may
 * be being made); it may run inside the call. NULL is fine: then fn runs at once. */
void journal_close(struct journal *j, void (*fn)(void *owner), void *owner);

#endif
