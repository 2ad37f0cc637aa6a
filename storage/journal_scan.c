#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "storage/journal_internal.h"

void journal_scan_say(struct journal_scan *scan, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    IGNORE(vsnprintf(scan->detail, scan->detail_bytes, format, args), "a detail may be cut");
    va_end(args);
}

/* ---- opening ---- */

static int segment_open(struct journal *j, uint32_t id)
{
    char name[JOURNAL_SEGMENT_NAME_BYTES];
    journal_segment_name(name, id);
    return j->io->ops->file_open(j->io, j->dir_fd, name, j->direct ? IO_OPEN_DIRECT : 0);
}

static bool size_is_plausible(int64_t size)
{
    return size >= JOURNAL_SEGMENT_BYTES_MIN && size <= JOURNAL_SEGMENT_BYTES_MAX &&
           size % JOURNAL_ALIGN_BYTES == 0;
}

/* A segment that was cut short cannot be one of a salvaged journal: it takes no further part. */
static enum journal_err size_refuse(struct journal *j, struct journal_scan *scan,
                                    struct journal_found_segment *found, int64_t size)
{
    struct journal_segment *s = found->segment;
    journal_scan_say(scan, "journal/%08u.seg has %lld bytes, not a segment's size", s->id,
                     (long long)size);
    if (!scan->salvages)
        return JOURNAL_E_CORRUPT;
    *found = scan->segments[--scan->segment_count];
    journal_segment_forget(j, s);
    return JOURNAL_OK;
}

/* All segments have one size, which they had from the moment they got their names. */
static enum journal_err sizes_check(struct journal *j, struct journal_scan *scan)
{
    int64_t sizes[JOURNAL_SEGMENT_IDS_MAX];
    int64_t size = 0;
    for (size_t i = 0; i < scan->segment_count; i++) {
        sizes[i] = j->io->ops->file_size(j->io, scan->segments[i].segment->fd);
        if (sizes[i] < 0)
            return JOURNAL_E_IO;
        if (size_is_plausible(sizes[i]) && sizes[i] > size)
            size = sizes[i];
    }
    if (size > 0)
        j->segment_bytes = (uint64_t)size;
    for (size_t i = scan->segment_count; i > 0; i--) {
        if (sizes[i - 1] == size && size > 0)
            continue;
        enum journal_err err = size_refuse(j, scan, &scan->segments[i - 1], sizes[i - 1]);
        if (err != JOURNAL_OK)
            return err;
    }
    return JOURNAL_OK;
}

static enum journal_err header_read(struct journal *j, struct journal_scan *scan,
                                    struct journal_found_segment *found)
{
    struct journal_segment *s = found->segment;
    int64_t got = j->io->ops->file_read(j->io, s->fd, j->buffer, JOURNAL_ALIGN_BYTES, 0);
    if (got != JOURNAL_ALIGN_BYTES)
        return JOURNAL_E_IO;
    struct journal_page page = { 0 };
    found->verdict = journal_page_decode(j->buffer, JOURNAL_PAGE_SEGMENT, &j->owner, &page);
    s->generation = page.number;
    if (page.number > j->generation)
        j->generation = page.number;
    if (found->verdict == JOURNAL_VERDICT_OK || found->verdict == JOURNAL_VERDICT_BLANK ||
        found->verdict == JOURNAL_VERDICT_BAD)
        return JOURNAL_OK;
    bool foreign = found->verdict == JOURNAL_VERDICT_FOREIGN;
    journal_scan_say(scan, "journal/%08u.seg %s", s->id,
                     foreign ? "belongs to another cluster or data directory"
                             : "has a format that this version does not know");
    return foreign ? JOURNAL_E_FOREIGN : JOURNAL_E_VERSION;
}

/* Newest generation first; those without one last. */
static int found_order(const void *a, const void *b)
{
    uint64_t left = ((const struct journal_found_segment *)a)->segment->generation;
    uint64_t right = ((const struct journal_found_segment *)b)->segment->generation;
    return left < right ? 1 : left > right ? -1 : 0;
}

static enum journal_err segments_open(struct journal *j, struct journal_scan *scan)
{
    for (uint32_t id = 1; id <= JOURNAL_SEGMENT_IDS_MAX; id++) {
        int fd = segment_open(j, id);
        if (fd == -ENOENT)
            continue;
        if (fd < 0)
            return journal_err_of(fd);
        struct journal_segment *s = journal_segment_new(id);
        if (!s) {
            j->io->ops->file_close(j->io, fd);
            return JOURNAL_E_NOMEM;
        }
        s->fd = fd;
        list_push_back(&j->free, &s->link);
        j->free_count++;
        j->id_last = id;
        scan->segments[scan->segment_count++].segment = s;
    }
    return sizes_check(j, scan);
}

