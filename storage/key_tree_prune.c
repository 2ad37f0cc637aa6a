/* Removing records, and with the last one of a layer the layer. */
#include <stdlib.h>

#include "base/assert.h"
#include "storage/key_tree_internal.h"
#include "storage/store_internal.h"

/* The way down to the key's last segment, to go up again. */
struct descent {
    uint64_t *layers; /* [0 .. depth): those above the last one; NULL for a key in the root */
    size_t depth;
    struct key_tree_position at;
};

static enum store_err descent_make(MDB_txn *txn, MDB_dbi dbi, struct slice key, struct descent *d,
                                   bool *ret_found)
{
    *d = (struct descent){ .at = key_tree_start(key) };
    *ret_found = true;
    if (key_tree_is_last_segment(&d->at))
        return STORE_OK;
    size_t layers_above = (key.size - 1) / KEY_TREE_SEGMENT_BYTES;
    d->layers = calloc(layers_above, sizeof *d->layers);
    if (!d->layers)
        return STORE_E_NOMEM;
    while (!key_tree_is_last_segment(&d->at)) {
        ASSERT(d->depth < layers_above);
        d->layers[d->depth] = d->at.layer;
        enum store_err err = key_tree_descend(txn, dbi, &d->at, ret_found);
        if (err != STORE_OK || !*ret_found)
            return err;
        d->depth++;
    }
    return STORE_OK;
}

struct prune {
    MDB_cursor *cursor;
    struct slice key;
    int64_t newest; /* the newest revision that may go */
    key_tree_removed_fn *removed;
    void *owner;
};

/* Tells of the run's records from `first` on, newest first. */
static enum store_err records_tell(const struct prune *prune, struct key_tree_run *run,
                                   uint32_t first)
{
    enum store_err err = STORE_OK;
    for (uint32_t i = first; i < run->count && err == STORE_OK; i++) {
        run->records[i].key = prune->key;
        err = prune->removed(prune->owner, &run->records[i]);
    }
    return err;
}

/* Removes the cursor's row, and puts what is left of it in its place. */
static int row_shorten(const struct prune *prune, struct key_tree_place place,
                       const struct key_tree_run *run, uint32_t kept)
{
    int code = mdb_cursor_del(prune->cursor, 0);
    if (code != 0 || kept == 0)
        return code;
    place.revision = run->records[kept - 1].mod.main;
    struct key_tree_row_key key;
    key_tree_row_key_encode(&place, &key);
    uint8_t bytes[KEY_TREE_RUN_ROW_BYTES_MAX];
    size_t size = key_tree_run_encode(slice_of(key.bytes, key.size), run->records, kept, bytes);
    MDB_val row_key = key_tree_row_key_val(&key);
    MDB_val row = { .mv_size = size, .mv_data = bytes };
    return mdb_cursor_put(prune->cursor, &row_key, &row, 0);
}

/* Removes the records that may go from the row that a seek to the newest such revision finds. */
static enum store_err prune_row(const struct prune *prune, const struct key_tree_position *p,
                                bool *ret_found)
{
    struct key_tree_place want = {
        .layer = p->layer, .segment = p->rest, .kind = KEY_TREE_RECORD, .revision = prune->newest
    };
    struct key_tree_row_key encoded;
    key_tree_row_key_encode(&want, &encoded);
    MDB_val row_key = key_tree_row_key_val(&encoded);
    MDB_val row;
    int code = mdb_cursor_get(prune->cursor, &row_key, &row, MDB_SET_RANGE);
    *ret_found = false;
    if (code != 0)
        return code == MDB_NOTFOUND ? STORE_OK : store_err_of_mdb(code);
    struct key_tree_place place;
    enum store_err err = key_tree_row_key_decode(key_tree_slice(&row_key), &place);
    if (err != STORE_OK)
        return err;
    *ret_found = place.layer == p->layer && place.kind == KEY_TREE_RECORD &&
                 slice_equal(place.segment, p->rest);
    if (!*ret_found)
        return STORE_OK;
    struct key_tree_run run;
    err = key_tree_run_decode(key_tree_slice(&row_key), key_tree_slice(&row), place.revision, &run);
    if (err != STORE_OK)
        return err;
    if (place.revision > prune->newest)
        return STORE_E_CORRUPT; /* no seek leads there */
    uint32_t kept = key_tree_run_find(&run, prune->newest);
    err = records_tell(prune, &run, kept);
    place.segment = p->rest; /* the row's own is gone when the rest of it is put */
    return err == STORE_OK ? store_err_of_mdb(row_shorten(prune, place, &run, kept)) : err;
}

