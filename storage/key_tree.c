/* Writing a record and reading one. */
#include "storage/key_tree.h"

#include <errno.h>

#include "base/assert.h"
#include "storage/key_tree_internal.h"
#include "storage/store_internal.h"

enum store_err key_tree_open(MDB_txn *txn, MDB_dbi *ret_dbi)
{
    MDB_dbi dbi;
    int code = mdb_dbi_open(txn, "key", MDB_CREATE, &dbi);
    /* A reader's transaction cannot create it, nor needs to. */
    if (code == EACCES)
        code = mdb_dbi_open(txn, "key", 0, &dbi);
    if (code == 0)
        code = mdb_set_compare(txn, dbi, key_tree_compare);
    if (code != 0)
        return store_err_of_mdb(code);
    *ret_dbi = dbi;
    return STORE_OK;
}

/* ---- layers ---- */

void key_tree_layer_row_key(const struct key_tree_position *p, struct key_tree_row_key *ret_key)
{
    ASSERT(!key_tree_is_last_segment(p));
    struct key_tree_place place = { .layer = p->layer,
                                    .segment = slice_of(p->rest.data, KEY_TREE_SEGMENT_BYTES),
                                    .kind = KEY_TREE_LAYER };
    key_tree_row_key_encode(&place, ret_key);
}

enum store_err key_tree_child(struct slice row_key, struct slice row, uint64_t parent,
                              uint64_t *ret_child)
{
    uint64_t child;
    enum store_err err = key_tree_layer_decode(row_key, row, &child);
    if (err != STORE_OK)
        return err;
    if (child <= parent)
        return STORE_E_CORRUPT;
    *ret_child = child;
    return STORE_OK;
}

static void position_go_down(struct key_tree_position *p, uint64_t child)
{
    p->layer = child;
    p->rest.data += KEY_TREE_SEGMENT_BYTES;
    p->rest.size -= KEY_TREE_SEGMENT_BYTES;
}

enum store_err key_tree_descend(MDB_txn *txn, MDB_dbi dbi, struct key_tree_position *p,
                                bool *ret_found)
{
    struct key_tree_row_key key;
    key_tree_layer_row_key(p, &key);
    MDB_val row_key = key_tree_row_key_val(&key);
    MDB_val row;
    int code = mdb_get(txn, dbi, &row_key, &row);
    *ret_found = code == 0;
    if (code != 0)
        return code == MDB_NOTFOUND ? STORE_OK : store_err_of_mdb(code);
    uint64_t child;
    enum store_err err =
        key_tree_child(key_tree_slice(&row_key), key_tree_slice(&row), p->layer, &child);
    if (err == STORE_OK)
        position_go_down(p, child);
    return err;
}

/* A new child layer for the position's segment, and down into it. */
static enum store_err layer_make(MDB_txn *txn, MDB_dbi dbi, struct key_tree_position *p,
                                 uint64_t *next_layer_id)
{
    /* A blank store counts from 0, which is the root's number. */
    uint64_t child = *next_layer_id > KEY_TREE_ROOT ? *next_layer_id : KEY_TREE_ROOT + 1;
    if (child <= p->layer)
        return STORE_E_CORRUPT; /* the counter is behind the layers that it counted */
    struct key_tree_row_key key;
    key_tree_layer_row_key(p, &key);
    uint8_t bytes[KEY_TREE_LAYER_ROW_BYTES];
    key_tree_layer_encode(slice_of(key.bytes, key.size), child, bytes);
    MDB_val row_key = key_tree_row_key_val(&key);
    MDB_val row = { .mv_size = sizeof bytes, .mv_data = bytes };
    int code = mdb_put(txn, dbi, &row_key, &row, MDB_NOOVERWRITE);
    if (code != 0)
        return store_err_of_mdb(code);
    *next_layer_id = child + 1;
    position_go_down(p, child);
    return STORE_OK;
}

/* ---- records ---- */

enum store_err key_tree_writer_open(struct key_tree_writer *w, MDB_txn *txn, MDB_dbi dbi)
{
    w->last_bytes = 0;
    return store_err_of_mdb(mdb_cursor_open(txn, dbi, &w->cursor));
}

void key_tree_writer_close(struct key_tree_writer *w)
{
    if (w->cursor != NULL)
        mdb_cursor_close(w->cursor);
    w->cursor = NULL;
}

/* Down to the layer of the key's last segment, with layers that it still needs. */
static enum store_err layers_descend(MDB_txn *txn, MDB_dbi dbi, struct key_tree_position *p,
                                     uint64_t *next_layer_id)
{
    while (!key_tree_is_last_segment(p)) {
        bool found;
        enum store_err err = key_tree_descend(txn, dbi, p, &found);
        if (err == STORE_OK && !found)
            err = layer_make(txn, dbi, p, next_layer_id);
        if (err != STORE_OK)
            return err;
    }
    return STORE_OK;
}

/* Whether the row before the cursor's is the one that was put last; the cursor is there then, or at
 * the first row. */
static bool is_beside_last(const struct key_tree_writer *w, const MDB_val *row_key)
{
    return w->last_bytes > 0 && row_key->mv_size == w->last_bytes &&
           memcmp(row_key->mv_data, w->last, w->last_bytes) == 0;
}

