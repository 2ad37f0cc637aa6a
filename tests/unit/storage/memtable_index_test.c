#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/prng.h"
#include "storage/chunks.h"
#include "storage/memtable_index.h"

/* Of the index's own: of a hash the uppermost 21 bits count. The directory may look at 12 of them,
 * and the others name the place in a segment of 512, which is split when it has half as many keys.
 */
enum {
    HASH_BITS = 21,
    DEPTH_MAX = 12,
    SEGMENT_SLOTS = 512,
    SPLIT_KEYS = 256,
    SEGMENT_KEYS_MAX = 384,
    KEYS_MAX = 1 << 20
};

/* An index beside a memtable that has the nodes. */
struct rig {
    struct memtable *nodes;
    struct chunks memory;
    struct memtable_index index;
    int64_t revision;
    uint64_t next; /* number of a key that was not drawn yet */
};

static void rig_init(struct rig *r)
{
    *r = (struct rig){ .nodes = memtable_new() };
    chunks_init(&r->memory, NULL);
    cr_assert(memtable_index_init(&r->index, &r->memory));
}

static void rig_done(struct rig *r)
{
    chunks_done(&r->memory);
    memtable_unref(r->nodes);
}

static struct slice key_of(uint64_t number, uint8_t bytes[8])
{
    put_be64(bytes, number);
    return slice_of(bytes, 8);
}

static uint64_t hash_bits(uint64_t number, uint32_t bits)
{
    uint8_t bytes[8];
    return checksum(key_of(number, bytes), 0) >> (64 - bits);
}

/* In its segment, whichever that is: the last two bits are the place's upper ones. */
static uint64_t place_of(uint64_t number)
{
    uint64_t hash = hash_bits(number, HASH_BITS);
    return (hash & 3) << 7 | (hash >> 2 & 127);
}

/* The number of a new key that has this place. */
static uint64_t key_at(struct rig *r, uint64_t place)
{
    while (place_of(r->next) != place)
        r->next++;
    return r->next++;
}

/* The number of a new key whose hash begins with these bits. */
static uint64_t key_in(struct rig *r, uint64_t upper, uint32_t bits)
{
    while (hash_bits(r->next, bits) != upper)
        r->next++;
    return r->next++;
}

/* Both: in the first half of the first segment. */
static uint64_t key_left_at(struct rig *r, uint64_t place)
{
    uint64_t number;
    do
        number = key_at(r, place);
    while (hash_bits(number, 1) != 0);
    return number;
}

/* Into the memtable alone. */
static const struct memtable_node *insert(struct rig *r, uint64_t number)
{
    uint8_t bytes[8];
    struct kv_record record = { .key = key_of(number, bytes), .mod = { .main = ++r->revision } };
    cr_assert(memtable_insert(r->nodes, &record));
    return memtable_seek(r->nodes, record.key, r->revision);
}

static const struct memtable_node *put(struct rig *r, uint64_t number)
{
    const struct memtable_node *node = insert(r, number);
    memtable_index_put(&r->index, node);
    return node;
}

static bool has_given_up(const struct rig *r)
{
    const struct memtable_node *node;
    return !memtable_index_get(&r->index, slice_of(NULL, 0), &node);
}

static const struct memtable_node *get(const struct rig *r, uint64_t number)
{
    uint8_t bytes[8];
    const struct memtable_node *node;
    cr_assert(memtable_index_get(&r->index, key_of(number, bytes), &node));
    return node;
}

/* Every node of the rig, whose keys differ, is found in the index or, once that has given up, all
 * the same in the memtable, which has one of its own. */
static void all_are_found(const struct rig *r)
{
    const struct memtable_node *node = NULL;
    while ((node = memtable_next_inserted(r->nodes, node))) {
        struct slice key = memtable_key(node);
        cr_assert_eq(memtable_get(r->nodes, key, INT64_MAX), node);
        cr_assert_null(memtable_get(r->nodes, key, memtable_revision(node) - 1));
        if (!has_given_up(r))
            cr_assert_eq(get(r, get_be64(key.data)), node);
    }
}

Test(memtable_index, leads_to_the_newest_node_of_each_key)
{
    struct rig r;
    rig_init(&r);
    enum { KEYS = 5000 };
    static const struct memtable_node *newest[KEYS];
    for (uint64_t i = 0; i < 4 * KEYS; i++) {
        uint64_t number = i * 7919 % KEYS; /* each comes four times */
        cr_assert_eq(get(&r, number), newest[number]);
        newest[number] = put(&r, number);
        cr_assert_eq(get(&r, number), newest[number]);
        cr_assert_null(get(&r, KEYS + i));
    }
    cr_assert_eq(r.index.count, KEYS);
    for (uint64_t i = 0; i < KEYS; i++)
        cr_assert_eq(get(&r, i), newest[i], "key %lu", i);
    rig_done(&r);
}

struct hashed {
    uint64_t hash;
    uint64_t number;
};

