/* snapshot_source.h: gives out the published state of a store as a snapshot, chunk by chunk.
 *
 * A source is opened on what the store publishes at that moment and stays there, however much is
 * applied and flushed meanwhile. Each chunk is made by a job in a short read transaction of its
 * own, from a cursor: no reader stays open, so no free page is pinned. A chunk that is not
 * acknowledged yet can be read again, and is the same to the last byte.
 *
 * The price is a hold: while the source is open, compaction (storage/store_compact.c) touches no
 * change at or after the first chunk that is not acknowledged; it follows behind the stream. (Past
 * it a record could have been sent whose deletion is compacted away before it is.) A hold has a
 * deadline, which the owner moves on while the receiver makes progress; when it has passed, the
 * next flush that compacts ends the hold, and every later read answers SNAPSHOT_E_EXPIRED.
 *
 * Owner:    the caller; the store outlives the source.
 * Lifetime: open .. close, with no read running.
 * Thread:   the loop's. Nothing blocks: reading is a job (struct io).
 * Bounds:   one read at a time; SNAPSHOT_WINDOW_MAX chunks not acknowledged; at most
 *           STORE_HOLDS_MAX sources a store. Memory: one chunk a read, whose block is the caller's.
 * Errors:   SNAPSHOT_E_CORRUPT: a row here is damaged; this node needs repair. All are final for
 * the source.
 */
#ifndef STORAGE_SNAPSHOT_SOURCE_H
#define STORAGE_SNAPSHOT_SOURCE_H

#include "base/io.h"
#include "storage/snapshot_format.h"

enum { SNAPSHOT_WINDOW_MAX = 64 };

struct snapshot_source;

struct snapshot_source_options {
    uint64_t id;            /* in every chunk; chosen at random by the caller */
    uint32_t row_bytes_max; /* of a chunk: [SNAPSHOT_ROW_BYTES_MIN, SNAPSHOT_ROW_BYTES_MAX] */
    uint64_t hold_until_ms; /* on the io's clock */
};

/* SNAPSHOT_E_NOMEM. SNAPSHOT_E_BUSY: a flush is running, whose compaction may reach past what is
 * published: try again when it is done (its own `done` is early enough); or STORE_HOLDS_MAX sources
 * are open. Nothing is read yet. The store has published something: applied.index > 0 (ASSERT). */
enum snapshot_err snapshot_source_open(struct snapshot_source **ret_source, struct store *store,
                                       const struct snapshot_source_options *options)
    __attribute__((warn_unused_result));

/* The position that a receiver will be at. */
struct raft_pos snapshot_source_pos(const struct snapshot_source *source);

/* Moves the deadline. False: the hold has ended already. */
bool snapshot_source_hold(struct snapshot_source *source, uint64_t until_ms);

struct snapshot_read {
    uint64_t seq; /* acknowledged <= seq <= the highest read + 1, and not past the last one */
    void (*done)(struct snapshot_read *read); /* on the loop, never inside the call */
    void *owner;
    /* Filled when done. */
    enum snapshot_err err;
    struct block *block; /* with SNAPSHOT_OK: one reference, the caller's */
    struct slice chunk;  /* views the block */
    bool last;
    /* Internal. */
    struct snapshot_source *source;
    struct io_job job;
};

/* Begins a read; no other is running. The caller keeps `read` until done. */
void snapshot_source_read(struct snapshot_source *source, struct snapshot_read *read);

/* True when `seq` may be asked for: within the window, and not behind the last chunk. */
bool snapshot_source_may_read(const struct snapshot_source *source, uint64_t seq);

/* The receiver has everything below next_seq: those chunks are never asked for again. Lower than
 * before: nothing happens. Higher than what was read: false, the receiver makes no sense. */
bool snapshot_source_ack(struct snapshot_source *source, uint64_t next_seq)
    __attribute__((warn_unused_result));

struct snapshot_progress {
    uint64_t chunks;         /* read once (a sink: taken) */
    uint64_t rows;           /* that have ended in them */
    uint64_t bytes;          /* row bytes in them */
    uint64_t bytes_estimate; /* of all; more than there will be, as a rule */
};
struct snapshot_progress snapshot_source_progress(const struct snapshot_source *source);

void snapshot_source_close(struct snapshot_source *source); /* NULL is fine */

#endif
