/* The memtables: insert, freeze, drop; and the pool of views. */
#include "storage/kv.h"

#include <stdlib.h>

#include "base/assert.h"
#include "storage/kv_internal.h"

const char *kv_strerror(enum kv_err err)
{
#define KV_TEXT_ENTRY(name, text) [name] = text,
    static const char *const texts[] = { KV_ERRORS(KV_TEXT_ENTRY) };
#undef KV_TEXT_ENTRY
    ASSERT((size_t)err < sizeof texts / sizeof texts[0]);
    return texts[err];
}

enum kv_err kv_err_of_store(enum store_err err)
{
    switch (err) {
    case STORE_OK:
        return KV_OK;
    case STORE_E_NOMEM:
        return KV_E_NOMEM;
    case STORE_E_CORRUPT:
        return KV_E_CORRUPT;
    case STORE_E_IO:
    case STORE_E_NOSPACE:
    case STORE_E_VERSION:
    case STORE_E_FOREIGN:
    case STORE_E_GONE:
        return KV_E_IO;
    }
    return KV_E_IO;
}

/* Each view gets its reader slot now: taking one later would be under a lock (I10). */
static enum kv_err views_open(struct kv *kv)
{
    for (uint32_t i = 0; i < kv->views_max; i++) {
        struct kv_view *view = &kv->views[i];
        view->kv = kv;
        int code = mdb_txn_begin(kv->trees.env, NULL, MDB_RDONLY, &view->txn);
        if (code == MDB_READERS_FULL)
            return KV_E_BUSY;
        if (code != 0)
            return kv_err_of_store(store_err_of_mdb(code));
        mdb_txn_reset(view->txn);
        list_push_back(&kv->idle_views, &view->link);
    }
    return KV_OK;
}

enum kv_err kv_open(struct kv **ret_kv, struct store *store, uint32_t views_max)
{
    ASSERT(views_max > 0);
    enum kv_err err = KV_E_NOMEM;
    struct kv *kv = calloc(1, sizeof *kv);
    if (!kv)
        goto out;
    kv->store = store;
    kv->trees = store_handles(store);
    kv->views_max = views_max;
    list_init(&kv->idle_views);
    chunk_pool_init(&kv->pool, KV_SPARE_BYTES_MAX);
    kv->active = memtable_new_pooled(&kv->pool);
    kv->views = calloc(views_max, sizeof *kv->views);
    if (!kv->active || !kv->views)
        goto out;
    err = views_open(kv);
    if (err != KV_OK)
        goto out;
    *ret_kv = kv;
    kv = NULL;
out:
    kv_close(kv);
    return err;
}

static void views_close(struct kv *kv)
{
    for (uint32_t i = 0; i < kv->views_max; i++) {
        struct kv_view *view = &kv->views[i];
        key_tree_cursor_close(view->rows);
        if (view->counts)
            mdb_cursor_close(view->counts);
        if (view->values)
            mdb_cursor_close(view->values);
        if (view->txn)
            mdb_txn_abort(view->txn);
    }
    free(kv->views);
}

void kv_close(struct kv *kv)
{
    if (!kv)
        return;
    ASSERT(kv->open_count == 0);
    if (kv->views)
        views_close(kv);
    for (size_t i = 0; i < kv->frozen_count; i++)
        memtable_unref(kv->frozen[i]);
    memtable_unref(kv->active);
    chunk_pool_done(&kv->pool);
    free(kv);
}

/* ---- memtables ---- */

enum kv_err kv_insert(struct kv *kv, struct kv_record *record)
{
    record->value_bytes = (uint32_t)record->value.size;
    record->sum = kv_record_sum(record);
    return memtable_insert(kv->active, record) ? KV_OK : KV_E_NOMEM;
}

void kv_prefetch(const struct kv *kv, const struct slice *keys, size_t count)
{
    for (size_t i = 0; i < kv->frozen_count; i++)
        memtable_prefetch_get(kv->frozen[i], keys, count);
    memtable_prefetch(kv->active, keys, count);
}

size_t kv_active_bytes(const struct kv *kv)
{
    return memtable_bytes(kv->active);
}

size_t kv_memtable_bytes(const struct kv *kv)
{
    size_t bytes = memtable_bytes(kv->active);
    for (size_t i = 0; i < kv->frozen_count; i++)
        bytes += memtable_bytes(kv->frozen[i]);
    return bytes;
}

bool kv_freeze(struct kv *kv)
{
    if (kv->frozen_count == KV_FROZEN_MAX)
        return false;
    struct memtable *next = memtable_new_pooled(&kv->pool);
    if (!next)
        return false;
    kv->frozen[kv->frozen_count++] = kv->active;
    kv->active = next;
    return true;
}

const struct memtable *kv_frozen(const struct kv *kv)
{
    return kv->frozen_count > 0 ? kv->frozen[0] : NULL;
}

void kv_flushed(struct kv *kv)
{
    ASSERT(kv->frozen_count > 0);
    memtable_unref(kv->frozen[0]);
    kv->frozen_count--;
    for (size_t i = 0; i < kv->frozen_count; i++)
        kv->frozen[i] = kv->frozen[i + 1];
}

size_t kv_spare_bytes(const struct kv *kv)
{
    return kv->pool.bytes;
}

bool kv_trim(struct kv *kv)
{
    return chunk_pool_trim(&kv->pool);
}
