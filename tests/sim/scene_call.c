/* One request at a time, through a real gRPC client, to a node of the story's choice. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "rpc.pb-c.h"
#include "tests/sim/scene.h"

enum {
    CALL_TIMEOUT_MS = 5000,
    CONNECT_TIMEOUT_MS = 500,
    RECONNECT_MIN_MS = 5,
    RECONNECT_MAX_MS = 100,
    RESPONSE_BYTES_MAX = 1 << 20,
    RECONNECT_PATIENCE_MS = 10000,
};

static struct sim_client *client_of(struct scene *s, uint32_t node)
{
    if (!s->clients[node]) {
        s->clients[node] = sim_client_open(&(struct sim_client_options){
            .io = sim_host_io(&s->sim->hosts[s->sim->options.node_count]),
            .endpoints = &scene_host(s, node)->client_addr,
            .endpoint_count = 1,
            .connect_timeout_ms = CONNECT_TIMEOUT_MS,
            .pause_min_ms = RECONNECT_MIN_MS,
            .pause_max_ms = RECONNECT_MAX_MS,
            .calls_max = SCENE_CALLS_MAX,
            .response_bytes_max = RESPONSE_BYTES_MAX,
        });
        ASSERT(s->clients[node]);
        s->clients_open++;
    }
    return s->clients[node];
}

/* ---- answers ---- */

static void header_take(struct scene_answer *a, const Etcdserverpb__ResponseHeader *header)
{
    a->revision = header ? header->revision : 0;
}

static void range_take(struct scene_answer *a, const Etcdserverpb__RangeResponse *range)
{
    a->count = (int64_t)range->n_kvs;
    if (range->n_kvs == 0)
        return;
    const Mvccpb__KeyValue *kv = range->kvs[0];
    a->mod_revision = kv->mod_revision;
    a->version = kv->version;
    size_t size = kv->value.len < sizeof a->value - 1 ? kv->value.len : sizeof a->value - 1;
    if (size > 0)
        memcpy(a->value, kv->value.data, size);
}

static bool answer_decode(struct scene_op *op)
{
    struct slice bytes = op->call.response;
    struct scene_answer *a = &op->answer;
    bool is_range = strcmp(op->call.path, "/etcdserverpb.KV/Range") == 0;
    if (!is_range) {
        /* The header is field 1 of them all: the rest is skipped. */
        Etcdserverpb__CompactionResponse *any =
            etcdserverpb__compaction_response__unpack(NULL, bytes.size, bytes.data);
        if (!any)
            return false;
        header_take(a, any->header);
        etcdserverpb__compaction_response__free_unpacked(any, NULL);
        return true;
    }
    Etcdserverpb__RangeResponse *range =
        etcdserverpb__range_response__unpack(NULL, bytes.size, bytes.data);
    if (!range)
        return false;
    header_take(a, range->header);
    range_take(a, range);
    etcdserverpb__range_response__free_unpacked(range, NULL);
    return true;
}

static void on_done(void *owner, struct sim_call *call)
{
    struct scene_op *op = owner;
    struct scene_answer *a = &op->answer;
    struct sim *sim = op->scene->sim;
    op->is_done = true;
    op->ended_us = sim->now_us;
    a->status = call->status;
    a->is_unknown = call->outcome == SIM_UNKNOWN;
    snprintf(a->text, sizeof a->text, "%s", call->text);
    a->is_ok = call->outcome == SIM_ANSWERED && call->status == GRPC_OK;
    if (a->is_ok && !answer_decode(op))
        sim_fail(sim, "an answer to %s does not decode", call->path);
    if (op->done)
        op->done(op);
}

/* ---- requests ---- */

static ProtobufCBinaryData bytes_of(const char *text)
{
    return (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t)text, .len = strlen(text) };
}

static struct scene_op *begin(struct scene *s, uint32_t node, const char *path,
                              const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    struct scene_op *op = calloc(1, sizeof *op + size);
    ASSERT(op);
    protobuf_c_message_pack(message, op->request);
    op->scene = s;
    op->node = node;
    op->began_us = s->sim->now_us;
    op->call = (struct sim_call){ .path = path,
                                  .request = slice_of(op->request, size),
                                  .timeout_ms = CALL_TIMEOUT_MS,
                                  .done = on_done,
                                  .owner = op };
    list_push_back(&s->ops, &op->link);
    if (scene_has_failed(s) || !sim_client_call(client_of(s, node), &op->call)) {
        op->is_done = true;
        op->ended_us = op->began_us;
    }
    return op;
}

