#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "proto/pb_arena.h"
#include "rpc.pb-c.h"
#include "tests/sim/workload_internal.h"

/* ---- requests ---- */

/* Key 7 is "k007": the order of numbers is that of bytes. The end of all keys is one more. */
static ProtobufCBinaryData key_of(uint32_t key, uint8_t room[WORKLOAD_KEY_BYTES])
{
    ASSERT(key <= WORKLOAD_KEYS_MAX);
    room[0] = 'k';
    room[1] = (uint8_t)('0' + key / 100);
    room[2] = (uint8_t)('0' + key / 10 % 10);
    room[3] = (uint8_t)('0' + key % 10);
    return (ProtobufCBinaryData){ .data = room, .len = WORKLOAD_KEY_BYTES };
}

static ProtobufCBinaryData value_of(const struct check_history *h, uint32_t value)
{
    struct slice bytes = check_history_bytes(h, value);
    return (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t)bytes.data, .len = bytes.size };
}

/* Any of the three requests that one step may be. */
struct step_message {
    uint8_t key[WORKLOAD_KEY_BYTES], key_end[WORKLOAD_KEY_BYTES];
    Etcdserverpb__RequestOp op;
    Etcdserverpb__RangeRequest range;
    Etcdserverpb__PutRequest put;
    Etcdserverpb__DeleteRangeRequest del;
};

static void range_make(struct step_message *m, const struct check_step *s,
                       const struct check_op *op)
{
    etcdserverpb__range_request__init(&m->range);
    m->range.key = key_of(s->key, m->key);
    if (s->key_end > s->key + 1)
        m->range.range_end = key_of(s->key_end, m->key_end);
    m->range.limit = s->limit;
    m->range.revision = op->at_revision;
    m->range.serializable = op->serializable;
    m->op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    m->op.request_range = &m->range;
}

static void step_make(struct step_message *m, const struct check_history *h,
                      const struct check_step *s, const struct check_op *op)
{
    etcdserverpb__request_op__init(&m->op);
    switch (s->kind) {
    case CHECK_GET:
        range_make(m, s, op);
        break;
    case CHECK_PUT:
        etcdserverpb__put_request__init(&m->put);
        m->put.key = key_of(s->key, m->key);
        m->put.value = value_of(h, s->value);
        m->put.prev_kv = s->prev;
        m->op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        m->op.request_put = &m->put;
        break;
    case CHECK_DELETE:
        etcdserverpb__delete_range_request__init(&m->del);
        m->del.key = key_of(s->key, m->key);
        if (s->key_end > s->key + 1)
            m->del.range_end = key_of(s->key_end, m->key_end);
        m->del.prev_kv = s->prev;
        m->op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        m->op.request_delete_range = &m->del;
        break;
    case CHECK_STEP_KINDS:
        ASSERT(!"a kind");
    }
}

static void compare_make(Etcdserverpb__Compare *m, uint8_t key[WORKLOAD_KEY_BYTES],
                         const struct check_history *h, const struct check_compare *c)
{
    static const Etcdserverpb__Compare__CompareResult relations[] = {
        [CHECK_EQUAL] = ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL,
        [CHECK_GREATER] = ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER,
        [CHECK_LESS] = ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS,
        [CHECK_NOT_EQUAL] = ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL,
    };
    etcdserverpb__compare__init(m);
    m->key = key_of(c->key, key);
    m->result = relations[c->relation];
    switch (c->target) {
    case CHECK_VALUE:
        m->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE;
        m->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
        m->value = value_of(h, (uint32_t)c->operand);
        break;
    case CHECK_MOD:
        m->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
        m->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
        m->mod_revision = c->operand;
        break;
    case CHECK_CREATE:
        m->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
        m->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
        m->create_revision = c->operand;
        break;
    case CHECK_VERSION:
        m->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION;
        m->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
        m->version = c->operand;
        break;
    }
}

