/* Rows of records in the store's trees, of both formats. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "storage/key_tree_internal.h"
#include "storage/rev_tree.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/tree_env.h"

enum {
    FORMAT_WRITTEN = 2, /* and runs, 3 */
    CHECK_BYTES = 4,
    SUM_BYTES = 8,
    MORE_BYTES = 100,
    ARENA_BYTES = 1 << 20
};

/* ---- the key tree ---- */

static void check_seal(struct slice row_key, uint8_t *row, size_t size)
{
    if (size < CHECK_BYTES)
        return;
    uint64_t sum = checksum(slice_of(row, size - CHECK_BYTES), checksum(row_key, 0));
    put_le32(row + size - CHECK_BYTES, (uint32_t)sum);
}

/* One form: what is taken of the format that is written, made again, is the same bytes. */
static void key_row_run(int64_t revision, uint8_t *row, size_t size, bool seals)
{
    struct key_tree_row_key key;
    key_tree_row_key_encode(
        &(struct key_tree_place){ 0, slice_of_text("key"), KEY_TREE_RECORD, revision }, &key);
    struct slice row_key = slice_of(key.bytes, key.size);
    if (seals)
        check_seal(row_key, row, size);
    struct key_tree_run run;
    enum store_err err = key_tree_run_decode(row_key, slice_of(row, size), revision, &run);
    ASSERT(err == STORE_OK || err == STORE_E_CORRUPT || err == STORE_E_VERSION);
    if (err != STORE_OK || row[0] < FORMAT_WRITTEN)
        return;
    uint8_t again[KEY_TREE_RUN_ROW_BYTES_MAX];
    ASSERT(key_tree_run_encode(row_key, run.records, run.count, again) == size);
    ASSERT(memcmp(again, row, size) == 0);
}

/* ---- the rev tree ---- */

/* Of a record in one row: what the sum should be, if lengths and all make sense. */
static void sum_seal(int64_t revision, uint8_t *row, size_t size)
{
    struct kv_record record = { .mod = { .main = revision } };
    uint32_t key_bytes;
    size_t header_bytes;
    if (record_row_decode(slice_of(row, size), &record, &key_bytes, &header_bytes) != STORE_OK ||
        size - header_bytes != (uint64_t)key_bytes + record.value_bytes)
        return;
    record.key = slice_of(row + header_bytes, key_bytes);
    record.value = slice_of(row + header_bytes + key_bytes, record.value_bytes);
    put_le64(row + header_bytes - SUM_BYTES, kv_record_sum(&record));
}

static void rev_chunk_put(struct tree_env *env, MDB_dbi dbi, int64_t revision, uint32_t chunk,
                          struct slice row)
{
    uint8_t key[16] = { 0 };
    put_be64(key, (uint64_t)revision);
    put_be32(key + 12, chunk);
    MDB_val k = { .mv_size = sizeof key, .mv_data = key };
    MDB_val v = key_tree_val(row);
    ASSERT(mdb_put(env->txn, dbi, &k, &v, 0) == 0);
}

/* Chunk 0, behind which there is one more row: that is asked for where the lengths say so. */
static void rev_row_run(int64_t revision, uint8_t *row, size_t size, bool seals)
{
    static const uint8_t more[MORE_BYTES];
    static struct tree_env env;
    static MDB_dbi dbi;
    static bool is_open; /* one for the life of the process */
    if (!is_open) {
        tree_env_init(&env);
        ASSERT(rev_tree_open(env.txn, &dbi) == STORE_OK);
        tree_env_commit(&env);
        is_open = true;
    }
    if (seals)
        sum_seal(revision, row, size);
    struct kv_revision mod = { .main = revision };
    rev_chunk_put(&env, dbi, revision, 0, slice_of(row, size));
    rev_chunk_put(&env, dbi, revision, 1, slice_of(more, sizeof more));
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct kv_record got;
    MDB_cursor *cursor;
    ASSERT(mdb_cursor_open(env.txn, dbi, &cursor) == 0);
    enum store_err err = rev_tree_get(cursor, mod, &arena, &got);
    mdb_cursor_close(cursor);
    ASSERT(err == STORE_OK || err == STORE_E_CORRUPT || err == STORE_E_NOMEM);
    if (err == STORE_OK)
        ASSERT(kv_record_sum(&got) == got.sum && got.value.size == got.value_bytes);
    arena_done(&arena);
    mdb_txn_abort(env.txn); /* one for all runs would fill up with the pages of rows that went */
    ASSERT(mdb_txn_begin(env.env, NULL, 0, &env.txn) == 0);
}

