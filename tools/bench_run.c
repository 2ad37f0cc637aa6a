/* One epoll loop. A turn takes what is readable, connection by connection: answers free calls, and
 * the calls that are free begin again and leave with one send before the next connection's turn. */
#include "tools/bench_run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/assert.h"
#include "rpc/grpc_codec.h"
#include "tools/bench_clock.h"
#include "tools/bench_conn.h"
#include "tools/bench_endpoints.h"
#include "tools/bench_load.h"
#include "tools/bench_pace.h"
#include "tools/bench_report.h"

enum { EVENTS_PER_TURN = 64 };

static const uint64_t ns_per_ms = 1000000;
static const uint64_t ns_per_s = 1000000000;
static const uint64_t tick_ns = 100000000;       /* time-outs are looked at this often */
static const uint64_t start_ns_max = 5000000000; /* for the connections to come up */
static const uint64_t dial_ns_max = 1000000000;
static const uint64_t redial_rest_ns = 50000000; /* after a dial that failed */
static const uint64_t error_rest_ns = 10000000;
static const uint64_t alone_ns_max =
    60000000000; /* a number of operations waits so long for a server */

enum phase { PHASE_DIAL, PHASE_WARM_UP, PHASE_MEASURE, PHASE_OVER };

struct run {
    const struct bench_options *options;
    struct bench_result *result;
    struct bench_conn_env env;
    struct bench_load load;
    struct bench_pace pace;
    struct bench_endpoint endpoints[BENCH_ENDPOINTS_MAX];
    size_t endpoint_count;
    struct bench_conn *conns;
    size_t conn_count;
    size_t up_count;
    struct bench_call *calls;
    size_t call_count;
    uint8_t *heads;
    struct list free;    /* calls that may begin, longest free first */
    struct list resting; /* after an error, in the order in which that ends */

    enum phase phase;
    uint64_t phase_end_ns; /* UINT64_MAX: when all operations are done */
    uint64_t tick_due_ns;
    uint64_t last_up_ns; /* when a connection was up, as of the last tick */
    uint64_t total;      /* operations to measure; 0: as many as the time allows */
    uint64_t started;
    uint64_t ended;
    bool out_of_memory;
    struct bench_usage self_before;
    struct bench_usage servers_before;
    uint64_t sent_before;
    uint64_t received_before;
    struct bench_progress progress;
};

static volatile sig_atomic_t is_interrupted;

static void on_interrupt(int number)
{
    is_interrupted = number;
}

/* ---- calls ---- */

static void call_rest(struct run *r, struct bench_call *call)
{
    call->rests_until_ns = r->env.now_ns + error_rest_ns;
    list_push_back(&r->resting, &call->link);
}

static const char *outcome_text(struct run *r, struct bench_call *call)
{
    size_t kept = call->received < call->head_capacity ? call->received : call->head_capacity;
    struct slice message = slice_of(call->head + GRPC_PREFIX_BYTES, kept - GRPC_PREFIX_BYTES);
    switch (bench_load_answer(&r->load, call->slot, message)) {
    case BENCH_DONE:
        return NULL;
    case BENCH_DONE_EMPTY:
        if (call->counts)
            r->result->tally.empty_count++;
        return NULL;
    case BENCH_COMPARE_FAILED:
        return "compare-failed";
    case BENCH_NOT_UNDERSTOOD:
        break;
    }
    return "an answer that is not understood";
}

static void on_end(void *owner, struct bench_call *call, const char *error)
{
    struct run *r = owner;
    bool rests = error != NULL;
    /* With a number of operations those count that began in the measured part, else those that
     * end in it. */
    if (r->total == 0)
        call->counts = r->phase == PHASE_MEASURE;
    if (!error)
        error = outcome_text(r, call);
    if (call->counts) {
        r->ended++;
        if (error)
            bench_tally_error(&r->result->tally, error);
        else
            bench_tally_success(&r->result->tally, call->start_ns, r->env.now_ns);
    }
    if (call->conn->state != BENCH_CONN_UP)
        return;
    if (rests)
        call_rest(r, call);
    else
        list_push_back(&r->free, &call->link);
}

static void on_up(void *owner, struct bench_conn *conn)
{
    struct run *r = owner;
    r->up_count++;
    for (size_t i = 0; i < conn->call_count; i++) {
        list_remove(&conn->calls[i].link);
        list_push_back(&r->free, &conn->calls[i].link);
    }
}

