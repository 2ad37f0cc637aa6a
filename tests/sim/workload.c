#include "tests/sim/workload.h"

#include <stdlib.h>

#include "base/assert.h"
#include "tests/sim/history.h"
#include "tests/sim/workload_internal.h"

enum {
    CONNECT_TIMEOUT_MS = 500,
    PAUSE_MIN_MS = 10,
    PAUSE_MAX_MS = 400,
    RETRY_MIN_MS = 2, /* and up to twice as much with each retry */
    RESPONSE_BYTES_MAX = 8 << 20,
    STAY_OPS_MIN = 50, /* with one endpoint */
    STAY_OPS = 500,
    VALUE_BYTES_MAX = 64 * 1024,
};

static void process_next(struct workload_process *p);

struct workload_options workload_options_usual(void)
{
    return (struct workload_options){
        .process_count = 10,
        .group_count = 3,
        .think_min_ms = 0,
        .think_max_ms = 20,
        .call_timeout_ms = 3000,
        .retries_max = 5,
        .accounts = 3,
        .counters = 1,
        .lists = 2,
        .registers = 5,
        .list_max = 20,
        .weights = { [WORKLOAD_GET] = 20,
                     [WORKLOAD_GET_SERIALIZABLE] = 8,
                     [WORKLOAD_PUT] = 25,
                     [WORKLOAD_CAS_VALUE] = 6,
                     [WORKLOAD_CAS_MOD] = 6,
                     [WORKLOAD_COMPARE] = 5,
                     [WORKLOAD_DELETE] = 5,
                     [WORKLOAD_DELETE_RANGE] = 2,
                     [WORKLOAD_MULTI] = 6,
                     [WORKLOAD_RANGE] = 4,
                     [WORKLOAD_RANGE_LIMIT] = 2,
                     [WORKLOAD_RANGE_SERIALIZABLE] = 2,
                     [WORKLOAD_PAST] = 2,
                     [WORKLOAD_APPEND] = 5,
                     [WORKLOAD_TRANSFER] = 4,
                     [WORKLOAD_INCREMENT] = 3,
                     [WORKLOAD_COMPACT] = 1 },
        .ops_max = 1 << 20,
    };
}

/* ---- the end of an operation ---- */

static void endpoint_leave(struct workload_process *p)
{
    uint32_t count = (uint32_t)p->workload->options.endpoint_count;
    if (count > 1)
        p->endpoint = (p->endpoint + 1 + (uint32_t)prng_below(&p->chance, count - 1)) % count;
    p->ops_until_move = STAY_OPS_MIN + (uint32_t)prng_below(&p->chance, STAY_OPS);
}

static void process_pause(struct workload_process *p, uint64_t pause_ms)
{
    struct io *io = p->workload->options.io;
    ASSERT(io_timer_set(io, &p->timer, io_now_ms(io) + pause_ms));
}

/* After an error at least a moment, so that endpoints which all refuse are not asked in a loop. */
static void process_think(struct workload_process *p, bool is_well)
{
    const struct workload_options *o = &p->workload->options;
    if (!p->workload->running)
        return;
    uint64_t think_ms =
        o->think_min_ms + prng_below(&p->chance, o->think_max_ms - o->think_min_ms + 1);
    if (--p->ops_until_move == 0)
        endpoint_leave(p);
    if (think_ms > 0 || !is_well)
        process_pause(p, think_ms + (is_well ? 0 : 1));
    else
        process_next(p);
}

static void op_end(struct workload_process *p, enum check_end end)
{
    struct workload *w = p->workload;
    struct io *io = w->options.io;
    check_history_end(&w->history, p->op, end, io->ops->now_us(io) * 1000);
    p->in_flight = false;
    w->in_flight_count--;
    if (end == CHECK_OK) {
        w->counters.ok++;
        w->counters.last_ok_ms = io_now_ms(io);
        workload_learn(p);
    } else {
        p->follow = (struct workload_follow){ 0 };
        w->counters.failed += end == CHECK_FAIL;
        w->counters.unknown += end == CHECK_INFO;
    }
    if (end == CHECK_INFO)
        p->number += w->options.process_count;
    process_think(p, end == CHECK_OK);
}

/* ---- what an answer means ---- */

static bool writes(const struct workload *w, const struct check_op *op)
{
    return op->compacts > 0 || check_history_branch_writes(&w->history, op, false) ||
           check_history_branch_writes(&w->history, op, true);
}

/* Refused before anything was proposed: the same may be sent again. */
static bool is_refusal(const struct sim_call *call)
{
    return call->outcome == SIM_NOT_SENT ||
           (call->outcome == SIM_ANSWERED &&
            (strcmp(call->text, "etcdserver: no leader") == 0 ||
             strcmp(call->text, "etcdserver: too many requests") == 0));
}

