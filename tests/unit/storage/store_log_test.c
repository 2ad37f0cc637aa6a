#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "storage/store_internal.h"
#include "tests/support/old_entry.h"
#include "tests/support/store_rig.h"

enum { ENTRIES_MAX = 700, READ_MAX = 64 };
enum { ROW_BYTES = 4080, HEADER_BYTES = 34 /* of entries here with 128 bytes or more */ };

/* Everything ever appended, by index. */
static struct store_rig rig;
static struct raft_entry entries[ENTRIES_MAX + 1];
static uint64_t last_index;

static void setup(void)
{
    store_rig_init(&rig);
    cr_assert_eq(store_rig_open(&rig), STORE_OK, "%s", rig.detail);
}

static void teardown(void)
{
    for (uint64_t i = 1; i <= last_index; i++)
        block_unref(entries[i].block);
    store_rig_done(&rig);
}

TestSuite(store_log, .init = setup, .fini = teardown);

static void make(uint64_t term, uint32_t payload_bytes)
{
    last_index++;
    entries[last_index] =
        store_rig_entry((struct raft_pos){ .term = term, .index = last_index }, payload_bytes);
}

/* The last one in format 1. */
static void make_old(void)
{
    struct raft_entry old = old_entry_of(&entries[last_index]);
    block_unref(entries[last_index].block);
    entries[last_index] = old;
}

/* Flushes what was made since the last flush, but of the log only what comes after `after`, and
 * keeps entries from keep_index on. */
static void flush_after(uint64_t after, uint64_t keep_index)
{
    struct store_flush f = store_rig_flush_of(&rig, NULL, &entries[after + 1], last_index - after);
    f.log_begin = (struct raft_pos){ .term = entries[after].pos.term, .index = after };
    f.state.applied = entries[last_index].pos;
    f.log_keep_index = keep_index;
    cr_assert_eq(store_rig_flush(&rig, &f), STORE_OK);
}

static void flush(uint64_t keep_index)
{
    flush_after(store_published(rig.store)->applied.index, keep_index);
}

static void entries_expect(uint64_t first, const struct raft_entry *got, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(got[i].pos.index, first + i);
        cr_assert_eq(got[i].pos.term, entries[first + i].pos.term);
        cr_assert_eq(got[i].type, entries[first + i].type);
        cr_assert(slice_equal(got[i].bytes, entries[first + i].bytes));
    }
}

static enum store_err read_first(uint64_t first)
{
    struct raft_entry got[1];
    size_t count;
    struct block *block;
    enum store_err err = store_log_read(rig.store, first, 1 << 20, got, 1, &count, &block);
    if (err == STORE_OK)
        block_unref(block);
    return err;
}

/* How many entries a read gives. */
static size_t read_expect(uint64_t first, uint32_t bytes_max, size_t count_max)
{
    struct raft_entry got[READ_MAX];
    size_t count;
    struct block *block;
    cr_assert_eq(store_log_read(rig.store, first, bytes_max, got, count_max, &count, &block),
                 STORE_OK);
    cr_assert_eq(block->refs, 1);
    entries_expect(first, got, count);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(got[i].block, block);
    block_unref(block);
    return count;
}

/* Payloads around the ends of a row of 4080 bytes. */
Test(store_log, gives_back_what_was_appended)
{
    static const uint32_t sizes[] = { 0,
                                      1,
                                      300,
                                      ROW_BYTES - HEADER_BYTES - 1,
                                      ROW_BYTES - HEADER_BYTES,
                                      ROW_BYTES - HEADER_BYTES + 1,
                                      2 * ROW_BYTES - HEADER_BYTES,
                                      2 * ROW_BYTES - HEADER_BYTES + 1,
                                      50000,
                                      7,
                                      2000 };
    enum { COUNT = sizeof sizes / sizeof sizes[0] };
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT; i++)
            make(round + 1, sizes[i]);
        cr_assert_eq(entries[last_index].bytes.size, 2000 + HEADER_BYTES);
        flush(0);
        store_rig_reopen(&rig);
        cr_assert_eq(rig.state.applied.index, last_index);
        cr_assert_eq(rig.state.applied.term, round + 1);
        for (uint64_t first = 1; first <= last_index; first++)
            cr_assert_eq(read_expect(first, UINT32_MAX, READ_MAX), last_index - first + 1);
    }
}

