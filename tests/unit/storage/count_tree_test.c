#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/prng.h"
#include "storage/count_tree_internal.h"
#include "storage/store_internal.h"
#include "tests/support/counts_check.h"
#include "tests/support/store_rig.h"

enum { POOL = 4000, KEY_BYTES_MAX = 1200 };

/* Keys that may live, ascending. Every third or so is drawn until it is a boundary, so that there
 * are many on each level; some are as long as one can be, and longer. */
struct pool_key {
    size_t size;
    uint8_t bytes[KEY_BYTES_MAX];
    int64_t version; /* 0: dead */
};

static struct store_rig rig;
static struct pool_key *pool[POOL];
static struct prng chance;
static int64_t revision;
static struct memtable *memtable;

static struct slice pool_slice(size_t i)
{
    return slice_of(pool[i]->bytes, pool[i]->size);
}

static int pool_compare(const void *a, const void *b)
{
    const struct pool_key *const *x = a;
    const struct pool_key *const *y = b;
    return slice_compare(slice_of((*x)->bytes, (*x)->size), slice_of((*y)->bytes, (*y)->size));
}

static void key_draw(struct pool_key *k)
{
    static const size_t sizes[] = { 4, 5, 8, 12, 20, 447, 448, 449, 500, 501, 900 };
    memset(k, 0, sizeof *k);
    k->size = sizes[prng_below(&chance, prng_below(&chance, 8) == 0 ? 11 : 5)];
    put_be32(k->bytes, (uint32_t)prng_next(&chance));
    if (k->size > 8) /* late differences */
        put_be32(k->bytes + k->size - 4, (uint32_t)prng_next(&chance));
}

static void pool_make(void)
{
    for (size_t i = 0; i < POOL; i++) {
        pool[i] = calloc(1, sizeof **pool);
        int wanted = i % 3 == 0 ? (int)(i / 3 % 4) - 1 : COUNT_TREE_NONE;
        do
            key_draw(pool[i]);
        while (wanted >= 0 && count_tree_level_of(slice_of(pool[i]->bytes, pool[i]->size)) <
                                  (pool[i]->size > 500 ? COUNT_TREE_NONE : wanted));
    }
    qsort(pool, POOL, sizeof pool[0], pool_compare);
}

static void setup(void)
{
    chance = prng_seeded(5);
    revision = 1;
    pool_make();
    store_rig_init(&rig);
    memtable = memtable_new();
}

static void teardown(void)
{
    memtable_unref(memtable);
    store_rig_done(&rig);
    for (size_t i = 0; i < POOL; i++)
        free(pool[i]);
}

TestSuite(count_tree, .init = setup, .fini = teardown, .timeout = 120);

/* ---- rows ---- */

Test(count_tree, rows_are_these_bytes)
{
    static const struct {
        struct count_row row;
        const char *boundary;
        uint8_t want[COUNT_TREE_ROW_BYTES];
    } rows[] = {
        { { .level = 0, .boundary_level = 5, .count = 3 },
          "",
          { 1, 5, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0xe7, 0x6d, 0xcf, 0xc6 } },
        { { .level = 2, .boundary_level = 3, .count = 0x0102030405060708 },
          "abc",
          { 1, 3, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1, 0xcd, 0x85, 0x50, 0x0a } },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct count_row row = rows[i].row;
        row.boundary = slice_of_text(rows[i].boundary);
        struct count_row_key key;
        uint8_t bytes[COUNT_TREE_ROW_BYTES];
        count_row_encode(&row, &key, bytes);
        cr_assert_eq(key.bytes[0], row.level);
        cr_assert(slice_equal(slice_of(key.bytes + 1, key.size - 1), row.boundary));
        for (size_t b = 0; b < sizeof bytes; b++)
            cr_assert_eq(bytes[b], rows[i].want[b], "row %zu, byte %zu is %02x", i, b, bytes[b]);
        struct count_row got;
        struct slice row_key = slice_of(key.bytes, key.size);
        cr_assert_eq(count_row_decode(row_key, slice_of(bytes, sizeof bytes), &got), STORE_OK);
        cr_assert_eq(got.level, row.level);
        cr_assert_eq(got.boundary_level, row.boundary_level);
        cr_assert_eq(got.count, row.count);
        cr_assert(slice_equal(got.boundary, row.boundary));
        for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            cr_assert_neq(count_row_decode(row_key, slice_of(bytes, sizeof bytes), &got), STORE_OK);
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        for (size_t size = 0; size < sizeof bytes; size++)
            cr_assert_eq(count_row_decode(row_key, slice_of(bytes, size), &got), STORE_E_CORRUPT);
        key.bytes[key.size - 1] ^= 1;
        cr_assert_neq(count_row_decode(row_key, slice_of(bytes, sizeof bytes), &got), STORE_OK);
    }
}

