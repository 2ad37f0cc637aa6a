#include "storage/store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/checksum.h"
#include "storage/store_internal.h"
#include "storage/store_meta.h"
#include "tests/support/store_rig.h"

static struct store_rig rig;

static void setup(void)
{
    store_rig_init(&rig);
}

static void teardown(void)
{
    store_rig_done(&rig);
}

TestSuite(store, .init = setup, .fini = teardown);

/* ---- the environment behind the store's back ---- */

static MDB_env *raw_env;
static MDB_txn *raw_txn;

static void raw_begin(void)
{
    cr_assert_eq(mdb_env_create(&raw_env), 0);
    cr_assert_eq(mdb_env_set_maxdbs(raw_env, 8), 0);
    cr_assert_eq(mdb_env_set_mapsize(raw_env, 1 << 30), 0);
    cr_assert_eq(mdb_env_open(raw_env, rig.path, 0, 0600), 0);
    cr_assert_eq(mdb_txn_begin(raw_env, NULL, 0, &raw_txn), 0);
}

static void raw_commit(void)
{
    cr_assert_eq(mdb_txn_commit(raw_txn), 0);
    mdb_env_close(raw_env);
}

static MDB_dbi raw_tree(const char *name)
{
    MDB_dbi dbi;
    cr_assert_eq(mdb_dbi_open(raw_txn, name, 0, &dbi), 0);
    return dbi;
}

static MDB_val raw_meta_key(void)
{
    static char name[] = "store";
    return (MDB_val){ .mv_size = 5, .mv_data = name };
}

static size_t meta_row_get(uint8_t *row, size_t room)
{
    raw_begin();
    MDB_val k = raw_meta_key();
    MDB_val v;
    cr_assert_eq(mdb_get(raw_txn, raw_tree("meta"), &k, &v), 0);
    cr_assert_leq(v.mv_size, room);
    memcpy(row, v.mv_data, v.mv_size);
    size_t size = v.mv_size;
    raw_commit();
    return size;
}

static void meta_row_set(uint8_t *row, size_t size)
{
    raw_begin();
    MDB_val k = raw_meta_key();
    MDB_val v = { .mv_size = size, .mv_data = row };
    cr_assert_eq(mdb_put(raw_txn, raw_tree("meta"), &k, &v, 0), 0);
    raw_commit();
}

static void meta_row_sum(uint8_t *row, size_t size)
{
    put_le64(row, checksum(slice_of(row + 8, size - 8), 0));
}

static void store_make(void)
{
    cr_assert_eq(store_rig_open(&rig), STORE_OK, "%s", rig.detail);
    store_rig_close(&rig);
}

/* ---- opening ---- */

Test(store, begins_at_revision_one)
{
    for (int again = 0; again < 2; again++) {
        cr_assert_eq(store_rig_open(&rig), STORE_OK, "%s", rig.detail);
        cr_assert_eq(rig.state.revision, 1);
        cr_assert_eq(rig.state.feature_level, 1);
        cr_assert_eq(rig.state.applied.index, 0);
        cr_assert_eq(rig.state.compact_revision, 0);
        cr_assert_eq(rig.state.compacted_revision, 0);
        cr_assert_eq(rig.state.log_start.index, 0);
        cr_assert_eq(rig.state.term_start_count, 0);
        cr_assert_eq(rig.state.membership.size, 0);
        cr_assert_eq(store_published(rig.store)->revision, 1);
        store_rig_close(&rig);
    }
}

static void golden_state_expect(void)
{
    cr_assert_eq(store_rig_open(&rig), STORE_OK, "%s", rig.detail);
    cr_assert_eq(rig.state.applied.term, 2);
    cr_assert_eq(rig.state.applied.index, 5);
    cr_assert_eq(rig.state.revision, 9);
    cr_assert_eq(rig.state.compact_revision, 4);
    cr_assert_eq(rig.state.compacted_revision, 3);
    cr_assert_eq(rig.state.state_hash, 7);
    cr_assert(slice_equal(rig.state.membership, slice_of_text("mm")));
    cr_assert_eq(rig.state.log_start.index, 1);
    cr_assert_eq(rig.state.term_start_count, 2);
    cr_assert_eq(rig.state.term_starts[1].term, 2);
    cr_assert_eq(rig.state.term_starts[1].first_index, 4);
}

