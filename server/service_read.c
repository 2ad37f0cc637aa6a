/* Reading: Range and read-only Txn. Small ones are answered on the loop; what takes longer runs
 * as a job over the same kind of view, with the request and the answer in the job's own memory,
 * because its call may be gone before it ends (I10).
 */
#include <stdlib.h>

#include "base/assert.h"
#include "proto/pb_arena.h"
#include "proto/range_response.h"
#include "server/check.h"
#include "server/machine.h"
#include "server/range.h"
#include "server/services.h"

enum {
    LOOP_STEPS_MAX = 256, /* keys visited on the loop, about a quarter of a millisecond */
    LOOP_RESPONSE_BYTES_MAX = 512 << 10,
};

enum read_kind { READ_RANGE, READ_TXN };

/* One read in its call's arena. */
struct read_call {
    struct read read;
    struct services *services;
    struct grpc_call *call;
    enum read_kind kind;
    const ProtobufCMessage *request;
    struct read_job *job;  /* NULL: none runs */
    struct list wait_link; /* services->read_waits, until a job may begin */
};

struct read_job {
    struct io_job job;
    struct services *services;
    struct read_call *read_call; /* NULL: gone meanwhile */
    enum read_kind kind;
    struct kv_view *view;
    struct arena arena;
    struct slice request; /* packed */
    int64_t revision;
    int64_t compact_revision;
    int64_t count_ahead;                 /* -1: none */
    Etcdserverpb__ResponseHeader header; /* who answers */
    /* The outcome. */
    enum range_outcome outcome;
    enum etcd_error error;
    enum kv_err kv_err;
    uint8_t *response; /* packed, with GRPC_BLOCK_BYTES_BEFORE; of malloc */
    size_t response_bytes;
};

/* Whatever the kind: one execution over a view. */
static enum range_outcome execute(enum read_kind kind, struct range_context *context,
                                  const ProtobufCMessage *request, ProtobufCMessage **ret_response,
                                  Etcdserverpb__ResponseHeader **ret_header,
                                  enum etcd_error *ret_error, enum kv_err *ret_kv_err)
{
    enum range_outcome outcome;
    if (kind == READ_RANGE) {
        Etcdserverpb__RangeResponse *response = NULL;
        outcome = range_execute(context, (const Etcdserverpb__RangeRequest *)request, &response,
                                ret_error, ret_kv_err);
        if (outcome == RANGE_DONE) {
            *ret_response = &response->base;
            *ret_header = response->header;
        }
        return outcome;
    }
    Etcdserverpb__TxnResponse *response = NULL;
    outcome = machine_read_txn(context, (const Etcdserverpb__TxnRequest *)request, &response,
                               ret_error, ret_kv_err);
    if (outcome == RANGE_DONE) {
        *ret_response = &response->base;
        *ret_header = response->header;
    }
    return outcome;
}

/* Ranges may be long, and have an encoder of their own. */
static size_t response_size(enum read_kind kind, const ProtobufCMessage *response)
{
    return kind == READ_RANGE ? range_response_size((const Etcdserverpb__RangeResponse *)response)
                              : protobuf_c_message_get_packed_size(response);
}

static size_t response_pack(enum read_kind kind, const ProtobufCMessage *response, uint8_t *to)
{
    return kind == READ_RANGE
               ? range_response_pack((const Etcdserverpb__RangeResponse *)response, to)
               : protobuf_c_message_pack(response, to);
}

static void header_identify(Etcdserverpb__ResponseHeader *header,
                            const Etcdserverpb__ResponseHeader *who)
{
    header->cluster_id = who->cluster_id;
    header->member_id = who->member_id;
    header->raft_term = who->raft_term;
}

/* ---- as a job ---- */

static const ProtobufCMessageDescriptor *descriptor_of(enum read_kind kind)
{
    return kind == READ_RANGE ? &etcdserverpb__range_request__descriptor
                              : &etcdserverpb__txn_request__descriptor;
}

static bool job_pack(struct read_job *job, const ProtobufCMessage *response)
{
    size_t size = response_size(job->kind, response);
    if (size > job->services->options.response_bytes_max)
        return false;
    job->response = malloc(GRPC_BLOCK_BYTES_BEFORE + size);
    if (!job->response)
        return false;
    job->response_bytes =
        response_pack(job->kind, response, job->response + GRPC_BLOCK_BYTES_BEFORE);
    return true;
}

static enum range_outcome job_execute(struct read_job *job)
{
    const ProtobufCMessage *request =
        pb_arena_unpack(&job->arena, descriptor_of(job->kind), job->request);
    if (!request)
        return RANGE_TOO_LARGE;
    struct range_context context = {
        .view = job->view,
        .arena = &job->arena,
        .revision = job->revision,
        .compact_revision = job->compact_revision,
        .steps_max = UINT64_MAX,
        .count_ahead = job->count_ahead >= 0 ? &job->count_ahead : NULL,
    };
    ProtobufCMessage *response;
    Etcdserverpb__ResponseHeader *header;
    enum range_outcome outcome =
        execute(job->kind, &context, request, &response, &header, &job->error, &job->kv_err);
    if (outcome != RANGE_DONE)
        return outcome;
    header_identify(header, &job->header);
    return job_pack(job, response) ? RANGE_DONE : RANGE_TOO_LARGE;
}

