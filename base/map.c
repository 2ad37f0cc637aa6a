#include "base/map.h"

#include <stdlib.h>

#include "base/assert.h"

enum { SLOTS_MIN = 16 };

void map_init(struct map *m, size_t count_max)
{
    *m = (struct map){ .count_max = count_max };
}

/* The finaliser of MurmurHash3: ids may be sequential. */
static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdu;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53u;
    return x ^ (x >> 33);
}

/* The slot that holds key, or the empty one where it would go. */
static size_t map_find(const struct map *m, uint64_t key)
{
    size_t mask = m->slot_count - 1;
    size_t i = (size_t)mix(key) & mask;
    while (m->slots[i].value && m->slots[i].key != key)
        i = (i + 1) & mask;
    return i;
}

void *map_get(const struct map *m, uint64_t key)
{
    return m->slot_count == 0 ? NULL : m->slots[map_find(m, key)].value;
}

static bool map_grow(struct map *m)
{
    struct map old = *m;
    size_t slot_count = old.slot_count ? old.slot_count * 2 : SLOTS_MIN;
    struct map_slot *slots = calloc(slot_count, sizeof *slots);
    if (!slots)
        return false;
    m->slots = slots;
    m->slot_count = slot_count;
    for (size_t i = 0; i < old.slot_count; i++) {
        if (old.slots[i].value)
            m->slots[map_find(m, old.slots[i].key)] = old.slots[i];
    }
    free(old.slots);
    return true;
}

bool map_put(struct map *m, uint64_t key, void *value)
{
    ASSERT(value);
    if (m->slot_count > 0) {
        struct map_slot *slot = &m->slots[map_find(m, key)];
        if (slot->value) {
            slot->value = value;
            return true;
        }
    }
    if (m->count >= m->count_max)
        return false;
    if ((m->count + 1) * 2 > m->slot_count && !map_grow(m))
        return false;
    m->slots[map_find(m, key)] = (struct map_slot){ key, value };
    m->count++;
    return true;
}

void *map_remove(struct map *m, uint64_t key)
{
    if (m->slot_count == 0)
        return NULL;
    size_t mask = m->slot_count - 1;
    size_t hole = map_find(m, key);
    void *removed = m->slots[hole].value;
    if (!removed)
        return NULL;
    m->count--;
    /* Close the gap: whoever probed past the hole moves back into it (Knuth, 6.4 R). */
    for (size_t i = (hole + 1) & mask; m->slots[i].value; i = (i + 1) & mask) {
        size_t home = (size_t)mix(m->slots[i].key) & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole].value = NULL;
    return removed;
}

void *map_next(const struct map *m, size_t *position)
{
    while (*position < m->slot_count) {
        void *value = m->slots[(*position)++].value;
        if (value)
            return value;
    }
    return NULL;
}

void map_done(struct map *m)
{
    free(m->slots);
    map_init(m, m->count_max);
}
