/* The writing half of etcdserverpb.KV: checked, wrapped as a command, proposed, answered from the
 * result of applying it (I1).
 */
#include "base/assert.h"
#include "command.pb-c.h"
#include "server/check.h"
#include "server/services.h"

/* One write in flight, in its call's arena. */
struct write_call {
    struct request request;
    struct services *services;
    struct grpc_call *call;
    void (*answer)(struct write_call *w);
    bool waits_for_disk; /* a physical compaction, applied */
    struct node_wait wait;
};

/* holdfastpb.Command is one field that holds the client's message as it came: a tag, a length,
 * the bytes. So a command costs one copy and no encoding. */
static bool wrap_command(struct arena *arena, uint32_t field, struct slice message,
                         struct slice *ret_command)
{
    enum { LENGTH_DELIMITED = 2, HEAD_BYTES_MAX = 1 + 5 };
    ASSERT(field < 16);
    uint8_t *bytes = arena_alloc(arena, HEAD_BYTES_MAX + message.size);
    if (!bytes)
        return false;
    size_t at = 0;
    bytes[at++] = (uint8_t)(field << 3 | LENGTH_DELIMITED);
    size_t left = message.size;
    for (; left >= 0x80; left >>= 7)
        bytes[at++] = (uint8_t)(left | 0x80);
    bytes[at++] = (uint8_t)left;
    if (message.size > 0)
        memcpy(bytes + at, message.data, message.size);
    *ret_command = slice_of(bytes, at + message.size);
    return true;
}

static void on_gone(void *owner, struct grpc_call *call)
{
    struct write_call *w = owner;
    ASSERT(w->call == call);
    node_cancel(w->services->options.node, &w->request);
    list_remove(&w->wait.link);
}

static void on_done(struct request *request)
{
    struct write_call *w = LIST_ENTRY(request, struct write_call, request);
    if (request->reply.error != ETCD_OK)
        service_refuse(w->call, request->reply.error);
    else
        w->answer(w);
}

static void propose(struct services *s, struct grpc_call *call, uint32_t field,
                    struct slice message, void (*answer)(struct write_call *w))
{
    struct arena *arena = grpc_call_arena(call);
    struct write_call *w = arena_zalloc(arena, sizeof *w);
    if (message.size > s->options.request_bytes_max || !w ||
        !wrap_command(arena, field, message, &w->request.command)) {
        service_refuse(call, ETCD_E_REQUEST_TOO_LARGE);
        return;
    }
    w->services = s;
    w->call = call;
    w->answer = answer;
    w->request.reply.arena = arena;
    w->request.done = on_done;
    list_init(&w->wait.link);
    grpc_call_on_gone(call, on_gone, w);
    service_crowds(s, call);
    node_submit(s->options.node, &w->request);
}

/* ---- Put ---- */

static void put_answer(struct write_call *w)
{
    service_fill_header(w->services, w->request.reply.put->header);
    service_reply(w->call, &w->request.reply.put->base);
}

void service_kv_put(void *owner, struct grpc_call *call, struct slice message)
{
    const Etcdserverpb__PutRequest *r = (const Etcdserverpb__PutRequest *)service_unpack(
        call, &etcdserverpb__put_request__descriptor, message);
    if (!r)
        return;
    enum etcd_error error = check_put(r);
    if (error != ETCD_OK)
        service_refuse(call, error);
    else if (service_has_leader(owner, call))
        propose(owner, call, 1, message, put_answer);
}

/* ---- DeleteRange ---- */

static void delete_range_answer(struct write_call *w)
{
    service_fill_header(w->services, w->request.reply.delete_range->header);
    service_reply(w->call, &w->request.reply.delete_range->base);
}

void service_kv_delete_range(void *owner, struct grpc_call *call, struct slice message)
{
    const Etcdserverpb__DeleteRangeRequest *r =
        (const Etcdserverpb__DeleteRangeRequest *)service_unpack(
            call, &etcdserverpb__delete_range_request__descriptor, message);
    if (!r)
        return;
    enum etcd_error error = check_delete_range(r);
    if (error != ETCD_OK)
        service_refuse(call, error);
    else if (service_has_leader(owner, call))
        propose(owner, call, 2, message, delete_range_answer);
}

/* ---- Txn ---- */

static void txn_answer(struct write_call *w)
{
    service_fill_header(w->services, w->request.reply.txn->header);
    service_reply(w->call, &w->request.reply.txn->base);
}

void service_kv_txn(void *owner, struct grpc_call *call, struct slice message)
{
    struct services *s = owner;
    const Etcdserverpb__TxnRequest *r = (const Etcdserverpb__TxnRequest *)service_unpack(
        call, &etcdserverpb__txn_request__descriptor, message);
    if (!r)
        return;
    enum etcd_error error = check_txn(r, s->options.txn_ops_max, grpc_call_arena(call));
    if (error != ETCD_OK)
        service_refuse(call, error);
    else if (!service_has_leader(s, call))
        return;
    else if (txn_is_read_only(r))
        service_read_txn(s, call, r);
    else
        propose(s, call, 3, message, txn_answer);
}

/* ---- Compact ---- */

static void compact_reply(struct write_call *w)
{
    service_fill_header(w->services, w->request.reply.compaction->header);
    service_reply(w->call, &w->request.reply.compaction->base);
}

static void on_compacted(struct node_wait *wait)
{
    compact_reply(LIST_ENTRY(wait, struct write_call, wait));
}

static void compact_answer(struct write_call *w)
{
    if (w->waits_for_disk)
        node_wait_compacted(w->services->options.node, &w->wait);
    else
        compact_reply(w);
}

static void compact_physical_answer(struct write_call *w)
{
    w->waits_for_disk = true;
    w->wait.done = on_compacted;
    w->wait.revision = node_machine_state(w->services->options.node)->compact_revision;
    compact_answer(w);
}

void service_kv_compact(void *owner, struct grpc_call *call, struct slice message)
{
    const Etcdserverpb__CompactionRequest *r =
        (const Etcdserverpb__CompactionRequest *)service_unpack(
            call, &etcdserverpb__compaction_request__descriptor, message);
    if (r && service_has_leader(owner, call))
        propose(owner, call, 4, message, r->physical ? compact_physical_answer : compact_answer);
}
