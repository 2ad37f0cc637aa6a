#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "storage/journal_internal.h"

const char journal_advice[] = "remove this member and add it again with an empty directory";

/* ---- hard state ---- */

bool journal_hard_join(struct raft_hard_state *hard, struct raft_hard_state other)
{
    if (other.term == hard->term && hard->vote != 0 && other.vote != 0 && other.vote != hard->vote)
        return false;
    if (other.term > hard->term)
        hard->vote = other.vote;
    else if (other.term == hard->term && other.vote != 0)
        hard->vote = other.vote;
    if (other.term > hard->term)
        hard->term = other.term;
    if (other.commit > hard->commit)
        hard->commit = other.commit;
    return true;
}

bool journal_hard_join_slots(struct raft_hard_state *hard, const struct journal_slots_found *slots)
{
    bool agrees = true;
    for (size_t i = 0; i < 2; i++) {
        if (slots->verdicts[i] != JOURNAL_VERDICT_OK)
            continue;
        struct raft_hard_state slot = { .term = slots->pages[i].a, .vote = slots->pages[i].b };
        agrees = journal_hard_join(hard, slot) && agrees;
    }
    return agrees;
}

static enum journal_err hard_recover(struct journal *j, struct journal_scan *scan,
                                     const struct journal_slots_found *slots)
{
    struct raft_hard_state hard = { 0 };
    bool agrees = true;
    for (size_t i = 0; i < scan->chain_count; i++)
        agrees = journal_hard_join(&hard, scan->chain[i].header.hard) && agrees;
    agrees = journal_hard_join_slots(&hard, slots) && agrees;
    j->hard = hard;
    if (!agrees) {
        journal_scan_say(scan, "journal: two votes are on record in one term; %s", journal_advice);
        return JOURNAL_E_CORRUPT;
    }
    /* The newest batch holds what the slots repeat; only without any batch would a damaged slot
     * hide a vote. */
    bool slots_are_bad =
        slots->verdicts[0] == JOURNAL_VERDICT_BAD && slots->verdicts[1] == JOURNAL_VERDICT_BAD;
    if (scan->chain_count == 0 && slots_are_bad) {
        journal_scan_say(scan, "journal/hard: neither slot verifies; %s", journal_advice);
        return JOURNAL_E_CORRUPT;
    }
    return JOURNAL_OK;
}

/* ---- torn or corrupt ---- */

static enum journal_err missing(struct journal_scan *scan, uint64_t number)
{
    const struct journal_found_batch *next =
        scan->chain_count > 0 ? &scan->chain[scan->chain_count - 1] : NULL;
    if (scan->damaged)
        journal_scan_say(scan, "journal/%08u.seg, byte 0: the header is damaged; %s",
                         scan->damaged->id, journal_advice);
    else if (next && number < next->header.number)
        journal_scan_say(scan,
                         "write %llu, which was durable, is gone before journal/%08u.seg, byte "
                         "%llu; %s",
                         (unsigned long long)number, next->segment->id,
                         (unsigned long long)next->offset, journal_advice);
    else
        journal_scan_say(scan,
                         "write %llu, which was durable, is gone; the journal ends with write "
                         "%llu in %08u.seg; %s",
                         (unsigned long long)number,
                         (unsigned long long)(next ? scan->chain[0].header.number : 0),
                         next ? scan->chain[0].segment->id : 0, journal_advice);
    return JOURNAL_E_CORRUPT;
}

/* What was known durable and is not in the chain is damage (I7); the rest was never
 * acknowledged. What lies before the chain is in the store and needed no more. */
static enum journal_err chain_judge(struct journal_scan *scan)
{
    uint64_t newest = scan->chain_count > 0 ? scan->chain[0].header.number : 0;
    uint64_t oldest = scan->chain_count > 0 ? scan->chain[scan->chain_count - 1].header.number : 0;
    if (!scan->chain_is_whole)
        return missing(scan, oldest - 1);
    if (scan->known_durable > newest)
        return missing(scan, scan->known_durable);
    if (scan->damaged && scan->damaged_number >= oldest && scan->damaged_number > 0)
        return missing(scan, scan->damaged_number);
    return JOURNAL_OK;
}

/* The store took its log from this journal, and only what was durable here (I3). */
static enum journal_err flushed_judge(struct journal *j, struct journal_scan *scan,
                                      struct raft_pos flushed)
{
    if (j->last.index >= flushed.index && j->hard.term >= flushed.term)
        return JOURNAL_OK;
    journal_scan_say(
        scan, "the journal ends at index %llu, term %llu, before the store's %llu, %llu; %s",
        (unsigned long long)j->last.index, (unsigned long long)j->hard.term,
        (unsigned long long)flushed.index, (unsigned long long)flushed.term, journal_advice);
    return JOURNAL_E_CORRUPT;
}

/* ---- taking over ---- */

