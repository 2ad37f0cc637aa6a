/* A walk through the key tree, down into child layers and up again, with a stack of its own: a
 * key of 1.5 MiB goes through 3,500 layers. */
#include <stdlib.h>

#include "base/assert.h"
#include "storage/key_tree_internal.h"
#include "storage/store_internal.h"

enum {
    STEPS_BEFORE_SEEK = 4, /* rows to step over before a seek is cheaper */
    DEPTH_MIN = 4
};

struct key_tree_cursor {
    MDB_cursor *rows;
    int64_t revision;
    bool every_version;
    /* Where in the layers: layers[0] is the root, layers[depth] the one being walked. `key` holds
     * the `depth` full segments on the way, with room for one more. */
    uint64_t *layers;
    uint8_t *key;
    size_t depth;
    size_t depth_max; /* what both have room for */
    /* The row at the cursor; views into the map. */
    bool at_end;
    struct slice row_key;
    struct slice row;
    struct key_tree_place place;
    /* Its records, once it is settled at, and the one that was given last. */
    struct key_tree_run run;
    uint32_t run_at;
};

static size_t key_bytes_of_depth(size_t depth)
{
    return (depth + 1) * KEY_TREE_SEGMENT_BYTES;
}

static uint64_t layer_now(const struct key_tree_cursor *c)
{
    return c->layers[c->depth];
}

static bool cursor_grow(struct key_tree_cursor *c)
{
    size_t depth_max = c->depth_max == 0 ? DEPTH_MIN : c->depth_max * 2;
    uint64_t *layers = realloc(c->layers, (depth_max + 1) * sizeof *layers);
    if (layers)
        c->layers = layers;
    uint8_t *key = realloc(c->key, key_bytes_of_depth(depth_max));
    if (key)
        c->key = key;
    if (!layers || !key)
        return false;
    c->depth_max = depth_max;
    return true;
}

enum store_err key_tree_cursor_open(MDB_txn *txn, MDB_dbi dbi, int64_t revision, bool every_version,
                                    struct key_tree_cursor **ret_cursor)
{
    ASSERT(revision >= 0);
    struct key_tree_cursor *c = calloc(1, sizeof *c);
    if (!c)
        return STORE_E_NOMEM;
    c->revision = revision;
    c->every_version = every_version;
    c->at_end = true;
    enum store_err err = STORE_E_NOMEM;
    if (!cursor_grow(c))
        goto out;
    c->layers[0] = KEY_TREE_ROOT;
    err = store_err_of_mdb(mdb_cursor_open(txn, dbi, &c->rows));
    if (err != STORE_OK)
        goto out;
    *ret_cursor = c;
    c = NULL;
out:
    key_tree_cursor_close(c);
    return err;
}

enum store_err key_tree_cursor_renew(struct key_tree_cursor *c, MDB_txn *txn, int64_t revision,
                                     bool every_version)
{
    ASSERT(revision >= 0);
    c->revision = revision;
    c->every_version = every_version;
    c->at_end = true;
    return store_err_of_mdb(mdb_cursor_renew(txn, c->rows));
}

void key_tree_cursor_close(struct key_tree_cursor *c)
{
    if (!c)
        return;
    if (c->rows)
        mdb_cursor_close(c->rows);
    free(c->layers);
    free(c->key);
    free(c);
}

/* ---- rows ---- */

static enum store_err row_take(struct key_tree_cursor *c, int code, const MDB_val *row_key,
                               const MDB_val *row)
{
    c->at_end = code != 0;
    if (code != 0)
        return code == MDB_NOTFOUND ? STORE_OK : store_err_of_mdb(code);
    c->row_key = key_tree_slice(row_key);
    c->row = key_tree_slice(row);
    enum store_err err = key_tree_row_key_decode(c->row_key, &c->place);
    c->at_end = err != STORE_OK;
    return err;
}

/* Every step leads forward; where pages rotted it may not, and a walk would go in circles. */
static bool is_behind(const MDB_val *row_key, const MDB_val *before)
{
    return row_key->mv_size >= KEY_TREE_SUFFIX_BYTES && key_tree_compare(row_key, before) < 0;
}

