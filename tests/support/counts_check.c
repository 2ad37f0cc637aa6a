#include "tests/support/counts_check.h"

#include <stdio.h>

#include "base/assert.h"
#include "storage/count_tree_internal.h"
#include "storage/store_internal.h"

struct counts_check {
    MDB_cursor *rows;
    struct key_tree_cursor *keys;
    /* Of each level the block that the walk is in. */
    struct {
        struct count_row_key start;
        int boundary_level;
        uint64_t count;
    } blocks[COUNT_TREE_LEVELS];
    size_t row_count;
    char *why;
};

static bool wrong(struct counts_check *c, const char *what, int level, uint64_t is, uint64_t want)
{
    IGNORE(snprintf(c->why, COUNTS_CHECK_WHY_BYTES, "%s on level %d: %lu, not %lu", what, level, is,
                    want) < 0,
           "the text is for people");
    return false;
}

static bool block_end(struct counts_check *c, int level)
{
    struct count_row_key *start = &c->blocks[level].start;
    struct slice boundary = slice_of(start->bytes + 1, start->size - 1);
    struct count_row row;
    bool found;
    enum store_err err = count_row_seek(c->rows, level, boundary, &row, &found);
    if (err != STORE_OK || !found || !slice_equal(row.boundary, boundary))
        return wrong(c, "a row that cannot be read", level, (uint64_t)err, 0);
    c->row_count++;
    if (row.boundary_level != c->blocks[level].boundary_level)
        return wrong(c, "the level of a boundary", level, (uint64_t)row.boundary_level,
                     (uint64_t)c->blocks[level].boundary_level);
    return row.count == c->blocks[level].count ||
           wrong(c, "a block's count", level, row.count, c->blocks[level].count);
}

static void block_begin(struct counts_check *c, int level, struct slice boundary, int highest)
{
    count_row_key_encode(level, boundary, &c->blocks[level].start);
    c->blocks[level].boundary_level = highest;
    c->blocks[level].count = 0;
}

static bool key_add(struct counts_check *c, struct slice key)
{
    int highest = count_tree_level_of(key);
    for (int level = 0; level <= highest; level++) {
        if (!block_end(c, level))
            return false;
        block_begin(c, level, key, highest);
    }
    for (int level = 0; level < COUNT_TREE_LEVELS; level++)
        c->blocks[level].count++;
    return true;
}

static bool keys_check(struct counts_check *c)
{
    struct kv_record record;
    bool found;
    for (int level = 0; level < COUNT_TREE_LEVELS; level++)
        block_begin(c, level, slice_of(NULL, 0), COUNT_TREE_LEVELS - 1);
    enum store_err err = key_tree_cursor_seek(c->keys, slice_of(NULL, 0), &record, &found);
    while (err == STORE_OK && found) {
        if (!record.tombstone && !key_add(c, record.key))
            return false;
        err = key_tree_cursor_next(c->keys, &record, &found);
    }
    if (err != STORE_OK)
        return wrong(c, "the key tree cannot be read", 0, (uint64_t)err, 0);
    for (int level = 0; level < COUNT_TREE_LEVELS; level++)
        if (!block_end(c, level))
            return false;
    return true;
}

bool counts_are_right(struct store *store, char why[COUNTS_CHECK_WHY_BYTES])
{
    struct store_handles handles = store_handles(store);
    struct counts_check c = { .why = why };
    MDB_txn *txn;
    MDB_stat stat;
    int64_t revision;
    ASSERT(mdb_txn_begin(handles.env, NULL, MDB_RDONLY, &txn) == 0);
    ASSERT(store_published_revision(store, txn, &revision) == STORE_OK);
    ASSERT(mdb_stat(txn, handles.count, &stat) == 0);
    ASSERT(mdb_cursor_open(txn, handles.count, &c.rows) == 0);
    ASSERT(key_tree_cursor_open(txn, handles.key, revision, false, &c.keys) == STORE_OK);
    bool is_right = keys_check(&c) && (c.row_count == stat.ms_entries ||
                                       wrong(&c, "rows", 0, stat.ms_entries, c.row_count));
    key_tree_cursor_close(c.keys);
    mdb_cursor_close(c.rows);
    mdb_txn_abort(txn);
    return is_right;
}
