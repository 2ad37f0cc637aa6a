#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "storage/store_switch.h"
#include "storage/store_write.h"
#include "tests/support/snapshot_rig.h"
#include "tests/support/store_model.h"

enum { ENTRIES_MAX = 200 };

static struct store_rig from;
static struct store_rig to;
static struct store_model model;
static struct raft_entry entries[ENTRIES_MAX];
static size_t entry_count;
static int64_t compact_revision;

static void setup(void)
{
    store_rig_init(&from);
    store_rig_init(&to);
    store_model_init(&model, 7);
    entry_count = 0;
    compact_revision = 0;
    cr_assert_eq(store_rig_open(&from), STORE_OK);
}

static void teardown(void)
{
    for (size_t i = 0; i < entry_count; i++)
        block_unref(entries[i].block);
    store_model_done(&model);
    store_rig_close(&from);
    store_rig_close(&to);
    snapshot_rig_clear(&from);
    snapshot_rig_clear(&to);
    store_rig_done(&from);
    store_rig_done(&to);
}

TestSuite(snapshot, .init = setup, .fini = teardown);

/* One entry, this many changes, and whatever compaction may do now. */
static void flush(int changes)
{
    struct memtable *memtable = memtable_new();
    for (int i = 0; i < changes; i++)
        store_model_change(&model, memtable);
    struct raft_pos pos = { .term = 1 + entry_count / 5, .index = entry_count + 1 };
    entries[entry_count] = store_rig_entry(pos, 40);
    struct store_flush f = store_rig_flush_of(&from, memtable, &entries[entry_count], 1);
    entry_count++;
    f.state.revision = model.revision;
    f.state.compact_revision = compact_revision;
    f.state.state_hash = 0xabc0 + pos.index;
    f.state.feature_level = 1;
    f.state.membership = slice_of((const uint8_t *)"members", 7);
    cr_assert_eq(store_rig_flush(&from, &f), STORE_OK);
    memtable_unref(memtable);
}

/* What arrived is at the position, says of itself what the sender did, and holds the model's. */
static void install_and_expect(const struct store_model *wanted, const struct store_state *state)
{
    cr_assert_eq(store_switch(snapshot_rig_dir(&to)), STORE_OK);
    cr_assert_eq(store_rig_open(&to), STORE_OK, "%s", to.detail);
    cr_assert_eq(to.state.applied.index, state->applied.index);
    cr_assert_eq(to.state.applied.term, state->applied.term);
    cr_assert_eq(to.state.log_start.index, state->applied.index);
    cr_assert_eq(to.state.log_start.term, state->applied.term);
    cr_assert_eq(to.state.revision, state->revision);
    cr_assert_eq(to.state.compact_revision, state->compact_revision);
    cr_assert_eq(to.state.compacted_revision, state->compacted_revision);
    cr_assert_eq(to.state.state_hash, state->state_hash);
    cr_assert_eq(to.state.feature_level, state->feature_level);
    cr_assert(slice_equal(to.state.membership, slice_of((const uint8_t *)"members", 7)));
    store_model_expect(wanted, &to);
}

Test(snapshot, arrives_whole_whatever_the_sizes)
{
    static const uint32_t row_bytes[] = { SNAPSHOT_ROW_BYTES_MIN, 4096, 100000,
                                          SNAPSHOT_ROW_BYTES_MAX };
    static const uint64_t batch_bytes[] = { 1, 64 << 10, 16 << 20 };
    for (int i = 0; i < 5; i++)
        flush(30);
    for (size_t i = 0; i < 4; i++) {
        for (size_t k = 0; k < 3; k++) {
            to.options.dirty_bytes_max = k == 0 ? 64 << 10 : 64 << 20;
            struct store_state state = *store_published(from.store);
            struct snapshot_sink *sink = snapshot_rig_sink(&to, batch_bytes[k]);
            snapshot_rig_copy(snapshot_rig_source(&from, row_bytes[i]), sink);
            install_and_expect(&model, &state);
            store_rig_close(&to);
        }
    }
}

