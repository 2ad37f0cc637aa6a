#include "storage/journal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "storage/journal_internal.h"

const char *journal_strerror(enum journal_err err)
{
#define JOURNAL_TEXT(name, text) \
    case name:                   \
        return text;
    switch (err) {
        JOURNAL_ERRORS(JOURNAL_TEXT)
    }
#undef JOURNAL_TEXT
    return "unknown error";
}

enum journal_err journal_err_of(int64_t negative_errno)
{
    if (negative_errno == -ENOSPC || negative_errno == -EDQUOT)
        return JOURNAL_E_NOSPACE;
    return negative_errno == -ENOMEM ? JOURNAL_E_NOMEM : JOURNAL_E_IO;
}

void journal_fail(struct journal *j)
{
    j->failed = true;
}

/* ---- writing ---- */

uint64_t journal_batch_bytes_max(const struct journal *j)
{
    return j->segment_bytes - JOURNAL_ALIGN_BYTES - JOURNAL_BATCH_HEADER_BYTES;
}

bool journal_is_writing(const struct journal *j)
{
    return j->write.active;
}

/* The caller's side of the contract: term and vote only move on, entries leave no gap. */
static void batch_check(const struct journal *j, const struct journal_batch *batch)
{
    ASSERT(batch->hard.term >= j->hard.term);
    ASSERT(batch->hard.term > j->hard.term || j->hard.vote == 0 ||
           batch->hard.vote == j->hard.vote);
    struct raft_pos prev = batch->prev;
    bool drops = batch->reset == JOURNAL_RESET_DROP;
    ASSERT(batch->reset == JOURNAL_RESET_NONE || batch->reset_pos.term <= batch->hard.term);
    ASSERT(batch->reset == JOURNAL_RESET_NONE || batch->reset_pos.index >= j->flushed_index);
    ASSERT(batch->reset != JOURNAL_RESET_KEEP || batch->reset_pos.index <= j->last.index);
    ASSERT(!drops || (prev.index == batch->reset_pos.index && prev.term == batch->reset_pos.term));
    ASSERT(drops || batch->entry_count == 0 || prev.index <= j->last.index ||
           prev.index <= j->flushed_index);
    for (uint32_t i = 0; i < batch->entry_count; i++) {
        ASSERT(batch->positions[i].index == prev.index + 1);
        ASSERT(batch->positions[i].term >= prev.term);
        prev = batch->positions[i];
    }
}

static void payload_copy(struct journal *j, const struct journal_batch *batch)
{
    uint8_t *to = j->buffer + JOURNAL_ALIGN_BYTES + JOURNAL_BATCH_HEADER_BYTES;
    for (uint32_t i = 0; i < batch->entry_count; i++) {
        memcpy(to, batch->entries[i].data, batch->entries[i].size);
        to += batch->entries[i].size;
    }
}

static bool write_needs_segment(const struct journal *j, uint64_t size)
{
    const struct journal_segment *current = journal_current(j);
    return !current || size > j->segment_bytes - current->end;
}

/* Seals the batch and says where it goes. The header of a segment taken into use is in the same
 * write as its first batch: either may tear, and then neither counts. */
static void write_place(struct journal *j)
{
    struct journal_pending_write *w = &j->write;
    bool fresh = write_needs_segment(j, w->size);
    if (fresh)
        journal_segment_take(j);
    struct journal_segment *s = journal_current(j);
    w->header.generation = s->generation;
    w->sum = journal_batch_seal(j->buffer + JOURNAL_ALIGN_BYTES, &j->owner, &w->header);
    j->op.fd = s->fd;
    j->op.flags = IO_WRITE_DURABLE;
    j->op.offset = s->end;
    j->op.bytes = slice_of(j->buffer + JOURNAL_ALIGN_BYTES, w->size);
    if (!fresh)
        return;
    struct journal_page page = { .number = s->generation, .a = j->segment_bytes };
    journal_page_encode(j->buffer, JOURNAL_PAGE_SEGMENT, &j->owner, &page);
    j->op.offset = 0;
    j->op.bytes = slice_of(j->buffer, JOURNAL_ALIGN_BYTES + w->size);
}

