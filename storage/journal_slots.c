#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "storage/journal_internal.h"

/* ---- one write ---- */

static void op_done(void *owner, int32_t result)
{
    struct journal_op *op = owner;
    struct journal *j = op->j;
    op->busy = false;
    if (result < 0 || (size_t)result != op->bytes.size)
        journal_fail(j);
    op->done(j);
}

static int op_submit(struct journal_op *op)
{
    struct io *io = op->j->io;
    struct io_ref ref;
    int err = io->ops->file_write(io, op->fd, op->bytes, op->offset, op->flags, op_done, op, &ref);
    if (err == -EAGAIN && io_timer_set(io, &op->retry, io_now_ms(io) + JOURNAL_RETRY_MS))
        return 0;
    return err;
}

static void op_retry(void *owner)
{
    struct journal_op *op = owner;
    int err = op_submit(op);
    if (err != 0)
        op_done(op, err);
}

void journal_op_init(struct journal_op *op, struct journal *j, void (*done)(struct journal *j))
{
    *op = (struct journal_op){ .j = j, .fd = -1, .done = done };
    timer_init(&op->retry, op_retry, op);
}

bool journal_op_begin(struct journal_op *op)
{
    ASSERT(!op->busy);
    op->busy = op_submit(op) == 0;
    if (!op->busy)
        journal_fail(op->j);
    return op->busy;
}

/* ---- slots ---- */

const char *journal_slots_name(enum journal_page_kind kind)
{
    ASSERT(kind != JOURNAL_PAGE_SEGMENT);
    return kind == JOURNAL_PAGE_HARD ? "hard" : "mark";
}

bool journal_slots_init(struct journal_slots *s, struct journal *j, enum journal_page_kind kind,
                        void (*done)(struct journal *j))
{
    *s = (struct journal_slots){ .kind = kind, .fd = -1 };
    journal_op_init(&s->op, j, done);
    s->page = aligned_alloc(IO_ALIGN_BYTES, JOURNAL_ALIGN_BYTES);
    return s->page != NULL;
}

static uint64_t slot_offset(uint64_t sequence)
{
    return sequence % 2 * JOURNAL_ALIGN_BYTES;
}

bool journal_slots_write(struct journal_slots *s, const struct journal_page *page,
                         enum io_write_flags flags)
{
    ASSERT(!s->op.busy);
    struct journal_page next = *page;
    next.number = ++s->sequence;
    journal_page_encode(s->page, s->kind, &s->op.j->owner, &next);
    s->op.fd = s->fd;
    s->op.bytes = slice_of(s->page, JOURNAL_ALIGN_BYTES);
    s->op.offset = slot_offset(next.number);
    s->op.flags = flags;
    return journal_op_begin(&s->op);
}

static enum journal_err slot_load(struct journal_slots *s, size_t i,
                                  struct journal_slots_found *found)
{
    struct journal *j = s->op.j;
    int64_t got =
        j->io->ops->file_read(j->io, s->fd, s->page, JOURNAL_ALIGN_BYTES, i * JOURNAL_ALIGN_BYTES);
    if (got < 0)
        return JOURNAL_E_IO;
    /* A file cut short is one that was being made: it holds nothing yet. */
    if (got < JOURNAL_ALIGN_BYTES)
        memset(s->page + got, 0, JOURNAL_ALIGN_BYTES - (size_t)got);
    struct journal_page *page = &found->pages[i];
    found->verdicts[i] = journal_page_decode(s->page, s->kind, &j->owner, page);
    if (found->verdicts[i] == JOURNAL_VERDICT_VERSION)
        return JOURNAL_E_VERSION;
    if (found->verdicts[i] == JOURNAL_VERDICT_FOREIGN)
        return JOURNAL_E_FOREIGN;
    if (found->verdicts[i] == JOURNAL_VERDICT_OK && page->number > s->sequence)
        s->sequence = page->number;
    return JOURNAL_OK;
}