static bool request_pack(struct workload_process *p, const char *path, const ProtobufCMessage *m)
{
    size_t size = protobuf_c_message_get_packed_size(m);
    if (size > p->request_capacity) {
        size_t capacity = size * 2;
        uint8_t *grown = realloc(p->request, capacity);
        if (!grown)
            return false;
        p->request = grown;
        p->request_capacity = capacity;
    }
    if (size > 0)
        protobuf_c_message_pack(m, p->request);
    p->call.path = path;
    p->call.request = slice_of(p->request, size);
    return true;
}

static bool txn_encode(struct workload_process *p, const struct check_op *op)
{
    const struct check_history *h = &p->workload->history;
    struct step_message steps[2][WORKLOAD_STEPS_MAX];
    Etcdserverpb__RequestOp *ops[2][WORKLOAD_STEPS_MAX];
    Etcdserverpb__Compare compares[WORKLOAD_COMPARES_MAX], *list[WORKLOAD_COMPARES_MAX];
    uint8_t keys[WORKLOAD_COMPARES_MAX][WORKLOAD_KEY_BYTES];
    ASSERT(op->compares.count <= WORKLOAD_COMPARES_MAX);
    for (uint32_t i = 0; i < op->compares.count; i++) {
        compare_make(&compares[i], keys[i], h, &h->compares[op->compares.first + i]);
        list[i] = &compares[i];
    }
    for (int b = 0; b < 2; b++) {
        ASSERT(op->branches[b].count <= WORKLOAD_STEPS_MAX);
        for (uint32_t i = 0; i < op->branches[b].count; i++) {
            step_make(&steps[b][i], h, &h->steps[op->branches[b].first + i], op);
            ops[b][i] = &steps[b][i].op;
        }
    }
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.n_compare = op->compares.count;
    txn.compare = list;
    txn.n_success = op->branches[1].count;
    txn.success = ops[1];
    txn.n_failure = op->branches[0].count;
    txn.failure = ops[0];
    return request_pack(p, "/etcdserverpb.KV/Txn", &txn.base);
}

/* Goes as a request of its own, not in a transaction. */
static bool is_plain(const struct check_op *op)
{
    return op->compares.count == 0 && op->branches[1].count == 1;
}

bool workload_encode(struct workload_process *p)
{
    const struct check_history *h = &p->workload->history;
    const struct check_op *op = &h->ops[p->op];
    if (op->compacts > 0) {
        Etcdserverpb__CompactionRequest compact = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
        compact.revision = op->compacts;
        return request_pack(p, "/etcdserverpb.KV/Compact", &compact.base);
    }
    if (!is_plain(op))
        return txn_encode(p, op);
    struct step_message m;
    const struct check_step *s = &h->steps[op->branches[1].first];
    step_make(&m, h, s, op);
    switch (s->kind) {
    case CHECK_GET:
        return request_pack(p, "/etcdserverpb.KV/Range", &m.range.base);
    case CHECK_PUT:
        return request_pack(p, "/etcdserverpb.KV/Put", &m.put.base);
    case CHECK_DELETE:
        return request_pack(p, "/etcdserverpb.KV/DeleteRange", &m.del.base);
    case CHECK_STEP_KINDS:
        break;
    }
    return false;
}

/* ---- answers ---- */

static bool key_parse(const struct workload *w, ProtobufCBinaryData bytes, uint32_t *ret_key)
{
    if (bytes.len != WORKLOAD_KEY_BYTES || bytes.data[0] != 'k')
        return false;
    uint32_t key = 0;
    for (int i = 1; i < WORKLOAD_KEY_BYTES; i++) {
        if (bytes.data[i] < '0' || bytes.data[i] > '9')
            return false;
        key = key * 10 + (uint32_t)(bytes.data[i] - '0');
    }
    *ret_key = key;
    return key < w->key_count;
}

static bool seen_take(struct workload *w, struct check_step *s, Mvccpb__KeyValue **kvs,
                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const Mvccpb__KeyValue *kv = kvs[i];
        struct check_seen seen = { .create_revision = kv->create_revision,
                                   .mod_revision = kv->mod_revision,
                                   .version = kv->version };
        if (!key_parse(w, kv->key, &seen.key))
            return false;
        seen.value = check_history_value(&w->history, slice_of(kv->value.data, kv->value.len));
        if (seen.value == 0 || !check_history_see(&w->history, s, &seen))
            return false;
    }
    return true;
}

