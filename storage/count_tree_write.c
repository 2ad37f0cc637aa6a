/* Changing the count tree: births and deaths of keys, in key order.
 *
 * Of each level the block that the last key lay in is in memory, with what the changes so far made
 * of it; it is written when a key lies behind it. So many changes of one block are one write, and
 * after each change the rows are those of a key space in which the keys up to there have changed
 * and those behind it have not: where a new boundary splits a block, what lies behind it is counted
 * in the key tree of before, in one walk however often the block is split. */
#include "base/assert.h"
#include "storage/count_tree_internal.h"
#include "storage/key_tree_internal.h"
#include "storage/store_internal.h"

static void boundary_set(struct count_boundary *b, struct slice bytes)
{
    b->size = bytes.size;
    if (bytes.size > 0)
        memcpy(b->bytes, bytes.data, bytes.size);
}

static struct slice boundary_slice(const struct count_boundary *b)
{
    return slice_of(b->bytes, b->size);
}

enum store_err count_tree_writer_begin(struct count_tree_writer *w, MDB_txn *txn, MDB_dbi dbi,
                                       struct key_tree_cursor *before)
{
    memset(w, 0, sizeof *w);
    w->txn = txn;
    w->dbi = dbi;
    w->before = before;
    return store_err_of_mdb(mdb_cursor_open(txn, dbi, &w->rows));
}

/* ---- blocks ---- */

static enum store_err block_write(struct count_tree_writer *w, int level)
{
    struct count_block *block = &w->blocks[level];
    if (!block->is_open || !block->is_changed)
        return STORE_OK;
    block->is_changed = false;
    struct count_row row = { .level = level,
                             .boundary = boundary_slice(&block->start),
                             .boundary_level = block->boundary_level,
                             .count = block->count };
    struct count_row_key key;
    uint8_t bytes[COUNT_TREE_ROW_BYTES];
    count_row_encode(&row, &key, bytes);
    MDB_val k = count_row_key_val(&key);
    MDB_val v = { .mv_size = sizeof bytes, .mv_data = bytes };
    return store_err_of_mdb(mdb_cursor_put(w->rows, &k, &v, 0));
}

/* The block that the key lies in; with is_before the one that ends where the key begins one. */
static enum store_err block_load(struct count_tree_writer *w, int level, struct slice key,
                                 bool is_before)
{
    struct count_block *block = &w->blocks[level];
    struct count_row row;
    struct count_row next;
    block->is_open = false;
    enum store_err err = count_row_floor(w->rows, level, key, is_before, &row);
    if (err == STORE_OK) {
        boundary_set(&block->start, row.boundary);
        block->boundary_level = row.boundary_level;
        block->count = row.count;
        err = count_row_next(w->rows, &row, &next, &block->has_next);
    }
    if (err != STORE_OK)
        return err;
    if (block->has_next)
        boundary_set(&block->next, next.boundary);
    block->is_changed = false;
    block->is_open = true;
    return STORE_OK;
}

static bool block_reaches(const struct count_block *block, struct slice key)
{
    return block->is_open &&
           (!block->has_next || slice_compare(key, boundary_slice(&block->next)) < 0);
}

/* A block that is loaded as keys come to it is as it was before. But the first of a writer may
 * have changed up to that key: there the writer before this one ended. */
static void walk_reset(struct count_tree_writer *w)
{
    const struct count_block *block = &w->blocks[0];
    w->walk.from = block->start;
    w->walk.total = block->count;
    w->walk.total_is_known = w->has_loaded;
    w->walk.passed = 0;
    w->walk.has_begun = false;
    w->has_loaded = true;
}

static enum store_err block_settle(struct count_tree_writer *w, int level, struct slice key)
{
    if (block_reaches(&w->blocks[level], key))
        return STORE_OK;
    enum store_err err = block_write(w, level);
    if (err == STORE_OK)
        err = block_load(w, level, key, false);
    if (err == STORE_OK && level == 0)
        walk_reset(w);
    return err;
}

static bool count_change(uint64_t *count, int change)
{
    return change > 0 ? !__builtin_add_overflow(*count, 1, count)
                      : !__builtin_sub_overflow(*count, 1, count);
}

/* ---- a boundary is born ---- */

/* Passes the live keys before `key`, and no more than there are: behind the last may be many that
 * are dead. */
static enum store_err walk_to(struct count_tree_writer *w, struct slice key, uint64_t most)
{
    struct count_walk *walk = &w->walk;
    enum store_err err = STORE_OK;
    if (!walk->has_begun)
        err = key_tree_cursor_seek(w->before, boundary_slice(&walk->from), &walk->record,
                                   &walk->found);
    walk->has_begun = true;
    while (err == STORE_OK && walk->found && walk->passed < most &&
           slice_compare(walk->record.key, key) < 0) {
        walk->passed += !walk->record.tombstone;
        err = key_tree_cursor_next(w->before, &walk->record, &walk->found);
    }
    return err;
}

/* Counts to the end of the block, and goes back. */
static enum store_err walk_find_total(struct count_tree_writer *w)
{
    struct count_walk *walk = &w->walk;
    const struct count_block *block = &w->blocks[0];
    enum store_err err =
        key_tree_cursor_seek(w->before, boundary_slice(&walk->from), &walk->record, &walk->found);
    walk->total = 0;
    while (err == STORE_OK && walk->found && block_reaches(block, walk->record.key)) {
        walk->total += !walk->record.tombstone;
        err = key_tree_cursor_next(w->before, &walk->record, &walk->found);
    }
    walk->total_is_known = true;
    return err;
}

