#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/prng.h"
#include "storage/key_tree_internal.h"
#include "tests/support/old_rows.h"
#include "tests/support/record_expect.h"
#include "tests/support/tree_env.h"

enum { KEYS = 70, SEGMENT = KEY_TREE_SEGMENT_BYTES, RECORDS_MAX = 4000 };

/* ---- the model: what the tree should hold, by key, then newest first ---- */

static uint8_t *key_bytes[KEYS];
static size_t key_sizes[KEYS];
static struct kv_record model[RECORDS_MAX];
static size_t model_count;

static struct slice key_of(size_t i)
{
    return slice_of(key_bytes[i], key_sizes[i]);
}

/* Segments that agree but for their ends, and tails of telling lengths behind up to three. */
static void keys_make(struct prng *p)
{
    static const size_t tails[] = { 0, 1, 2, 3, 9, SEGMENT - 1, SEGMENT };
    for (size_t i = 0; i < KEYS; i++) {
        size_t segments = prng_below(p, 4);
        size_t tail = tails[prng_below(p, sizeof tails / sizeof tails[0])];
        size_t size = segments * SEGMENT + tail;
        uint8_t *key = calloc(size + 1, 1);
        memset(key, 'a', size);
        for (size_t s = 0; s < segments; s++) {
            static const uint8_t ends[] = { 'a', 'a', 0x00, 0xff };
            key[(s + 1) * SEGMENT - 1] = ends[prng_below(p, 4)];
        }
        for (size_t t = segments * SEGMENT; t < size; t++)
            key[t] = t % 100 == 0 ? (uint8_t)prng_below(p, 2) : 'a';
        key_bytes[i] = key;
        key_sizes[i] = size;
    }
}

static void keys_free(void)
{
    for (size_t i = 0; i < KEYS; i++)
        free(key_bytes[i]);
    model_count = 0;
}

/* The first record at or after (key, revision). */
static size_t model_seek(struct slice key, int64_t revision)
{
    size_t i = 0;
    for (; i < model_count; i++) {
        int order = slice_compare(model[i].key, key);
        if (order > 0 || (order == 0 && model[i].mod.main <= revision))
            break;
    }
    return i;
}

static void model_put(const struct kv_record *record)
{
    cr_assert_lt(model_count, RECORDS_MAX);
    size_t at = model_seek(record->key, record->mod.main);
    memmove(&model[at + 1], &model[at], (model_count - at) * sizeof model[0]);
    model[at] = *record;
    model_count++;
}

static void model_remove(size_t at)
{
    model_count--;
    memmove(&model[at], &model[at + 1], (model_count - at) * sizeof model[0]);
}

/* Of the model from `at` on, the next that a walk gives. */
static size_t model_settle(size_t at, int64_t revision, bool every_version,
                           const struct kv_record *last)
{
    while (at < model_count && (model[at].mod.main > revision ||
                                (!every_version && last && slice_equal(model[at].key, last->key))))
        at++;
    return at;
}

static void assert_same(const struct kv_record *got, const struct kv_record *want)
{
    cr_assert(slice_equal(got->key, want->key));
    record_expect_numbers(got, want);
    cr_assert_eq(got->value.size, 0, "the value is not in this tree");
}

static struct kv_record record_draw(struct prng *p, struct slice key, int64_t main)
{
    struct kv_record r = { .key = key,
                           .mod = { .main = main, .sub = (uint32_t)prng_below(p, 9) },
                           .tombstone = prng_below(p, 4) == 0,
                           .sum = prng_next(p) };
    if (!r.tombstone) {
        r.create_revision = (int64_t)prng_below(p, 1000);
        r.version = (int64_t)prng_below(p, 1000);
        r.lease = (int64_t)prng_next(p);
        r.value_bytes = (uint32_t)prng_next(p);
    }
    return r;
}

/* ---- checks against it ---- */

static void check_get(struct tree_env *t, struct slice key, int64_t revision)
{
    size_t at = model_seek(key, revision);
    bool want = at < model_count && slice_equal(model[at].key, key);
    struct kv_record got;
    bool found;
    cr_assert_eq(key_tree_get(t->txn, t->dbi, key, revision, &got, &found), STORE_OK);
    cr_assert_eq(found, want);
    if (found)
        assert_same(&got, &model[at]);
}

