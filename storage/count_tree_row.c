/* The rows of the count tree: which keys are boundaries, codec, and steps of a cursor. */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "storage/count_tree_internal.h"
#include "storage/key_tree_internal.h"
#include "storage/store_internal.h"

/* Part of the format: other numbers make another tree. Where they come from: a block's keys are
 * walked at 0.15 us each, a row at half of that, and a step to another level costs a search. */
enum { BLOCK_BITS = 5, LEVEL_BITS = 4 };
static const uint64_t boundary_seed = 0x636f756e74; /* "count" */

enum {
    ROW_FORMAT = 0,
    ROW_BOUNDARY_LEVEL = 1,
    ROW_ZERO = 2,
    ROW_COUNT = 4,
    ROW_CHECK = 12,
    ROW_FORMAT_VERSION = 1,
    ROW_CHECK_BYTES = 4
};
_Static_assert(ROW_CHECK + ROW_CHECK_BYTES == COUNT_TREE_ROW_BYTES, "count row");

int count_tree_level_of(struct slice key)
{
    if (key.size == 0 || key.size > COUNT_TREE_BOUNDARY_BYTES_MAX)
        return COUNT_TREE_NONE;
    /* A bit that ends the count of zeros at the highest level. */
    uint64_t top = (uint64_t)1 << (BLOCK_BITS + LEVEL_BITS * (COUNT_TREE_LEVELS - 1));
    int zeros = __builtin_ctzll(checksum(key, boundary_seed) | top);
    return zeros < BLOCK_BITS ? COUNT_TREE_NONE : (zeros - BLOCK_BITS) / LEVEL_BITS;
}

void count_row_key_encode(int level, struct slice boundary, struct count_row_key *ret_key)
{
    ASSERT(level >= 0 && level < COUNT_TREE_LEVELS);
    ASSERT(boundary.size <= COUNT_TREE_BOUNDARY_BYTES_MAX);
    ret_key->bytes[0] = (uint8_t)level;
    if (boundary.size > 0)
        memcpy(ret_key->bytes + 1, boundary.data, boundary.size);
    ret_key->size = 1 + boundary.size;
}

static uint32_t row_check(struct slice row_key, const uint8_t *row)
{
    uint64_t seed = checksum(row_key, 0);
    return (uint32_t)checksum(slice_of(row, ROW_CHECK), seed);
}

void count_row_encode(const struct count_row *row, struct count_row_key *ret_key,
                      uint8_t ret_row[COUNT_TREE_ROW_BYTES])
{
    count_row_key_encode(row->level, row->boundary, ret_key);
    ret_row[ROW_FORMAT] = ROW_FORMAT_VERSION;
    ret_row[ROW_BOUNDARY_LEVEL] = (uint8_t)row->boundary_level;
    put_le16(ret_row + ROW_ZERO, 0);
    put_le64(ret_row + ROW_COUNT, row->count);
    put_le32(ret_row + ROW_CHECK, row_check(slice_of(ret_key->bytes, ret_key->size), ret_row));
}

/* The checksum comes first: only a row that was written so can be of a newer format. */
enum store_err count_row_decode(struct slice row_key, struct slice row, struct count_row *ret_row)
{
    if (row_key.size < 1 || row_key.size > COUNT_TREE_ROW_KEY_BYTES_MAX ||
        row.size != COUNT_TREE_ROW_BYTES ||
        get_le32(row.data + ROW_CHECK) != row_check(row_key, row.data))
        return STORE_E_CORRUPT;
    if (row.data[ROW_FORMAT] != ROW_FORMAT_VERSION || get_le16(row.data + ROW_ZERO) != 0)
        return STORE_E_VERSION;
    struct count_row decoded = {
        .level = row_key.data[0],
        .boundary = slice_of(row_key.data + 1, row_key.size - 1),
        .boundary_level = row.data[ROW_BOUNDARY_LEVEL],
        .count = get_le64(row.data + ROW_COUNT),
    };
    if (decoded.boundary_level >= COUNT_TREE_LEVELS || decoded.level > decoded.boundary_level)
        return STORE_E_CORRUPT;
    *ret_row = decoded;
    return STORE_OK;
}

/* ---- the tree ---- */

