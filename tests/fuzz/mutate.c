#include "tests/fuzz/mutate.h"

enum { CHANGES_MAX = 6, RUN_BYTES_MAX = 24 };

static const uint64_t interesting[] = {
    0,          1,         2,      0x7f,      0x80,       0xff,        0x100,
    0x7fff,     0x8000,    0xffff, 0x10000,   0x7fffffff, 0x80000000u, 0xffffffff,
    UINT64_MAX, INT64_MAX, 4096,   1u << 20u, 1ull << 40, 64,          1ull << 62,
};

static void bytes_insert(uint8_t *bytes, size_t *size, size_t room, size_t at, struct slice part)
{
    if (part.size == 0 || part.size > room - *size)
        return;
    memmove(bytes + at + part.size, bytes + at, *size - at);
    memcpy(bytes + at, part.data, part.size);
    *size += part.size;
}

static void bytes_remove(uint8_t *bytes, size_t *size, size_t at, size_t count)
{
    if (count > *size - at)
        count = *size - at;
    memmove(bytes + at, bytes + at + count, *size - at - count);
    *size -= count;
}

/* In little-endian, or as a varint. */
static void number_put(struct prng *chance, uint8_t *bytes, size_t size, size_t at)
{
    uint64_t value = interesting[prng_below(chance, sizeof interesting / sizeof interesting[0])];
    size_t width = (size_t)1 << prng_below(chance, 4);
    bool is_varint = prng_below(chance, 2) == 0;
    value += prng_below(chance, 3) - 1;
    for (size_t i = 0; i < (is_varint ? 10 : width) && at + i < size; i++) {
        bool more = is_varint && value > 0x7f;
        bytes[at + i] = (uint8_t)(is_varint ? (value & 0x7f) | (more ? 0x80 : 0) : value & 0xff);
        value >>= is_varint ? 7 : 8;
        if (is_varint && !more)
            return;
    }
}

static struct slice part_of(struct prng *chance, struct slice bytes)
{
    if (bytes.size == 0)
        return bytes;
    size_t at = prng_below(chance, bytes.size);
    size_t size = 1 + prng_below(chance, RUN_BYTES_MAX);
    return slice_of(bytes.data + at, size < bytes.size - at ? size : bytes.size - at);
}

static void change(struct prng *chance, uint8_t *bytes, size_t *size, size_t room,
                   struct slice other)
{
    size_t at = prng_below(chance, *size + 1);
    uint8_t random[RUN_BYTES_MAX];
    size_t count = 1 + prng_below(chance, RUN_BYTES_MAX);
    uint64_t kind = *size == 0 ? 0 : prng_below(chance, 9);
    if (at == *size && kind > 3)
        at--;
    switch (kind) {
    case 0:
        for (size_t i = 0; i < count; i++)
            random[i] = (uint8_t)prng_next(chance);
        bytes_insert(bytes, size, room, at, slice_of(random, count));
        return;
    case 1:
        bytes_insert(bytes, size, room, at, part_of(chance, other));
        return;
    case 2: { /* of its own, by way of a copy: they overlap */
        struct slice part = part_of(chance, slice_of(bytes, *size));
        memcpy(random, part.data, part.size);
        bytes_insert(bytes, size, room, at, slice_of(random, part.size));
        return;
    }
    case 3:
        bytes_remove(bytes, size, at, count);
        return;
    case 4:
        bytes[at] ^= (uint8_t)(1u << prng_below(chance, 8));
        return;
    case 5:
        bytes[at] = (uint8_t)(bytes[at] + prng_below(chance, 9) - 4);
        return;
    case 6:
        bytes[at] = (uint8_t)prng_next(chance);
        return;
    default:
        number_put(chance, bytes, *size, at);
        return;
    }
}

void mutate(struct prng *chance, uint8_t *bytes, size_t *size, size_t room, struct slice other)
{
    uint64_t changes = 1 + prng_below(chance, CHANGES_MAX);
    for (uint64_t i = 0; i < changes; i++)
        change(chance, bytes, size, room, other);
}
