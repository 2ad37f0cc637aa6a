#include "storage/store_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <link.h>
#include <lmdb.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <ucontext.h>
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
static const int signals[] = { SIGSEGV, SIGBUS, SIGABRT };
enum { SIGNALS = sizeof signals / sizeof signals[0] };
static struct sigaction before[SIGNALS];
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

/* ---- LMDB's own code ---- */

static struct {
    uintptr_t start;
    uintptr_t end;
} library;

/* The segments of the shared object that LMDB's functions are in. */
static int library_find(struct dl_phdr_info *info, size_t size, void *wanted)
{
    (void)size;
    uintptr_t function = *(uintptr_t *)wanted;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + header->p_vaddr;
        if (header->p_type != PT_LOAD || (header->p_flags & PF_X) == 0 || function < start ||
            function - start >= header->p_memsz)
            continue;
        library.start = start;
        library.end = start + header->p_memsz;
        return 1;
    }
    return 0;
}

/* Not when it is linked into the program: then nothing tells its code from ours. */
static void library_note(void)
{
    uintptr_t lmdb = (uintptr_t)mdb_env_create;
    uintptr_t own = (uintptr_t)library_note;
    dl_iterate_phdr(library_find, &lmdb);
    if (own >= library.start && own < library.end)
        library.start = library.end = 0;
}

static bool is_in_library(const ucontext_t *context)
{
#if defined(__x86_64__)
    uintptr_t at = (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    uintptr_t at = (uintptr_t)context->uc_mcontext.pc;
#else
    uintptr_t at = 0;
    (void)context;
#endif
    return at >= library.start && at < library.end;
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
    for (size_t i = 0; i < SIGNALS; i++)
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

/* An allocator that finds its memory spoilt aborts, in the section whose writes spoilt it. What
 * fails of our own claims is a mistake of ours. */
static bool abort_is_damage(const siginfo_t *info)
{
    return depth > 0 && info->si_code == SI_TKILL && info->si_pid == getpid() &&
           !assert_is_failing();
}

static bool fault_is_damage(const siginfo_t *info, const ucontext_t *context)
{
    uintptr_t address = (uintptr_t)info->si_addr;
    if (info->si_code <= 0)
        return false; /* sent by kill */
    /* An address that no machine has is not told: it says SI_KERNEL. */
    bool is_wild = address >= LOW_ADDRESSES || info->si_code == SI_KERNEL;
    return is_in_map(address) || is_in_library(context) || (depth > 0 && is_wild);
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    if (number == SIGABRT ? abort_is_damage(info) : fault_is_damage(info, context))
        act();
    /* Whoever handled it before does so now: the instruction runs, and faults, again. */
    for (size_t i = 0; i < SIGNALS; i++)
        if (signals[i] == number)
            sigaction(number, &before[i], NULL);
    if (info->si_code <= 0)
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
    library_note();
    const struct repair_mark mark = { REPAIR_STORE_LOST, REPAIR_CAUSE_FAULT };
    repair_mark_encode(mark_bytes, &mark);
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < SIGNALS; i++)
        if (sigaction(signals[i], &action, &before[i]) != 0)
            return false; /* of no signal that there is */
    atomic_store(&is_installed, true);
    return true;
}

void store_guard_uninstall(void)
{
    if (!atomic_exchange(&is_installed, false))
        return;
    for (size_t i = 0; i < SIGNALS; i++)
        IGNORE(sigaction(signals[i], &before[i], NULL), "what fails leaves the guard where it is");
}