/* Of whatever format they are: a store may have been written by two versions. */
Test(store_log, gives_back_entries_of_an_older_format)
{
    for (int i = 0; i < 6; i++) {
        make(1, i % 2 ? 20 : 5000);
        if (i < 4)
            make_old();
    }
    flush(0);
    store_rig_reopen(&rig);
    cr_assert_eq(read_expect(1, UINT32_MAX, READ_MAX), 6);
}

Test(store_log, reads_within_bounds_but_one_entry_at_least)
{
    for (int i = 0; i < 10; i++)
        make(1, 1000 - HEADER_BYTES);
    flush(0);
    static const struct {
        uint64_t first;
        uint32_t bytes_max;
        size_t count_max, count;
    } rows[] = {
        { 1, 0, 10, 1 },    { 1, 999, 10, 1 },  { 1, 1999, 10, 1 },  { 1, 2000, 10, 2 },
        { 1, 9999, 10, 9 }, { 1, 10000, 3, 3 }, { 9, 10000, 10, 2 }, { 10, 0, 1, 1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_assert_eq(read_expect(rows[i].first, rows[i].bytes_max, rows[i].count_max),
                     rows[i].count, "row %zu", i);
}

Test(store_log, says_what_is_gone)
{
    cr_assert_eq(read_first(1), STORE_E_GONE, "of an empty log");
    for (int i = 0; i < 20; i++)
        make(1, 5000);
    flush(0);
    cr_assert_eq(read_first(0), STORE_E_GONE);
    cr_assert_eq(read_first(21), STORE_E_GONE);
    cr_assert_eq(read_first(UINT64_MAX), STORE_E_GONE);
    flush(8);
    for (int again = 0; again < 2; again++) {
        cr_assert_eq(store_published(rig.store)->log_start.index, 7);
        cr_assert_eq(read_first(7), STORE_E_GONE);
        cr_assert_eq(read_expect(8, UINT32_MAX, READ_MAX), 13);
        store_rig_reopen(&rig);
    }
    flush(3);
    cr_assert_eq(store_published(rig.store)->log_start.index, 7, "what is gone stays gone");
    flush(UINT64_MAX);
    cr_assert_eq(store_published(rig.store)->log_start.index, 20, "no more than there is");
    cr_assert_eq(store_published(rig.store)->log_start.term, 1);
    cr_assert_eq(store_published(rig.store)->term_start_count, 0);
    cr_assert_eq(read_first(20), STORE_E_GONE);
    make(4, 10);
    flush(0);
    cr_assert_eq(read_expect(21, 0, 1), 1);
    cr_assert_eq(store_published(rig.store)->term_starts[0].first_index, 21);
}

static size_t log_rows(void)
{
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_stat stat;
    cr_assert_eq(mdb_txn_begin(store_handles(rig.store).env, NULL, MDB_RDONLY, &txn), 0);
    cr_assert_eq(mdb_dbi_open(txn, "log", 0, &dbi), 0);
    cr_assert_eq(mdb_stat(txn, dbi, &stat), 0);
    mdb_txn_abort(txn);
    return stat.ms_entries;
}

/* Over several slices: 64 KiB of dirty pages are a few dozen rows. */
Test(store_log, trims_all_rows_in_slices)
{
    store_rig_close(&rig);
    rig.options.dirty_bytes_max = 64 << 10;
    cr_assert_eq(store_rig_open(&rig), STORE_OK);
    for (int i = 0; i < 600; i++)
        make(1, i % 7 == 0 ? 9000 : 700);
    flush(0);
    cr_assert_gt(log_rows(), 600);
    flush(600);
    cr_assert_eq(log_rows(), 1);
    cr_assert_eq(read_expect(600, 0, 1), 1);
}

/* The terms of (log_start, applied], from the entries themselves. */
static void term_starts_expect(const struct store_state *state)
{
    uint32_t i = 0;
    uint64_t term = 0;
    for (uint64_t index = state->log_start.index + 1; index <= state->applied.index; index++) {
        if (entries[index].pos.term == term)
            continue;
        term = entries[index].pos.term;
        cr_assert_lt(i, state->term_start_count);
        cr_assert_eq(state->term_starts[i].term, term);
        cr_assert_eq(state->term_starts[i].first_index, index);
        i++;
    }
    cr_assert_eq(i, state->term_start_count);
    if (state->log_start.index > 0)
        cr_assert_eq(state->log_start.term, entries[state->log_start.index].pos.term);
}

/* A flush brings what is to be kept alone: the log that was there goes. */
Test(store_log, begins_within_a_flush)
{
    for (int i = 0; i < 5; i++)
        make(1, 5000);
    flush(0);
    for (int i = 0; i < 20; i++)
        make(2 + (uint64_t)i / 5, 100);
    flush_after(17, 18);
    for (int again = 0; again < 2; again++) {
        cr_assert_eq(store_published(rig.store)->log_start.index, 17);
        cr_assert_eq(read_expect(18, 1 << 20, READ_MAX), 8);
        cr_assert_eq(read_first(17), STORE_E_GONE);
        cr_assert_eq(read_first(1), STORE_E_GONE);
        cr_assert_eq(log_rows(), 8);
        term_starts_expect(store_published(rig.store));
        store_rig_reopen(&rig);
    }
    make(9, 100);
    make(9, 100);
    flush_after(27, 28);
    cr_assert_eq(log_rows(), 0, "none is kept");
    cr_assert_eq(read_first(27), STORE_E_GONE);
    cr_assert_eq(store_published(rig.store)->log_start.term, 9);
    make(9, 100);
    flush(0);
    cr_assert_eq(read_expect(28, 1 << 20, READ_MAX), 1);
    term_starts_expect(store_published(rig.store));
}

Test(store_log, knows_the_terms_of_its_entries)
{
    struct prng p = prng_seeded(3);
    uint64_t term = 1;
    uint64_t keep = 0;
    while (last_index + 12 < ENTRIES_MAX) {
        for (uint64_t i = prng_below(&p, 12); i > 0; i--) {
            term += prng_below(&p, 4) == 0 ? 1 + prng_below(&p, 3) : 0;
            make(term, (uint32_t)prng_below(&p, 100));
        }
        if (prng_below(&p, 3) == 0)
            keep += prng_below(&p, last_index + 2 - keep);
        flush(keep);
        term_starts_expect(store_published(rig.store));
        if (prng_below(&p, 4) == 0) {
            store_rig_reopen(&rig);
            term_starts_expect(&rig.state);
        }
    }
}

Test(store_log, gives_up_old_terms_at_the_cap)
{
    for (uint64_t term = 1; term <= STORE_TERM_STARTS_MAX; term++)
        for (int i = 0; i < 2; i++)
            make(term, 10);
    flush(0);
    cr_assert_eq(store_published(rig.store)->term_start_count, STORE_TERM_STARTS_MAX);
    cr_assert_eq(store_published(rig.store)->log_start.index, 0);
    for (uint64_t term = 1; term <= 3; term++)
        make(STORE_TERM_STARTS_MAX + term, 10);
    flush(0);
    store_rig_reopen(&rig);
    cr_assert_eq(rig.state.term_start_count, STORE_TERM_STARTS_MAX);
    cr_assert_eq(rig.state.log_start.index, 6);
    cr_assert_eq(rig.state.log_start.term, 3);
    term_starts_expect(&rig.state);
    cr_assert_eq(log_rows(), last_index - 6);
    cr_assert_eq(read_first(6), STORE_E_GONE);
    cr_assert_eq(read_first(7), STORE_OK);
}

/* ---- damage ---- */

static MDB_txn *raw_txn;
static MDB_dbi raw_dbi;

static void raw_begin(void)
{
    cr_assert_eq(mdb_txn_begin(store_handles(rig.store).env, NULL, 0, &raw_txn), 0);
    cr_assert_eq(mdb_dbi_open(raw_txn, "log", 0, &raw_dbi), 0);
}

static MDB_val raw_key(uint64_t index, uint32_t chunk)
{
    static uint8_t key[12];
    put_be64(key, index);
    put_be32(key + 8, chunk);
    return (MDB_val){ .mv_size = sizeof key, .mv_data = key };
}

Test(store_log, stands_under_these_keys)
{
    make(1, 5000);
    flush(0);
    raw_begin();
    MDB_cursor *cursor;
    MDB_val k;
    MDB_val v;
    cr_assert_eq(mdb_cursor_open(raw_txn, raw_dbi, &cursor), 0);
    for (uint8_t chunk = 0; chunk < 2; chunk++) {
        const uint8_t golden[12] = { 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, chunk };
        cr_assert_eq(mdb_cursor_get(cursor, &k, &v, MDB_NEXT), 0);
        cr_assert(slice_equal(slice_of(k.mv_data, k.mv_size), slice_of(golden, sizeof golden)));
        cr_assert_eq(v.mv_size, chunk == 0 ? ROW_BYTES : 5000 + HEADER_BYTES - ROW_BYTES);
        cr_assert_eq(memcmp(v.mv_data, entries[1].bytes.data + chunk * ROW_BYTES, v.mv_size), 0);
    }
    mdb_cursor_close(cursor);
    mdb_txn_abort(raw_txn);
}

static void bit_flip(uint64_t index, uint32_t chunk, size_t bit)
{
    static uint8_t row[4096];
    raw_begin();
    MDB_val k = raw_key(index, chunk);
    MDB_val v;
    cr_assert_eq(mdb_get(raw_txn, raw_dbi, &k, &v), 0);
    memcpy(row, v.mv_data, v.mv_size);
    row[bit / 8] ^= (uint8_t)(1u << bit % 8);
    v.mv_data = row;
    cr_assert_eq(mdb_put(raw_txn, raw_dbi, &k, &v, 0), 0);
    cr_assert_eq(mdb_txn_commit(raw_txn), 0);
}

Test(store_log, sees_each_flipped_bit)
{
    make(1, 20);
    make(1, 5000);
    flush(0);
    for (size_t bit = 0; bit < entries[1].bytes.size * 8; bit++) {
        bit_flip(1, 0, bit);
        cr_assert_eq(read_first(1), STORE_E_CORRUPT, "bit %zu", bit);
        bit_flip(1, 0, bit);
    }
    for (uint32_t chunk = 0; chunk < 2; chunk++) {
        bit_flip(2, chunk, 900 * 8);
        cr_assert_eq(read_first(2), STORE_E_CORRUPT, "chunk %u", chunk);
        cr_assert_eq(read_expect(1, 0, 1), 1, "its neighbour is whole");
        bit_flip(2, chunk, 900 * 8);
    }
    cr_assert_eq(read_expect(1, UINT32_MAX, 2), 2);
}

static void row_remove(uint64_t index, uint32_t chunk)
{
    raw_begin();
    MDB_val k = raw_key(index, chunk);
    cr_assert_eq(mdb_del(raw_txn, raw_dbi, &k, NULL), 0);
    cr_assert_eq(mdb_txn_commit(raw_txn), 0);
}

Test(store_log, sees_a_missing_row)
{
    for (int i = 0; i < 4; i++)
        make(1, 9000);
    flush(0);
    row_remove(4, 2);
    cr_assert_eq(read_first(4), STORE_E_CORRUPT, "the end of the last");
    row_remove(3, 1);
    cr_assert_eq(read_first(3), STORE_E_CORRUPT, "a middle");
    row_remove(2, 0);
    cr_assert_eq(read_first(2), STORE_E_CORRUPT, "a beginning");
    cr_assert_eq(read_expect(1, 0, 1), 1);
}

Test(store_log, sees_an_entry_in_anothers_place)
{
    make(1, 20);
    make(1, 20);
    flush(0);
    raw_begin();
    MDB_val k = raw_key(1, 0);
    MDB_val v = { .mv_size = entries[2].bytes.size,
                  .mv_data = (void *)(uintptr_t)entries[2].bytes.data };
    cr_assert_eq(mdb_put(raw_txn, raw_dbi, &k, &v, 0), 0);
    cr_assert_eq(mdb_txn_commit(raw_txn), 0);
    cr_assert_eq(read_first(1), STORE_E_CORRUPT);
}

/* An interrupted flush may leave rows above what is published: nobody sees them, and the next
 * flush writes over them. */
Test(store_log, hides_and_overwrites_leftovers)
{
    for (int i = 0; i < 6; i++)
        make(1, 6000);
    last_index = 3;
    flush(0);
    raw_begin();
    for (uint64_t index = 4; index <= 6; index++) {
        MDB_val k = raw_key(index, 0);
        MDB_val v = { .mv_size = 4080, .mv_data = (void *)(uintptr_t)entries[index].bytes.data };
        cr_assert_eq(mdb_put(raw_txn, raw_dbi, &k, &v, 0), 0);
    }
    cr_assert_eq(mdb_txn_commit(raw_txn), 0);
    store_rig_reopen(&rig);
    cr_assert_eq(rig.state.applied.index, 3);
    cr_assert_eq(read_first(4), STORE_E_GONE);
    cr_assert_eq(read_expect(1, UINT32_MAX, READ_MAX), 3);
    last_index = 5;
    flush(0);
    cr_assert_eq(read_expect(1, UINT32_MAX, READ_MAX), 5);
    last_index = 6;
    flush(0);
    cr_assert_eq(read_expect(1, UINT32_MAX, READ_MAX), 6);
}
