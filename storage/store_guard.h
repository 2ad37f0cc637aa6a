/* store_guard.h: a fault inside LMDB's map leaves a durable mark instead of a mere core.
 *
 * LMDB reads its file through a map and has no page checksums: a page that rotted can send it
 * anywhere, and a sector that cannot be read is SIGBUS. While the guard is installed these are
 * taken for damage of the store: SIGSEGV or SIGBUS at an address in the map of an open store, or by
 * an instruction of LMDB's shared object, or in a store_guard_enter section at any but the lowest
 * addresses; an abort in such a section that is not an ASSERT of ours (an allocator whose memory
 * was spoilt); a failed assertion of LMDB's. The handler writes the mark STORE_LOST (repair_mark.h)
 * through the directory's descriptor, durably, and calls `then`, which starts the process anew or
 * ends it. Any other signal goes to whatever handled it before.
 *
 * Lifetime: install .. uninstall; a process has one guard. Maps come and go with store_open and
 *           store_close, installed or not.
 * Thread:   install and uninstall: the main one. enter and leave: any, nested as deep as it likes.
 *           The handler is async-signal-safe; of threads that fault together the first one acts,
 *           the others wait for the end of the process.
 * Bounds:   STORE_GUARD_MAPS_MAX maps; a map beyond is not guarded by address.
 */
#ifndef STORAGE_STORE_GUARD_H
#define STORAGE_STORE_GUARD_H

#include <stdbool.h>
#include <stddef.h>

enum { STORE_GUARD_MAPS_MAX = 16 };

struct store_guard_options {
    int dir_fd; /* the data directory: a real descriptor, which outlives the guard */
    /* Does not return; async-signal-safe: execve or _exit. The signals are not blocked then, so
     * that a program that is executed does not inherit that. is_marked: the mark is durable. */
    void (*then)(bool is_marked);
};

/* False: the handlers cannot be set. */
bool store_guard_install(const struct store_guard_options *options)
    __attribute__((warn_unused_result));
void store_guard_uninstall(void);

/* Around code that may follow what stands in LMDB's pages out of the map: writing, which works on
 * copies of pages. Reading stays in the map, which is far longer than any row can claim to be. */
void store_guard_enter(void);
void store_guard_leave(void);

/* For storage/store.c. LMDB does not tell where its map is; the process's list of maps does: one of
 * this file, at least this long. False: there is none, or no such list. */
bool store_guard_find_map(int fd, size_t size_min, const void **ret_address, size_t *ret_size);
void store_guard_add_map(const void *address, size_t size);
void store_guard_remove_map(const void *address);
void store_guard_on_assert(void); /* of LMDB's; returns when no guard is installed */

#endif
