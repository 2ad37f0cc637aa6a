/* arena.h: memory for one request or one message, freed whole.
 *
 * Owner:    whoever called arena_init; everything allocated dies at arena_done or arena_reset.
 * Thread:   one at a time.
 * Bounds:   bytes_max covers all chunks; past it arena_alloc returns NULL (I8).
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/slice.h"

enum { ARENA_KEPT_BYTES = 16384 };

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* newest first */
    size_t used_bytes;          /* of the newest chunk */
    size_t total_bytes;         /* of all chunks */
    size_t bytes_max;
};

/* Allocates nothing yet. */
void arena_init(struct arena *a, size_t bytes_max);

/* Aligned for any type, not zeroed. NULL when bytes_max or memory is exhausted. */
void *arena_alloc(struct arena *a, size_t size);

/* The same, zeroed. */
void *arena_zalloc(struct arena *a, size_t size);

/* Copies bytes into the arena; false when it is full, and then *ret_copy is untouched. */
bool arena_copy(struct arena *a, struct slice bytes, struct slice *ret_copy);

/* Frees everything but one small chunk, which the next allocations use again: what an idle owner
 * holds is at most ARENA_KEPT_BYTES. */
void arena_reset(struct arena *a);

void arena_done(struct arena *a);

#endif
