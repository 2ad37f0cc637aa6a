/* key_tree.h: the `key` tree: (user key, revision descending) -> the record without its value.
 *
 * LMDB's keys end at 511 bytes; user keys do not. A key of up to KEY_TREE_SEGMENT_BYTES stands
 * in the root layer. A longer one is cut into segments of exactly that size: each full segment
 * has one row that names a child layer, where the rest goes on (as in Masstree, Mao et al. 2012,
 * §4.1); so byte order is kept exactly, and a walk descends and returns.
 *
 *   LMDB key:  layer (0, or 1 and 8 bytes big-endian) | segment | kind | inverted revision (8, BE)
 *   kind 0: a record, newest first, or a run of them under the revision of the oldest: runs do not
 *           overlap, so a seek to a revision finds the row that has the newest up to it;
 *   kind 1: the child layer of this segment, sorts after 0
 *   The comparator compares layer and segment as bytes, the shorter first, then the last 9 bytes.
 *
 * Internal to storage/. Thread: that of the transaction. Errors: store_err.
 */
#ifndef STORAGE_KEY_TREE_H
#define STORAGE_KEY_TREE_H

#include <lmdb.h>

#include "storage/record.h"
#include "storage/store.h"

enum {
    KEY_TREE_SEGMENT_BYTES = 448,
    KEY_TREE_LAYER_BYTES = 9,
    KEY_TREE_SUFFIX_BYTES = 9, /* kind and inverted revision */
    KEY_TREE_ROW_KEY_BYTES_MAX =
        KEY_TREE_LAYER_BYTES + KEY_TREE_SEGMENT_BYTES + KEY_TREE_SUFFIX_BYTES,
    KEY_TREE_RUN_MAX = 32, /* records of a run */
};

/* Sets the comparator; in each process, at open, before any other use of the database. */
enum store_err key_tree_open(MDB_txn *txn, MDB_dbi *ret_dbi) __attribute__((warn_unused_result));

/* Puts many records, in the order of their keys: neighbours are found without a descent. Open
 * within one write transaction, and closed before its end. */
struct key_tree_writer {
    MDB_cursor *cursor; /* NULL: closed */
    size_t last_bytes;  /* of the row key that was put last; 0: none */
    uint8_t last[KEY_TREE_ROW_KEY_BYTES_MAX];
};
enum store_err key_tree_writer_open(struct key_tree_writer *w, MDB_txn *txn, MDB_dbi dbi)
    __attribute__((warn_unused_result));
void key_tree_writer_close(struct key_tree_writer *w); /* again: nothing */

/* Writes the row of a run: `count` changes of one key, newest first, up to KEY_TREE_RUN_MAX, and no
 * other of that key lies between them. The same again changes nothing but the format that they were
 * in; rows of some of them, which an interrupted flush left, go.
 * next_layer_id, from 1, is taken from, and counted up, when a long key needs layers: it is stored
 * by the same transaction. *ret_row_bytes is the row's size, *ret_is_beside: it stands right behind
 * the one that was put before, so it is in the same leaf, or in a half of it. */
enum store_err key_tree_put(struct key_tree_writer *w, const struct kv_record *records,
                            size_t count, uint64_t *next_layer_id, size_t *ret_row_bytes,
                            bool *ret_is_beside) __attribute__((warn_unused_result));

/* Removes the records of key with mod.main < below, newest first, and layers that become empty;
 * with `at` also the one with mod.main == below. `removed` is told of each before it goes: its
 * row in the rev tree goes with it. */
typedef enum store_err key_tree_removed_fn(void *owner, const struct kv_record *record);
enum store_err key_tree_prune(MDB_txn *txn, MDB_dbi dbi, struct slice key, int64_t below, bool at,
                              key_tree_removed_fn *removed, void *owner)
    __attribute__((warn_unused_result));

/* Reads the newest record of key with mod.main <= revision, tombstones too. The record has no
 * value; its key is the caller's slice. */
enum store_err key_tree_get(MDB_txn *txn, MDB_dbi dbi, struct slice key, int64_t revision,
                            struct kv_record *ret_record, bool *ret_found)
    __attribute__((warn_unused_result));

/* A walk over records with mod.main <= revision in key order: of each key its newest such, or
 * with every_version all of them, newest first; tombstones too. The tree does not change
 * meanwhile. STORE_E_CORRUPT at a damaged row; the walk is over then. */
struct key_tree_cursor;

enum store_err key_tree_cursor_open(MDB_txn *txn, MDB_dbi dbi, int64_t revision, bool every_version,
                                    struct key_tree_cursor **ret_cursor)
    __attribute__((warn_unused_result));
/* The same cursor for another walk, in a read-only transaction of the same environment: when the
 * one that it was opened in has ended, or for another revision. */
enum store_err key_tree_cursor_renew(struct key_tree_cursor *c, MDB_txn *txn, int64_t revision,
                                     bool every_version) __attribute__((warn_unused_result));

/* The first record whose key is at or after `key`. */
enum store_err key_tree_cursor_seek(struct key_tree_cursor *c, struct slice key,
                                    struct kv_record *ret_record, bool *ret_found)
    __attribute__((warn_unused_result));
/* The key stays valid until the next call on the cursor. */
enum store_err key_tree_cursor_next(struct key_tree_cursor *c, struct kv_record *ret_record,
                                    bool *ret_found) __attribute__((warn_unused_result));
/* NULL is fine. In a write transaction: before that ends. */
void key_tree_cursor_close(struct key_tree_cursor *c);

#endif