/* The request itself is at fault, so nothing was done. */
static bool is_rejection(const struct sim_call *call)
{
    return call->outcome == SIM_ANSWERED &&
           (call->status == GRPC_INVALID_ARGUMENT || call->status == GRPC_OUT_OF_RANGE ||
            call->status == GRPC_NOT_FOUND || call->status == GRPC_FAILED_PRECONDITION);
}

static void op_failed(struct workload_process *p, struct sim_call *call)
{
    struct workload *w = p->workload;
    bool may_have_written = writes(w, &w->history.ops[p->op]) && !is_refusal(call);
    if (is_rejection(call)) {
        op_end(p, CHECK_FAIL);
        return;
    }
    endpoint_leave(p);
    if (may_have_written) {
        op_end(p, CHECK_INFO);
    } else if (p->retries >= w->options.retries_max || !w->running) {
        op_end(p, CHECK_FAIL);
    } else {
        p->retries++;
        w->counters.retries++;
        p->is_retry = true;
        process_pause(p, RETRY_MIN_MS +
                             prng_below(&p->chance, (uint64_t)RETRY_MIN_MS << p->retries % 8));
    }
}

static struct sim_client *client_of(const struct workload_process *p)
{
    const struct workload *w = p->workload;
    size_t group = p->slot % w->options.group_count;
    return w->clients[group * w->options.endpoint_count + p->endpoint];
}

static void on_call_done(void *owner, struct sim_call *call)
{
    struct workload_process *p = owner;
    struct workload *w = p->workload;
    if (call->outcome != SIM_ANSWERED || call->status != GRPC_OK) {
        op_failed(p, call);
        return;
    }
    struct check_op *op = &w->history.ops[p->op];
    size_t client = p->slot % w->options.group_count * w->options.endpoint_count + p->endpoint;
    op->endpoint = p->endpoint;
    op->session = (uint64_t)(client + 1) << 32 | sim_client_session(w->clients[client]);
    if (workload_decode(p)) {
        op_end(p, CHECK_OK);
        return;
    }
    w->counters.malformed++;
    op_end(p, writes(w, op) ? CHECK_INFO : CHECK_FAIL);
}

/* ---- its beginning ---- */

static void op_send(struct workload_process *p)
{
    p->is_retry = false;
    p->call.timeout_ms = p->workload->options.call_timeout_ms;
    p->call.done = on_call_done;
    p->call.owner = p;
    if (sim_client_call(client_of(p), &p->call))
        return;
    p->call.outcome = SIM_NOT_SENT;
    op_failed(p, &p->call);
}

static void process_next(struct workload_process *p)
{
    struct workload *w = p->workload;
    if (!w->running || w->full)
        return;
    if (w->history.op_count >= w->options.ops_max) {
        w->full = true;
        return;
    }
    /* Without memory it stands in the history as never sent. */
    w->full = !workload_make(p) || !workload_encode(p);
    if (w->full)
        return;
    p->retries = 0;
    p->in_flight = true;
    w->in_flight_count++;
    w->counters.began++;
    op_send(p);
}

static void on_process_timer(void *owner)
{
    struct workload_process *p = owner;
    if (p->is_retry)
        op_send(p);
    else
        process_next(p);
}

/* ---- all of them ---- */

static bool options_are_sound(const struct workload_options *o)
{
    uint64_t keys = (uint64_t)o->accounts + o->counters + o->lists + o->registers;
    uint64_t weights = 0;
    for (int i = 0; i < WORKLOAD_KINDS; i++)
        weights += o->weights[i];
    bool needs_registers = false;
    for (int i = WORKLOAD_GET; i <= WORKLOAD_MULTI; i++)
        needs_registers = needs_registers || o->weights[i] > 0;
    return o->endpoint_count > 0 && o->endpoint_count <= SIM_ENDPOINTS_MAX &&
           o->process_count > 0 && o->group_count > 0 && o->think_min_ms <= o->think_max_ms &&
           o->call_timeout_ms > 0 && keys > 0 && keys < WORKLOAD_KEYS_MAX && weights > 0 &&
           weights <= UINT32_MAX && o->value_bytes <= VALUE_BYTES_MAX && o->ops_max > 0 &&
           (o->registers >= 2 || !needs_registers) &&
           (o->lists >= 1 || o->weights[WORKLOAD_APPEND] == 0) &&
           (o->accounts >= 2 || o->weights[WORKLOAD_TRANSFER] == 0) &&
           (o->counters >= 1 || o->weights[WORKLOAD_INCREMENT] == 0);
}

static void keys_place(struct workload *w)
{
    const struct workload_options *o = &w->options;
    w->first_counter = o->accounts;
    w->first_list = w->first_counter + o->counters;
    w->first_register = w->first_list + o->lists;
    w->key_count = w->first_register + o->registers;
    for (uint32_t k = 0; k < w->key_count; k++)
        w->classes[k] = k < w->first_counter    ? HISTORY_ACCOUNT
                        : k < w->first_list     ? HISTORY_COUNTER
                        : k < w->first_register ? HISTORY_LIST
                                                : HISTORY_REGISTER;
    for (int i = 0; i < WORKLOAD_KINDS; i++)
        w->weight_sum += o->weights[i];
}

