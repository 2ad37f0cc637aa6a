#include "storage/rev_tree.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/prng.h"
#include "tests/support/old_rows.h"
#include "tests/support/record_expect.h"
#include "tests/support/store_rig.h"

/* An environment with a rev tree alone, and one write transaction that is never committed. */
static struct store_rig rig;
static MDB_env *env;
static MDB_txn *txn;
static MDB_dbi dbi;
static struct arena arena;

static void setup(void)
{
    store_rig_init(&rig);
    cr_assert_eq(mdb_env_create(&env), 0);
    cr_assert_eq(mdb_env_set_mapsize(env, 1 << 28), 0);
    cr_assert_eq(mdb_env_set_maxdbs(env, 1), 0);
    cr_assert_eq(mdb_env_open(env, rig.path, MDB_NOSUBDIR, 0600), 0);
    cr_assert_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    cr_assert_eq(rev_tree_open(txn, &dbi), STORE_OK);
    arena_init(&arena, 1 << 28);
}

static void teardown(void)
{
    arena_done(&arena);
    mdb_txn_abort(txn);
    mdb_env_close(env);
    store_rig_done(&rig);
}

TestSuite(rev_tree, .init = setup, .fini = teardown);

static enum store_err record_get(struct kv_revision mod, struct arena *to, struct kv_record *ret)
{
    MDB_cursor *cursor;
    cr_assert_eq(mdb_cursor_open(txn, dbi, &cursor), 0);
    enum store_err err = rev_tree_get(cursor, mod, to, ret);
    mdb_cursor_close(cursor);
    return err;
}

static uint8_t filler[1 << 16];

static struct slice fill(size_t size, uint8_t seed)
{
    struct prng p = prng_seeded(seed);
    for (size_t i = 0; i < size; i++)
        filler[i] = (uint8_t)prng_next(&p);
    return slice_of(filler, size);
}

static void record_expect(const struct kv_record *got, const struct kv_record *want)
{
    cr_assert(slice_equal(got->key, want->key));
    cr_assert(slice_equal(got->value, want->value));
    record_expect_numbers(got, want);
}

static size_t row_count(void)
{
    MDB_stat stat;
    cr_assert_eq(mdb_stat(txn, dbi, &stat), 0);
    return stat.ms_entries;
}

static struct slice row_raw(const uint8_t key[16])
{
    MDB_val k = { 16, (void *)(uintptr_t)key };
    MDB_val v;
    cr_assert_eq(mdb_get(txn, dbi, &k, &v), 0);
    return slice_of(v.mv_data, v.mv_size);
}

static void row_replace(const uint8_t key[16], struct slice row)
{
    MDB_val k = { 16, (void *)(uintptr_t)key };
    MDB_val v = { row.size, (void *)(uintptr_t)row.data };
    cr_assert_eq(mdb_put(txn, dbi, &k, &v, 0), 0);
}

Test(rev_tree, writes_these_bytes)
{
    struct kv_record record = {
        .key = slice_of_text("key"),
        .value = slice_of_text("value"),
        .mod = { .main = 0x0102030405060708, .sub = 0x0a0b0c0d },
        .create_revision = 0x0102030405060708 - 0x111,
        .version = 0x12,
        .lease = 0x1314,
        .value_bytes = 5,
        .sum = 0x2122232425262728,
    };
    cr_assert_eq(rev_tree_put(txn, dbi, &record), STORE_OK);
    static const uint8_t key[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 0xa, 0xb, 0xc, 0xd, 0, 0, 0, 0 };
    static const uint8_t golden[] = { 2,    2, /* format, flags */
                                      3,       /* key bytes */
                                      5,       /* value bytes */
                                      0x91, 2, /* mod - create revision */
                                      0x12,    /* version */
                                      0x14, 0x13, 0,    0,    0,    0,    0,    0,    /* lease */
                                      0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, /* sum */
                                      'k',  'e',  'y',  'v',  'a',  'l',  'u',  'e' };
    cr_assert(slice_equal(row_raw(key), slice_of(golden, sizeof golden)));
    record.tombstone = true;
    record.lease = 0;
    record.create_revision = 0x11;
    cr_assert_eq(rev_tree_put(txn, dbi, &record), STORE_OK);
    static const uint8_t without[] = { 2,    1, /* format, flags */
                                       3,    5, /* sizes */
                                       0xf7, 0x8d, 0x98, 0xa8, 0xc0, 0xe0, 0x80, 0x81,
                                       0x01, /* mod - create revision */
                                       0x12, /* version */
                                       0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, /* sum */
                                       'k',  'e',  'y',  'v',  'a',  'l',  'u',  'e' };
    cr_assert(slice_equal(row_raw(key), slice_of(without, sizeof without)));
}

