#include "storage/rev_tree.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "storage/store_internal.h"

enum { ROW_AT_SUB = 8, ROW_AT_CHUNK = 12, ROW_KEY_BYTES = 16 };

/* Of a row that is found ahead of its use; the processor sees itself that a longer one goes on. */
enum { AHEAD_BYTES_MAX = 512, CACHE_LINE_BYTES = 64 };

/* Not inlined, so that what compares keys of ours needs no stack. */
__attribute__((noinline)) static int foreign_key_compare(const MDB_val *a, const MDB_val *b)
{
    return slice_compare(slice_of(a->mv_data, a->mv_size), slice_of(b->mv_data, b->mv_size));
}

/* LMDB's own order; for keys of the size that all of ours have it is that of two numbers. */
static int row_key_compare(const MDB_val *a, const MDB_val *b)
{
    if (a->mv_size != ROW_KEY_BYTES || b->mv_size != ROW_KEY_BYTES)
        return foreign_key_compare(a, b);
    const uint8_t *x = a->mv_data;
    const uint8_t *y = b->mv_data;
    uint64_t p = get_be64(x);
    uint64_t q = get_be64(y);
    if (p == q) {
        p = get_be64(x + ROW_AT_SUB);
        q = get_be64(y + ROW_AT_SUB);
    }
    return (p > q) - (p < q);
}

enum store_err rev_tree_open(MDB_txn *txn, MDB_dbi *ret_dbi)
{
    int rc = mdb_dbi_open(txn, "rev", MDB_CREATE, ret_dbi);
    if (rc == MDB_SUCCESS)
        rc = mdb_set_compare(txn, *ret_dbi, row_key_compare);
    return store_err_of_mdb(rc);
}

static void row_key_put(uint8_t *key, struct kv_revision mod, uint32_t chunk)
{
    put_be64(key, (uint64_t)mod.main);
    put_be32(key + ROW_AT_SUB, mod.sub);
    put_be32(key + ROW_AT_CHUNK, chunk);
}

/* ---- writing ---- */

/* Header, key and value as one run of bytes: copies up to `size` of it from `offset` on. */
static void run_copy(const struct slice parts[3], size_t offset, uint8_t *to, size_t size)
{
    for (int i = 0; i < 3 && size > 0; i++) {
        if (offset >= parts[i].size) {
            offset -= parts[i].size;
            continue;
        }
        size_t part_bytes = parts[i].size - offset < size ? parts[i].size - offset : size;
        memcpy(to, parts[i].data + offset, part_bytes);
        to += part_bytes;
        size -= part_bytes;
        offset = 0;
    }
}

/* A record that was written in the format before may have had a row more. */
static enum store_err chunks_after_remove(MDB_txn *txn, MDB_dbi dbi, struct kv_revision mod,
                                          uint32_t chunk)
{
    int rc = MDB_SUCCESS;
    for (; rc == MDB_SUCCESS; chunk++) {
        uint8_t key[ROW_KEY_BYTES];
        row_key_put(key, mod, chunk);
        MDB_val k = { .mv_size = sizeof key, .mv_data = key };
        rc = mdb_del(txn, dbi, &k, NULL);
    }
    return rc == MDB_NOTFOUND ? STORE_OK : store_err_of_mdb(rc);
}

enum store_err rev_tree_put(MDB_txn *txn, MDB_dbi dbi, const struct kv_record *record)
{
    ASSERT(record->mod.main > 0);
    ASSERT(record->value_bytes == record->value.size);
    ASSERT(record->key.size <= REV_TREE_RECORD_BYTES_MAX);
    ASSERT(record->value.size <= REV_TREE_RECORD_BYTES_MAX - record->key.size);
    uint8_t header[REV_TREE_HEADER_BYTES_MAX];
    size_t header_bytes = record_row_encode(record, (uint32_t)record->key.size, header);
    const struct slice parts[3] = { slice_of(header, header_bytes), record->key, record->value };
    size_t run_bytes = header_bytes + record->key.size + record->value.size;
    uint32_t chunk = 0;
    bool is_last = true;
    for (size_t offset = 0; offset < run_bytes; offset += REV_TREE_CHUNK_BYTES) {
        size_t left = run_bytes - offset;
        size_t size = left < REV_TREE_CHUNK_BYTES ? left : REV_TREE_CHUNK_BYTES;
        uint8_t key[ROW_KEY_BYTES];
        row_key_put(key, record->mod, chunk++);
        uint8_t *room;
        enum store_err err =
            store_row_append(txn, dbi, slice_of(key, sizeof key), size, &room, &is_last);
        if (err != STORE_OK)
            return err;
        run_copy(parts, offset, room, size);
    }
    return is_last ? STORE_OK : chunks_after_remove(txn, dbi, record->mod, chunk);
}