Test(snapshot, values_of_many_chunks_arrive)
{
    model.value_bytes_max = 3 << 20;
    for (int i = 0; i < 4; i++)
        flush(10);
    struct store_state state = *store_published(from.store);
    struct snapshot_sink *sink = snapshot_rig_sink(&to, 1 << 20);
    snapshot_rig_copy(snapshot_rig_source(&from, 20000), sink);
    install_and_expect(&model, &state);
}

Test(snapshot, a_store_without_keys_arrives)
{
    flush(0);
    struct store_state state = *store_published(from.store);
    struct snapshot_sink *sink = snapshot_rig_sink(&to, 1 << 20);
    snapshot_rig_copy(snapshot_rig_source(&from, 4096), sink);
    install_and_expect(&model, &state);
}

/* What is flushed meanwhile is not part of it; what arrived can be flushed to, and log on. */
Test(snapshot, stays_where_it_was_opened)
{
    flush(50);
    struct store_state state = *store_published(from.store);
    size_t records = model.record_count;
    struct snapshot_source *source = snapshot_rig_source(&from, SNAPSHOT_ROW_BYTES_MIN);
    struct snapshot_sink *sink = snapshot_rig_sink(&to, 1 << 20);
    cr_assert_eq(snapshot_source_pos(source).index, 1);
    cr_assert_null(snapshot_sink_meta(sink));
    uint64_t seq = 0;
    for (bool last = false; !last; seq++) {
        struct snapshot_read read = snapshot_rig_read(source, seq);
        cr_assert_eq(read.err, SNAPSHOT_OK);
        cr_assert_eq(snapshot_rig_add(sink, read.chunk).err, SNAPSHOT_OK);
        cr_assert(snapshot_source_ack(source, seq + 1));
        last = read.last;
        block_unref(read.block);
        if (entry_count < 20)
            flush(3);
    }
    cr_assert_eq(snapshot_sink_meta(sink)->state.applied.index, 1);
    cr_assert_eq(snapshot_source_progress(source).rows, records);
    cr_assert_eq(snapshot_source_progress(source).chunks, seq);
    cr_assert_eq(snapshot_sink_progress(sink).rows, records);
    cr_assert_eq(snapshot_sink_progress(sink).bytes, snapshot_source_progress(source).bytes);
    cr_assert_gt(snapshot_sink_progress(sink).bytes_estimate, 0);
    snapshot_source_close(source);
    snapshot_rig_end(sink, true);
    size_t all = model.record_count;
    model.record_count = records;
    install_and_expect(&model, &state);
    model.record_count = all;
    struct store_flush f = store_rig_flush_of(&to, NULL, &entries[1], 3);
    cr_assert_eq(store_rig_flush(&to, &f), STORE_OK);
    store_rig_reopen(&to);
    cr_assert_eq(to.state.applied.index, 4);
    cr_assert_eq(to.state.log_start.index, 1);
}

/* ---- compaction meanwhile ---- */

/* The receiver compacts what it got as far as clients had been told; then it holds what a
 * compaction of the model leaves: nothing too little, and no key that was deleted. */
static void compacted_expect(const struct store_model *snapshot, int64_t compacted)
{
    struct store_model wanted = *snapshot;
    store_model_compact(&wanted, compacted);
    struct store_flush f = store_rig_flush_of(&to, NULL, NULL, 0);
    f.state.compact_revision = compacted;
    cr_assert_eq(store_rig_flush(&to, &f), STORE_OK);
    cr_assert_not(f.compaction_pending);
    store_model_expect(&wanted, &to);
}

