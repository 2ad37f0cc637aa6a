/* store_meta.h: the meta row: what the store publishes about itself, in one row (I3).
 *
 *   LMDB key: "store"
 *   offset size
 *        0    8  checksum of all that follows
 *        8    8  revision, as in the message: what each new snapshot of a reader asks for
 *       16    -  holdfastpb.StoreMeta
 *
 * Little-endian. Internal to storage/. Thread: that of the transaction. Errors: store_err.
 */
#ifndef STORAGE_STORE_META_H
#define STORAGE_STORE_META_H

#include <lmdb.h>

#include "storage/store.h"

/* Of all four trees: it changes with the rows of any, so that an older program refuses the store
 * instead of taking them for damage. 1 (rows of records in their format 1 alone) is read. */
enum { STORE_FORMAT = 2, STORE_META_BYTES_MAX = 1 << 20 };

struct store_meta {
    uint64_t cluster_id;
    uint64_t next_layer_id;
    struct store_state state;
};

enum store_err store_meta_put(MDB_txn *txn, MDB_dbi dbi, const struct store_meta *meta)
    __attribute__((warn_unused_result));

/* Verified; membership is a copy in the arena. STORE_E_VERSION: a newer program's. */
enum store_err store_meta_get(MDB_txn *txn, MDB_dbi dbi, struct arena *arena,
                              struct store_meta *ret_meta) __attribute__((warn_unused_result));

/* The revision alone, without decoding the rest. */
enum store_err store_meta_revision(MDB_txn *txn, MDB_dbi dbi, int64_t *ret_revision)
    __attribute__((warn_unused_result));

#endif
