/* Compaction: from the last compacted revision to the compact revision, each change lets go of
 * what it superseded. What a read at the compact revision needs stays, and so does a tombstone
 * at exactly that revision, because a watch may begin there (etcd issues 18089, 19179): the next
 * compaction begins with that revision once more and finds it.
 *
 * A snapshot that is being sent holds compaction up (storage/snapshot_source.h). Changes go out in
 * the order of their revisions, and the receiver rebuilds from what it gets. Let a put of a key at
 * 5 be sent and its deletion at 8 not yet: were 8 compacted now, both rows would go, and the
 * receiver would keep a key that is gone. So a change is compacted only when it was sent and
 * acknowledged; what it superseded was sent before it. */
#include "base/assert.h"
#include "storage/key_tree.h"
#include "storage/rev_tree.h"
#include "storage/store_write.h"

enum {
    /* A removed record: its leaf in each tree, now and then a neighbour that is merged. */
    REMOVED_BYTES = 2 * STORE_PAGE_BYTES + STORE_PAGE_BYTES / 4,
    ARENA_BYTES_MAX = 3 * REV_TREE_RECORD_BYTES_MAX,
};

struct compaction {
    struct store_writer *writer;
    struct arena arena; /* one record's */
    uint64_t removed;   /* by one prune */
};

static enum store_err on_removed(void *owner, const struct kv_record *record)
{
    struct compaction *c = owner;
    c->removed++;
    return rev_tree_remove(c->writer->txn, c->writer->store->trees.rev, record->mod);
}

/* The version before is all that this one superseded: earlier ones went when their successors
 * were here. */
static enum store_err superseded_remove(struct compaction *c, const struct kv_record *record)
{
    struct store_writer *w = c->writer;
    bool at = record->tombstone && record->mod.main < w->publish.compact_revision;
    struct slice key; /* a copy: the record views a page that the prune changes */
    if (!arena_copy(&c->arena, record->key, &key))
        return STORE_E_NOMEM;
    c->removed = 0;
    enum store_err err =
        key_tree_prune(w->txn, w->store->trees.key, key, record->mod.main, at, on_removed, c);
    return err == STORE_OK ? store_writer_reserve(w, c->removed * REMOVED_BYTES) : err;
}

static int64_t compact_end(const struct store_writer *w)
{
    int64_t limit = w->store->compact_limit;
    return limit < w->publish.compact_revision ? limit : w->publish.compact_revision;
}

static enum store_err compact_walk(struct compaction *c, uint64_t rows_max, bool *ret_pending)
{
    struct store_writer *w = c->writer;
    const int64_t begin = w->publish.compacted_revision;
    const int64_t end = compact_end(w);
    struct kv_revision at = { .main = begin };
    uint64_t rows = 0;
    for (;;) {
        struct kv_record record;
        bool found;
        arena_reset(&c->arena);
        enum store_err err =
            rev_tree_next(w->txn, w->store->trees.rev, at, &c->arena, &record, &found);
        if (err != STORE_OK)
            return err;
        if (!found || record.mod.main > end)
            break;
        /* A revision counts as compacted only as a whole, however many keys it changed. */
        if (record.mod.main - 1 > w->publish.compacted_revision)
            w->publish.compacted_revision = record.mod.main - 1;
        if (rows >= rows_max && record.mod.main != at.main) {
            *ret_pending = true;
            return STORE_OK;
        }
        /* The revision to begin with was done before: counting it again, however many keys it
         * changed, each piece could end where it began. */
        rows += record.mod.main > begin;
        at = (struct kv_revision){ .main = record.mod.main, .sub = record.mod.sub + 1 };
        err = superseded_remove(c, &record);
        if (err != STORE_OK)
            return err;
    }
    w->publish.compacted_revision = end;
    return STORE_OK;
}

enum store_err store_compact(struct store_writer *w, uint64_t rows_max, bool *ret_pending)
{
    ASSERT(w->publish.compacted_revision <= w->publish.compact_revision);
    *ret_pending = false;
    if (compact_end(w) <= w->publish.compacted_revision)
        return STORE_OK;
    struct compaction c = { .writer = w };
    arena_init(&c.arena, ARENA_BYTES_MAX);
    enum store_err err = compact_walk(&c, rows_max, ret_pending);
    arena_done(&c.arena);
    return err;
}

/* ---- holds ---- */

bool store_hold_begin(struct store *s, struct store_hold *hold)
{
    if (s->busy || s->hold_count == STORE_HOLDS_MAX)
        return false;
    hold->ended = false;
    list_push_back(&s->holds, &hold->link);
    s->hold_count++;
    return true;
}

void store_hold_end(struct store *s, struct store_hold *hold)
{
    list_remove(&hold->link);
    s->hold_count--;
}

static int64_t holds_limit(const struct store *s, uint64_t now_ms)
{
    int64_t limit = INT64_MAX;
    for (const struct list *l = s->holds.next; l != &s->holds; l = l->next) {
        const struct store_hold *hold = LIST_ENTRY(l, struct store_hold, link);
        if (!hold->ended && hold->until_ms > now_ms && hold->revision - 1 < limit)
            limit = hold->revision - 1;
    }
    return limit;
}

int64_t store_holds_limit(struct store *s)
{
    uint64_t now_ms = io_now_ms(s->io);
    for (struct list *l = s->holds.next; l != &s->holds; l = l->next) {
        struct store_hold *hold = LIST_ENTRY(l, struct store_hold, link);
        hold->ended = hold->ended || hold->until_ms <= now_ms;
    }
    return holds_limit(s, now_ms);
}

bool store_may_compact(const struct store *s, int64_t compact_revision)
{
    int64_t limit = holds_limit(s, io_now_ms(s->io));
    return (limit < compact_revision ? limit : compact_revision) > s->published.compacted_revision;
}