static void stream_under_compaction(struct prng *chance)
{
    struct snapshot_source *source =
        snapshot_rig_source(&from, SNAPSHOT_ROW_BYTES_MIN + (uint32_t)prng_below(chance, 4000));
    struct snapshot_sink *sink = snapshot_rig_sink(&to, prng_below(chance, 1 << 20));
    static uint64_t sums[20000];
    uint64_t read_to = 0;
    uint64_t last_seq = UINT64_MAX;
    uint64_t next_seq = 0;
    while (next_seq <= last_seq) {
        uint64_t seq = next_seq + prng_below(chance, read_to + 1 - next_seq);
        if (!snapshot_source_may_read(source, seq))
            seq = next_seq;
        struct snapshot_read read = snapshot_rig_read(source, seq);
        cr_assert_eq(read.err, SNAPSHOT_OK);
        uint64_t sum = checksum(read.chunk, 0);
        cr_assert(seq == read_to || sums[seq] == sum, "chunk %lu differs when read again", seq);
        sums[seq] = sum;
        if (seq == read_to)
            read_to++;
        if (read.last)
            last_seq = seq;
        struct snapshot_add add = snapshot_rig_add(sink, read.chunk);
        cr_assert_eq(add.err, seq == next_seq ? SNAPSHOT_OK : SNAPSHOT_E_SEQ);
        next_seq = add.next_seq;
        block_unref(read.block);
        if (prng_below(chance, 2) == 0)
            cr_assert(snapshot_source_ack(source, next_seq));
        else if (read_to - next_seq > 20 || prng_below(chance, 20) == 0)
            cr_assert(snapshot_source_ack(source, next_seq));
        if (!snapshot_source_may_read(source, next_seq) && next_seq <= last_seq)
            cr_assert(snapshot_source_ack(source, next_seq));
        if (entry_count + 2 < ENTRIES_MAX && prng_below(chance, 3) == 0) {
            compact_revision +=
                (int64_t)prng_below(chance, (uint64_t)(model.revision - compact_revision) + 1);
            flush((int)prng_below(chance, 4));
        }
    }
    snapshot_source_close(source);
    snapshot_rig_end(sink, true);
}

static void compaction_run(uint64_t seed)
{
    struct prng chance = prng_seeded(seed);
    for (int i = 0; i < 4; i++)
        flush(25);
    compact_revision = 1 + (int64_t)prng_below(&chance, (uint64_t)model.revision);
    flush(5);
    struct store_model snapshot = model;
    struct store_state state = *store_published(from.store);
    stream_under_compaction(&chance);
    cr_assert_eq(store_switch(snapshot_rig_dir(&to)), STORE_OK);
    cr_assert_eq(store_rig_open(&to), STORE_OK, "%s", to.detail);
    cr_assert_eq(to.state.revision, state.revision);
    /* At the compact revision that the snapshot names, and at its own. */
    compacted_expect(&snapshot, state.compact_revision);
    compacted_expect(&snapshot, state.revision);
    compact_revision = model.revision;
    flush(0);
    cr_assert_eq(store_published(from.store)->compacted_revision, compact_revision,
                 "without a hold compaction gets there");
}

Test(snapshot, is_whole_whatever_is_compacted_meanwhile)
{
    teardown();
    for (uint64_t seed = 1; seed <= 60; seed++) {
        setup();
        compaction_run(seed);
        teardown();
    }
    setup();
}

Test(snapshot, compaction_waits_and_follows)
{
    flush(50);
    struct snapshot_source *source = snapshot_rig_source(&from, 2000);
    compact_revision = model.revision;
    cr_assert_not(store_may_compact(from.store, compact_revision));
    flush(1);
    cr_assert_eq(store_published(from.store)->compacted_revision, 0);
    uint64_t seq = 0;
    int64_t before = 0;
    int moved = 0;
    for (bool last = false; !last; seq++) {
        struct snapshot_read read = snapshot_rig_read(source, seq);
        last = read.last;
        block_unref(read.block);
        cr_assert(snapshot_source_ack(source, seq + 1));
        flush(1);
        int64_t now = store_published(from.store)->compacted_revision;
        cr_assert_geq(now, before);
        moved += now > before;
        before = now;
    }
    cr_assert_gt(moved, 3);
    snapshot_source_close(source);
    flush(1);
    cr_assert_eq(store_published(from.store)->compacted_revision, compact_revision);
}

