#include "proto/range_response.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/prng.h"

enum { ROUNDS = 3000, KVS_MAX = 40, BYTES_MAX = 20000 };

static uint8_t filler[BYTES_MAX];

static void same_as_protobuf_c(const Etcdserverpb__RangeResponse *r)
{
    size_t size = protobuf_c_message_get_packed_size(&r->base);
    cr_assert_eq(range_response_size(r), size);
    uint8_t *want = malloc(size + 1);
    uint8_t *got = malloc(size + 1);
    cr_assert(want && got);
    protobuf_c_message_pack(&r->base, want);
    got[size] = 0xa5;
    cr_assert_eq(range_response_pack(r, got), size);
    cr_assert_eq(got[size], 0xa5, "not a byte more");
    cr_assert(size == 0 || memcmp(got, want, size) == 0);
    free(want);
    free(got);
}

/* Each length of a varint is as likely; often the default, sometimes negative. */
static uint64_t number(struct prng *chance)
{
    return prng_below(chance, 4) == 0 ? 0 : prng_next(chance) >> prng_below(chance, 64);
}

/* Around the lengths where a length takes a byte more, too. */
static ProtobufCBinaryData bytes(struct prng *chance)
{
    static const size_t sizes[] = { 0, 1, 8, 100, 127, 128, 256, 16383, 16384 };
    size_t size = sizes[prng_below(chance, sizeof sizes / sizeof sizes[0])];
    return (ProtobufCBinaryData){ size + prng_below(chance, 30), filler };
}

static void random_kv(struct prng *chance, Mvccpb__KeyValue *kv)
{
    mvccpb__key_value__init(kv);
    kv->key = bytes(chance);
    if (prng_below(chance, 4) > 0)
        kv->value = bytes(chance);
    kv->create_revision = (int64_t)number(chance);
    kv->mod_revision = (int64_t)number(chance);
    kv->version = (int64_t)number(chance);
    kv->lease = (int64_t)number(chance);
}

Test(range_response, bytes_are_those_of_protobuf_c)
{
    struct prng chance = prng_seeded(7);
    for (size_t i = 0; i < sizeof filler; i++)
        filler[i] = (uint8_t)prng_next(&chance);
    for (int round = 0; round < ROUNDS; round++) {
        Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
        header.cluster_id = number(&chance);
        header.member_id = number(&chance);
        header.revision = (int64_t)number(&chance);
        header.raft_term = number(&chance);
        Mvccpb__KeyValue all[KVS_MAX];
        Mvccpb__KeyValue *kvs[KVS_MAX];
        Etcdserverpb__RangeResponse r = ETCDSERVERPB__RANGE_RESPONSE__INIT;
        r.n_kvs = prng_below(&chance, KVS_MAX + 1);
        for (size_t i = 0; i < r.n_kvs; i++) {
            random_kv(&chance, &all[i]);
            kvs[i] = &all[i];
        }
        r.kvs = kvs;
        r.header = prng_below(&chance, 8) > 0 ? &header : NULL;
        r.more = prng_below(&chance, 2) == 0;
        r.count = (int64_t)number(&chance);
        same_as_protobuf_c(&r);
    }
}

/* What has its default value everywhere: a record and a header that are there all the same. */
Test(range_response, empty_messages_are_those_of_protobuf_c)
{
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;
    Mvccpb__KeyValue *kvs[] = { &kv };
    Etcdserverpb__RangeResponse r = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    same_as_protobuf_c(&r);
    r.header = &header;
    r.kvs = kvs;
    r.n_kvs = 1;
    same_as_protobuf_c(&r);
}
