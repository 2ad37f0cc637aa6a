/* key_tree_internal.h: rows of the key tree, for its own files and their tests.
 *
 * Row values, little-endian; the last 4 bytes are a checksum over the row's key and the rest:
 *   record: the numbers (record_row.h, 14 to 48 bytes, with sub) | check (4)
 *   run:    format (1: 3) | count (1: 2 to 32) | records, newest first | check (4)
 *   layer:  format (1: 1) | 3 zero | layer id (8) | check (4)
 * A record of a run:
 *   flags (1: tombstone, 2: lease, 4: the put before the newer one) | distance, sub, value bytes
 *   (varints) | without 4: mod.main - create revision, version (varints), lease (8, if any) | sum
 * (8) The distance of its revision is from the newer one's, of the first from that in the row's
 * key. With 4 it has the newer one's create revision and lease, and the version before that one's;
 * it is set wherever that is so.
 */
#ifndef STORAGE_KEY_TREE_INTERNAL_H
#define STORAGE_KEY_TREE_INTERNAL_H

#include "storage/key_tree.h"

enum {
    KEY_TREE_ROOT = 0, /* the root layer's id; children are numbered from 1 */
    KEY_TREE_RECORD_ROW_BYTES_MAX = 52,
    KEY_TREE_RUN_ROW_BYTES_MAX = 2 + KEY_TREE_RUN_MAX * 57 + 4,
    KEY_TREE_LAYER_ROW_BYTES = 16
};

/* LMDB as Debian builds it takes keys of up to 511 bytes. */
_Static_assert(KEY_TREE_ROW_KEY_BYTES_MAX <= 511, "a row's key fits in LMDB");

enum key_tree_kind { KEY_TREE_RECORD = 0, KEY_TREE_LAYER = 1 };

/* What a row's key says. */
struct key_tree_place {
    uint64_t layer;
    struct slice segment;
    enum key_tree_kind kind;
    int64_t revision; /* of a record; of a run's oldest */
};

/* An encoded row key. */
struct key_tree_row_key {
    size_t size;
    uint8_t bytes[KEY_TREE_ROW_KEY_BYTES_MAX];
};

static inline MDB_val key_tree_val(struct slice bytes)
{
    return (MDB_val){ .mv_size = bytes.size, .mv_data = (void *)(uintptr_t)bytes.data };
}

static inline struct slice key_tree_slice(const MDB_val *val)
{
    return slice_of(val->mv_data, val->mv_size);
}

static inline MDB_val key_tree_row_key_val(struct key_tree_row_key *k)
{
    return (MDB_val){ .mv_size = k->size, .mv_data = k->bytes };
}

/* ---- the codec ---- */

/* segment.size <= KEY_TREE_SEGMENT_BYTES; of a layer's row it is that, and the revision is not
 * looked at. */
void key_tree_row_key_encode(const struct key_tree_place *place, struct key_tree_row_key *ret_key);

/* The segment is a view. STORE_E_CORRUPT when it is no key of ours. */
enum store_err key_tree_row_key_decode(struct slice bytes, struct key_tree_place *ret_place)
    __attribute__((warn_unused_result));

/* Total over any bytes: shorter than a suffix come first, then by layer and segment, shorter
 * first, then by suffix. */
int key_tree_compare(const MDB_val *a, const MDB_val *b);

/* Returns the row's size. */
size_t key_tree_record_encode(struct slice row_key, const struct kv_record *record,
                              uint8_t ret_row[KEY_TREE_RECORD_ROW_BYTES_MAX]);
/* All but key and mod.main, which are in the row's key; mod.main is set before. */
enum store_err key_tree_record_decode(struct slice row_key, struct slice row,
                                      struct kv_record *record) __attribute__((warn_unused_result));

/* Changes of one key, newest first: what a row holds. */
struct key_tree_run {
    uint32_t count;
    struct kv_record records[KEY_TREE_RUN_MAX];
};

/* The row is that of a record where the run is one. Returns its size. */
size_t key_tree_run_encode(struct slice row_key, const struct kv_record *records, size_t count,
                           uint8_t ret_row[KEY_TREE_RUN_ROW_BYTES_MAX]);
/* All but the keys; `oldest` is the revision in the row's key. */
enum store_err key_tree_run_decode(struct slice row_key, struct slice row, int64_t oldest,
                                   struct key_tree_run *ret_run)
    __attribute__((warn_unused_result));

/* Where in the run its newest record with mod.main <= revision is; count: nowhere. */
static inline uint32_t key_tree_run_find(const struct key_tree_run *run, int64_t revision)
{
    uint32_t i = 0;
    while (i < run->count && run->records[i].mod.main > revision)
        i++;
    return i;
}

/* ---- the checksum of a row ---- */

uint32_t key_tree_row_check(struct slice row_key, const uint8_t *row, size_t size);
enum store_err key_tree_row_verify(struct slice row_key, struct slice row)
    __attribute__((warn_unused_result));

void key_tree_layer_encode(struct slice row_key, uint64_t layer_id,
                           uint8_t ret_row[KEY_TREE_LAYER_ROW_BYTES]);
enum store_err key_tree_layer_decode(struct slice row_key, struct slice row, uint64_t *ret_layer_id)
    __attribute__((warn_unused_result));

/* ---- layers ---- */

/* Where the rest of a key goes on. */
struct key_tree_position {
    uint64_t layer;
    struct slice rest; /* of the key, in that layer */
};

static inline struct key_tree_position key_tree_start(struct slice key)
{
    return (struct key_tree_position){ .layer = KEY_TREE_ROOT, .rest = key };
}

/* A key that ends with its segment has its records here. */
static inline bool key_tree_is_last_segment(const struct key_tree_position *p)
{
    return p->rest.size <= KEY_TREE_SEGMENT_BYTES;
}

/* The row that names the child layer of the position's full segment. */
void key_tree_layer_row_key(const struct key_tree_position *p, struct key_tree_row_key *ret_key);

/* One layer down; *ret_found is false, and the position as it was, when there is none. */
enum store_err key_tree_descend(MDB_txn *txn, MDB_dbi dbi, struct key_tree_position *p,
                                bool *ret_found) __attribute__((warn_unused_result));

/* The checked decoding of a child layer's row. A child is always made after its parent, so its id
 * is larger: damage that survived the checksum cannot send a walk in circles. */
enum store_err key_tree_child(struct slice row_key, struct slice row, uint64_t parent,
                              uint64_t *ret_child) __attribute__((warn_unused_result));

#endif