/* False: nothing is in flight, the journal has failed. */
static bool write_begin(struct journal *j)
{
    struct journal_pending_write *w = &j->write;
    w->waiting = false;
    write_place(j);
    if (!journal_op_begin(&j->op))
        return false;
    struct raft_hard_state hard = w->header.hard;
    if (hard.term != j->hard.term || hard.vote != j->hard.vote) {
        struct journal_page page = { .a = hard.term, .b = hard.vote };
        IGNORE(journal_slots_write(&j->slots, &page, IO_WRITE_DURABLE),
               "then the journal has failed, and the batch's completion says so");
    }
    return true;
}

/* Last in its caller: fn may close the journal. */
static void write_end(struct journal *j, enum journal_err err)
{
    j->write.active = false;
    j->write.fn(j->write.owner, err);
}

/* Both the batch and, where it was needed, the slot are durable (I1, I2). */
static void write_settle(struct journal *j)
{
    struct journal_pending_write *w = &j->write;
    struct journal_segment *s = journal_current(j);
    s->end += w->size;
    if (w->header.reset == JOURNAL_RESET_DROP)
        s->prev_index_min = UINT64_MAX; /* what was written before it counts no more */
    if (w->header.prev.index < s->prev_index_min)
        s->prev_index_min = w->header.prev.index;
    j->number = w->header.number;
    j->sum = w->sum;
    j->hard = w->header.hard;
    j->last = w->last;
    j->write_count++;
    j->written_bytes += j->op.bytes.size;
    journal_mark_schedule(j, j->op.bytes.size);
}

static void write_op_done(struct journal *j)
{
    if (j->op.busy || j->slots.op.busy)
        return;
    if (!j->failed)
        write_settle(j);
    write_end(j, j->failed ? JOURNAL_E_IO : JOURNAL_OK);
}

void journal_write_resume(struct journal *j)
{
    if (!j->write.waiting)
        return;
    if (!j->failed && j->free_count == 0)
        return; /* a release, or the next segment made, comes here again */
    if (j->failed || !write_begin(j)) {
        j->write.waiting = false;
        write_end(j, JOURNAL_E_IO);
    }
}

void journal_stop(struct journal *j)
{
    journal_fail(j);
    journal_write_resume(j);
}

static struct raft_pos reset_pos_of(const struct journal_batch *batch)
{
    return batch->reset == JOURNAL_RESET_NONE ? (struct raft_pos){ 0 } : batch->reset_pos;
}

enum journal_err journal_write(struct journal *j, const struct journal_batch *batch,
                               journal_done_fn *fn, void *owner)
{
    ASSERT(!j->write.active);
    ASSERT(!j->closing);
    if (j->failed)
        return JOURNAL_E_IO;
    batch_check(j, batch);
    uint64_t payload = 0;
    for (uint32_t i = 0; i < batch->entry_count; i++)
        if (__builtin_add_overflow(payload, batch->entries[i].size, &payload))
            return JOURNAL_E_TOO_LARGE;
    if (payload > journal_batch_bytes_max(j))
        return JOURNAL_E_TOO_LARGE;
    uint64_t size = journal_batch_bytes(payload);
    bool waits = write_needs_segment(j, size) && j->free_count == 0;
    if (waits && !journal_spare_keep(j))
        return JOURNAL_E_FULL;
    struct raft_pos end = batch->reset == JOURNAL_RESET_DROP ? batch->reset_pos : j->last;
    struct raft_pos last = end;
    if (batch->entry_count > 0)
        last = batch->positions[batch->entry_count - 1];
    payload_copy(j, batch);
    j->write = (struct journal_pending_write){
        .active = true,
        .waiting = waits,
        .header = { .number = j->number + 1,
                    .hard = batch->hard,
                    .prev = batch->entry_count > 0 ? batch->prev : end,
                    .known_durable = j->number,
                    .prev_sum = j->sum,
                    .entry_count = batch->entry_count,
                    .payload_bytes = (uint32_t)payload,
                    .reset = batch->reset,
                    .reset_pos = reset_pos_of(batch) },
        .last = last,
        .size = size,
        .fn = fn,
        .owner = owner,
    };
    if (waits || write_begin(j))
        return JOURNAL_OK;
    j->write.active = false;
    return JOURNAL_E_IO;
}

/* ---- life ---- */

static void segments_free(struct journal *j, struct list *segments)
{
    for (struct list *l = list_pop_front(segments); l; l = list_pop_front(segments)) {
        struct journal_segment *s = LIST_ENTRY(l, struct journal_segment, link);
        j->io->ops->file_close(j->io, s->fd);
        free(s);
    }
}