/* Whether the row is one of the place's key, and of a revision up to `newest`. */
static bool is_within(const MDB_val *row_key, const struct key_tree_place *place, int64_t newest)
{
    struct key_tree_place at;
    return key_tree_row_key_decode(key_tree_slice(row_key), &at) == STORE_OK &&
           at.kind == KEY_TREE_RECORD && at.layer == place->layer &&
           slice_equal(at.segment, place->segment) && at.revision <= newest;
}

/* From the row that was just put back to the one before it. Rows between it and its newest record
 * are what an interrupted flush left, in other runs: as they are newer than the run's own they
 * would be found instead of it. */
static enum store_err rows_before(const struct key_tree_writer *w,
                                  const struct key_tree_place *place, int64_t newest,
                                  bool *ret_is_beside)
{
    MDB_val row_key;
    MDB_val row;
    int code = mdb_cursor_get(w->cursor, &row_key, &row, MDB_PREV);
    while (code == 0 && place->revision < newest && is_within(&row_key, place, newest)) {
        code = mdb_cursor_del(w->cursor, 0); /* which leaves it at the row behind */
        if (code == 0)
            code = mdb_cursor_get(w->cursor, &row_key, &row, MDB_PREV);
    }
    *ret_is_beside = code == 0 && is_beside_last(w, &row_key);
    return code == 0 || code == MDB_NOTFOUND ? STORE_OK : store_err_of_mdb(code);
}

enum store_err key_tree_put(struct key_tree_writer *w, const struct kv_record *records,
                            size_t count, uint64_t *next_layer_id, size_t *ret_row_bytes,
                            bool *ret_is_beside)
{
    ASSERT(count > 0 && records[count - 1].mod.main >= 0);
    struct key_tree_position p = key_tree_start(records[0].key);
    enum store_err err =
        layers_descend(mdb_cursor_txn(w->cursor), mdb_cursor_dbi(w->cursor), &p, next_layer_id);
    if (err != STORE_OK)
        return err;
    struct key_tree_place place = { .layer = p.layer,
                                    .segment = p.rest,
                                    .kind = KEY_TREE_RECORD,
                                    .revision = records[count - 1].mod.main };
    struct key_tree_row_key key;
    key_tree_row_key_encode(&place, &key);
    uint8_t bytes[KEY_TREE_RUN_ROW_BYTES_MAX];
    size_t size = key_tree_run_encode(slice_of(key.bytes, key.size), records, count, bytes);
    MDB_val row_key = key_tree_row_key_val(&key);
    MDB_val row = { .mv_size = size, .mv_data = bytes };
    int code = mdb_cursor_put(w->cursor, &row_key, &row, 0);
    if (code != 0)
        return store_err_of_mdb(code);
    *ret_row_bytes = size;
    err = rows_before(w, &place, records[0].mod.main, ret_is_beside);
    memcpy(w->last, key.bytes, key.size);
    w->last_bytes = key.size;
    return err;
}

/* The newest record up to the revision in the row at the cursor, if that is one of the position's
 * key: the seek went to the revision, and found the row of an older one, or of another key. */
static enum store_err record_at(struct slice row_key, struct slice row,
                                const struct key_tree_position *p, int64_t revision,
                                struct kv_record *ret_record, bool *ret_found)
{
    struct key_tree_place place;
    enum store_err err = key_tree_row_key_decode(row_key, &place);
    if (err != STORE_OK)
        return err;
    *ret_found = place.layer == p->layer && place.kind == KEY_TREE_RECORD &&
                 place.revision <= revision && slice_equal(place.segment, p->rest);
    if (!*ret_found)
        return STORE_OK;
    struct key_tree_run run;
    err = key_tree_run_decode(row_key, row, place.revision, &run);
    if (err == STORE_OK)
        *ret_record = run.records[key_tree_run_find(&run, revision)];
    return err;
}

enum store_err key_tree_get(MDB_txn *txn, MDB_dbi dbi, struct slice key, int64_t revision,
                            struct kv_record *ret_record, bool *ret_found)
{
    ASSERT(revision >= 0);
    struct key_tree_position p = key_tree_start(key);
    *ret_found = true;
    while (!key_tree_is_last_segment(&p)) {
        enum store_err err = key_tree_descend(txn, dbi, &p, ret_found);
        if (err != STORE_OK || !*ret_found)
            return err;
    }
    struct key_tree_place place = {
        .layer = p.layer, .segment = p.rest, .kind = KEY_TREE_RECORD, .revision = revision
    };
    struct key_tree_row_key encoded;
    key_tree_row_key_encode(&place, &encoded);
    MDB_val row_key = key_tree_row_key_val(&encoded);
    MDB_val row;
    MDB_cursor *cursor;
    int code = mdb_cursor_open(txn, dbi, &cursor);
    if (code != 0)
        return store_err_of_mdb(code);
    code = mdb_cursor_get(cursor, &row_key, &row, MDB_SET_RANGE);
    mdb_cursor_close(cursor);
    *ret_found = false;
    if (code != 0)
        return code == MDB_NOTFOUND ? STORE_OK : store_err_of_mdb(code);
    struct kv_record record;
    enum store_err err =
        record_at(key_tree_slice(&row_key), key_tree_slice(&row), &p, revision, &record, ret_found);
    if (err == STORE_OK && *ret_found) {
        *ret_record = record;
        ret_record->key = key;
    }
    return err;
}