/* ---- reading ---- */

/* Key and value as sizes alone; record->mod is set. Unlike the key tree's rows these have no sum
 * but the record's: a newer format cannot be told from damage here, the meta row tells it. */
static enum store_err header_get(struct slice row, struct kv_record *record,
                                 size_t *ret_header_bytes)
{
    uint32_t key_bytes;
    if (row.size > REV_TREE_CHUNK_BYTES ||
        record_row_decode(row, record, &key_bytes, ret_header_bytes) != STORE_OK)
        return STORE_E_CORRUPT;
    if (key_bytes > REV_TREE_RECORD_BYTES_MAX ||
        record->value_bytes > REV_TREE_RECORD_BYTES_MAX - key_bytes)
        return STORE_E_CORRUPT;
    record->key = slice_of(NULL, key_bytes);
    record->value = slice_of(NULL, record->value_bytes);
    return STORE_OK;
}

/* Absent is damage here: chunk 0, or the key tree, said that the row is there. */
static enum store_err row_get(MDB_cursor *cursor, struct kv_revision mod, uint32_t chunk,
                              struct slice *ret_row)
{
    uint8_t key[ROW_KEY_BYTES];
    row_key_put(key, mod, chunk);
    MDB_val k = { .mv_size = sizeof key, .mv_data = key };
    MDB_val v;
    int rc = mdb_cursor_get(cursor, &k, &v, MDB_SET);
    if (rc == MDB_NOTFOUND)
        return STORE_E_CORRUPT;
    if (rc != MDB_SUCCESS)
        return store_err_of_mdb(rc);
    *ret_row = slice_of(v.mv_data, v.mv_size);
    return STORE_OK;
}

/* Chunks 1 .. last behind what chunk 0 holds. The last is looked at first: a length that rotted
 * in chunk 0 asks for no memory that the rows do not back. */
static enum store_err chunks_join(MDB_cursor *cursor, const struct kv_record *record,
                                  struct slice row, size_t header_bytes, struct arena *arena,
                                  uint8_t **ret_bytes)
{
    size_t run_bytes = header_bytes + record->key.size + record->value.size;
    uint32_t last = (uint32_t)((run_bytes - 1) / REV_TREE_CHUNK_BYTES);
    size_t last_bytes = run_bytes - (size_t)last * REV_TREE_CHUNK_BYTES;
    struct slice chunk;
    enum store_err err = row_get(cursor, record->mod, last, &chunk);
    if (err != STORE_OK)
        return err;
    if (row.size != REV_TREE_CHUNK_BYTES || chunk.size != last_bytes)
        return STORE_E_CORRUPT;
    uint8_t *bytes = arena_alloc(arena, run_bytes - header_bytes);
    if (bytes == NULL)
        return STORE_E_NOMEM;
    uint8_t *to = bytes;
    memcpy(to, row.data + header_bytes, row.size - header_bytes);
    to += row.size - header_bytes;
    for (uint32_t i = 1; i <= last; i++) {
        err = row_get(cursor, record->mod, i, &chunk);
        if (err != STORE_OK)
            return err;
        if (chunk.size != (i == last ? last_bytes : REV_TREE_CHUNK_BYTES))
            return STORE_E_CORRUPT;
        memcpy(to, chunk.data, chunk.size);
        to += chunk.size;
    }
    *ret_bytes = bytes;
    return STORE_OK;
}

/* `row` is chunk 0 of the record at mod. */
enum store_err rev_tree_load(MDB_cursor *cursor, struct kv_revision mod, struct slice row,
                             struct arena *arena, struct kv_record *ret_record)
{
    struct kv_record record = { .mod = mod };
    size_t header_bytes;
    enum store_err err = header_get(row, &record, &header_bytes);
    if (err != STORE_OK)
        return err;
    size_t run_bytes = header_bytes + record.key.size + record.value.size;
    const uint8_t *bytes;
    if (run_bytes <= REV_TREE_CHUNK_BYTES) {
        if (row.size != run_bytes)
            return STORE_E_CORRUPT;
        bytes = row.data + header_bytes;
    } else {
        uint8_t *joined;
        err = chunks_join(cursor, &record, row, header_bytes, arena, &joined);
        if (err != STORE_OK)
            return err;
        bytes = joined;
    }
    record.key.data = bytes;
    record.value.data = bytes + record.key.size;
    if (kv_record_sum(&record) != record.sum)
        return STORE_E_CORRUPT;
    *ret_record = record;
    return STORE_OK;
}

