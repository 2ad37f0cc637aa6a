/* memtable_index.h: from a key to the newest of its nodes in a memtable, by the key's hash.
 *
 * Most keys that are looked up in a memtable are not in it. Its list finds that out with a cache
 * miss a level, this with one. It grows in small steps: the longest put takes microseconds (I10).
 * Owner:  its memtable; the memory is of that one's chunks, and goes with them.
 * Thread: one writer; readers on other threads need no lock: what was put before they began is
 *         found, later things may be.
 * Bounds: up to 2^20 keys, each at most INDEX_PROBES_MAX slots behind the place that its hash
 *         names. Past that (it takes somebody who chooses keys by their hash, or a memtable far
 *         above what it is flushed at) the index gives up, for good, and the list is asked.
 */
#ifndef STORAGE_MEMTABLE_INDEX_H
#define STORAGE_MEMTABLE_INDEX_H

#include <stdatomic.h>

#include "storage/memtable.h"

enum { INDEX_PROBES_MAX = 128 };

struct chunks;
struct index_directory;

struct memtable_index {
    _Atomic(struct index_directory *) directory; /* NULL: it has given up */
    /* The writer's alone from here on. */
    struct chunks *memory;
    size_t count; /* of keys */
};

/* False without memory. */
bool memtable_index_init(struct memtable_index *x, struct chunks *memory)
    __attribute__((warn_unused_result));

/* `node` is the newest of its key now. It is linked already, since readers get at it at once.
 * Without memory to grow the index fills up, and gives up when it is full. */
void memtable_index_put(struct memtable_index *x, const struct memtable_node *node);

/* The key's slot on its way into the processor's cache. */
void memtable_index_prefetch(const struct memtable_index *x, struct slice key);

/* The newest node of the key; NULL: none. False: the index has given up. */
bool memtable_index_get(const struct memtable_index *x, struct slice key,
                        const struct memtable_node **ret_node) __attribute__((warn_unused_result));

#endif