static struct io_job *held_back;

static void hold_back(struct io *io, struct io_job *job)
{
    (void)io;
    held_back = job;
}

static void on_held_back(struct snapshot_read *read)
{
    *(bool *)read->owner = true;
}

/* 1. a chunk is read again for a receiver that seems to lack it; 2. before the job has run it is
 * acknowledged with all that follow, and compaction may go on; 3. the job finds its rows all the
 * same. */
Test(snapshot, an_acknowledgement_takes_no_rows_from_under_a_job)
{
    flush(80);
    struct snapshot_source *source = snapshot_rig_source(&from, SNAPSHOT_ROW_BYTES_MIN);
    for (uint64_t seq = 0; seq < 8; seq++) {
        struct snapshot_read read = snapshot_rig_read(source, seq);
        cr_assert_eq(read.err, SNAPSHOT_OK);
        block_unref(read.block);
    }
    cr_assert(snapshot_source_ack(source, 1));
    const struct io_ops *ops = from.io.io.ops;
    struct io_ops slow = *ops;
    slow.offload = hold_back;
    bool is_done = false;
    struct snapshot_read again = { .seq = 1, .done = on_held_back, .owner = &is_done };
    from.io.io.ops = &slow;
    snapshot_source_read(source, &again);
    from.io.io.ops = ops;
    cr_assert(snapshot_source_ack(source, 8));
    compact_revision = model.revision;
    flush(1);
    held_back->run(held_back);
    held_back->done(held_back);
    cr_assert(is_done);
    cr_assert_eq(again.err, SNAPSHOT_OK);
    block_unref(again.block);
    int64_t before = store_published(from.store)->compacted_revision;
    flush(1);
    cr_assert_gt(store_published(from.store)->compacted_revision, before, "and goes on then");
    snapshot_source_close(source);
}

/* A receiver that went away does not hold compaction up for ever. */
Test(snapshot, a_hold_ends_at_its_deadline)
{
    flush(50);
    struct snapshot_source *source = snapshot_rig_source(&from, 2000);
    struct snapshot_read read = snapshot_rig_read(source, 0);
    cr_assert_eq(read.err, SNAPSHOT_OK);
    block_unref(read.block);
    compact_revision = model.revision;
    from.io.now_us = (SNAPSHOT_RIG_HOLD_MS - 1) * 1000;
    flush(1);
    cr_assert_eq(store_published(from.store)->compacted_revision, 0);
    cr_assert(snapshot_source_hold(source, 2 * SNAPSHOT_RIG_HOLD_MS));
    from.io.now_us = SNAPSHOT_RIG_HOLD_MS * 1000;
    flush(1);
    cr_assert_eq(store_published(from.store)->compacted_revision, 0, "it was moved");
    from.io.now_us = 2 * SNAPSHOT_RIG_HOLD_MS * 1000;
    read = snapshot_rig_read(source, 1);
    cr_assert_eq(read.err, SNAPSHOT_OK, "nothing was compacted yet");
    block_unref(read.block);
    cr_assert(store_may_compact(from.store, compact_revision));
    flush(1);
    cr_assert_eq(store_published(from.store)->compacted_revision, compact_revision);
    read = snapshot_rig_read(source, 1);
    cr_assert_eq(read.err, SNAPSHOT_E_EXPIRED);
    cr_assert_null(read.block);
    cr_assert_not(snapshot_source_hold(source, UINT64_MAX));
    snapshot_source_close(source);
}