/* Part of the format: a store that was written with other boundaries would be miscounted. */
Test(count_tree, boundaries_are_these_keys)
{
    size_t counts[COUNT_TREE_LEVELS] = { 0 };
    size_t first[COUNT_TREE_LEVELS] = { 0 };
    for (uint32_t i = 1; i < 200000; i++) {
        uint8_t key[4];
        put_be32(key, i);
        int level = count_tree_level_of(slice_of(key, sizeof key));
        if (level < 0)
            continue;
        if (counts[level]++ == 0)
            first[level] = i;
    }
    static const struct {
        size_t count;
        size_t first;
    } want[COUNT_TREE_LEVELS] = { { 5945, 92 }, { 395, 849 }, { 30, 4255 }, { 2, 34102 } };
    for (int level = 0; level < COUNT_TREE_LEVELS; level++) {
        cr_assert_eq(counts[level], want[level].count, "level %d: { %zu, %zu }", level,
                     counts[level], first[level]);
        cr_assert_eq(first[level], want[level].first, "level %d: { %zu, %zu }", level,
                     counts[level], first[level]);
    }
    static const uint8_t long_key[COUNT_TREE_BOUNDARY_BYTES_MAX + 1];
    cr_assert_eq(count_tree_level_of(slice_of(NULL, 0)), COUNT_TREE_NONE);
    cr_assert_eq(count_tree_level_of(slice_of(long_key, sizeof long_key)), COUNT_TREE_NONE);
}

/* ---- against the keys ---- */

static void change(size_t i, bool lives)
{
    struct kv_revision mod = { .main = ++revision };
    struct pool_key *k = pool[i];
    if (!lives && k->version == 0)
        return;
    struct kv_record record = lives ? store_rig_record(pool_slice(i), slice_of_text("v"), mod)
                                    : store_rig_tombstone(pool_slice(i), mod);
    k->version = lives ? k->version + 1 : 0;
    record.version = k->version;
    record.sum = kv_record_sum(&record);
    cr_assert(memtable_insert(memtable, &record));
}

static void flush(int64_t compact_revision)
{
    struct store_flush f = store_rig_flush_of(&rig, memtable, NULL, 0);
    f.state.revision = revision;
    if (compact_revision > f.state.compact_revision)
        f.state.compact_revision = compact_revision;
    cr_assert_eq(store_rig_flush(&rig, &f), STORE_OK);
    memtable_unref(memtable);
    memtable = memtable_new();
    char why[COUNTS_CHECK_WHY_BYTES];
    cr_assert(counts_are_right(rig.store, why), "at %ld: %s", revision, why);
}

static uint64_t count_between(size_t from, size_t to)
{
    uint64_t count = 0;
    for (size_t i = from; i < to; i++)
        count += pool[i]->version > 0;
    return count;
}

/* Any two keys, or what lies a little before and behind them. */
static void count_check(struct count_tree_reader *r)
{
    size_t from = prng_below(&chance, POOL);
    size_t to = from + prng_below(&chance, prng_below(&chance, 2) == 0 ? 40 : POOL);
    bool is_open = to >= POOL || prng_below(&chance, 8) == 0;
    if (is_open)
        to = POOL;
    if (prng_below(&chance, 8) == 0)
        from = 0;
    uint8_t behind[KEY_BYTES_MAX + 1] = { 0 };
    struct key_interval keys = { .start = from == 0 && to % 2 == 0 ? (struct slice){ 0 }
                                                                   : pool_slice(from),
                                 .end_is_open = is_open };
    if (!is_open) {
        keys.end = pool_slice(to);
        if (prng_below(&chance, 3) == 0) { /* just behind it: it is counted */
            memcpy(behind, keys.end.data, keys.end.size);
            keys.end = slice_of(behind, keys.end.size + 1);
            to++;
        }
    }
    if (key_interval_is_empty(&keys))
        return;
    uint64_t count;
    bool known;
    r->steps_max = UINT64_MAX;
    cr_assert_eq(count_tree_count(r, &keys, &count, &known), STORE_OK);
    cr_assert(known);
    cr_assert_eq(count, count_between(from, to), "%zu to %zu: %lu", from, to, count);
    r->steps_max = prng_below(&chance, 30);
    cr_assert_eq(count_tree_count(r, &keys, &count, &known), STORE_OK);
    cr_assert(!known || count == count_between(from, to));
}

static void counts_check(int times)
{
    struct store_handles handles = store_handles(rig.store);
    struct count_tree_reader reader;
    MDB_txn *txn;
    cr_assert_eq(mdb_txn_begin(handles.env, NULL, MDB_RDONLY, &txn), 0);
    cr_assert_eq(mdb_cursor_open(txn, handles.count, &reader.rows), 0);
    cr_assert_eq(key_tree_cursor_open(txn, handles.key, revision, false, &reader.keys), STORE_OK);
    for (int i = 0; i < times; i++)
        count_check(&reader);
    mdb_cursor_close(reader.rows);
    key_tree_cursor_close(reader.keys);
    mdb_txn_abort(txn);
}