static enum store_err row_next(struct key_tree_cursor *c)
{
    MDB_val before = { .mv_size = c->row_key.size,
                       .mv_data = (void *)(uintptr_t)c->row_key.data }; /* LMDB does not write */
    MDB_val row_key;
    MDB_val row;
    int code = mdb_cursor_get(c->rows, &row_key, &row, MDB_NEXT);
    if (code == 0 && is_behind(&row_key, &before))
        return STORE_E_CORRUPT;
    return row_take(c, code, &row_key, &row);
}

static enum store_err row_seek(struct key_tree_cursor *c, struct key_tree_row_key *key)
{
    const MDB_val wanted = key_tree_row_key_val(key);
    MDB_val row_key = wanted;
    MDB_val row;
    int code = mdb_cursor_get(c->rows, &row_key, &row, MDB_SET_RANGE);
    if (code == 0 && is_behind(&row_key, &wanted))
        return STORE_E_CORRUPT;
    return row_take(c, code, &row_key, &row);
}

static enum store_err row_seek_record(struct key_tree_cursor *c, struct slice segment,
                                      int64_t revision)
{
    struct key_tree_place place = {
        .layer = layer_now(c), .segment = segment, .kind = KEY_TREE_RECORD, .revision = revision
    };
    struct key_tree_row_key key;
    key_tree_row_key_encode(&place, &key);
    return row_seek(c, &key);
}

/* Past all records of a segment, to the row of its layer if it has one. */
static enum store_err row_seek_past_records(struct key_tree_cursor *c, struct slice segment)
{
    struct key_tree_place place = { .layer = layer_now(c),
                                    .segment = segment,
                                    .kind = KEY_TREE_LAYER };
    struct key_tree_row_key key;
    key_tree_row_key_encode(&place, &key);
    return row_seek(c, &key);
}

static bool row_is_in_layer(const struct key_tree_cursor *c)
{
    return !c->at_end && c->place.layer == layer_now(c);
}

/* ---- layers ---- */

static bool layer_push(struct key_tree_cursor *c, uint64_t child, const uint8_t *segment)
{
    if (c->depth == c->depth_max && !cursor_grow(c))
        return false;
    memcpy(c->key + c->depth * KEY_TREE_SEGMENT_BYTES, segment, KEY_TREE_SEGMENT_BYTES);
    c->layers[++c->depth] = child;
    return true;
}

/* The row is a layer's: into it, before its first row. */
static enum store_err layer_enter(struct key_tree_cursor *c)
{
    uint64_t child;
    enum store_err err = key_tree_child(c->row_key, c->row, layer_now(c), &child);
    if (err != STORE_OK)
        return err;
    if (!layer_push(c, child, c->place.segment.data))
        return STORE_E_NOMEM;
    return STORE_OK;
}

/* Up, and past the row that led down. */
static enum store_err layer_leave(struct key_tree_cursor *c)
{
    ASSERT(c->depth > 0);
    c->depth--;
    struct key_tree_position p = { .layer = layer_now(c),
                                   .rest = slice_of(c->key + c->depth * KEY_TREE_SEGMENT_BYTES,
                                                    KEY_TREE_SEGMENT_BYTES + 1) };
    struct key_tree_row_key key;
    key_tree_layer_row_key(&p, &key);
    memset(key.bytes + key.size - 8, 0xff, 8); /* after any suffix of its kind */
    return row_seek(c, &key);
}

/* ---- records ---- */

/* The record at run_at, with its key. */
static struct kv_record record_here(struct key_tree_cursor *c)
{
    struct kv_record record = c->run.records[c->run_at];
    record.key = c->place.segment;
    if (c->depth > 0) {
        size_t above = c->depth * KEY_TREE_SEGMENT_BYTES;
        if (record.key.size > 0)
            memcpy(c->key + above, record.key.data, record.key.size);
        record.key = slice_of(c->key, above + record.key.size);
    }
    return record;
}

/* The first record of the row that the walk gives; there is one, the oldest. */
static enum store_err run_take(struct key_tree_cursor *c, struct kv_record *ret_record)
{
    enum store_err err = key_tree_run_decode(c->row_key, c->row, c->place.revision, &c->run);
    if (err != STORE_OK)
        return err;
    c->run_at = key_tree_run_find(&c->run, c->revision);
    *ret_record = record_here(c);
    return STORE_OK;
}

