#include "storage/store_write.h"

#include <errno.h>
#include <sys/statvfs.h>

#include "base/assert.h"
#include "storage/lmdb_write.h"

enum {
    /* A random put copies its leaf; now and then it splits it or copies a branch page. */
    KEY_PUT_BYTES = STORE_PAGE_BYTES + STORE_PAGE_BYTES / 8,
    KEY_BESIDE_BYTES = 64, /* of its key, and of its share in the branch above */
    /* Kept free for the meta row, its branch pages and LMDB's list of free pages. */
    COMMIT_BYTES = 8 * STORE_PAGE_BYTES,
    /* A journal segment that found no room either may have been taken back meanwhile. */
    DISK_FULL_BYTES = 64 << 20,
};

static enum store_err txn_begin(struct store_writer *w)
{
    w->dirty_bytes = COMMIT_BYTES;
    w->keys.cursor = NULL;
    return store_err_of_mdb(mdb_txn_begin(w->store->env, NULL, 0, &w->txn));
}

enum store_err store_writer_begin(struct store_writer *w, struct store *s)
{
    w->store = s;
    w->txn = NULL;
    w->publish = s->published;
    return txn_begin(w);
}

/* LMDB calls a write that ended early EIO (mdb_page_flush), and the usual reason is a full disk. A
 * place that no file has comes of a list of free pages that is damaged: LMDB takes them unseen. */
static enum store_err err_of_commit(const struct store_writer *w, int rc)
{
    if (rc == EINVAL)
        return STORE_E_CORRUPT;
    int fd;
    struct statvfs disk;
    if (rc == EIO && mdb_env_get_fd(w->store->env, &fd) == MDB_SUCCESS &&
        fstatvfs(fd, &disk) == 0 && disk.f_bavail < DISK_FULL_BYTES / disk.f_frsize)
        return STORE_E_NOSPACE;
    return store_err_of_mdb(rc);
}

static void step_done(void *owner)
{
    struct store *s = owner;
    store_pace_step(&s->pace, s->io);
}

enum store_err store_writer_commit(struct store_writer *w)
{
    const struct store_meta meta = {
        .cluster_id = w->store->cluster_id,
        .next_layer_id = w->store->next_layer_id,
        .state = w->publish,
    };
    enum store_err err = store_meta_put(w->txn, w->store->trees.meta, &meta);
    if (err != STORE_OK)
        return err;
    key_tree_writer_close(&w->keys);
    lmdb_write_steps_begin(step_done, w->store);
    int rc = mdb_txn_commit(w->txn);
    lmdb_write_steps_end();
    w->txn = NULL; /* a commit frees it, whatever it returns */
    return err_of_commit(w, rc);
}

void store_writer_abort(struct store_writer *w)
{
    key_tree_writer_close(&w->keys);
    if (w->txn != NULL)
        mdb_txn_abort(w->txn);
    w->txn = NULL;
}

/* Whether what was announced so far still fits; one row alone always does. */
enum store_err store_writer_reserve(struct store_writer *w, uint64_t bytes)
{
    bool is_empty = w->dirty_bytes == COMMIT_BYTES;
    if (!is_empty && w->dirty_bytes + bytes > w->store->dirty_bytes_max) {
        enum store_err err = store_writer_commit(w);
        if (err == STORE_OK)
            err = txn_begin(w);
        if (err != STORE_OK)
            return err;
    }
    w->dirty_bytes += bytes;
    return STORE_OK;
}

uint64_t store_row_dirty_bytes(size_t row_bytes)
{
    enum { ROW_COST_BYTES = 64, INLINE_BYTES_MAX = 1900 };
    if (row_bytes > INLINE_BYTES_MAX)
        return STORE_PAGE_BYTES + ROW_COST_BYTES;
    return row_bytes + row_bytes / 2 + ROW_COST_BYTES; /* pages are not filled to the last byte */
}

/* Rows side by side fill leaves, which may be halves of split ones; any other may be alone in its.
 */
enum store_err store_writer_put_keys(struct store_writer *w, const struct kv_record *records,
                                     size_t count)
{
    enum store_err err = STORE_OK;
    if (w->keys.cursor == NULL)
        err = key_tree_writer_open(&w->keys, w->txn, w->store->trees.key);
    bool is_beside = false;
    size_t row_bytes = 0;
    if (err == STORE_OK)
        err = key_tree_put(&w->keys, records, count, &w->store->next_layer_id, &row_bytes,
                           &is_beside);
    if (err != STORE_OK)
        return err;
    uint64_t leaves = records[0].key.size / KEY_TREE_SEGMENT_BYTES + !is_beside;
    uint64_t beside = is_beside ? KEY_BESIDE_BYTES + store_row_dirty_bytes(row_bytes) : 0;
    return store_writer_reserve(w, leaves * KEY_PUT_BYTES + beside);
}

enum store_err store_row_append(MDB_txn *txn, MDB_dbi dbi, struct slice key, size_t size,
                                uint8_t **ret_room, bool *ret_is_last)
{
    MDB_val k = { .mv_size = key.size, .mv_data = (void *)(uintptr_t)key.data };
    MDB_val v = { .mv_size = size };
    int rc = mdb_put(txn, dbi, &k, &v, MDB_RESERVE | MDB_APPEND);
    *ret_is_last = rc != MDB_KEYEXIST; /* behind all others */
    if (rc == MDB_KEYEXIST) {
        v = (MDB_val){ .mv_size = size };
        rc = mdb_put(txn, dbi, &k, &v, MDB_RESERVE);
    }
    if (rc != MDB_SUCCESS)
        return store_err_of_mdb(rc);
    *ret_room = v.mv_data;
    return STORE_OK;
}