/* Made by another program, from the layout of that format, with the sum. */
Test(rev_tree, format_1_is_read)
{
    static const uint8_t key[16] = { 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, 0 };
    static const uint8_t golden[] = {
        1,    0,    0,    0,                            /* format, flags, zero */
        3,    0,    0,    0,                            /* key bytes */
        5,    0,    0,    0,                            /* value bytes */
        5,    0,    0,    0,    0,    0,    0,    0,    /* create revision */
        3,    0,    0,    0,    0,    0,    0,    0,    /* version */
        0x14, 0x13, 0,    0,    0,    0,    0,    0,    /* lease */
        0xf0, 0x27, 0x2e, 0x12, 0xef, 0xe6, 0xc0, 0x00, /* sum */
        'k',  'e',  'y',  'v',  'a',  'l',  'u',  'e'
    };
    row_replace(key, slice_of(golden, sizeof golden));
    struct kv_record want = { .key = slice_of_text("key"),
                              .value = slice_of_text("value"),
                              .mod = { .main = 7, .sub = 2 },
                              .create_revision = 5,
                              .version = 3,
                              .lease = 0x1314,
                              .value_bytes = 5 };
    want.sum = kv_record_sum(&want);
    struct kv_record got;
    cr_assert_eq(record_get(want.mod, &arena, &got), STORE_OK);
    record_expect(&got, &want);
}