/* ---- both ---- */

/* Whether sums are made right, and the row's revision (2), then the row. Each time in a copy of
 * its own size, so that a sanitizer sees who reads past it. */
static void row_run(struct slice input)
{
    struct fuzz_reader r = { input };
    bool seals = fuzz_u8(&r) % 4 != 0;
    int64_t revision = fuzz_u16(&r) + 1;
    void (*const runs[])(int64_t, uint8_t *, size_t, bool) = { key_row_run, rev_row_run };
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        uint8_t *copy = malloc(r.left.size + (r.left.size == 0));
        ASSERT(copy != NULL);
        if (r.left.size > 0)
            memcpy(copy, r.left.data, r.left.size);
        runs[i](revision, copy, r.left.size, seals);
        free(copy);
    }
}

static void seed_add(fuzz_seed_fn *add, void *owner, const char *name, struct slice numbers,
                     struct slice rest)
{
    static struct fuzz_writer w;
    w.size = 0;
    fuzz_put_u8(&w, 1);
    fuzz_put_u16(&w, 299);
    fuzz_put(&w, numbers);
    fuzz_put(&w, rest);
    add(owner, name, slice_of(w.bytes, w.size));
}

static void row_seeds(fuzz_seed_fn *add, void *owner)
{
    static const uint8_t old[44] = { 1, 0, 0, 0, 3, 0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0, 0, 0,
                                     0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0 };
    static const uint8_t filler[REV_TREE_CHUNK_BYTES];
    struct slice check = slice_of(filler, CHECK_BYTES);
    struct slice key_and_value = slice_of_text("keyvalue");
    struct kv_record record = {
        .mod = { .main = 300 }, .create_revision = 9, .version = 150, .value_bytes = 5
    };
    uint8_t bytes[RECORD_ROW_BYTES_MAX];
    struct slice numbers = slice_of(bytes, record_row_encode(&record, 3, bytes));
    seed_add(add, owner, "key", numbers, check);
    seed_add(add, owner, "rev", numbers, key_and_value);
    record.lease = 0x1122334455667788;
    numbers.size = record_row_encode(&record, 3, bytes);
    seed_add(add, owner, "lease-key", numbers, check);
    seed_add(add, owner, "lease-rev", numbers, key_and_value);
    record = (struct kv_record){ .mod = { .main = 300 }, .tombstone = true };
    numbers.size = record_row_encode(&record, 3, bytes);
    seed_add(add, owner, "tombstone-key", numbers, check);
    seed_add(add, owner, "tombstone-rev", numbers, slice_of_text("key"));
    seed_add(add, owner, "old-key", slice_of(old, sizeof old), check);
    seed_add(add, owner, "old-rev", slice_of(old, sizeof old), key_and_value);
    const struct kv_record run[] = {
        { .mod = { .main = 310 }, .create_revision = 9, .version = 3, .value_bytes = 5 },
        { .mod = { .main = 305 }, .create_revision = 9, .version = 2, .value_bytes = 5 },
        { .mod = { .main = 300 }, .tombstone = true },
    };
    struct key_tree_row_key key = { 0 };
    uint8_t row[KEY_TREE_RUN_ROW_BYTES_MAX];
    size_t size = key_tree_run_encode(slice_of(key.bytes, key.size), run, 3, row);
    seed_add(add, owner, "run", slice_of(row, size - CHECK_BYTES), check);
    /* In two rows: of the second only the size is right, so that it is read and then refused. */
    record = (struct kv_record){ .mod = { .main = 300 }, .create_revision = 300 };
    enum { KEY_BYTES = 80, NUMBERS_BYTES = 15 };
    record.value_bytes = REV_TREE_CHUNK_BYTES + MORE_BYTES - NUMBERS_BYTES - KEY_BYTES;
    numbers.size = record_row_encode(&record, KEY_BYTES, bytes);
    ASSERT(numbers.size == NUMBERS_BYTES);
    seed_add(add, owner, "two-rows", numbers,
             slice_of(filler, REV_TREE_CHUNK_BYTES - NUMBERS_BYTES));
}

const struct fuzz_target fuzz_row = { "row", 60000, row_run, row_seeds };
