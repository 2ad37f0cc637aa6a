/* old_rows.h: rows of records in format 1 (storage/record_row.h), as stores held them that were
 * written before there was another, for tests. Calls assert that they succeed. */
#ifndef TESTS_SUPPORT_OLD_ROWS_H
#define TESTS_SUPPORT_OLD_ROWS_H

#include <lmdb.h>

#include "storage/record.h"
#include "storage/store.h"

/* The record's row of the key tree and its rows of the rev tree, in place of what is there. Of the
 * key tree: under a row key that is given. */
void old_rows_put_key(MDB_txn *txn, MDB_dbi dbi, struct slice row_key,
                      const struct kv_record *record);
void old_rows_put_rev(MDB_txn *txn, MDB_dbi dbi, const struct kv_record *record);

/* All rows of all records. No flush runs. */
void old_rows_make(struct store *store);

#endif
