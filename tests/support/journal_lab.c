#include "tests/support/journal_lab.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "tests/support/old_entry.h"

enum { LAB_BYTES = LAB_SEGMENT_BYTES * 2 };

struct lab *lab_new(uint64_t seed)
{
    struct lab *lab = calloc(1, sizeof *lab);
    ASSERT(lab);
    lab->fake = fake_io_new(seed);
    lab->chance = prng_seeded(~seed);
    lab->root_fd = fake_io_root(lab->fake);
    lab->bytes = malloc(LAB_BYTES);
    ASSERT(lab->bytes);
    memset(lab->incarnation, 0x5a, sizeof lab->incarnation);
    lab->options = (struct journal_options){
        .io = fake_io_io(lab->fake),
        .dir_fd = lab->root_fd,
        .segment_bytes = LAB_SEGMENT_BYTES,
        .segment_count_max = 4,
        .cluster_id = 7,
        .incarnation = slice_of(lab->incarnation, sizeof lab->incarnation),
        .direct = seed % 2 == 0,
    };
    return lab;
}

void lab_free(struct lab *lab)
{
    lab_close(lab);
    fake_io_free(lab->fake);
    free(lab->bytes);
    free(lab);
}

/* ---- against the model ---- */

static bool log_matches(const struct lab *lab, const struct lab_state *state)
{
    const struct journal_recovery *r = &lab->recovery;
    if (r->entry_count != state->last - lab->flushed.index)
        return false;
    for (size_t i = 0; i < r->entry_count; i++) {
        const struct raft_entry *entry = &r->entries[i];
        uint64_t index = lab->flushed.index + 1 + i;
        if (entry->pos.index != index || entry->pos.term != state->terms[index] ||
            checksum(entry->bytes, 0) != state->sums[index])
            return false;
    }
    return true;
}

static bool vote_matches(struct raft_hard_state hard, const struct lab_state *state)
{
    return hard.term == state->hard.term && hard.vote == state->hard.vote;
}

/* Term and vote of the write in flight may be in their slot before the batch is there. */
static void recovery_check(struct lab *lab)
{
    struct raft_hard_state hard = lab->recovery.hard;
    bool is_pending =
        lab->in_flight && log_matches(lab, &lab->pending) && vote_matches(hard, &lab->pending);
    bool is_durable =
        log_matches(lab, &lab->durable) && (vote_matches(hard, &lab->durable) ||
                                            (lab->in_flight && vote_matches(hard, &lab->pending)));
    cr_assert(is_pending || is_durable,
              "neither the state before the write in flight (%d) nor the one after it: "
              "%zu entries, term %lu, vote %lu; durable %lu after %lu, term %lu, vote %lu",
              lab->in_flight, lab->recovery.entry_count, hard.term, hard.vote, lab->durable.last,
              lab->flushed.index, lab->durable.hard.term, lab->durable.hard.vote);
    cr_assert_geq(hard.commit, lab->durable.hard.commit);
    if (!is_durable)
        lab->durable = lab->pending;
    lab->durable.hard = hard;
    lab->in_flight = false;
}

static void snapshot_recover(struct lab *lab)
{
    bool found = false;
    struct raft_pos pos = { 0 };
    if (lab->snapshot.index == 0 || journal_find_reset(&lab->options, &found, &pos) != JOURNAL_OK)
        return; /* what is wrong shows when the journal is opened */
    if (found && pos.index == lab->snapshot.index && pos.term == lab->snapshot.term) {
        lab->flushed = pos;
        /* Where the log ends there the states before and after the reset look alike but for it. */
        lab->durable.terms[pos.index] = pos.term;
    }
    lab->snapshot = (struct raft_pos){ 0 };
}

enum journal_err lab_open(struct lab *lab)
{
    ASSERT(!lab->j);
    snapshot_recover(lab);
    enum journal_err err = journal_open(&lab->j, &lab->options, lab->flushed, &lab->recovery);
    if (err == JOURNAL_OK)
        recovery_check(lab);
    else
        cr_assert_eq(lab->recovery.entry_count, 0, "an error comes with no entries");
    journal_recovery_done(&lab->recovery);
    return err;
}

static void on_closed(void *owner)
{
    *(bool *)owner = true;
}

void lab_close(struct lab *lab)
{
    fake_io_run(lab->fake);
    if (!lab->j)
        return;
    bool closed = false;
    journal_close(lab->j, on_closed, &closed);
    lab->j = NULL;
    for (int turn = 0; turn < 1000 && !closed; turn++) {
        fake_io_run(lab->fake);
        fake_io_advance(lab->fake, 1);
    }
    cr_assert(closed, "the journal does not close");
}

