/* What Raft asks to persist, on its way through the one journal write.
 *
 * While a write is under way later entries gather; they stay in Raft's window until they are
 * flushed, so that a range of indexes is all there is to remember.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "server/node_internal.h"

enum exit_code node_persist_open(struct node *node)
{
    struct node_persist *p = &node->persist;
    p->slices = calloc(NODE_REWRITE_ENTRIES_MAX, sizeof *p->slices);
    p->positions = calloc(NODE_REWRITE_ENTRIES_MAX, sizeof *p->positions);
    return p->slices && p->positions ? EXIT_CODE_OK : EXIT_CODE_FAILURE;
}

void node_persist_done(struct node *node)
{
    free(node->persist.slices);
    free(node->persist.positions);
}

static bool range_is_empty(struct raft_range range)
{
    return range.first > range.last;
}

void node_persist_add(struct node *node, const struct raft_ready *ready)
{
    struct node_persist *p = &node->persist;
    if (ready->persist_seq == 0)
        return;
    ASSERT(ready->persist_seq > p->seq);
    p->seq = ready->persist_seq;
    p->hard = ready->hard;
    if (!p->is_pending)
        p->range = (struct raft_range){ .first = 1, .last = 0 };
    p->is_pending = true;
    if (range_is_empty(ready->persist))
        return;
    /* New entries replace pending ones from their first index on. */
    if (range_is_empty(p->range) || ready->persist.first <= p->range.first)
        p->range = ready->persist;
    else
        p->range.last = ready->persist.last;
    ASSERT(p->range.first <= ready->persist.first);
}

static void on_written(void *owner, enum journal_err err)
{
    struct node *node = owner;
    struct node_persist *p = &node->persist;
    if (err != JOURNAL_OK) {
        enum exit_code code = err == JOURNAL_E_NOSPACE ? EXIT_CODE_NO_SPACE : EXIT_CODE_IO;
        node_fail(node, code, "a journal write failed", journal_strerror(err));
        return;
    }
    p->is_writing = false;
    p->has_said_full = false;
    if (p->is_rewriting) {
        p->is_rewriting = false;
        journal_release(node->journal, store_published(node->store)->applied.index);
    }
    if (p->writing_seq == 0 || node->is_closing)
        return;
    struct raft_event durable = { .type = RAFT_EV_DURABLE, .persist_seq = p->writing_seq };
    node_step(node, &durable);
}

/* As much of the range as one batch takes. */
static struct journal_batch batch_of(struct node *node, struct raft_range range,
                                     uint32_t entries_max)
{
    struct node_persist *p = &node->persist;
    struct journal_batch batch = { .hard = p->hard,
                                   .entries = p->slices,
                                   .positions = p->positions };
    uint64_t bytes_max = journal_batch_bytes_max(node->journal);
    uint64_t bytes = 0;
    for (uint64_t index = range.first; index <= range.last; index++) {
        const struct raft_entry *entry = raft_entry_at(node->raft, index);
        ASSERT(entry);
        bytes += entry->bytes.size;
        if (batch.entry_count == entries_max || (bytes > bytes_max && batch.entry_count > 0))
            break;
        p->slices[batch.entry_count] = entry->bytes;
        p->positions[batch.entry_count] = entry->pos;
        batch.entry_count++;
    }
    if (batch.entry_count > 0) {
        uint64_t before = range.first - 1;
        batch.prev = (struct raft_pos){ raft_term_at(node->raft, before), before };
    }
    return batch;
}

/* The live tail, whole or not at all. In two batches it could get lost (I1):
 *   1. entries 1 to 5,000 are durable and acknowledged; 2. 1 to 4,096 are written again;
 *   3. a crash; 4. recovery takes that batch for where the log goes on, and ends at 4,096. */
static bool batch_of_tail(struct node *node, struct journal_batch *ret_batch)
{
    uint64_t first = store_published(node->store)->applied.index + 1;
    uint64_t last = raft_last_pos(node->raft).index;
    if (first > last || last - first >= NODE_REWRITE_ENTRIES_MAX)
        return false;
    struct raft_range tail = { .first = first, .last = last };
    *ret_batch = batch_of(node, tail, NODE_REWRITE_ENTRIES_MAX);
    return ret_batch->entry_count == last + 1 - first;
}

/* The rest of what is pending stays so. */
static struct journal_batch batch_of_pending(struct node *node)
{
    struct node_persist *p = &node->persist;
    /* What a conflict has cut off and nothing replaced yet is not in the log any more. */
    uint64_t last = raft_last_pos(node->raft).index;
    if (p->range.last > last)
        p->range.last = last;
    return batch_of(node, p->range, NODE_BATCH_ENTRIES_MAX);
}

/* False: there was nothing to write again, or no room. */
static bool tail_write(struct node *node)
{
    struct node_persist *p = &node->persist;
    struct journal_batch batch;
    if (!p->wants_rewrite || !batch_of_tail(node, &batch))
        return false;
    if (journal_write(node->journal, &batch, on_written, node) != JOURNAL_OK)
        return false; /* what is pending meets the same, and says so */
    p->is_writing = true;
    p->is_rewriting = true;
    p->is_pending = false; /* it is part of the tail */
    p->writing_seq = p->seq;
    return true;
}

void node_persist_write(struct node *node)
{
    struct node_persist *p = &node->persist;
    if (node_install_is_critical(node))
        return;
    if (p->is_writing) {
        if (journal_usage(node->journal).is_stuck)
            node_flush_for_room(node);
        return;
    }
    bool is_written = tail_write(node);
    p->wants_rewrite = false; /* asked for again while room is short */
    if (is_written || !p->is_pending)
        return;
    struct journal_batch batch = batch_of_pending(node);
    enum journal_err err = journal_write(node->journal, &batch, on_written, node);
    if (err == JOURNAL_E_FULL) {
        node_flush_for_room(node); /* its end begins a turn, and this write again */
        return;
    }
    if (err != JOURNAL_OK) {
        node_fail(node, EXIT_CODE_IO, "the journal cannot be written", journal_strerror(err));
        return;
    }
    p->is_writing = true;
    p->range.first += batch.entry_count;
    p->is_pending = !range_is_empty(p->range);
    /* A part counts as well: a follower that catches up gets more while it writes, and one that
     * reported nothing before all is written would never apply, flush and free its journal. */
    p->writing_seq = p->is_pending ? raft_persist_seq_at(node->raft, p->range.first) - 1 : p->seq;
}

void node_persist_rewrite(struct node *node)
{
    if (!node->persist.is_rewriting)
        node->persist.wants_rewrite = true;
}
