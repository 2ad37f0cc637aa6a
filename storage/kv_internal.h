/* kv_internal.h: what the kv_*.c files share. */
#ifndef STORAGE_KV_INTERNAL_H
#define STORAGE_KV_INTERNAL_H

#include "base/list.h"
#include "storage/chunks.h"
#include "storage/key_tree.h"
#include "storage/kv.h"
#include "storage/memtable.h"
#include "storage/store_internal.h"

enum { KV_MEMTABLES_MAX = 1 + KV_FROZEN_MAX };

struct kv {
    struct store *store;
    struct store_handles trees;
    struct chunk_pool pool; /* for memtables */
    struct memtable *active;
    struct memtable *frozen[KV_FROZEN_MAX]; /* oldest first */
    size_t frozen_count;
    struct kv_view *views; /* the pool */
    uint32_t views_max;
    struct list idle_views;
    uint32_t open_count;
    /* What the meta row of this LMDB transaction publishes: reading it once a transaction. */
    size_t published_txn_id;
    int64_t published_revision;
};

struct kv_view {
    struct kv *kv;
    struct list link;                             /* idle ones */
    struct memtable *memtables[KV_MEMTABLES_MAX]; /* newest first; a reference to each */
    size_t memtable_count;
    MDB_txn *txn;                 /* kept for the life of the pool, reset while idle */
    int64_t published;            /* rows of the trees above it are not there (I3) */
    struct key_tree_cursor *rows; /* kept for the next walk; NULL before the first */
    MDB_cursor *counts;           /* likewise, of the count tree */
    MDB_cursor *values;           /* likewise, of the rev tree; stays where the last value was */
    bool values_are_ours;         /* it is of the view's transaction */
    bool is_walking;
};

enum kv_err kv_err_of_store(enum store_err err);

/* Loads key and value of a record of the key tree, which they must match. */
enum kv_err kv_view_load(struct kv_view *view, struct arena *arena, struct kv_record *record)
    __attribute__((warn_unused_result));

/* The records with mod.main <= revision of all sources of a view as one walk in key order: of
 * each key the newest, or with every_version all, newest first; tombstones too. One a view at a
 * time. A record that is both in a memtable and in the tree comes once. */
struct kv_merge {
    struct kv_view *view;
    int64_t revision;
    bool every_version;
    const struct memtable_node *nodes[KV_MEMTABLES_MAX]; /* NULL: at its end */
    struct kv_record row;                                /* of the key tree */
    bool row_found;
    bool rows_alone; /* every node is at its end: only the tree goes on */
    uint32_t given;  /* the sources that the last step gave, by number; the tree is the last */
};

enum kv_err kv_merge_open(struct kv_merge *m, struct kv_view *view, struct slice start,
                          int64_t revision, bool every_version) __attribute__((warn_unused_result));

/* Without *ret_has_value the record is of the key tree, its value not loaded. The key stays valid
 * until the next call. */
enum kv_err kv_merge_next(struct kv_merge *m, struct kv_record *ret_record, bool *ret_has_value,
                          bool *ret_found) __attribute__((warn_unused_result));

void kv_merge_close(struct kv_merge *m);

#endif
