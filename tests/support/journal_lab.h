/* journal_lab.h: a journal on a simulated disk, and beside it the model of what it must hold.
 *
 * The model knows the state after the last completed write, and the one that the write in flight
 * would lead to. After a crash the journal must come back with one or the other, whole.
 * Thread: one. Bounds: LAB_INDEX_MAX entries, LAB_BATCH_MAX in a batch.
 */
#ifndef TESTS_SUPPORT_JOURNAL_LAB_H
#define TESTS_SUPPORT_JOURNAL_LAB_H

#include "storage/journal.h"
#include "tests/support/fake_io.h"

enum { LAB_INDEX_MAX = 1000, LAB_BATCH_MAX = 8, LAB_SEGMENT_BYTES = 64 << 10 };

struct lab_state {
    struct raft_hard_state hard;
    uint64_t last;
    uint64_t terms[LAB_INDEX_MAX + 1];
    uint64_t sums[LAB_INDEX_MAX + 1]; /* of the entries' bytes */
};

struct lab {
    struct fake_io *fake;
    struct prng chance;
    struct journal_options options;
    struct journal *j; /* NULL: not open */
    int root_fd;
    uint8_t incarnation[16];
    struct lab_state durable;
    struct lab_state pending;
    bool in_flight; /* pending may or may not be there */
    struct raft_pos flushed;
    struct raft_pos snapshot;         /* complete beside the store; index 0: none */
    struct journal_recovery recovery; /* of the last lab_open */
    enum journal_err completed;       /* of the last write that completed */
    uint64_t completed_count;
    uint64_t request_id;
    bool makes_old_entries; /* in format 1 */
    uint8_t *bytes;         /* the entries in flight */
};

struct lab *lab_new(uint64_t seed);
void lab_free(struct lab *lab); /* closes what is open */

/* Opens it and, when that succeeds, checks what came back against the model (cr_assert). A snapshot
 * becomes the store before, when the journal has its reset, and is gone otherwise. */
enum journal_err lab_open(struct lab *lab);
void lab_close(struct lab *lab);

/* After a crash: lets go of what is left and starts the machine again. */
void lab_reboot(struct lab *lab);

/* Entries of this term after prev_index, in place of what is there. */
struct lab_batch {
    struct raft_hard_state hard;
    uint64_t prev_index;
    uint64_t term;
    uint32_t count;
    uint32_t payload_bytes; /* of each */
    enum journal_reset reset;
    struct raft_pos reset_pos; /* then lab->snapshot, too */
};
enum journal_err lab_write(struct lab *lab, const struct lab_batch *batch);

/* Begins it and runs until it completed; asserts that it succeeds. */
void lab_write_now(struct lab *lab, const struct lab_batch *batch);

/* count entries of payload_bytes appended in the present term, likewise. */
void lab_append(struct lab *lab, uint32_t count, uint32_t payload_bytes);

/* The snapshot whose reset is durable becomes the store; the journal may release. */
void lab_switch(struct lab *lab);

/* The store takes over up to index, which is durable; the journal may release. */
void lab_flush(struct lab *lab, uint64_t index);

/* "journal/00000001.seg": valid until the next call. */
const char *lab_segment_path(uint32_t id);

#endif