Test(store, writes_this_meta_row)
{
    store_make();
    raw_begin();
    struct store_meta meta = {
        .cluster_id = 0xc1,
        .next_layer_id = 6,
        .state = { .applied = { .term = 2, .index = 5 },
                   .revision = 9,
                   .compact_revision = 4,
                   .compacted_revision = 3,
                   .state_hash = 7,
                   .feature_level = 1,
                   .membership = slice_of_text("mm"),
                   .log_start = { .term = 1, .index = 1 },
                   .term_starts = { { 1, 2 }, { 2, 4 } },
                   .term_start_count = 2 },
    };
    cr_assert_eq(store_meta_put(raw_txn, raw_tree("meta"), &meta), STORE_OK);
    raw_commit();
    static const uint8_t golden[] = {
        0x70, 0x4f, 0xf9, 0xa5, 0x4c, 0x47, 0x39, 0xe5, /* sum */
        9,    0,    0,    0,    0,    0,    0,    0,    /* revision */
        0x08, 2,    0x10, 0xc1, 1,    0x18, 5,    0x20, 2,   0x28, 9, 0x30, 4, 0x38,
        3,    0x40, 7,    0x48, 1,    0x52, 2,    'm',  'm', 0x60, 1, 0x68, 1, 0x72,
        4,    0x08, 1,    0x10, 2,    0x72, 4,    0x08, 2,   0x10, 4, 0x78, 6,
    };
    uint8_t row[256];
    size_t size = meta_row_get(row, sizeof row);
    cr_assert(slice_equal(slice_of(row, size), slice_of(golden, sizeof golden)));
    golden_state_expect();
}

/* As it was written while rows of records were of format 1. */
Test(store, reads_the_meta_row_of_format_1)
{
    store_make();
    static const uint8_t golden[] = {
        0xed, 0x49, 0x18, 0x3d, 0x01, 0x03, 0x58, 0x8e, /* sum */
        9,    0,    0,    0,    0,    0,    0,    0,    /* revision */
        0x08, 1,    0x10, 0xc1, 1,    0x18, 5,    0x20, 2,   0x28, 9, 0x30, 4, 0x38,
        3,    0x40, 7,    0x48, 1,    0x52, 2,    'm',  'm', 0x60, 1, 0x68, 1, 0x72,
        4,    0x08, 1,    0x10, 2,    0x72, 4,    0x08, 2,   0x10, 4, 0x78, 6,
    };
    uint8_t row[sizeof golden];
    memcpy(row, golden, sizeof row);
    meta_row_set(row, sizeof row);
    golden_state_expect();
}

Test(store, refuses_another_clusters)
{
    store_make();
    rig.options.cluster_id = 0xc2;
    cr_assert_eq(store_rig_open(&rig), STORE_E_FOREIGN);
    cr_assert_not_null(strstr(rig.detail, "cluster c1"), "%s", rig.detail);
    cr_assert_not_null(strstr(rig.detail, rig.path), "%s", rig.detail);
    rig.options.cluster_id = STORE_RIG_CLUSTER;
    cr_assert_eq(store_rig_open(&rig), STORE_OK, "and leaves it as it is");
}

Test(store, refuses_a_newer_format)
{
    store_make();
    uint8_t row[256];
    size_t size = meta_row_get(row, sizeof row);
    cr_assert_eq(row[16], 0x08);
    cr_assert_eq(row[17], STORE_FORMAT);
    row[17] = STORE_FORMAT + 1;
    meta_row_sum(row, size);
    meta_row_set(row, size);
    cr_assert_eq(store_rig_open(&rig), STORE_E_VERSION);
    cr_assert_not_null(strstr(rig.detail, "newer"), "%s", rig.detail);
}