enum store_err rev_tree_find(MDB_cursor *cursor, struct kv_revision mod, struct slice *ret_row)
{
    enum store_err err = row_get(cursor, mod, 0, ret_row);
    if (err != STORE_OK)
        return err;
    size_t ahead = ret_row->size < AHEAD_BYTES_MAX ? ret_row->size : AHEAD_BYTES_MAX;
    for (size_t at = 0; at < ahead; at += CACHE_LINE_BYTES)
        __builtin_prefetch(ret_row->data + at);
    return STORE_OK;
}

enum store_err rev_tree_get(MDB_cursor *cursor, struct kv_revision mod, struct arena *arena,
                            struct kv_record *ret_record)
{
    struct slice row;
    enum store_err err = row_get(cursor, mod, 0, &row);
    return err == STORE_OK ? rev_tree_load(cursor, mod, row, arena, ret_record) : err;
}

/* The first row at or after mod; MDB_NOTFOUND at the end. */
static int row_seek(MDB_cursor *cursor, struct kv_revision mod, MDB_val *ret_key, MDB_val *ret_row)
{
    uint8_t key[ROW_KEY_BYTES];
    row_key_put(key, mod, 0);
    *ret_key = (MDB_val){ .mv_size = sizeof key, .mv_data = key };
    return mdb_cursor_get(cursor, ret_key, ret_row, MDB_SET_RANGE);
}

/* The record whose chunk 0 is the first row at or after mod. */
static enum store_err record_seek(MDB_cursor *cursor, struct kv_revision mod, struct arena *arena,
                                  struct kv_record *ret_record, bool *ret_found)
{
    MDB_val k;
    MDB_val v;
    int rc = row_seek(cursor, mod, &k, &v);
    *ret_found = rc == MDB_SUCCESS;
    if (rc == MDB_NOTFOUND)
        return STORE_OK;
    if (rc != MDB_SUCCESS)
        return store_err_of_mdb(rc);
    const uint8_t *key = k.mv_data;
    if (k.mv_size != ROW_KEY_BYTES || get_be32(key + ROW_AT_CHUNK) != 0)
        return STORE_E_CORRUPT;
    struct kv_revision at = { .main = (int64_t)get_be64(key), .sub = get_be32(key + ROW_AT_SUB) };
    /* A branch page that rotted leads elsewhere: a walk must not go in circles. */
    if (at.main < mod.main || (at.main == mod.main && at.sub < mod.sub))
        return STORE_E_CORRUPT;
    return rev_tree_load(cursor, at, slice_of(v.mv_data, v.mv_size), arena, ret_record);
}

enum store_err rev_tree_next(MDB_txn *txn, MDB_dbi dbi, struct kv_revision mod, struct arena *arena,
                             struct kv_record *ret_record, bool *ret_found)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, dbi, &cursor);
    if (rc != MDB_SUCCESS)
        return store_err_of_mdb(rc);
    enum store_err err = record_seek(cursor, mod, arena, ret_record, ret_found);
    mdb_cursor_close(cursor);
    return err;
}

/* ---- removing ---- */

static int chunks_remove(MDB_cursor *cursor, struct kv_revision mod)
{
    uint8_t want[ROW_KEY_BYTES];
    row_key_put(want, mod, 0);
    MDB_val k;
    MDB_val v;
    int rc = row_seek(cursor, mod, &k, &v);
    while (rc == MDB_SUCCESS && k.mv_size == ROW_KEY_BYTES &&
           memcmp(k.mv_data, want, ROW_AT_CHUNK) == 0) {
        rc = mdb_cursor_del(cursor, 0);
        if (rc == MDB_SUCCESS)
            rc = row_seek(cursor, mod, &k, &v);
    }
    return rc == MDB_NOTFOUND ? MDB_SUCCESS : rc;
}

enum store_err rev_tree_remove(MDB_txn *txn, MDB_dbi dbi, struct kv_revision mod)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, dbi, &cursor);
    if (rc != MDB_SUCCESS)
        return store_err_of_mdb(rc);
    rc = chunks_remove(cursor, mod);
    mdb_cursor_close(cursor);
    return store_err_of_mdb(rc);
}
