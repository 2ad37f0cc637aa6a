#include <criterion/criterion.h>
#include <signal.h>

#include "base/assert.h"
#include "storage/store_internal.h"
#include "tests/support/old_rows.h"
#include "tests/support/store_model.h"

static struct store_rig rig;
static struct store_model model;
static uint64_t index_last;

static void setup(void)
{
    store_rig_init(&rig);
    store_model_init(&model, 7);
    cr_assert_eq(store_rig_open(&rig), STORE_OK, "%s", rig.detail);
}

static void teardown(void)
{
    store_model_done(&model);
    store_rig_done(&rig);
}

TestSuite(store_flush, .init = setup, .fini = teardown);

/* One memtable of some changes with one log entry; returns how the flush of it ended. */
static enum store_err changes_flush(size_t changes)
{
    struct memtable *memtable = memtable_new();
    for (size_t i = 0; i < changes; i++)
        store_model_change(&model, memtable);
    struct raft_entry entry =
        store_rig_entry((struct raft_pos){ .term = 1, .index = ++index_last }, 50);
    struct store_flush flush = store_rig_flush_of(&rig, memtable, &entry, 1);
    flush.state.revision = model.revision;
    flush.state.state_hash = (uint64_t)model.revision * 3;
    enum store_err err = store_rig_flush(&rig, &flush);
    block_unref(entry.block);
    memtable_unref(memtable);
    return err;
}

static void dirty_bytes_max_set(uint64_t bytes)
{
    store_rig_close(&rig);
    rig.options.dirty_bytes_max = bytes;
    cr_assert_eq(store_rig_open(&rig), STORE_OK, "%s", rig.detail);
}

static size_t transactions_made(void)
{
    MDB_envinfo info;
    cr_assert_eq(mdb_env_info(store_handles(rig.store).env, &info), 0);
    return info.me_last_txnid;
}

static void random_flushes_expect(void)
{
    for (int round = 0; round < 25; round++) {
        cr_assert_eq(changes_flush(prng_below(&model.prng, 80)), STORE_OK);
        store_model_expect(&model, &rig);
        cr_assert_eq(store_published(rig.store)->revision, model.revision);
        cr_assert_eq(store_published(rig.store)->applied.index, index_last);
        if (round % 5 == 0) {
            store_rig_reopen(&rig);
            cr_assert_eq(rig.state.revision, model.revision);
            cr_assert_eq(rig.state.state_hash, (uint64_t)model.revision * 3);
            store_model_expect(&model, &rig);
        }
    }
}

Test(store_flush, agrees_with_the_model_in_single_transactions)
{
    random_flushes_expect();
    cr_assert_leq(transactions_made(), 1 + 25);
}

Test(store_flush, agrees_with_the_model_in_many_transactions)
{
    dirty_bytes_max_set(64 << 10);
    random_flushes_expect();
    cr_assert_gt(transactions_made(), 3 * 25);
}

/* The bound is on pages; how many became dirty shows in how far the file grew. */
Test(store_flush, keeps_transactions_bounded)
{
    enum { MAX = 256 << 10 };
    dirty_bytes_max_set(MAX);
    model.value_bytes_max = 40000;
    size_t before = transactions_made();
    cr_assert_eq(changes_flush(400), STORE_OK);
    uint64_t file_bytes = store_usage(rig.store).file_bytes;
    size_t count = transactions_made() - before;
    cr_assert_leq(file_bytes / count, MAX, "%zu transactions", count);
    cr_assert_leq(count, 4 + 4 * file_bytes / MAX, "and not far below the bound");
    store_model_expect(&model, &rig);
}

