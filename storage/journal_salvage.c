/* Going on after damage (I7). What was confirmed once may be gone: the caller has said so durably
 * before (repair_mark.h), and confirms nothing until it has caught up with a leader. So what is
 * kept here is only what need not be sent again; what must be right is the hard state: a vote that
 * was given and forgotten could elect two leaders in one term. */
#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "storage/journal_internal.h"

struct salvage {
    struct journal *j;
    struct raft_pos flushed;
    struct journal_recovery *recovery;
    struct journal_scan scan;
    struct journal_slots_found slots;
    struct raft_hard_state hard;
    char why[sizeof((struct journal_recovery *)NULL)->detail];
};

/* As before journal_scan_segments. */
static void scanned_forget(struct journal *j)
{
    while (!list_is_empty(&j->free))
        journal_segment_forget(j, LIST_ENTRY(j->free.next, struct journal_segment, link));
    ASSERT(list_is_empty(&j->live)); /* nothing is adopted from what is damaged */
    free(j->buffer);
    j->buffer = NULL;
    struct journal_slots *files[] = { &j->slots, &j->marks };
    for (size_t i = 0; i < 2; i++) {
        if (files[i]->fd >= 0)
            j->io->ops->file_close(j->io, files[i]->fd);
        files[i]->fd = -1;
        files[i]->sequence = 0;
    }
    j->last = (struct raft_pos){ 0 };
}

static enum journal_err everything_read(struct salvage *s)
{
    struct journal *j = s->j;
    struct journal_slots_found marks;
    enum journal_err err = journal_scan_segments(j, &s->scan);
    if (err == JOURNAL_OK)
        err = journal_slots_load(&j->slots, &s->slots);
    if (err == JOURNAL_OK)
        err = journal_slots_load(&j->marks, &marks);
    if (err == JOURNAL_OK)
        err = journal_scan_all(j, &s->scan);
    for (size_t i = 0; i < 2 && err == JOURNAL_OK; i++)
        if (marks.verdicts[i] == JOURNAL_VERDICT_OK && marks.pages[i].a > s->scan.known_durable)
            s->scan.known_durable = marks.pages[i].a;
    return err;
}

/* ---- the vote ---- */

/* A vote counts only when its slot is durable, and slots are written in turn: with both sound, the
 * later one is the last that ever counted. The first of all is alone. */
static bool slots_are_sure(const struct journal_slots_found *slots)
{
    uint64_t number[2] = { 0 };
    for (size_t i = 0; i < 2; i++)
        if (slots->verdicts[i] == JOURNAL_VERDICT_OK)
            number[i] = slots->pages[i].number;
    if (number[0] > 0 && number[1] > 0)
        return true;
    return number[0] == 0 && number[1] == 1 && slots->verdicts[0] == JOURNAL_VERDICT_BLANK;
}

static enum journal_err hard_salvage(struct salvage *s)
{
    const struct journal_scan *scan = &s->scan;
    s->hard = scan->hard;
    bool agrees = journal_hard_join_slots(&s->hard, &s->slots) && scan->votes_agree;
    /* Every header has the hard state of its time: one that is newer than all that was known
     * durable has the last one. */
    bool header_is_sure = scan->newest_header > 0 && scan->newest_header >= scan->known_durable;
    bool is_sure = slots_are_sure(&s->slots) || header_is_sure;
    if (agrees && is_sure && s->hard.term >= s->flushed.term)
        return JOURNAL_OK;
    journal_scan_say(&s->scan, "%.60s; and its last vote is %s; %s", s->why,
                     agrees ? "lost" : "in doubt", journal_advice);
    return JOURNAL_E_CORRUPT;
}

/* ---- what is kept ---- */

static int number_order(const void *a, const void *b)
{
    uint64_t left = ((const struct journal_found_batch *)a)->header.number;
    uint64_t right = ((const struct journal_found_batch *)b)->header.number;
    return left < right ? -1 : left > right;
}

/* The newest batch on which the store's log can go on, and those that follow it without a gap:
 * newest first, as recovery's chain. */