static void journal_free(struct journal *j)
{
    struct io *io = j->io;
    io_timer_cancel(io, &j->mark_timer);
    segments_free(j, &j->live);
    segments_free(j, &j->free);
    int fds[] = { j->slots.fd, j->marks.fd, j->dir_fd };
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        if (fds[i] >= 0)
            io->ops->file_close(io, fds[i]);
    free(j->slots.page);
    free(j->marks.page);
    free(j->buffer);
    free(j);
}

static struct journal *journal_new(const struct journal_options *options)
{
    ASSERT(options->segment_bytes % JOURNAL_ALIGN_BYTES == 0);
    ASSERT(options->segment_bytes >= JOURNAL_SEGMENT_BYTES_MIN);
    ASSERT(options->segment_bytes <= JOURNAL_SEGMENT_BYTES_MAX);
    ASSERT(options->segment_count_max >= 3);
    ASSERT(options->segment_count_max <= JOURNAL_SEGMENT_IDS_MAX);
    ASSERT(options->incarnation.size == INCARNATION_BYTES);
    struct journal *j = calloc(1, sizeof *j);
    if (!j)
        return NULL;
    j->io = options->io;
    j->dir_fd = -1;
    j->direct = options->direct;
    j->salvage = options->salvage;
    j->must_exist = options->must_exist;
    j->owner = journal_owner_of(options->cluster_id, options->incarnation.data);
    j->segment_bytes = options->segment_bytes;
    j->segment_count_max = options->segment_count_max;
    list_init(&j->live);
    list_init(&j->free);
    timer_init(&j->mark_timer, journal_mark_timer_fn, j);
    journal_op_init(&j->op, j, write_op_done);
    bool ok = journal_slots_init(&j->slots, j, JOURNAL_PAGE_HARD, write_op_done);
    if (!journal_slots_init(&j->marks, j, JOURNAL_PAGE_MARK, journal_close_check) || !ok) {
        journal_free(j);
        return NULL;
    }
    return j;
}

enum journal_err journal_open(struct journal **ret_j, const struct journal_options *options,
                              struct raft_pos flushed, struct journal_recovery *ret_recovery)
{
    *ret_recovery = (struct journal_recovery){ 0 };
    struct journal *j = journal_new(options);
    if (!j)
        return JOURNAL_E_NOMEM;
    struct io *io = j->io;
    enum journal_err err;
    j->dir_fd = io->ops->dir_open(io, options->dir_fd, "journal", IO_OPEN_CREATE);
    if (j->dir_fd < 0)
        err = journal_err_of(j->dir_fd);
    else if (io->ops->dir_sync(io, options->dir_fd) != 0)
        err = JOURNAL_E_IO;
    else
        err = journal_recover(j, flushed, ret_recovery);
    if (err != JOURNAL_OK) {
        journal_free(j);
        return err;
    }
    IGNORE(journal_spare_keep(j), "journal_usage shows what room there is");
    *ret_j = j;
    return JOURNAL_OK;
}

enum journal_err journal_find_reset(const struct journal_options *options, bool *ret_found,
                                    struct raft_pos *ret_pos)
{
    *ret_found = false;
    struct journal *j = journal_new(options);
    if (!j)
        return JOURNAL_E_NOMEM;
    struct io *io = j->io;
    enum journal_err err = JOURNAL_OK;
    j->dir_fd = io->ops->dir_open(io, options->dir_fd, "journal", 0);
    if (j->dir_fd >= 0)
        err = journal_recover_reset(j, ret_found, ret_pos);
    else if (j->dir_fd != -ENOENT)
        err = journal_err_of(j->dir_fd);
    journal_free(j);
    return err;
}

void journal_close_check(struct journal *j)
{
    if (!j->closing || j->maker.running || j->marks.op.busy)
        return;
    /* So that damage while it is off is told from a torn tail. */
    journal_mark_last(j);
    if (j->marks.op.busy)
        return;
    void (*fn)(void *owner) = j->close_fn;
    void *owner = j->close_owner;
    journal_free(j);
    fn(owner);
}

void journal_close(struct journal *j, void (*fn)(void *owner), void *owner)
{
    if (!j) {
        fn(owner);
        return;
    }
    ASSERT(!j->write.active);
    ASSERT(!j->closing);
    j->closing = true;
    j->close_fn = fn;
    j->close_owner = owner;
    journal_close_check(j);
}