static void job_run(struct io_job *io_job)
{
    struct read_job *job = LIST_ENTRY(io_job, struct read_job, job);
    job->outcome = job_execute(job);
    arena_done(&job->arena); /* here, because giving back many pages takes its time (I10) */
}

static void job_answer(struct read_job *job, struct grpc_call *call)
{
    switch (job->outcome) {
    case RANGE_DONE: {
        uint8_t *response = job->response;
        job->response = NULL;
        if (!grpc_call_send_block(call, response, job->response_bytes))
            break;
        grpc_call_finish(call, GRPC_OK, NULL);
        return;
    }
    case RANGE_REFUSED:
        service_refuse(call, job->error);
        return;
    case RANGE_FAILED:
        service_refuse(call, ETCD_E_STOPPED);
        return;
    case RANGE_TOO_LONG:
    case RANGE_TOO_LARGE:
        break;
    }
    service_refuse(call, ETCD_E_RESPONSE_TOO_LARGE);
}

static void job_free(struct read_job *job)
{
    arena_done(&job->arena);
    free(job->response);
    free(job);
}

static void waits_advance(struct services *s);

static void job_done(struct io_job *io_job)
{
    struct read_job *job = LIST_ENTRY(io_job, struct read_job, job);
    struct services *s = job->services;
    const struct kv *kv = kv_view_kv(job->view);
    kv_view_close(job->view);
    s->jobs_running--;
    if (job->outcome == RANGE_FAILED)
        node_fail_store(s->options.node, kv, job->kv_err);
    if (job->read_call) {
        job->read_call->job = NULL;
        job_answer(job, job->read_call->call);
    }
    job_free(job);
    waits_advance(s);
}

static struct read_job *job_new(struct read_call *r)
{
    struct services *s = r->services;
    struct read_job *job = calloc(1, sizeof *job);
    if (!job)
        return NULL;
    arena_init(&job->arena, s->options.response_bytes_max);
    if (!pb_arena_pack(&job->arena, r->request, &job->request)) {
        job_free(job);
        return NULL;
    }
    const struct machine_state *state = node_machine_state(s->options.node);
    job->services = s;
    job->read_call = r;
    job->kind = r->kind;
    job->revision = state->revision;
    job->compact_revision = state->compact_revision;
    etcdserverpb__response_header__init(&job->header);
    service_fill_header(s, &job->header);
    job->job = (struct io_job){ .run = job_run, .done = job_done, .lane = IO_LANE_READ };
    list_init(&job->job.link);
    return job;
}

static int64_t count_ahead(const struct read_job *job, const struct read_call *r)
{
    struct range_context context = {
        .view = job->view,
        .on_loop = true,
        .revision = job->revision,
        .compact_revision = job->compact_revision,
        .steps_max = LOOP_STEPS_MAX,
    };
    if (r->kind != READ_RANGE)
        return -1;
    return range_count_ahead(&context, (const Etcdserverpb__RangeRequest *)r->request);
}

static void refuse_busy(struct read_call *r)
{
    r->services->jobs_refused++;
    service_refuse(r->call, ETCD_E_TOO_MANY_REQUESTS);
}

/* Takes the view over. */
static void job_begin(struct read_call *r, struct kv_view *view)
{
    struct services *s = r->services;
    struct read_job *job = job_new(r);
    if (!job) {
        kv_view_close(view);
        refuse_busy(r);
        return;
    }
    job->view = view;
    job->count_ahead = count_ahead(job, r);
    r->job = job;
    s->jobs_running++;
    io_offload(s->options.io, &job->job);
}

/* What a client has not taken yet fills memory: until then it gets no more. */
static bool may_begin(const struct read_call *r)
{
    const struct services *s = r->services;
    return s->jobs_running < s->options.jobs_max && !grpc_call_is_congested(r->call);
}

/* A long read that may not begin waits without a view, and so pins nothing; what it sees is the
 * state when it begins, which is no older than was asked for. */
static void job_begin_or_wait(struct read_call *r, struct kv_view *view)
{
    struct services *s = r->services;
    if (may_begin(r)) {
        job_begin(r, view);
        return;
    }
    kv_view_close(view);
    if (s->read_wait_count == s->options.read_waits_max) {
        refuse_busy(r);
        return;
    }
    list_push_back(&s->read_waits, &r->wait_link);
    s->read_wait_count++;
}

static void wait_end(struct services *s, struct read_call *r)
{
    list_remove(&r->wait_link);
    s->read_wait_count--;
}

