/* keys.h: a key space for operations: so many keys in the store, none in a memtable. */
#ifndef TESTS_PERF_KEYS_H
#define TESTS_PERF_KEYS_H

#include "storage/kv.h"
#include "tests/support/store_rig.h"

struct perf_keys {
    struct store_rig store;
    struct kv *kv;
    struct prng chance;
    int64_t revision;   /* of the newest change */
    uint32_t *versions; /* of each key, by its number */
    uint32_t key_count; /* that have one, changed or not */
};

/* Keys 0 to count - 1, each put once, in random order. */
void perf_keys_open(struct perf_keys *k, uint32_t count);
void perf_keys_close(struct perf_keys *k);

/* The key with this number, of PERF_KEY_BYTES, in order of the numbers; valid until the next call.
 */
struct slice perf_key(uint32_t number);

/* A value, the same each time. */
struct slice perf_value(void);

/* A permutation of 0 to count - 1, to be freed. */
uint32_t *perf_shuffled(struct prng *chance, uint32_t count);

/* A change of the key, in the memtable. */
void perf_keys_put(struct perf_keys *k, uint32_t number);

/* The memtable is set aside for a flush; what that publishes. */
struct store_flush perf_keys_freeze(struct perf_keys *k);

#endif
