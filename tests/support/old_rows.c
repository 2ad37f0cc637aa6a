#include "tests/support/old_rows.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "storage/key_tree_internal.h"
#include "storage/rev_tree.h"
#include "storage/store_internal.h"

enum { NUMBERS_BYTES = 44, CHECK_BYTES = 4, REV_KEY_BYTES = 16, ARENA_BYTES = 1 << 28 };

static void numbers_put(uint8_t *to, const struct kv_record *record, uint32_t number)
{
    to[0] = 1;
    to[1] = record->tombstone;
    put_le16(to + 2, 0);
    put_le32(to + 4, number);
    put_le32(to + 8, record->value_bytes);
    put_le64(to + 12, (uint64_t)record->create_revision);
    put_le64(to + 20, (uint64_t)record->version);
    put_le64(to + 28, (uint64_t)record->lease);
    put_le64(to + 36, record->sum);
}

static void row_put(MDB_txn *txn, MDB_dbi dbi, struct slice key, struct slice row)
{
    MDB_val k = key_tree_val(key);
    MDB_val v = key_tree_val(row);
    ASSERT(mdb_put(txn, dbi, &k, &v, 0) == MDB_SUCCESS);
}

void old_rows_put_key(MDB_txn *txn, MDB_dbi dbi, struct slice row_key,
                      const struct kv_record *record)
{
    uint8_t row[NUMBERS_BYTES + CHECK_BYTES];
    numbers_put(row, record, record->mod.sub);
    put_le32(row + NUMBERS_BYTES,
             (uint32_t)checksum(slice_of(row, NUMBERS_BYTES), checksum(row_key, 0)));
    row_put(txn, dbi, row_key, slice_of(row, sizeof row));
}

void old_rows_put_rev(MDB_txn *txn, MDB_dbi dbi, const struct kv_record *record)
{
    ASSERT(rev_tree_remove(txn, dbi, record->mod) == STORE_OK);
    size_t run_bytes = NUMBERS_BYTES + record->key.size + record->value.size;
    uint8_t *run = malloc(run_bytes);
    ASSERT(run != NULL);
    numbers_put(run, record, (uint32_t)record->key.size);
    memcpy(run + NUMBERS_BYTES, record->key.data, record->key.size);
    if (record->value.size > 0)
        memcpy(run + NUMBERS_BYTES + record->key.size, record->value.data, record->value.size);
    uint32_t chunk = 0;
    for (size_t at = 0; at < run_bytes; at += REV_TREE_CHUNK_BYTES) {
        uint8_t key[REV_KEY_BYTES];
        put_be64(key, (uint64_t)record->mod.main);
        put_be32(key + 8, record->mod.sub);
        put_be32(key + 12, chunk++);
        size_t left = run_bytes - at;
        row_put(
            txn, dbi, slice_of(key, sizeof key),
            slice_of(run + at, left < REV_TREE_CHUNK_BYTES ? left : (size_t)REV_TREE_CHUNK_BYTES));
    }
    free(run);
}

/* A copy: views into the map end with the next write. */
static struct slice copy_of(struct arena *arena, struct slice bytes)
{
    uint8_t *copy = arena_alloc(arena, bytes.size + 1);
    ASSERT(copy != NULL);
    if (bytes.size > 0)
        memcpy(copy, bytes.data, bytes.size);
    return slice_of(copy, bytes.size);
}

static void revs_make(MDB_txn *txn, MDB_dbi dbi)
{
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct kv_record record;
    bool found;
    struct kv_revision at = { 0 };
    for (;; at = (struct kv_revision){ record.mod.main, record.mod.sub + 1 }) {
        arena_reset(&arena);
        ASSERT(rev_tree_next(txn, dbi, at, &arena, &record, &found) == STORE_OK);
        if (!found)
            break;
        record.key = copy_of(&arena, record.key);
        record.value = copy_of(&arena, record.value);
        old_rows_put_rev(txn, dbi, &record);
    }
    arena_done(&arena);
}

/* The row behind `key`, or the first one. */
static bool row_after(MDB_txn *txn, MDB_dbi dbi, struct key_tree_row_key *key, MDB_val *ret_row)
{
    MDB_cursor *cursor;
    MDB_val k = key_tree_row_key_val(key);
    ASSERT(mdb_cursor_open(txn, dbi, &cursor) == MDB_SUCCESS);
    int rc = MDB_SUCCESS;
    if (key->size > 0)
        rc = mdb_cursor_get(cursor, &k, ret_row, MDB_SET);
    ASSERT(rc == MDB_SUCCESS);
    rc = mdb_cursor_get(cursor, &k, ret_row, MDB_NEXT);
    mdb_cursor_close(cursor);
    if (rc != MDB_SUCCESS)
        return false;
    memcpy(key->bytes, k.mv_data, k.mv_size);
    key->size = k.mv_size;
    return true;
}

static void keys_make(MDB_txn *txn, MDB_dbi dbi)
{
    struct key_tree_row_key key = { 0 };
    MDB_val row;
    while (row_after(txn, dbi, &key, &row)) {
        struct slice row_key = slice_of(key.bytes, key.size);
        struct key_tree_place place;
        ASSERT(key_tree_row_key_decode(row_key, &place) == STORE_OK);
        if (place.kind != KEY_TREE_RECORD)
            continue;
        struct key_tree_run run;
        ASSERT(key_tree_run_decode(row_key, key_tree_slice(&row), place.revision, &run) ==
               STORE_OK);
        for (uint32_t i = 0; i < run.count; i++) {
            struct key_tree_row_key own;
            struct key_tree_place at = place;
            at.revision = run.records[i].mod.main;
            key_tree_row_key_encode(&at, &own);
            old_rows_put_key(txn, dbi, slice_of(own.bytes, own.size), &run.records[i]);
        }
    }
}

void old_rows_make(struct store *store)
{
    struct store_handles handles = store_handles(store);
    MDB_txn *txn;
    ASSERT(mdb_txn_begin(handles.env, NULL, 0, &txn) == MDB_SUCCESS);
    revs_make(txn, handles.rev);
    keys_make(txn, handles.key);
    ASSERT(mdb_txn_commit(txn) == MDB_SUCCESS);
}