static void wait_begin_job(struct services *s, struct read_call *r)
{
    struct kv_view *view;
    wait_end(s, r);
    if (kv_view_open(node_kv(s->options.node), &view) == KV_OK)
        job_begin(r, view);
    else
        refuse_busy(r);
}

/* In the order in which they came, past those whose clients are slow. */
static void waits_advance(struct services *s)
{
    for (struct list *at = s->read_waits.next; at != &s->read_waits;) {
        struct read_call *r = LIST_ENTRY(at, struct read_call, wait_link);
        at = at->next;
        if (s->jobs_running >= s->options.jobs_max)
            return;
        if (may_begin(r))
            wait_begin_job(s, r);
    }
}

void service_reads_advance(struct services *s, uint64_t drains)
{
    if (drains != s->drains)
        waits_advance(s);
    s->drains = drains;
}

/* ---- on the loop ---- */

static void reply(struct read_call *r, const ProtobufCMessage *response, size_t size)
{
    uint8_t *to = grpc_call_send(r->call, size);
    if (!to) {
        service_refuse(r->call, ETCD_E_RESPONSE_TOO_LARGE);
        return;
    }
    response_pack(r->kind, response, to);
    grpc_call_finish(r->call, GRPC_OK, NULL);
}

static void read_now(struct read_call *r)
{
    struct services *s = r->services;
    struct kv_view *view;
    if (kv_view_open(node_kv(s->options.node), &view) != KV_OK) {
        s->views_refused++;
        service_refuse(r->call, ETCD_E_TOO_MANY_REQUESTS);
        return;
    }
    const struct machine_state *state = node_machine_state(s->options.node);
    arena_reset(&s->scratch);
    struct range_context context = {
        .view = view,
        .arena = &s->scratch,
        .revision = state->revision,
        .compact_revision = state->compact_revision,
        .steps_max = LOOP_STEPS_MAX,
        .on_loop = true,
    };
    ProtobufCMessage *response;
    Etcdserverpb__ResponseHeader *header;
    enum etcd_error error = ETCD_OK;
    enum kv_err kv_err = KV_OK;
    enum range_outcome outcome =
        execute(r->kind, &context, r->request, &response, &header, &error, &kv_err);
    size_t size = 0;
    if (outcome == RANGE_DONE) {
        service_fill_header(s, header);
        size = response_size(r->kind, response);
    }
    if (outcome == RANGE_TOO_LONG || outcome == RANGE_TOO_LARGE || size > LOOP_RESPONSE_BYTES_MAX) {
        job_begin_or_wait(r, view);
        return;
    }
    if (outcome == RANGE_DONE)
        reply(r, response, size);
    kv_view_close(view);
    if (outcome == RANGE_REFUSED)
        service_refuse(r->call, error);
    if (outcome == RANGE_FAILED) {
        service_refuse(r->call, ETCD_E_STOPPED);
        node_fail_store(s->options.node, node_kv(s->options.node), kv_err);
    }
}

static void on_confirmed(struct read *read, enum etcd_error error)
{
    struct read_call *r = LIST_ENTRY(read, struct read_call, read);
    if (error != ETCD_OK)
        service_refuse(r->call, error);
    else
        read_now(r);
}

static void on_gone(void *owner, struct grpc_call *call)
{
    struct read_call *r = owner;
    ASSERT(r->call == call);
    node_cancel_read(r->services->options.node, &r->read);
    if (r->job)
        r->job->read_call = NULL;
    if (!list_is_empty(&r->wait_link))
        wait_end(r->services, r);
}

static void read_begin(struct services *s, struct grpc_call *call, enum read_kind kind,
                       const ProtobufCMessage *request, bool is_serializable)
{
    struct read_call *r = arena_zalloc(grpc_call_arena(call), sizeof *r);
    if (!r) {
        service_refuse(call, ETCD_E_REQUEST_TOO_LARGE);
        return;
    }
    r->services = s;
    r->call = call;
    r->kind = kind;
    r->request = request;
    r->read.done = on_confirmed;
    list_init(&r->wait_link);
    grpc_call_on_gone(call, on_gone, r);
    if (is_serializable) {
        read_now(r);
        return;
    }
    service_crowds(s, call);
    node_read(s->options.node, &r->read);
}

void service_kv_range(void *owner, struct grpc_call *call, struct slice message)
{
    const Etcdserverpb__RangeRequest *r = (const Etcdserverpb__RangeRequest *)service_unpack(
        call, &etcdserverpb__range_request__descriptor, message);
    if (!r)
        return;
    enum etcd_error error = check_range(r);
    if (error != ETCD_OK)
        service_refuse(call, error);
    else if (service_has_leader(owner, call))
        read_begin(owner, call, READ_RANGE, &r->base, r->serializable);
}

void service_read_txn(struct services *s, struct grpc_call *call,
                      const Etcdserverpb__TxnRequest *request)
{
    read_begin(s, call, READ_TXN, &request->base, txn_is_serializable(request));
}