Test(store, sees_each_flipped_bit_of_its_meta_row)
{
    store_make();
    uint8_t row[256];
    size_t size = meta_row_get(row, sizeof row);
    for (size_t bit = 0; bit < size * 8; bit++) {
        row[bit / 8] ^= (uint8_t)(1u << bit % 8);
        meta_row_set(row, size);
        cr_assert_eq(store_rig_open(&rig), STORE_E_CORRUPT, "bit %zu", bit);
        row[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t cut = 0; cut < size; cut++) {
        meta_row_set(row, cut);
        cr_assert_eq(store_rig_open(&rig), STORE_E_CORRUPT, "cut to %zu", cut);
    }
    meta_row_set(row, size);
    cr_assert_eq(store_rig_open(&rig), STORE_OK, "%s", rig.detail);
}

Test(store, sees_a_summed_row_that_makes_no_sense)
{
    static const struct {
        const char *rule;
        struct store_state state;
        enum store_err err;
    } rows[] = {
        { "fine", { .revision = 1, .log_start = { 1, 3 }, .applied = { 1, 3 } }, STORE_OK },
        { "revision 0", { .revision = 0 }, STORE_E_CORRUPT },
        { "compact past revision", { .revision = 4, .compact_revision = 5 }, STORE_E_CORRUPT },
        { "compacted past compact", { .revision = 4, .compacted_revision = 2 }, STORE_E_CORRUPT },
        { "negative", { .revision = 4, .compacted_revision = -1 }, STORE_E_CORRUPT },
        { "log past applied", { .revision = 1, .log_start = { 1, 3 } }, STORE_E_CORRUPT },
        { "log without terms", { .revision = 1, .applied = { 1, 3 } }, STORE_E_CORRUPT },
        { "terms without log",
          { .revision = 1, .term_starts = { { 1, 1 } }, .term_start_count = 1 },
          STORE_E_CORRUPT },
        { "terms fall",
          { .revision = 1,
            .applied = { 2, 9 },
            .term_starts = { { 2, 1 }, { 1, 5 } },
            .term_start_count = 2 },
          STORE_E_CORRUPT },
        { "starts fall",
          { .revision = 1,
            .applied = { 2, 9 },
            .term_starts = { { 1, 5 }, { 2, 5 } },
            .term_start_count = 2 },
          STORE_E_CORRUPT },
        { "a term past applied",
          { .revision = 1,
            .applied = { 1, 9 },
            .term_starts = { { 2, 5 } },
            .term_start_count = 1 },
          STORE_E_CORRUPT },
    };
    store_make();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct store_meta meta = { .cluster_id = STORE_RIG_CLUSTER, .state = rows[i].state };
        raw_begin();
        cr_assert_eq(store_meta_put(raw_txn, raw_tree("meta"), &meta), STORE_OK);
        raw_commit();
        cr_assert_eq(store_rig_open(&rig), rows[i].err, "%s", rows[i].rule);
        store_rig_close(&rig);
    }
}

Test(store, sees_a_missing_row_or_tree)
{
    static const char *const names[] = { "log", "rev", "key" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        store_make();
        raw_begin();
        cr_assert_eq(mdb_drop(raw_txn, raw_tree(names[i]), 1), 0);
        raw_commit();
        cr_assert_eq(store_rig_open(&rig), STORE_E_CORRUPT, "%s", names[i]);
        cr_assert_not_null(strstr(rig.detail, "tree is missing"), "%s", rig.detail);
        store_rig_done(&rig);
        store_rig_init(&rig);
    }
    store_make();
    raw_begin();
    cr_assert_eq(mdb_drop(raw_txn, raw_tree("meta"), 0), 0);
    raw_commit();
    cr_assert_eq(store_rig_open(&rig), STORE_E_CORRUPT);
    raw_begin();
    cr_assert_eq(mdb_drop(raw_txn, raw_tree("meta"), 1), 0);
    raw_commit();
    cr_assert_eq(store_rig_open(&rig), STORE_E_CORRUPT, "with other trees it is no new store");
}

Test(store, refuses_what_is_no_environment)
{
    store_make();
    char name[STORE_RIG_PATH_BYTES + 16];
    cr_assert_lt(snprintf(name, sizeof name, "%s/data.mdb", rig.path), (int)sizeof name);
    int fd = open(name, O_WRONLY | O_CLOEXEC);
    static const uint8_t noise[8192] = { 1, 2, 3 };
    cr_assert_eq(pwrite(fd, noise, sizeof noise, 0), (ssize_t)sizeof noise);
    close(fd);
    cr_assert_eq(store_rig_open(&rig), STORE_E_CORRUPT);
    cr_assert_not_null(strstr(rig.detail, rig.path), "%s", rig.detail);
}

/* The file is named when it is whole: what an earlier start left unfinished is made again, and
 * one that is empty was emptied by something else. */