/* What lived from the new boundary to the next of level 0. */
static enum store_err keys_behind(struct count_tree_writer *w, struct slice key,
                                  uint64_t *ret_count)
{
    struct count_walk *walk = &w->walk;
    enum store_err err = STORE_OK;
    *ret_count = 0;
    if (w->before == NULL)
        return STORE_OK;
    if (!walk->total_is_known)
        err = walk_find_total(w);
    if (err == STORE_OK && walk->passed < walk->total)
        err = walk_to(w, key, walk->total);
    *ret_count = walk->total - walk->passed;
    return err;
}

/* What lives there up to the next of this level: the blocks of the level below, of which the
 * first, the boundary's own, is in memory. The new boundary counts in it. */
static enum store_err blocks_behind(struct count_tree_writer *w, int level, uint64_t *ret_count)
{
    const struct count_block *first = &w->blocks[level - 1];
    const struct count_block *block = &w->blocks[level];
    uint64_t count = first->count;
    struct count_row row;
    bool found = first->has_next;
    enum store_err err = STORE_OK;
    if (found)
        err = count_row_seek(w->rows, level - 1, boundary_slice(&first->next), &row, &found);
    while (err == STORE_OK && found && block_reaches(block, row.boundary)) {
        if (__builtin_add_overflow(count, row.count, &count))
            return STORE_E_CORRUPT;
        err = count_row_next(w->rows, &row, &row, &found);
    }
    *ret_count = count - 1;
    return err;
}

static enum store_err block_split(struct count_tree_writer *w, int level, struct slice key,
                                  int boundary_level)
{
    struct count_block *block = &w->blocks[level];
    if (slice_equal(boundary_slice(&block->start), key))
        return STORE_E_CORRUPT; /* it lived already */
    uint64_t behind;
    enum store_err err =
        level == 0 ? keys_behind(w, key, &behind) : blocks_behind(w, level, &behind);
    if (err != STORE_OK)
        return err;
    if (__builtin_sub_overflow(block->count, behind, &block->count))
        return STORE_E_CORRUPT;
    block->is_changed = true;
    err = block_write(w, level);
    boundary_set(&block->start, key);
    block->boundary_level = boundary_level;
    block->count = behind + 1;
    block->is_changed = true;
    return err;
}

/* ---- a boundary dies ---- */

static enum store_err block_merge(struct count_tree_writer *w, int level, struct slice key)
{
    struct count_block *block = &w->blocks[level];
    if (!slice_equal(boundary_slice(&block->start), key))
        return STORE_E_CORRUPT;
    uint64_t count = block->count;
    if (!count_change(&count, -1))
        return STORE_E_CORRUPT;
    struct count_row_key row_key;
    count_row_key_encode(level, key, &row_key);
    MDB_val k = count_row_key_val(&row_key);
    int code = mdb_del(w->txn, w->dbi, &k, NULL);
    if (code != 0)
        return code == MDB_NOTFOUND ? STORE_E_CORRUPT : store_err_of_mdb(code);
    enum store_err err = block_load(w, level, key, true);
    if (err != STORE_OK)
        return err;
    block->is_changed = true;
    return __builtin_add_overflow(block->count, count, &block->count) ? STORE_E_CORRUPT : STORE_OK;
}

/* ---- changes ---- */

enum store_err count_tree_change(struct count_tree_writer *w, struct slice key, int change)
{
    ASSERT(change == 1 || change == -1);
    int boundary_level = count_tree_level_of(key);
    for (int level = 0; level < COUNT_TREE_LEVELS; level++) {
        struct count_block *block = &w->blocks[level];
        enum store_err err = block_settle(w, level, key);
        if (err != STORE_OK)
            return err;
        if (level > boundary_level) {
            block->is_changed = true;
            err = count_change(&block->count, change) ? STORE_OK : STORE_E_CORRUPT;
        } else {
            err = change > 0 ? block_split(w, level, key, boundary_level)
                             : block_merge(w, level, key);
        }
        if (err != STORE_OK)
            return err;
    }
    return STORE_OK;
}

enum store_err count_tree_writer_end(struct count_tree_writer *w, bool discard)
{
    if (w->rows == NULL)
        return STORE_OK;
    enum store_err err = STORE_OK;
    for (int level = 0; level < COUNT_TREE_LEVELS && err == STORE_OK && !discard; level++)
        err = block_write(w, level);
    mdb_cursor_close(w->rows);
    w->rows = NULL;
    return err;
}

enum store_err count_tree_dirty_bytes(MDB_txn *txn, MDB_dbi dbi, uint64_t changes,
                                      uint64_t *ret_bytes)
{
    enum {
        PAGE_BYTES = 4096,
        /* A change by itself: a leaf of level 0; of the levels above one in some dozens is touched
         * for the first time, and so are branch pages. */
        CHANGE_BYTES = PAGE_BYTES + PAGE_BYTES / 4,
        /* What new rows add to the tree: one change in 32 makes one, or a few. */
        GROWTH_BYTES = 32,
    };
    MDB_stat stat;
    int code = mdb_stat(txn, dbi, &stat);
    if (code != 0)
        return store_err_of_mdb(code);
    uint64_t pages = stat.ms_leaf_pages + stat.ms_branch_pages;
    uint64_t whole = pages * PAGE_BYTES + changes * GROWTH_BYTES;
    uint64_t single = changes * CHANGE_BYTES;
    /* And a page for each level that splits, whatever the changes. */
    *ret_bytes = (single < whole ? single : whole) + COUNT_TREE_LEVELS * (uint64_t)PAGE_BYTES;
    return STORE_OK;
}
