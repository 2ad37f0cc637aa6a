/* Counting the live keys of a range: blocks of the store, and what the memtables change.
 *
 * The counts of a view's LMDB transaction are those of its published revision exactly, and each
 * memtable is published whole or not at all (a flush publishes the revision at which its memtable
 * was frozen). So a memtable of the view counts when its first record is above the published
 * revision: one that was flushed between the two steps of opening the view is in the store's
 * counts already. */
#include "base/assert.h"
#include "storage/count_tree.h"
#include "storage/kv_internal.h"
#include "storage/rev_tree.h"

enum {
    NODES_A_STEP = 8,       /* of a memtable: all in memory, and no row to decode */
    KEYS_A_CHANGE = 8,      /* that are walked in the time that a change of `rev` takes */
    CHANGES_ALWAYS_MAX = 64 /* are looked through, however few the keys */
};

struct counting {
    struct kv_view *view;
    struct key_interval keys;
    int64_t revision;
    bool on_loop;
    uint64_t steps_max;
    int64_t count;
    bool is_known; /* false: no steps left */
};

static bool steps_take(struct counting *c, uint64_t steps)
{
    c->is_known = c->is_known && c->steps_max >= steps;
    c->steps_max -= c->is_known ? steps : 0;
    return c->is_known;
}

/* ---- what is published ---- */

static enum store_err cursors_renew(struct kv_view *view)
{
    enum store_err err;
    if (view->rows)
        err = key_tree_cursor_renew(view->rows, view->txn, view->published, false);
    else
        err = key_tree_cursor_open(view->txn, view->kv->trees.key, view->published, false,
                                   &view->rows);
    if (err != STORE_OK)
        return err;
    int code = view->counts ? mdb_cursor_renew(view->txn, view->counts)
                            : mdb_cursor_open(view->txn, view->kv->trees.count, &view->counts);
    return store_err_of_mdb(code);
}

static enum store_err count_published(struct counting *c)
{
    uint64_t count = 0;
    enum store_err err = cursors_renew(c->view);
    struct count_tree_reader reader = {
        .rows = c->view->counts,
        .keys = c->view->rows,
        .steps_max = c->steps_max,
    };
    if (err == STORE_OK)
        err = count_tree_count(&reader, &c->keys, &count, &c->is_known);
    if (err == STORE_OK && count > INT64_MAX)
        err = STORE_E_CORRUPT;
    c->steps_max = reader.steps_max;
    c->count = (int64_t)count;
    return err;
}

/* ---- what is not ---- */

/* The changes of a memtable in the order of insertion, taken back from `node` on. */
static void changes_take_back(struct counting *c, const struct memtable *m,
                              const struct memtable_node *node)
{
    for (uint64_t i = 1; node; i++, node = memtable_next_inserted(m, node)) {
        if (i % NODES_A_STEP == 0 && !steps_take(c, 1))
            return;
        int change = memtable_change(node);
        if (change != 0 && key_interval_has(&c->keys, memtable_key(node)))
            c->count -= change;
    }
}

/* The loop inserts meanwhile: what is newer than the revision is left out. */
static void changes_walk(struct counting *c, const struct memtable *m)
{
    const struct memtable_node *node = memtable_seek(m, c->keys.start, INT64_MAX);
    for (uint64_t i = 1; node && key_interval_reaches(&c->keys, memtable_key(node)); i++) {
        if (i % NODES_A_STEP == 0 && !steps_take(c, 1))
            return;
        if (memtable_revision(node) <= c->revision)
            c->count += memtable_change(node);
        node = memtable_next(node);
    }
}

static void count_memtable(struct counting *c, const struct memtable *m)
{
    const struct memtable_node *first = memtable_next_inserted(m, NULL);
    if (!first || memtable_revision(first) <= c->view->published ||
        memtable_revision(first) > c->revision)
        return;
    if (!c->on_loop) {
        changes_walk(c, m);
        return;
    }
    c->count += memtable_live_change(m, &c->keys);
    if (memtable_newest(m) > c->revision)
        changes_take_back(c, m, memtable_seek_inserted(m, c->revision));
}

/* ---- what was published since ---- */

/* The store's changes above the revision, taken back one by one: *ret_done false when there are too
 * many. Compaction keeps all of them: they are above the compacted revision, as the read is. */
static enum store_err published_take_back(struct counting *c, bool *ret_done)
{
    uint64_t most = (uint64_t)c->count / KEYS_A_CHANGE + CHANGES_ALWAYS_MAX;
    struct kv_revision at = { .main = c->revision + 1 };
    struct arena arena;
    arena_init(&arena, 2 * REV_TREE_RECORD_BYTES_MAX);
    enum store_err err = STORE_OK;
    *ret_done = false;
    while (most-- > 0 && err == STORE_OK && steps_take(c, KEYS_A_CHANGE)) {
        struct kv_record record;
        bool found;
        arena_reset(&arena);
        err = rev_tree_next(c->view->txn, c->view->kv->trees.rev, at, &arena, &record, &found);
        if (err != STORE_OK)
            break;
        if (!found || record.mod.main > c->view->published) {
            *ret_done = true;
            break;
        }
        int change = record.tombstone ? -1 : record.version == 1;
        if (change != 0 && key_interval_has(&c->keys, record.key))
            c->count -= change;
        at = (struct kv_revision){ .main = record.mod.main, .sub = record.mod.sub + 1 };
    }
    arena_done(&arena);
    return err;
}

static enum kv_err keys_walk(struct counting *c)
{
    struct kv_merge merge;
    struct kv_record record;
    bool has_value;
    bool found = true;
    c->count = 0;
    enum kv_err err = kv_merge_open(&merge, c->view, c->keys.start, c->revision, false);
    if (err != KV_OK)
        return err;
    while (err == KV_OK && found && steps_take(c, 1)) {
        err = kv_merge_next(&merge, &record, &has_value, &found);
        if (err != KV_OK || !found || !key_interval_reaches(&c->keys, record.key))
            break;
        c->count += !record.tombstone;
    }
    kv_merge_close(&merge);
    return err;
}

static enum kv_err count_run(struct counting *c)
{
    enum store_err err = count_published(c);
    if (err != STORE_OK || !c->is_known)
        return kv_err_of_store(err);
    if (c->revision >= c->view->published) {
        for (size_t i = 0; i < c->view->memtable_count && c->is_known; i++)
            count_memtable(c, c->view->memtables[i]);
        return KV_OK;
    }
    bool done;
    err = published_take_back(c, &done);
    if (err != STORE_OK || done || !c->is_known)
        return kv_err_of_store(err);
    return keys_walk(c);
}

enum kv_err kv_view_count(struct kv_view *view, const struct kv_range *range,
                          struct kv_counting *counting, uint64_t *ret_count, bool *ret_known)
{
    ASSERT(!view->is_walking);
    ASSERT(range->revision >= 0);
    struct counting c = {
        .view = view,
        .keys = { .start = range->start, .end = range->end, .end_is_open = range->end_is_open },
        .revision = range->revision,
        .on_loop = counting->on_loop,
        .steps_max = counting->steps_max,
        .is_known = true
    };
    enum kv_err err = key_interval_is_empty(&c.keys) ? KV_OK : count_run(&c);
    if (err == KV_OK && c.is_known && c.count < 0)
        err = KV_E_CORRUPT; /* the memtables know of more deaths than the store of lives */
    counting->steps_max = c.steps_max;
    *ret_count = (uint64_t)c.count;
    *ret_known = c.is_known;
    return err;
}
