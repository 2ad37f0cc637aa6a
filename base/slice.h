/* slice.h: a borrowed view of bytes, which may hold NULs.
 *
 * Lifetime: that of whoever owns the bytes; a function that keeps a slice says so.
 * An empty slice may have data == NULL.
 */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *data;
    size_t size;
};

static inline struct slice slice_of(const void *data, size_t size)
{
    return (struct slice){ .data = data, .size = size };
}

static inline struct slice slice_of_text(const char *text)
{
    return (struct slice){ .data = (const uint8_t *)text, .size = strlen(text) };
}

/* Byte order first, then the shorter one: the order of etcd's keys. */
static inline int slice_compare(struct slice a, struct slice b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    if (order != 0)
        return order;
    return a.size < b.size ? -1 : a.size > b.size;
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

#endif