enum journal_err journal_scan_segments(struct journal *j, struct journal_scan *scan)
{
    scan->votes_agree = true;
    scan->segments = calloc(JOURNAL_SEGMENT_IDS_MAX, sizeof *scan->segments);
    if (!scan->segments)
        return JOURNAL_E_NOMEM;
    enum journal_err err = segments_open(j, scan);
    if (err != JOURNAL_OK)
        return err;
    j->buffer = aligned_alloc(IO_ALIGN_BYTES, j->segment_bytes);
    if (!j->buffer)
        return JOURNAL_E_NOMEM;
    for (size_t i = 0; i < scan->segment_count && err == JOURNAL_OK; i++)
        err = header_read(j, scan, &scan->segments[i]);
    qsort(scan->segments, scan->segment_count, sizeof *scan->segments, found_order);
    return err;
}

/* ---- batches ---- */

static bool batch_push(struct journal_scan *scan, const struct journal_found_batch *batch)
{
    if (scan->chain_count == scan->chain_capacity) {
        size_t capacity = scan->chain_capacity ? scan->chain_capacity * 2 : 64;
        void *chain = realloc(scan->chain, capacity * sizeof *scan->chain);
        if (!chain)
            return false;
        scan->chain = chain;
        scan->chain_capacity = capacity;
    }
    scan->chain[scan->chain_count++] = *batch;
    return true;
}

/* What a header says counts, whatever became of its payload. */
static void header_note(struct journal_scan *scan, const struct journal_batch_header *header)
{
    if (header->known_durable > scan->known_durable)
        scan->known_durable = header->known_durable;
    if (header->number > scan->newest_header)
        scan->newest_header = header->number;
    scan->votes_agree = journal_hard_join(&scan->hard, header->hard) && scan->votes_agree;
}

/* Appends what verifies in this segment, in order of place. Past bytes that do not verify it goes
 * on, page by page: what stands there says what was durable when it was written. */
static enum journal_err segment_walk(struct journal *j, struct journal_scan *scan,
                                     struct journal_segment *s)
{
    int64_t got = j->io->ops->file_read(j->io, s->fd, j->buffer, j->segment_bytes, 0);
    if (got < 0 || (uint64_t)got != j->segment_bytes)
        return JOURNAL_E_IO;
    uint64_t at = JOURNAL_ALIGN_BYTES;
    while (at < j->segment_bytes) {
        struct slice rest = slice_of(j->buffer + at, j->segment_bytes - at);
        struct journal_found_batch found = { .segment = s, .offset = at };
        enum journal_verdict verdict = journal_batch_header_decode(rest, &j->owner, &found.header);
        if (verdict == JOURNAL_VERDICT_VERSION) {
            journal_scan_say(
                scan, "journal/%08u.seg, byte %llu: a format that this version does not know",
                s->id, (unsigned long long)at);
            return JOURNAL_E_VERSION;
        }
        uint64_t step = JOURNAL_ALIGN_BYTES;
        if (verdict == JOURNAL_VERDICT_OK) {
            header_note(scan, &found.header);
            if (journal_batch_verify(rest, &j->owner, &found.header, &found.sum) ==
                JOURNAL_VERDICT_OK) {
                if (!batch_push(scan, &found))
                    return JOURNAL_E_NOMEM;
                step = journal_batch_bytes(found.header.payload_bytes);
            }
        }
        at += step;
    }
    return JOURNAL_OK;
}

/* Whether nothing was written here since it was made, or cleared. Some pages tell it from a segment
 * whose first blocks never reached the disk, though later ones did. */
static enum journal_err beginning_is_zero(struct journal *j, const struct journal_segment *s,
                                          bool *ret_is_zero)
{
    size_t size = JOURNAL_BEGINNING_BYTES - JOURNAL_ALIGN_BYTES;
    int64_t got = j->io->ops->file_read(j->io, s->fd, j->buffer, size, JOURNAL_ALIGN_BYTES);
    if (got < 0 || (size_t)got != size)
        return JOURNAL_E_IO;
    *ret_is_zero = journal_is_zero(j->buffer, size);
    return JOURNAL_OK;
}

/* Segments whose header does not verify take no part in the chain. What they hold is evidence:
 * a header and its first batch are one write, so under a torn header (zeros or the one before)
 * nothing after that first batch can exist. */