static void check_walk(struct tree_env *t, struct slice start, int64_t revision, bool every_version,
                       size_t steps_max)
{
    struct key_tree_cursor *c;
    cr_assert_eq(key_tree_cursor_open(t->txn, t->dbi, revision, every_version, &c), STORE_OK);
    struct kv_record got;
    bool found;
    cr_assert_eq(key_tree_cursor_seek(c, start, &got, &found), STORE_OK);
    size_t at = model_settle(model_seek(start, INT64_MAX), revision, every_version, NULL);
    for (size_t step = 0; step < steps_max; step++) {
        cr_assert_eq(found, at < model_count, "step %zu", step);
        if (!found)
            break;
        assert_same(&got, &model[at]);
        at = model_settle(at + 1, revision, every_version, &model[at]);
        cr_assert_eq(key_tree_cursor_next(c, &got, &found), STORE_OK);
    }
    key_tree_cursor_close(c);
}

/* Tells of each record before it goes: those of the model, newest first. */
static enum store_err on_removed(void *owner, const struct kv_record *record)
{
    size_t *at = owner;
    cr_assert_lt(*at, model_count);
    assert_same(record, &model[*at]);
    model_remove(*at);
    return STORE_OK;
}

static void prune(struct tree_env *t, struct slice key, int64_t below, bool at)
{
    size_t first = model_seek(key, at ? below : below - 1);
    size_t next = first;
    cr_assert_eq(key_tree_prune(t->txn, t->dbi, key, below, at, on_removed, &next), STORE_OK);
    cr_assert(first == model_count || !slice_equal(model[first].key, key), "some are left");
}

/* Changes of one key, newest first; some are the puts after each other that they mostly are. */
static size_t run_draw(struct prng *p, struct slice key, int64_t *main, struct kv_record *ret)
{
    size_t count = 1 + prng_below(p, prng_below(p, 4) == 0 ? KEY_TREE_RUN_MAX : 4);
    for (size_t i = count; i-- > 0;) {
        *main += 1 + (int64_t)prng_below(p, prng_below(p, 8) == 0 ? 1000 : 3);
        ret[i] = record_draw(p, key, *main);
        bool follows = i + 1 < count && !ret[i + 1].tombstone && prng_below(p, 4) > 0;
        if (!follows)
            continue;
        ret[i].tombstone = false;
        ret[i].create_revision = ret[i + 1].create_revision;
        ret[i].version = ret[i + 1].version + 1;
        ret[i].lease = prng_below(p, 6) > 0 ? ret[i + 1].lease : 0;
    }
    return count;
}

/* What an interrupted flush may have left of a run: rows of part of it, in any runs. */
static void leftovers_put(struct prng *p, struct tree_env *t, const struct kv_record *records,
                          size_t count)
{
    for (size_t at = prng_below(p, count); at < count;) {
        size_t left = 1 + prng_below(p, count - at);
        cr_assert_eq(tree_env_try_put(t, records + at, left), STORE_OK);
        at += left + prng_below(p, 2);
    }
}

static void run_put(struct prng *p, struct tree_env *t, struct slice key, int64_t *main)
{
    struct kv_record records[KEY_TREE_RUN_MAX];
    size_t count = run_draw(p, key, main, records);
    if (prng_below(p, 5) == 0)
        leftovers_put(p, t, records, count);
    cr_assert_eq(tree_env_try_put(t, records, count), STORE_OK);
    for (size_t i = count; i-- > 0;)
        model_put(&records[i]);
}

static void run_seed(uint64_t seed)
{
    struct prng p = prng_seeded(seed);
    struct tree_env t;
    tree_env_init(&t);
    keys_make(&p);
    int64_t main = 1;
    for (int step = 0; step < 1500; step++) {
        struct slice key = key_of(prng_below(&p, prng_below(&p, 2) == 0 ? 5 : KEYS));
        int64_t revision = (int64_t)prng_below(&p, (uint64_t)main + 2);
        if (prng_below(&p, 3) > 0 && model_count + KEY_TREE_RUN_MAX <= RECORDS_MAX) {
            run_put(&p, &t, key, &main);
        } else if (prng_below(&p, 3) == 0) {
            prune(&t, key, revision, prng_below(&p, 2) == 0);
        }
        check_get(&t, key_of(prng_below(&p, KEYS)), revision);
        check_walk(&t, key_of(prng_below(&p, KEYS)), revision, prng_below(&p, 2) == 0, 12);
        if (step % 100 == 0) {
            tree_env_commit(&t);
            check_walk(&t, slice_of(NULL, 0), revision, step % 200 == 0, RECORDS_MAX);
            check_walk(&t, slice_of(NULL, 0), main, false, RECORDS_MAX);
        }
    }
    for (size_t i = 0; i < KEYS; i++)
        prune(&t, key_of(i), main, true);
    cr_assert_eq(model_count, 0);
    cr_assert_eq(tree_env_rows(&t), 0, "layers go with their last record");
    keys_free();
    tree_env_done(&t);
}

