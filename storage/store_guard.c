#include "storage/store_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "storage/repair_mark.h"

enum { LOW_ADDRESSES = 1 << 20 }; /* near NULL: a mistake of ours, whatever the disk holds */

/* A slot is free when its size is 0; the size is written last and read first. */
struct map {
    _Atomic uintptr_t address;
    _Atomic size_t size;
};

static struct map maps[STORE_GUARD_MAPS_MAX];
static _Thread_local int depth;

static struct store_guard_options guard;
static uint8_t mark_bytes[REPAIR_MARK_BYTES];
static struct sigaction before[2];
static const int signals[2] = { SIGSEGV, SIGBUS };
static atomic_bool is_installed;
static atomic_flag is_acting = ATOMIC_FLAG_INIT;

/* ---- maps ---- */

void store_guard_add_map(const void *address, size_t size)
{
    for (size_t i = 0; i < STORE_GUARD_MAPS_MAX; i++) {
        uintptr_t free_slot = 0;
        if (!atomic_compare_exchange_strong(&maps[i].address, &free_slot, (uintptr_t)address))
            continue;
        atomic_store(&maps[i].size, size);
        return;
    }
}

void store_guard_remove_map(const void *address)
{
    for (size_t i = 0; i < STORE_GUARD_MAPS_MAX; i++) {
        if (atomic_load(&maps[i].address) != (uintptr_t)address)
            continue;
        atomic_store(&maps[i].size, (size_t)0);
        atomic_store(&maps[i].address, (uintptr_t)0);
        return;
    }
}

static bool is_in_map(uintptr_t address)
{
    for (size_t i = 0; i < STORE_GUARD_MAPS_MAX; i++) {
        size_t size = atomic_load(&maps[i].size);
        uintptr_t start = atomic_load(&maps[i].address);
        if (size > 0 && address >= start && address - start < size)
            return true;
    }
    return false;
}

bool store_guard_find_map(int fd, size_t size_min, const void **ret_address, size_t *ret_size)
{
    struct stat file;
    FILE *list = fstat(fd, &file) == 0 ? fopen("/proc/self/maps", "re") : NULL;
    bool found = false;
    char line[512];
    while (list != NULL && !found && fgets(line, sizeof line, list) != NULL) {
        uintptr_t start;
        uintptr_t end;
        unsigned long inode;
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %*s %*s %lu", &start, &end, &inode) != 3)
            continue;
        found = inode == file.st_ino && end - start >= size_min;
        if (found) {
            *ret_address = (const void *)start;
            *ret_size = end - start;
        }
    }
    if (list != NULL)
        IGNORE(fclose(list), "it was read alone");
    return found;
}

void store_guard_enter(void)
{
    depth++;
}

void store_guard_leave(void)
{
    ASSERT(depth > 0);
    depth--;
}

/* ---- in the handler: async-signal-safe alone ---- */

static bool mark_write(void)
{
    int fd =
        openat(guard.dir_fd, REPAIR_MARK_NAME_NEXT, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool ok =
        write(fd, mark_bytes, sizeof mark_bytes) == (ssize_t)sizeof mark_bytes && fsync(fd) == 0;
    close(fd);
    return ok &&
           renameat(guard.dir_fd, REPAIR_MARK_NAME_NEXT, guard.dir_fd, REPAIR_MARK_NAME) == 0 &&
           fsync(guard.dir_fd) == 0;
}

static void signals_unblock(void)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < 2; i++)
        sigaddset(&set, signals[i]);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static _Noreturn void act(void)
{
    while (atomic_flag_test_and_set(&is_acting))
        pause(); /* another thread ends the process */
    bool is_marked = mark_write();
    signals_unblock();
    guard.then(is_marked);
    _exit(1); /* it does not return */
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)context;
    uintptr_t address = (uintptr_t)info->si_addr;
    bool is_fault = info->si_code > 0; /* not sent by kill */
    if (is_fault && (is_in_map(address) || (depth > 0 && address >= LOW_ADDRESSES)))
        act();
    /* Whoever handled it before does so now: the instruction runs, and faults, again. */
    for (size_t i = 0; i < 2; i++)
        if (signals[i] == number)
            sigaction(number, &before[i], NULL);
    if (!is_fault)
        raise(number);
}

void store_guard_on_assert(void)
{
    if (atomic_load(&is_installed))
        act();
}

/* ---- life ---- */

bool store_guard_install(const struct store_guard_options *options)
{
    ASSERT(!atomic_load(&is_installed));
    guard = *options;
    const struct repair_mark mark = { REPAIR_STORE_LOST, REPAIR_CAUSE_FAULT };
    repair_mark_encode(mark_bytes, &mark);
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < 2; i++) {
        if (sigaction(signals[i], &action, &before[i]) == 0)
            continue;
        if (i > 0)
            IGNORE(sigaction(signals[0], &before[0], NULL), "it is as it was, or as it stays");
        return false;
    }
    atomic_store(&is_installed, true);
    return true;
}

void store_guard_uninstall(void)
{
    if (!atomic_exchange(&is_installed, false))
        return;
    for (size_t i = 0; i < 2; i++)
        IGNORE(sigaction(signals[i], &before[i], NULL), "what fails leaves the guard where it is");
}
