#include "tests/support/kv_model.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"

static int key_compare(const void *a, const void *b)
{
    return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

static struct slice bytes_of(size_t size, uint8_t fill)
{
    uint8_t *bytes = malloc(size + 1);
    ASSERT(bytes);
    memset(bytes, fill, size);
    return slice_of(bytes, size);
}

struct kv_model *kv_model_new(uint64_t seed)
{
    static const size_t sizes[] = { 1, 2, 5, 8, 9, 447, 448, 449, 896, 897, 2000 };
    enum { SIZES = sizeof sizes / sizeof sizes[0] };
    struct kv_model *m = calloc(1, sizeof *m);
    ASSERT(m);
    m->prng = prng_seeded(seed);
    for (size_t i = 0; i < KV_MODEL_KEYS; i++) {
        m->keys[i] = bytes_of(sizes[i % SIZES], 'a');
        uint8_t *last = (uint8_t *)(uintptr_t)m->keys[i].data + m->keys[i].size - 1;
        *last = (uint8_t)(i / SIZES * 50); /* 0 too, and no two are the same */
    }
    qsort(m->keys, KV_MODEL_KEYS, sizeof m->keys[0], key_compare);
    return m;
}

void kv_model_free(struct kv_model *m)
{
    for (size_t i = 0; i < KV_MODEL_KEYS; i++)
        free((void *)(uintptr_t)m->keys[i].data);
    for (size_t i = 0; i < m->change_count; i++)
        free((void *)(uintptr_t)m->changes[i].value.data);
    free(m);
}

struct slice kv_model_key(struct kv_model *m)
{
    return m->keys[prng_below(&m->prng, KV_MODEL_KEYS)];
}

int64_t kv_model_revision(const struct kv_model *m)
{
    return m->change_count > 0 ? m->changes[m->change_count - 1].mod.main : 1;
}

static struct kv_revision revision_draw(struct kv_model *m, struct slice key)
{
    struct kv_revision next = { .main = kv_model_revision(m) + 1 };
    if (m->change_count == 0 || m->revision_is_whole || prng_below(&m->prng, 4) > 0)
        return next;
    const struct kv_record *last = &m->changes[m->change_count - 1];
    const struct kv_record *same = kv_model_get(m, key, INT64_MAX);
    if (same && same->mod.main == last->mod.main)
        return next; /* a revision changes a key once */
    return (struct kv_revision){ .main = last->mod.main, .sub = last->mod.sub + 1 };
}

struct kv_record *kv_model_change(struct kv_model *m)
{
    ASSERT(m->change_count < KV_MODEL_CHANGES_MAX);
    struct slice key = kv_model_key(m);
    const struct kv_record *before = kv_model_get(m, key, INT64_MAX);
    struct kv_record *r = &m->changes[m->change_count];
    *r = (struct kv_record){ .key = key, .mod = revision_draw(m, key) };
    bool lives = before && !before->tombstone;
    if (lives && prng_below(&m->prng, 3) == 0) {
        r->tombstone = true;
        r->value = bytes_of(0, 0);
    } else {
        /* One in 16 takes several chunks of the rev tree. */
        size_t size = prng_below(&m->prng, prng_below(&m->prng, 16) == 0 ? 12000 : 60);
        r->value = bytes_of(size, (uint8_t)prng_next(&m->prng));
        r->create_revision = lives ? before->create_revision : r->mod.main;
        r->version = lives ? before->version + 1 : 1;
        r->lease = (int64_t)prng_below(&m->prng, 3);
    }
    m->change_count++;
    m->revision_is_whole = false;
    return r;
}

void kv_model_end_revision(struct kv_model *m)
{
    m->revision_is_whole = true;
}

const struct kv_record *kv_model_get(const struct kv_model *m, struct slice key, int64_t revision)
{
    for (size_t i = m->change_count; i > 0; i--) {
        const struct kv_record *r = &m->changes[i - 1];
        if (r->mod.main <= revision && slice_equal(r->key, key))
            return r;
    }
    return NULL;
}

static uint64_t hash_add(uint64_t hash, const struct kv_record *r)
{
    uint8_t bytes[20];
    put_le64(bytes, kv_record_sum(r));
    put_le64(bytes + 8, (uint64_t)r->mod.main);
    put_le32(bytes + 16, r->mod.sub);
    return checksum(slice_of(bytes, sizeof bytes), hash);
}

uint64_t kv_model_hash(const struct kv_model *m, int64_t compact_revision, int64_t revision)
{
    uint64_t hash = 0;
    for (size_t k = 0; k < KV_MODEL_KEYS; k++) {
        for (size_t i = m->change_count; i > 0; i--) {
            const struct kv_record *r = &m->changes[i - 1];
            if (r->mod.main > compact_revision && r->mod.main <= revision &&
                slice_equal(r->key, m->keys[k]))
                hash = hash_add(hash, r);
        }
        const struct kv_record *base = kv_model_get(m, m->keys[k], compact_revision);
        if (base && !base->tombstone)
            hash = hash_add(hash, base);
    }
    return hash;
}