/* From a row whose records are too new to the next that may have others: one of the same key that
 * is old enough, or one of another. */
static enum store_err skip_newer(struct key_tree_cursor *c)
{
    struct slice segment = c->place.segment;
    for (int i = 0; i < STEPS_BEFORE_SEEK; i++) {
        enum store_err err = row_next(c);
        if (err != STORE_OK || !row_is_in_layer(c) || c->place.kind != KEY_TREE_RECORD ||
            c->place.revision <= c->revision || !slice_equal(c->place.segment, segment))
            return err;
    }
    return row_seek_record(c, segment, c->revision);
}

/* From the row that was given last past the older ones of its key. */
static enum store_err skip_older(struct key_tree_cursor *c)
{
    struct slice segment = c->place.segment;
    for (int i = 0; i < STEPS_BEFORE_SEEK; i++) {
        enum store_err err = row_next(c);
        if (err != STORE_OK || !row_is_in_layer(c) || c->place.kind != KEY_TREE_RECORD ||
            !slice_equal(c->place.segment, segment))
            return err;
    }
    return row_seek_past_records(c, segment);
}

/* From the row at the cursor to the first that the walk gives. `entered`: it should be the first
 * of a layer that was just entered. */
static enum store_err settle(struct key_tree_cursor *c, struct kv_record *ret_record,
                             bool *ret_found)
{
    bool entered = false;
    for (;;) {
        enum store_err err;
        if (!row_is_in_layer(c)) {
            if (entered)
                return STORE_E_CORRUPT; /* pruning leaves no empty layer */
            *ret_found = false;
            if (c->depth == 0) {
                c->at_end = true;
                return STORE_OK;
            }
            err = layer_leave(c);
        } else if (c->place.kind == KEY_TREE_LAYER) {
            err = layer_enter(c);
            if (err == STORE_OK)
                err = row_seek_record(c, slice_of(NULL, 0), INT64_MAX);
            entered = true;
            if (err == STORE_OK)
                continue;
        } else if (c->place.revision > c->revision) {
            err = skip_newer(c);
        } else {
            *ret_found = true;
            return run_take(c, ret_record);
        }
        if (err != STORE_OK)
            return err;
        entered = false;
    }
}

/* To the row that names the layer of the position's segment: *ret_found. Else the cursor is at
 * the first row after that place. */
static enum store_err seek_layer(struct key_tree_cursor *c, const struct key_tree_position *p,
                                 bool *ret_found)
{
    struct key_tree_row_key key;
    key_tree_layer_row_key(p, &key);
    enum store_err err = row_seek(c, &key);
    *ret_found =
        err == STORE_OK && !c->at_end && slice_equal(c->row_key, slice_of(key.bytes, key.size));
    return err;
}

enum store_err key_tree_cursor_seek(struct key_tree_cursor *c, struct slice key,
                                    struct kv_record *ret_record, bool *ret_found)
{
    struct key_tree_position p = key_tree_start(key);
    c->depth = 0;
    c->at_end = true;
    while (!key_tree_is_last_segment(&p)) {
        bool found;
        enum store_err err = seek_layer(c, &p, &found);
        if (err == STORE_OK && found)
            err = layer_enter(c);
        if (err != STORE_OK)
            return err;
        if (!found)
            return settle(c, ret_record, ret_found);
        p.layer = layer_now(c);
        p.rest.data += KEY_TREE_SEGMENT_BYTES;
        p.rest.size -= KEY_TREE_SEGMENT_BYTES;
    }
    /* With every version too: those above the revision are no part of the walk. */
    enum store_err err = row_seek_record(c, p.rest, c->revision);
    return err == STORE_OK ? settle(c, ret_record, ret_found) : err;
}

enum store_err key_tree_cursor_next(struct key_tree_cursor *c, struct kv_record *ret_record,
                                    bool *ret_found)
{
    if (c->at_end) {
        *ret_found = false;
        return STORE_OK;
    }
    if (c->every_version && c->run_at + 1 < c->run.count) {
        c->run_at++;
        *ret_found = true;
        *ret_record = record_here(c);
        return STORE_OK;
    }
    enum store_err err = c->every_version ? row_next(c) : skip_older(c);
    return err == STORE_OK ? settle(c, ret_record, ret_found) : err;
}
