#include "tools/bench_load.h"

#include <stdlib.h>

#include "base/assert.h"
#include "tools/bench_answer.h"

enum {
    HEAD_BYTES = 64,      /* shows whether there is a key behind the header */
    TXN_HEAD_BYTES = 256, /* a txn's answer but for its key */
    MIXED_READS_OF_TEN = 9,
};

#define PATH(text)                                \
    {                                             \
        (const uint8_t *)(text), sizeof(text) - 1 \
    }

static const struct slice path_put = PATH("/etcdserverpb.KV/Put");
static const struct slice path_range = PATH("/etcdserverpb.KV/Range");
static const struct slice path_txn = PATH("/etcdserverpb.KV/Txn");
static const struct slice path_check = PATH("/grpc.health.v1.Health/Check");

/* ---- opening ---- */

static bool order_open(struct bench_load *l)
{
    uint64_t count = l->options->keys;
    l->order = malloc(count * sizeof *l->order);
    if (!l->order)
        return false;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t j = prng_below(&l->prng, i + 1); /* Fisher and Yates, inside out */
        l->order[i] = l->order[j];
        l->order[j] = (uint32_t)i;
    }
    return true;
}

bool bench_load_open(struct bench_load *l, const struct bench_options *options, size_t slot_count)
{
    *l = (struct bench_load){
        .options = options,
        .keys = { slice_of_text(options->key_prefix), options->key_bytes },
        .slot_count = slot_count,
        .prng = prng_seeded(options->seed),
        .value = malloc(options->value_bytes + 1),
        .slots = calloc(slot_count, sizeof *l->slots),
    };
    if (!l->value || !l->slots)
        return false;
    for (size_t i = 0; i < options->value_bytes; i++)
        l->value[i] = (uint8_t)prng_next(&l->prng);
    if (options->workload == BENCH_LOAD)
        return order_open(l);
    if (options->workload != BENCH_TXN)
        return true;
    l->revisions = calloc(options->keys, sizeof *l->revisions);
    return l->revisions != NULL;
}

void bench_load_close(struct bench_load *l)
{
    for (size_t i = 0; l->slots && i < l->slot_count; i++) {
        bench_request_done(&l->slots[i].put);
        bench_request_done(&l->slots[i].other);
    }
    free(l->slots);
    free(l->value);
    free(l->revisions);
    free(l->order);
    *l = (struct bench_load){ 0 };
}

uint64_t bench_load_total(const struct bench_load *l)
{
    return l->options->workload == BENCH_LOAD ? l->options->keys : l->options->total;
}

size_t bench_load_head_bytes(const struct bench_load *l)
{
    return l->options->workload == BENCH_TXN ? TXN_HEAD_BYTES + l->keys.prefix.size + l->keys.digits
                                             : HEAD_BYTES;
}

/* ---- requests ---- */

static uint64_t any_key(struct bench_load *l)
{
    return prng_below(&l->prng, l->options->keys);
}

/* Of the keys that belong to the slot: each slot_count-th. */
static uint64_t own_key(struct bench_load *l, size_t slot)
{
    uint64_t count = (l->options->keys - slot + l->slot_count - 1) / l->slot_count;
    return slot + prng_below(&l->prng, count) * l->slot_count;
}

/* So that all pages are full where all keys are there. */
static uint64_t any_page(struct bench_load *l)
{
    uint64_t keys = l->options->keys;
    uint64_t limit = l->options->limit;
    return keys > limit && !l->options->first ? prng_below(&l->prng, keys - limit + 1) : 0;
}

static bool put_next(struct bench_load *l, struct bench_slot *s, uint64_t key,
                     struct bench_load_request *r)
{
    if (!s->put.bytes &&
        !bench_request_put(&s->put, &l->keys, slice_of(l->value, l->options->value_bytes)))
        return false;
    s->is_read = false;
    bench_request_aim(&s->put, &l->keys, key);
    *r = (struct bench_load_request){ path_put, bench_request_bytes(&s->put) };
    return true;
}