/* The segments of the chain are in use, oldest first; all others stay on the free list. */
static void chain_adopt(struct journal *j, const struct journal_scan *scan)
{
    for (size_t i = scan->chain_count; i > 0; i--) {
        const struct journal_found_batch *batch = &scan->chain[i - 1];
        struct journal_segment *s = batch->segment;
        if (journal_current(j) != s) {
            list_remove(&s->link);
            list_push_back(&j->live, &s->link);
            j->free_count--;
            j->live_count++;
        }
        if (batch->header.prev.index < s->prev_index_min)
            s->prev_index_min = batch->header.prev.index;
        s->end = batch->offset + journal_batch_bytes(batch->header.payload_bytes);
    }
    if (scan->chain_count == 0)
        return;
    j->number = scan->chain[0].header.number;
    j->sum = scan->chain[0].sum;
}

/* What is left at this place of a write that would have come next; 0 when nothing shows. */
static enum journal_err torn_measure(struct journal *j, const struct journal_segment *s,
                                     uint64_t at, uint64_t generation, uint64_t *torn_bytes)
{
    int64_t got = j->io->ops->file_read(j->io, s->fd, j->buffer, JOURNAL_ALIGN_BYTES, at);
    if (got != JOURNAL_ALIGN_BYTES)
        return JOURNAL_E_IO;
    if (!journal_batch_resembles(j->buffer, j->number + 1, generation, j->sum))
        return JOURNAL_OK;
    struct journal_batch_header header;
    struct slice page = slice_of(j->buffer, JOURNAL_ALIGN_BYTES);
    uint64_t bytes = JOURNAL_ALIGN_BYTES;
    if (journal_batch_header_decode(page, &j->owner, &header) == JOURNAL_VERDICT_OK)
        bytes = journal_batch_bytes(header.payload_bytes);
    *torn_bytes += bytes;
    return JOURNAL_OK;
}

static enum journal_err zeros_put(struct journal *j, const struct journal_segment *s, uint64_t at,
                                  size_t size)
{
    memset(j->buffer, 0, size);
    int err = j->io->ops->file_write_now(j->io, s->fd, slice_of(j->buffer, size), at);
    return err != 0 ? journal_err_of(err) : JOURNAL_OK;
}

/* The header of a write that was dropped must not come back. Without this:
 * 1. write N tears: its header page lands, a later page does not; recovery drops it;
 * 2. the node writes another N in its place, which shares that later page (the same entries);
 * 3. the power goes: the page lands, the new header page does not: the old N is whole again,
 *    and with it, say, a vote that contradicts the slot of the new N.
 * So where N can have begun is zero, durably, before anything is written: at the end of the
 * chain, and at the beginning of every free segment, as far as a later recovery looks at it. */
static enum journal_err remains_clear(struct journal *j, struct journal_recovery *recovery)
{
    struct journal_segment *current = journal_current(j);
    enum journal_err err = JOURNAL_OK;
    if (current && current->end < j->segment_bytes) {
        err = torn_measure(j, current, current->end, current->generation, &recovery->torn_bytes);
        if (err == JOURNAL_OK)
            err = zeros_put(j, current, current->end, JOURNAL_ALIGN_BYTES);
    }
    for (struct list *l = j->free.next; l != &j->free && err == JOURNAL_OK; l = l->next) {
        struct journal_segment *s = LIST_ENTRY(l, struct journal_segment, link);
        uint64_t next =
            s->generation > (current ? current->generation : 0) ? s->generation : j->generation + 1;
        err = torn_measure(j, s, JOURNAL_ALIGN_BYTES, next, &recovery->torn_bytes);
        if (err == JOURNAL_OK)
            err = zeros_put(j, s, 0, JOURNAL_BEGINNING_BYTES);
        s->generation = 0;
    }
    return err;
}

/* I6: what was read may have been in a cache alone. */
static enum journal_err segments_sync(struct journal *j, struct list *segments)
{
    for (struct list *l = segments->next; l != segments; l = l->next) {
        struct journal_segment *s = LIST_ENTRY(l, struct journal_segment, link);
        int err = j->io->ops->file_sync_now(j->io, s->fd);
        if (err != 0)
            return journal_err_of(err);
    }
    return JOURNAL_OK;
}

static enum journal_err first_segment_make(struct journal *j)
{
    if (j->live_count + j->free_count > 0)
        return JOURNAL_OK;
    struct journal_segment *s = journal_segment_new(1);
    if (!s)
        return JOURNAL_E_NOMEM;
    struct journal_new_segment wanted = journal_new_segment(j, s->id);
    s->fd = journal_segment_make(&wanted);
    if (s->fd < 0) {
        enum journal_err err = journal_err_of(s->fd);
        free(s);
        return err;
    }
    list_push_back(&j->free, &s->link);
    j->free_count++;
    j->id_last = s->id;
    return JOURNAL_OK;
}

static enum journal_err unfinished_remove(struct journal *j)
{
    int err = j->io->ops->file_remove(j->io, j->dir_fd, journal_segment_name_unfinished);
    return err == 0 || err == -ENOENT ? JOURNAL_OK : JOURNAL_E_IO;
}

/* The chain is made durable first. Its newest batch may be in a cache alone, unacknowledged, and
 * be why older segments count as free: clearing those and then losing it would lose what they
 * held. */