Test(store_flush, publishes_what_the_caller_says)
{
    static const char membership[] = "some members";
    struct raft_entry entry = store_rig_entry((struct raft_pos){ .term = 3, .index = 1 }, 5);
    struct store_flush flush = store_rig_flush_of(&rig, NULL, &entry, 1);
    uint8_t view[sizeof membership];
    memcpy(view, membership, sizeof view);
    flush.state.membership = slice_of(view, sizeof view);
    flush.state.revision = 12;
    flush.state.feature_level = 4;
    flush.state.state_hash = 99;
    flush.state.compact_revision = 10;
    flush.state.compacted_revision = 11;               /* the store's own: not taken */
    flush.state.log_start = (struct raft_pos){ 3, 1 }; /* likewise */
    rig.io.now_us = 100;
    cr_assert_eq(store_rig_flush(&rig, &flush), STORE_OK);
    memset(view, 0, sizeof view); /* the caller's view ends with the flush */
    block_unref(entry.block);
    for (int again = 0; again < 2; again++) {
        const struct store_state *state = store_published(rig.store);
        cr_assert(slice_equal(state->membership, slice_of(membership, sizeof membership)));
        cr_assert_eq(state->revision, 12);
        cr_assert_eq(state->feature_level, 4);
        cr_assert_eq(state->state_hash, 99);
        cr_assert_eq(state->compact_revision, 10);
        cr_assert_eq(state->compacted_revision, 10, "there was nothing to let go of");
        cr_assert_eq(state->applied.term, 3);
        cr_assert_eq(state->log_start.index, 0);
        cr_assert_eq(state->term_start_count, 1);
        store_rig_reopen(&rig);
    }
    for (int same = 0; same < 2; same++) { /* an unchanged membership stays valid */
        flush = store_rig_flush_of(&rig, NULL, NULL, 0);
        cr_assert_eq(store_rig_flush(&rig, &flush), STORE_OK);
        cr_assert(slice_equal(store_published(rig.store)->membership,
                              slice_of(membership, sizeof membership)));
    }
}

/* Readers that began before keep what they saw. */
Test(store_flush, is_seen_by_new_readers_at_once)
{
    struct store_handles handles = store_handles(rig.store);
    MDB_txn *before;
    int64_t revision;
    cr_assert_eq(mdb_txn_begin(handles.env, NULL, MDB_RDONLY, &before), 0);
    cr_assert_eq(changes_flush(10), STORE_OK);
    cr_assert_eq(store_published_revision(rig.store, before, &revision), STORE_OK);
    cr_assert_eq(revision, 1);
    mdb_txn_reset(before);
    cr_assert_eq(mdb_txn_renew(before), 0);
    cr_assert_eq(store_published_revision(rig.store, before, &revision), STORE_OK);
    cr_assert_eq(revision, 11);
    mdb_txn_abort(before);
}

/* The same flush from the same published state again, as after a crash at the last moment. */
Test(store_flush, written_twice_changes_nothing)
{
    dirty_bytes_max_set(64 << 10);
    cr_assert_eq(changes_flush(60), STORE_OK);
    struct store_state state = *store_published(rig.store);
    struct memtable *memtable = memtable_new();
    for (int i = 0; i < 100; i++)
        store_model_change(&model, memtable);
    for (int again = 0; again < 3; again++) {
        struct store_flush flush = store_rig_flush_of(&rig, memtable, NULL, 0);
        flush.state = state;
        flush.state.revision = model.revision;
        cr_assert_eq(store_rig_flush(&rig, &flush), STORE_OK);
        store_model_expect(&model, &rig);
    }
    memtable_unref(memtable);
}

static size_t rev_rows(void)
{
    struct store_handles handles = store_handles(rig.store);
    MDB_txn *txn;
    MDB_stat stat;
    cr_assert_eq(mdb_txn_begin(handles.env, NULL, MDB_RDONLY, &txn), 0);
    cr_assert_eq(mdb_stat(txn, handles.rev, &stat), 0);
    mdb_txn_abort(txn);
    return stat.ms_entries;
}

/* Likewise, after a crash and an update: all that is there, and what is written over, is of the
 * rows' format before. */