static void on_down(void *owner, struct bench_conn *conn, bool was_up)
{
    struct run *r = owner;
    for (size_t i = 0; i < conn->call_count; i++)
        list_remove(&conn->calls[i].link);
    r->up_count -= was_up;
    conn->endpoint_index = (conn->endpoint_index + 1) % r->endpoint_count;
    conn->redial_ns = was_up ? 0 : r->env.now_ns + redial_rest_ns;
}

static bool may_begin(const struct run *r)
{
    if (r->phase == PHASE_MEASURE)
        return r->total == 0 || r->started < r->total;
    return r->phase == PHASE_WARM_UP;
}

static struct bench_call *free_call(struct run *r)
{
    while (!list_is_empty(&r->free)) {
        struct bench_call *call = LIST_ENTRY(r->free.next, struct bench_call, link);
        if (call->conn->state == BENCH_CONN_UP && !call->conn->is_leaving)
            return call;
        list_remove(&call->link); /* until its connection is up again */
    }
    return NULL;
}

/* Begins all that may; then each connection sends once. */
static void begin_calls(struct run *r)
{
    struct bench_call *call;
    uint64_t start_ns;
    struct list *dirty;
    while (may_begin(r) && (call = free_call(r)) != NULL &&
           bench_pace_take(&r->pace, r->env.now_ns, &start_ns)) {
        struct bench_load_request request;
        if (!bench_load_next(&r->load, call->slot, &request)) {
            r->out_of_memory = true;
            return;
        }
        list_remove(&call->link);
        call->path = request.path;
        call->request = request.body;
        call->start_ns = start_ns;
        call->begun_ns = r->env.now_ns;
        call->counts = r->phase == PHASE_MEASURE;
        r->started += call->counts;
        bench_conn_begin(call->conn, call);
    }
    while ((dirty = list_pop_front(&r->env.dirty)) != NULL)
        bench_conn_flush(LIST_ENTRY(dirty, struct bench_conn, dirty));
}

/* ---- phases ---- */

static void measure_begin(struct run *r)
{
    r->phase = PHASE_MEASURE;
    r->phase_end_ns = r->total > 0 ? UINT64_MAX : r->env.now_ns + r->options->seconds * ns_per_s;
    r->self_before = bench_usage_self();
    r->servers_before = bench_usage_of(r->options->pids, r->options->pid_count);
    r->sent_before = r->env.sent_bytes;
    r->received_before = r->env.received_bytes;
    bench_tally_begin(&r->result->tally, r->env.now_ns);
}

static void load_begin(struct run *r)
{
    bool warms_up = r->options->warm_up_s > 0 && r->options->workload != BENCH_LOAD;
    r->pace = (struct bench_pace){ .rate = r->options->rate, .begin_ns = r->env.now_ns };
    if (!warms_up) {
        measure_begin(r);
        return;
    }
    r->phase = PHASE_WARM_UP;
    r->phase_end_ns = r->env.now_ns + r->options->warm_up_s * ns_per_s;
}

static void count_unfinished(struct run *r)
{
    struct bench_result *result = r->result;
    uint64_t late = bench_pace_late(&r->pace, r->env.now_ns);
    uint64_t oldest_ns = late > 0 ? bench_pace_next_ns(&r->pace) : r->env.now_ns;
    for (size_t i = 0; i < r->call_count; i++) {
        if (!r->calls[i].in_flight)
            continue;
        result->unfinished++;
        if (r->calls[i].start_ns < oldest_ns)
            oldest_ns = r->calls[i].start_ns;
    }
    result->unfinished += late;
    result->unfinished_oldest_ns = r->env.now_ns - oldest_ns;
}

static void measure_end(struct run *r)
{
    struct bench_result *result = r->result;
    struct bench_usage self = bench_usage_self();
    struct bench_usage servers = bench_usage_of(r->options->pids, r->options->pid_count);
    r->phase = PHASE_OVER;
    bench_tally_end(&result->tally, r->env.now_ns);
    result->seconds = (double)(r->env.now_ns - result->tally.begin_ns) / (double)ns_per_s;
    result->client_cpu_us = self.cpu_us - r->self_before.cpu_us;
    result->servers = (struct bench_usage){
        .is_known = servers.is_known && r->servers_before.is_known,
        .cpu_us = servers.cpu_us - r->servers_before.cpu_us,
        .written_bytes = servers.written_bytes - r->servers_before.written_bytes,
    };
    result->sent_bytes = r->env.sent_bytes - r->sent_before;
    result->received_bytes = r->env.received_bytes - r->received_before;
    if (r->total == 0 || is_interrupted)
        count_unfinished(r);
}