/* Around the ends of a row, where header, key and value are cut. */
Test(rev_tree, gives_back_what_was_put)
{
    static const struct {
        size_t key_bytes, value_bytes, rows;
    } rows[] = {
        { 1, 0, 1 },       { 20, 256, 1 },      { 36, 4029, 1 },    { 36, 4030, 2 },
        { 4065, 0, 1 },    { 4066, 0, 2 },      { 5000, 1, 2 },     { 4064, 4080, 2 },
        { 4064, 4081, 3 }, { 9000, 30000, 10 }, { 100, 60000, 15 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct kv_revision mod = { .main = (int64_t)i + 1, .sub = (uint32_t)i };
        struct slice bytes = fill(rows[i].key_bytes + rows[i].value_bytes, (uint8_t)i);
        struct kv_record want =
            store_rig_record(slice_of(bytes.data, rows[i].key_bytes),
                             slice_of(bytes.data + rows[i].key_bytes, rows[i].value_bytes), mod);
        size_t before = row_count();
        for (int again = 0; again < 2; again++) {
            cr_assert_eq(rev_tree_put(txn, dbi, &want), STORE_OK);
            cr_assert_eq(row_count() - before, rows[i].rows, "%zu", i);
            struct kv_record got;
            cr_assert_eq(record_get(mod, &arena, &got), STORE_OK);
            record_expect(&got, &want);
        }
    }
}

Test(rev_tree, needs_no_memory_for_one_row)
{
    struct kv_record want =
        store_rig_record(slice_of_text("k"), slice_of_text("v"), (struct kv_revision){ 5, 0 });
    cr_assert_eq(rev_tree_put(txn, dbi, &want), STORE_OK);
    struct arena none;
    arena_init(&none, 0);
    struct kv_record got;
    cr_assert_eq(record_get(want.mod, &none, &got), STORE_OK);
    record_expect(&got, &want);
    want = store_rig_record(slice_of_text("k"), fill(9000, 1), (struct kv_revision){ 6, 0 });
    cr_assert_eq(rev_tree_put(txn, dbi, &want), STORE_OK);
    cr_assert_eq(record_get(want.mod, &none, &got), STORE_E_NOMEM);
    arena_done(&none);
}

/* What a store of an older version was written in, for keys that are none of ours too. */
Test(rev_tree, order_is_lmdbs_own)
{
    MDB_cursor *cursor;
    struct prng chance = prng_seeded(3);
    for (int i = 0; i < 2000; i++) {
        uint8_t key[17];
        for (size_t j = 0; j < sizeof key; j++)
            key[j] = (uint8_t)(prng_below(&chance, 3) * 0x7f);
        MDB_val k = { prng_below(&chance, 4) == 0 ? 1 + prng_below(&chance, 17) : 16, key };
        MDB_val v = { 0, key };
        cr_assert_eq(mdb_put(txn, dbi, &k, &v, 0), 0);
    }
    cr_assert_eq(mdb_cursor_open(txn, dbi, &cursor), 0);
    struct slice before = slice_of(NULL, 0);
    size_t count = 0;
    MDB_val k;
    MDB_val v;
    for (; mdb_cursor_get(cursor, &k, &v, MDB_NEXT) == 0; count++) {
        struct slice key = slice_of(k.mv_data, k.mv_size);
        cr_assert_lt(slice_compare(before, key), 0);
        before = key;
    }
    mdb_cursor_close(cursor);
    cr_assert_gt(count, 1000);
}

Test(rev_tree, walks_in_order_of_revisions)
{
    static const struct kv_revision mods[] = { { 2, 0 }, { 2, 1 }, { 2, 7 }, { 5, 0 }, { 300, 0 } };
    enum { COUNT = sizeof mods / sizeof mods[0] };
    for (size_t i = 0; i < COUNT; i++) {
        struct kv_record record = store_rig_record(slice_of_text("key"), fill(5000, 1), mods[i]);
        cr_assert_eq(rev_tree_put(txn, dbi, &record), STORE_OK);
    }
    struct kv_revision at = { 0, 0 };
    struct kv_record got;
    bool found;
    for (size_t i = 0; i < COUNT; i++) {
        cr_assert_eq(rev_tree_next(txn, dbi, at, &arena, &got, &found), STORE_OK);
        cr_assert(found);
        cr_assert_eq(got.mod.main, mods[i].main);
        cr_assert_eq(got.mod.sub, mods[i].sub);
        at = (struct kv_revision){ got.mod.main, got.mod.sub + 1 };
    }
    cr_assert_eq(rev_tree_next(txn, dbi, at, &arena, &got, &found), STORE_OK);
    cr_assert_not(found);
}

Test(rev_tree, removes_all_chunks_and_no_others)
{
    for (int64_t main = 1; main <= 3; main++) {
        struct kv_record record =
            store_rig_record(slice_of_text("key"), fill(20000, 3), (struct kv_revision){ main, 0 });
        cr_assert_eq(rev_tree_put(txn, dbi, &record), STORE_OK);
    }
    size_t before = row_count();
    for (int again = 0; again < 2; again++) { /* an absent one is fine */
        cr_assert_eq(rev_tree_remove(txn, dbi, (struct kv_revision){ 2, 0 }), STORE_OK);
        cr_assert_eq(row_count(), before / 3 * 2);
    }
    struct kv_record got;
    cr_assert_eq(record_get((struct kv_revision){ 2, 0 }, &arena, &got), STORE_E_CORRUPT,
                 "the key tree said that it is there");
    cr_assert_eq(record_get((struct kv_revision){ 1, 0 }, &arena, &got), STORE_OK);
    cr_assert_eq(record_get((struct kv_revision){ 3, 0 }, &arena, &got), STORE_OK);
}

/* A flush of a version before was interrupted: its rows, of other sizes and at the ends of chunks
 * one more, are written over, between others. */
Test(rev_tree, writes_over_the_format_before)
{
    static const size_t value_bytes[] = { 0,    9,    100,  1900, 1980, 2000, 2040, 4020, 4030,
                                          4040, 4060, 8000, 8105, 8120, 8130, 8140, 20000 };
    enum { COUNT = sizeof value_bytes / sizeof value_bytes[0] };
    struct kv_record want[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        struct kv_revision mod = { .main = (int64_t)i + 1 };
        want[i] = store_rig_record(slice_of_text("key"), fill(value_bytes[i], 1), mod);
        cr_assert_eq(rev_tree_put(txn, dbi, &want[i]), STORE_OK);
    }
    size_t rows = row_count();
    for (size_t i = 0; i < COUNT; i++)
        old_rows_put_rev(txn, dbi, &want[i]);
    cr_assert_gt(row_count(), rows, "some had a row more");
    struct kv_record got;
    for (int written = 0; written < 2; written++) {
        for (size_t i = 0; i < COUNT; i++) {
            arena_reset(&arena);
            cr_assert_eq(record_get(want[i].mod, &arena, &got), STORE_OK);
            record_expect(&got, &want[i]);
        }
        for (size_t i = 0; i < COUNT; i++)
            cr_assert_eq(rev_tree_put(txn, dbi, &want[i]), STORE_OK);
    }
    cr_assert_eq(row_count(), rows);
}

/* Each bit of each row, and each shorter row. */
static void damage_expect(const struct kv_record *record, size_t rows)
{
    uint8_t damaged[REV_TREE_CHUNK_BYTES];
    for (size_t chunk = 0; chunk < rows; chunk++) {
        uint8_t key[16] = { 0 };
        key[7] = (uint8_t)record->mod.main;
        key[15] = (uint8_t)chunk;
        struct slice row = row_raw(key);
        size_t size = row.size;
        memcpy(damaged, row.data, size);
        struct kv_record got;
        for (size_t bit = 0; bit < size * 8; bit += bit < 60 * 8 ? 1 : 61) {
            damaged[bit / 8] ^= (uint8_t)(1u << bit % 8);
            row_replace(key, slice_of(damaged, size));
            arena_reset(&arena);
            cr_assert_eq(record_get(record->mod, &arena, &got), STORE_E_CORRUPT, "row %zu bit %zu",
                         chunk, bit);
            damaged[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        for (size_t cut = 0; cut < size; cut += cut < 60 ? 1 : 17) {
            row_replace(key, slice_of(damaged, cut));
            arena_reset(&arena);
            cr_assert_eq(record_get(record->mod, &arena, &got), STORE_E_CORRUPT,
                         "row %zu cut to %zu", chunk, cut);
        }
        row_replace(key, slice_of(damaged, size));
    }
    struct kv_record whole;
    cr_assert_eq(record_get(record->mod, &arena, &whole), STORE_OK);
}

Test(rev_tree, sees_damage)
{
    struct kv_record small = store_rig_record(slice_of_text("key"), slice_of_text("some value"),
                                              (struct kv_revision){ 1, 0 });
    struct kv_record large =
        store_rig_record(slice_of_text("key"), fill(9000, 1), (struct kv_revision){ 2, 0 });
    struct kv_record tombstone =
        store_rig_tombstone(slice_of_text("key"), (struct kv_revision){ 3, 0 });
    struct kv_record leased =
        store_rig_record(slice_of_text("key"), slice_of_text("v"), (struct kv_revision){ 4, 0 });
    leased.lease = 0x1122334455667788;
    leased.sum = kv_record_sum(&leased);
    const struct kv_record *records[] = { &small, &large, &tombstone, &leased };
    for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) {
        size_t rows = records[i] == &large ? 3 : 1;
        cr_assert_eq(rev_tree_put(txn, dbi, records[i]), STORE_OK);
        damage_expect(records[i], rows);
        old_rows_put_rev(txn, dbi, records[i]);
        damage_expect(records[i], rows);
    }
}

/* What follows chunk 0 stays, and that has the size which goes with the length. */
Test(rev_tree, asks_no_memory_for_a_length_without_rows)
{
    struct kv_record record =
        store_rig_record(slice_of_text("key"), fill(5000, 1), (struct kv_revision){ 1, 0 });
    cr_assert_eq(rev_tree_put(txn, dbi, &record), STORE_OK);
    static const uint8_t key[16] = { 0, 0, 0, 0, 0, 0, 0, 1 };
    uint8_t row[REV_TREE_CHUNK_BYTES];
    memcpy(row, row_raw(key).data, sizeof row);
    record.value_bytes = 117 << 20;
    cr_assert_lt(record_row_encode(&record, 3, row), sizeof row);
    row_replace(key, slice_of(row, sizeof row));
    struct kv_record got;
    cr_assert_eq(record_get(record.mod, &arena, &got), STORE_E_CORRUPT);
    cr_assert_eq(arena.total_bytes, 0);
}
