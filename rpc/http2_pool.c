/* Blocks of a few sizes, kept on free lists: a stream costs nghttp2 some allocations of the same
 * sizes each time. What is larger goes through to malloc. */
#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/http2_pool.h"

enum {
    CLASS_BYTES = 64,
    CLASS_COUNT = 8, /* up to 512 bytes */
    KEPT_BYTES_MAX = 4 << 20,
};

union block_head {
    alignas(alignof(max_align_t)) size_t size; /* of what follows */
    union block_head *next;                    /* on its free list: that says the size */
};

struct http2_pool {
    union block_head *kept[CLASS_COUNT];
    size_t kept_bytes;
};

struct http2_pool *http2_pool_new(void)
{
    return calloc(1, sizeof(struct http2_pool));
}

void http2_pool_free(struct http2_pool *p)
{
    for (size_t i = 0; p && i < CLASS_COUNT; i++) {
        while (p->kept[i]) {
            union block_head *next = p->kept[i]->next;
            free(p->kept[i]);
            p->kept[i] = next;
        }
    }
    free(p);
}

static void *pool_malloc(size_t size, void *owner)
{
    struct http2_pool *p = owner;
    size_t class = size == 0 ? 0 : (size - 1) / CLASS_BYTES;
    union block_head *b;
    if (class < CLASS_COUNT) {
        size = (class + 1) * CLASS_BYTES;
        b = p->kept[class];
        if (b) {
            p->kept[class] = b->next;
            p->kept_bytes -= size;
            b->size = size;
            return b + 1;
        }
    }
    if (size > SIZE_MAX - sizeof *b)
        return NULL;
    b = malloc(sizeof *b + size);
    if (!b)
        return NULL;
    b->size = size;
    return b + 1;
}

static void pool_release(void *ptr, void *owner)
{
    struct http2_pool *p = owner;
    if (!ptr)
        return;
    union block_head *b = (union block_head *)ptr - 1;
    size_t size = b->size;
    if (size > CLASS_BYTES * CLASS_COUNT || p->kept_bytes + size > KEPT_BYTES_MAX) {
        free(b);
        return;
    }
    size_t class = size / CLASS_BYTES - 1;
    b->next = p->kept[class];
    p->kept[class] = b;
    p->kept_bytes += size;
}

static void *pool_calloc(size_t count, size_t size, void *owner)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    void *ptr = pool_malloc(total, owner);
    if (ptr)
        memset(ptr, 0, total);
    return ptr;
}

static void *pool_realloc(void *ptr, size_t size, void *owner)
{
    if (!ptr)
        return pool_malloc(size, owner);
    size_t old = ((union block_head *)ptr - 1)->size;
    if (size <= old)
        return ptr;
    void *moved = pool_malloc(size, owner);
    if (!moved)
        return NULL;
    memcpy(moved, ptr, old);
    pool_release(ptr, owner);
    return moved;
}

nghttp2_mem http2_pool_mem(struct http2_pool *p)
{
    return (nghttp2_mem){ p, pool_malloc, pool_release, pool_calloc, pool_realloc };
}