static void phase_advance(struct run *r)
{
    uint64_t now_ns = r->env.now_ns;
    bool is_due = now_ns >= r->phase_end_ns;
    bool is_done = r->total > 0 && (r->ended >= r->total || now_ns - r->last_up_ns > alone_ns_max);
    if (is_interrupted && r->phase == PHASE_MEASURE)
        measure_end(r);
    else if (is_interrupted)
        r->phase = PHASE_OVER;
    else if (r->phase == PHASE_DIAL &&
             (r->up_count == r->conn_count || (is_due && r->up_count > 0)))
        load_begin(r);
    else if (r->phase == PHASE_DIAL && is_due)
        r->phase = PHASE_OVER;
    else if (r->phase == PHASE_WARM_UP && is_due)
        measure_begin(r);
    else if (r->phase == PHASE_MEASURE && (is_due || is_done))
        measure_end(r);
}

/* ---- the loop ---- */

static void redial(struct run *r)
{
    for (size_t i = 0; i < r->conn_count; i++) {
        struct bench_conn *c = &r->conns[i];
        if (c->state == BENCH_CONN_DOWN && c->redial_ns <= r->env.now_ns)
            bench_conn_dial(c, &r->endpoints[c->endpoint_index]);
        else if (c->state == BENCH_CONN_CONNECTING && r->env.now_ns - c->dialled_ns > dial_ns_max)
            bench_conn_fail(c, "cannot connect: no answer");
    }
}

static bool has_calls(const struct bench_conn *c)
{
    for (size_t i = 0; i < c->call_count; i++) {
        if (c->calls[i].in_flight)
            return true;
    }
    return false;
}

static void tick(struct run *r)
{
    uint64_t timeout_ns = r->options->call_timeout_ms * ns_per_ms;
    r->tick_due_ns = r->env.now_ns + tick_ns;
    if (r->up_count > 0)
        r->last_up_ns = r->env.now_ns;
    for (size_t i = 0; i < r->call_count; i++) {
        struct bench_call *call = &r->calls[i];
        if (call->in_flight && r->env.now_ns - call->begun_ns > timeout_ns)
            bench_conn_cancel(call->conn, call, "DEADLINE_EXCEEDED");
    }
    for (size_t i = 0; i < r->conn_count; i++) {
        struct bench_conn *c = &r->conns[i];
        if (c->state == BENCH_CONN_UP && c->is_leaving && !has_calls(c))
            bench_conn_fail(c, "connection lost: GOAWAY");
    }
    if (r->phase == PHASE_MEASURE && !r->options->quiet)
        bench_progress_show(&r->progress, &r->result->tally, r->env.now_ns);
}

static void wake_rested(struct run *r)
{
    while (!list_is_empty(&r->resting)) {
        struct bench_call *call = LIST_ENTRY(r->resting.next, struct bench_call, link);
        if (call->rests_until_ns > r->env.now_ns)
            return;
        list_remove(&call->link);
        list_push_back(&r->free, &call->link);
    }
}

/* Until then nothing happens by itself. */
static struct timespec wait_time(const struct run *r)
{
    uint64_t until_ns = r->tick_due_ns;
    if (r->phase_end_ns < until_ns)
        until_ns = r->phase_end_ns;
    if (r->up_count < r->conn_count && r->env.now_ns + error_rest_ns < until_ns)
        until_ns = r->env.now_ns + error_rest_ns;
    if (!list_is_empty(&r->resting)) {
        uint64_t rested_ns = LIST_ENTRY(r->resting.next, struct bench_call, link)->rests_until_ns;
        if (rested_ns < until_ns)
            until_ns = rested_ns;
    }
    if (may_begin(r) && !list_is_empty(&r->free) && bench_pace_next_ns(&r->pace) < until_ns)
        until_ns = bench_pace_next_ns(&r->pace);
    uint64_t ns = until_ns > r->env.now_ns ? until_ns - r->env.now_ns : 0;
    return (struct timespec){ (time_t)(ns / ns_per_s), (long)(ns % ns_per_s) };
}

static void turn(struct run *r)
{
    struct epoll_event events[EVENTS_PER_TURN];
    struct timespec wait = wait_time(r);
    int count = epoll_pwait2(r->env.epoll_fd, events, EVENTS_PER_TURN, &wait, NULL);
    ASSERT(count >= 0 || errno == EINTR);
    for (int i = 0; i < count; i++) {
        bench_conn_on_events(events[i].data.ptr, events[i].events);
        begin_calls(r);
    }
    r->env.now_ns = bench_now_ns();
    phase_advance(r);
    if (r->phase == PHASE_OVER)
        return;
    if (r->up_count < r->conn_count)
        redial(r);
    if (r->env.now_ns >= r->tick_due_ns)
        tick(r);
    wake_rested(r);
    begin_calls(r);
}

