#include "storage/store_switch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "storage/store_internal.h"

static enum store_err err_of_errno(int code)
{
    return code == ENOSPC || code == EDQUOT ? STORE_E_NOSPACE
           : code == ENOMEM                 ? STORE_E_NOMEM
                                            : STORE_E_IO;
}

static bool path_put(char *to, const char *data_dir, const char *name)
{
    int size = snprintf(to, STORE_PATH_BYTES_MAX, "%s/%s", data_dir, name);
    return size >= 0 && size < STORE_PATH_BYTES_MAX;
}

static bool dir_exists(const char *data_dir, const char *name)
{
    char path[STORE_PATH_BYTES_MAX];
    return path_put(path, data_dir, name) && access(path, F_OK) == 0;
}

static enum store_err dir_sync(const char *data_dir)
{
    int fd = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_of_errno(errno);
    int code = fsync(fd) == 0 ? 0 : errno;
    IGNORE(close(fd) != 0, "nothing was written through it");
    return code == 0 ? STORE_OK : err_of_errno(code);
}

/* An environment's directory holds files alone. */
static int files_remove(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL)
        return errno;
    int code = 0;
    struct dirent *entry;
    while (code == 0 && (entry = readdir(dir)) != NULL) {
        bool is_dots = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        if (!is_dots && unlinkat(dirfd(dir), entry->d_name, 0) != 0)
            code = errno;
    }
    closedir(dir);
    return code;
}

enum store_err store_dir_remove(const char *data_dir, const char *name)
{
    char path[STORE_PATH_BYTES_MAX];
    if (!path_put(path, data_dir, name))
        return STORE_E_IO;
    int code = files_remove(path);
    if (code == ENOENT)
        return STORE_OK;
    if (code == 0 && rmdir(path) != 0)
        code = errno;
    return code == 0 ? dir_sync(data_dir) : err_of_errno(code);
}

enum store_err store_dir_rename(const char *data_dir, const char *from, const char *to)
{
    char from_path[STORE_PATH_BYTES_MAX];
    char to_path[STORE_PATH_BYTES_MAX];
    if (!path_put(from_path, data_dir, from) || !path_put(to_path, data_dir, to))
        return STORE_E_IO;
    return rename(from_path, to_path) == 0 ? dir_sync(data_dir) : err_of_errno(errno);
}

/* ---- the switch ---- */

enum store_err store_switch(const char *data_dir)
{
    enum store_err err = STORE_OK;
    if (dir_exists(data_dir, STORE_DIR_NEW)) {
        err = store_dir_remove(data_dir, STORE_DIR_OLD);
        if (err == STORE_OK && dir_exists(data_dir, STORE_DIR))
            err = store_dir_rename(data_dir, STORE_DIR, STORE_DIR_OLD);
        if (err == STORE_OK)
            err = store_dir_rename(data_dir, STORE_DIR_NEW, STORE_DIR);
    }
    return err == STORE_OK ? store_dir_remove(data_dir, STORE_DIR_OLD) : err;
}

/* Whether store.new publishes something, and where. One that cannot be opened is not complete. */
static enum store_err new_inspect(const char *data_dir, const struct store_options *options,
                                  bool *ret_complete, struct raft_pos *ret_pos)
{
    char path[STORE_PATH_BYTES_MAX];
    char detail[128];
    *ret_complete = false;
    if (!path_put(path, data_dir, STORE_DIR_NEW))
        return STORE_E_IO;
    struct store_options inspected = *options;
    inspected.path = path;
    struct store *store = NULL;
    struct store_state state;
    enum store_err err = store_open(&store, &inspected, &state, detail, sizeof detail);
    store_close(store);
    if (err == STORE_E_CORRUPT || err == STORE_E_FOREIGN)
        return STORE_OK;
    *ret_complete = err == STORE_OK && state.applied.index > 0;
    *ret_pos = state.applied;
    return err;
}

static enum store_err new_judge(const char *data_dir, const struct store_options *store,
                                const struct journal_options *journal,
                                enum store_switch_outcome *ret_outcome)
{
    bool is_reset;
    struct raft_pos reset = { 0 };
    enum journal_err journal_err = journal_find_reset(journal, &is_reset, &reset);
    if (journal_err == JOURNAL_E_VERSION || journal_err == JOURNAL_E_FOREIGN)
        return STORE_OK; /* whoever opens it is told */
    if (journal_err != JOURNAL_OK && journal_err != JOURNAL_E_CORRUPT)
        return journal_err == JOURNAL_E_NOMEM ? STORE_E_NOMEM : STORE_E_IO;
    bool is_complete = false;
    struct raft_pos pos = { 0 };
    if (is_reset) {
        enum store_err err = new_inspect(data_dir, store, &is_complete, &pos);
        if (err != STORE_OK)
            return err;
    }
    if (is_complete && pos.index == reset.index && pos.term == reset.term) {
        *ret_outcome = STORE_SWITCH_FINISHED;
        return store_switch(data_dir);
    }
    *ret_outcome = STORE_SWITCH_DISCARDED;
    return store_dir_remove(data_dir, STORE_DIR_NEW);
}

/* I6: names that a process which died has changed may be in a cache alone. */
enum store_err store_switch_recover(const char *data_dir, const struct store_options *store,
                                    const struct journal_options *journal,
                                    enum store_switch_outcome *ret_outcome)
{
    *ret_outcome = STORE_SWITCH_NONE;
    enum store_err err = dir_sync(data_dir);
    if (err == STORE_OK && dir_exists(data_dir, STORE_DIR_NEW))
        err = new_judge(data_dir, store, journal, ret_outcome);
    /* The one before is better than none, if it should come to that. */
    bool is_missing = !dir_exists(data_dir, STORE_DIR);
    if (err == STORE_OK && is_missing && dir_exists(data_dir, STORE_DIR_OLD))
        return store_dir_rename(data_dir, STORE_DIR_OLD, STORE_DIR);
    return err == STORE_OK ? store_dir_remove(data_dir, STORE_DIR_OLD) : err;
}

/* The first that is set aside is the one that had everything; what a repair had got since has it
 * from others. */
enum store_err store_discard(const char *data_dir)
{
    enum store_err err = store_dir_remove(data_dir, STORE_DIR_NEW);
    if (err == STORE_OK && dir_exists(data_dir, STORE_DIR))
        err = dir_exists(data_dir, STORE_DIR_LOST)
                  ? store_dir_remove(data_dir, STORE_DIR)
                  : store_dir_rename(data_dir, STORE_DIR, STORE_DIR_LOST);
    return err == STORE_OK ? store_dir_remove(data_dir, STORE_DIR_OLD) : err;
}

enum store_err store_lost_remove(const char *data_dir)
{
    return store_dir_remove(data_dir, STORE_DIR_LOST);
}
