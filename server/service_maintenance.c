/* etcdserverpb.Maintenance: Status, MoveLeader, Hash and HashKV. Hashing walks every key, so it is
 * a job. */
#include <stdlib.h>

#include "base/assert.h"
#include "server/services.h"

/* The API and storage that clients are told: what they test before they use a feature. */
static char storage_version[] = "3.7.0";

enum { STATUS_ERRORS_MAX = 2 };

void service_maintenance_status(void *owner, struct grpc_call *call, struct slice message)
{
    struct services *s = owner;
    if (!service_unpack(call, &etcdserverpb__status_request__descriptor, message))
        return;
    struct node_status status = node_status(s->options.node);
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    service_fill_header(s, &header);
    char *errors[STATUS_ERRORS_MAX];
    size_t error_count = 0;
    char no_leader[] = "etcdserver: no leader";
    char corrupt[] = "CORRUPT: state differs from another member's";
    if (status.raft.leader == 0)
        errors[error_count++] = no_leader;
    if (status.is_corrupt)
        errors[error_count++] = corrupt;
    Etcdserverpb__StatusResponse response = ETCDSERVERPB__STATUS_RESPONSE__INIT;
    response.header = &header;
    response.version = (char *)s->options.version;
    response.dbsize = (int64_t)status.db_bytes;
    response.dbsizeinuse = (int64_t)status.db_in_use_bytes;
    response.leader = status.raft.leader;
    response.raftindex = status.commit_index;
    response.raftterm = status.raft.term;
    response.raftappliedindex = status.applied_index;
    response.errors = errors;
    response.n_errors = error_count;
    response.storageversion = storage_version;
    service_reply(call, &response.base);
}

/* ---- leadership ---- */

/* In its call's arena. */
struct move_call {
    struct node_transfer transfer;
    struct services *services;
    struct grpc_call *call;
};

static void move_done(struct node_transfer *transfer, enum etcd_error error)
{
    struct move_call *m = LIST_ENTRY(transfer, struct move_call, transfer);
    if (error != ETCD_OK) {
        service_refuse(m->call, error);
        return;
    }
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    service_fill_header(m->services, &header);
    Etcdserverpb__MoveLeaderResponse response = ETCDSERVERPB__MOVE_LEADER_RESPONSE__INIT;
    response.header = &header;
    service_reply(m->call, &response.base);
}

static void move_on_gone(void *owner, struct grpc_call *call)
{
    struct move_call *m = owner;
    ASSERT(m->call == call);
    node_cancel_transfer(m->services->options.node, &m->transfer);
}

void service_maintenance_move_leader(void *owner, struct grpc_call *call, struct slice message)
{
    struct services *s = owner;
    const Etcdserverpb__MoveLeaderRequest *r =
        (const Etcdserverpb__MoveLeaderRequest *)service_unpack(
            call, &etcdserverpb__move_leader_request__descriptor, message);
    if (!r)
        return;
    struct move_call *m = arena_zalloc(grpc_call_arena(call), sizeof *m);
    if (!m) {
        service_refuse(call, ETCD_E_REQUEST_TOO_LARGE);
        return;
    }
    m->services = s;
    m->call = call;
    m->transfer.to = r->targetid;
    m->transfer.done = move_done;
    grpc_call_on_gone(call, move_on_gone, m);
    node_transfer(s->options.node, &m->transfer);
}

/* ---- hashes ---- */

/* In the heap: its call may be gone before it ends. */
struct hash_job {
    struct io_job job;
    struct services *services;
    struct grpc_call *call; /* NULL: gone */
    bool is_hash_kv;
    struct kv_view *view;
    int64_t compact_revision;
    int64_t revision;
    uint64_t hash;
    enum kv_err err;
};

static void hash_run(struct io_job *io_job)
{
    struct hash_job *job = LIST_ENTRY(io_job, struct hash_job, job);
    job->err = kv_view_hash(job->view, job->compact_revision, job->revision, &job->hash);
}

static void hash_answer(const struct hash_job *job)
{
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    service_fill_header(job->services, &header);
    uint32_t hash = (uint32_t)(job->hash ^ (job->hash >> 32));
    if (job->is_hash_kv) {
        Etcdserverpb__HashKVResponse response = ETCDSERVERPB__HASH_KVRESPONSE__INIT;
        response.header = &header;
        response.hash = hash;
        response.compact_revision = machine_compact_revision_shown(job->compact_revision);
        response.hash_revision = job->revision;
        service_reply(job->call, &response.base);
        return;
    }
    Etcdserverpb__HashResponse response = ETCDSERVERPB__HASH_RESPONSE__INIT;
    response.header = &header;
    response.hash = hash;
    service_reply(job->call, &response.base);
}

static void hash_done(struct io_job *io_job)
{
    struct hash_job *job = LIST_ENTRY(io_job, struct hash_job, job);
    const struct kv *kv = kv_view_kv(job->view);
    kv_view_close(job->view);
    job->services->jobs_running--;
    if (job->call && job->err == KV_OK)
        hash_answer(job);
    else if (job->call)
        service_refuse(job->call, ETCD_E_STOPPED);
    if (job->err != KV_OK)
        node_fail_store(job->services->options.node, kv, job->err);
    free(job);
}

static void on_gone(void *owner, struct grpc_call *call)
{
    struct hash_job *job = owner;
    ASSERT(job->call == call);
    job->call = NULL;
}

static void hash_begin(struct services *s, struct grpc_call *call, bool is_hash_kv,
                       int64_t revision)
{
    struct kv_view *view = NULL;
    struct hash_job *job = NULL;
    if (s->jobs_running < s->options.jobs_max)
        job = calloc(1, sizeof *job);
    if (!job || kv_view_open(node_kv(s->options.node), &view) != KV_OK) {
        free(job);
        s->jobs_refused++;
        service_refuse(call, ETCD_E_TOO_MANY_REQUESTS);
        return;
    }
    *job = (struct hash_job){
        .job = { .run = hash_run, .done = hash_done, .lane = IO_LANE_READ },
        .services = s,
        .call = call,
        .is_hash_kv = is_hash_kv,
        .view = view,
        .compact_revision = node_machine_state(s->options.node)->compact_revision,
        .revision = revision,
    };
    list_init(&job->job.link);
    grpc_call_on_gone(call, on_gone, job);
    s->jobs_running++;
    io_offload(s->options.io, &job->job);
}

void service_maintenance_hash(void *owner, struct grpc_call *call, struct slice message)
{
    struct services *s = owner;
    if (service_unpack(call, &etcdserverpb__hash_request__descriptor, message))
        hash_begin(s, call, false, node_machine_state(s->options.node)->revision);
}

void service_maintenance_hash_kv(void *owner, struct grpc_call *call, struct slice message)
{
    struct services *s = owner;
    const Etcdserverpb__HashKVRequest *r = (const Etcdserverpb__HashKVRequest *)service_unpack(
        call, &etcdserverpb__hash_kvrequest__descriptor, message);
    if (!r)
        return;
    const struct machine_state *state = node_machine_state(s->options.node);
    int64_t revision = r->revision == 0 ? state->revision : r->revision;
    if (revision > state->revision)
        service_refuse(call, ETCD_E_FUTURE_REVISION);
    else if (revision < state->compact_revision)
        service_refuse(call, ETCD_E_COMPACTED);
    else
        hash_begin(s, call, true, revision);
}
