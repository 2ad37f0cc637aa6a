/* Each write and each sync that LMDB makes fails or kills the process once, and what is left is
 * opened and written again. The functions below stand before the C library's: LMDB's calls, and
 * those of no one else in this program, come by here. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "storage/store_internal.h"
#include "storage/store_meta.h"
#include "storage/store_switch.h"
#include "tests/support/snapshot_rig.h"
#include "tests/support/store_model.h"

enum fault { FAULT_NONE, FAULT_KILL, FAULT_FAIL };

static enum fault fault;
static int fault_errno;
static uint64_t calls_left; /* until it strikes */
static uint64_t calls_made;

static bool strikes(void)
{
    calls_made++;
    if (fault == FAULT_NONE || calls_left-- > 0)
        return false;
    if (fault == FAULT_KILL)
        raise(SIGKILL);
    fault = FAULT_NONE;
    errno = fault_errno;
    return true;
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    return strikes() ? -1 : (ssize_t)syscall(SYS_pwrite64, fd, bytes, size, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return strikes() ? -1 : (ssize_t)syscall(SYS_writev, fd, parts, count);
}

int fdatasync(int fd)
{
    return strikes() ? -1 : (int)syscall(SYS_fdatasync, fd);
}

static struct store_rig rig;
static struct store_model model;
static struct store_model compacted; /* the same, when the compaction is done */
static struct memtable *base;
static struct memtable *more;
static struct raft_entry entries[40];
static int64_t base_revision;
static int64_t compact_revision;

enum { BASE_ENTRIES = 20, ENTRIES = sizeof entries / sizeof entries[0] };

static void setup(void)
{
    store_rig_init(&rig);
    store_model_init(&model, 23);
    base = memtable_new();
    for (int i = 0; i < 40; i++)
        store_model_change(&model, base);
    base_revision = model.revision;
    more = memtable_new();
    for (int i = 0; i < 40; i++)
        store_model_change(&model, more);
    compact_revision = model.revision - 10;
    compacted = model;
    store_model_compact(&compacted, compact_revision);
    for (uint64_t i = 0; i < ENTRIES; i++)
        entries[i] = store_rig_entry((struct raft_pos){ .term = 1 + i / 7, .index = i + 1 }, 3000);
}

static void teardown(void)
{
    for (uint64_t i = 0; i < ENTRIES; i++)
        block_unref(entries[i].block);
    memtable_unref(base);
    memtable_unref(more);
    store_model_done(&model); /* `compacted` views the same */
    store_rig_done(&rig);
}

TestSuite(store_fault, .init = setup, .fini = teardown);

/* A new store with what stands in it before the fault. */
static void store_make(void)
{
    store_rig_done(&rig);
    store_rig_init(&rig);
    rig.options.dirty_bytes_max = 64 << 10;
    cr_assert_eq(store_rig_open(&rig), STORE_OK, "%s", rig.detail);
    struct store_flush flush = store_rig_flush_of(&rig, base, entries, BASE_ENTRIES);
    flush.state.revision = base_revision;
    cr_assert_eq(store_rig_flush(&rig, &flush), STORE_OK);
    store_model_expect(&model, &rig);
}

/* What the fault interrupts: a flush of keys and entries, a trim, a compaction. */
static enum store_err rest_write(void)
{
    bool is_flushed = store_published(rig.store)->applied.index == ENTRIES;
    struct store_flush flush =
        store_rig_flush_of(&rig, is_flushed ? NULL : more, &entries[BASE_ENTRIES],
                           is_flushed ? 0 : ENTRIES - BASE_ENTRIES);
    flush.state.applied = entries[ENTRIES - 1].pos;
    flush.state.revision = model.revision;
    flush.state.compact_revision = compact_revision;
    flush.log_keep_index = 11;
    return store_rig_flush(&rig, &flush);
}

static uint64_t next_layer_id(void)
{
    MDB_txn *txn;
    MDB_dbi dbi;
    struct arena arena;
    struct store_meta meta;
    arena_init(&arena, 1 << 20);
    cr_assert_eq(mdb_txn_begin(store_handles(rig.store).env, NULL, MDB_RDONLY, &txn), 0);
    cr_assert_eq(mdb_dbi_open(txn, "meta", 0, &dbi), 0);
    cr_assert_eq(store_meta_get(txn, dbi, &arena, &meta), STORE_OK);
    mdb_txn_abort(txn);
    arena_done(&arena);
    return meta.next_layer_id;
}

/* Each transaction leaves all of the old state or all of the new (I3); doing it again from there
 * ends where an undisturbed run ends. */
static bool old_or_new_expect(uint64_t call)
{
    const struct store_state *state = store_published(rig.store);
    bool is_new = state->applied.index == ENTRIES;
    cr_assert_eq(state->revision, is_new ? model.revision : base_revision, "call %zu", call);
    cr_assert_eq(state->applied.index, is_new ? ENTRIES : BASE_ENTRIES);
    cr_assert_eq(state->compact_revision, is_new ? compact_revision : 0);
    cr_assert_eq(state->log_start.index, is_new ? 10 : 0);
    if (!is_new)
        store_model_expect(&model, &rig);
    return is_new;
}

static void rest_expect(uint64_t call)
{
    uint64_t layer_id = next_layer_id();
    cr_assert_eq(rest_write(), STORE_OK, "call %zu", call);
    cr_assert_geq(next_layer_id(), layer_id);
    store_model_expect(&compacted, &rig);
    store_rig_reopen(&rig);
    store_model_expect(&compacted, &rig);
    struct raft_entry got[ENTRIES];
    size_t count;
    struct block *block;
    cr_assert_eq(store_log_read(rig.store, 11, UINT32_MAX, got, ENTRIES, &count, &block), STORE_OK);
    cr_assert_eq(count, ENTRIES - 10);
    block_unref(block);
}

/* How many calls an undisturbed run makes. */
static uint64_t calls_count(void)
{
    store_make();
    uint64_t before = calls_made;
    cr_assert_eq(rest_write(), STORE_OK);
    return calls_made - before;
}

enum { STEP = 3 };

static void failures_expect(int code, enum store_err err)
{
    uint64_t calls = calls_count();
    cr_assert_gt(calls, 60, "many transactions");
    for (uint64_t call = 0; call < calls; call += STEP) {
        store_make();
        fault = FAULT_FAIL;
        fault_errno = code;
        calls_left = call;
        cr_assert_eq(rest_write(), err, "call %zu of %zu", call, calls);
        cr_assert_eq(fault, FAULT_NONE);
        cr_assert_eq(store_published(rig.store)->revision, base_revision);
        uint64_t before = calls_made;
        cr_assert_eq(rest_write(), err, "and for good");
        cr_assert_eq(calls_made, before, "nothing is written any more (I6)");
        store_rig_reopen(&rig);
        old_or_new_expect(call);
        rest_expect(call);
    }
}

Test(store_fault, a_failed_write_or_sync_is_final)
{
    failures_expect(EIO, STORE_E_IO);
}

Test(store_fault, a_full_disk_is_final)
{
    failures_expect(ENOSPC, STORE_E_NOSPACE);
}

Test(store_fault, a_killed_process_leaves_the_old_or_the_new)
{
    uint64_t calls = calls_count();
    unsigned seen[2] = { 0 };
    for (uint64_t call = 0; call < calls; call += STEP) {
        store_make();
        store_rig_close(&rig);
        pid_t child = fork();
        if (child == 0) {
            if (store_rig_open(&rig) != STORE_OK)
                _exit(1);
            fault = FAULT_KILL;
            calls_left = call;
            IGNORE(rest_write(), "it does not come back");
            _exit(2);
        }
        int status;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "call %zu", call);
        cr_assert_eq(store_rig_open(&rig), STORE_OK, "%s", rig.detail);
        seen[old_or_new_expect(call)]++;
        rest_expect(call);
    }
    cr_assert_gt(seen[false], 5);
    cr_assert_gt(seen[true], 5, "the compaction was interrupted too");
}