Test(key_tree, agrees_with_a_sorted_array_over_random_steps)
{
    for (uint64_t seed = 1; seed <= 6; seed++)
        run_seed(seed);
}

/* ---- cases ---- */

static struct kv_record plain(struct slice key, int64_t main)
{
    return (struct kv_record){ .key = key, .mod = { .main = main }, .version = 1, .sum = 1 };
}

static void put_plain(struct tree_env *t, struct slice key, int64_t main)
{
    struct kv_record record = plain(key, main);
    tree_env_put(t, &record);
    model_put(&record);
}

Test(key_tree, the_same_record_again_changes_nothing)
{
    struct tree_env t;
    tree_env_init(&t);
    uint8_t key[3 * SEGMENT] = { 0 };
    put_plain(&t, slice_of(key, sizeof key), 5);
    size_t rows = tree_env_rows(&t);
    uint64_t next_layer_id = t.next_layer_id;
    struct kv_record again = plain(slice_of(key, sizeof key), 5);
    tree_env_put(&t, &again);
    cr_assert_eq(rows, 3, "two layers and a record");
    cr_assert_eq(tree_env_rows(&t), rows);
    cr_assert_eq(t.next_layer_id, next_layer_id);
    check_walk(&t, slice_of(NULL, 0), 9, true, 2);
    tree_env_done(&t);
}

/* Every prefix of one key whose length is at or beside a boundary of segments. */
Test(key_tree, keys_that_are_prefixes_of_each_other_stay_in_order)
{
    struct tree_env t;
    tree_env_init(&t);
    static uint8_t key[4 * SEGMENT + 2];
    int64_t main = 1;
    for (size_t s = 0; s <= 4; s++) {
        for (size_t d = 0; d < 3; d++) {
            size_t size = s * SEGMENT + d;
            if (s > 0 || d > 0)
                put_plain(&t, slice_of(key, size - 1), ++main);
        }
    }
    check_walk(&t, slice_of(NULL, 0), main, false, RECORDS_MAX);
    for (size_t size = 0; size <= sizeof key; size++) {
        check_get(&t, slice_of(key, size), main);
        check_walk(&t, slice_of(key, size), main, false, 2);
    }
    tree_env_done(&t);
}

/* 1.5 MiB is the default limit of a request: 3,511 layers. Two that differ in the last byte, one
 * that leaves them halfway, and one that follows. */
Test(key_tree, takes_keys_of_a_megabyte_and_a_half)
{
    enum { KEY_BYTES = 3 << 19 };
    struct tree_env t;
    tree_env_init(&t);
    uint8_t *key[3];
    for (int i = 0; i < 3; i++) {
        key[i] = malloc(KEY_BYTES);
        memset(key[i], 'k', KEY_BYTES);
    }
    key[1][KEY_BYTES - 1] = 'l';
    key[2][KEY_BYTES / 2] = 'l';
    for (int i = 0; i < 3; i++) {
        put_plain(&t, slice_of(key[0], KEY_BYTES / 4 * 3), 90 + i);
        put_plain(&t, slice_of(key[i], KEY_BYTES), 2 + i);
        put_plain(&t, slice_of(key[i], KEY_BYTES), 12 + i);
    }
    put_plain(&t, slice_of_text("kl"), 20);
    tree_env_commit(&t);
    check_walk(&t, slice_of(NULL, 0), 99, true, RECORDS_MAX);
    check_walk(&t, slice_of(NULL, 0), 5, false, RECORDS_MAX);
    check_walk(&t, slice_of(key[0], KEY_BYTES - 1), 99, false, RECORDS_MAX);
    for (int i = 0; i < 3; i++)
        check_get(&t, slice_of(key[i], KEY_BYTES), 11);
    for (int i = 0; i < 3; i++) {
        prune(&t, slice_of(key[i], KEY_BYTES), 99, true);
        prune(&t, slice_of(key[i], KEY_BYTES / 4 * 3), 99, true);
    }
    cr_assert_eq(tree_env_rows(&t), 1, "the short key alone is left");
    for (int i = 0; i < 3; i++)
        free(key[i]);
    tree_env_done(&t);
}

