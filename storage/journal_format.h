/* journal_format.h: the bytes of the journal. Little-endian, everything in pages of
 * JOURNAL_ALIGN_BYTES.
 *
 * A page that stands alone: the header of a segment, one of two hard-state slots, one of two
 * marks. All bytes after the fields are zero and are summed too.
 *   offset size
 *        0    8  checksum of [8, 4096)
 *        8    8  magic: "HFJ-SEG\0", "HFJ-HARD", "HFJ-MARK"
 *       16    4  format, 1
 *       20    4  zero
 *       24    8  cluster id
 *       32   16  incarnation of the data directory
 *       48    8  number: a segment's generation; a slot's or mark's own sequence
 *       56    8  a segment's size; a slot's term; a mark's durable write number
 *       64    8  a slot's vote; else zero
 *
 * A batch begins at a multiple of 4096 after its segment's header and ends, with zeros, at one.
 *   offset size
 *        0    8  checksum of [8, end), padding included
 *        8    8  checksum of [16, 128): so a header says what it knows even when its payload tore
 *       16    8  magic "HFJBATCH"
 *       24    4  format, 3
 *       28    4  number of entries
 *       32    8  write number: one more than that of the write before
 *       40    8  generation, that of the segment
 *       48   24  hard state: term, vote, commit
 *       72   16  term and index before the first entry; without entries: of the log's last
 *       88    8  write number known durable when this one was submitted
 *       96    8  checksum of the write before: the chain
 *      104    4  payload bytes
 *      108    4  enum journal_reset
 *      112   16  term and index of the reset; zero without one
 *      128    -  entries, canonical (proto/entry.h)
 * Format 2 has entries of format 1 alone: a program that knows no others must not take one that is
 * shorter for a damaged one. Format 1 has no resets, and zeros from 108 on. Both are read as they
 * were.
 * Both checksums are seeded with cluster and incarnation: what a client stores cannot pose as a
 * batch, nor can another directory's (I9).
 *
 * Later formats keep the place of the checksums, the magic and the format, and what is summed:
 * so that a newer journal is told from a damaged one.
 * Thread: any; no state.
 */
#ifndef STORAGE_JOURNAL_FORMAT_H
#define STORAGE_JOURNAL_FORMAT_H

#include "raft/types.h"
#include "storage/identity.h"
#include "storage/journal.h"

enum {
    JOURNAL_PAGE_FORMAT = 1,
    JOURNAL_BATCH_FORMAT = 3,
    JOURNAL_BATCH_FORMAT_OLDEST = 1,
    JOURNAL_BATCH_HEADER_BYTES = 128,
};

/* Whose journal it is: in every page, and the seed of every batch. */
struct journal_owner {
    uint64_t cluster_id;
    uint8_t incarnation[INCARNATION_BYTES];
    uint64_t seed;
};

struct journal_owner journal_owner_of(uint64_t cluster_id, const uint8_t *incarnation);

enum journal_page_kind { JOURNAL_PAGE_SEGMENT, JOURNAL_PAGE_HARD, JOURNAL_PAGE_MARK };

struct journal_page {
    uint64_t number;
    uint64_t a;
    uint64_t b;
};

enum journal_verdict {
    JOURNAL_VERDICT_OK,
    JOURNAL_VERDICT_BLANK,   /* zeros only */
    JOURNAL_VERDICT_BAD,     /* does not verify */
    JOURNAL_VERDICT_VERSION, /* verifies, in a format that we do not know */
    JOURNAL_VERDICT_FOREIGN, /* verifies, of another cluster or data directory */
};

/* Writes all JOURNAL_ALIGN_BYTES. */
void journal_page_encode(uint8_t *to, enum journal_page_kind kind,
                         const struct journal_owner *owner, const struct journal_page *page);

/* `in` has JOURNAL_ALIGN_BYTES. *ret_page is set with OK alone. */
enum journal_verdict journal_page_decode(const uint8_t *in, enum journal_page_kind kind,
                                         const struct journal_owner *owner,
                                         struct journal_page *ret_page);

struct journal_batch_header {
    uint64_t number;
    uint64_t generation;
    struct raft_hard_state hard;
    struct raft_pos prev;
    uint64_t known_durable;
    uint64_t prev_sum;
    uint32_t entry_count;
    uint32_t payload_bytes;
    enum journal_reset reset;
    struct raft_pos reset_pos;
};

/* On disk, padding included. */
uint64_t journal_batch_bytes(uint64_t payload_bytes);

/* Around a payload that already stands at to + JOURNAL_BATCH_HEADER_BYTES: writes header and
 * padding, journal_batch_bytes in all. Returns the batch's checksum, the next one's prev_sum. */
uint64_t journal_batch_seal(uint8_t *to, const struct journal_owner *owner,
                            const struct journal_batch_header *header);

/* The header alone, `in` has at least JOURNAL_ALIGN_BYTES: OK, BLANK (of the header), BAD or
 * VERSION. */
enum journal_verdict journal_batch_header_decode(struct slice in, const struct journal_owner *owner,
                                                 struct journal_batch_header *ret_header);

/* The whole batch: OK or BAD, also when it does not fit in `in`. */
enum journal_verdict journal_batch_verify(struct slice in, const struct journal_owner *owner,
                                          const struct journal_batch_header *header,
                                          uint64_t *ret_sum);

/* Of bytes that do not verify: do they look like what is left of this write? For the operator's
 * eyes alone. */
bool journal_batch_resembles(const uint8_t *in, uint64_t number, uint64_t generation,
                             uint64_t prev_sum);

bool journal_is_zero(const uint8_t *bytes, size_t size);

#endif
