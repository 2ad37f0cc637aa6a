/* The flush job: a frozen memtable and its log entries become rows, then they are published. */
#include <stdlib.h>

#include "base/assert.h"
#include "storage/key_tree.h"
#include "storage/rev_tree.h"
#include "storage/store_guard.h"
#include "storage/store_write.h"

/* Which run a change falls into: those of as many revisions side by side as a run has room for. */
static int64_t run_of(int64_t revision)
{
    return revision / KEY_TREE_RUN_MAX;
}

/* The changes of one key and one run, the first of which is `node`. Returns what comes after. */
static const struct memtable_node *run_gather(const struct memtable_node *node,
                                              struct store_count_changes *changes,
                                              struct kv_record *ret_records, size_t *ret_count)
{
    struct slice key = memtable_key(node);
    int64_t run = run_of(memtable_revision(node));
    size_t count = 0;
    do {
        ret_records[count++] = memtable_record(node);
        if (changes != NULL)
            store_count_changes_note(changes, node);
        node = memtable_next(node);
    } while (node != NULL && run_of(memtable_revision(node)) == run &&
             slice_equal(memtable_key(node), key));
    *ret_count = count;
    return node;
}

/* Sorted, so that neighbours meet in one page. */
static enum store_err keys_write(struct store_writer *w, const struct memtable *memtable,
                                 struct store_count_changes *changes)
{
    const struct memtable_node *node = memtable_seek(memtable, slice_of(NULL, 0), INT64_MAX);
    while (node != NULL) {
        struct kv_record records[KEY_TREE_RUN_MAX];
        size_t count;
        node = run_gather(node, changes, records, &count);
        enum store_err err = store_writer_put_keys(w, records, count);
        if (err != STORE_OK)
            return err;
        for (size_t i = 0; i < count; i++)
            store_pace_work(&w->store->pace, w->store->io, STORE_PACE_KEY);
    }
    return STORE_OK;
}

static uint64_t rev_dirty_bytes(const struct kv_record *record)
{
    size_t run_bytes = REV_TREE_HEADER_BYTES_MAX + record->key.size + record->value.size;
    return run_bytes / REV_TREE_CHUNK_BYTES * store_row_dirty_bytes(REV_TREE_CHUNK_BYTES) +
           store_row_dirty_bytes(run_bytes % REV_TREE_CHUNK_BYTES);
}

/* In the order of insertion, which is that of the revisions: appended. */
static enum store_err revs_write(struct store_writer *w, const struct memtable *memtable)
{
    const struct memtable_node *node = NULL;
    while ((node = memtable_next_inserted(memtable, node)) != NULL) {
        struct kv_record record = memtable_record(node);
        enum store_err err = store_writer_reserve(w, rev_dirty_bytes(&record));
        if (err == STORE_OK)
            err = rev_tree_put(w->txn, w->store->trees.rev, &record);
        if (err != STORE_OK)
            return err;
        store_pace_work(&w->store->pace, w->store->io, STORE_PACE_REV);
    }
    return STORE_OK;
}

enum store_err store_rows_write(struct store_writer *w, const struct memtable *memtable,
                                struct store_count_changes *changes)
{
    enum store_err err = keys_write(w, memtable, changes);
    return err == STORE_OK ? revs_write(w, memtable) : err;
}

/* Writes all rows, and only then lets w->publish say what they make (I3). */
static enum store_err rows_write(struct store_writer *w, const struct store_flush *flush,
                                 struct store_count_changes *changes)
{
    enum store_err err = STORE_OK;
    if (flush->memtable != NULL)
        err = store_rows_write(w, flush->memtable, changes);
    struct store_state next = w->publish; /* applied, log_start and terms grow with the log */
    store_log_begin(flush->log_begin, &next);
    for (size_t i = 0; i < flush->entry_count && err == STORE_OK; i++)
        err = store_log_append(w, &flush->entries[i], &next);
    /* Nothing commits from here on until w->publish says what the counts count. */
    if (err == STORE_OK)
        err = store_counts_flush(w, changes);
    if (err != STORE_OK)
        return err;
    ASSERT(next.applied.index == flush->state.applied.index);
    ASSERT(next.applied.term == flush->state.applied.term);
    next.revision = flush->state.revision;
    next.compact_revision = flush->state.compact_revision;
    next.state_hash = flush->state.state_hash;
    next.feature_level = flush->state.feature_level;
    next.membership = flush->state.membership;
    w->publish = next;
    return STORE_OK;
}

static enum store_err everything_write(struct store_writer *w, const struct store_flush *flush)
{
    struct store_count_changes changes = { 0 };
    enum store_err err = STORE_OK;
    if (flush->memtable != NULL)
        err = store_count_changes_begin(&changes, flush->memtable, w->publish.revision,
                                        flush->state.revision);
    if (err == STORE_OK)
        err = rows_write(w, flush, &changes);
    store_count_changes_done(&changes);
    return err;
}

