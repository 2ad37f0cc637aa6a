/* snapshot_format.h: the bytes of a snapshot: a logical, versioned stream of rows in chunks.
 *
 * The rows of a snapshot are one run of bytes: every retained record of the `rev` tree up to the
 * snapshot's revision, in order of (revision, sub), one after the other. A chunk carries the next
 * piece of that run, wherever it is cut: a long value goes on in the chunks that follow. The first
 * chunk also carries what the state machine is at that position. Raw pages never travel, so sender
 * and receiver may be of different versions, word sizes and page sizes.
 *
 * A chunk, little-endian:
 *   offset size
 *        0    8  checksum of [8, end)
 *        8    8  magic "HFSNAPCH"
 *       16    4  format, 1
 *       20    4  flags: 1 first, 2 last
 *       24    8  snapshot id
 *       32    8  sequence number, from 0
 *       40    4  meta bytes; 0 in all but the first chunk
 *       44    4  row bytes
 *       48    8  rows that have ended up to the end of this chunk
 *       56    8  row bytes up to the end of this chunk
 *       64    8  chain: checksum of meta and row bytes, seeded with the chain of the chunk before
 *       72    8  zero
 *       80    -  meta: holdfastpb.SnapshotMeta (proto/snapshot.proto), then the row bytes
 * The chain of the last chunk is a checksum over the whole stream; the first one is seeded with the
 * snapshot id.
 *
 * A row:
 *        0    1  format, 1
 *        1    1  flags: 1 tombstone
 *        2    2  zero
 *        4    4  key bytes
 *        8    4  value bytes
 *       12    4  sub
 *       16    8  revision
 *       24    8  create revision
 *       32    8  version
 *       40    8  lease
 *       48    8  sum: kv_record_sum, which travels from apply to every read of every replica
 *       56    -  key, value
 *
 * Later formats keep the place of checksum, magic and format and what is summed, so that a newer
 * stream is told from a damaged one. Within a format new fields go into the meta message: a
 * receiver skips those that it does not know.
 * Thread: any; no state. Errors: as listed.
 */
#ifndef STORAGE_SNAPSHOT_FORMAT_H
#define STORAGE_SNAPSHOT_FORMAT_H

#include "base/arena.h"
#include "storage/record.h"
#include "storage/store.h"

enum {
    SNAPSHOT_FORMAT = 1,
    SNAPSHOT_HEADER_BYTES = 80,
    SNAPSHOT_ROW_HEADER_BYTES = 56,
    SNAPSHOT_META_BYTES_MAX = 128 << 10,
    SNAPSHOT_ROW_BYTES_MIN = 512, /* of the row bytes of a chunk that is not the last */
    SNAPSHOT_ROW_BYTES_MAX = 1 << 20,
    SNAPSHOT_CHUNK_BYTES_MAX =
        SNAPSHOT_HEADER_BYTES + SNAPSHOT_META_BYTES_MAX + SNAPSHOT_ROW_BYTES_MAX,
};

#define SNAPSHOT_ERRORS(X)                                                               \
    X(SNAPSHOT_OK, "ok")                                                                 \
    X(SNAPSHOT_E_NOMEM, "out of memory")                                                 \
    X(SNAPSHOT_E_IO, "the store cannot be read or written")                              \
    X(SNAPSHOT_E_NOSPACE, "no room on the disk for a snapshot")                          \
    X(SNAPSHOT_E_CORRUPT, "a row of the store fails its checksum")                       \
    X(SNAPSHOT_E_BUSY, "a flush is running, or too many snapshots are being sent")       \
    X(SNAPSHOT_E_EXPIRED, "the snapshot was held for too long and is gone")              \
    X(SNAPSHOT_E_BAD, "a chunk of the snapshot is damaged or makes no sense")            \
    X(SNAPSHOT_E_VERSION, "the snapshot was written by a newer version of this program") \
    X(SNAPSHOT_E_FOREIGN, "the chunk belongs to another cluster or snapshot")            \
    X(SNAPSHOT_E_SEQ, "not the chunk of the snapshot that comes next")

#define SNAPSHOT_ENUM_ENTRY(name, text) name,
enum snapshot_err { SNAPSHOT_ERRORS(SNAPSHOT_ENUM_ENTRY) };
#undef SNAPSHOT_ENUM_ENTRY

const char *snapshot_strerror(enum snapshot_err err);

enum snapshot_err snapshot_err_of_store(enum store_err err);

enum snapshot_flags { SNAPSHOT_FIRST = 1, SNAPSHOT_LAST = 2 };

struct snapshot_chunk_header {
    uint64_t id;
    uint64_t seq;
    unsigned flags; /* enum snapshot_flags, ored */
    uint32_t meta_bytes;
    uint32_t row_bytes;
    uint64_t rows_total;
    uint64_t row_bytes_total;
    uint64_t chain;
};

/* The chain that a chunk's begins from. */
uint64_t snapshot_chain_start(uint64_t id);

/* Around meta and rows that already stand, one after the other, at to + SNAPSHOT_HEADER_BYTES:
 * fills in the header and, into header->chain, the chain that goes on from chain_before. */
void snapshot_chunk_seal(uint8_t *to, struct snapshot_chunk_header *header, uint64_t chain_before);

/* Verifies all of the bytes. SNAPSHOT_E_BAD, _VERSION. The slices view `in`. That seq, totals and
 * chain continue what came before is the receiver's to check. */
enum snapshot_err snapshot_chunk_decode(struct slice in, struct snapshot_chunk_header *ret_header,
                                        struct slice *ret_meta, struct slice *ret_rows)
    __attribute__((warn_unused_result));

/* True when `header` goes on from chain_before with these bytes. */
bool snapshot_chain_holds(const struct snapshot_chunk_header *header, struct slice meta,
                          struct slice rows, uint64_t chain_before);

/* What the first chunk says of the whole. */
struct snapshot_meta {
    uint64_t cluster_id;
    /* applied, revisions, state_hash, feature_level, membership; log_start is `applied` and there
     * are no terms: the log of a receiver begins there. */
    struct store_state state;
    uint64_t bytes_estimate; /* of all row bytes, for progress */
};

/* Into the arena; false without memory, or past SNAPSHOT_META_BYTES_MAX. */
bool snapshot_meta_encode(const struct snapshot_meta *meta, struct arena *arena,
                          struct slice *ret_bytes) __attribute__((warn_unused_result));

/* membership is a copy in the arena. SNAPSHOT_E_BAD: the fields contradict each other.
 * SNAPSHOT_E_NOMEM. */
enum snapshot_err snapshot_meta_decode(struct slice bytes, struct arena *arena,
                                       struct snapshot_meta *ret_meta)
    __attribute__((warn_unused_result));

/* The header alone, SNAPSHOT_ROW_HEADER_BYTES. */
void snapshot_row_encode(uint8_t *to, const struct kv_record *record);

/* `in` has SNAPSHOT_ROW_HEADER_BYTES. key and value get their sizes alone. SNAPSHOT_E_BAD: sizes
 * past REV_TREE_RECORD_BYTES_MAX, an unknown format or flag, impossible revisions. */
enum snapshot_err snapshot_row_decode(const uint8_t *in, struct kv_record *ret_record)
    __attribute__((warn_unused_result));

#endif
