/* Real faults, each in a child of its own. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "storage/repair_mark.h"
#include "storage/store_guard.h"
#include "storage/store_internal.h"
#include "tests/support/snapshot_rig.h"
#include "tests/support/store_model.h"

enum { EXIT_MARKED = 42, EXIT_NOT_MARKED = 43, EXIT_BLOCKED = 44, EXIT_CAME_BACK = 45 };

static volatile char *volatile nowhere; /* NULL; the compiler does not know */
static struct store_rig rig;
static struct store_model model;
static int dir_fd;

static void setup(void)
{
    store_rig_init(&rig);
    store_model_init(&model, 3);
    dir_fd = open(snapshot_rig_dir(&rig), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(dir_fd, 0);
    cr_assert_eq(store_rig_open(&rig), STORE_OK);
    struct memtable *memtable = memtable_new();
    for (int i = 0; i < 300; i++)
        store_model_change(&model, memtable);
    struct store_flush flush = store_rig_flush_of(&rig, memtable, NULL, 0);
    flush.state.revision = model.revision;
    cr_assert_eq(store_rig_flush(&rig, &flush), STORE_OK);
    memtable_unref(memtable);
    store_rig_close(&rig);
}

static void teardown(void)
{
    IGNORE(unlinkat(dir_fd, REPAIR_MARK_NAME, 0) != 0, "it may not be there");
    close(dir_fd);
    store_model_done(&model);
    store_rig_done(&rig);
}

TestSuite(store_guard, .init = setup, .fini = teardown);

static void then(bool is_marked)
{
    sigset_t blocked;
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    if (sigismember(&blocked, SIGSEGV) || sigismember(&blocked, SIGBUS))
        _exit(EXIT_BLOCKED);
    _exit(is_marked ? EXIT_MARKED : EXIT_NOT_MARKED);
}

static void guard(int fd)
{
    const struct store_guard_options options = { .dir_fd = fd, .then = then };
    if (!store_guard_install(&options))
        _exit(1);
}

/* How the child ends that runs `body`. */
static int child_run(void (*body)(void))
{
    pid_t child = fork();
    if (child == 0) {
        /* What dies by design needs no report. */
        IGNORE(freopen("/dev/null", "w", stderr) == NULL, "then it is noisy");
        body();
        _exit(EXIT_CAME_BACK);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    return status;
}

static bool has_mark(void)
{
    uint8_t got[REPAIR_MARK_BYTES + 1];
    uint8_t wanted[REPAIR_MARK_BYTES];
    const struct repair_mark mark = { REPAIR_STORE_LOST, REPAIR_CAUSE_FAULT };
    repair_mark_encode(wanted, &mark);
    int fd = openat(dir_fd, REPAIR_MARK_NAME, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t size = read(fd, got, sizeof got);
    close(fd);
    cr_assert_eq(size, REPAIR_MARK_BYTES);
    cr_assert_eq(memcmp(got, wanted, REPAIR_MARK_BYTES), 0);
    cr_assert_neq(faccessat(dir_fd, REPAIR_MARK_NAME_NEXT, F_OK, 0), 0, "nothing is left over");
    return true;
}

static void expect_marked(int status)
{
    cr_assert(WIFEXITED(status), "signal %d", WTERMSIG(status));
    cr_assert_eq(WEXITSTATUS(status), EXIT_MARKED);
    cr_assert(has_mark());
}

/* It died, by a signal or (with a sanitizer) by a report of it, and not as damage. */
static void expect_died(int status)
{
    if (WIFEXITED(status)) {
        cr_assert_neq(WEXITSTATUS(status), EXIT_MARKED);
        cr_assert_neq(WEXITSTATUS(status), EXIT_NOT_MARKED);
        cr_assert_neq(WEXITSTATUS(status), EXIT_CAME_BACK);
    }
    cr_assert_not(has_mark());
}

static void file_cut(off_t size)
{
    char path[2 * STORE_RIG_PATH_BYTES];
    int length = snprintf(path, sizeof path, "%s/data.mdb", rig.path);
    if (length < 0 || truncate(path, size) != 0)
        _exit(1);
}

/* ---- in the map ---- */

static void map_cut_read_body(void)
{
    if (store_rig_open(&rig) != STORE_OK)
        _exit(1);
    guard(dir_fd);
    file_cut(3 * 4096);
    store_model_expect(&model, &rig);
}

Test(store_guard, a_read_past_the_end_of_the_file_leaves_a_mark)
{
    expect_marked(child_run(map_cut_read_body));
}

static void map_cut_write_body(void)
{
    if (store_rig_open(&rig) != STORE_OK)
        _exit(1);
    guard(dir_fd);
    file_cut(2 * 4096);
    struct memtable *memtable = memtable_new();
    store_model_change(&model, memtable);
    struct store_flush flush = store_rig_flush_of(&rig, memtable, NULL, 0);
    flush.state.revision = model.revision;
    IGNORE(store_rig_flush(&rig, &flush) != STORE_OK, "it does not come back");
}

Test(store_guard, so_does_a_flush)
{
    expect_marked(child_run(map_cut_write_body));
}

static void not_installed_body(void)
{
    if (store_rig_open(&rig) != STORE_OK)
        _exit(1);
    file_cut(3 * 4096);
    store_model_expect(&model, &rig);
}

Test(store_guard, without_a_guard_it_is_a_fault_like_any)
{
    expect_died(child_run(not_installed_body));
}

static void uninstalled_body(void)
{
    guard(dir_fd);
    store_guard_uninstall();
    not_installed_body();
}

Test(store_guard, nor_is_it_after_the_guard_is_gone)
{
    expect_died(child_run(uninstalled_body));
}

static void mark_impossible_body(void)
{
    if (store_rig_open(&rig) != STORE_OK)
        _exit(1);
    guard(-1);
    file_cut(3 * 4096);
    store_model_expect(&model, &rig);
}

Test(store_guard, says_when_the_mark_could_not_be_written)
{
    int status = child_run(mark_impossible_body);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NOT_MARKED);
    cr_assert_not(has_mark());
}

/* ---- elsewhere ---- */

static volatile char *forbidden_page(void)
{
    void *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        _exit(1);
    return page;
}

static void elsewhere_body(void)
{
    if (store_rig_open(&rig) != STORE_OK)
        _exit(1);
    guard(dir_fd);
    *forbidden_page() = 1;
}

Test(store_guard, a_fault_elsewhere_is_not_damage)
{
    expect_died(child_run(elsewhere_body));
}

static void closed_map_body(void)
{
    if (store_rig_open(&rig) != STORE_OK)
        _exit(1);
    guard(dir_fd);
    volatile const char *map;
    size_t size;
    MDB_envinfo info;
    int fd;
    if (mdb_env_get_fd(store_handles(rig.store).env, &fd) != 0 ||
        mdb_env_info(store_handles(rig.store).env, &info) != 0 ||
        !store_guard_find_map(fd, info.me_mapsize, (const void **)&map, &size))
        _exit(1);
    store_rig_close(&rig);
    IGNORE(*map == 0, "it does not come back");
}

Test(store_guard, nor_where_a_map_was_that_is_closed)
{
    expect_died(child_run(closed_map_body));
}

static void section_body(void)
{
    guard(dir_fd);
    store_guard_enter();
    store_guard_enter();
    store_guard_leave();
    *forbidden_page() = 1;
}

Test(store_guard, within_a_section_any_address_is)
{
    expect_marked(child_run(section_body));
}

static void wild_body(void)
{
    guard(dir_fd);
    store_guard_enter();
    uintptr_t wild = (uintptr_t)1 << 63 | 0x1234;
    *(volatile char *)wild = 1;
}

Test(store_guard, and_one_that_no_machine_has)
{
    expect_marked(child_run(wild_body));
}

static void after_section_body(void)
{
    guard(dir_fd);
    store_guard_enter();
    store_guard_leave();
    *forbidden_page() = 1;
}

Test(store_guard, but_not_after_it)
{
    expect_died(child_run(after_section_body));
}

static void abort_body(void)
{
    guard(dir_fd);
    store_guard_enter();
    abort();
}

Test(store_guard, an_abort_within_a_section_is_damage)
{
    expect_marked(child_run(abort_body));
}

static void claim_body(void)
{
    guard(dir_fd);
    store_guard_enter();
    ASSERT(nowhere != NULL);
}

Test(store_guard, but_not_one_of_our_own_claims)
{
    expect_died(child_run(claim_body));
}

static void abort_after_body(void)
{
    guard(dir_fd);
    abort();
}

Test(store_guard, nor_one_elsewhere)
{
    expect_died(child_run(abort_after_body));
}

static void null_body(void)
{
    guard(dir_fd);
    store_guard_enter();
    *nowhere = 1;
}

Test(store_guard, nor_is_a_null_pointer_within_one)
{
    expect_died(child_run(null_body));
}

static void sent_body(void)
{
    guard(dir_fd);
    store_guard_enter();
    kill(getpid(), SIGABRT);
    kill(getpid(), SIGSEGV);
    for (;;)
        pause();
}

Test(store_guard, nor_a_signal_that_somebody_sent)
{
    expect_died(child_run(sent_body));
}

static void assert_body(void)
{
    store_guard_on_assert(); /* comes back: nothing is installed */
    guard(dir_fd);
    store_guard_on_assert();
}

Test(store_guard, an_assertion_of_lmdb_is_damage)
{
    expect_marked(child_run(assert_body));
}

/* ---- many threads ---- */

static void *thread_fault(void *page)
{
    store_guard_enter();
    *(volatile char *)page = 1;
    return NULL;
}

static void threads_body(void)
{
    guard(dir_fd);
    void *page = (void *)(uintptr_t)forbidden_page();
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++)
        if (pthread_create(&threads[i], NULL, thread_fault, page) != 0)
            _exit(1);
    for (;;)
        pause();
}

Test(store_guard, of_threads_that_fault_together_one_acts)
{
    expect_marked(child_run(threads_body));
}

Test(store_guard, knows_as_many_maps_as_it_says)
{
    static char places[STORE_GUARD_MAPS_MAX + 1];
    for (size_t i = 0; i <= STORE_GUARD_MAPS_MAX; i++)
        store_guard_add_map(&places[i], 1);
    for (size_t i = 0; i <= STORE_GUARD_MAPS_MAX; i++)
        store_guard_remove_map(&places[i]);
    const void *address;
    size_t size;
    cr_assert_not(store_guard_find_map(dir_fd, 1, &address, &size), "a directory has none");
    cr_assert_not(store_guard_find_map(-1, 1, &address, &size));
}
