/* map.h: a hash map from 64-bit ids to pointers, open addressing, linear probing.
 *
 * Owner:  the caller of map_init; the values stay the caller's.
 * Thread: the owner's. Bounds: count_max, fixed at map_init; past it map_put says false (I8).
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_slot {
    uint64_t key;
    void *value; /* NULL: empty */
};

struct map {
    struct map_slot *slots; /* power of two, grown at half full */
    size_t slot_count;
    size_t count;
    size_t count_max;
};

void map_init(struct map *m, size_t count_max);

/* NULL when absent. */
void *map_get(const struct map *m, uint64_t key);

/* Adds or replaces; value is not NULL. False at count_max or without memory. */
bool map_put(struct map *m, uint64_t key, void *value);

/* The value that was there, or NULL. */
void *map_remove(struct map *m, uint64_t key);

/* Walks in no particular order: start with *position = 0; NULL ends it. The map must not
 * change meanwhile. */
void *map_next(const struct map *m, size_t *position);

void map_done(struct map *m);

#endif
