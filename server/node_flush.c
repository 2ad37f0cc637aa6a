/* From memory to the store: when a flush is due, what it takes along, and what it frees; and
 * reading old entries back for members that are far behind.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "server/flush_room.h"
#include "server/node_internal.h"

enum {
    UNFLUSHED_BYTES_MAX = 64 << 20, /* a third of it; commands may weigh more than their effects */
    FETCH_ENTRIES_MAX = 4096,
    MEMBERSHIP_ENCODED_BYTES_MAX = 1 << 20,
};

static bool journal_is_short(const struct node *node)
{
    struct journal_usage usage = journal_usage(node->journal);
    return usage.segments_in_use * 2 > node->options.journal_segment_count_max ||
           usage.room_bytes < node->options.journal_segment_bytes * 2;
}

/* Above 1000 where there is more than the whole. */
static uint32_t permille(uint64_t part, uint64_t whole)
{
    uint64_t share = part * 1000 / whole;
    return share < UINT32_MAX ? (uint32_t)share : UINT32_MAX;
}

static uint32_t max_of(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* How full memory is behind `from_index`: at 1000 a flush is due, at FLUSH_ROOM_WHOLE all of it is
 * taken. */
static uint32_t memory_fill(const struct node *node, uint64_t from_index)
{
    uint64_t entries = machine_state(node->machine)->applied.index - from_index;
    uint32_t fill = permille(kv_active_bytes(node->kv), node->options.memtable_bytes_max);
    fill = max_of(fill, permille(entries, node->options.window_entries_max / 4));
    return max_of(fill, permille(node->unflushed_bytes, UNFLUSHED_BYTES_MAX));
}

static bool memory_is_due(const struct node *node, uint64_t unflushed)
{
    if (unflushed == 0)
        return false;
    uint64_t flushed = store_published(node->store)->applied.index;
    return memory_fill(node, flushed) >= 1000 || journal_is_short(node);
}

void node_flush_pace(struct node *node)
{
    if (!node->flush.is_running)
        return;
    bool is_awaited = node->is_closing || node->has_failed || journal_is_short(node) ||
                      node_install_holds(node) || node_send_awaits_flush(node) ||
                      !list_is_empty(&node->compaction_waits);
    uint64_t flushing = node->flush.flush.state.applied.index;
    store_flush_demand(node->store, is_awaited ? 1000 : memory_fill(node, flushing));
}

/* In permille. A transaction that commits, and what comes after all rows, does not tell how far it
 * is: meanwhile as fast as it was so far. */
static uint32_t flush_progress(struct node *node)
{
    enum { AHEAD_MAX = 200 };
    struct node_flush *f = &node->flush;
    uint64_t now_us = node->io->ops->now_us(node->io);
    uint32_t progress = store_flush_progress(node->store);
    if (progress != f->progress) {
        f->progress = progress;
        f->progress_us = now_us;
    }
    if (f->progress_us <= f->began_us)
        return progress;
    uint64_t ahead = (now_us - f->progress_us) * progress / (f->progress_us - f->began_us);
    return progress + (ahead < AHEAD_MAX ? (uint32_t)ahead : AHEAD_MAX);
}

uint64_t node_flush_room(struct node *node)
{
    struct node_flush *f = &node->flush;
    if (!f->is_running)
        return UINT64_MAX;
    uint64_t flushing = f->flush.state.applied.index;
    return flush_room_entries(flush_room_most(f->fill, flush_progress(node)),
                              memory_fill(node, flushing),
                              machine_state(node->machine)->applied.index - flushing,
                              raft_last_pos(node->raft).index - flushing);
}

static bool compaction_is_due(const struct node *node)
{
    return store_may_compact(node->store, machine_state(node->machine)->compact_revision);
}

static void flush_free(struct node_flush *f)
{
    for (size_t i = 0; i < f->flush.entry_count; i++)
        block_unref(f->entries[i].block);
    free(f->entries);
    arena_done(&f->membership);
    *f = (struct node_flush){ 0 };
}

void node_tell_compacted(struct node *node, int64_t compacted_revision)
{
    struct list ready;
    list_init(&ready);
    for (struct list *at = node->compaction_waits.next; at != &node->compaction_waits;) {
        struct list *next = at->next;
        if (LIST_ENTRY(at, struct node_wait, link)->revision <= compacted_revision) {
            list_remove(at);
            list_push_back(&ready, at);
        }
        at = next;
    }
    struct list *node_link;
    while ((node_link = list_pop_front(&ready)) != NULL) {
        struct node_wait *wait = LIST_ENTRY(node_link, struct node_wait, link);
        wait->done(wait);
    }
}

void node_wait_compacted(struct node *node, struct node_wait *wait)
{
    list_push_back(&node->compaction_waits, &wait->link);
    if (store_published(node->store)->compacted_revision >= wait->revision)
        node_tell_compacted(node, store_published(node->store)->compacted_revision);
}

static void on_flushed(struct store_flush *flush)
{
    struct node *node = flush->owner;
    enum store_err err = flush->err;
    bool had_memtable = node->flush.had_memtable;
    flush_free(&node->flush);
    if (err != STORE_OK) {
        if (err == STORE_E_CORRUPT)
            node_fail_damaged(node, "the store cannot be written", store_strerror(err));
        else
            node_fail(node, err == STORE_E_NOSPACE ? EXIT_CODE_NO_SPACE : EXIT_CODE_IO,
                      "the store cannot be written", store_strerror(err));
        return;
    }
    node->counters.flushes++;
    if (had_memtable)
        kv_flushed(node->kv);
    const struct store_state *published = store_published(node->store);
    struct raft_event event = { .type = RAFT_EV_FLUSHED,
                                .flushed_index = published->applied.index };
    if (!node->is_closing)
        node_step(node, &event);
    journal_release(node->journal, published->applied.index);
    node_tell_compacted(node, published->compacted_revision);
    if (!node->is_closing && !node->has_failed)
        node_send_on_flushed(node);
}

/* The log stays for members that are behind, within limits, for those that a snapshot is sent to,
 * and a little more for those that will be behind. */
static uint64_t log_keep_index(const struct node *node, uint64_t applied_index)
{
    uint64_t keep = raft_keep_index(node->raft);
    uint64_t floor = retention_floor(&node->retention, applied_index);
    if (keep < floor)
        keep = floor;
    uint64_t sent = node_send_keep_index(node);
    if (keep > sent)
        keep = sent;
    uint64_t behind = node->options.log_keep_entries;
    uint64_t recent = applied_index > behind ? applied_index - behind : 1;
    return keep < recent ? keep : recent;
}

/* References to the entries that the log store does not have yet and is to keep: what it would let
 * go of at once does not get there. */
static bool take_entries(struct node *node, struct node_flush *f)
{
    struct raft_pos begin = store_published(node->store)->applied;
    if (f->flush.log_keep_index > begin.index + 1) {
        const struct raft_entry *last_gone = raft_entry_at(node->raft, f->flush.log_keep_index - 1);
        ASSERT(last_gone); /* not flushed, so still in the window */
        begin = last_gone->pos;
    }
    size_t count = (size_t)(machine_state(node->machine)->applied.index - begin.index);
    f->entries = calloc(count ? count : 1, sizeof *f->entries);
    if (!f->entries)
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct raft_entry *entry = raft_entry_at(node->raft, begin.index + 1 + i);
        ASSERT(entry); /* likewise */
        f->entries[i] = *entry;
        block_ref(entry->block);
    }
    f->flush.log_begin = begin;
    f->flush.entry_count = count;
    f->flush.entries = f->entries;
    return true;
}

