#include "server/services.h"

#include "base/assert.h"
#include "proto/pb_arena.h"

/* A short read that outgrows this becomes a job: with copies of long values, for the rest is views.
 */
#define SCRATCH_BYTES_MAX ((size_t)512 << 10)

static const struct grpc_method methods[] = {
    { .path = "/etcdserverpb.Cluster/MemberList", .on_message = service_cluster_member_list },
    { .path = "/etcdserverpb.KV/Compact", .on_message = service_kv_compact },
    { .path = "/etcdserverpb.KV/DeleteRange", .on_message = service_kv_delete_range },
    { .path = "/etcdserverpb.KV/Put", .on_message = service_kv_put },
    { .path = "/etcdserverpb.KV/Range", .on_message = service_kv_range },
    { .path = "/etcdserverpb.KV/Txn", .on_message = service_kv_txn },
    { .path = "/etcdserverpb.Maintenance/Hash", .on_message = service_maintenance_hash },
    { .path = "/etcdserverpb.Maintenance/HashKV", .on_message = service_maintenance_hash_kv },
    { .path = "/etcdserverpb.Maintenance/MoveLeader",
      .on_message = service_maintenance_move_leader },
    { .path = "/etcdserverpb.Maintenance/Status", .on_message = service_maintenance_status },
    { .path = "/grpc.health.v1.Health/Check", .on_message = service_health_check },
};

const struct grpc_method *services_methods(size_t *ret_count)
{
    *ret_count = sizeof methods / sizeof methods[0];
    return methods;
}

void services_init(struct services *s, const struct services_options *options)
{
    *s = (struct services){ .options = *options };
    arena_init(&s->scratch, SCRATCH_BYTES_MAX);
    list_init(&s->read_waits);
}

void services_done(struct services *s)
{
    ASSERT(s->jobs_running == 0);
    ASSERT(s->read_wait_count == 0);
    arena_done(&s->scratch);
}

/* How many more may wait before half of the room is taken; 0: it is. */
static uint32_t room_left(const struct services *s)
{
    struct node_waiting waiting = node_waiting(s->options.node);
    uint32_t most = waiting.writes > waiting.reads ? waiting.writes : waiting.reads;
    return most < waiting.max / 2 ? waiting.max / 2 - most : 0;
}

/* Who is not read goes on a few at a time: all at once they would fill what is left of the room. */
static void take_more(struct services *s, struct grpc_server *grpc)
{
    enum { REQUESTS_EACH = 32 }; /* what a buffer of received bytes may hold of small ones */
    uint32_t room = room_left(s);
    if (room > 0)
        grpc_server_take_more(grpc, 1 + room / REQUESTS_EACH);
}

void services_turn_end(struct services *s, struct grpc_server *grpc)
{
    take_more(s, grpc);
    service_reads_advance(s, grpc_server_drains(grpc));
}

void service_crowds(struct services *s, struct grpc_call *call)
{
    if (room_left(s) == 0)
        grpc_call_hold(call);
}

void service_refuse(struct grpc_call *call, enum etcd_error error)
{
    if (error == ETCD_E_TOO_MANY_REQUESTS)
        grpc_call_finish_busy(call, etcd_error_text(error));
    else
        grpc_call_finish(call, etcd_error_status(error), etcd_error_text(error));
}

ProtobufCMessage *service_unpack(struct grpc_call *call,
                                 const ProtobufCMessageDescriptor *descriptor, struct slice message)
{
    ProtobufCMessage *request = pb_arena_unpack(grpc_call_arena(call), descriptor, message);
    if (!request)
        service_refuse(call, ETCD_E_BAD_MESSAGE);
    return request;
}

bool service_has_leader(struct services *s, struct grpc_call *call)
{
    if (!grpc_call_metadata(call)->has_leader || node_status(s->options.node).raft.leader != 0)
        return true;
    service_refuse(call, ETCD_E_NO_LEADER);
    return false;
}

void service_fill_header(const struct services *s, Etcdserverpb__ResponseHeader *header)
{
    struct node_status status = node_status(s->options.node);
    header->cluster_id = status.cluster_id;
    header->member_id = status.member_id;
    header->raft_term = status.raft.term;
    if (header->revision == 0)
        header->revision = node_machine_state(s->options.node)->revision;
}

void service_reply(struct grpc_call *call, const ProtobufCMessage *response)
{
    uint8_t *to = grpc_call_send(call, protobuf_c_message_get_packed_size(response));
    if (!to) {
        service_refuse(call, ETCD_E_RESPONSE_TOO_LARGE);
        return;
    }
    protobuf_c_message_pack(response, to);
    grpc_call_finish(call, GRPC_OK, NULL);
}