static void run_choose(struct journal_scan *scan, uint64_t flushed_index)
{
    struct journal_found_batch *all = scan->chain;
    size_t count = scan->chain_count;
    if (count > 1)
        qsort(all, count, sizeof *all, number_order);
    size_t from = count;
    while (from > 0 && all[from - 1].header.prev.index > flushed_index &&
           all[from - 1].header.reset != JOURNAL_RESET_DROP)
        from--;
    scan->chain_count = 0;
    if (from == 0 || all[from - 1].header.prev.index > flushed_index)
        return;
    from--;
    size_t end = from + 1;
    while (end < count && journal_batch_continues(&all[end - 1], &all[end]))
        end++;
    memmove(all, all + from, (end - from) * sizeof *all);
    scan->chain_count = end - from;
    for (size_t low = 0, high = scan->chain_count; low + 1 < high; low++, high--) {
        struct journal_found_batch swap = all[low];
        all[low] = all[high - 1];
        all[high - 1] = swap;
    }
}

static void entries_drop(struct journal_recovery *recovery, size_t from)
{
    for (size_t i = from; i < recovery->entry_count; i++)
        block_unref(recovery->entries[i].block);
    recovery->entry_count = from;
}

/* As many as one batch holds. */
static void entries_fit(const struct journal *j, struct journal_recovery *recovery)
{
    uint64_t room = journal_batch_bytes_max(j);
    for (size_t i = 0; i < recovery->entry_count; i++) {
        if (recovery->entries[i].bytes.size > room) {
            entries_drop(recovery, i);
            return;
        }
        room -= recovery->entries[i].bytes.size;
    }
}

static enum journal_err entries_keep(struct salvage *s)
{
    struct journal *j = s->j;
    run_choose(&s->scan, s->flushed.index);
    enum journal_err err = journal_replay(j, &s->scan, s->flushed, s->recovery);
    if (err == JOURNAL_E_CORRUPT) {
        entries_drop(s->recovery, 0);
        err = JOURNAL_OK;
    }
    entries_fit(j, s->recovery);
    size_t count = s->recovery->entry_count;
    j->last = count > 0 ? s->recovery->entries[count - 1].pos : s->flushed;
    if (s->hard.commit > j->last.index)
        s->hard.commit = j->last.index;
    return err;
}

/* ---- the new generation ---- */

/* One that no file has, damaged or not. */
static uint32_t segment_id_choose(const struct journal *j)
{
    struct io *io = j->io;
    for (uint32_t id = 1; id <= JOURNAL_SEGMENT_IDS_MAX; id++) {
        char name[JOURNAL_SEGMENT_NAME_BYTES];
        journal_segment_name(name, id);
        int fd = io->ops->file_open(io, j->dir_fd, name, 0);
        if (fd < 0)
            return id;
        io->ops->file_close(io, fd);
    }
    return 0;
}

static enum journal_err segment_add(struct journal *j)
{
    uint32_t id = segment_id_choose(j);
    if (id == 0)
        return JOURNAL_E_NOSPACE;
    struct journal_segment *s = journal_segment_new(id);
    if (!s)
        return JOURNAL_E_NOMEM;
    struct journal_new_segment wanted = journal_new_segment(j, id);
    s->fd = journal_segment_make(&wanted);
    if (s->fd < 0) {
        enum journal_err err = journal_err_of(s->fd);
        free(s);
        return err;
    }
    s->generation = ++j->generation;
    list_push_back(&j->live, &s->link);
    j->live_count++;
    return JOURNAL_OK;
}

