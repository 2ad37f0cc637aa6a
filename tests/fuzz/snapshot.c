/* What a snapshot may bring: its chunks by themselves, and into a sink. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "storage/store_switch.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/reseal.h"
#include "tests/support/snapshot_rig.h"

enum {
    CHUNKS = 3,
    CHUNK_BYTES_MAX = 1 << 10,
    META_ARENA_BYTES = 4 * SNAPSHOT_META_BYTES_MAX,
    ADDS_MAX = 16,
    BATCH_BYTES = 300,
    MAP_BYTES = 16 << 20,
    /* storage/snapshot_format.h */
    AT_META_BYTES = 40,
    AT_ROW_BYTES = 44,
    AT_CHAIN = 64,
    ROW_AT_SUM = 48,
};

static const struct snapshot_meta base_meta = {
    .cluster_id = STORE_RIG_CLUSTER,
    .state = { .applied = { 2, 9 },
               .revision = 6,
               .compact_revision = 2,
               .compacted_revision = 2,
               .state_hash = 77,
               .feature_level = 1,
               .membership = { (const uint8_t *)"them", 4 } },
    .bytes_estimate = 1000,
};

struct chunk {
    size_t size;
    uint8_t bytes[CHUNK_BYTES_MAX];
};

/* ---- a stream, as it should be ---- */

static size_t row_put(uint8_t *to, const struct kv_record *record)
{
    snapshot_row_encode(to, record);
    memcpy(to + SNAPSHOT_ROW_HEADER_BYTES, record->key.data, record->key.size);
    uint8_t *value = to + SNAPSHOT_ROW_HEADER_BYTES + record->key.size;
    if (record->value.size > 0)
        memcpy(value, record->value.data, record->value.size);
    return SNAPSHOT_ROW_HEADER_BYTES + record->key.size + record->value.size;
}

/* Five rows; ends[i]: the bytes up to the end of row i. */
static size_t rows_make(uint8_t *to, size_t ends[5])
{
    static const uint8_t value[120] = { 'v' };
    size_t size = 0;
    for (uint32_t i = 0; i < 5; i++) {
        struct kv_revision mod = { .main = 2 + i - (i == 2), .sub = i == 2 };
        struct slice key = slice_of_text(i % 2 ? "b" : "key");
        struct kv_record record = i == 3 ? store_rig_tombstone(key, mod)
                                         : store_rig_record(key, slice_of(value, 30 * i), mod);
        ends[i] = size += row_put(to + size, &record);
    }
    return size;
}

/* The second begins within a row. */
static void stream_make(struct chunk chunks[CHUNKS])
{
    static uint8_t rows[CHUNK_BYTES_MAX];
    struct arena arena;
    struct slice meta;
    size_t ends[5];
    arena_init(&arena, META_ARENA_BYTES);
    ASSERT(snapshot_meta_encode(&base_meta, &arena, &meta));
    size_t cuts[CHUNKS + 1] = { 0, 0, 0, rows_make(rows, ends) };
    cuts[1] = ends[0] + 70;
    cuts[2] = ends[3];
    static const uint64_t rows_totals[CHUNKS] = { 1, 4, 5 };
    uint64_t chain = snapshot_chain_start(SNAPSHOT_RIG_ID);
    for (uint32_t i = 0; i < CHUNKS; i++) {
        struct snapshot_chunk_header header = {
            .id = SNAPSHOT_RIG_ID,
            .seq = i,
            .flags = (i == 0 ? SNAPSHOT_FIRST : 0u) | (i == CHUNKS - 1 ? SNAPSHOT_LAST : 0u),
            .meta_bytes = i == 0 ? (uint32_t)meta.size : 0,
            .row_bytes = (uint32_t)(cuts[i + 1] - cuts[i]),
            .rows_total = rows_totals[i],
            .row_bytes_total = cuts[i + 1],
        };
        uint8_t *body = chunks[i].bytes + SNAPSHOT_HEADER_BYTES;
        memcpy(body, meta.data, header.meta_bytes);
        memcpy(body + header.meta_bytes, rows + cuts[i], header.row_bytes);
        chunks[i].size = SNAPSHOT_HEADER_BYTES + header.meta_bytes + header.row_bytes;
        snapshot_chunk_seal(chunks[i].bytes, &header, chain);
        chain = header.chain;
    }
    arena_done(&arena);
}