static void random_flushes(int flushes)
{
    for (int i = 0; i < flushes; i++) {
        uint64_t changes = prng_below(&chance, prng_below(&chance, 2) == 0 ? 30 : POOL);
        uint64_t lives = prng_below(&chance, 4); /* more are born, or more die */
        size_t first = prng_below(&chance, POOL);
        size_t span = prng_below(&chance, 2) == 0 ? 200 : POOL;
        for (uint64_t c = 0; c < changes; c++)
            change((first + prng_below(&chance, span)) % POOL, prng_below(&chance, 4) <= lives);
        flush(prng_below(&chance, 3) == 0 ? revision - (int64_t)prng_below(&chance, 500) : 0);
        counts_check(200);
        if (i % 7 == 0)
            store_rig_reopen(&rig);
    }
}

Test(count_tree, counts_what_lives_whatever_is_flushed)
{
    cr_assert_eq(store_rig_open(&rig), STORE_OK);
    char why[COUNTS_CHECK_WHY_BYTES];
    cr_assert(counts_are_right(rig.store, why), "%s", why);
    counts_check(20);
    random_flushes(40);
}

/* Each flush takes many transactions. */
Test(count_tree, counts_with_small_transactions)
{
    rig.options.dirty_bytes_max = 64 << 10;
    cr_assert_eq(store_rig_open(&rig), STORE_OK);
    random_flushes(20);
}

/* All keys in order, all gone again in the other, all at once. */
Test(count_tree, comes_and_goes)
{
    cr_assert_eq(store_rig_open(&rig), STORE_OK);
    for (size_t i = 0; i < POOL; i++) {
        change(i, true);
        if (i % 500 == 0)
            flush(0);
    }
    flush(0);
    counts_check(1000);
    for (size_t i = POOL; i > 0; i--) {
        change(i - 1, false);
        if (i % 500 == 0)
            flush(revision - 300);
    }
    flush(0);
    for (size_t i = 0; i < POOL; i++)
        change(i, true);
    flush(0);
    for (size_t i = 0; i < POOL; i++)
        change(i, false);
    for (size_t i = 0; i < POOL; i += 2)
        change(i, true);
    flush(revision);
    counts_check(1000);
}

/* ---- an older store ---- */

/* As the format before would have it: without the tree, or with what an upgrade that was
 * interrupted had made of it. */
static void make_old(bool has_tree)
{
    struct store_handles handles = store_handles(rig.store);
    MDB_txn *txn;
    MDB_dbi meta;
    MDB_val k = { .mv_size = 5, .mv_data = (void *)(uintptr_t) "store" };
    MDB_val v;
    uint8_t row[512];
    cr_assert_eq(mdb_txn_begin(handles.env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_dbi_open(txn, "meta", 0, &meta), 0);
    cr_assert_eq(mdb_get(txn, meta, &k, &v), 0);
    cr_assert_leq(v.mv_size, sizeof row);
    memcpy(row, v.mv_data, v.mv_size);
    v.mv_data = row;
    cr_assert_eq(row[17], 2);
    row[17] = 1;
    put_le64(row, checksum(slice_of(row + 8, v.mv_size - 8), 0));
    cr_assert_eq(mdb_put(txn, meta, &k, &v, 0), 0);
    if (!has_tree)
        cr_assert_eq(mdb_drop(txn, handles.count, 1), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
}

Test(count_tree, is_made_for_an_older_store)
{
    for (int round = 0; round < 4; round++) {
        rig.options.dirty_bytes_max = round < 2 ? 64 << 10 : 64 << 20;
        if (round == 0)
            cr_assert_eq(store_rig_open(&rig), STORE_OK);
        else
            store_rig_reopen(&rig);
        random_flushes(2);
        make_old(round % 2 == 0);
        store_rig_reopen(&rig);
        cr_assert_eq(store_format_found(rig.store), 1);
        char why[COUNTS_CHECK_WHY_BYTES];
        cr_assert(counts_are_right(rig.store, why), "%s", why);
        counts_check(100);
        store_rig_reopen(&rig);
        cr_assert_eq(store_format_found(rig.store), store_format_newest());
        random_flushes(2);
    }
}

/* ---- records that cannot be ---- */

Test(count_tree, a_change_that_cannot_be_is_corruption)
{
    cr_assert_eq(store_rig_open(&rig), STORE_OK);
    size_t boundary = 0;
    while (count_tree_level_of(pool_slice(boundary)) < 1)
        boundary++;
    for (int twice = 0; twice < 2; twice++) {
        struct store_flush f = store_rig_flush_of(&rig, memtable, NULL, 0);
        struct kv_record record =
            twice
                ? store_rig_record(pool_slice(boundary), slice_of_text("v"),
                                   (struct kv_revision){ ++revision, 0 })
                : store_rig_tombstone(pool_slice(boundary), (struct kv_revision){ ++revision, 0 });
        if (twice) {
            change(boundary, true);
            flush(0);
            record.mod.main = ++revision;
            f = store_rig_flush_of(&rig, memtable, NULL, 0);
        }
        f.memtable = memtable;
        record.sum = kv_record_sum(&record);
        cr_assert(memtable_insert(memtable, &record));
        f.state.revision = revision;
        cr_assert_eq(store_rig_flush(&rig, &f), STORE_E_CORRUPT);
        store_rig_reopen(&rig);
        revision = store_published(rig.store)->revision;
        memtable_unref(memtable);
        memtable = memtable_new();
    }
}
