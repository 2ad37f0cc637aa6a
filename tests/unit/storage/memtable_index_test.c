#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/checksum.h"
#include "storage/chunks.h"
#include "storage/memtable_index.h"

/* Of the index's own: the smallest table has 2^9 slots, the next 2^11; of a hash the uppermost 21
 * bits count, and as many of them as the table has slots name the place. */
enum { FIRST_BITS = 9, SECOND_BITS = 11, HASH_BITS = 21, KEYS_MAX = 1 << 20 };

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

/* The number of a new key whose place in the second table is this. */
static uint64_t key_at(struct rig *r, uint64_t place)
{
    while (hash_bits(r->next, SECOND_BITS) != place)
        r->next++;
    return r->next++;
}

static const struct memtable_node *put(struct rig *r, uint64_t number)
{
    uint8_t bytes[8];
    struct kv_record record = { .key = key_of(number, bytes), .mod = { .main = ++r->revision } };
    cr_assert(memtable_insert(r->nodes, &record));
    const struct memtable_node *node = memtable_seek(r->nodes, record.key, r->revision);
    cr_assert(memtable_index_reserve(&r->index));
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

/* As many as may stand behind one place, over the end of the table: none is lost, in the larger
 * tables neither. One more is too many. */
Test(memtable_index, a_crowd_goes_on_at_the_start_of_the_table)
{
    struct rig r;
    rig_init(&r);
    uint64_t last = (1 << SECOND_BITS) - 1;
    for (int i = 0; i < INDEX_PROBES_MAX; i++)
        put(&r, key_at(&r, last));
    cr_assert_not(has_given_up(&r));
    cr_assert_null(get(&r, key_at(&r, last)), "there is no empty slot near, and it is not there");
    for (uint64_t i = 0; i < 1 << SECOND_BITS; i++) {
        if (i == 300)
            all_are_found(&r);
        put(&r, key_at(&r, 600 + i * 7 % 1000));
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
    for (uint64_t i = 0; i < 1 << SECOND_BITS; i++)
        put(&r, key_at(&r, i));
    cr_assert(has_given_up(&r), "for good");
    all_are_found(&r);
    uint8_t bytes[8];
    cr_assert_null(memtable_get(r.nodes, key_of(key_at(&r, 77), bytes), INT64_MAX));
    rig_done(&r);
}

/* 100 keys of place 1648 fill the end of the first table, 48 of place 1728 come behind them, at its
 * start, and so first into the second table: into the midst of where the hundred have to go. */
Test(memtable_index, gives_up_where_the_next_table_has_no_room)
{
    struct rig r;
    rig_init(&r);
    for (int i = 0; i < 100; i++)
        put(&r, key_at(&r, 1648));
    for (int i = 0; i < 48; i++)
        put(&r, key_at(&r, 1728));
    for (uint64_t i = 148; i < 1 << (FIRST_BITS - 1); i++)
        put(&r, key_at(&r, 400 + i));
    cr_assert_not(has_given_up(&r));
    all_are_found(&r);
    put(&r, key_at(&r, 400));
    cr_assert(has_given_up(&r));
    all_are_found(&r);
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