/* ---- right sums for wrong contents ---- */

static void rows_reseal(uint8_t *bytes, size_t size)
{
    struct kv_record record;
    while (size >= SNAPSHOT_ROW_HEADER_BYTES &&
           snapshot_row_decode(bytes, &record) == SNAPSHOT_OK) {
        size_t row_bytes = SNAPSHOT_ROW_HEADER_BYTES + record.key.size + record.value.size;
        if (row_bytes > size)
            return;
        record.key.data = bytes + SNAPSHOT_ROW_HEADER_BYTES;
        record.value.data = record.key.data + record.key.size;
        put_le64(bytes + ROW_AT_SUM, kv_record_sum(&record));
        bytes += row_bytes;
        size -= row_bytes;
    }
}

static void chunk_reseal(struct chunk *chunk, uint64_t chain_before)
{
    if (chunk->size < SNAPSHOT_HEADER_BYTES)
        return;
    size_t meta_bytes = get_le32(chunk->bytes + AT_META_BYTES);
    size_t row_bytes = get_le32(chunk->bytes + AT_ROW_BYTES);
    uint8_t *body = chunk->bytes + SNAPSHOT_HEADER_BYTES;
    if (SNAPSHOT_HEADER_BYTES + meta_bytes + row_bytes == chunk->size) {
        rows_reseal(body + meta_bytes, row_bytes);
        put_le64(chunk->bytes + AT_CHAIN,
                 checksum(slice_of(body, meta_bytes + row_bytes), chain_before));
    }
    reseal_chunk(chunk->bytes, chunk->size);
}

/* ---- chunks by themselves ---- */

/* Which of the stream, seal or not, then patches: place (2), length, bytes. */
static void chunk_read(struct fuzz_reader *r, struct chunk *ret_chunk, uint64_t chain_before)
{
    struct chunk stream[CHUNKS];
    stream_make(stream);
    uint8_t which = fuzz_u8(r);
    uint8_t patches = fuzz_u8(r);
    *ret_chunk = stream[which % CHUNKS];
    for (uint8_t i = 0; i < patches % 8; i++) {
        size_t at = fuzz_u16(r) % ret_chunk->size;
        struct slice patch = fuzz_take(r, fuzz_u8(r));
        if (patch.size > sizeof ret_chunk->bytes - at)
            patch.size = sizeof ret_chunk->bytes - at;
        if (patch.size > 0)
            memcpy(ret_chunk->bytes + at, patch.data, patch.size);
        if (patches & 8 && at + patch.size > 0)
            ret_chunk->size = at + patch.size; /* it ends there */
    }
    if (patches % 8 > 0 && which % 4 != 0)
        chunk_reseal(ret_chunk, chain_before);
}

/* A copy of its own size, so that a sanitizer sees who reads past it. */
static struct slice copy_of(const struct chunk *chunk)
{
    uint8_t *copy = malloc(chunk->size);
    ASSERT(copy != NULL);
    memcpy(copy, chunk->bytes, chunk->size);
    return slice_of(copy, chunk->size);
}

static void chunk_run(struct slice input)
{
    struct fuzz_reader r = { input };
    struct chunk chunk;
    struct snapshot_chunk_header header;
    struct slice meta_bytes;
    struct slice rows;
    chunk_read(&r, &chunk, snapshot_chain_start(SNAPSHOT_RIG_ID));
    struct slice bytes = copy_of(&chunk);
    if (snapshot_chunk_decode(bytes, &header, &meta_bytes, &rows) == SNAPSHOT_OK) {
        struct arena arena;
        struct snapshot_meta meta;
        struct slice again;
        arena_init(&arena, META_ARENA_BYTES);
        ASSERT(SNAPSHOT_HEADER_BYTES + meta_bytes.size + rows.size == bytes.size);
        IGNORE(!snapshot_chain_holds(&header, meta_bytes, rows, 0), "either is an answer");
        if (snapshot_meta_decode(meta_bytes, &arena, &meta) == SNAPSHOT_OK)
            ASSERT(snapshot_meta_encode(&meta, &arena, &again));
        arena_done(&arena);
    }
    free((void *)(uintptr_t)bytes.data);
}