Test(snapshot, opens_not_while_a_flush_runs_nor_without_end)
{
    flush(1);
    struct snapshot_source_options options = { .id = 1, .row_bytes_max = 4096 };
    struct snapshot_source *sources[STORE_HOLDS_MAX + 1];
    from.store->busy = true; /* as while a job is running */
    cr_assert_eq(snapshot_source_open(&sources[0], from.store, &options), SNAPSHOT_E_BUSY);
    from.store->busy = false;
    for (size_t i = 0; i < STORE_HOLDS_MAX; i++)
        cr_assert_eq(snapshot_source_open(&sources[i], from.store, &options), SNAPSHOT_OK);
    cr_assert_eq(snapshot_source_open(&sources[STORE_HOLDS_MAX], from.store, &options),
                 SNAPSHOT_E_BUSY);
    for (size_t i = 0; i < STORE_HOLDS_MAX; i++)
        snapshot_source_close(sources[i]);
    cr_assert_eq(snapshot_source_open(&sources[0], from.store, &options), SNAPSHOT_OK);
    snapshot_source_close(sources[0]);
}

Test(snapshot, the_window_has_an_end)
{
    flush(60);
    struct snapshot_source *source = snapshot_rig_source(&from, SNAPSHOT_ROW_BYTES_MIN);
    uint64_t seq = 0;
    for (; snapshot_source_may_read(source, seq); seq++) {
        struct snapshot_read read = snapshot_rig_read(source, seq);
        cr_assert_eq(read.err, SNAPSHOT_OK);
        block_unref(read.block);
    }
    cr_assert_eq(seq, SNAPSHOT_WINDOW_MAX);
    cr_assert_not(snapshot_source_ack(source, seq + 1), "more than was read");
    cr_assert(snapshot_source_ack(source, 3));
    cr_assert_not(snapshot_source_may_read(source, 2));
    cr_assert(snapshot_source_may_read(source, 3));
    cr_assert(snapshot_source_may_read(source, seq + 0));
    cr_assert(snapshot_source_ack(source, 1), "an old one changes nothing");
    cr_assert_not(snapshot_source_may_read(source, 1));
    snapshot_source_close(source);
}

/* ---- damage ---- */

/* Flips a byte of a row of the rev tree, in its own transaction. */
static void row_damage(struct store_rig *rig, int nth, size_t at)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val row;
    cr_assert_eq(mdb_txn_begin(rig->store->env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_cursor_open(txn, rig->store->trees.rev, &cursor), 0);
    cr_assert_eq(mdb_cursor_get(cursor, &key, &row, MDB_FIRST), 0);
    for (int i = 0; i < nth; i++)
        cr_assert_eq(mdb_cursor_get(cursor, &key, &row, MDB_NEXT), 0);
    uint8_t bytes[4096];
    size_t size = row.mv_size;
    memcpy(bytes, row.mv_data, size);
    bytes[at % size] ^= 0x20;
    row = (MDB_val){ .mv_size = size, .mv_data = bytes };
    cr_assert_eq(mdb_cursor_put(cursor, &key, &row, MDB_CURRENT), 0);
    mdb_cursor_close(cursor);
    cr_assert_eq(mdb_txn_commit(txn), 0);
}

Test(snapshot, a_damaged_row_ends_it)
{
    flush(40);
    for (size_t at = 0; at < 60; at++) {
        row_damage(&from, 7, at);
        struct snapshot_source *source = snapshot_rig_source(&from, SNAPSHOT_ROW_BYTES_MAX);
        cr_assert_eq(snapshot_rig_read(source, 0).err, SNAPSHOT_E_CORRUPT, "byte %zu", at);
        snapshot_source_close(source);
        row_damage(&from, 7, at);
    }
}

/* ---- the sink ---- */

static uint8_t *chunk_copy(struct slice chunk)
{
    uint8_t *copy = malloc(chunk.size);
    cr_assert_not_null(copy);
    memcpy(copy, chunk.data, chunk.size);
    return copy;
}

