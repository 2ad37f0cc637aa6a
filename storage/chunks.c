#include "storage/chunks.h"

#include <stdlib.h>

#include "base/assert.h"

struct chunk {
    struct chunk *older;
    size_t size; /* of data */
    uint64_t data[];
};

static struct chunk *chunk_pop(struct chunk **list)
{
    struct chunk *chunk = *list;
    if (chunk)
        *list = chunk->older;
    return chunk;
}

static void chunk_push(struct chunk **list, struct chunk *chunk)
{
    chunk->older = *list;
    *list = chunk;
}

static void list_free(struct chunk **list)
{
    for (struct chunk *chunk; (chunk = chunk_pop(list));)
        free(chunk);
}

/* ---- the pool ---- */

void chunk_pool_init(struct chunk_pool *pool, size_t spare_bytes_max)
{
    *pool = (struct chunk_pool){ .spare_bytes_max = spare_bytes_max };
}

void chunk_pool_done(struct chunk_pool *pool)
{
    list_free(&pool->odd);
    list_free(&pool->spare);
    pool->bytes = 0;
}

static bool pool_has_too_much(const struct chunk_pool *pool)
{
    return pool->odd || pool->bytes > pool->spare_bytes_max;
}

bool chunk_pool_trim(struct chunk_pool *pool)
{
    if (!pool_has_too_much(pool))
        return false;
    struct chunk *chunk = chunk_pop(pool->odd ? &pool->odd : &pool->spare);
    ASSERT(chunk);
    pool->bytes -= chunk->size;
    free(chunk);
    return pool_has_too_much(pool);
}

static void pool_give(struct chunk_pool *pool, struct chunk *chunk)
{
    chunk_push(chunk->size == CHUNK_BYTES_MAX ? &pool->spare : &pool->odd, chunk);
    pool->bytes += chunk->size;
}

static struct chunk *pool_take(struct chunk_pool *pool)
{
    struct chunk *chunk = chunk_pop(&pool->spare);
    if (chunk)
        pool->bytes -= chunk->size;
    /* Whoever takes makes room too: what is too much goes even where nobody trims. */
    chunk_pool_trim(pool);
    return chunk;
}

/* ---- chunks ---- */

void chunks_init(struct chunks *c, struct chunk_pool *pool)
{
    *c = (struct chunks){ .pool = pool, .next_bytes = CHUNK_BYTES_MIN };
}

void chunks_done(struct chunks *c)
{
    if (!c->pool)
        list_free(&c->newest);
    for (struct chunk *chunk; (chunk = chunk_pop(&c->newest));)
        pool_give(c->pool, chunk);
    chunks_init(c, c->pool);
}

static struct chunk *chunks_grow(struct chunks *c, size_t size)
{
    struct chunk *chunk = NULL;
    if (c->pool && size == CHUNK_BYTES_MAX)
        chunk = pool_take(c->pool);
    if (!chunk) {
        chunk = malloc(sizeof *chunk + size);
        if (!chunk)
            return NULL;
        chunk->size = size;
    }
    chunk_push(&c->newest, chunk);
    c->total_bytes += sizeof *chunk + size;
    return chunk;
}

void *chunks_alloc(struct chunks *c, size_t size)
{
    ASSERT(size > 0);
    ASSERT(size <= SIZE_MAX / 2);
    size = (size + 7) & ~(size_t)7;
    if (size > c->room_bytes) {
        if (size > c->next_bytes / 4) { /* it would waste the rest of a common chunk */
            struct chunk *alone = chunks_grow(c, size);
            return alone ? alone->data : NULL;
        }
        struct chunk *chunk = chunks_grow(c, c->next_bytes);
        if (!chunk)
            return NULL;
        c->free_bytes = (uint8_t *)chunk->data;
        c->room_bytes = c->next_bytes;
        if (c->next_bytes < CHUNK_BYTES_MAX)
            c->next_bytes *= 2;
    }
    void *p = c->free_bytes;
    c->free_bytes += size;
    c->room_bytes -= size;
    return p;
}