static bool flush_prepare(struct node *node, struct node_flush *f)
{
    const struct machine_state *state = machine_state(node->machine);
    const struct store_state *published = store_published(node->store);
    retention_on_flush(&node->retention, state->applied.index, node->unflushed_bytes);
    f->flush.log_keep_index = log_keep_index(node, state->applied.index);
    if (!take_entries(node, f))
        return false;
    struct slice membership;
    arena_init(&f->membership, MEMBERSHIP_ENCODED_BYTES_MAX);
    if (!membership_encode(&node->membership, &f->membership, &membership))
        return false;
    f->flush.state = *published;
    f->flush.state.applied = state->applied;
    f->flush.state.revision = state->revision;
    f->flush.state.compact_revision = state->compact_revision;
    f->flush.state.state_hash = state->state_hash;
    f->flush.state.feature_level = state->feature_level;
    f->flush.state.membership = membership;
    f->flush.compact_rows_max = node->options.compact_rows_max;
    f->flush.done = on_flushed;
    f->flush.owner = node;
    if (kv_active_bytes(node->kv) > 0) {
        f->had_memtable = kv_freeze(node->kv);
        ASSERT(f->had_memtable); /* one flush at a time, so none was frozen */
        f->flush.memtable = kv_frozen(node->kv);
    }
    return true;
}

static void flush_begin(struct node *node)
{
    struct node_flush *f = &node->flush;
    f->fill = memory_fill(node, store_published(node->store)->applied.index);
    if (!flush_prepare(node, f)) {
        flush_free(f);
        node_fail(node, EXIT_CODE_FAILURE, "a flush cannot begin", "out of memory");
        return;
    }
    node->unflushed_bytes = 0;
    f->is_running = true;
    f->began_us = node->io->ops->now_us(node->io);
    node_flush_pace(node);
    store_flush_begin(node->store, &f->flush);
}

/* Room is short although all that can be flushed is: entries without a quorum, or hard states of
 * many elections, hold old segments. The tail is written again behind them. */
static void relieve_journal(struct node *node)
{
    struct journal_usage usage = journal_usage(node->journal);
    if (usage.room_bytes >= node->options.journal_segment_bytes * 2 || usage.segments_in_use < 3)
        return;
    journal_release(node->journal, store_published(node->store)->applied.index);
    node_persist_rewrite(node);
}

/* A half-applied entry belongs to no index that could be published. */
static bool flush_is_held(const struct node *node)
{
    return node->flush.is_running || node->apply_is_sliced || node->is_closing ||
           node_install_holds(node);
}

