/* Extendible hashing (Fagin, Nievergelt, Pippenger and Strong 1979): a directory, addressed by the
 * upper bits of a key's hash, of segments, which are small tables with linear probing. A segment
 * that is half full is split in two by the next bit of the hash. Where the directory does not look
 * at that bit yet it is doubled first, which copies pointers alone. So no put moves more than one
 * segment and one directory: a table that is rehashed whole holds up the loop for milliseconds
 * (I10).
 *
 * A slot is one word, 0 or
 *   the address of a node, without its lowest three bits, which are 0 | a tag of 19 bits
 * so that a key that is not there mostly costs one cache miss, and no look at any node.
 *
 * Of a key's hash 21 bits count:
 *   12 that the directory may look at | 7 of the place in the segment | its 2 upper bits
 * The tag is all but the last two. As a key is near its place, slot and tag together tell that
 * place (`place_at`), and so a segment is split by itself, without the nodes.
 *
 * Readers come without a lock. A slot goes from 0 to the first node of its key, and from each to
 * the next newer one, by release stores: who loads one with acquire sees the node and its links,
 * and so all older versions of the key.
 *
 * What the writer replaces it fills first and publishes then, with a release store: the halves of a
 * segment in the entries of the directory that led to it, a directory in the index. The old one is
 * not written any more, but stays, since readers may be in it. They miss nothing: a reader loads
 * the directory, then one entry of it, each once. So it gets the directory that was published last
 * when it began, or a later one, and from that the segment which that entry named then (or got when
 * a later directory was filled), or a later one. What was put before is in each of these: its slot
 * was stored in the segment which the entry named at that time, and all later ones were filled from
 * there before they were published. That the entries of a segment change one after the other is no
 * harm: meanwhile nothing is put.
 *
 * An index that gives up publishes NULL, before there is a key that is in no segment; so who still
 * gets a directory began before that.
 */
#include "storage/memtable_index.h"

#include "base/assert.h"
#include "base/checksum.h"
#include "storage/chunks.h"

enum {
    ADDRESS_BITS = 48, /* of user space on x86-64 and on aarch64 */
    ALIGN_BITS = 3,
    TAG_BITS = 64 - ADDRESS_BITS + ALIGN_BITS,
    QUARTER_BITS = 2, /* of the place, that the tag does not have: a quarter of the segment */
    HASH_BITS = TAG_BITS + QUARTER_BITS,
    SEGMENT_BITS = 9,
    SEGMENT_SLOTS = 1 << SEGMENT_BITS,
    NEAR_BITS = SEGMENT_BITS - QUARTER_BITS,
    DEPTH_MAX = HASH_BITS - SEGMENT_BITS,
    SPLIT_KEYS = SEGMENT_SLOTS / 2,
    /* At DEPTH_MAX, where KEYS_MAX is SPLIT_KEYS a segment, some have more. */
    SEGMENT_KEYS_MAX = SEGMENT_SLOTS / 4 * 3,
    KEYS_MAX = SPLIT_KEYS << DEPTH_MAX
};

_Static_assert(sizeof(uintptr_t) == sizeof(uint64_t), "a word holds an address");
_Static_assert(INDEX_PROBES_MAX <= 1 << NEAR_BITS, "place_at needs it");

struct index_segment {
    /* The writer's alone. */
    uint32_t depth; /* of bits, from the uppermost on, that its keys' hashes share */
    uint32_t count; /* of keys */
    _Atomic(uint64_t) slots[SEGMENT_SLOTS];
};

