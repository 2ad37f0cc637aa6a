/* What a start makes of each state that an install can leave; and a kill before each call to the
 * file system on the way. The functions below stand before the C library's. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "storage/store_internal.h"
#include "storage/store_switch.h"
#include "tests/support/journal_lab.h"
#include "tests/support/snapshot_rig.h"

static bool counts;
static uint64_t calls_left; /* until it strikes */
static int fault_errno;     /* 0: it kills */

static bool strikes(void)
{
    if (!counts || calls_left-- > 0)
        return false;
    if (fault_errno == 0)
        raise(SIGKILL);
    counts = false;
    errno = fault_errno;
    return true;
}

/* Names that changed since the last sync; whether one changed before the one before was durable. */
static bool names_are_loose;
static bool names_overtook;

static void name_changes(void)
{
    names_overtook = names_overtook || names_are_loose;
    names_are_loose = true;
}

int rename(const char *from, const char *to)
{
    name_changes();
    return strikes() ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int rmdir(const char *path)
{
    name_changes();
    return strikes() ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

int unlinkat(int dir_fd, const char *name, int flags)
{
    return strikes() ? -1 : (int)syscall(SYS_unlinkat, dir_fd, name, flags);
}

int fsync(int fd)
{
    names_are_loose = false;
    return strikes() ? -1 : (int)syscall(SYS_fsync, fd);
}

static struct store_rig rig;
static struct lab *lab;
static char store_path[STORE_RIG_PATH_BYTES];
static const struct raft_pos snapshot_pos = { .term = 1, .index = 9 };

static void setup(void)
{
    counts = false;
    store_rig_init(&rig);
    memcpy(store_path, rig.path, sizeof store_path);
    lab = lab_new(1);
}

static void teardown(void)
{
    lab_free(lab);
    snapshot_rig_clear(&rig);
    store_rig_done(&rig);
}

TestSuite(store_switch, .init = setup, .fini = teardown);

/* An environment of this name that publishes this many entries. */
static void environment_make(const char *name, uint64_t applied)
{
    int size = snprintf(rig.path, sizeof rig.path, "%s/%s", snapshot_rig_dir(&rig), name);
    cr_assert(size > 0 && (size_t)size < sizeof rig.path);
    cr_assert_eq(store_rig_open(&rig), STORE_OK, "%s", rig.detail);
    struct raft_entry entries[16];
    for (uint64_t i = 0; i < applied; i++)
        entries[i] = store_rig_entry((struct raft_pos){ .term = 1, .index = i + 1 }, 50);
    struct store_flush flush = store_rig_flush_of(&rig, NULL, entries, applied);
    if (applied > 0)
        cr_assert_eq(store_rig_flush(&rig, &flush), STORE_OK);
    for (uint64_t i = 0; i < applied; i++)
        block_unref(entries[i].block);
    store_rig_close(&rig);
    memcpy(rig.path, store_path, sizeof rig.path);
}

/* The journal's newest reset is this one; index 0: it has none. */
static void journal_make(struct raft_pos reset)
{
    cr_assert_eq(lab_open(lab), JOURNAL_OK);
    lab_append(lab, 3, 100);
    if (reset.index > 0)
        lab_write_now(lab, &(struct lab_batch){ .hard = { .term = 2 },
                                                .prev_index = reset.index,
                                                .reset = JOURNAL_RESET_DROP,
                                                .reset_pos = reset });
    lab_close(lab);
}

static enum store_err recover(enum store_switch_outcome *ret_outcome)
{
    struct store_options options = rig.options;
    options.path = rig.path;
    options.io = &rig.io.io;
    return store_switch_recover(snapshot_rig_dir(&rig), &options, &lab->options, ret_outcome);
}

/* The store publishes `applied`, and nothing stands beside it. */
static void store_expect(uint64_t applied)
{
    cr_assert_not(snapshot_rig_has(&rig, STORE_DIR_NEW));
    cr_assert_not(snapshot_rig_has(&rig, STORE_DIR_OLD));
    cr_assert_eq(store_rig_open(&rig), STORE_OK, "%s", rig.detail);
    cr_assert_eq(rig.state.applied.index, applied);
    store_rig_close(&rig);
}

enum { NONE = -1 };

Test(store_switch, a_start_after_each_step)
{
    static const struct {
        const char *what;
        int store, fresh, old; /* what each publishes; NONE: it is not there */
        struct raft_pos reset;
        enum store_switch_outcome outcome;
        uint64_t applied;
    } cases[] = {
        { "nothing ever", NONE, NONE, NONE, { 0 }, STORE_SWITCH_NONE, 0 },
        { "no snapshot", 3, NONE, NONE, { 0 }, STORE_SWITCH_NONE, 3 },
        { "a half one", 3, 0, NONE, { 0 }, STORE_SWITCH_DISCARDED, 3 },
        { "before the reset", 3, 9, NONE, { 0 }, STORE_SWITCH_DISCARDED, 3 },
        { "after the reset", 3, 9, NONE, { 1, 9 }, STORE_SWITCH_FINISHED, 9 },
        { "a half one after an old reset", 3, 0, NONE, { 1, 2 }, STORE_SWITCH_DISCARDED, 3 },
        { "before its own reset", 3, 9, NONE, { 1, 8 }, STORE_SWITCH_DISCARDED, 3 },
        { "another term", 3, 9, NONE, { 2, 9 }, STORE_SWITCH_DISCARDED, 3 },
        { "within the switch", NONE, 9, 3, { 1, 9 }, STORE_SWITCH_FINISHED, 9 },
        { "the old one comes back", NONE, 9, 3, { 0 }, STORE_SWITCH_DISCARDED, 3 },
        { "the old one is left", 9, NONE, 3, { 1, 9 }, STORE_SWITCH_NONE, 9 },
        { "done", 9, NONE, NONE, { 1, 9 }, STORE_SWITCH_NONE, 9 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        teardown();
        setup();
        if (cases[i].store != NONE)
            environment_make(STORE_DIR, (uint64_t)cases[i].store);
        if (cases[i].fresh != NONE)
            environment_make(STORE_DIR_NEW, (uint64_t)cases[i].fresh);
        if (cases[i].old != NONE)
            environment_make(STORE_DIR_OLD, (uint64_t)cases[i].old);
        journal_make(cases[i].reset);
        enum store_switch_outcome outcome;
        cr_assert_eq(recover(&outcome), STORE_OK, "%s", cases[i].what);
        cr_assert_eq(outcome, cases[i].outcome, "%s: %d", cases[i].what, outcome);
        store_expect(cases[i].applied);
        cr_assert_eq(recover(&outcome), STORE_OK);
        cr_assert_eq(outcome, STORE_SWITCH_NONE, "%s: once is enough", cases[i].what);
    }
}

static void install_make(void)
{
    teardown();
    setup();
    environment_make(STORE_DIR, 3);
    environment_make(STORE_DIR_NEW, 9);
    journal_make(snapshot_pos);
}

/* Killed before each of its calls; the start is killed before each of its own, too. */
Test(store_switch, a_kill_anywhere_ends_in_the_new_store)
{
    uint64_t kills = 0;
    for (uint64_t call = 0;; call++) {
        install_make();
        pid_t child = fork();
        if (child == 0) {
            counts = true;
            calls_left = call;
            _exit(store_switch(snapshot_rig_dir(&rig)) == STORE_OK ? 0 : 1);
        }
        int status;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
        bool was_killed = WIFSIGNALED(status);
        enum store_switch_outcome outcome;
        child = fork();
        if (child == 0) {
            counts = true;
            calls_left = call;
            _exit(recover(&outcome) == STORE_OK ? 0 : 1);
        }
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert_eq(recover(&outcome), STORE_OK);
        store_expect(9);
        kills += was_killed;
        if (!was_killed)
            break;
    }
    cr_assert_geq(kills, 6);
}

/* A power cut may take any name that was not synced, and not those after it. */
Test(store_switch, each_name_is_durable_before_the_next)
{
    install_make();
    names_are_loose = names_overtook = false;
    cr_assert_eq(store_switch(snapshot_rig_dir(&rig)), STORE_OK);
    cr_assert_not(names_overtook);
    cr_assert_not(names_are_loose);
    store_expect(9);
}

Test(store_switch, failures_are_told)
{
    for (uint64_t call = 0; call < 6; call++) {
        install_make();
        counts = true;
        calls_left = call;
        fault_errno = call % 2 ? ENOSPC : EIO;
        enum store_err err = store_switch(snapshot_rig_dir(&rig));
        cr_assert_eq(err, call % 2 ? STORE_E_NOSPACE : STORE_E_IO, "call %lu", call);
        counts = false;
        fault_errno = 0;
        enum store_switch_outcome outcome;
        cr_assert_eq(recover(&outcome), STORE_OK);
        store_expect(9);
    }
}

/* A snapshot that was damaged after its reset: the old store stays, and the journal says that it
 * lacks what the reset speaks of. */
Test(store_switch, a_snapshot_that_is_damaged_is_discarded)
{
    install_make();
    char path[2 * STORE_RIG_PATH_BYTES];
    IGNORE(snprintf(path, sizeof path, "%s/store.new/data.mdb", snapshot_rig_dir(&rig)) < 0,
           "fits");
    int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    uint8_t zeros[8192] = { 0 };
    cr_assert_eq(pwrite(fd, zeros, sizeof zeros, 0), (ssize_t)sizeof zeros);
    close(fd);
    enum store_switch_outcome outcome;
    cr_assert_eq(recover(&outcome), STORE_OK);
    cr_assert_eq(outcome, STORE_SWITCH_DISCARDED);
    store_expect(3);
    lab->flushed = (struct raft_pos){ .term = 1, .index = 3 };
    lab->snapshot = (struct raft_pos){ 0 };
    cr_assert_eq(lab_open(lab), JOURNAL_E_CORRUPT);
}

/* Whoever opens the journal is told why; until then nothing is thrown away. */
Test(store_switch, leaves_all_as_it_is_beside_a_journal_of_a_newer_version)
{
    install_make();
    lab->options.cluster_id++;
    enum store_switch_outcome outcome;
    cr_assert_eq(recover(&outcome), STORE_OK);
    cr_assert_eq(outcome, STORE_SWITCH_NONE);
    cr_assert(snapshot_rig_has(&rig, STORE_DIR_NEW));
    lab->options.cluster_id--;
    fake_io_fail(lab->fake, FAKE_IO_READ, 1, EIO);
    cr_assert_eq(recover(&outcome), STORE_E_IO);
    cr_assert(snapshot_rig_has(&rig, STORE_DIR_NEW));
    cr_assert_eq(recover(&outcome), STORE_OK);
    store_expect(9);
}

/* The first is the one that had everything: it stays until the repair is over. */
Test(store_switch, a_lost_store_is_set_aside_once)
{
    install_make();
    cr_assert_eq(store_discard(snapshot_rig_dir(&rig)), STORE_OK);
    cr_assert(snapshot_rig_has(&rig, STORE_DIR_LOST));
    cr_assert_not(snapshot_rig_has(&rig, STORE_DIR_NEW));
    environment_make(STORE_DIR, 7);
    cr_assert_eq(store_discard(snapshot_rig_dir(&rig)), STORE_OK, "lost once more");
    cr_assert_not(snapshot_rig_has(&rig, STORE_DIR));
    cr_assert_eq(store_dir_rename(snapshot_rig_dir(&rig), STORE_DIR_LOST, STORE_DIR), STORE_OK);
    store_expect(3);
    cr_assert_eq(store_discard(snapshot_rig_dir(&rig)), STORE_OK);
    cr_assert_eq(store_lost_remove(snapshot_rig_dir(&rig)), STORE_OK);
    cr_assert_not(snapshot_rig_has(&rig, STORE_DIR_LOST));
    cr_assert_eq(store_lost_remove(snapshot_rig_dir(&rig)), STORE_OK, "none there is fine");
}

Test(store_switch, a_lost_store_is_removed_whole)
{
    install_make();
    environment_make(STORE_DIR_OLD, 1);
    cr_assert_eq(store_discard(snapshot_rig_dir(&rig)), STORE_OK);
    cr_assert_not(snapshot_rig_has(&rig, STORE_DIR));
    cr_assert_eq(store_discard(snapshot_rig_dir(&rig)), STORE_OK, "none there is fine");
    store_expect(0);
}
