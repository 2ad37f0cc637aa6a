/* count_tree_internal.h: rows of the count tree, for its own files and their tests. */
#ifndef STORAGE_COUNT_TREE_INTERNAL_H
#define STORAGE_COUNT_TREE_INTERNAL_H

#include "storage/count_tree.h"

enum { COUNT_TREE_ROW_KEY_BYTES_MAX = 1 + COUNT_TREE_BOUNDARY_BYTES_MAX };

/* LMDB as Debian builds it takes keys of up to 511 bytes. */
_Static_assert(COUNT_TREE_ROW_KEY_BYTES_MAX <= 511, "a row's key fits in LMDB");

struct count_row {
    int level;             /* on which the row stands */
    struct slice boundary; /* decoded: a view into the row's key */
    int boundary_level;    /* the highest on which this boundary has a row */
    uint64_t count;
};

struct count_row_key {
    size_t size;
    uint8_t bytes[COUNT_TREE_ROW_KEY_BYTES_MAX];
};

static inline MDB_val count_row_key_val(struct count_row_key *k)
{
    return (MDB_val){ .mv_size = k->size, .mv_data = k->bytes };
}

/* boundary.size <= COUNT_TREE_BOUNDARY_BYTES_MAX. */
void count_row_key_encode(int level, struct slice boundary, struct count_row_key *ret_key);
void count_row_encode(const struct count_row *row, struct count_row_key *ret_key,
                      uint8_t ret_row[COUNT_TREE_ROW_BYTES]);
enum store_err count_row_decode(struct slice row_key, struct slice row, struct count_row *ret_row)
    __attribute__((warn_unused_result));

/* ---- rows at a cursor: views that stay valid until the transaction writes ---- */

/* The first row of the level at or after the boundary. */
enum store_err count_row_seek(MDB_cursor *rows, int level, struct slice boundary,
                              struct count_row *ret_row, bool *ret_found)
    __attribute__((warn_unused_result));

/* The row of the level whose block `key` lies in, or lies before with `is_before`: the last at or
 * before, or before, the key. There always is one but before the empty key. */
enum store_err count_row_floor(MDB_cursor *rows, int level, struct slice key, bool is_before,
                               struct count_row *ret_row) __attribute__((warn_unused_result));

/* The row of the level behind the one at the cursor. */
enum store_err count_row_next(MDB_cursor *rows, const struct count_row *row,
                              struct count_row *ret_next, bool *ret_found)
    __attribute__((warn_unused_result));

#endif
