/* services.h: the gRPC services, one file each, over one node.
 *
 * A handler decodes and checks, then either answers, or asks the node and answers when that comes
 * back. What it keeps meanwhile is in the call's arena; a call that goes away takes its request
 * off the node first.
 *
 * Owner:    main. Thread: the loop's; long reads run as jobs on views.
 * Bounds:   jobs_max long reads at a time, read_waits_max that wait for one of these to end,
 *           response_bytes_max an answer; past them RESOURCE_EXHAUSTED.
 */
#ifndef SERVER_SERVICES_H
#define SERVER_SERVICES_H

#include "rpc.pb-c.h"
#include "rpc/grpc.h"
#include "server/etcd_error.h"
#include "server/node.h"

struct services_options {
    struct io *io;
    struct node *node;
    uint32_t request_bytes_max; /* --max-request-bytes */
    uint32_t txn_ops_max;       /* --max-txn-ops */
    uint32_t jobs_max;
    uint32_t read_waits_max;
    uint64_t response_bytes_max;
    const char *version; /* what Status answers */
};

struct services {
    struct services_options options;
    struct arena scratch; /* of one short read */
    uint32_t jobs_running;
    struct list read_waits; /* struct read_call, the first waits longest */
    uint32_t read_wait_count;
    uint64_t drains;        /* as of the last turn */
    uint64_t jobs_refused;  /* read_waits_max, or jobs_max of those that do not wait */
    uint64_t views_refused; /* every view was out */
};

void services_init(struct services *s, const struct services_options *options);
void services_done(struct services *s); /* no job runs */

/* What waited for room, here or with the clients, goes on. */
void services_turn_end(struct services *s, struct grpc_server *grpc);

/* Ordered by path, for grpc_options; their owner is the struct services. */
const struct grpc_method *services_methods(size_t *ret_count);

/* ---- shared by the services ---- */

/* A call that is about to wait in the node. When half of the room there is taken, its connection is
 * read no more for a while: what a client sends too fast waits with the client, where it costs
 * nothing, and only what comes all the same, from many clients or after half a second, is refused.
 */
void service_crowds(struct services *s, struct grpc_call *call);

void service_refuse(struct grpc_call *call, enum etcd_error error);

/* Decodes into the call's arena; NULL: refused already. */
ProtobufCMessage *service_unpack(struct grpc_call *call,
                                 const ProtobufCMessageDescriptor *descriptor,
                                 struct slice message);

/* False: refused already, for a client that wants a leader while there is none. */
bool service_has_leader(struct services *s, struct grpc_call *call);

/* Fills in who answers; revision 0 becomes the newest. */
void service_fill_header(const struct services *s, Etcdserverpb__ResponseHeader *header);

/* Sends the one response and ends the call. */
void service_reply(struct grpc_call *call, const ProtobufCMessage *response);

/* ---- handlers ---- */

void service_kv_put(void *owner, struct grpc_call *call, struct slice message);
void service_kv_delete_range(void *owner, struct grpc_call *call, struct slice message);
void service_kv_txn(void *owner, struct grpc_call *call, struct slice message);
void service_kv_compact(void *owner, struct grpc_call *call, struct slice message);
void service_kv_range(void *owner, struct grpc_call *call, struct slice message);
void service_maintenance_status(void *owner, struct grpc_call *call, struct slice message);
void service_maintenance_hash(void *owner, struct grpc_call *call, struct slice message);
void service_maintenance_hash_kv(void *owner, struct grpc_call *call, struct slice message);
void service_maintenance_move_leader(void *owner, struct grpc_call *call, struct slice message);
void service_cluster_member_list(void *owner, struct grpc_call *call, struct slice message);
void service_health_check(void *owner, struct grpc_call *call, struct slice message);

/* service_read.c: with grpc_server_drains; long reads whose clients have taken their answers go on.
 */
void service_reads_advance(struct services *s, uint64_t drains);

/* service_read.c: a transaction of ranges alone, decoded and checked. */
void service_read_txn(struct services *s, struct grpc_call *call,
                      const Etcdserverpb__TxnRequest *request);

#endif