static bool range_take(struct workload *w, struct check_step *s,
                       const Etcdserverpb__RangeResponse *m)
{
    if (!m)
        return false;
    s->count = m->count;
    s->more = m->more;
    return seen_take(w, s, m->kvs, m->n_kvs);
}

static bool put_take(struct workload *w, struct check_step *s, const Etcdserverpb__PutResponse *m)
{
    if (!m)
        return false;
    Mvccpb__KeyValue *prev = m->prev_kv;
    s->count = prev != NULL;
    return seen_take(w, s, &prev, prev ? 1 : 0);
}

static bool delete_take(struct workload *w, struct check_step *s,
                        const Etcdserverpb__DeleteRangeResponse *m)
{
    if (!m)
        return false;
    s->count = m->deleted;
    return seen_take(w, s, m->prev_kvs, m->n_prev_kvs);
}

static bool step_take(struct workload *w, struct check_step *s, const Etcdserverpb__ResponseOp *m)
{
    switch (s->kind) {
    case CHECK_GET:
        return m->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE &&
               range_take(w, s, m->response_range);
    case CHECK_PUT:
        return m->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT &&
               put_take(w, s, m->response_put);
    case CHECK_DELETE:
        return m->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE &&
               delete_take(w, s, m->response_delete_range);
    case CHECK_STEP_KINDS:
        break;
    }
    return false;
}

static ProtobufCMessage *unpack(struct workload_process *p,
                                const ProtobufCMessageDescriptor *descriptor)
{
    arena_reset(&p->workload->arena);
    return pb_arena_unpack(&p->workload->arena, descriptor, p->call.response);
}

static bool header_take(struct check_op *op, const Etcdserverpb__ResponseHeader *header)
{
    op->revision = header ? header->revision : 0;
    return op->revision > 0;
}

static bool txn_decode(struct workload_process *p, struct check_op *op)
{
    struct workload *w = p->workload;
    const Etcdserverpb__TxnResponse *m =
        (const void *)unpack(p, &etcdserverpb__txn_response__descriptor);
    if (!m || !header_take(op, m->header))
        return false;
    op->succeeded = m->succeeded;
    struct check_part part = check_op_branch(op);
    if (m->n_responses != part.count)
        return false;
    for (uint32_t i = 0; i < part.count; i++) {
        if (!step_take(w, &w->history.steps[part.first + i], m->responses[i]))
            return false;
    }
    return true;
}

static bool plain_decode(struct workload_process *p, struct check_op *op)
{
    struct workload *w = p->workload;
    struct check_step *s = &w->history.steps[op->branches[1].first];
    if (s->kind == CHECK_GET) {
        const Etcdserverpb__RangeResponse *m =
            (const void *)unpack(p, &etcdserverpb__range_response__descriptor);
        return m && header_take(op, m->header) && range_take(w, s, m);
    }
    if (s->kind == CHECK_PUT) {
        const Etcdserverpb__PutResponse *m =
            (const void *)unpack(p, &etcdserverpb__put_response__descriptor);
        return m && header_take(op, m->header) && put_take(w, s, m);
    }
    const Etcdserverpb__DeleteRangeResponse *m =
        (const void *)unpack(p, &etcdserverpb__delete_range_response__descriptor);
    return m && header_take(op, m->header) && delete_take(w, s, m);
}

bool workload_decode(struct workload_process *p)
{
    struct check_op *op = &p->workload->history.ops[p->op];
    if (op->compacts > 0) {
        const Etcdserverpb__CompactionResponse *m =
            (const void *)unpack(p, &etcdserverpb__compaction_response__descriptor);
        return m && header_take(op, m->header);
    }
    return is_plain(op) ? plain_decode(p, op) : txn_decode(p, op);
}