/* A sink that has taken `count` chunks of what `from` holds; the next one is in *ret_read. */
static struct snapshot_sink *sink_after(uint64_t count, struct snapshot_source **ret_source,
                                        struct snapshot_read *ret_read)
{
    *ret_source = snapshot_rig_source(&from, 3000);
    struct snapshot_sink *sink = snapshot_rig_sink(&to, 1 << 20);
    for (uint64_t seq = 0; seq < count; seq++) {
        struct snapshot_read read = snapshot_rig_read(*ret_source, seq);
        cr_assert_eq(snapshot_rig_add(sink, read.chunk).err, SNAPSHOT_OK);
        block_unref(read.block);
    }
    *ret_read = snapshot_rig_read(*ret_source, count);
    cr_assert_eq(ret_read->err, SNAPSHOT_OK);
    return sink;
}

Test(snapshot, a_sink_refuses_what_does_not_verify_and_stays_so)
{
    flush(60);
    struct prng chance = prng_seeded(5);
    for (int i = 0; i < 100; i++) {
        struct snapshot_source *source;
        struct snapshot_read read;
        struct snapshot_sink *sink = sink_after(prng_below(&chance, 3), &source, &read);
        uint8_t *bad = chunk_copy(read.chunk);
        bad[prng_below(&chance, read.chunk.size)] ^= (uint8_t)(1u << prng_below(&chance, 8));
        size_t size = i % 5 == 0 ? prng_below(&chance, read.chunk.size) : read.chunk.size;
        cr_assert_eq(snapshot_rig_add(sink, slice_of(bad, size)).err, SNAPSHOT_E_BAD);
        cr_assert_eq(snapshot_rig_add(sink, read.chunk).err, SNAPSHOT_E_BAD, "it is final");
        free(bad);
        block_unref(read.block);
        snapshot_source_close(source);
        snapshot_rig_end(sink, true);
        cr_assert_not(snapshot_rig_has(&to, STORE_DIR_NEW), "what is not complete is removed");
    }
}

/* Each chunk verifies by itself; that it follows those before it only the chain says. */
Test(snapshot, a_sink_refuses_a_chunk_that_follows_others)
{
    flush(60);
    struct snapshot_source *source;
    struct snapshot_read read;
    struct snapshot_sink *sink = sink_after(1, &source, &read);
    uint8_t *other = chunk_copy(read.chunk);
    struct snapshot_chunk_header header;
    struct slice meta;
    struct slice rows;
    cr_assert_eq(snapshot_chunk_decode(slice_of(other, read.chunk.size), &header, &meta, &rows),
                 SNAPSHOT_OK);
    snapshot_chunk_seal(other, &header, header.chain);
    cr_assert_eq(snapshot_rig_add(sink, slice_of(other, read.chunk.size)).err, SNAPSHOT_E_BAD);
    free(other);
    block_unref(read.block);
    snapshot_source_close(source);
    snapshot_rig_end(sink, false);
}

static bool child_adds(const struct snapshot_read *reads, size_t count)
{
    struct snapshot_sink *sink = snapshot_rig_sink(&to, 1);
    for (size_t i = 0; i < count; i++) {
        if (snapshot_rig_add(sink, reads[i].chunk).err != SNAPSHOT_OK)
            return false;
    }
    return true;
}

/* Its rows are on the disk as they came; what they make is published with the last of them. */
Test(snapshot, one_that_a_kill_cut_short_publishes_nothing)
{
    flush(60);
    struct snapshot_source *source = snapshot_rig_source(&from, 3000);
    struct snapshot_read reads[2] = { snapshot_rig_read(source, 0), snapshot_rig_read(source, 1) };
    cr_assert_not(reads[1].last);
    pid_t child = fork();
    if (child == 0)
        _exit(child_adds(reads, 2) ? 0 : 1);
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    const char *dir = snapshot_rig_dir(&to);
    char whole[sizeof to.path];
    memcpy(whole, to.path, sizeof whole);
    int size = snprintf(to.path, sizeof to.path, "%s/%s", dir, STORE_DIR_NEW);
    cr_assert(size > 0 && (size_t)size < sizeof to.path);
    cr_assert_eq(store_rig_open(&to), STORE_OK, "%s", to.detail);
    cr_assert_eq(to.state.applied.index, 0);
    cr_assert_eq(to.state.membership.size, 0);
    store_rig_close(&to);
    memcpy(to.path, whole, sizeof whole);
    block_unref(reads[0].block);
    block_unref(reads[1].block);
    snapshot_source_close(source);
}

