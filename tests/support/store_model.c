#include "tests/support/store_model.h"

#include <stdlib.h>

#include "base/assert.h"
#include "storage/key_tree.h"
#include "storage/rev_tree.h"
#include "storage/store_internal.h"
#include "tests/support/counts_check.h"

enum { ARENA_BYTES_MAX = 1 << 28, KEY_BYTES_MAX = 1500 };

static uint8_t *bytes_new(struct store_model *m, size_t size)
{
    uint8_t *bytes = arena_alloc(&m->arena, size + 1);
    ASSERT(bytes != NULL);
    return bytes;
}

/* Short ones, prefixes of each other, and ones around the length of one and of several segments. */
static struct slice key_make(struct store_model *m, uint32_t i)
{
    static const size_t sizes[] = { 1, 4, 20, 20, 20, 20, 447, 448, 449, 896, 897, KEY_BYTES_MAX };
    size_t size = sizes[i % (sizeof sizes / sizeof sizes[0])] + 1;
    uint8_t *bytes = bytes_new(m, size);
    memset(bytes, 'a', size);
    bytes[size - 1] = (uint8_t)i;
    if (i % 2 == 0)
        bytes[0] = (uint8_t)i;
    return slice_of(bytes, size);
}

void store_model_init(struct store_model *m, uint64_t seed)
{
    *m = (struct store_model){ .prng = prng_seeded(seed), .revision = 1, .value_bytes_max = 6000 };
    arena_init(&m->arena, ARENA_BYTES_MAX);
    m->key_count = STORE_MODEL_KEYS;
    for (uint32_t i = 0; i < m->key_count; i++)
        m->keys[i] = key_make(m, i);
}

void store_model_done(struct store_model *m)
{
    arena_done(&m->arena);
}

static void record_add(struct store_model *m, struct memtable *memtable, struct kv_record record)
{
    ASSERT(m->record_count < STORE_MODEL_RECORDS_MAX);
    m->records[m->record_count++] = record;
    ASSERT(memtable_insert(memtable, &record));
}

static struct slice value_make(struct store_model *m)
{
    size_t size = prng_below(&m->prng, 8) == 0 ? prng_below(&m->prng, m->value_bytes_max + 1)
                                               : prng_below(&m->prng, 300);
    uint8_t *bytes = bytes_new(m, size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)prng_next(&m->prng);
    return slice_of(bytes, size);
}

/* The newest record of the key, if that is no deletion. */
static const struct kv_record *live_find(const struct store_model *m, struct slice key)
{
    for (size_t i = m->record_count; i > 0; i--) {
        const struct kv_record *record = &m->records[i - 1];
        if (slice_equal(record->key, key))
            return record->tombstone ? NULL : record;
    }
    return NULL;
}

static void put_add(struct store_model *m, struct memtable *memtable, struct slice key,
                    struct kv_revision mod)
{
    struct kv_record record = store_rig_record(key, value_make(m), mod);
    const struct kv_record *before = live_find(m, key);
    if (before != NULL) {
        record.create_revision = before->create_revision;
        record.version = before->version + 1;
        record.sum = kv_record_sum(&record);
    }
    record_add(m, memtable, record);
}

void store_model_put(struct store_model *m, struct memtable *memtable, struct slice key)
{
    put_add(m, memtable, key, (struct kv_revision){ .main = ++m->revision });
}

void store_model_delete(struct store_model *m, struct memtable *memtable, struct slice key)
{
    ASSERT(live_find(m, key) != NULL);
    record_add(m, memtable, store_rig_tombstone(key, (struct kv_revision){ ++m->revision, 0 }));
}

void store_model_change(struct store_model *m, struct memtable *memtable)
{
    uint32_t count = 1 + (uint32_t)prng_below(&m->prng, 3);
    uint32_t at = (uint32_t)prng_below(&m->prng, m->key_count - count);
    m->revision++;
    for (uint32_t sub = 0; sub < count; sub++) {
        struct kv_revision mod = { .main = m->revision, .sub = sub };
        struct slice key = m->keys[at + sub];
        if (prng_below(&m->prng, 4) == 0 && live_find(m, key) != NULL)
            record_add(m, memtable, store_rig_tombstone(key, mod));
        else
            put_add(m, memtable, key, mod);
    }
}

