#include "tests/perf/keys.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/perf/operations.h"

enum { VIEWS = 4 };

struct slice perf_key(uint32_t number)
{
    static char key[PERF_KEY_BYTES + 1];
    int size = snprintf(key, sizeof key, "k%07u", number);
    ASSERT(size == PERF_KEY_BYTES);
    return slice_of(key, PERF_KEY_BYTES);
}

struct slice perf_value(void)
{
    static uint8_t value[PERF_VALUE_BYTES];
    if (value[0] == 0)
        memset(value, 'v', sizeof value);
    return slice_of(value, sizeof value);
}

uint32_t *perf_shuffled(struct prng *chance, uint32_t count)
{
    uint32_t *numbers = malloc(count * sizeof *numbers);
    ASSERT(numbers);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t j = (uint32_t)prng_below(chance, i + 1);
        numbers[i] = numbers[j];
        numbers[j] = i;
    }
    return numbers;
}

static void make_room(struct perf_keys *k, uint32_t key_count)
{
    k->versions = realloc(k->versions, key_count * sizeof *k->versions);
    ASSERT(k->versions);
    memset(k->versions + k->key_count, 0, (key_count - k->key_count) * sizeof *k->versions);
    k->key_count = key_count;
}

/* What a flush counts follows from the versions. */
void perf_keys_put(struct perf_keys *k, uint32_t number)
{
    if (number >= k->key_count)
        make_room(k, 2 * (number + 1));
    struct kv_record record = store_rig_record(perf_key(number), perf_value(),
                                               (struct kv_revision){ .main = ++k->revision });
    record.version = ++k->versions[number];
    enum kv_err err = kv_insert(k->kv, &record);
    ASSERT(err == KV_OK);
}

struct store_flush perf_keys_freeze(struct perf_keys *k)
{
    ASSERT(kv_freeze(k->kv));
    struct store_flush flush = store_rig_flush_of(&k->store, kv_frozen(k->kv), NULL, 0);
    flush.state.revision = k->revision;
    return flush;
}

void perf_keys_open(struct perf_keys *k, uint32_t count)
{
    *k = (struct perf_keys){ .chance = prng_seeded(42), .revision = 1 };
    store_rig_init(&k->store);
    enum store_err opened = store_rig_open(&k->store);
    ASSERT(opened == STORE_OK);
    enum kv_err err = kv_open(&k->kv, k->store.store, VIEWS);
    ASSERT(err == KV_OK);
    uint32_t *numbers = perf_shuffled(&k->chance, count);
    for (uint32_t i = 0; i < count; i++)
        perf_keys_put(k, numbers[i]);
    free(numbers);
    if (count == 0)
        return;
    struct store_flush flush = perf_keys_freeze(k);
    enum store_err flushed = store_rig_flush(&k->store, &flush);
    ASSERT(flushed == STORE_OK);
    kv_flushed(k->kv);
}

void perf_keys_close(struct perf_keys *k)
{
    kv_close(k->kv);
    store_rig_done(&k->store);
    free(k->versions);
}