Test(snapshot, a_sink_waits_for_the_chunk_that_comes_next)
{
    flush(60);
    struct snapshot_source *source;
    struct snapshot_read first;
    struct snapshot_sink *sink = sink_after(0, &source, &first);
    struct snapshot_read second = snapshot_rig_read(source, 1);
    struct snapshot_add add = snapshot_rig_add(sink, second.chunk);
    cr_assert(add.err == SNAPSHOT_E_SEQ && add.next_seq == 0);
    cr_assert_eq(snapshot_rig_add(sink, first.chunk).err, SNAPSHOT_OK);
    add = snapshot_rig_add(sink, first.chunk);
    cr_assert(add.err == SNAPSHOT_E_SEQ && add.next_seq == 1, "once is enough");
    cr_assert_eq(snapshot_rig_add(sink, second.chunk).err, SNAPSHOT_OK);
    cr_assert(snapshot_rig_has(&to, STORE_DIR_NEW));
    block_unref(first.block);
    block_unref(second.block);
    snapshot_source_close(source);
    snapshot_rig_end(sink, true);
    cr_assert_not(snapshot_rig_has(&to, STORE_DIR_NEW));
}

Test(snapshot, a_sink_refuses_another_snapshots_or_clusters_chunks)
{
    flush(60);
    struct snapshot_source *source;
    struct snapshot_read read;
    struct snapshot_sink *sink = sink_after(0, &source, &read);
    uint8_t *other = chunk_copy(read.chunk);
    put_le64(other + 24, SNAPSHOT_RIG_ID + 1);
    put_le64(other, checksum(slice_of(other + 8, read.chunk.size - 8), 0));
    cr_assert_eq(snapshot_rig_add(sink, slice_of(other, read.chunk.size)).err, SNAPSHOT_E_FOREIGN);
    free(other);
    snapshot_rig_end(sink, true);
    to.options.cluster_id++;
    sink = snapshot_rig_sink(&to, 1 << 20);
    cr_assert_eq(snapshot_rig_add(sink, read.chunk).err, SNAPSHOT_E_FOREIGN);
    snapshot_rig_end(sink, true);
    block_unref(read.block);
    snapshot_source_close(source);
}

/* Chunks that verify, made by somebody who makes mistakes. */
static enum snapshot_err forged_add(const struct kv_record *records, size_t count, size_t cut_bytes,
                                    uint64_t rows_total)
{
    static uint8_t chunk[1 << 16];
    struct arena arena;
    arena_init(&arena, 1 << 20);
    struct slice meta;
    const struct snapshot_meta says = {
        .cluster_id = STORE_RIG_CLUSTER,
        .state = { .applied = { .term = 1, .index = 9 }, .revision = 50, .feature_level = 1 },
    };
    cr_assert(snapshot_meta_encode(&says, &arena, &meta));
    memcpy(chunk + SNAPSHOT_HEADER_BYTES, meta.data, meta.size);
    uint8_t *at = chunk + SNAPSHOT_HEADER_BYTES + meta.size;
    uint8_t *rows = at;
    for (size_t i = 0; i < count; i++) {
        snapshot_row_encode(at, &records[i]);
        at += SNAPSHOT_ROW_HEADER_BYTES;
        memcpy(at, records[i].key.data, records[i].key.size);
        at += records[i].key.size;
        if (records[i].value.size > 0)
            memcpy(at, records[i].value.data, records[i].value.size);
        at += records[i].value.size;
    }
    struct snapshot_chunk_header header = {
        .id = SNAPSHOT_RIG_ID,
        .flags = SNAPSHOT_FIRST | SNAPSHOT_LAST,
        .meta_bytes = (uint32_t)meta.size,
        .row_bytes = (uint32_t)((size_t)(at - rows) - cut_bytes),
        .rows_total = rows_total,
        .row_bytes_total = (uint64_t)(at - rows) - cut_bytes,
    };
    snapshot_chunk_seal(chunk, &header, snapshot_chain_start(SNAPSHOT_RIG_ID));
    struct snapshot_sink *sink = snapshot_rig_sink(&to, 1 << 20);
    size_t size = SNAPSHOT_HEADER_BYTES + meta.size + header.row_bytes;
    struct snapshot_add add = snapshot_rig_add(sink, slice_of(chunk, size));
    snapshot_rig_end(sink, true);
    cr_assert_eq(snapshot_rig_has(&to, STORE_DIR_NEW), add.err == SNAPSHOT_OK);
    arena_done(&arena);
    return add.err;
}

