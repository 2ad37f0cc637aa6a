/* Views: a state of the key space that stays as it is while it is read. */
#include "base/assert.h"
#include "storage/kv_internal.h"
#include "storage/rev_tree.h"

/* A memtable that is flushed between the two steps of opening must not slip through:
 * 1. the view takes the memtables; 2. the flush job publishes one of them in LMDB; 3. the view
 * renews its transaction, which shows that one again. In the other order it would be in neither
 * once kv_flushed had dropped it. */
static void memtables_pin(struct kv_view *view)
{
    struct kv *kv = view->kv;
    view->memtables[0] = memtable_ref(kv->active);
    view->memtable_count = 1;
    for (size_t i = kv->frozen_count; i > 0; i--)
        view->memtables[view->memtable_count++] = memtable_ref(kv->frozen[i - 1]);
}

static void memtables_unpin(struct kv_view *view)
{
    for (size_t i = 0; i < view->memtable_count; i++)
        memtable_unref(view->memtables[i]);
    view->memtable_count = 0;
}

static enum kv_err published_read(struct kv_view *view)
{
    struct kv *kv = view->kv;
    size_t txn_id = mdb_txn_id(view->txn);
    if (txn_id != kv->published_txn_id) {
        int64_t revision;
        enum store_err err = store_published_revision(kv->store, view->txn, &revision);
        if (err != STORE_OK)
            return kv_err_of_store(err);
        kv->published_revision = revision;
        kv->published_txn_id = txn_id;
    }
    view->published = kv->published_revision;
    return KV_OK;
}

enum kv_err kv_view_open(struct kv *kv, struct kv_view **ret_view)
{
    if (list_is_empty(&kv->idle_views))
        return KV_E_BUSY;
    /* The one that was closed last: its memory is warm. */
    struct kv_view *view = LIST_ENTRY(kv->idle_views.prev, struct kv_view, link);
    memtables_pin(view);
    int code = mdb_txn_renew(view->txn);
    if (code != 0) {
        memtables_unpin(view);
        return kv_err_of_store(store_err_of_mdb(code));
    }
    enum kv_err err = published_read(view);
    if (err != KV_OK) {
        mdb_txn_reset(view->txn);
        memtables_unpin(view);
        return err;
    }
    list_remove(&view->link);
    view->values_are_ours = false;
    kv->open_count++;
    *ret_view = view;
    return KV_OK;
}

void kv_view_close(struct kv_view *view)
{
    if (!view)
        return;
    ASSERT(view->memtable_count > 0); /* it is open */
    ASSERT(!view->is_walking);
    struct kv *kv = view->kv;
    mdb_txn_reset(view->txn);
    memtables_unpin(view);
    list_push_back(&kv->idle_views, &view->link);
    kv->open_count--;
}

struct kv *kv_view_kv(const struct kv_view *view)
{
    return view->kv;
}

uint32_t kv_views_open(const struct kv *kv)
{
    return kv->open_count;
}

/* ---- one key ---- */

/* Memtables hold disjoint, descending ranges of revisions, all newer than what is published but
 * for one that is just flushed: the first hit is the newest. */
static bool find_in_memtables(const struct kv_view *view, struct slice key, int64_t revision,
                              struct kv_record *ret_record)
{
    for (size_t i = 0; i < view->memtable_count; i++) {
        const struct memtable_node *node = memtable_get(view->memtables[i], key, revision);
        if (node) {
            *ret_record = memtable_record(node);
            return true;
        }
    }
    return false;
}

/* Once a transaction. */
static enum kv_err values_renew(struct kv_view *view)
{
    if (view->values_are_ours)
        return KV_OK;
    int code = view->values ? mdb_cursor_renew(view->txn, view->values)
                            : mdb_cursor_open(view->txn, view->kv->trees.rev, &view->values);
    view->values_are_ours = code == 0;
    return kv_err_of_store(store_err_of_mdb(code));
}

/* Each row has its own checksum; this says that the two belong together. */
static bool belongs(const struct kv_record *loaded, const struct kv_record *record)
{
    return loaded->sum == record->sum && slice_equal(loaded->key, record->key);
}

enum kv_err kv_view_load(struct kv_view *view, struct arena *arena, struct kv_record *record)
{
    enum kv_err err = values_renew(view);
    if (err != KV_OK)
        return err;
    struct kv_record loaded;
    err = kv_err_of_store(rev_tree_get(view->values, record->mod, arena, &loaded));
    if (err != KV_OK)
        return err;
    if (!belongs(&loaded, record))
        return KV_E_CORRUPT;
    *record = loaded;
    return KV_OK;
}

static enum store_err rows_find(struct kv_view *view, const struct kv_batch *batch,
                                struct slice ret_rows[KV_BATCH_MAX])
{
    enum store_err err = STORE_OK;
    for (size_t i = 0; err == STORE_OK && i < batch->count; i++) {
        if (!batch->has_value[i])
            err = rev_tree_find(view->values, batch->records[i].mod, &ret_rows[i]);
    }
    return err;
}

enum kv_err kv_batch_load(struct kv_view *view, struct arena *arena, struct kv_batch *batch)
{
    struct slice rows[KV_BATCH_MAX];
    enum kv_err err = values_renew(view);
    if (err == KV_OK)
        err = kv_err_of_store(rows_find(view, batch, rows));
    for (size_t i = 0; err == KV_OK && i < batch->count; i++) {
        struct kv_record *record = &batch->records[i];
        if (batch->has_value[i])
            continue;
        struct kv_record loaded;
        err = kv_err_of_store(rev_tree_load(view->values, record->mod, rows[i], arena, &loaded));
        if (err == KV_OK && !belongs(&loaded, record))
            err = KV_E_CORRUPT;
        if (err == KV_OK) {
            *record = loaded;
            batch->has_value[i] = true;
        }
    }
    return err;
}

static enum kv_err find_in_store(struct kv_view *view, struct slice key, int64_t revision,
                                 bool want_value, struct arena *arena, struct kv_record *ret_record)
{
    int64_t newest = revision < view->published ? revision : view->published;
    struct kv_record record;
    bool found;
    enum kv_err err =
        kv_err_of_store(key_tree_get(view->txn, view->kv->trees.key, key, newest, &record, &found));
    if (err != KV_OK)
        return err;
    if (!found)
        record = (struct kv_record){ .key = key };
    else if (want_value)
        err = kv_view_load(view, arena, &record);
    if (err == KV_OK)
        *ret_record = record;
    return err;
}

enum kv_err kv_view_get(struct kv_view *view, struct slice key, int64_t revision, bool want_value,
                        struct arena *arena, struct kv_record *ret_record, bool *ret_found)
{
    struct kv_record record;
    if (!find_in_memtables(view, key, revision, &record)) {
        enum kv_err err = find_in_store(view, key, revision, want_value, arena, &record);
        if (err != KV_OK)
            return err;
    }
    *ret_record = record;
    *ret_found = record.mod.main > 0 && !record.tombstone;
    return KV_OK;
}
