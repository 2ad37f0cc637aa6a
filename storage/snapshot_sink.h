/* snapshot_sink.h: builds a new environment from the chunks of a snapshot.
 *
 * The environment is made in `store.new` beside the store, which is not touched. Rows gather in a
 * memtable and go to LMDB in sorted batches as a flush does. Until the last chunk the new
 * environment publishes nothing; with it everything is published at the snapshot's position in
 * one transaction, synced and closed: `store.new` is then complete, and store_switch.h puts it in
 * the store's place. What is not complete is worthless, and is removed at the next start.
 *
 * Every chunk is verified by its checksum, its place in the stream by sequence number, totals and
 * chain, and every row by its own sum: whatever a sender sends, no assertion can be tripped and no
 * memory asked for that its bytes do not back.
 *
 * Owner:    the caller. One sink a data directory.
 * Lifetime: open .. end, with no add running.
 * Thread:   the loop's. Nothing blocks: adding and ending are jobs (struct io).
 * Bounds:   memory: batch_bytes of rows, one row that is not complete yet, dirty_bytes_max of LMDB.
 * Errors:   all but SNAPSHOT_E_SEQ are final for the sink. None harms the store; _NOSPACE and _IO
 *           are of the new environment alone.
 */
#ifndef STORAGE_SNAPSHOT_SINK_H
#define STORAGE_SNAPSHOT_SINK_H

#include "base/io.h"
#include "storage/snapshot_format.h"
#include "storage/snapshot_source.h"

struct snapshot_sink;

struct snapshot_sink_options {
    struct io *io;            /* borrowed */
    const char *data_dir;     /* a path; copied */
    uint64_t id;              /* of the snapshot */
    uint64_t cluster_id;      /* SNAPSHOT_E_FOREIGN for another one's */
    uint64_t map_bytes;       /* as in store_options */
    uint64_t dirty_bytes_max; /* as in store_options */
    uint64_t batch_bytes;     /* of the memtable */
};

/* Only memory: the first chunk makes the environment. SNAPSHOT_E_NOMEM. */
enum snapshot_err snapshot_sink_open(struct snapshot_sink **ret_sink,
                                     const struct snapshot_sink_options *options)
    __attribute__((warn_unused_result));

struct snapshot_add {
    struct slice chunk;                     /* the caller keeps the bytes until done */
    void (*done)(struct snapshot_add *add); /* on the loop, never inside the call */
    void *owner;
    /* Filled when done. */
    enum snapshot_err err; /* SNAPSHOT_E_SEQ: nothing happened, next_seq says what is wanted */
    uint64_t next_seq;     /* that the sink waits for; to be acknowledged */
    bool complete;         /* with SNAPSHOT_OK: it was the last; store.new is durable */
    /* Internal. */
    struct snapshot_sink *sink;
    struct io_job job;
};

/* Begins it; no other is running, and the sink is not complete. */
void snapshot_sink_add(struct snapshot_sink *sink, struct snapshot_add *add);

/* What the sender said in the first chunk: valid once that was added with SNAPSHOT_OK, NULL before.
 * As long as the sink lives; the position is state.applied. */
const struct snapshot_meta *snapshot_sink_meta(const struct snapshot_sink *sink);

struct snapshot_progress snapshot_sink_progress(const struct snapshot_sink *sink);

/* Ends it in a job: closes what is open and, unless it is complete and `keep`, removes store.new.
 * `fn` runs on the loop when the sink is gone. */
void snapshot_sink_end(struct snapshot_sink *sink, bool keep, void (*fn)(void *owner), void *owner);

#endif