static int hashed_compare(const void *a, const void *b)
{
    const struct hashed *x = a;
    const struct hashed *y = b;
    return (x->hash > y->hash) - (x->hash < y->hash);
}

Test(memtable_index, tells_keys_of_one_hash_apart)
{
    struct rig r;
    rig_init(&r);
    enum { KEYS = 20000 };
    static struct hashed keys[KEYS];
    for (uint64_t i = 0; i < KEYS; i++)
        keys[i] = (struct hashed){ hash_bits(i, HASH_BITS), i };
    qsort(keys, KEYS, sizeof keys[0], hashed_compare);
    int pairs = 0;
    for (int i = 0; i + 1 < KEYS; i++) {
        if (keys[i].hash != keys[i + 1].hash || get(&r, keys[i].number))
            continue;
        pairs++;
        const struct memtable_node *first = put(&r, keys[i].number);
        cr_assert_null(get(&r, keys[i + 1].number));
        const struct memtable_node *second = put(&r, keys[i + 1].number);
        cr_assert_eq(get(&r, keys[i].number), first);
        cr_assert_eq(get(&r, keys[i + 1].number), second);
    }
    cr_assert_gt(pairs, 20);
    rig_done(&r);
}

/* As many as may stand behind one place, over the end of the segment: none is lost, after splits
 * neither. */
Test(memtable_index, a_crowd_goes_on_at_the_start_of_the_segment)
{
    struct rig r;
    rig_init(&r);
    uint64_t last = SEGMENT_SLOTS - 1;
    for (int i = 0; i < INDEX_PROBES_MAX; i++)
        put(&r, key_at(&r, last));
    cr_assert_not(has_given_up(&r));
    cr_assert_null(get(&r, key_at(&r, last)), "there is no empty slot near, and it is not there");
    for (uint64_t i = 0; i < 4 * SEGMENT_SLOTS; i++) {
        if (i == 100)
            all_are_found(&r);
        put(&r, key_at(&r, 150 + i * 7 % 340));
    }
    cr_assert_not(has_given_up(&r));
    all_are_found(&r);
    rig_done(&r);
}

Test(memtable_index, gives_up_where_a_key_has_no_room)
{
    struct rig r;
    rig_init(&r);
    for (int i = 0; i < INDEX_PROBES_MAX; i++)
        put(&r, key_at(&r, 77));
    cr_assert_not(has_given_up(&r));
    put(&r, key_at(&r, 77));
    cr_assert(has_given_up(&r));
    for (uint64_t i = 0; i < 4 * SEGMENT_SLOTS; i++)
        put(&r, key_at(&r, i % SEGMENT_SLOTS));
    cr_assert(has_given_up(&r), "for good");
    all_are_found(&r);
    uint8_t bytes[8];
    cr_assert_null(memtable_get(r.nodes, key_of(key_at(&r, 77), bytes), INT64_MAX));
    rig_done(&r);
}

/* 100 keys of place 480 fill the end of the segment and its start, 48 of place 500 come behind
 * them, as far as 127 slots from there. All go into one half. Taken from the segment's start on,
 * the 48 would be in front of a part of the hundred, and some of those have no room. */
Test(memtable_index, a_split_moves_no_key_away_from_its_place)
{
    struct rig r;
    rig_init(&r);
    for (int i = 0; i < 100; i++)
        put(&r, key_left_at(&r, 480));
    for (int i = 0; i < 48; i++)
        put(&r, key_left_at(&r, 500));
    for (uint64_t i = 148; i < SPLIT_KEYS; i++)
        put(&r, key_left_at(&r, 148 + i));
    cr_assert_not(has_given_up(&r));
    all_are_found(&r);
    put(&r, key_left_at(&r, 140));
    cr_assert_not(has_given_up(&r));
    all_are_found(&r);
    rig_done(&r);
}

/* What was taken of the chunks, with what was left over at their ends. */
static size_t bytes_taken(const struct rig *r)
{
    return r->memory.total_bytes - r->memory.room_bytes;
}

/* Two segments and a directory: the largest of those has 2^DEPTH_MAX entries. A chunk whose rest is
 * too small for one of them is left with that rest. */
enum { PUT_BYTES_MAX = 3 * (SEGMENT_SLOTS * 8 + 64) + (8 << DEPTH_MAX) + 64 };