void node_flush_if_due(struct node *node)
{
    node_flush_pace(node);
    if (flush_is_held(node))
        return;
    uint64_t applied = machine_state(node->machine)->applied.index;
    uint64_t unflushed = applied - store_published(node->store)->applied.index;
    if (unflushed == 0)
        relieve_journal(node);
    if (!memory_is_due(node, unflushed) && !compaction_is_due(node))
        return;
    flush_begin(node);
}

/* What is in use are entries that have no quorum yet: with it, or with room, this node goes on. */
static void say_full(struct node *node, uint32_t segments_in_use)
{
    if (node->persist.has_said_full)
        return;
    node->persist.has_said_full = true;
    LOG_WARNF("no room for the next journal segment: writes wait; free some of the disk",
              log_number("segments_in_use", segments_in_use));
}

void node_flush_for_room(struct node *node)
{
    if (flush_is_held(node))
        return;
    uint64_t flushed = store_published(node->store)->applied.index;
    if (machine_state(node->machine)->applied.index > flushed) {
        flush_begin(node);
        return;
    }
    /* All is flushed: old segments come free now, unless the tail alone is in use and still no
     * segment could be made. What was in use is asked before: a release that frees ten of twelve
     * leaves two as well, and is no reason to stop. */
    uint32_t in_use = journal_usage(node->journal).segments_in_use;
    journal_release(node->journal, flushed);
    if (in_use <= 2)
        node_fail(node, EXIT_CODE_NO_SPACE, "the journal cannot grow",
                  "no room on the disk; free some and start this node again");
    else if (journal_usage(node->journal).segments_in_use < in_use)
        node_want_turn(node); /* the write is tried again */
    else
        say_full(node, in_use);
}

void node_flush_last(struct node *node)
{
    uint64_t applied = machine_state(node->machine)->applied.index;
    if (!node->flush.is_running && !node->apply_is_sliced && !node_install_holds(node) &&
        applied > store_published(node->store)->applied.index)
        flush_begin(node);
}

/* ---- old entries for slow members ---- */

static void fetch_run(struct io_job *job)
{
    struct node_fetch *f = LIST_ENTRY(job, struct node_fetch, job);
    f->err = store_log_read(f->node->store, f->wanted.first_index, f->wanted.bytes_max, f->entries,
                            FETCH_ENTRIES_MAX, &f->count, &f->block);
}

static void fetch_done(struct io_job *job)
{
    struct node_fetch *fetch = LIST_ENTRY(job, struct node_fetch, job);
    struct node *node = fetch->node;
    struct node_fetch f = *fetch;
    list_remove(&fetch->link);
    free(fetch);
    bool is_there = f.err == STORE_OK;
    if (f.err == STORE_E_CORRUPT)
        node_fail_damaged(node, "the log store cannot be read", store_strerror(f.err));
    else if (!is_there && f.err != STORE_E_GONE)
        node_fail(node, EXIT_CODE_IO, "the log store cannot be read", store_strerror(f.err));
    /* A flush that committed meanwhile but has not reported yet is not for Raft to know. */
    uint64_t flushed = store_published(node->store)->applied.index;
    while (f.count > 0 && f.entries[f.count - 1].pos.index > flushed)
        f.count--;
    for (size_t i = 0; is_there && i < f.count; i++)
        f.entries[i].block = f.block;
    struct raft_event event = {
        .type = RAFT_EV_FETCHED,
        .fetched = { .member = f.wanted.member,
                     .first_index = f.wanted.first_index,
                     .entries = is_there ? f.entries : NULL,
                     .entry_count = is_there ? (uint32_t)f.count : 0 },
    };
    bool is_over = node->is_closing || node->has_failed;
    if (!is_over && !node_step(node, &event))
        node_fail_damaged(node, "the log store contradicts the log",
                          "old entries have impossible positions");
    if (is_there)
        block_unref(f.block);
    free(f.entries);
}

void node_fetch_begin(struct node *node, const struct raft_fetch *wanted)
{
    struct node_fetch *f = calloc(1, sizeof *f);
    struct raft_entry *entries = calloc(FETCH_ENTRIES_MAX, sizeof *entries);
    if (!f || !entries) {
        node_fail(node, EXIT_CODE_FAILURE, "old entries cannot be read", "out of memory");
        free(entries);
        free(f);
        return;
    }
    *f = (struct node_fetch){ .node = node, .wanted = *wanted, .entries = entries };
    list_init(&f->link);
    list_push_back(&node->fetches, &f->link);
    f->job = (struct io_job){ .run = fetch_run, .done = fetch_done };
    list_init(&f->job.link);
    io_offload(node->io, &f->job);
}

bool node_fetch_is_running(const struct node *node)
{
    return !list_is_empty(&node->fetches);
}

bool node_jobs_are_running(const struct node *node)
{
    return node->flush.is_running || node->identity_is_saving || node_fetch_is_running(node) ||
           node->repair_is_saving || node_send_is_reading(node) || node_receive_is_running(node) ||
           node_install_is_running(node);
}
