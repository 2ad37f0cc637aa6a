/* HashKV: one number for all that a reader could see between two revisions. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "storage/kv_internal.h"

enum { HASHED_SUM = 0, HASHED_MAIN = 8, HASHED_SUB = 16, HASHED_BYTES = 20 };

struct hash {
    uint64_t value;
    int64_t compact_revision;
    /* The key whose records are passing: a copy, as the walk lets go of it. */
    uint8_t *key;
    size_t key_bytes;
    size_t key_bytes_max;
    bool key_is_set;
    bool passed_compact; /* its newest at or below compact_revision has been */
};

static bool hash_key_set(struct hash *h, struct slice key)
{
    if (key.size > h->key_bytes_max) {
        uint8_t *larger = realloc(h->key, key.size * 2);
        if (!larger)
            return false;
        h->key = larger;
        h->key_bytes_max = key.size * 2;
    }
    if (key.size > 0)
        memcpy(h->key, key.data, key.size);
    h->key_bytes = key.size;
    h->key_is_set = true;
    h->passed_compact = false;
    return true;
}

/* Older records than the newest at or below the compaction may be gone here and still be there
 * on another replica; so may that one where it is a tombstone. */
static bool hash_wants(struct hash *h, const struct kv_record *record)
{
    if (record->mod.main > h->compact_revision)
        return true;
    if (h->passed_compact)
        return false;
    h->passed_compact = true;
    return !record->tombstone;
}

static void hash_add(struct hash *h, const struct kv_record *record)
{
    uint8_t bytes[HASHED_BYTES];
    put_le64(bytes + HASHED_SUM, record->sum);
    put_le64(bytes + HASHED_MAIN, (uint64_t)record->mod.main);
    put_le32(bytes + HASHED_SUB, record->mod.sub);
    h->value = checksum(slice_of(bytes, sizeof bytes), h->value);
}

static enum kv_err hash_walk(struct hash *h, struct kv_merge *merge)
{
    for (;;) {
        struct kv_record record;
        bool has_value;
        bool found;
        enum kv_err err = kv_merge_next(merge, &record, &has_value, &found);
        if (err != KV_OK || !found)
            return err;
        if (!h->key_is_set || !slice_equal(slice_of(h->key, h->key_bytes), record.key)) {
            if (!hash_key_set(h, record.key))
                return KV_E_NOMEM;
        }
        if (hash_wants(h, &record))
            hash_add(h, &record);
    }
}

enum kv_err kv_view_hash(struct kv_view *view, int64_t compact_revision, int64_t revision,
                         uint64_t *ret_hash)
{
    ASSERT(compact_revision <= revision);
    struct kv_merge merge;
    enum kv_err err = kv_merge_open(&merge, view, slice_of(NULL, 0), revision, true);
    if (err != KV_OK)
        return err;
    struct hash h = { .compact_revision = compact_revision };
    err = hash_walk(&h, &merge);
    kv_merge_close(&merge);
    free(h.key);
    if (err == KV_OK)
        *ret_hash = h.value;
    return err;
}
