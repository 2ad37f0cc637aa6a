/* Open addressing with linear probing, at most half full. A slot is one word, 0 or
 *   the address of a node, without its lowest three bits, which are 0 | a tag of 19 bits
 * so that a key that is not there mostly costs one cache miss, and no look at any node.
 *
 * Of a key's hash 21 bits count. The upper ones name the place in the table, the lower ones are the
 * tag. A key is near its place, so slot and tag together tell the whole hash (`hash_at`): a larger
 * table is filled from the old one alone, without the nodes, and as both are ordered by hash, more
 * or less, from the start to the end of both.
 *
 * Readers come without a lock. A slot goes from 0 to the first node of its key, and from each to
 * the next newer one, by release stores: who loads one with acquire sees the node and its links,
 * and so all older versions of the key.
 *
 * A table that is half full is followed by a larger one, which the writer fills and then publishes
 * with a release store. The old one is not written any more, but stays, since readers may be in it.
 * They miss nothing: a reader loads the table once, when it begins, so it gets the one that was
 * published last at that time, or a later one. What was put before is in it, whether by its slot's
 * own store or copied before the table was published. An index that gives up publishes NULL, before
 * there is a key that is in no table; so who still gets a table began before that.
 */
#include "storage/memtable_index.h"

#include "base/assert.h"
#include "base/checksum.h"
#include "storage/chunks.h"

enum {
    ADDRESS_BITS = 48, /* of user space on x86-64 and on aarch64 */
    ALIGN_BITS = 3,
    TAG_BITS = 64 - ADDRESS_BITS + ALIGN_BITS,
    SECTOR_BITS = 2, /* of the hash, that the tag does not have: a quarter of the table */
    HASH_BITS = SECTOR_BITS + TAG_BITS,
    TABLE_BITS_MIN = 9,
    TABLE_BITS_MAX = HASH_BITS,
    SEGMENT_BITS = 17
};

_Static_assert(sizeof(uintptr_t) == sizeof(uint64_t), "a word holds an address");
_Static_assert(INDEX_PROBES_MAX <= 1 << (TABLE_BITS_MIN - SECTOR_BITS), "hash_at needs it");
_Static_assert(sizeof(uint64_t) << SEGMENT_BITS == CHUNK_BYTES_MAX, "pools keep such chunks warm");

/* 2^bits slots; more than fit into a chunk are in several. */
struct index_table {
    uint32_t bits;
    _Atomic(uint64_t) *segments[];
};

/* ---- words ---- */

static uint64_t low_bits(uint64_t x, uint32_t count)
{
    return x & (((uint64_t)1 << count) - 1);
}

static uint64_t hash_of(struct slice key)
{
    return checksum(key, 0) >> (64 - HASH_BITS);
}

static const struct memtable_node *word_node(uint64_t word)
{
    return (const struct memtable_node *)(uintptr_t)(word >> TAG_BITS << ALIGN_BITS);
}

static uint64_t word_of(const struct memtable_node *node, uint64_t hash)
{
    uint64_t word = (uint64_t)(uintptr_t)node << (64 - ADDRESS_BITS) | low_bits(hash, TAG_BITS);
    ASSERT(word_node(word) == node); /* the address fits */
    return word;
}

static bool word_is_of(uint64_t word, uint64_t hash, struct slice key)
{
    return low_bits(word ^ hash, TAG_BITS) == 0 && slice_equal(memtable_key(word_node(word)), key);
}

/* ---- tables ---- */

static struct index_table *table_new(struct chunks *memory, uint32_t bits)
{
    uint32_t segment_bits = bits < SEGMENT_BITS ? bits : SEGMENT_BITS;
    size_t segment_bytes = sizeof(uint64_t) << segment_bits;
    size_t count = (size_t)1 << (bits - segment_bits);
    struct index_table *t = chunks_alloc(memory, sizeof *t + count * sizeof t->segments[0]);
    if (!t)
        return NULL;
    t->bits = bits;
    for (size_t i = 0; i < count; i++) {
        t->segments[i] = chunks_alloc(memory, segment_bytes);
        if (!t->segments[i])
            return NULL;
        memset(t->segments[i], 0, segment_bytes);
    }
    return t;
}

/* A place may be past the end: it goes on at the start. */
static _Atomic(uint64_t) *slot_at(const struct index_table *t, uint64_t place)
{
    place = low_bits(place, t->bits);
    return &t->segments[place >> SEGMENT_BITS][low_bits(place, SEGMENT_BITS)];
}

static uint64_t place_of(const struct index_table *t, uint64_t hash)
{
    return hash >> (HASH_BITS - t->bits);
}