static enum store_err flush_write(struct store_writer *w, struct store_flush *flush)
{
    enum store_err err = store_writer_begin(w, flush->store);
    if (err == STORE_OK)
        err = everything_write(w, flush);
    if (err == STORE_OK)
        err = store_log_trim(w, flush->log_keep_index);
    if (err == STORE_OK)
        err = store_compact(w, flush->compact_rows_max, &flush->compaction_pending);
    if (err == STORE_OK)
        err = store_writer_commit(w);
    store_writer_abort(w);
    return err;
}

/* LMDB's lists of pages take megabytes, unless a page whose header rotted asks for many gigabytes:
 * where a whole one is to be had, it was not memory that lacked. Nothing of it is touched. */
static enum store_err nomem_judge(void)
{
    enum { PROBE_BYTES = 1 << 30 };
    uint8_t *volatile probe = malloc(PROBE_BYTES);
    if (probe == NULL)
        return STORE_E_NOMEM;
    free(probe);
    return STORE_E_CORRUPT;
}

static uint64_t row_work(const struct memtable *memtable)
{
    if (memtable == NULL)
        return 0;
    return memtable_count(memtable) * (STORE_PACE_KEY + STORE_PACE_REV) +
           memtable_change_count(memtable) * STORE_PACE_COUNT;
}

static void flush_run(struct io_job *job)
{
    struct store_flush *flush = LIST_ENTRY(job, struct store_flush, job);
    struct store *s = flush->store;
    if (s->failed == STORE_OK) {
        struct store_writer w;
        store_pace_begin(&s->pace, row_work(flush->memtable));
        store_guard_enter();
        s->failed = flush_write(&w, flush);
        store_guard_leave();
        store_pace_end(&s->pace);
        if (s->failed == STORE_E_NOMEM)
            s->failed = nomem_judge();
        if (s->failed == STORE_OK) {
            s->next = w.publish;
            s->next_usage = store_usage_measure(s);
        }
    }
    flush->err = s->failed;
}

/* The flush's own membership lives only until its owner is told: keep a copy. */
static bool membership_keep(struct store *s)
{
    if (slice_equal(s->next.membership, s->published.membership)) {
        s->next.membership = s->published.membership;
        return true;
    }
    uint8_t *copy = malloc(s->next.membership.size + 1); /* it may be empty */
    if (copy == NULL)
        return false;
    if (s->next.membership.size > 0)
        memcpy(copy, s->next.membership.data, s->next.membership.size);
    s->next.membership.data = copy;
    free(s->membership);
    s->membership = copy;
    return true;
}

static void flush_done(struct io_job *job)
{
    struct store_flush *flush = LIST_ENTRY(job, struct store_flush, job);
    struct store *s = flush->store;
    if (flush->err == STORE_OK && !membership_keep(s))
        flush->err = s->failed = STORE_E_NOMEM;
    if (flush->err == STORE_OK) {
        s->published = s->next;
        s->usage = s->next_usage;
    }
    s->busy = false;
    flush->took_us = s->io->ops->now_us(s->io) - s->began_us;
    flush->done(flush);
}

static void flush_check(const struct store *s, const struct store_flush *flush)
{
    const struct store_state *from = &s->published;
    const struct store_state *to = &flush->state;
    ASSERT(!s->busy);
    ASSERT(flush->log_begin.index >= from->applied.index);
    ASSERT(to->applied.index >= flush->log_begin.index);
    ASSERT(to->applied.index - flush->log_begin.index == flush->entry_count);
    ASSERT(to->revision >= from->revision);
    ASSERT(to->compact_revision >= from->compact_revision);
    ASSERT(to->compact_revision <= to->revision);
    ASSERT(to->membership.size <= STORE_MEMBERSHIP_BYTES_MAX);
}

void store_flush_demand(struct store *s, uint32_t permille)
{
    atomic_store_explicit(&s->pace.demand, permille, memory_order_relaxed);
}

uint32_t store_flush_progress(const struct store *s)
{
    return atomic_load_explicit(&s->pace.done, memory_order_relaxed);
}

void store_flush_begin(struct store *s, struct store_flush *flush)
{
    flush_check(s, flush);
    s->busy = true;
    atomic_store_explicit(&s->pace.done, 0, memory_order_relaxed);
    s->began_us = s->io->ops->now_us(s->io);
    s->compact_limit = store_holds_limit(s);
    flush->store = s;
    flush->err = STORE_OK;
    flush->compaction_pending = false;
    flush->job.run = flush_run;
    flush->job.done = flush_done;
    io_offload(s->io, &flush->job);
}