Test(store_flush, written_over_the_format_before_is_written_anew)
{
    dirty_bytes_max_set(64 << 10);
    model.value_bytes_max = 4100; /* often near the end of a row */
    struct store_state state = *store_published(rig.store);
    struct memtable *memtable = memtable_new();
    for (int i = 0; i < 2000; i++)
        store_model_change(&model, memtable);
    size_t rows = 0;
    for (int again = 0; again < 2; again++) {
        struct store_flush flush = store_rig_flush_of(&rig, memtable, NULL, 0);
        flush.state = state;
        flush.state.revision = model.revision;
        cr_assert_eq(store_rig_flush(&rig, &flush), STORE_OK);
        store_model_expect(&model, &rig);
        if (again == 0) {
            rows = rev_rows();
            old_rows_make(rig.store);
            cr_assert_gt(rev_rows(), rows, "some records had a row more");
            store_rig_reopen(&rig);
            store_model_expect(&model, &rig);
        }
    }
    cr_assert_eq(rev_rows(), rows);
    memtable_unref(memtable);
}

/* An update: rows of both formats side by side, and compaction takes either. */
Test(store_flush, goes_on_with_rows_of_the_format_before)
{
    model.value_bytes_max = 9000;
    for (int round = 0; round < 6; round++) {
        cr_assert_eq(changes_flush(100), STORE_OK);
        if (round == 1 || round == 2)
            old_rows_make(rig.store);
        store_rig_reopen(&rig);
        store_model_expect(&model, &rig);
        struct store_flush flush = store_rig_flush_of(&rig, NULL, NULL, 0);
        flush.state.compact_revision = model.revision - 70;
        cr_assert_eq(store_rig_flush(&rig, &flush), STORE_OK);
        store_model_compact(&model, flush.state.compact_revision);
        store_model_expect(&model, &rig);
    }
}

Test(store_flush, ends_for_good_when_the_map_is_full)
{
    store_rig_done(&rig);
    store_rig_init(&rig);
    rig.options.map_bytes = 512 << 10;
    rig.options.dirty_bytes_max = 64 << 10;
    cr_assert_eq(store_rig_open(&rig), STORE_OK, "%s", rig.detail);
    cr_assert_eq(changes_flush(20), STORE_OK);
    struct store_state state = *store_published(rig.store);
    cr_assert_eq(changes_flush(2000), STORE_E_NOSPACE);
    size_t transactions = transactions_made();
    index_last--;
    struct store_flush flush = store_rig_flush_of(&rig, NULL, NULL, 0);
    cr_assert_eq(store_rig_flush(&rig, &flush), STORE_E_NOSPACE, "though this one would fit");
    cr_assert_eq(transactions_made(), transactions, "nothing is written any more");
    cr_assert_eq(store_published(rig.store)->revision, state.revision);
    cr_assert_eq(store_published(rig.store)->applied.index, state.applied.index);
    store_rig_reopen(&rig);
    cr_assert_eq(rig.state.revision, state.revision);
    store_model_expect(&model, &rig);
}

Test(store_flush, counts_what_is_in_use)
{
    struct store_usage before = store_usage(rig.store);
    cr_assert_eq(changes_flush(500), STORE_OK);
    struct store_usage after = store_usage(rig.store);
    cr_assert_gt(after.file_bytes, before.file_bytes);
    cr_assert_gt(after.in_use_bytes, before.in_use_bytes);
    cr_assert_leq(after.in_use_bytes, after.file_bytes);
}

Test(store_flush, asserts_that_entries_follow, .signal = SIGABRT)
{
    struct raft_entry entry = store_rig_entry((struct raft_pos){ .term = 1, .index = 2 }, 5);
    struct store_flush flush = store_rig_flush_of(&rig, NULL, &entry, 1);
    IGNORE(store_rig_flush(&rig, &flush), "it does not come back");
}