static enum journal_err repair(struct journal *j, const struct journal_slots_found *slots,
                               struct journal_recovery *recovery)
{
    bool slot_is_newest = false;
    for (size_t i = 0; i < 2; i++)
        slot_is_newest = slot_is_newest ||
                         (slots->verdicts[i] == JOURNAL_VERDICT_OK &&
                          slots->pages[i].a == j->hard.term && slots->pages[i].b == j->hard.vote);
    bool slot_is_bad =
        slots->verdicts[0] == JOURNAL_VERDICT_BAD || slots->verdicts[1] == JOURNAL_VERDICT_BAD;
    struct journal_page hard = { .a = j->hard.term, .b = j->hard.vote };
    bool rewrite = slot_is_bad || !slot_is_newest;
    enum journal_err err = unfinished_remove(j);
    if (err == JOURNAL_OK)
        err = journal_slots_repair(&j->slots, rewrite ? &hard : NULL);
    if (err == JOURNAL_OK)
        err = journal_slots_repair(&j->marks, NULL);
    if (err == JOURNAL_OK)
        err = segments_sync(j, &j->live);
    if (err == JOURNAL_OK)
        err = remains_clear(j, recovery);
    if (err == JOURNAL_OK)
        err = first_segment_make(j);
    if (err == JOURNAL_OK)
        err = segments_sync(j, &j->live);
    if (err == JOURNAL_OK)
        err = segments_sync(j, &j->free);
    if (err == JOURNAL_OK && j->io->ops->dir_sync(j->io, j->dir_fd) != 0)
        err = JOURNAL_E_IO;
    return err;
}

/* The file of the slots is durable from the first open on, whatever was written since. */
static enum journal_err existence_judge(const struct journal *j, struct journal_scan *scan)
{
    if (!j->must_exist || j->slots.fd >= 0 || scan->chain_count > 0)
        return JOURNAL_OK;
    journal_scan_say(scan, "there is no journal any more; %s", journal_advice);
    return JOURNAL_E_CORRUPT;
}

/* Reads everything, changes nothing. */
static enum journal_err judge(struct journal *j, struct journal_scan *scan, struct raft_pos flushed,
                              struct journal_slots_found *ret_slots,
                              struct journal_recovery *recovery)
{
    struct journal_slots_found marks;
    enum journal_err err = journal_scan_segments(j, scan);
    if (err == JOURNAL_OK)
        err = journal_slots_load(&j->slots, ret_slots);
    if (err == JOURNAL_OK)
        err = journal_slots_load(&j->marks, &marks);
    if (err == JOURNAL_OK)
        err = journal_scan_chain(j, scan, flushed.index);
    if (err != JOURNAL_OK)
        return err;
    for (size_t i = 0; i < 2; i++)
        if (marks.verdicts[i] == JOURNAL_VERDICT_OK && marks.pages[i].a > scan->known_durable)
            scan->known_durable = marks.pages[i].a;
    err = existence_judge(j, scan);
    if (err == JOURNAL_OK)
        err = chain_judge(scan);
    if (err == JOURNAL_OK)
        err = hard_recover(j, scan, ret_slots);
    if (err == JOURNAL_OK)
        err = journal_replay(j, scan, flushed, recovery);
    return err == JOURNAL_OK ? flushed_judge(j, scan, flushed) : err;
}

/* What is found may be in a cache alone, and the store will be switched for it: it is synced before
 * it is believed (I6). */
enum journal_err journal_recover_reset(struct journal *j, bool *ret_found, struct raft_pos *ret_pos)
{
    char detail[sizeof((struct journal_recovery *)NULL)->detail];
    struct journal_scan scan = { .detail = detail, .detail_bytes = sizeof detail };
    enum journal_err err = journal_scan_segments(j, &scan);
    if (err == JOURNAL_OK)
        err = journal_scan_chain(j, &scan, 0);
    for (size_t i = 0; i < scan.chain_count && err == JOURNAL_OK && !*ret_found; i++) {
        *ret_found = scan.chain[i].header.reset != JOURNAL_RESET_NONE;
        *ret_pos = scan.chain[i].header.reset_pos;
    }
    if (err == JOURNAL_OK && *ret_found)
        err = segments_sync(j, &j->free);
    journal_scan_done(&scan);
    return err;
}

enum journal_err journal_recover(struct journal *j, struct raft_pos flushed,
                                 struct journal_recovery *recovery)
{
    struct journal_scan scan = { .keeps_payloads = true,
                                 .detail = recovery->detail,
                                 .detail_bytes = sizeof recovery->detail };
    struct journal_slots_found slots;
    enum journal_err err = judge(j, &scan, flushed, &slots, recovery);
    if (err == JOURNAL_OK) {
        chain_adopt(j, &scan);
        err = repair(j, &slots, recovery);
    }
    journal_scan_done(&scan);
    if (err == JOURNAL_E_CORRUPT && j->salvage) {
        journal_recovery_done(recovery);
        err = journal_salvage(j, flushed, recovery);
    }
    if (err != JOURNAL_OK) {
        journal_recovery_done(recovery);
        return err;
    }
    recovery->hard = j->hard;
    j->flushed_index = flushed.index;
    j->marked_number = 0;
    return JOURNAL_OK;
}