/* What each workload asks for, but for the key. */
static bool read_template(const struct bench_load *l, struct bench_slot *s)
{
    enum bench_workload workload = l->options->workload;
    bool is_range = workload == BENCH_RANGE || workload == BENCH_COUNT;
    return bench_request_range(&s->other, &l->keys,
                               &(struct bench_range){
                                   .to_end = is_range,
                                   .limit = workload == BENCH_RANGE ? l->options->limit : 0,
                                   .serializable = workload == BENCH_GET_SERIALIZABLE ||
                                                   (is_range && l->options->serializable),
                                   .count_only = workload == BENCH_COUNT,
                               });
}

static bool read_next(struct bench_load *l, struct bench_slot *s, uint64_t key,
                      struct bench_load_request *r)
{
    if (!s->other.bytes && !read_template(l, s))
        return false;
    s->is_read = l->options->workload != BENCH_COUNT;
    bench_request_aim(&s->other, &l->keys, key);
    *r = (struct bench_load_request){ path_range, bench_request_bytes(&s->other) };
    return true;
}

static bool txn_next(struct bench_load *l, struct bench_slot *s, uint64_t key,
                     struct bench_load_request *r)
{
    struct bench_txn txn = { key, l->revisions[key], slice_of(l->value, l->options->value_bytes) };
    if (!bench_request_txn(&s->other, &l->keys, &txn))
        return false;
    s->key = key;
    *r = (struct bench_load_request){ path_txn, bench_request_bytes(&s->other) };
    return true;
}

static bool echo_next(struct bench_slot *s, struct bench_load_request *r)
{
    if (!s->other.bytes && !bench_request_empty(&s->other))
        return false;
    *r = (struct bench_load_request){ path_check, bench_request_bytes(&s->other) };
    return true;
}

bool bench_load_next(struct bench_load *l, size_t slot, struct bench_load_request *ret_request)
{
    struct bench_slot *s = &l->slots[slot];
    switch (l->options->workload) {
    case BENCH_PUT:
        return put_next(l, s, l->next++ % l->options->keys, ret_request);
    case BENCH_PUT_RANDOM:
        return put_next(l, s, any_key(l), ret_request);
    case BENCH_PUT_ONE:
        return put_next(l, s, 0, ret_request);
    case BENCH_LOAD:
        return put_next(l, s, l->order[l->next++ % l->options->keys], ret_request);
    case BENCH_GET:
    case BENCH_GET_SERIALIZABLE:
        return read_next(l, s, any_key(l), ret_request);
    case BENCH_RANGE:
        return read_next(l, s, any_page(l), ret_request);
    case BENCH_COUNT:
        return read_next(l, s, 0, ret_request);
    case BENCH_MIXED:
        return prng_below(&l->prng, 10) < MIXED_READS_OF_TEN
                   ? read_next(l, s, any_key(l), ret_request)
                   : put_next(l, s, any_key(l), ret_request);
    case BENCH_TXN:
        return txn_next(l, s, own_key(l, slot), ret_request);
    case BENCH_ECHO:
        return echo_next(s, ret_request);
    case BENCH_LIMIT:
    case BENCH_WORKLOAD_COUNT:
        break;
    }
    ASSERT(!"a workload without requests");
    return false;
}

/* ---- answers ---- */

enum bench_outcome bench_load_answer(struct bench_load *l, size_t slot, struct slice message)
{
    const struct bench_slot *s = &l->slots[slot];
    if (l->options->workload == BENCH_TXN) {
        struct bench_answer_txn txn;
        if (!bench_answer_txn(message, &txn))
            return BENCH_NOT_UNDERSTOOD;
        l->revisions[s->key] = txn.succeeded ? txn.revision : txn.mod_revision;
        return txn.succeeded ? BENCH_DONE : BENCH_COMPARE_FAILED;
    }
    return s->is_read && !bench_answer_has_key(message) ? BENCH_DONE_EMPTY : BENCH_DONE;
}
