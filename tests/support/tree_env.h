/* tree_env.h: a bare LMDB environment in a temporary directory with the key tree in it, inside
 * one write transaction, for tests. Calls assert that they succeed. */
#ifndef TESTS_SUPPORT_TREE_ENV_H
#define TESTS_SUPPORT_TREE_ENV_H

#include <lmdb.h>

#include "storage/key_tree.h"

struct tree_env {
    char path[64];
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    uint64_t next_layer_id;
};

void tree_env_init(struct tree_env *t);
/* Commits, and goes on in a new transaction. */
void tree_env_commit(struct tree_env *t);
void tree_env_done(struct tree_env *t);

/* Rows in the tree, layers' rows included. */
size_t tree_env_rows(const struct tree_env *t);

void tree_env_put(struct tree_env *t, const struct kv_record *record);
enum store_err tree_env_try_put(struct tree_env *t, const struct kv_record *records, size_t count);

#endif