/* ---- opening ---- */

static bool open_parts(struct run *r, char *why)
{
    r->endpoint_count = bench_endpoints_resolve(r->options->endpoints, r->endpoints, why);
    if (r->endpoint_count == 0)
        return false;
    r->conn_count = r->options->connections;
    r->call_count = r->options->connections * r->options->in_flight;
    IGNORE(snprintf(why, BENCH_ERROR_BYTES_MAX, "out of memory") < 0, "it fits");
    if (!bench_load_open(&r->load, r->options, r->call_count))
        return false;
    r->total = bench_load_total(&r->load);
    size_t head_bytes = GRPC_PREFIX_BYTES + bench_load_head_bytes(&r->load);
    r->conns = calloc(r->conn_count, sizeof *r->conns);
    r->calls = calloc(r->call_count, sizeof *r->calls);
    r->heads = malloc(r->call_count * head_bytes);
    if (!r->conns || !r->calls || !r->heads || !bench_conn_env_open(&r->env))
        return false;
    for (size_t i = 0; i < r->conn_count; i++) {
        struct bench_conn *c = &r->conns[i];
        c->env = &r->env;
        c->calls = &r->calls[i * r->options->in_flight];
        c->call_count = r->options->in_flight;
        c->endpoint_index = i % r->endpoint_count;
        bench_conn_init(c);
    }
    for (size_t i = 0; i < r->call_count; i++) {
        struct bench_call *call = &r->calls[i];
        call->slot = (uint32_t)i;
        call->head = r->heads + i * head_bytes;
        call->head_capacity = head_bytes;
    }
    return true;
}

static void close_parts(struct run *r)
{
    for (size_t i = 0; r->conns && i < r->conn_count; i++) {
        if (r->conns[i].env)
            bench_conn_done(&r->conns[i]);
    }
    bench_conn_env_close(&r->env);
    bench_load_close(&r->load);
    free(r->conns);
    free(r->calls);
    free(r->heads);
    if (r->env.epoll_fd >= 0)
        close(r->env.epoll_fd);
    free(r);
}

static bool run_until_over(struct run *r, char *why)
{
    struct sigaction action = { .sa_handler = on_interrupt };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    IGNORE(prctl(PR_SET_TIMERSLACK, 1UL) != 0, "an open loop starts some 50 us late then");
    r->env.now_ns = bench_now_ns();
    r->last_up_ns = r->env.now_ns;
    r->phase_end_ns = r->env.now_ns + start_ns_max;
    while (r->phase != PHASE_OVER && !r->out_of_memory)
        turn(r);
    bench_progress_clear(&r->progress);
    r->result->is_interrupted = is_interrupted != 0;
    if (r->out_of_memory) {
        IGNORE(snprintf(why, BENCH_ERROR_BYTES_MAX, "out of memory") < 0, "it fits");
        return false;
    }
    if (r->result->tally.begin_ns > 0)
        return true;
    int size = is_interrupted ? snprintf(why, BENCH_ERROR_BYTES_MAX, "interrupted in the warm-up")
                              : snprintf(why, BENCH_ERROR_BYTES_MAX, "%s: %s",
                                         r->conns[0].endpoint->authority, r->conns[0].why);
    IGNORE(size < 0, "a cut text still says enough");
    return false;
}

bool bench_run(const struct bench_options *options, struct bench_result *result,
               char why[BENCH_ERROR_BYTES_MAX])
{
    struct run *r = calloc(1, sizeof *r);
    if (!r) {
        IGNORE(snprintf(why, BENCH_ERROR_BYTES_MAX, "out of memory") < 0, "it fits");
        return false;
    }
    r->options = options;
    r->result = result;
    r->env.on_end = on_end;
    r->env.on_up = on_up;
    r->env.on_down = on_down;
    r->env.owner = r;
    list_init(&r->free);
    list_init(&r->resting);
    r->env.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    bool ok = false;
    if (r->env.epoll_fd < 0)
        IGNORE(snprintf(why, BENCH_ERROR_BYTES_MAX, "epoll: %s", strerror(errno)) < 0, "it fits");
    else
        ok = open_parts(r, why) && run_until_over(r, why);
    close_parts(r);
    return ok;
}
