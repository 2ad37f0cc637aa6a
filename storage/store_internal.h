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

/* What a snapshot that is being sent still needs: changes from `revision` on keep what they
 * superseded. The loop's thread; the owner embeds it. */
struct store_hold {
    struct list link;
    int64_t revision;  /* may rise */
    uint64_t until_ms; /* on the io's clock; may move */
    bool ended;        /* the deadline passed and a flush let go */
};

/* False when there are STORE_HOLDS_MAX, and while a flush runs: that one does not know of it. */
bool store_hold_begin(struct store *s, struct store_hold *hold) __attribute__((warn_unused_result));
void store_hold_end(struct store *s, struct store_hold *hold);

/* Directories of environments below the data directory (store_switch.c): durable when they return.
 * One that is not there is removed. */
enum store_err store_dir_remove(const char *data_dir, const char *name)
    __attribute__((warn_unused_result));
enum store_err store_dir_rename(const char *data_dir, const char *from, const char *to)
    __attribute__((warn_unused_result));

/* One table for LMDB's codes: full disk and full map, I/O, damage. A code that says "not found"
 * is no error by itself: the caller asks for it first. */
enum store_err store_err_of_mdb(int mdb_code);

/* A row of `size` bytes behind all others, as a rule: room for the caller to fill before its next
 * call on the transaction. A row that stands there already (an interrupted flush left it, and
 * everything up to where that one got) is written over, whatever its size was; *ret_is_last says
 * that there was neither such a row nor one behind it. */
enum store_err store_row_append(MDB_txn *txn, MDB_dbi dbi, struct slice key, size_t size,
                                uint8_t **ret_room, bool *ret_is_last)
    __attribute__((warn_unused_result));

#endif
