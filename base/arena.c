#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>

#include "base/assert.h"

enum { CHUNK_BYTES_MIN = 2048 };

struct arena_chunk {
    struct arena_chunk *older;
    size_t size;
    alignas(max_align_t) uint8_t data[];
};

void arena_init(struct arena *a, size_t bytes_max)
{
    *a = (struct arena){ .bytes_max = bytes_max };
}

static bool arena_grow(struct arena *a, size_t size)
{
    /* Doubling keeps the number of chunks logarithmic in what a large request needs. */
    size_t want = a->chunks ? a->chunks->size * 2 : CHUNK_BYTES_MIN;
    size_t room = a->bytes_max - a->total_bytes;
    if (size > room)
        return false;
    if (want > room)
        want = room;
    if (want < size)
        want = size;
    struct arena_chunk *c = malloc(sizeof *c + want);
    if (!c)
        return false;
    c->older = a->chunks;
    c->size = want;
    a->chunks = c;
    a->used_bytes = 0;
    a->total_bytes += want;
    return true;
}

void *arena_alloc(struct arena *a, size_t size)
{
    size_t align = alignof(max_align_t);
    if (size > SIZE_MAX - align)
        return NULL;
    size = (size + align - 1) / align * align;
    if (!a->chunks || size > a->chunks->size - a->used_bytes) {
        if (!arena_grow(a, size))
            return NULL;
    }
    void *p = a->chunks->data + a->used_bytes;
    a->used_bytes += size;
    return p;
}

void *arena_zalloc(struct arena *a, size_t size)
{
    void *p = arena_alloc(a, size);
    if (p)
        memset(p, 0, size);
    return p;
}

bool arena_copy(struct arena *a, struct slice bytes, struct slice *ret_copy)
{
    uint8_t *copy = arena_alloc(a, bytes.size);
    if (!copy)
        return false;
    if (bytes.size > 0)
        memcpy(copy, bytes.data, bytes.size);
    *ret_copy = slice_of(copy, bytes.size);
    return true;
}

static void chunks_free(struct arena_chunk *c)
{
    while (c) {
        struct arena_chunk *older = c->older;
        free(c);
        c = older;
    }
}

void arena_reset(struct arena *a)
{
    /* Chunks grow, so the oldest is the smallest, but a first allocation may have been large. */
    struct arena_chunk *c = a->chunks;
    while (c && (c->older || c->size > ARENA_KEPT_BYTES)) {
        struct arena_chunk *older = c->older;
        free(c);
        c = older;
    }
    a->chunks = c;
    a->used_bytes = 0;
    a->total_bytes = c ? c->size : 0;
    ASSERT(a->total_bytes <= a->bytes_max);
}

void arena_done(struct arena *a)
{
    chunks_free(a->chunks);
    arena_init(a, a->bytes_max);
}