struct scene_op *scene_begin_put(struct scene *s, uint32_t node, const char *key, const char *value)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = bytes_of(key);
    put.value = bytes_of(value);
    return begin(s, node, "/etcdserverpb.KV/Put", &put.base);
}

static struct scene_op *begin_range(struct scene *s, uint32_t node, const char *key,
                                    int64_t revision, bool serializable)
{
    Etcdserverpb__RangeRequest get = ETCDSERVERPB__RANGE_REQUEST__INIT;
    get.key = bytes_of(key);
    get.revision = revision;
    get.serializable = serializable;
    return begin(s, node, "/etcdserverpb.KV/Range", &get.base);
}

struct scene_op *scene_begin_get(struct scene *s, uint32_t node, const char *key)
{
    return begin_range(s, node, key, 0, false);
}

struct scene_op *scene_begin_txn(struct scene *s, uint32_t node, const char *get_key,
                                 int64_t get_revision, const char *put_key, const char *value)
{
    Etcdserverpb__RangeRequest get = ETCDSERVERPB__RANGE_REQUEST__INIT;
    get.key = bytes_of(get_key);
    get.revision = get_revision;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = bytes_of(put_key);
    put.value = bytes_of(value);
    Etcdserverpb__RequestOp ops[2] = { ETCDSERVERPB__REQUEST_OP__INIT,
                                       ETCDSERVERPB__REQUEST_OP__INIT };
    ops[0].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    ops[0].request_range = &get;
    ops[1].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    ops[1].request_put = &put;
    Etcdserverpb__RequestOp *list[2] = { &ops[0], &ops[1] };
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.n_success = 2;
    txn.success = list;
    return begin(s, node, "/etcdserverpb.KV/Txn", &txn.base);
}

struct scene_op *scene_begin_compact(struct scene *s, uint32_t node, int64_t revision,
                                     bool physical)
{
    Etcdserverpb__CompactionRequest compact = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    compact.revision = revision;
    compact.physical = physical;
    return begin(s, node, "/etcdserverpb.KV/Compact", &compact.base);
}

void scene_reconnect(struct scene *s)
{
    for (uint32_t i = 0; i < s->sim->options.node_count; i++) {
        if (!s->clients[i] || scene_has_failed(s))
            continue;
        sim_client_move(s->clients[i]);
        for (uint64_t ms = 0; !sim_client_is_up(s->clients[i]) && !scene_has_failed(s); ms++) {
            scene_expect(s, ms < RECONNECT_PATIENCE_MS, "%s takes no connection",
                         scene_host(s, i)->name);
            scene_run(s, 1);
        }
    }
}

/* ---- to the end ---- */

const struct scene_answer *scene_end(struct scene *s, struct scene_op *op)
{
    while (!op->is_done && !scene_has_failed(s))
        scene_run_us(s, 200);
    return &op->answer;
}

static struct scene_answer end_well(struct scene *s, struct scene_op *op)
{
    const struct scene_answer *a = scene_end(s, op);
    scene_expect(s, a->is_ok, "%s at %s: status %d, %s", op->call.path,
                 scene_host(s, op->node)->name, (int)a->status, a->text);
    return *a;
}

int64_t scene_put(struct scene *s, uint32_t node, const char *key, const char *value)
{
    return end_well(s, scene_begin_put(s, node, key, value)).revision;
}

int64_t scene_delete(struct scene *s, uint32_t node, const char *key)
{
    Etcdserverpb__DeleteRangeRequest del = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    del.key = bytes_of(key);
    return end_well(s, begin(s, node, "/etcdserverpb.KV/DeleteRange", &del.base)).revision;
}

struct scene_answer scene_get(struct scene *s, uint32_t node, const char *key)
{
    return end_well(s, begin_range(s, node, key, 0, false));
}

struct scene_answer scene_get_at(struct scene *s, uint32_t node, const char *key, int64_t revision)
{
    return end_well(s, begin_range(s, node, key, revision, false));
}

struct scene_answer scene_get_serializable(struct scene *s, uint32_t node, const char *key)
{
    return end_well(s, begin_range(s, node, key, 0, true));
}

void scene_compact(struct scene *s, uint32_t node, int64_t revision)
{
    end_well(s, scene_begin_compact(s, node, revision, true));
}