enum store_err count_tree_open(MDB_txn *txn, unsigned flags, MDB_dbi *ret_dbi)
{
    return store_err_of_mdb(mdb_dbi_open(txn, "count", flags, ret_dbi));
}

enum store_err count_tree_reset(MDB_txn *txn, MDB_dbi dbi)
{
    int code = mdb_drop(txn, dbi, 0);
    for (int level = 0; code == 0 && level < COUNT_TREE_LEVELS; level++) {
        struct count_row row = { .level = level, .boundary_level = COUNT_TREE_LEVELS - 1 };
        struct count_row_key key;
        uint8_t bytes[COUNT_TREE_ROW_BYTES];
        count_row_encode(&row, &key, bytes);
        MDB_val k = count_row_key_val(&key);
        MDB_val v = { .mv_size = sizeof bytes, .mv_data = bytes };
        code = mdb_put(txn, dbi, &k, &v, 0);
    }
    return store_err_of_mdb(code);
}

/* ---- at a cursor ---- */

static enum store_err row_take(int code, const MDB_val *k, const MDB_val *v, int level,
                               struct count_row *ret_row, bool *ret_found)
{
    *ret_found = false;
    if (code != 0)
        return code == MDB_NOTFOUND ? STORE_OK : store_err_of_mdb(code);
    struct count_row row;
    enum store_err err = count_row_decode(key_tree_slice(k), key_tree_slice(v), &row);
    if (err != STORE_OK)
        return err;
    *ret_found = row.level == level;
    if (*ret_found)
        *ret_row = row;
    return STORE_OK;
}

enum store_err count_row_seek(MDB_cursor *rows, int level, struct slice boundary,
                              struct count_row *ret_row, bool *ret_found)
{
    struct count_row_key key;
    count_row_key_encode(level, boundary, &key);
    MDB_val k = count_row_key_val(&key);
    MDB_val v;
    int code = mdb_cursor_get(rows, &k, &v, MDB_SET_RANGE);
    enum store_err err = row_take(code, &k, &v, level, ret_row, ret_found);
    /* Where pages rotted a search may lead back. */
    if (err == STORE_OK && *ret_found && slice_compare(ret_row->boundary, boundary) < 0)
        return STORE_E_CORRUPT;
    return err;
}

/* A long key is no boundary: its first bytes stand in the same block, unless they are one. */
static struct slice place_of(struct slice key, bool *is_before)
{
    if (key.size <= COUNT_TREE_BOUNDARY_BYTES_MAX)
        return key;
    *is_before = false;
    return slice_of(key.data, COUNT_TREE_BOUNDARY_BYTES_MAX);
}

enum store_err count_row_floor(MDB_cursor *rows, int level, struct slice key, bool is_before,
                               struct count_row *ret_row)
{
    struct slice place = place_of(key, &is_before);
    struct count_row_key encoded;
    count_row_key_encode(level, place, &encoded);
    MDB_val k = count_row_key_val(&encoded);
    MDB_val v;
    int code = mdb_cursor_get(rows, &k, &v, MDB_SET_RANGE);
    bool is_at = code == 0 && !is_before &&
                 slice_equal(key_tree_slice(&k), slice_of(encoded.bytes, encoded.size));
    if (!is_at && (code == 0 || code == MDB_NOTFOUND))
        code = mdb_cursor_get(rows, &k, &v, code == 0 ? MDB_PREV : MDB_LAST);
    bool found;
    enum store_err err = row_take(code, &k, &v, level, ret_row, &found);
    if (err == STORE_OK && (!found || slice_compare(ret_row->boundary, place) > 0))
        return STORE_E_CORRUPT;
    return err;
}

enum store_err count_row_next(MDB_cursor *rows, const struct count_row *row,
                              struct count_row *ret_next, bool *ret_found)
{
    MDB_val k;
    MDB_val v;
    struct slice before = row->boundary;
    int code = mdb_cursor_get(rows, &k, &v, MDB_NEXT);
    enum store_err err = row_take(code, &k, &v, row->level, ret_next, ret_found);
    if (err == STORE_OK && *ret_found && slice_compare(ret_next->boundary, before) <= 0)
        return STORE_E_CORRUPT;
    return err;
}
