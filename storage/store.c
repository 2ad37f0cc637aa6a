#include "storage/store.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "storage/count_tree.h"
#include "storage/key_tree.h"
#include "storage/rev_tree.h"
#include "storage/store_guard.h"
#include "storage/store_write.h"

/* ---- open ---- */

struct refusal {
    char *detail;
    size_t detail_bytes;
    const char *path;
};

__attribute__((format(printf, 3, 4))) static enum store_err refuse(const struct refusal *to,
                                                                   enum store_err err,
                                                                   const char *format, ...)
{
    char what[256];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (size >= 0 && to->detail_bytes > 0)
        IGNORE(snprintf(to->detail, to->detail_bytes, "%s: %s", to->path, what) < 0,
               "an operator's text that is cut is still of use");
    return err;
}

static int dir_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int code = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    return code;
}

/* LMDB syncs its file, not the directories that lead to it. */
static int dirs_sync(const char *path)
{
    char copy[PATH_MAX];
    int size = snprintf(copy, sizeof copy, "%s", path);
    if (size < 0 || (size_t)size >= sizeof copy)
        return ENAMETOOLONG;
    int code = dir_sync(path);
    return code == 0 ? dir_sync(dirname(copy)) : code;
}

/* A file that was cut short would be SIGBUS where the map ends. LMDB leaves out pages at the end
 * that nothing uses, so the length alone does not tell damage: filled up with zeros it is what a
 * page's own check finds. */
static int file_fill_up(MDB_env *env)
{
    int fd;
    MDB_envinfo info;
    MDB_stat stat;
    struct stat file;
    int rc = mdb_env_get_fd(env, &fd);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_info(env, &info);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_stat(env, &stat);
    if (rc != MDB_SUCCESS)
        return rc;
    off_t end;
    if (__builtin_mul_overflow(info.me_last_pgno + 1, stat.ms_psize, &end))
        return MDB_CORRUPTED;
    if (fstat(fd, &file) != 0 || (file.st_size < end && ftruncate(fd, end) != 0))
        return errno;
    return MDB_SUCCESS;
}

/* LMDB would abort: with a guard the damage is marked first. */
static void on_lmdb_assert(MDB_env *env, const char *text)
{
    (void)env, (void)text;
    store_guard_on_assert();
}

static int map_guard(struct store *s)
{
    int fd;
    size_t size;
    MDB_envinfo info;
    int rc = mdb_env_get_fd(s->env, &fd);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_info(s->env, &info);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_set_assert(s->env, on_lmdb_assert);
    if (rc == MDB_SUCCESS && store_guard_find_map(fd, info.me_mapsize, &s->map, &size))
        store_guard_add_map(s->map, size);
    return rc;
}

static int env_open(struct store *s, const struct store_options *options, const char *path,
                    unsigned flags)
{
    int rc = mdb_env_create(&s->env);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_set_mapsize(s->env, options->map_bytes);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_set_maxdbs(s->env, STORE_TREES);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_set_maxreaders(s->env, options->readers_max + STORE_OWN_READERS);
    /* Default mode: no writable map (a full disk would be SIGBUS), full sync. Reads are of single
     * keys all over the file, so the kernel's read-ahead would only displace pages. */
    if (rc == MDB_SUCCESS)
        rc = mdb_env_open(s->env, path, MDB_NOTLS | MDB_NORDAHEAD | flags, 0600);
    if (rc == MDB_SUCCESS)
        rc = map_guard(s);
    return rc;
}

static enum store_err trees_open(struct store *s, MDB_txn *txn, unsigned flags)
{
    enum store_err err = store_err_of_mdb(mdb_dbi_open(txn, "log", flags, &s->trees.log));
    if (err == STORE_OK)
        err = rev_tree_open(txn, &s->trees.rev);
    if (err == STORE_OK)
        err = key_tree_open(txn, &s->trees.key);
    return err;
}

/* All trees and the first meta row, in one transaction. */
static enum store_err trees_make(struct store *s, MDB_txn *txn)
{
    const struct store_meta meta = {
        .cluster_id = s->cluster_id,
        .next_layer_id = 1,
        .state = { .revision = 1, .feature_level = 1 },
    };
    int rc = mdb_dbi_open(txn, "meta", MDB_CREATE, &s->trees.meta);
    enum store_err err = store_err_of_mdb(rc);
    if (err == STORE_OK)
        err = trees_open(s, txn, MDB_CREATE);
    if (err == STORE_OK)
        err = count_tree_open(txn, MDB_CREATE, &s->trees.count);
    if (err == STORE_OK)
        err = count_tree_reset(txn, s->trees.count);
    return err == STORE_OK ? store_meta_put(txn, s->trees.meta, &meta) : err;
}

