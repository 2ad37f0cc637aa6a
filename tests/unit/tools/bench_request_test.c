#include "tools/bench_request.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "rpc.pb-c.h"
#include "rpc/grpc_codec.h"
#include "tools/bench_answer.h"

static const uint8_t value_bytes[300] = { 'v' };
static const struct slice value = { value_bytes, sizeof value_bytes };
static const struct bench_keys plain = { { NULL, 0 }, 8 };
static const struct bench_keys prefixed = { { (const uint8_t *)"a\xff", 2 }, 4 };
static const struct bench_keys endless = { { (const uint8_t *)"\xff\xff", 2 }, 4 };

static struct slice slice_of_pb(ProtobufCBinaryData bytes)
{
    return slice_of(bytes.data, bytes.len);
}

static void is_text(ProtobufCBinaryData bytes, const char *text)
{
    cr_assert(slice_equal(slice_of_pb(bytes), slice_of_text(text)), "%.*s", (int)bytes.len,
              (const char *)bytes.data);
}

/* The message within gRPC's prefix, unpacked by the generated code. */
static void *unpack(const struct bench_request *r, const ProtobufCMessageDescriptor *type)
{
    cr_assert_geq(r->size, GRPC_PREFIX_BYTES);
    cr_assert_eq(r->bytes[0], 0);
    cr_assert_eq(get_be32(r->bytes + 1), r->size - GRPC_PREFIX_BYTES);
    void *message = protobuf_c_message_unpack(type, NULL, r->size - GRPC_PREFIX_BYTES,
                                              r->bytes + GRPC_PREFIX_BYTES);
    cr_assert(message);
    return message;
}

Test(bench_request, empty)
{
    struct bench_request r = { 0 };
    cr_assert(bench_request_empty(&r));
    cr_assert_eq(r.size, GRPC_PREFIX_BYTES);
    free(unpack(&r, &etcdserverpb__status_request__descriptor));
    bench_request_done(&r);
}

Test(bench_request, a_put_and_its_next_keys)
{
    struct bench_request r = { 0 };
    cr_assert(bench_request_put(&r, &prefixed, value));
    for (uint64_t i = 0; i < 10000; i += 1234) {
        char key[16];
        snprintf(key, sizeof key, "a\xff%04u", (unsigned)i);
        bench_request_aim(&r, &prefixed, i);
        Etcdserverpb__PutRequest *put = unpack(&r, &etcdserverpb__put_request__descriptor);
        is_text(put->key, key);
        cr_assert(slice_equal(slice_of_pb(put->value), value));
        protobuf_c_message_free_unpacked(&put->base, NULL);
    }
    bench_request_done(&r);
}