static enum journal_err odd_segment_walk(struct journal *j, struct journal_scan *scan,
                                         const struct journal_found_segment *found)
{
    size_t mark = scan->chain_count;
    bool spare = false;
    enum journal_err err = JOURNAL_OK;
    if (found->verdict == JOURNAL_VERDICT_BLANK)
        err = beginning_is_zero(j, found->segment, &spare);
    if (err != JOURNAL_OK || spare)
        return err;
    err = segment_walk(j, scan, found->segment);
    if (err == JOURNAL_OK && found->verdict == JOURNAL_VERDICT_BAD) {
        scan->damaged = found->segment;
        for (size_t i = mark; i < scan->chain_count; i++)
            if (scan->chain[i].header.number > scan->damaged_number)
                scan->damaged_number = scan->chain[i].header.number;
    }
    scan->chain_count = mark;
    return err;
}

bool journal_batch_continues(const struct journal_found_batch *older,
                             const struct journal_found_batch *newer)
{
    return older->header.number + 1 == newer->header.number && older->sum == newer->header.prev_sum;
}

/* Takes the batches [from, end), which segment_walk has just put there, newest first into the
 * chain. True when the chain ends here: it is whole, or broken. */
static bool chain_extend(struct journal_scan *scan, size_t from, uint64_t flushed_index)
{
    size_t end = scan->chain_count;
    struct journal_found_batch *chain = scan->chain;
    for (size_t low = from, high = end; low + 1 < high; low++, high--) {
        struct journal_found_batch swap = chain[low];
        chain[low] = chain[high - 1];
        chain[high - 1] = swap;
    }
    scan->chain_count = from;
    for (size_t i = from; i < end; i++) {
        const struct journal_found_batch *next = &chain[i];
        if (next->header.generation != next->segment->generation)
            continue; /* left from an earlier life of the segment */
        if (scan->chain_count > 0 && !journal_batch_continues(next, &chain[scan->chain_count - 1]))
            return true;
        chain[scan->chain_count++] = *next;
        scan->chain_is_whole =
            next->header.reset == JOURNAL_RESET_DROP || next->header.prev.index <= flushed_index;
        if (scan->chain_is_whole)
            return true;
    }
    return false;
}

/* Of the batches [from, count) of the chain, out of the segment that segment_walk has just read: a
 * journal is read once, in requests as large as a segment, and not batch by batch again. */
static enum journal_err payloads_keep(const struct journal *j, struct journal_scan *scan,
                                      size_t from)
{
    for (size_t i = from; i < scan->chain_count; i++) {
        struct journal_found_batch *batch = &scan->chain[i];
        size_t size = batch->header.payload_bytes;
        if (size == 0)
            continue;
        batch->payload = block_new(size);
        if (!batch->payload)
            return JOURNAL_E_NOMEM;
        memcpy(batch->payload->data, j->buffer + batch->offset + JOURNAL_BATCH_HEADER_BYTES, size);
    }
    return JOURNAL_OK;
}

enum journal_err journal_scan_chain(struct journal *j, struct journal_scan *scan,
                                    uint64_t flushed_index)
{
    bool ended = false;
    for (size_t i = 0; i < scan->segment_count; i++) {
        const struct journal_found_segment *found = &scan->segments[i];
        enum journal_err err = JOURNAL_OK;
        if (found->verdict != JOURNAL_VERDICT_OK) {
            err = odd_segment_walk(j, scan, found);
        } else if (!ended) {
            size_t from = scan->chain_count;
            err = segment_walk(j, scan, found->segment);
            if (err == JOURNAL_OK)
                ended = chain_extend(scan, from, flushed_index);
            if (err == JOURNAL_OK && scan->keeps_payloads)
                err = payloads_keep(j, scan, from);
        }
        if (err != JOURNAL_OK)
            return err;
    }
    if (scan->chain_count == 0)
        scan->chain_is_whole = true;
    return JOURNAL_OK;
}

enum journal_err journal_scan_all(struct journal *j, struct journal_scan *scan)
{
    for (size_t i = 0; i < scan->segment_count; i++) {
        const struct journal_found_segment *found = &scan->segments[i];
        size_t from = scan->chain_count;
        enum journal_err err = segment_walk(j, scan, found->segment);
        if (err != JOURNAL_OK)
            return err;
        size_t end = scan->chain_count;
        scan->chain_count = from;
        for (size_t k = from; k < end && found->verdict == JOURNAL_VERDICT_OK; k++)
            if (scan->chain[k].header.generation == found->segment->generation)
                scan->chain[scan->chain_count++] = scan->chain[k];
    }
    return JOURNAL_OK;
}

void journal_scan_done(struct journal_scan *scan)
{
    for (size_t i = 0; i < scan->chain_count; i++)
        block_unref(scan->chain[i].payload);
    free(scan->segments);
    free(scan->chain);
    *scan = (struct journal_scan){ 0 };
}
