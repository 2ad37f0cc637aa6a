#include "base/block.h"

#include <stdlib.h>

#include "base/assert.h"

struct block *block_new(size_t capacity_bytes)
{
    if (capacity_bytes > SIZE_MAX - sizeof(struct block))
        return NULL;
    struct block *b = malloc(sizeof *b + capacity_bytes);
    if (!b)
        return NULL;
    b->refs = 1;
    b->capacity_bytes = capacity_bytes;
    return b;
}

struct block *block_ref(struct block *b)
{
    ASSERT(b->refs > 0 && b->refs < UINT32_MAX);
    b->refs++;
    return b;
}

void block_unref(struct block *b)
{
    if (!b)
        return;
    ASSERT(b->refs > 0);
    if (--b->refs == 0)
        free(b);
}