Test(bench_request, ranges)
{
    static const struct {
        const struct bench_keys *keys;
        struct bench_range range;
        const char *key, *end;
        size_t end_size;
    } rows[] = {
        { &plain, { .first = 7 }, "00000007", "", 0 },
        { &plain, { .first = 7, .serializable = true }, "00000007", "", 0 },
        { &plain, { .to_end = true, .limit = 100 }, "00000000", "\0", 1 },
        { &prefixed,
          { .first = 9999, .to_end = true, .limit = 1000000 },
          "a\xff"
          "9999",
          "b",
          1 },
        { &endless,
          { .to_end = true, .count_only = true },
          "\xff\xff"
          "0000",
          "\0",
          1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bench_request r = { 0 };
        cr_assert(bench_request_range(&r, rows[i].keys, &rows[i].range));
        Etcdserverpb__RangeRequest *range = unpack(&r, &etcdserverpb__range_request__descriptor);
        is_text(range->key, rows[i].key);
        cr_assert(
            slice_equal(slice_of_pb(range->range_end), slice_of(rows[i].end, rows[i].end_size)));
        cr_assert_eq((uint64_t)range->limit, rows[i].range.limit);
        cr_assert_eq(range->serializable, rows[i].range.serializable);
        cr_assert_eq(range->count_only, rows[i].range.count_only);
        protobuf_c_message_free_unpacked(&range->base, NULL);
        bench_request_done(&r);
    }
}

Test(bench_request, a_transaction_compares_puts_or_reads)
{
    static const uint64_t revisions[] = { 0, 1, 127, 128, INT64_MAX };
    struct bench_request r = { 0 };
    for (size_t i = 0; i < sizeof revisions / sizeof revisions[0]; i++) {
        cr_assert(bench_request_txn(&r, &plain, &(struct bench_txn){ 42, revisions[i], value }));
        Etcdserverpb__TxnRequest *txn = unpack(&r, &etcdserverpb__txn_request__descriptor);
        cr_assert_eq(txn->n_compare, 1);
        const Etcdserverpb__Compare *compare = txn->compare[0];
        cr_assert_eq(compare->result, ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL);
        cr_assert_eq(compare->target, ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD);
        cr_assert_eq(compare->target_union_case, ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION);
        cr_assert_eq((uint64_t)compare->mod_revision, revisions[i]);
        is_text(compare->key, "00000042");
        cr_assert_eq(txn->n_success, 1);
        const Etcdserverpb__PutRequest *put = txn->success[0]->request_put;
        is_text(put->key, "00000042");
        cr_assert(slice_equal(slice_of_pb(put->value), value));
        cr_assert_eq(txn->n_failure, 1);
        const Etcdserverpb__RangeRequest *range = txn->failure[0]->request_range;
        is_text(range->key, "00000042");
        cr_assert(range->keys_only);
        protobuf_c_message_free_unpacked(&txn->base, NULL);
    }
    bench_request_done(&r);
}

/* ---- answers ---- */

enum { ANSWER_BYTES_MAX = 512 };

static struct slice pack(const ProtobufCMessage *message, uint8_t *to)
{
    cr_assert_leq(protobuf_c_message_get_packed_size(message), ANSWER_BYTES_MAX);
    return slice_of(to, protobuf_c_message_pack(message, to));
}

struct answer {
    Etcdserverpb__ResponseHeader header;
    Mvccpb__KeyValue kv;
    Mvccpb__KeyValue *kvs[1];
    Etcdserverpb__RangeResponse range;
    Etcdserverpb__PutResponse put;
    Etcdserverpb__ResponseOp op;
    Etcdserverpb__ResponseOp *ops[1];
    Etcdserverpb__TxnResponse txn;
};

static void answer_init(struct answer *a)
{
    *a = (struct answer){
        .header = ETCDSERVERPB__RESPONSE_HEADER__INIT,
        .kv = MVCCPB__KEY_VALUE__INIT,
        .range = ETCDSERVERPB__RANGE_RESPONSE__INIT,
        .put = ETCDSERVERPB__PUT_RESPONSE__INIT,
        .op = ETCDSERVERPB__RESPONSE_OP__INIT,
        .txn = ETCDSERVERPB__TXN_RESPONSE__INIT,
    };
    a->header.cluster_id = UINT64_MAX;
    a->header.member_id = UINT64_MAX;
    a->header.revision = 12345;
    a->header.raft_term = 3;
    a->kv.key = (ProtobufCBinaryData){ 8, (uint8_t *)"00000042" };
    a->kv.create_revision = 7;
    a->kv.mod_revision = 9;
    a->kv.version = 2;
    a->kvs[0] = &a->kv;
    a->range.header = &a->header;
    a->put.header = &a->header;
    a->ops[0] = &a->op;
    a->txn.header = &a->header;
    a->txn.responses = a->ops;
    a->txn.n_responses = 1;
}

Test(bench_answer, a_key_is_there_or_not)
{
    uint8_t bytes[ANSWER_BYTES_MAX];
    struct answer a;
    answer_init(&a);
    a.range.count = 1;
    cr_assert_not(bench_answer_has_key(pack(&a.range.base, bytes)));
    a.range.kvs = a.kvs;
    a.range.n_kvs = 1;
    struct slice whole = pack(&a.range.base, bytes);
    cr_assert(bench_answer_has_key(whole));
    cr_assert(bench_answer_has_key(slice_of(whole.data, whole.size - 10)), "cut off");
}

Test(bench_answer, a_transaction_tells_the_revision)
{
    uint8_t bytes[ANSWER_BYTES_MAX];
    struct bench_answer_txn txn;
    struct answer a;
    answer_init(&a);
    a.txn.succeeded = true;
    a.op.response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT;
    a.op.response_put = &a.put;
    cr_assert(bench_answer_txn(pack(&a.txn.base, bytes), &txn));
    cr_assert(txn.succeeded);
    cr_assert_eq(txn.revision, 12345);

    a.txn.succeeded = false;
    a.op.response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
    a.op.response_range = &a.range;
    cr_assert(bench_answer_txn(pack(&a.txn.base, bytes), &txn));
    cr_assert(!txn.succeeded && txn.mod_revision == 0, "the key is not there");
    a.range.kvs = a.kvs;
    a.range.n_kvs = 1;
    cr_assert(bench_answer_txn(pack(&a.txn.base, bytes), &txn));
    cr_assert_eq(txn.mod_revision, 9);
}

Test(bench_answer, any_bytes_are_fine)
{
    uint8_t bytes[ANSWER_BYTES_MAX];
    struct bench_answer_txn txn;
    struct answer a;
    answer_init(&a);
    a.op.response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
    a.op.response_range = &a.range;
    a.range.kvs = a.kvs;
    a.range.n_kvs = 1;
    struct slice whole = pack(&a.txn.base, bytes);
    for (size_t i = 0; i < 8 * whole.size; i++) {
        uint8_t *flipped = malloc(whole.size); /* its own block, so that sanitizers see the end */
        memcpy(flipped, whole.data, whole.size);
        flipped[i / 8] ^= (uint8_t)(1 << i % 8);
        bench_answer_has_key(slice_of(flipped, whole.size));
        if (bench_answer_txn(slice_of(flipped, i / 8), &txn))
            cr_assert_not(bench_answer_txn(slice_of(NULL, 0), &txn));
        bench_answer_txn(slice_of(flipped, whole.size), &txn);
        free(flipped);
    }
}
