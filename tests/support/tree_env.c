#include "tests/support/tree_env.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"

static void begin(struct tree_env *t)
{
    ASSERT(mdb_txn_begin(t->env, NULL, 0, &t->txn) == 0);
}

void tree_env_init(struct tree_env *t)
{
    *t = (struct tree_env){ .path = "/tmp/holdfast-tree-XXXXXX", .next_layer_id = 1 };
    ASSERT(mkdtemp(t->path) != NULL);
    ASSERT(mdb_env_create(&t->env) == 0);
    ASSERT(mdb_env_set_maxdbs(t->env, 4) == 0);
    ASSERT(mdb_env_set_mapsize(t->env, (size_t)1 << 30) == 0);
    ASSERT(mdb_env_open(t->env, t->path, MDB_NOSYNC | MDB_NOTLS, 0600) == 0);
    begin(t);
    ASSERT(key_tree_open(t->txn, &t->dbi) == STORE_OK);
}

void tree_env_commit(struct tree_env *t)
{
    ASSERT(mdb_txn_commit(t->txn) == 0);
    begin(t);
}

static void file_remove(const struct tree_env *t, const char *name)
{
    char path[96];
    int size = snprintf(path, sizeof path, "%s/%s", t->path, name);
    ASSERT(size > 0 && (size_t)size < sizeof path);
    ASSERT(unlink(path) == 0);
}

void tree_env_done(struct tree_env *t)
{
    mdb_txn_abort(t->txn);
    mdb_env_close(t->env);
    file_remove(t, "data.mdb");
    file_remove(t, "lock.mdb");
    ASSERT(rmdir(t->path) == 0);
}

size_t tree_env_rows(const struct tree_env *t)
{
    MDB_stat stat;
    ASSERT(mdb_stat(t->txn, t->dbi, &stat) == 0);
    return stat.ms_entries;
}

enum store_err tree_env_try_put(struct tree_env *t, const struct kv_record *records, size_t count)
{
    struct key_tree_writer writer;
    size_t row_bytes;
    bool is_beside;
    ASSERT(key_tree_writer_open(&writer, t->txn, t->dbi) == STORE_OK);
    enum store_err err =
        key_tree_put(&writer, records, count, &t->next_layer_id, &row_bytes, &is_beside);
    key_tree_writer_close(&writer);
    return err;
}

void tree_env_put(struct tree_env *t, const struct kv_record *record)
{
    ASSERT(tree_env_try_put(t, record, 1) == STORE_OK);
}