Test(key_tree, a_cursor_walks_again_after_a_renewal)
{
    struct tree_env t;
    tree_env_init(&t);
    put_plain(&t, slice_of_text("a"), 2);
    tree_env_commit(&t);
    MDB_txn *txn;
    cr_assert_eq(mdb_txn_begin(t.env, NULL, MDB_RDONLY, &txn), 0);
    struct key_tree_cursor *c;
    struct kv_record got;
    bool found;
    cr_assert_eq(key_tree_cursor_open(txn, t.dbi, 9, false, &c), STORE_OK);
    cr_assert_eq(key_tree_cursor_seek(c, slice_of_text("b"), &got, &found), STORE_OK);
    cr_assert_not(found);
    put_plain(&t, slice_of_text("b"), 3);
    tree_env_commit(&t);
    mdb_txn_reset(txn);
    cr_assert_eq(mdb_txn_renew(txn), 0);
    cr_assert_eq(key_tree_cursor_renew(c, txn, 9, true), STORE_OK);
    cr_assert_eq(key_tree_cursor_seek(c, slice_of_text("b"), &got, &found), STORE_OK);
    cr_assert(found && got.mod.main == 3);
    mdb_txn_abort(txn);
    key_tree_cursor_close(c);
    key_tree_cursor_close(NULL);
    tree_env_done(&t);
}

/* ---- the format before ---- */

/* Rows of keys without layers; returns their bytes. */
static size_t rows_bytes(struct tree_env *t, const struct kv_record *records, size_t count,
                         bool make_old)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        const struct kv_record *r = &records[i];
        struct key_tree_row_key key;
        key_tree_row_key_encode(&(struct key_tree_place){ 0, r->key, KEY_TREE_RECORD, r->mod.main },
                                &key);
        if (make_old)
            old_rows_put_key(t->txn, t->dbi, slice_of(key.bytes, key.size), r);
        MDB_val k = key_tree_row_key_val(&key);
        MDB_val v;
        cr_assert_eq(mdb_get(t->txn, t->dbi, &k, &v), 0);
        bytes += v.mv_size;
    }
    return bytes;
}

/* They are read, among others; and the same record put again, as after an interrupted flush, is in
 * this format. */
Test(key_tree, reads_the_format_before_and_writes_over_it)
{
    enum { COUNT = 1000 };
    static struct kv_record records[COUNT];
    static char keys[COUNT][8];
    struct prng p = prng_seeded(6);
    struct tree_env t;
    tree_env_init(&t);
    for (int i = 0; i < COUNT; i++) {
        int size = snprintf(keys[i], sizeof keys[i], "%d", i);
        records[i] = record_draw(&p, slice_of(keys[i], (size_t)size), 1 + i);
        tree_env_put(&t, &records[i]);
    }
    size_t bytes = rows_bytes(&t, records, COUNT, false);
    cr_assert_eq(rows_bytes(&t, records, COUNT, true), COUNT * 48);
    for (int begin = COUNT; begin >= 0; begin -= COUNT / 2) {
        for (int i = begin; i < COUNT; i++) /* none, half of them, all */
            tree_env_put(&t, &records[i]);
        for (int i = 0; i < COUNT; i++) {
            struct kv_record got;
            bool found;
            cr_assert_eq(key_tree_get(t.txn, t.dbi, records[i].key, COUNT, &got, &found), STORE_OK);
            cr_assert(found);
            assert_same(&got, &records[i]);
        }
        cr_assert_eq(tree_env_rows(&t), COUNT);
    }
    cr_assert_eq(rows_bytes(&t, records, COUNT, false), bytes);
    tree_env_done(&t);
}

/* ---- damage ---- */

/* Changes one byte of the row of a place, checksum untouched. */
static void damage(struct tree_env *t, struct key_tree_place place, size_t offset)
{
    struct key_tree_row_key key;
    key_tree_row_key_encode(&place, &key);
    MDB_val k = key_tree_row_key_val(&key);
    MDB_val v;
    uint8_t row[KEY_TREE_RECORD_ROW_BYTES_MAX];
    cr_assert_eq(mdb_get(t->txn, t->dbi, &k, &v), 0);
    cr_assert_lt(offset, v.mv_size);
    memcpy(row, v.mv_data, v.mv_size);
    row[offset] ^= 1;
    v.mv_data = row;
    cr_assert_eq(mdb_put(t->txn, t->dbi, &k, &v, 0), 0);
}

static enum store_err walk(struct tree_env *t, size_t *ret_count)
{
    struct key_tree_cursor *c;
    struct kv_record got;
    bool found;
    cr_assert_eq(key_tree_cursor_open(t->txn, t->dbi, 99, false, &c), STORE_OK);
    enum store_err err = key_tree_cursor_seek(c, slice_of(NULL, 0), &got, &found);
    *ret_count = 0;
    for (; err == STORE_OK && found; (*ret_count)++)
        err = key_tree_cursor_next(c, &got, &found);
    key_tree_cursor_close(c);
    return err;
}

static enum store_err removed_anything(void *owner, const struct kv_record *record)
{
    cr_assert_not_null(record);
    *(bool *)owner = true;
    return STORE_OK;
}