Test(snapshot, a_sink_refuses_rows_that_cannot_be)
{
    struct slice key = slice_of((const uint8_t *)"k", 1);
    struct slice value = slice_of((const uint8_t *)"v", 1);
    struct kv_record good = store_rig_record(key, value, (struct kv_revision){ 7, 0 });
    struct kv_record pair[2] = { good, good };
    cr_assert_eq(forged_add(&good, 1, 0, 1), SNAPSHOT_OK);
    cr_assert_eq(forged_add(&good, 1, 0, 2), SNAPSHOT_E_BAD, "totals that lie");
    cr_assert_eq(forged_add(&good, 1, 1, 1), SNAPSHOT_E_BAD, "it ends within a row");
    cr_assert_eq(forged_add(&good, 1, SNAPSHOT_ROW_HEADER_BYTES, 0), SNAPSHOT_E_BAD, "likewise");
    cr_assert_eq(forged_add(pair, 2, 0, 2), SNAPSHOT_E_BAD, "the same again");
    pair[1] = store_rig_record(key, value, (struct kv_revision){ 6, 9 });
    cr_assert_eq(forged_add(pair, 2, 0, 2), SNAPSHOT_E_BAD, "revisions fall");
    pair[1] = store_rig_record(key, value, (struct kv_revision){ 51, 0 });
    cr_assert_eq(forged_add(pair, 2, 0, 2), SNAPSHOT_E_BAD, "past the snapshot's revision");
    pair[1] = store_rig_record(key, value, (struct kv_revision){ 8, 0 });
    pair[1].sum++;
    cr_assert_eq(forged_add(pair, 2, 0, 2), SNAPSHOT_E_BAD, "a sum that does not hold");
    pair[1] = store_rig_tombstone(key, (struct kv_revision){ 8, 0 });
    cr_assert_eq(forged_add(pair, 2, 0, 2), SNAPSHOT_OK);
    pair[1].value = value;
    pair[1].value_bytes = 1;
    pair[1].sum = kv_record_sum(&pair[1]);
    cr_assert_eq(forged_add(pair, 2, 0, 2), SNAPSHOT_E_BAD, "a tombstone with a value");
}

Test(snapshot, a_complete_one_that_nobody_wants_is_removed)
{
    flush(10);
    struct snapshot_source *source = snapshot_rig_source(&from, SNAPSHOT_ROW_BYTES_MAX);
    struct snapshot_sink *sink = snapshot_rig_sink(&to, 1 << 20);
    struct snapshot_read read = snapshot_rig_read(source, 0);
    cr_assert(snapshot_rig_add(sink, read.chunk).complete);
    cr_assert(snapshot_rig_has(&to, STORE_DIR_NEW));
    block_unref(read.block);
    snapshot_source_close(source);
    snapshot_rig_end(sink, false);
    cr_assert_not(snapshot_rig_has(&to, STORE_DIR_NEW));
}