static bool is_superseded(const struct store_model *m, size_t i, int64_t revision)
{
    const struct kv_record *record = &m->records[i];
    if (record->mod.main > revision)
        return false;
    if (record->tombstone && record->mod.main < revision)
        return true;
    for (size_t later = i + 1; later < m->record_count; later++)
        if (m->records[later].mod.main <= revision &&
            slice_equal(m->records[later].key, record->key))
            return true;
    return false;
}

void store_model_compact(struct store_model *m, int64_t revision)
{
    size_t kept = 0;
    static bool gone[STORE_MODEL_RECORDS_MAX];
    for (size_t i = 0; i < m->record_count; i++)
        gone[i] = is_superseded(m, i, revision);
    for (size_t i = 0; i < m->record_count; i++)
        if (!gone[i])
            m->records[kept++] = m->records[i];
    m->record_count = kept;
}

/* ---- comparing ---- */

static size_t published_count(const struct store_model *m, int64_t revision)
{
    size_t count = 0;
    while (count < m->record_count && m->records[count].mod.main <= revision)
        count++;
    return count;
}

static void record_expect(const struct kv_record *got, const struct kv_record *want)
{
    ASSERT(got->mod.main == want->mod.main);
    ASSERT(got->mod.sub == want->mod.sub);
    ASSERT(got->sum == want->sum);
    ASSERT(got->tombstone == want->tombstone);
    ASSERT(got->value_bytes == want->value_bytes);
    ASSERT(slice_equal(got->key, want->key));
}

static void rev_tree_expect(const struct store_model *m, MDB_txn *txn, MDB_dbi dbi,
                            int64_t revision)
{
    struct arena arena;
    arena_init(&arena, ARENA_BYTES_MAX);
    struct kv_revision at = { 0 };
    size_t count = published_count(m, revision);
    for (size_t i = 0;; i++) {
        struct kv_record record;
        bool found;
        arena_reset(&arena);
        ASSERT(rev_tree_next(txn, dbi, at, &arena, &record, &found) == STORE_OK);
        if (!found || record.mod.main > revision) {
            ASSERT(i == count);
            break;
        }
        ASSERT(i < count);
        record_expect(&record, &m->records[i]);
        ASSERT(slice_equal(record.value, m->records[i].value));
        at = (struct kv_revision){ .main = record.mod.main, .sub = record.mod.sub + 1 };
    }
    arena_done(&arena);
}

static int record_order(const void *a, const void *b)
{
    const struct kv_record *const *x = a;
    const struct kv_record *const *y = b;
    int order = slice_compare((*x)->key, (*y)->key);
    if (order != 0)
        return order;
    return (*x)->mod.main > (*y)->mod.main ? -1 : (*x)->mod.main < (*y)->mod.main;
}

static void key_tree_expect(const struct store_model *m, MDB_txn *txn, MDB_dbi dbi,
                            int64_t revision)
{
    size_t count = published_count(m, revision);
    const struct kv_record **sorted = calloc(count + 1, sizeof *sorted);
    ASSERT(sorted != NULL);
    for (size_t i = 0; i < count; i++)
        sorted[i] = &m->records[i];
    qsort(sorted, count, sizeof *sorted, record_order);
    struct key_tree_cursor *cursor;
    ASSERT(key_tree_cursor_open(txn, dbi, revision, true, &cursor) == STORE_OK);
    struct kv_record record;
    bool found;
    enum store_err err = key_tree_cursor_seek(cursor, slice_of(NULL, 0), &record, &found);
    for (size_t i = 0; err == STORE_OK && found; i++) {
        ASSERT(i < count);
        record_expect(&record, sorted[i]);
        err = key_tree_cursor_next(cursor, &record, &found);
        ASSERT(found || i + 1 == count);
    }
    ASSERT(err == STORE_OK);
    key_tree_cursor_close(cursor);
    free(sorted);
}

void store_model_expect(const struct store_model *m, struct store_rig *rig)
{
    struct store_handles handles = store_handles(rig->store);
    MDB_txn *txn;
    int64_t revision;
    ASSERT(mdb_txn_begin(handles.env, NULL, MDB_RDONLY, &txn) == 0);
    ASSERT(store_published_revision(rig->store, txn, &revision) == STORE_OK);
    ASSERT(revision == store_published(rig->store)->revision);
    rev_tree_expect(m, txn, handles.rev, revision);
    key_tree_expect(m, txn, handles.key, revision);
    mdb_txn_abort(txn);
    char why[COUNTS_CHECK_WHY_BYTES];
    ASSERT(counts_are_right(rig->store, why));
}