static enum store_err prune_records(MDB_txn *txn, MDB_dbi dbi, struct prune *prune,
                                    const struct key_tree_position *p, bool *ret_removed)
{
    int code = mdb_cursor_open(txn, dbi, &prune->cursor);
    if (code != 0)
        return store_err_of_mdb(code);
    enum store_err err;
    bool found;
    *ret_removed = false;
    do {
        err = prune_row(prune, p, &found);
        *ret_removed |= found;
    } while (err == STORE_OK && found);
    mdb_cursor_close(prune->cursor);
    return err;
}

static enum store_err layer_is_empty(MDB_txn *txn, MDB_dbi dbi, uint64_t layer, bool *ret_empty)
{
    struct key_tree_place first = { .layer = layer,
                                    .kind = KEY_TREE_RECORD,
                                    .revision = INT64_MAX };
    struct key_tree_row_key encoded;
    key_tree_row_key_encode(&first, &encoded);
    MDB_cursor *cursor;
    int code = mdb_cursor_open(txn, dbi, &cursor);
    if (code != 0)
        return store_err_of_mdb(code);
    MDB_val row_key = key_tree_row_key_val(&encoded);
    MDB_val row;
    code = mdb_cursor_get(cursor, &row_key, &row, MDB_SET_RANGE);
    mdb_cursor_close(cursor);
    *ret_empty = code == MDB_NOTFOUND;
    if (code != 0)
        return code == MDB_NOTFOUND ? STORE_OK : store_err_of_mdb(code);
    struct key_tree_place place;
    enum store_err err = key_tree_row_key_decode(key_tree_slice(&row_key), &place);
    *ret_empty = place.layer != layer;
    return err;
}

/* From the bottom up: a layer that became empty takes the row that names it along, which may
 * leave the layer above empty. */
static enum store_err layers_remove_empty(MDB_txn *txn, MDB_dbi dbi, struct descent *d)
{
    while (d->depth > 0) {
        bool empty = false;
        enum store_err err = layer_is_empty(txn, dbi, d->at.layer, &empty);
        if (err != STORE_OK || !empty)
            return err;
        d->depth--;
        d->at.layer = d->layers[d->depth];
        d->at.rest.data -= KEY_TREE_SEGMENT_BYTES;
        d->at.rest.size += KEY_TREE_SEGMENT_BYTES;
        struct key_tree_row_key key;
        key_tree_layer_row_key(&d->at, &key);
        MDB_val row_key = key_tree_row_key_val(&key);
        int code = mdb_del(txn, dbi, &row_key, NULL);
        if (code != 0)
            return store_err_of_mdb(code);
    }
    return STORE_OK;
}

enum store_err key_tree_prune(MDB_txn *txn, MDB_dbi dbi, struct slice key, int64_t below, bool at,
                              key_tree_removed_fn *removed, void *owner)
{
    int64_t newest = at ? below : below - 1;
    if (newest < 0)
        return STORE_OK;
    struct prune prune = { .key = key, .newest = newest, .removed = removed, .owner = owner };
    struct descent d;
    bool found;
    enum store_err err = descent_make(txn, dbi, key, &d, &found);
    if (err == STORE_OK && found)
        err = prune_records(txn, dbi, &prune, &d.at, &found);
    if (err == STORE_OK && found)
        err = layers_remove_empty(txn, dbi, &d);
    free(d.layers);
    return err;
}