/* A snapshot that cannot be written is told, once and for all, and leaves nothing behind. */
Test(store_fault, a_snapshot_that_cannot_be_written_is_given_up)
{
    store_make();
    struct store_rig to;
    uint64_t struck_count = 0;
    for (uint64_t call = 0;; call++) {
        store_rig_init(&to);
        to.options.dirty_bytes_max = 64 << 10;
        struct snapshot_source *source = snapshot_rig_source(&rig, 20000);
        struct snapshot_sink *sink = snapshot_rig_sink(&to, 20000);
        fault = FAULT_FAIL;
        fault_errno = call % 2 ? ENOSPC : EIO;
        calls_left = call * STEP;
        struct snapshot_add add = { .err = SNAPSHOT_OK };
        for (uint64_t seq = 0; add.err == SNAPSHOT_OK && !add.complete; seq++) {
            struct snapshot_read read = snapshot_rig_read(source, seq);
            cr_assert_eq(read.err, SNAPSHOT_OK);
            add = snapshot_rig_add(sink, read.chunk);
            block_unref(read.block);
        }
        bool struck = fault == FAULT_NONE;
        fault = FAULT_NONE;
        cr_assert_eq(add.err, !struck    ? SNAPSHOT_OK
                              : call % 2 ? SNAPSHOT_E_NOSPACE
                                         : SNAPSHOT_E_IO);
        if (struck)
            cr_assert_eq(snapshot_rig_add(sink, slice_of(NULL, 0)).err, add.err, "for good");
        snapshot_source_close(source);
        snapshot_rig_end(sink, true);
        cr_assert_eq(snapshot_rig_has(&to, "store.new"), !struck);
        cr_assert_eq(store_discard(snapshot_rig_dir(&to)), STORE_OK);
        snapshot_rig_clear(&to);
        store_rig_done(&to);
        struck_count += struck;
        if (!struck)
            break;
    }
    cr_assert_gt(struck_count, 5);
}

/* A new store: nothing, or all of its first transaction. */
Test(store_fault, a_new_store_is_made_whole_or_not_at_all)
{
    for (uint64_t call = 0;; call++) {
        store_rig_done(&rig);
        store_rig_init(&rig);
        fault = FAULT_FAIL;
        fault_errno = EIO;
        calls_left = call;
        enum store_err err = store_rig_open(&rig);
        bool struck = fault == FAULT_NONE;
        fault = FAULT_NONE;
        if (!struck)
            break;
        cr_assert_eq(err, STORE_E_IO, "call %zu", call);
        cr_assert_eq(store_rig_open(&rig), STORE_OK, "%s", rig.detail);
        cr_assert_eq(rig.state.revision, 1);
    }
}
