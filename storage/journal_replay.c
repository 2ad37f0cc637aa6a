#include <stdlib.h>

#include "base/assert.h"
#include "proto/entry.h"
#include "storage/journal_internal.h"

struct replay {
    struct journal *j;
    struct journal_scan *scan;
    struct raft_pos flushed;
    struct raft_pos last;
    struct raft_entry *entries; /* those after flushed */
    size_t count;
    size_t capacity;
};

void journal_recovery_done(struct journal_recovery *recovery)
{
    for (size_t i = 0; i < recovery->entry_count; i++)
        block_unref(recovery->entries[i].block);
    free(recovery->entries);
    recovery->entries = NULL;
    recovery->entry_count = 0;
}

static enum journal_err refuse(struct replay *r, const struct journal_found_batch *batch,
                               const char *why)
{
    journal_scan_say(r->scan, "journal/%08u.seg, byte %llu, write %llu: %s", batch->segment->id,
                     (unsigned long long)batch->offset, (unsigned long long)batch->header.number,
                     why);
    return JOURNAL_E_CORRUPT;
}

/* Of an index in [flushed, last]. */
static uint64_t term_at(const struct replay *r, uint64_t index)
{
    if (index == r->last.index)
        return r->last.term;
    if (index == r->flushed.index)
        return r->flushed.term;
    return r->entries[index - r->flushed.index - 1].pos.term;
}

static void truncate_after(struct replay *r, uint64_t index)
{
    while (r->count > 0 && r->entries[r->count - 1].pos.index > index)
        block_unref(r->entries[--r->count].block);
}

static bool entry_push(struct replay *r, const struct raft_entry *entry)
{
    if (r->count == r->capacity) {
        size_t capacity = r->capacity ? r->capacity * 2 : 256;
        void *entries = realloc(r->entries, capacity * sizeof *r->entries);
        if (!entries)
            return false;
        r->entries = entries;
        r->capacity = capacity;
    }
    r->entries[r->count] = *entry;
    block_ref(entry->block);
    r->count++;
    return true;
}

static enum journal_err entry_take(struct replay *r, const struct journal_found_batch *batch,
                                   const struct raft_entry *entry)
{
    if (entry->pos.index != r->last.index + 1 || entry->pos.term < r->last.term)
        return refuse(r, batch, "an entry is out of order");
    r->last = entry->pos;
    if (entry->pos.index == r->flushed.index && entry->pos.term != r->flushed.term)
        return refuse(r, batch, "the log disagrees with the store's last entry");
    if (entry->pos.index <= r->flushed.index)
        return JOURNAL_OK;
    return entry_push(r, entry) ? JOURNAL_OK : JOURNAL_E_NOMEM;
}

static enum journal_err payload_take(struct replay *r, const struct journal_found_batch *batch,
                                     struct block *block)
{
    struct slice rest = slice_of(block->data, batch->header.payload_bytes);
    for (uint32_t i = 0; i < batch->header.entry_count; i++) {
        struct entry_header header;
        struct slice payload;
        size_t size = 0;
        enum entry_err err = entry_decode(rest, &header, &payload, &size);
        if (err != ENTRY_OK) {
            IGNORE(refuse(r, batch, entry_strerror(err)), "it is told what to say, no more");
            return err == ENTRY_E_VERSION || err == ENTRY_E_TYPE ? JOURNAL_E_VERSION
                                                                 : JOURNAL_E_CORRUPT;
        }
        struct raft_entry entry = { .pos = header.pos,
                                    .type = header.type,
                                    .bytes = slice_of(rest.data, size),
                                    .block = block };
        enum journal_err taken = entry_take(r, batch, &entry);
        if (taken != JOURNAL_OK)
            return taken;
        rest = slice_of(rest.data + size, rest.size - size);
    }
    return rest.size == 0 ? JOURNAL_OK : refuse(r, batch, "bytes after the last entry");
}

/* Where a batch continues the log. The first one of the chain may begin before `flushed`, or is
 * where the log began anew; all others begin after it, else the chain would have ended there. */
static enum journal_err batch_join(struct replay *r, const struct journal_found_batch *batch,
                                   bool first)
{
    struct raft_pos prev = batch->header.prev;
    if (first) {
        if (batch->header.reset == JOURNAL_RESET_DROP && prev.index > r->flushed.index)
            return refuse(r, batch, "the log begins anew after a snapshot that the store lacks");
        if (prev.index == r->flushed.index && prev.term != r->flushed.term)
            return refuse(r, batch, "the log disagrees with the store's last entry");
        r->last = prev;
        return JOURNAL_OK;
    }
    if (prev.index > r->last.index)
        return refuse(r, batch, "entries before it are missing");
    if (prev.term != term_at(r, prev.index))
        return refuse(r, batch, "the entry before it has another term");
    if (batch->header.entry_count == 0)
        return prev.index == r->last.index ? JOURNAL_OK
                                           : refuse(r, batch, "the log does not end there");
    truncate_after(r, prev.index);
    r->last = prev;
    return JOURNAL_OK;
}

/* Read again, so verified again. */
static enum journal_err block_read(struct replay *r, const struct journal_found_batch *batch,
                                   struct block **ret_block)
{
    struct journal *j = r->j;
    size_t size = (size_t)journal_batch_bytes(batch->header.payload_bytes);
    int64_t got = j->io->ops->file_read(j->io, batch->segment->fd, j->buffer, size, batch->offset);
    if (got < 0 || (size_t)got != size)
        return JOURNAL_E_IO;
    uint64_t sum = 0;
    enum journal_verdict verdict =
        journal_batch_verify(slice_of(j->buffer, size), &j->owner, &batch->header, &sum);
    if (verdict != JOURNAL_VERDICT_OK || sum != batch->sum)
        return refuse(r, batch, "it reads differently each time");
    *ret_block = block_new(batch->header.payload_bytes);
    if (!*ret_block)
        return JOURNAL_E_NOMEM;
    memcpy((*ret_block)->data, j->buffer + JOURNAL_BATCH_HEADER_BYTES, batch->header.payload_bytes);
    return JOURNAL_OK;
}

static enum journal_err batch_replay(struct replay *r, const struct journal_found_batch *batch,
                                     bool first)
{
    enum journal_err err = batch_join(r, batch, first);
    if (err != JOURNAL_OK || batch->header.payload_bytes == 0)
        return err;
    struct block *block = batch->payload ? block_ref(batch->payload) : NULL;
    if (!block)
        err = block_read(r, batch, &block);
    if (err == JOURNAL_OK)
        err = payload_take(r, batch, block);
    block_unref(block); /* the entries hold it now, or nobody */
    return err;
}

enum journal_err journal_replay(struct journal *j, struct journal_scan *scan,
                                struct raft_pos flushed, struct journal_recovery *recovery)
{
    struct replay r = { .j = j, .scan = scan, .flushed = flushed };
    enum journal_err err = JOURNAL_OK;
    for (size_t i = scan->chain_count; i > 0 && err == JOURNAL_OK; i--)
        err = batch_replay(&r, &scan->chain[i - 1], i == scan->chain_count);
    recovery->entries = r.entries;
    recovery->entry_count = r.count;
    j->last = r.last;
    return err;
}