Test(key_tree, a_damaged_record_is_reported_by_every_way_to_it)
{
    struct tree_env t;
    tree_env_init(&t);
    put_plain(&t, slice_of_text("a"), 2);
    put_plain(&t, slice_of_text("b"), 3);
    damage(&t, (struct key_tree_place){ 0, slice_of_text("b"), KEY_TREE_RECORD, 3 }, 10);
    struct kv_record got;
    bool found;
    struct slice b = slice_of_text("b");
    cr_assert_eq(key_tree_get(t.txn, t.dbi, b, 9, &got, &found), STORE_E_CORRUPT);
    cr_assert_eq(key_tree_get(t.txn, t.dbi, slice_of_text("a"), 9, &got, &found), STORE_OK);
    size_t count;
    cr_assert_eq(walk(&t, &count), STORE_E_CORRUPT);
    cr_assert_eq(count, 1);
    bool removed = false;
    cr_assert_eq(key_tree_prune(t.txn, t.dbi, b, 9, false, removed_anything, &removed),
                 STORE_E_CORRUPT);
    cr_assert_not(removed);
    tree_env_done(&t);
}

Test(key_tree, a_damaged_layer_is_reported_by_every_way_to_it)
{
    struct tree_env t;
    tree_env_init(&t);
    static uint8_t key[SEGMENT + 1];
    struct slice long_key = slice_of(key, sizeof key);
    put_plain(&t, long_key, 2);
    struct slice segment = slice_of(key, SEGMENT);
    damage(&t, (struct key_tree_place){ 0, segment, KEY_TREE_LAYER, 0 }, 4);
    struct kv_record got = plain(long_key, 3);
    bool found;
    cr_assert_eq(tree_env_try_put(&t, &got, 1), STORE_E_CORRUPT);
    cr_assert_eq(key_tree_get(t.txn, t.dbi, long_key, 9, &got, &found), STORE_E_CORRUPT);
    size_t count;
    cr_assert_eq(walk(&t, &count), STORE_E_CORRUPT);
    bool removed = false;
    cr_assert_eq(key_tree_prune(t.txn, t.dbi, long_key, 9, false, removed_anything, &removed),
                 STORE_E_CORRUPT);
    tree_env_done(&t);
}

/* Puts a whole row that names `child` as the layer of a segment in `parent`. */
static void layer_put(struct tree_env *t, uint64_t parent, struct slice segment, uint64_t child)
{
    struct key_tree_row_key key;
    key_tree_row_key_encode(&(struct key_tree_place){ parent, segment, KEY_TREE_LAYER, 0 }, &key);
    uint8_t row[KEY_TREE_LAYER_ROW_BYTES];
    key_tree_layer_encode(slice_of(key.bytes, key.size), child, row);
    MDB_val k = key_tree_row_key_val(&key);
    MDB_val v = { .mv_size = sizeof row, .mv_data = row };
    cr_assert_eq(mdb_put(t->txn, t->dbi, &k, &v, 0), 0);
}

Test(key_tree, layers_in_a_circle_and_empty_ones_are_damage)
{
    static uint8_t key[3 * SEGMENT];
    struct slice segment = slice_of(key, SEGMENT);
    struct tree_env t;
    tree_env_init(&t);
    layer_put(&t, 0, segment, 4);
    size_t count;
    cr_assert_eq(walk(&t, &count), STORE_E_CORRUPT, "layer 4 is empty");
    layer_put(&t, 4, segment, 4);
    cr_assert_eq(walk(&t, &count), STORE_E_CORRUPT, "layer 4 is in itself");
    struct kv_record got;
    bool found;
    cr_assert_eq(key_tree_get(t.txn, t.dbi, slice_of(key, sizeof key), 9, &got, &found),
                 STORE_E_CORRUPT);
    tree_env_done(&t);
}

Test(key_tree, a_row_with_a_foreign_key_is_damage)
{
    struct tree_env t;
    tree_env_init(&t);
    put_plain(&t, slice_of_text("a"), 2);
    MDB_val k = { .mv_size = 11, .mv_data = "\0b\7\0\0\0\0\0\0\0\0" };
    cr_assert_eq(mdb_put(t.txn, t.dbi, &k, &k, 0), 0);
    size_t count;
    cr_assert_eq(walk(&t, &count), STORE_E_CORRUPT);
    struct kv_record got;
    bool found;
    cr_assert_eq(key_tree_get(t.txn, t.dbi, slice_of_text("b"), 9, &got, &found), STORE_E_CORRUPT);
    tree_env_done(&t);
}