Test(store, begins_again_what_was_never_whole)
{
    char name[STORE_RIG_PATH_BYTES + 16];
    char next[STORE_RIG_PATH_BYTES + 16];
    cr_assert_lt(snprintf(name, sizeof name, "%s/data.mdb", rig.path), (int)sizeof name);
    cr_assert_lt(snprintf(next, sizeof next, "%s/new.mdb", rig.path), (int)sizeof next);
    cr_assert_eq(mkdir(rig.path, 0700), 0);
    int fd = open(next, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_eq(ftruncate(fd, 8192), 0);
    close(fd);
    cr_assert_eq(store_rig_open(&rig), STORE_OK, "%s", rig.detail);
    cr_assert_eq(rig.state.revision, 1);
    cr_assert_neq(access(next, F_OK), 0);
    store_rig_close(&rig);
    cr_assert_eq(truncate(name, 0), 0);
    cr_assert_eq(store_rig_open(&rig), STORE_E_CORRUPT, "%s", rig.detail);
}

/* Where the file ends the map is SIGBUS, unless the open sees to it. */
Test(store, a_file_cut_short_is_damage)
{
    store_make();
    char path[STORE_RIG_PATH_BYTES + 16];
    cr_assert_gt(snprintf(path, sizeof path, "%s/data.mdb", rig.path), 0);
    cr_assert_eq(truncate(path, 2 * 4096), 0); /* the two meta pages are left */
    cr_assert_eq(store_rig_open(&rig), STORE_E_CORRUPT, "%s", rig.detail);
}

Test(store, says_which_directory_cannot_be_made)
{
    memcpy(rig.path + strlen(rig.path) - strlen("store"), "n/one", sizeof "n/one");
    cr_assert_eq(store_rig_open(&rig), STORE_E_IO);
    cr_assert_not_null(strstr(rig.detail, rig.path), "%s", rig.detail);
    cr_assert_not_null(strstr(rig.detail, "No such file"), "%s", rig.detail);
}

/* A child that has the store open, with a reader or without, and says so; then it waits for its
 * end, which is no later than this test's. */
static pid_t child_open(bool reads)
{
    int pipe_fds[2];
    cr_assert_eq(pipe(pipe_fds), 0);
    pid_t child = fork();
    if (child == 0) {
        MDB_txn *txn;
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || store_rig_open(&rig) != STORE_OK)
            _exit(1);
        if (reads && mdb_txn_begin(store_handles(rig.store).env, NULL, MDB_RDONLY, &txn) != 0)
            _exit(2);
        if (write(pipe_fds[1], "", 1) != 1)
            _exit(3);
        for (;;)
            pause();
    }
    char byte;
    close(pipe_fds[1]);
    cr_assert_eq(read(pipe_fds[0], &byte, 1), 1);
    close(pipe_fds[0]);
    return child;
}

static void child_kill(pid_t child)
{
    int status;
    cr_assert_eq(kill(child, SIGKILL), 0);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
}

/* A reader of a process that was killed pins free pages for ever. While some other process (a
 * tool that inspects) has the environment open, LMDB itself does not forget it. */
Test(store, clears_readers_of_the_dead)
{
    store_make();
    pid_t inspecting = child_open(false);
    pid_t reading = child_open(true);
    child_kill(reading);
    cr_assert_eq(store_rig_open(&rig), STORE_OK);
    int dead;
    cr_assert_eq(mdb_reader_check(store_handles(rig.store).env, &dead), 0);
    cr_assert_eq(dead, 0, "none is left to clear");
    child_kill(inspecting);
}

Test(store, knows_its_size)
{
    cr_assert_eq(store_rig_open(&rig), STORE_OK);
    struct store_usage usage = store_usage(rig.store);
    cr_assert_geq(usage.file_bytes, 4 * 4096);
    cr_assert_leq(usage.in_use_bytes, usage.file_bytes);
    cr_assert_gt(usage.in_use_bytes, 0);
}

Test(store, maps_the_codes_of_lmdb)
{
    static const struct {
        int code;
        enum store_err err;
    } rows[] = {
        { 0, STORE_OK },
        { MDB_MAP_FULL, STORE_E_NOSPACE },
        { ENOSPC, STORE_E_NOSPACE },
        { EIO, STORE_E_IO },
        { MDB_PANIC, STORE_E_IO },
        { EACCES, STORE_E_IO },
        { ENOMEM, STORE_E_NOMEM },
        { MDB_READERS_FULL, STORE_E_NOMEM },
        { MDB_CORRUPTED, STORE_E_CORRUPT },
        { MDB_PAGE_NOTFOUND, STORE_E_CORRUPT },
        { MDB_INVALID, STORE_E_CORRUPT },
        { MDB_VERSION_MISMATCH, STORE_E_VERSION },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_assert_eq(store_err_of_mdb(rows[i].code), rows[i].err, "%d", rows[i].code);
    cr_assert_str_eq(store_strerror(STORE_E_GONE), "no longer in the log store");
}
