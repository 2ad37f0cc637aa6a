#include "storage/store_write.h"

/* LMDB's list of free pages is its tree 0: transaction -> {count, page numbers}. */
static uint64_t free_pages_count(MDB_txn *txn)
{
    MDB_cursor *cursor;
    if (mdb_cursor_open(txn, 0, &cursor) != MDB_SUCCESS)
        return 0;
    uint64_t pages = 0;
    MDB_val k;
    MDB_val v;
    int rc = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
    for (; rc == MDB_SUCCESS; rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        size_t count = 0;
        if (v.mv_size >= sizeof count)
            memcpy(&count, v.mv_data, sizeof count);
        pages += count;
    }
    mdb_cursor_close(cursor);
    return pages;
}

struct store_usage store_usage_measure(struct store *s)
{
    MDB_envinfo info;
    MDB_stat stat;
    MDB_txn *txn;
    if (mdb_env_info(s->env, &info) != MDB_SUCCESS || mdb_env_stat(s->env, &stat) != MDB_SUCCESS ||
        mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn) != MDB_SUCCESS)
        return s->usage;
    uint64_t pages = info.me_last_pgno + 1;
    uint64_t free_pages = free_pages_count(txn);
    mdb_txn_abort(txn);
    return (struct store_usage){
        .file_bytes = pages * stat.ms_psize,
        .in_use_bytes = (pages - (free_pages < pages ? free_pages : pages)) * stat.ms_psize,
    };
}

struct store_usage store_usage(const struct store *s)
{
    return s->usage;
}
