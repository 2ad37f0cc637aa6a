/* store_internal.h: what the files of storage/ share about the environment. */
#ifndef STORAGE_STORE_INTERNAL_H
#define STORAGE_STORE_INTERNAL_H

#include <lmdb.h>

#include "storage/store.h"

/* For kv.c: views read through these. Owned by the store. */
struct store_handles {
    MDB_env *env;
    MDB_dbi rev;
    MDB_dbi key;
};
struct store_handles store_handles(const struct store *s);

/* The revision that this read transaction's meta row publishes. Any thread. */
enum store_err store_published_revision(struct store *s, MDB_txn *txn, int64_t *ret_revision)
    __attribute__((warn_unused_result));

/* One table for LMDB's codes: full disk and full map, I/O, damage. */
enum store_err store_err_of_mdb(int mdb_code);

#endif
