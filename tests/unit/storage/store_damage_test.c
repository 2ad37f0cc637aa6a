/* Bits flip anywhere in LMDB's file. Whatever that does to its pages: a row that is given out is
 * the one that was written; a row that is not says STORE_E_CORRUPT; and where LMDB itself falls
 * over, the guard marks the store as lost. (A page whose count of rows rotted can hide rows: that
 * is for the comparison of hashes between members to find.) Each in a child of its own. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "storage/key_tree.h"
#include "storage/rev_tree.h"
#include "storage/store_guard.h"
#include "storage/store_internal.h"
#include "tests/support/snapshot_rig.h"
#include "tests/support/store_model.h"

enum { SOUND = 50, CORRUPT = 51, MARKED = 52, WRONG = 53, OTHER_ERROR = 54, OUTCOMES = 5 };
enum { ENTRIES = 30, RUNS = 300 };

static struct store_rig rig;
static struct store_model model;
static struct raft_entry entries[ENTRIES];
static uint8_t *file;
static size_t file_bytes;
static char file_path[2 * STORE_RIG_PATH_BYTES];

static void file_get(void)
{
    IGNORE(snprintf(file_path, sizeof file_path, "%s/data.mdb", rig.path) < 0, "it fits");
    int fd = open(file_path, O_RDONLY | O_CLOEXEC);
    struct stat stat;
    cr_assert_eq(fstat(fd, &stat), 0);
    file_bytes = (size_t)stat.st_size;
    free(file);
    file = malloc(file_bytes);
    cr_assert_eq(read(fd, file, file_bytes), (ssize_t)file_bytes);
    close(fd);
}

static void setup(void)
{
    store_rig_init(&rig);
    store_model_init(&model, 11);
    cr_assert_eq(store_rig_open(&rig), STORE_OK);
    struct memtable *memtable = memtable_new();
    for (int i = 0; i < 150; i++)
        store_model_change(&model, memtable);
    for (uint64_t i = 0; i < ENTRIES; i++)
        entries[i] = store_rig_entry((struct raft_pos){ .term = 1, .index = i + 1 }, 3000);
    struct store_flush flush = store_rig_flush_of(&rig, memtable, entries, ENTRIES);
    flush.state.revision = model.revision;
    cr_assert_eq(store_rig_flush(&rig, &flush), STORE_OK);
    memtable_unref(memtable);
    store_rig_close(&rig);
    file_get();
}

static void teardown(void)
{
    for (uint64_t i = 0; i < ENTRIES; i++)
        block_unref(entries[i].block);
    free(file);
    store_model_done(&model);
    store_rig_done(&rig);
}

TestSuite(store_damage, .init = setup, .fini = teardown);

static void file_put(void)
{
    int fd = open(file_path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    ASSERT(write(fd, file, file_bytes) == (ssize_t)file_bytes);
    close(fd);
}

/* ---- in the child ---- */

static void then(bool is_marked)
{
    _exit(is_marked ? MARKED : OTHER_ERROR);
}

static void end_unless_ok(enum store_err err)
{
    if (err != STORE_OK)
        _exit(err == STORE_E_CORRUPT || err == STORE_E_VERSION ? CORRUPT : OTHER_ERROR);
}

static const struct kv_record *model_find(struct kv_revision mod)
{
    for (size_t i = 0; i < model.record_count; i++)
        if (model.records[i].mod.main == mod.main && model.records[i].mod.sub == mod.sub)
            return &model.records[i];
    return NULL;
}

static void record_check(const struct kv_record *got, bool has_value)
{
    const struct kv_record *wanted = model_find(got->mod);
    if (wanted == NULL || !slice_equal(got->key, wanted->key) || got->sum != wanted->sum ||
        got->version != wanted->version || got->tombstone != wanted->tombstone ||
        (has_value && !slice_equal(got->value, wanted->value)))
        _exit(WRONG);
}

static void revs_walk(MDB_txn *txn, MDB_dbi dbi, struct arena *arena)
{
    struct kv_revision at = { 0 };
    for (;;) {
        struct kv_record record;
        bool found;
        arena_reset(arena);
        end_unless_ok(rev_tree_next(txn, dbi, at, arena, &record, &found));
        if (!found)
            return;
        record_check(&record, true);
        if (record.mod.main < at.main)
            _exit(CORRUPT); /* the order of the tree is gone */
        at = (struct kv_revision){ record.mod.main, record.mod.sub + 1 };
    }
}

static void keys_walk(MDB_txn *txn, MDB_dbi dbi)
{
    struct key_tree_cursor *cursor;
    struct kv_record record;
    bool found;
    end_unless_ok(key_tree_cursor_open(txn, dbi, model.revision, true, &cursor));
    end_unless_ok(key_tree_cursor_seek(cursor, slice_of(NULL, 0), &record, &found));
    for (size_t i = 0; found; i++) {
        record_check(&record, false);
        if (i > 4 * model.record_count)
            _exit(CORRUPT); /* it goes in circles */
        end_unless_ok(key_tree_cursor_next(cursor, &record, &found));
    }
}