enum journal_err journal_slots_load(struct journal_slots *s, struct journal_slots_found *ret_found)
{
    struct journal *j = s->op.j;
    *ret_found = (struct journal_slots_found){ .verdicts = { JOURNAL_VERDICT_BLANK,
                                                             JOURNAL_VERDICT_BLANK } };
    enum io_open_flags flags = j->direct ? IO_OPEN_DIRECT : 0;
    int fd = j->io->ops->file_open(j->io, j->dir_fd, journal_slots_name(s->kind), flags);
    if (fd == -ENOENT)
        return JOURNAL_OK;
    if (fd < 0)
        return JOURNAL_E_IO;
    s->fd = fd;
    enum journal_err err = slot_load(s, 0, ret_found);
    return err != JOURNAL_OK ? err : slot_load(s, 1, ret_found);
}

static int slot_write_now(struct journal_slots *s, const struct journal_page *page)
{
    struct journal *j = s->op.j;
    struct journal_page next = *page;
    next.number = ++s->sequence;
    journal_page_encode(s->page, s->kind, &j->owner, &next);
    return j->io->ops->file_write_now(j->io, s->fd, slice_of(s->page, JOURNAL_ALIGN_BYTES),
                                      slot_offset(next.number));
}

/* Both slots are there from the start, so that no later write grows the file: on a disk that has
 * filled up since it would fail, and the journal with it. */
static int slots_fill(struct journal_slots *s)
{
    struct io *io = s->op.j->io;
    int64_t size = io->ops->file_size(io, s->fd);
    if (size < 0)
        return (int)size;
    int err = 0;
    memset(s->page, 0, JOURNAL_ALIGN_BYTES);
    for (int64_t slot = 0; slot < 2 && err == 0; slot++) {
        if (size < (slot + 1) * JOURNAL_ALIGN_BYTES)
            err = io->ops->file_write_now(io, s->fd, slice_of(s->page, JOURNAL_ALIGN_BYTES),
                                          (uint64_t)slot * JOURNAL_ALIGN_BYTES);
    }
    return err;
}

enum journal_err journal_slots_repair(struct journal_slots *s, const struct journal_page *page)
{
    struct journal *j = s->op.j;
    struct io *io = j->io;
    if (s->fd < 0) {
        enum io_open_flags flags = IO_OPEN_CREATE | (j->direct ? IO_OPEN_DIRECT : 0);
        s->fd = io->ops->file_open(io, j->dir_fd, journal_slots_name(s->kind), flags);
        if (s->fd < 0)
            return journal_err_of(s->fd);
    }
    int err = slots_fill(s);
    /* The second overwrites what was newest only when the first is durable. */
    for (int i = 0; i < 2 && page && err == 0; i++) {
        err = slot_write_now(s, page);
        if (err == 0)
            err = io->ops->file_sync_now(io, s->fd);
    }
    if (err == 0)
        err = io->ops->file_sync_now(io, s->fd);
    return err != 0 ? journal_err_of(err) : JOURNAL_OK;
}

/* ---- marks ---- */

static void mark_write(struct journal *j, enum io_write_flags flags)
{
    if (j->failed || j->marks.op.busy || j->marked_number == j->number)
        return;
    io_timer_cancel(j->io, &j->mark_timer);
    j->marked_number = j->number;
    j->unmarked_bytes = 0;
    IGNORE(journal_slots_write(&j->marks, &(struct journal_page){ .a = j->number }, flags),
           "the journal has failed then, and says so at its next write");
}

void journal_mark_timer_fn(void *owner)
{
    mark_write(owner, 0);
}

void journal_mark_schedule(struct journal *j, uint64_t written_bytes)
{
    j->unmarked_bytes += written_bytes;
    if (j->unmarked_bytes >= JOURNAL_MARK_BYTES)
        mark_write(j, 0);
    else if (j->mark_timer.heap_i == 0)
        IGNORE(io_timer_set(j->io, &j->mark_timer, io_now_ms(j->io) + JOURNAL_MARK_INTERVAL_MS),
               "marks are a bonus: the next write tries again");
}

void journal_mark_last(struct journal *j)
{
    mark_write(j, IO_WRITE_DURABLE);
}