/* All share the bits that the directory may look at, so one half of each split has them all. */
Test(memtable_index, gives_up_where_a_segment_cannot_be_split_any_more)
{
    struct rig r;
    rig_init(&r);
    size_t before = bytes_taken(&r);
    for (int i = 0; i < SEGMENT_KEYS_MAX; i++) {
        size_t taken = bytes_taken(&r);
        put(&r, key_in(&r, 0xa5c, DEPTH_MAX));
        cr_assert_leq(bytes_taken(&r) - taken, PUT_BYTES_MAX);
        cr_assert_not(has_given_up(&r), "key %d", i);
    }
    all_are_found(&r);
    for (uint64_t i = 0; i < 4000; i++) /* beside them, where many entries share a segment */
        put(&r, key_in(&r, 0xa5c ^ 1 << (i % DEPTH_MAX), DEPTH_MAX));
    cr_assert_not(has_given_up(&r));
    all_are_found(&r);
    cr_assert_leq(bytes_taken(&r) - before, 2 * DEPTH_MAX * PUT_BYTES_MAX);
    put(&r, key_in(&r, 0xa5c, DEPTH_MAX));
    cr_assert(has_given_up(&r));
    all_are_found(&r);
    uint8_t bytes[8];
    uint64_t absent = key_in(&r, 0xa5c, DEPTH_MAX);
    cr_assert_null(memtable_get(r.nodes, key_of(absent, bytes), INT64_MAX));
    size_t after = bytes_taken(&r);
    for (uint64_t i = 0; i < 4000; i++)
        put(&r, key_at(&r, i % SEGMENT_SLOTS));
    cr_assert_eq(bytes_taken(&r), after);
    rig_done(&r);
}

Test(memtable_index, grows_in_small_steps)
{
    struct rig r;
    rig_init(&r);
    enum { KEYS = 300000 };
    size_t largest = 0;
    for (uint64_t i = 0; i < KEYS; i++) {
        size_t before = bytes_taken(&r);
        put(&r, i);
        size_t taken = bytes_taken(&r) - before;
        largest = taken > largest ? taken : largest;
    }
    cr_assert_leq(largest, PUT_BYTES_MAX);
    cr_assert_leq(bytes_taken(&r), KEYS * 64);
    cr_assert_not(has_given_up(&r));
    all_are_found(&r);
    for (uint64_t i = KEYS; i < 2 * KEYS; i++)
        cr_assert_null(get(&r, i));
    rig_done(&r);
}

Test(memtable_index, gives_up_above_a_million_keys)
{
    struct rig r;
    rig_init(&r);
    for (uint64_t i = 0; i < KEYS_MAX; i++)
        put(&r, i);
    cr_assert_not(has_given_up(&r));
    for (uint64_t i = 0; i < KEYS_MAX; i += 97)
        cr_assert_eq((uint64_t)memtable_revision(get(&r, i)), i + 1);
    put(&r, KEYS_MAX);
    cr_assert(has_given_up(&r));
    uint8_t bytes[8];
    cr_assert_not_null(memtable_get(r.nodes, key_of(KEYS_MAX, bytes), INT64_MAX));
    cr_assert_null(memtable_get(r.nodes, key_of(KEYS_MAX + 1, bytes), INT64_MAX));
    rig_done(&r);
}

/* ---- readers beside the writer ---- */

enum { RACE_KEYS = 200000, READERS = 3, READS_AT_ONCE = 200 };

/* The nodes are there before: so the writer does nothing but split and put. */
struct race {
    struct rig rig;
    const struct memtable_node *nodes[RACE_KEYS];
    atomic_uint_fast64_t complete; /* keys below it are put */
    atomic_int failures;
};

static bool race_key_is_sound(struct race *race, uint64_t number)
{
    uint8_t bytes[8];
    const struct memtable_node *node = NULL;
    return memtable_index_get(&race->rig.index, key_of(number, bytes), &node) &&
           node == (number < RACE_KEYS ? race->nodes[number] : NULL);
}

static void *race_reader_run(void *arg)
{
    struct race *race = arg;
    struct prng p = prng_seeded(23);
    uint64_t complete;
    do {
        complete = atomic_load_explicit(&race->complete, memory_order_acquire);
        for (int i = 0; i < READS_AT_ONCE && complete > 0; i++) {
            /* The last ones are where it is split. */
            uint64_t back = prng_below(&p, i % 2 == 0 || complete < 64 ? complete : 64);
            if (!race_key_is_sound(race, complete - 1 - back) ||
                !race_key_is_sound(race, RACE_KEYS + back))
                atomic_fetch_add(&race->failures, 1);
        }
    } while (complete < RACE_KEYS);
    return NULL;
}

Test(memtable_index, readers_on_other_threads_miss_nothing_while_it_splits, .timeout = 60)
{
    static struct race race;
    rig_init(&race.rig);
    for (uint64_t i = 0; i < RACE_KEYS; i++)
        race.nodes[i] = insert(&race.rig, i);
    pthread_t readers[READERS];
    for (int i = 0; i < READERS; i++)
        cr_assert_eq(pthread_create(&readers[i], NULL, race_reader_run, &race), 0);
    for (uint64_t i = 0; i < RACE_KEYS; i++) {
        memtable_index_put(&race.rig.index, race.nodes[i]);
        atomic_store_explicit(&race.complete, i + 1, memory_order_release);
    }
    for (int i = 0; i < READERS; i++)
        cr_assert_eq(pthread_join(readers[i], NULL), 0);
    cr_assert_eq(atomic_load(&race.failures), 0);
    rig_done(&race.rig);
}
