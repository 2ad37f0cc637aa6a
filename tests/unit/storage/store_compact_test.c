#include <criterion/criterion.h>
#include <stdlib.h>

#include "storage/store_internal.h"
#include "tests/support/store_model.h"

static struct store_rig rig;
static struct store_model model;
static struct memtable *memtable;

static void setup(void)
{
    store_rig_init(&rig);
    store_model_init(&model, 11);
    cr_assert_eq(store_rig_open(&rig), STORE_OK, "%s", rig.detail);
    memtable = memtable_new();
}

static void teardown(void)
{
    memtable_unref(memtable);
    store_model_done(&model);
    store_rig_done(&rig);
}

TestSuite(store_compact, .init = setup, .fini = teardown);

/* Flushes the memtable, then compacts; returns whether more is to be done. */
static bool flush(int64_t compact_revision, uint64_t rows_max)
{
    struct store_flush f = store_rig_flush_of(&rig, memtable, NULL, 0);
    f.state.revision = model.revision;
    f.state.compact_revision = compact_revision;
    f.compact_rows_max = rows_max;
    cr_assert_eq(store_rig_flush(&rig, &f), STORE_OK);
    memtable_unref(memtable);
    memtable = memtable_new();
    return f.compaction_pending;
}

static void compact(int64_t revision)
{
    cr_assert_not(flush(revision, UINT64_MAX));
    cr_assert_eq(store_published(rig.store)->compacted_revision, revision);
    store_model_compact(&model, revision);
    store_model_expect(&model, &rig);
}

static void random_compactions_expect(void)
{
    int64_t compacted = 0;
    for (int round = 0; round < 20; round++) {
        for (uint64_t i = prng_below(&model.prng, 60); i > 0; i--)
            store_model_change(&model, memtable);
        if (prng_below(&model.prng, 3) > 0)
            compacted +=
                (int64_t)prng_below(&model.prng, (uint64_t)(model.revision - compacted + 1));
        compact(compacted);
        if (round % 4 == 0)
            store_rig_reopen(&rig);
    }
    compact(model.revision);
    compact(model.revision); /* once more changes nothing */
}

Test(store_compact, agrees_with_the_model)
{
    random_compactions_expect();
}

Test(store_compact, agrees_with_the_model_in_many_transactions)
{
    store_rig_close(&rig);
    rig.options.dirty_bytes_max = 64 << 10;
    cr_assert_eq(store_rig_open(&rig), STORE_OK);
    random_compactions_expect();
}

/* etcd issues 18089, 19179: who watches from the compact revision still sees the delete. */
Test(store_compact, keeps_a_tombstone_at_its_very_revision)
{
    struct slice key = model.keys[0];
    store_model_put(&model, memtable, key);    /* revision 2 */
    store_model_delete(&model, memtable, key); /* 3 */
    store_model_put(&model, memtable, key);    /* 4 */
    store_model_delete(&model, memtable, key); /* 5 */
    store_model_put(&model, memtable, model.keys[1]);
    static const struct {
        int64_t compact;
        size_t left;
    } rows[] = { { 1, 5 }, { 2, 5 }, { 3, 4 }, { 4, 3 }, { 5, 2 }, { 6, 1 } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        compact(rows[i].compact);
        cr_assert_eq(model.record_count, rows[i].left, "at %d", (int)rows[i].compact);
    }
}

/* Of one compaction in pieces, each piece leaves what the next needs. */
Test(store_compact, goes_on_in_pieces)
{
    for (int i = 0; i < 300; i++)
        store_model_change(&model, memtable);
    int64_t end = model.revision - 20;
    int pieces = 1;
    int64_t before = 0;
    while (flush(end, 10)) {
        const struct store_state *state = store_published(rig.store);
        cr_assert_gt(state->compacted_revision, before, "each moves on");
        cr_assert_lt(state->compacted_revision, end);
        cr_assert_eq(state->compact_revision, end);
        before = state->compacted_revision;
        if (pieces++ % 5 == 0)
            store_rig_reopen(&rig);
    }
    cr_assert_gt(pieces, 25);
    cr_assert_eq(store_published(rig.store)->compacted_revision, end);
    store_model_compact(&model, end);
    store_model_expect(&model, &rig);
}