static void log_read(void)
{
    struct raft_entry got[ENTRIES];
    size_t count;
    struct block *block;
    end_unless_ok(store_log_read(rig.store, 1, UINT32_MAX, got, ENTRIES, &count, &block));
    for (size_t i = 0; i < count; i++)
        if (!slice_equal(got[i].bytes, entries[i].bytes))
            _exit(WRONG);
}

static enum store_err change_more(uint64_t log_keep_index)
{
    struct memtable *memtable = memtable_new();
    for (int i = 0; i < 30; i++)
        store_model_change(&model, memtable);
    struct store_flush flush = store_rig_flush_of(&rig, memtable, NULL, 0);
    flush.state.revision = model.revision;
    flush.state.compact_revision = model.revision - 5;
    flush.log_keep_index = log_keep_index;
    enum store_err err = store_rig_flush(&rig, &flush);
    memtable_unref(memtable);
    return err;
}

static _Noreturn void child(bool writes)
{
    IGNORE(freopen("/dev/null", "w", stderr) == NULL, "then it is noisy");
    alarm(20);
    int dir_fd = open(snapshot_rig_dir(&rig), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const struct store_guard_options options = { .dir_fd = dir_fd, .then = then };
    if (!store_guard_install(&options))
        _exit(OTHER_ERROR);
    end_unless_ok(store_rig_open(&rig));
    MDB_txn *txn;
    struct arena arena;
    struct store_handles handles = store_handles(rig.store);
    arena_init(&arena, 1 << 28);
    end_unless_ok(store_err_of_mdb(mdb_txn_begin(handles.env, NULL, MDB_RDONLY, &txn)));
    revs_walk(txn, handles.rev, &arena);
    keys_walk(txn, handles.key);
    log_read();
    mdb_txn_abort(txn);
    if (writes)
        end_unless_ok(change_more(20));
    _exit(SOUND);
}

/* ---- the runs ---- */

static int outcome_of(bool writes)
{
    pid_t pid = fork();
    if (pid == 0)
        child(writes);
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status), "signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

static void runs(uint64_t seed, bool writes, bool anywhere)
{
    struct prng chance = prng_seeded(seed);
    size_t seen[OUTCOMES] = { 0 };
    for (int i = 0; i < RUNS; i++) {
        /* Headers of pages decide most; or any byte. */
        size_t page = prng_below(&chance, file_bytes / 4096);
        size_t at = page * 4096 + prng_below(&chance, anywhere ? 4096 : 64);
        uint8_t mask = (uint8_t)(1u << prng_below(&chance, 8));
        file[at] ^= mask;
        file_put();
        int outcome = outcome_of(writes);
#ifdef __SANITIZE_ADDRESS__
        if (writes && outcome == 1)
            outcome = MARKED; /* the sanitizer's report of memory that LMDB spoilt comes first */
#endif
        cr_assert(outcome >= SOUND && outcome < SOUND + OUTCOMES, "exit %d at %zu", outcome, at);
        cr_assert_neq(outcome, WRONG, "byte %zu, mask %02x", at, mask);
        cr_assert_neq(outcome, OTHER_ERROR, "byte %zu, mask %02x", at, mask);
        seen[outcome - SOUND]++;
        file[at] ^= mask;
    }
    cr_assert_gt(seen[CORRUPT - SOUND], RUNS / 20);
}

Test(store_damage, nothing_wrong_is_read)
{
    file_put();
    cr_assert_eq(outcome_of(true), SOUND);
    runs(1, false, true);
}

Test(store_damage, nor_where_pages_make_no_sense)
{
    runs(2, false, false);
}

Test(store_damage, a_write_finds_it_or_marks_it)
{
    runs(3, true, false);
}

/* Of LMDB 0.9's file (mdb.c: MDB_page, MDB_meta, MDB_db): the newest meta page has the root of the
 * tree of free pages, whose first row ends with the number of one. */
static uint8_t *a_free_page(void)
{
    enum { META_FREE_ROOT = 80, META_TXN = 144, PAGE_NODES = 16, NODE_HEADER = 8, TXN_BYTES = 8 };
    uint8_t *metas[] = { file, file + 4096 };
    bool second = get_le64(metas[1] + META_TXN) > get_le64(metas[0] + META_TXN);
    uint64_t root = get_le64(metas[second] + META_FREE_ROOT);
    cr_assert_lt(root, file_bytes / 4096);
    uint8_t *node = file + root * 4096 + get_le16(file + root * 4096 + PAGE_NODES);
    uint8_t *list = node + NODE_HEADER + TXN_BYTES;
    uint64_t count = get_le64(list);
    cr_assert(count > 0 && count < 500, "%lu", (unsigned long)count);
    return list + 8 * count;
}

Test(store_damage, a_free_page_that_no_file_has_is_damage)
{
    cr_assert_eq(store_rig_open(&rig), STORE_OK);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(change_more(1), STORE_OK);
    store_rig_close(&rig);
    file_get();
    uint8_t *page = a_free_page();
    put_le64(page, ~get_le64(page));
    file_put();
    int outcome = outcome_of(true);
    cr_assert_eq(outcome, CORRUPT, "exit %d", outcome);
}