/* 2^depth entries; 2^(depth - segment->depth) of them, side by side, lead to a segment. */
struct index_directory {
    uint32_t depth;
    _Atomic(struct index_segment *) entries[];
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

static uint64_t tag_of(uint64_t hash)
{
    return hash >> QUARTER_BITS;
}

static uint64_t place_of(uint64_t hash)
{
    return low_bits(hash, QUARTER_BITS) << NEAR_BITS | low_bits(tag_of(hash), NEAR_BITS);
}

static const struct memtable_node *word_node(uint64_t word)
{
    return (const struct memtable_node *)(uintptr_t)(word >> TAG_BITS << ALIGN_BITS);
}

static uint64_t word_of(const struct memtable_node *node, uint64_t hash)
{
    uint64_t word = (uint64_t)(uintptr_t)node << (64 - ADDRESS_BITS) | tag_of(hash);
    ASSERT(word_node(word) == node); /* the address fits */
    return word;
}

static bool word_is_of(uint64_t word, uint64_t hash, struct slice key)
{
    return low_bits(word ^ tag_of(hash), TAG_BITS) == 0 &&
           slice_equal(memtable_key(word_node(word)), key);
}

/* The tag has the lower bits of the place that the hash names, so how far behind it the word is, as
 * that is less than a quarter. */
static uint64_t place_at(uint64_t slot, uint64_t word)
{
    return slot - low_bits(slot - word, NEAR_BITS);
}

/* ---- segments ---- */

static struct index_segment *segment_new(struct chunks *memory, uint32_t depth)
{
    struct index_segment *s = chunks_alloc(memory, sizeof *s);
    if (!s)
        return NULL;
    memset(s, 0, sizeof *s);
    s->depth = depth;
    return s;
}

/* A place may be past the end: it goes on at the start. */
static _Atomic(uint64_t) *slot_at(struct index_segment *s, uint64_t place)
{
    return &s->slots[low_bits(place, SEGMENT_BITS)];
}

/* The key's slot, and its word, or the empty one that it would have, and 0. NULL: neither is near.
 */
static _Atomic(uint64_t) *slot_find(struct index_segment *s, uint64_t hash, struct slice key,
                                    uint64_t *ret_word)
{
    uint64_t place = place_of(hash);
    for (uint64_t i = 0; i < INDEX_PROBES_MAX; i++) {
        _Atomic(uint64_t) *slot = slot_at(s, place + i);
        uint64_t word = atomic_load_explicit(slot, memory_order_acquire);
        if (word == 0 || word_is_of(word, hash, key)) {
            *ret_word = word;
            return slot;
        }
    }
    return NULL;
}

/* Of a key that is not there yet, into a segment that is not published. */
static void word_take(struct index_segment *s, uint64_t place, uint64_t word)
{
    uint64_t end = place + INDEX_PROBES_MAX;
    while (atomic_load_explicit(slot_at(s, place), memory_order_relaxed) != 0)
        place++;
    ASSERT(place < end);
    atomic_store_explicit(slot_at(s, place), word, memory_order_relaxed);
    s->count++;
}

/* In the order of slots, beginning at an empty one: then each word comes to the slot that it had,
 * or nearer to its place, since those before it did too and left that slot alone. So a split finds
 * room for all, whatever the keys are. */
static void halves_fill(struct index_segment *const halves[2], struct index_segment *from)
{
    ASSERT(from->count < SEGMENT_SLOTS);
    ASSERT(from->depth < DEPTH_MAX);
    uint32_t shift = TAG_BITS - 1 - from->depth;
    uint64_t start = SEGMENT_SLOTS; /* a turn ahead: places do not go below 0 */
    while (atomic_load_explicit(slot_at(from, start), memory_order_relaxed) != 0)
        start++;
    for (uint64_t slot = start; slot < start + SEGMENT_SLOTS; slot++) {
        uint64_t word = atomic_load_explicit(slot_at(from, slot), memory_order_relaxed);
        if (word != 0)
            word_take(halves[word >> shift & 1], place_at(slot, word), word);
    }
}

/* ---- the directory ---- */

static struct index_directory *directory_new(struct chunks *memory, uint32_t depth)
{
    struct index_directory *d;
    d = chunks_alloc(memory, sizeof *d + ((size_t)1 << depth) * sizeof d->entries[0]);
    if (d)
        d->depth = depth;
    return d;
}

static uint64_t entry_of(const struct index_directory *d, uint64_t hash)
{
    return hash >> (HASH_BITS - d->depth);
}

static struct index_segment *segment_of(const struct index_directory *d, uint64_t hash)
{
    return atomic_load_explicit(&d->entries[entry_of(d, hash)], memory_order_acquire);
}

static void directory_publish(struct memtable_index *x, struct index_directory *d)
{
    atomic_store_explicit(&x->directory, d, memory_order_release);
}

/* NULL without memory. */
static struct index_directory *directory_double(struct memtable_index *x,
                                                const struct index_directory *from)
{
    struct index_directory *d = directory_new(x->memory, from->depth + 1);
    if (!d)
        return NULL;
    for (size_t i = 0; i >> from->depth == 0; i++) {
        struct index_segment *s = atomic_load_explicit(&from->entries[i], memory_order_relaxed);
        atomic_init(&d->entries[2 * i], s);
        atomic_init(&d->entries[2 * i + 1], s);
    }
    directory_publish(x, d);
    return d;
}

/* ---- the index ---- */

bool memtable_index_init(struct memtable_index *x, struct chunks *memory)
{
    struct index_segment *s = segment_new(memory, 0);
    struct index_directory *d = s ? directory_new(memory, 0) : NULL;
    *x = (struct memtable_index){ .memory = memory };
    atomic_init(&x->directory, d);
    if (!d)
        return false;
    atomic_init(&d->entries[0], s);
    return true;
}

/* The segment that the hash leads to is split, once: with keys that were chosen by their hash all
 * may be in one half, which then the next put splits. Returns what the hash leads to afterwards,
 * the same as before without memory, or where the directory may not look at more bits. */
static struct index_segment *segment_split(struct memtable_index *x, uint64_t hash)
{
    struct index_directory *d = atomic_load_explicit(&x->directory, memory_order_relaxed);
    struct index_segment *full = segment_of(d, hash);
    if (full->depth == DEPTH_MAX)
        return full;
    if (full->depth == d->depth) {
        d = directory_double(x, d);
        if (!d)
            return full;
    }
    struct index_segment *halves[2];
    for (int i = 0; i < 2; i++) {
        halves[i] = segment_new(x->memory, full->depth + 1);
        if (!halves[i])
            return full;
    }
    halves_fill(halves, full);
    uint32_t half_bits = d->depth - full->depth - 1; /* 2^half_bits entries lead to each half */
    uint64_t first = entry_of(d, hash) >> (half_bits + 1) << (half_bits + 1);
    for (uint64_t i = 0; i >> (half_bits + 1) == 0; i++)
        atomic_store_explicit(&d->entries[first + i], halves[i >> half_bits], memory_order_release);
    return segment_of(d, hash);
}

void memtable_index_put(struct memtable_index *x, const struct memtable_node *node)
{
    const struct index_directory *d = atomic_load_explicit(&x->directory, memory_order_relaxed);
    if (!d)
        return;
    struct slice key = memtable_key(node);
    uint64_t hash = hash_of(key);
    struct index_segment *s = segment_of(d, hash);
    uint64_t before = 0;
    _Atomic(uint64_t) *slot = slot_find(s, hash, key, &before);
    if (before == 0) {
        if (s->count >= SPLIT_KEYS) {
            s = segment_split(x, hash);
            slot = slot_find(s, hash, key, &before);
        }
        if (!slot || s->count == SEGMENT_KEYS_MAX || x->count == KEYS_MAX) {
            directory_publish(x, NULL);
            return;
        }
        s->count++;
        x->count++;
    }
    atomic_store_explicit(slot, word_of(node, hash), memory_order_release);
}

void memtable_index_prefetch(const struct memtable_index *x, struct slice key)
{
    const struct index_directory *d = atomic_load_explicit(&x->directory, memory_order_acquire);
    if (!d)
        return;
    uint64_t hash = hash_of(key);
    __builtin_prefetch(slot_at(segment_of(d, hash), place_of(hash)));
}

bool memtable_index_get(const struct memtable_index *x, struct slice key,
                        const struct memtable_node **ret_node)
{
    const struct index_directory *d = atomic_load_explicit(&x->directory, memory_order_acquire);
    if (!d)
        return false;
    uint64_t hash = hash_of(key);
    uint64_t word = 0;
    slot_find(segment_of(d, hash), hash, key, &word);
    *ret_node = word_node(word);
    return true;
}