static void chunk_seeds(fuzz_seed_fn *add, void *owner)
{
    static const uint8_t first[] = { 0, 0 };
    static const uint8_t meta[] = { 3, 1, 82, 0, 1, 9 };
    static const uint8_t sizes[] = { 1, 1, 44, 0, 4, 0xff, 0xff, 0xff, 0xff };
    static const uint8_t format[] = { 1, 2, 16, 0, 1, 2, 20, 0, 1, 7 };
    add(owner, "first", slice_of(first, sizeof first));
    add(owner, "meta", slice_of(meta, sizeof meta));
    add(owner, "sizes", slice_of(sizes, sizeof sizes));
    add(owner, "format", slice_of(format, sizeof format));
}

const struct fuzz_target fuzz_snapshot_chunk = { "snapshot_chunk", 20000, chunk_run, chunk_seeds };

/* ---- into a sink ---- */

/* It was complete: it can take the store's place, and is at its position. */
static void installed_check(struct store_rig *rig, const struct snapshot_meta *meta)
{
    ASSERT(store_switch(snapshot_rig_dir(rig)) == STORE_OK);
    ASSERT(store_rig_open(rig) == STORE_OK);
    ASSERT(rig->state.applied.index == meta->state.applied.index);
    ASSERT(rig->state.applied.term == meta->state.applied.term);
    ASSERT(rig->state.revision == meta->state.revision);
}

/* Chunks of the stream in any order, patched or not. */
static void snapshot_run(struct slice input)
{
    struct fuzz_reader r = { input };
    struct store_rig rig;
    struct chunk chunk;
    store_rig_init(&rig);
    rig.options.map_bytes = MAP_BYTES;
    struct snapshot_sink *sink = snapshot_rig_sink(&rig, BATCH_BYTES);
    struct snapshot_meta meta = { 0 };
    uint64_t chain = snapshot_chain_start(SNAPSHOT_RIG_ID);
    uint64_t next_seq = 0;
    bool is_complete = false;
    for (int i = 0; i < ADDS_MAX && r.left.size > 0 && !is_complete; i++) {
        chunk_read(&r, &chunk, chain);
        struct slice bytes = copy_of(&chunk);
        struct snapshot_add add = snapshot_rig_add(sink, bytes);
        free((void *)(uintptr_t)bytes.data);
        next_seq += add.err == SNAPSHOT_OK;
        ASSERT(add.next_seq == next_seq);
        if (add.err == SNAPSHOT_OK)
            chain = get_le64(chunk.bytes + AT_CHAIN);
        is_complete = add.complete;
    }
    if (is_complete)
        meta = *snapshot_sink_meta(sink);
    snapshot_rig_end(sink, true);
    ASSERT(snapshot_rig_has(&rig, STORE_DIR_NEW) == is_complete);
    if (is_complete)
        installed_check(&rig, &meta);
    store_rig_done(&rig);
}

static void snapshot_seeds(fuzz_seed_fn *add, void *owner)
{
    static const uint8_t whole[] = { 0, 0, 1, 0, 2, 0 };
    static const uint8_t again[] = { 1, 0, 0, 0, 0, 0, 2, 0, 1, 0, 1, 0, 2, 0 };
    static const uint8_t ends_early[] = { 0, 0, 1, 1, 20, 0, 1, 2 };
    static const uint8_t row[] = { 9, 1, 160, 0, 4, 1, 2, 3, 4, 1, 0, 2, 0 };
    static const uint8_t short_one[] = { 3, 9, 44, 0, 4, 0, 0, 0, 0, 1, 0 };
    add(owner, "whole", slice_of(whole, sizeof whole));
    add(owner, "again", slice_of(again, sizeof again));
    add(owner, "ends-early", slice_of(ends_early, sizeof ends_early));
    add(owner, "row", slice_of(row, sizeof row));
    add(owner, "short", slice_of(short_one, sizeof short_one));
}

const struct fuzz_target fuzz_snapshot = { "snapshot", 600, snapshot_run, snapshot_seeds };