/* A revision that changed many keys counts when all are done, so a piece does not end inside. */
Test(store_compact, ends_at_the_end_of_a_revision)
{
    for (int round = 0; round < 3; round++) {
        model.revision++;
        for (uint32_t sub = 0; sub < 50; sub++) {
            struct kv_record record =
                store_rig_record(model.keys[sub], slice_of_text("v"),
                                 (struct kv_revision){ .main = model.revision, .sub = sub });
            record.version = 1 + round;
            record.sum = kv_record_sum(&record);
            model.records[model.record_count++] = record;
            cr_assert(memtable_insert(memtable, &record));
        }
    }
    cr_assert(flush(4, 1));
    cr_assert_eq(store_published(rig.store)->compacted_revision, 2);
    cr_assert(flush(4, 1));
    cr_assert_eq(store_published(rig.store)->compacted_revision, 3);
    cr_assert_not(flush(4, 1));
    store_model_compact(&model, 4);
    store_model_expect(&model, &rig);
}

/* What one record stands in a piece for may be asked again after a crash: the published progress
 * is put back, the rows are not. */
Test(store_compact, repeated_changes_nothing)
{
    for (int i = 0; i < 200; i++)
        store_model_change(&model, memtable);
    cr_assert_not(flush(0, UINT64_MAX));
    struct store_state before = *store_published(rig.store);
    int64_t end = model.revision - 7;
    compact(end);
    struct store_flush f = store_rig_flush_of(&rig, NULL, NULL, 0);
    f.state.compact_revision = end;
    cr_assert_eq(store_rig_flush(&rig, &f), STORE_OK);
    store_model_expect(&model, &rig);
    cr_assert_gt(end, before.compacted_revision);
}

Test(store_compact, gives_pages_back)
{
    for (int i = 0; i < 3000; i++)
        store_model_put(&model, memtable, model.keys[(unsigned)i % 8]);
    cr_assert_not(flush(0, UINT64_MAX));
    uint64_t before = store_usage(rig.store).in_use_bytes;
    compact(model.revision);
    cr_assert_lt(store_usage(rig.store).in_use_bytes, before / 4);
}

static void rev_row_damage(int64_t main)
{
    MDB_txn *txn;
    MDB_val v;
    struct store_handles handles = store_handles(rig.store);
    uint8_t key[16] = { 0 };
    key[7] = (uint8_t)main;
    MDB_val k = { .mv_size = sizeof key, .mv_data = key };
    uint8_t row[4096];
    cr_assert_eq(mdb_txn_begin(handles.env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_get(txn, handles.rev, &k, &v), 0);
    memcpy(row, v.mv_data, v.mv_size);
    row[44] ^= 1; /* the first byte of the key */
    v.mv_data = row;
    cr_assert_eq(mdb_put(txn, handles.rev, &k, &v, 0), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
}

/* A wrong key in the row would have another key's history removed. */
Test(store_compact, stops_at_a_damaged_row_and_removes_nothing)
{
    for (int i = 0; i < 50; i++)
        store_model_put(&model, memtable, model.keys[(unsigned)i % 8]);
    cr_assert_not(flush(0, UINT64_MAX));
    rev_row_damage(30);
    struct store_flush f = store_rig_flush_of(&rig, NULL, NULL, 0);
    f.state.compact_revision = 40;
    cr_assert_eq(store_rig_flush(&rig, &f), STORE_E_CORRUPT);
    cr_assert_eq(store_rig_flush(&rig, &f), STORE_E_CORRUPT, "and writes no more");
    cr_assert_eq(store_published(rig.store)->compact_revision, 0);
    store_rig_reopen(&rig);
    cr_assert_eq(rig.state.compacted_revision, 0);
    rev_row_damage(30); /* mended */
    store_model_expect(&model, &rig);
}