void lab_reboot(struct lab *lab)
{
    lab_close(lab);
    cr_assert_eq(fake_disk_open_count(fake_io_disk(lab->fake)), 0);
    fake_io_reboot(lab->fake);
    lab->root_fd = fake_io_root(lab->fake);
    lab->options.dir_fd = lab->root_fd;
}

/* ---- writing ---- */

static void on_written(void *owner, enum journal_err err)
{
    struct lab *lab = owner;
    lab->completed = err;
    lab->completed_count++;
    if (err != JOURNAL_OK)
        return; /* it may be there, or not */
    lab->durable = lab->pending;
    lab->in_flight = false;
}

static size_t entry_make(struct lab *lab, uint8_t *to, struct raft_pos pos, uint32_t payload_bytes)
{
    struct entry_header header = { .type = RAFT_ENTRY_COMMAND,
                                   .pos = pos,
                                   .request_id = ++lab->request_id,
                                   .payload_bytes = payload_bytes };
    if (lab->makes_old_entries) {
        memset(to + old_entry_payload_offset(&header), (int)lab->request_id & 0xff, payload_bytes);
        old_entry_seal(to, &header);
        return old_entry_size_bytes(&header);
    }
    memset(to + entry_payload_offset(&header), (int)lab->request_id & 0xff, payload_bytes);
    entry_seal(to, &header);
    return entry_size_bytes(&header);
}

enum journal_err lab_write(struct lab *lab, const struct lab_batch *batch)
{
    ASSERT(batch->count <= LAB_BATCH_MAX);
    ASSERT(batch->prev_index + batch->count <= LAB_INDEX_MAX);
    ASSERT(batch->reset == JOURNAL_RESET_DROP || batch->prev_index <= lab->durable.last);
    struct slice entries[LAB_BATCH_MAX];
    struct raft_pos positions[LAB_BATCH_MAX];
    struct lab_state next = lab->durable;
    size_t used = 0;
    next.hard = batch->hard;
    if (batch->count > 0)
        next.last = batch->prev_index;
    if (batch->reset == JOURNAL_RESET_DROP) {
        next.last = batch->reset_pos.index;
        next.terms[next.last] = batch->reset_pos.term;
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        uint64_t index = ++next.last;
        positions[i] = (struct raft_pos){ .term = batch->term, .index = index };
        ASSERT(used + batch->payload_bytes + ENTRY_HEADER_BYTES_MAX <= LAB_BYTES);
        size_t size = entry_make(lab, lab->bytes + used, positions[i], batch->payload_bytes);
        entries[i] = slice_of(lab->bytes + used, size);
        used += size;
        next.terms[index] = batch->term;
        next.sums[index] = checksum(entries[i], 0);
    }
    struct journal_batch made = {
        .hard = batch->hard,
        .reset = batch->reset,
        .reset_pos = batch->reset_pos,
        .prev = { .term = next.terms[batch->prev_index], .index = batch->prev_index },
        .entries = entries,
        .positions = positions,
        .entry_count = batch->count,
    };
    enum journal_err err = journal_write(lab->j, &made, on_written, lab);
    if (err != JOURNAL_OK)
        return err; /* nothing began */
    if (batch->reset != JOURNAL_RESET_NONE)
        lab->snapshot = batch->reset_pos;
    lab->pending = next;
    lab->in_flight = true;
    return err;
}

void lab_write_now(struct lab *lab, const struct lab_batch *batch)
{
    uint64_t before = lab->completed_count;
    cr_assert_eq(lab_write(lab, batch), JOURNAL_OK);
    fake_io_run(lab->fake);
    cr_assert_eq(lab->completed_count, before + 1, "exactly one completion");
    cr_assert_eq(lab->completed, JOURNAL_OK);
}

void lab_append(struct lab *lab, uint32_t count, uint32_t payload_bytes)
{
    struct raft_hard_state hard = lab->durable.hard;
    if (hard.term == 0)
        hard.term = 1;
    lab_write_now(lab, &(struct lab_batch){ .hard = hard,
                                            .prev_index = lab->durable.last,
                                            .term = hard.term,
                                            .count = count,
                                            .payload_bytes = payload_bytes });
}

void lab_switch(struct lab *lab)
{
    ASSERT(lab->snapshot.index >= lab->flushed.index);
    lab->flushed = lab->snapshot;
    lab->snapshot = (struct raft_pos){ 0 };
    journal_release(lab->j, lab->flushed.index);
}

void lab_flush(struct lab *lab, uint64_t index)
{
    ASSERT(lab->snapshot.index == 0);
    ASSERT(index <= lab->durable.last);
    if (index > lab->flushed.index)
        lab->flushed = (struct raft_pos){ .term = lab->durable.terms[index], .index = index };
    journal_release(lab->j, lab->flushed.index);
}

const char *lab_segment_path(uint32_t id)
{
    static char path[32];
    IGNORE(snprintf(path, sizeof path, "journal/%08u.seg", id), "it fits");
    return path;
}