static enum store_err new_file_write(struct store *s, const struct store_options *options,
                                     const char *path)
{
    MDB_txn *txn;
    int rc = env_open(s, options, path, MDB_NOSUBDIR | MDB_NOLOCK);
    if (rc == MDB_SUCCESS)
        rc = mdb_txn_begin(s->env, NULL, 0, &txn);
    if (rc != MDB_SUCCESS)
        return store_err_of_mdb(rc);
    enum store_err err = trees_make(s, txn);
    if (err == STORE_OK)
        return store_err_of_mdb(mdb_txn_commit(txn));
    mdb_txn_abort(txn);
    return err;
}

static void env_close(struct store *s)
{
    if (s->map != NULL)
        store_guard_remove_map(s->map);
    s->map = NULL;
    if (s->env != NULL)
        mdb_env_close(s->env);
    s->env = NULL;
}

/* LMDB begins a file with two pages that nothing syncs before the first commit: a power cut in
 * between could leave a file that never opens again. So a new one is named when it is whole. */
static enum store_err file_make(struct store *s, const struct store_options *options,
                                const char *name, const struct refusal *to)
{
    char next[PATH_MAX];
    int size = snprintf(next, sizeof next, "%s/new.mdb", options->path);
    ASSERT(size > 0 && (size_t)size < sizeof next); /* shorter than the name */
    if (unlink(next) != 0 && errno != ENOENT)
        return refuse(to, store_err_of_mdb(errno), "%s", strerror(errno));
    enum store_err err = new_file_write(s, options, next);
    env_close(s);
    if (err == STORE_OK && rename(next, name) != 0)
        err = store_err_of_mdb(errno);
    return err == STORE_OK ? err : refuse(to, err, "a new store cannot be written");
}

static enum store_err file_make_if_absent(struct store *s, const struct store_options *options,
                                          const struct refusal *to)
{
    char name[PATH_MAX];
    struct stat file;
    int size = snprintf(name, sizeof name, "%s/data.mdb", options->path);
    if (size < 0 || (size_t)size >= sizeof name)
        return refuse(to, STORE_E_IO, "%s", strerror(ENAMETOOLONG));
    if (mkdir(options->path, 0700) != 0 && errno != EEXIST)
        return refuse(to, store_err_of_mdb(errno), "%s", strerror(errno));
    if (stat(name, &file) == 0)
        return STORE_OK;
    if (errno != ENOENT)
        return refuse(to, store_err_of_mdb(errno), "%s", strerror(errno));
    return file_make(s, options, name, to);
}

/* The file is there. */
static enum store_err file_open(struct store *s, const struct store_options *options,
                                const struct refusal *to)
{
    int stale = 0;
    int rc = env_open(s, options, options->path, 0);
    if (rc == MDB_SUCCESS)
        rc = file_fill_up(s->env);
    if (rc == MDB_SUCCESS)
        rc = mdb_reader_check(s->env, &stale); /* one of a killed process would pin free pages */
    return rc == MDB_SUCCESS ? STORE_OK : refuse(to, store_err_of_mdb(rc), "%s", mdb_strerror(rc));
}

/* Format 1 had no counts; the tree may be there when making it was interrupted. */
static bool trees_are_whole(MDB_txn *txn, uint32_t format)
{
    MDB_dbi names;
    MDB_stat stat;
    return mdb_dbi_open(txn, NULL, 0, &names) == MDB_SUCCESS &&
           mdb_stat(txn, names, &stat) == MDB_SUCCESS &&
           (stat.ms_entries == STORE_TREES || (format == 1 && stat.ms_entries == STORE_TREES - 1));
}

static enum store_err trees_find(struct store *s, MDB_txn *txn, struct store_meta *ret_meta,
                                 const struct refusal *to)
{
    enum store_err err = store_meta_get(txn, s->trees.meta, &s->open_arena, ret_meta);
    if (err == STORE_E_VERSION)
        return refuse(to, err, "the store's format is newer than %d, the newest known here",
                      STORE_FORMAT);
    if (err != STORE_OK)
        return refuse(to, err, "the row that describes the store is missing or damaged");
    if (ret_meta->cluster_id != s->cluster_id)
        return refuse(to, STORE_E_FOREIGN, "made for cluster %llx, this node is of cluster %llx",
                      (unsigned long long)ret_meta->cluster_id, (unsigned long long)s->cluster_id);
    if (!trees_are_whole(txn, ret_meta->format))
        return refuse(to, STORE_E_CORRUPT, "a tree is missing from the store");
    err = trees_open(s, txn, 0);
    bool has_counts = ret_meta->format == STORE_FORMAT;
    if (err == STORE_OK)
        err = count_tree_open(txn, has_counts ? 0 : MDB_CREATE, &s->trees.count);
    if (err == STORE_OK && !has_counts)
        err = count_tree_reset(txn, s->trees.count);
    return err == STORE_OK ? err : refuse(to, err, "a tree of the store cannot be opened");
}