static bool clients_open(struct workload *w)
{
    const struct workload_options *o = &w->options;
    w->clients = calloc(o->group_count * o->endpoint_count, sizeof(struct sim_client *));
    for (size_t i = 0; w->clients && i < o->group_count * o->endpoint_count; i++) {
        const struct sim_client_options options = {
            .io = o->io,
            .endpoints = &w->endpoints[i % o->endpoint_count],
            .endpoint_count = 1,
            .connect_timeout_ms = CONNECT_TIMEOUT_MS,
            .pause_min_ms = PAUSE_MIN_MS,
            .pause_max_ms = PAUSE_MAX_MS,
            .calls_max = o->process_count,
            .response_bytes_max = RESPONSE_BYTES_MAX,
        };
        w->clients[i] = sim_client_open(&options);
        if (!w->clients[i])
            return false;
        w->client_count++;
    }
    return w->clients != NULL;
}

static bool processes_open(struct workload *w)
{
    const struct workload_options *o = &w->options;
    struct prng seeds = prng_seeded(o->seed);
    w->processes = calloc(o->process_count, sizeof *w->processes);
    for (uint32_t i = 0; w->processes && i < o->process_count; i++) {
        struct workload_process *p = &w->processes[i];
        p->workload = w;
        p->slot = p->number = i;
        p->chance = prng_seeded(prng_next(&seeds));
        p->endpoint = i % (uint32_t)o->endpoint_count;
        p->ops_until_move = STAY_OPS_MIN + (uint32_t)prng_below(&p->chance, STAY_OPS);
        timer_init(&p->timer, on_process_timer, p);
    }
    return w->processes != NULL;
}

static void workload_free(struct workload *w)
{
    ASSERT(w->in_flight_count == 0 && w->client_count == 0);
    for (uint32_t i = 0; w->processes && i < w->options.process_count; i++) {
        sim_call_done(&w->processes[i].call);
        free(w->processes[i].request);
    }
    free(w->processes);
    free(w->clients);
    arena_done(&w->arena);
    check_history_close(&w->history);
    void (*fn)(void *) = w->closed;
    void *owner = w->closed_owner;
    free(w);
    if (fn)
        fn(owner);
}

static void on_client_closed(void *owner)
{
    struct workload *w = owner;
    w->client_count--;
    if (w->client_count == 0)
        workload_free(w);
}

static void clients_close(struct workload *w)
{
    size_t count = w->client_count;
    for (size_t i = 0; i < count; i++)
        sim_client_close(w->clients[i], on_client_closed, w);
}

struct workload *workload_open(const struct workload_options *o)
{
    if (!options_are_sound(o))
        return NULL;
    struct workload *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->options = *o;
    memcpy(w->endpoints, o->endpoints, o->endpoint_count * sizeof *o->endpoints);
    w->options.endpoints = w->endpoints;
    arena_init(&w->arena, WORKLOAD_ARENA_BYTES);
    keys_place(w);
    if (check_history_open(&w->history, w->key_count, o->ops_max) && processes_open(w) &&
        clients_open(w))
        return w;
    if (w->client_count == 0)
        workload_free(w);
    else
        clients_close(w);
    return NULL;
}

void workload_start(struct workload *w)
{
    ASSERT(!w->closed);
    if (w->running)
        return;
    w->running = true;
    for (uint32_t i = 0; i < w->options.process_count; i++) {
        if (!w->processes[i].in_flight)
            process_pause(&w->processes[i],
                          prng_below(&w->processes[i].chance, w->options.think_max_ms + 1));
    }
}

void workload_stop(struct workload *w)
{
    w->running = false;
}

bool workload_is_drained(const struct workload *w)
{
    return w->in_flight_count == 0;
}

const struct check_history *workload_history(const struct workload *w)
{
    return &w->history;
}

const struct workload_counters *workload_counters(const struct workload *w)
{
    return &w->counters;
}

const uint8_t *workload_classes(const struct workload *w)
{
    return w->classes;
}

/* A retry that waits ends as never sent; calls in flight end with their clients. */
void workload_close(struct workload *w, void (*fn)(void *owner), void *owner)
{
    ASSERT(fn && !w->closed);
    w->running = false;
    w->closed = fn;
    w->closed_owner = owner;
    for (uint32_t i = 0; i < w->options.process_count; i++) {
        struct workload_process *p = &w->processes[i];
        if (p->is_retry) {
            p->is_retry = false;
            op_end(p, CHECK_FAIL);
        }
        io_timer_cancel(w->options.io, &p->timer);
    }
    clients_close(w);
}
