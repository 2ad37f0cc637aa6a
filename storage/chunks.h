/* chunks.h: memory for what is freed whole, and a pool that keeps such memory for the next user.
 *
 * Giving 64 MiB back to the system takes milliseconds, and so does the faulting in of as much:
 * both are too long for the loop (I10). A pool takes the chunks of one that ends in no time, hands
 * them to others, and lets go of what is too much a chunk at a time.
 *
 * Owner:  the caller; pointers are valid until chunks_done. The pool outlives its chunks.
 * Thread: the owner's, pool included.
 * Bounds: the pool keeps at most spare_bytes_max once chunk_pool_trim has said that it is done.
 */
#ifndef STORAGE_CHUNKS_H
#define STORAGE_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CHUNK_BYTES_MIN = 16 * 1024, CHUNK_BYTES_MAX = 1024 * 1024 };

struct chunk;

struct chunk_pool {
    struct chunk *spare; /* of CHUNK_BYTES_MAX, to be used again */
    struct chunk *odd;   /* of other sizes, to be freed */
    size_t bytes;        /* of both */
    size_t spare_bytes_max;
};

void chunk_pool_init(struct chunk_pool *pool, size_t spare_bytes_max);

/* Frees one chunk if there is too much; true: there still is. */
bool chunk_pool_trim(struct chunk_pool *pool);

void chunk_pool_done(struct chunk_pool *pool);

struct chunks {
    struct chunk_pool *pool; /* NULL: none */
    struct chunk *newest;
    uint8_t *free_bytes;
    size_t room_bytes;
    size_t next_bytes;  /* of the next chunk: they grow, so that a small user stays small */
    size_t total_bytes; /* of all chunks */
};

void chunks_init(struct chunks *c, struct chunk_pool *pool);

/* Aligned to 8 bytes; size > 0. NULL without memory. */
void *chunks_alloc(struct chunks *c, size_t size);

void chunks_done(struct chunks *c);

#endif