/* The tag has the lower bits of the place that the hash names, so how far behind it the word is, as
 * that is less than a sector. */
static uint64_t hash_at(const struct index_table *t, uint64_t place, uint64_t word)
{
    uint32_t sector_bits = t->bits - SECTOR_BITS;
    uint64_t tag = low_bits(word, TAG_BITS);
    uint64_t behind = low_bits(place - place_of(t, tag), sector_bits);
    uint64_t sector = low_bits(place - behind, t->bits) >> sector_bits;
    return sector << TAG_BITS | tag;
}

/* The key's slot, and its word, or the empty one that it would have, and 0. NULL: neither is near.
 */
static _Atomic(uint64_t) *slot_find(const struct index_table *t, uint64_t hash, struct slice key,
                                    uint64_t *ret_word)
{
    uint64_t place = place_of(t, hash);
    for (uint64_t i = 0; i < INDEX_PROBES_MAX; i++) {
        _Atomic(uint64_t) *slot = slot_at(t, place + i);
        uint64_t word = atomic_load_explicit(slot, memory_order_acquire);
        if (word == 0 || word_is_of(word, hash, key)) {
            *ret_word = word;
            return slot;
        }
    }
    return NULL;
}

/* Of a key that is not there yet, into a table that is not published. False: no slot is near. */
static bool word_take(struct index_table *t, uint64_t hash, uint64_t word)
{
    uint64_t place = place_of(t, hash);
    for (uint64_t i = 0; i < INDEX_PROBES_MAX; i++) {
        _Atomic(uint64_t) *slot = slot_at(t, place + i);
        if (atomic_load_explicit(slot, memory_order_relaxed) == 0) {
            atomic_store_explicit(slot, word, memory_order_relaxed);
            return true;
        }
    }
    return false;
}

static bool words_take(struct index_table *t, const struct index_table *from)
{
    for (uint64_t place = 0; place >> from->bits == 0; place++) {
        uint64_t word = atomic_load_explicit(slot_at(from, place), memory_order_relaxed);
        if (word != 0 && !word_take(t, hash_at(from, place, word), word))
            return false;
    }
    return true;
}

/* ---- the index ---- */

static void table_publish(struct memtable_index *x, struct index_table *t)
{
    atomic_store_explicit(&x->table, t, memory_order_release);
}

bool memtable_index_init(struct memtable_index *x, struct chunks *memory)
{
    struct index_table *t = table_new(memory, TABLE_BITS_MIN);
    *x = (struct memtable_index){ .memory = memory };
    atomic_init(&x->table, t);
    return t;
}

/* Small tables grow fast. Large ones only double: they count in what the memtable is flushed at. */
static uint32_t bits_next(uint32_t bits)
{
    return bits < SEGMENT_BITS ? bits + 2 : bits + 1;
}

bool memtable_index_reserve(struct memtable_index *x)
{
    struct index_table *full = atomic_load_explicit(&x->table, memory_order_relaxed);
    if (!full || (x->count + 1) * 2 <= (size_t)1 << full->bits)
        return true;
    if (full->bits == TABLE_BITS_MAX) {
        table_publish(x, NULL);
        return true;
    }
    struct index_table *t = table_new(x->memory, bits_next(full->bits));
    if (!t)
        return false;
    table_publish(x, words_take(t, full) ? t : NULL);
    return true;
}

void memtable_index_put(struct memtable_index *x, const struct memtable_node *node)
{
    struct index_table *t = atomic_load_explicit(&x->table, memory_order_relaxed);
    if (!t)
        return;
    struct slice key = memtable_key(node);
    uint64_t hash = hash_of(key);
    uint64_t before;
    _Atomic(uint64_t) *slot = slot_find(t, hash, key, &before);
    if (!slot) {
        table_publish(x, NULL);
        return;
    }
    x->count += before == 0;
    atomic_store_explicit(slot, word_of(node, hash), memory_order_release);
}

void memtable_index_prefetch(const struct memtable_index *x, struct slice key)
{
    const struct index_table *t = atomic_load_explicit(&x->table, memory_order_acquire);
    if (t)
        __builtin_prefetch(slot_at(t, place_of(t, hash_of(key))));
}

bool memtable_index_get(const struct memtable_index *x, struct slice key,
                        const struct memtable_node **ret_node)
{
    const struct index_table *t = atomic_load_explicit(&x->table, memory_order_acquire);
    if (!t)
        return false;
    uint64_t word = 0;
    slot_find(t, hash_of(key), key, &word);
    *ret_node = word_node(word);
    return true;
}