/* A write transaction, so that the handles of the trees outlive it; nothing is written, unless the
 * store is of an older format. */
static enum store_err state_load(struct store *s, const struct refusal *to)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->env, NULL, 0, &txn);
    if (rc != MDB_SUCCESS)
        return refuse(to, store_err_of_mdb(rc), "%s", mdb_strerror(rc));
    struct store_meta meta;
    enum store_err err;
    rc = mdb_dbi_open(txn, "meta", 0, &s->trees.meta);
    if (rc == MDB_SUCCESS)
        err = trees_find(s, txn, &meta, to);
    else if (rc == MDB_NOTFOUND)
        err = refuse(to, STORE_E_CORRUPT, "the tree that describes the store is missing");
    else
        err = refuse(to, store_err_of_mdb(rc), "%s", mdb_strerror(rc));
    if (err != STORE_OK) {
        mdb_txn_abort(txn);
        return err;
    }
    rc = mdb_txn_commit(txn);
    if (rc != MDB_SUCCESS)
        return refuse(to, store_err_of_mdb(rc), "%s", mdb_strerror(rc));
    s->published = meta.state;
    s->next_layer_id = meta.next_layer_id;
    s->format_found = meta.format;
    if (meta.format == STORE_FORMAT)
        return STORE_OK;
    err = store_counts_build(s);
    return err == STORE_OK ? err : refuse(to, err, "its keys cannot be counted");
}

/* What a process that died wrote may be in the page cache alone: nobody may build on it before
 * it is on the disk (I6). */
static enum store_err open_sync(struct store *s, const struct refusal *to)
{
    int rc = mdb_env_sync(s->env, 1);
    if (rc == 0)
        rc = dirs_sync(to->path);
    return rc == 0 ? STORE_OK : refuse(to, store_err_of_mdb(rc), "sync: %s", mdb_strerror(rc));
}

enum store_err store_open(struct store **ret_s, const struct store_options *options,
                          struct store_state *ret_state, char *detail, size_t detail_bytes)
{
    ASSERT(options->dirty_bytes_max >= STORE_DIRTY_BYTES_MIN);
    ASSERT(options->dirty_bytes_max <= STORE_DIRTY_BYTES_MAX);
    ASSERT(options->readers_max > 0);
    const struct refusal to = { detail, detail_bytes, options->path };
    struct store *s = calloc(1, sizeof *s);
    if (s == NULL)
        return STORE_E_NOMEM;
    s->io = options->io;
    s->cluster_id = options->cluster_id;
    s->dirty_bytes_max = options->dirty_bytes_max;
    list_init(&s->holds);
    arena_init(&s->open_arena, 4 * STORE_META_BYTES_MAX);
    enum store_err err = file_make_if_absent(s, options, &to);
    if (err == STORE_OK)
        err = file_open(s, options, &to);
    store_guard_enter();
    if (err == STORE_OK)
        err = state_load(s, &to);
    store_guard_leave();
    if (err == STORE_OK)
        err = open_sync(s, &to);
    if (err != STORE_OK) {
        store_close(s);
        return err;
    }
    s->usage = store_usage_measure(s);
    *ret_state = s->published;
    *ret_s = s;
    return STORE_OK;
}

void store_close(struct store *s)
{
    if (s == NULL)
        return;
    ASSERT(!s->busy);
    env_close(s);
    free(s->membership);
    arena_done(&s->open_arena);
    free(s);
}

/* ---- questions ---- */

const struct store_state *store_published(const struct store *s)
{
    return &s->published;
}

uint32_t store_format_found(const struct store *s)
{
    return s->format_found;
}

uint32_t store_format_newest(void)
{
    return STORE_FORMAT;
}

struct store_handles store_handles(const struct store *s)
{
    return (struct store_handles){
        .env = s->env, .rev = s->trees.rev, .key = s->trees.key, .count = s->trees.count
    };
}

enum store_err store_published_revision(struct store *s, MDB_txn *txn, int64_t *ret_revision)
{
    return store_meta_revision(txn, s->trees.meta, ret_revision);
}