/* Its number is above everything that any header or mark knows of. */
static uint64_t batch_make(struct salvage *s)
{
    struct journal *j = s->j;
    uint64_t newest = s->scan.known_durable;
    if (s->scan.newest_header > newest)
        newest = s->scan.newest_header;
    uint8_t *to = j->buffer + JOURNAL_ALIGN_BYTES + JOURNAL_BATCH_HEADER_BYTES;
    uint8_t *at = to;
    for (size_t i = 0; i < s->recovery->entry_count; i++) {
        struct slice bytes = s->recovery->entries[i].bytes;
        memcpy(at, bytes.data, bytes.size);
        at += bytes.size;
    }
    const struct journal_batch_header header = {
        .number = newest + 1,
        .generation = j->generation,
        .hard = s->hard,
        .prev = s->flushed,
        .known_durable = newest,
        .entry_count = (uint32_t)s->recovery->entry_count,
        .payload_bytes = (uint32_t)(at - to),
        .reset = JOURNAL_RESET_DROP,
        .reset_pos = s->flushed,
    };
    j->sum = journal_batch_seal(j->buffer + JOURNAL_ALIGN_BYTES, &j->owner, &header);
    j->number = header.number;
    j->hard = header.hard;
    return journal_batch_bytes(header.payload_bytes);
}

static enum journal_err batch_write(struct salvage *s)
{
    struct journal *j = s->j;
    struct journal_segment *segment = journal_current(j);
    uint64_t size = batch_make(s);
    struct journal_page page = { .number = segment->generation, .a = j->segment_bytes };
    journal_page_encode(j->buffer, JOURNAL_PAGE_SEGMENT, &j->owner, &page);
    struct slice bytes = slice_of(j->buffer, JOURNAL_ALIGN_BYTES + size);
    int err = j->io->ops->file_write_now(j->io, segment->fd, bytes, 0);
    if (err == 0)
        err = j->io->ops->file_sync_now(j->io, segment->fd);
    segment->end = JOURNAL_ALIGN_BYTES + size;
    segment->prev_index_min = s->flushed.index;
    return err == 0 ? JOURNAL_OK : journal_err_of(err);
}

/* All but the new one, those too that were not even of a segment's size. */
static enum journal_err others_remove(struct journal *j)
{
    uint32_t own = journal_current(j)->id;
    while (!list_is_empty(&j->free))
        journal_segment_forget(j, LIST_ENTRY(j->free.next, struct journal_segment, link));
    for (uint32_t id = 1; id <= JOURNAL_SEGMENT_IDS_MAX; id++) {
        char name[JOURNAL_SEGMENT_NAME_BYTES];
        journal_segment_name(name, id);
        int err = id == own ? 0 : j->io->ops->file_remove(j->io, j->dir_fd, name);
        if (err != 0 && err != -ENOENT)
            return JOURNAL_E_IO;
    }
    j->id_last = own;
    return j->io->ops->dir_sync(j->io, j->dir_fd) == 0 ? JOURNAL_OK : JOURNAL_E_IO;
}

/* Nothing of the old is touched before the new is durable: a crash on the way finds the same
 * damage again, one after it finds a journal that begins with the new batch. */
static enum journal_err start_anew(struct salvage *s)
{
    struct journal *j = s->j;
    struct journal_page hard = { .a = s->hard.term, .b = s->hard.vote };
    enum journal_err err = journal_slots_repair(&j->slots, &hard);
    if (err == JOURNAL_OK)
        err = journal_slots_repair(&j->marks, NULL);
    if (err == JOURNAL_OK)
        err = segment_add(j);
    if (err == JOURNAL_OK)
        err = batch_write(s);
    return err == JOURNAL_OK ? others_remove(j) : err;
}

enum journal_err journal_salvage(struct journal *j, struct raft_pos flushed,
                                 struct journal_recovery *recovery)
{
    struct salvage s = { .j = j, .flushed = flushed, .recovery = recovery };
    memcpy(s.why, recovery->detail, sizeof s.why);
    s.scan = (struct journal_scan){ .salvages = true,
                                    .detail = recovery->detail,
                                    .detail_bytes = sizeof recovery->detail };
    scanned_forget(j);
    enum journal_err err = everything_read(&s);
    if (err == JOURNAL_OK)
        err = hard_salvage(&s);
    if (err == JOURNAL_OK)
        err = entries_keep(&s);
    if (err == JOURNAL_OK)
        err = start_anew(&s);
    journal_scan_done(&s.scan);
    if (err != JOURNAL_OK)
        return err;
    memcpy(recovery->detail, s.why, sizeof s.why);
    recovery->salvaged = true;
    return JOURNAL_OK;
}
