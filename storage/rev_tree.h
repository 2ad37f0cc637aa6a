/* rev_tree.h: the `rev` tree: (revision, sub, chunk) -> the whole record, append-only.
 *
 *   LMDB key:  revision (8, BE) | sub (4, BE) | chunk (4, BE)
 *   chunk 0:   the numbers (record_row.h, 14 to 48 bytes, with the key's bytes) | key | value ...
 *   A row holds at most REV_TREE_CHUNK_BYTES, within one page; key and value go on in chunk 1, ...
 *
 * Internal to storage/. Thread: that of the transaction. Errors: store_err.
 */
#ifndef STORAGE_REV_TREE_H
#define STORAGE_REV_TREE_H

#include <lmdb.h>

#include "storage/record_row.h"
#include "storage/store.h"

enum {
    REV_TREE_CHUNK_BYTES = 4080,
    REV_TREE_HEADER_BYTES_MAX = RECORD_ROW_BYTES_MAX, /* before key and value */
    REV_TREE_RECORD_BYTES_MAX = 128 << 20, /* key and value; requests are bounded far below */
};

/* Sets the comparator; in each process, at open, before any other use of the database. */
enum store_err rev_tree_open(MDB_txn *txn, MDB_dbi *ret_dbi) __attribute__((warn_unused_result));

/* Revisions ascend from put to put; the same record again changes nothing but the format that it
 * was in. ASSERTs REV_TREE_RECORD_BYTES_MAX. */
enum store_err rev_tree_put(MDB_txn *txn, MDB_dbi dbi, const struct kv_record *record)
    __attribute__((warn_unused_result));

/* The record at mod, key and value loaded and the sum verified: views into the map when it is one
 * row, copies in the arena otherwise. STORE_E_CORRUPT also when it is absent: the key tree said
 * that it is there. The cursor is of this tree; for many records keep it: one in the page of the
 * record before is found without a descent. */
enum store_err rev_tree_get(MDB_cursor *cursor, struct kv_revision mod, struct arena *arena,
                            struct kv_record *ret_record) __attribute__((warn_unused_result));

/* The same in two steps, for several records: the rows of all of them are found, and on their way
 * into the processor's cache, before the first is looked at. The row is a view into the map. */
enum store_err rev_tree_find(MDB_cursor *cursor, struct kv_revision mod, struct slice *ret_row)
    __attribute__((warn_unused_result));
enum store_err rev_tree_load(MDB_cursor *cursor, struct kv_revision mod, struct slice row,
                             struct arena *arena, struct kv_record *ret_record)
    __attribute__((warn_unused_result));

/* The first record at or after mod, likewise; *ret_found is false at the end.
 * Views into the map end with the transaction's next write. */
enum store_err rev_tree_next(MDB_txn *txn, MDB_dbi dbi, struct kv_revision mod, struct arena *arena,
                             struct kv_record *ret_record, bool *ret_found)
    __attribute__((warn_unused_result));

/* All chunks of the record at mod; an absent one is fine. */
enum store_err rev_tree_remove(MDB_txn *txn, MDB_dbi dbi, struct kv_revision mod)
    __attribute__((warn_unused_result));

#endif
