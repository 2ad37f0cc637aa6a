#include "tests/sim/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "rpc/grpc_codec.h"
#include "tests/sim/client_internal.h"

/* ---- the ends of calls ---- */

void sim_call_finish(struct sim_call *call, enum sim_outcome outcome)
{
    struct sim_client *c = call->client;
    io_timer_cancel(c->options.io, &call->timer);
    call->outcome = outcome;
    if (outcome != SIM_ANSWERED)
        call->status = GRPC_UNAVAILABLE;
    if (call->status != GRPC_OK)
        call->response = slice_of(NULL, 0);
    list_remove(&call->link);
    list_push_back(&c->finished, &call->link);
}

static void finish_all(struct list *calls)
{
    while (!list_is_empty(calls)) {
        struct sim_call *call = LIST_ENTRY(calls->next, struct sim_call, link);
        sim_call_finish(call, sim_call_is_sent(call) ? SIM_UNKNOWN : SIM_NOT_SENT);
    }
}

/* Whoever is told may begin calls and close the client. */
static void tell_finished(struct sim_client *c)
{
    struct list *node;
    while ((node = list_pop_front(&c->finished)) != NULL) {
        struct sim_call *call = LIST_ENTRY(node, struct sim_call, link);
        c->call_count--;
        call->client = NULL;
        call->done(call->owner, call);
    }
}

/* ---- output ---- */

static void timer_move(struct sim_client *c, uint64_t delay_ms)
{
    struct io *io = c->options.io;
    ASSERT(io_timer_set(io, &c->timer, io_now_ms(io) + delay_ms));
}

static void conn_break(struct sim_client *c)
{
    if (c->broken)
        return;
    c->broken = true;
    c->options.io->ops->shutdown(c->options.io, c->fd);
}

static void flush(struct sim_client *c);
static void ending_check(struct sim_client *c);

static void on_sent(void *owner, int32_t result)
{
    struct sim_client *c = owner;
    c->sending = false;
    c->out_size = 0;
    if (c->state == SIM_ENDING) {
        ending_check(c);
        return;
    }
    if (result < 0)
        conn_break(c);
    tell_finished(c); /* a stream may also close as its last bytes leave */
    flush(c);
}

/* While a send is in flight the next batch gathers in nghttp2. */
static void flush(struct sim_client *c)
{
    if (c->state != SIM_UP || c->sending || c->in_bytes || c->broken)
        return;
    if (!sim_h2_fill(c)) {
        conn_break(c);
        return;
    }
    struct io *io = c->options.io;
    if (c->out_size == 0) {
        if (sim_h2_is_over(c))
            conn_break(c);
        else if (!list_is_empty(&c->finished)) /* closed unsent: there is no completion to tell */
            timer_move(c, 0);
        return;
    }
    if (io->ops->send(io, c->fd, slice_of(c->out, c->out_size), on_sent, c, &c->send_ref) != 0)
        conn_break(c);
    else
        c->sending = true;
}

/* ---- the connection ---- */

static void client_free(struct sim_client *c)
{
    void (*fn)(void *) = c->closed;
    void *owner = c->closed_owner;
    free(c);
    if (fn)
        fn(owner);
}

/* The socket is gone, or there was none. */
static void pause_begin(struct sim_client *c)
{
    c->state = SIM_PAUSING;
    uint64_t pause_ms = 0;
    if (c->failures > 0 && !c->closing) {
        uint32_t doublings = c->failures - 1 < 16 ? c->failures - 1 : 16;
        pause_ms = (uint64_t)c->options.pause_min_ms << doublings;
        if (pause_ms > c->options.pause_max_ms)
            pause_ms = c->options.pause_max_ms;
    }
    timer_move(c, pause_ms);
}

static void endpoint_next(struct sim_client *c)
{
    c->endpoint = (c->endpoint + 1) % c->options.endpoint_count;
    c->failures++;
}

static void connect_failed(struct sim_client *c)
{
    endpoint_next(c);
    finish_all(&c->waiting);
    pause_begin(c);
    tell_finished(c);
}

static void ending_check(struct sim_client *c)
{
    if (c->reading || c->sending)
        return;
    c->options.io->ops->close(c->options.io, c->fd);
    c->fd = -1;
    pause_begin(c);
}

/* recv has ended; calls that are on it end with it. */
static void conn_end(struct sim_client *c)
{
    io_timer_cancel(c->options.io, &c->timer);
    finish_all(&c->calls);
    nghttp2_session_del(c->session);
    c->session = NULL;
    c->state = SIM_ENDING;
    endpoint_next(c);
    if (c->sending)
        io_cancel(c->options.io, c->send_ref);
    tell_finished(c);
    ending_check(c);
}

static void on_recv(void *owner, struct slice bytes, int32_t result)
{
    (void)result;
    struct sim_client *c = owner;
    if (bytes.size == 0) {
        c->reading = false;
        conn_end(c);
        return;
    }
    if (c->broken)
        return;
    c->failures = 0;
    c->received_ms = io_now_ms(c->options.io);
    if (!sim_h2_receive(c, bytes))
        conn_break(c);
    tell_finished(c);
    flush(c);
    if (c->goaway && list_is_empty(&c->calls))
        conn_break(c);
}

static void waiting_submit(struct sim_client *c)
{
    while (!c->broken && !list_is_empty(&c->waiting)) {
        struct sim_call *call = LIST_ENTRY(c->waiting.next, struct sim_call, link);
        if (!sim_h2_submit(c, call)) {
            conn_break(c);
            return;
        }
        list_remove(&call->link);
        list_push_back(&c->calls, &call->link);
    }
}

static bool conn_open(struct sim_client *c, int fd)
{
    struct io *io = c->options.io;
    c->fd = fd;
    if (!sim_h2_open(c))
        return false;
    if (io->ops->recv(io, fd, on_recv, c, &c->recv_ref) == 0)
        return true;
    nghttp2_session_del(c->session);
    c->session = NULL;
    return false;
}

static void on_connect(void *owner, int32_t result)
{
    struct sim_client *c = owner;
    struct io *io = c->options.io;
    io_timer_cancel(io, &c->timer);
    if (result < 0 || c->closing || !conn_open(c, result)) {
        if (result >= 0)
            io->ops->close(io, result);
        c->fd = -1;
        connect_failed(c);
        return;
    }
    c->state = SIM_UP;
    c->session_count++;
    c->reading = true;
    c->broken = false;
    c->goaway = false;
    c->out_size = 0;
    c->received_ms = io_now_ms(io);
    waiting_submit(c);
    flush(c);
}

static void connect_begin(struct sim_client *c)
{
    struct io *io = c->options.io;
    int error = io->ops->connect(io, &c->endpoints[c->endpoint], on_connect, c, &c->connect_ref);
    if (error != 0) {
        connect_failed(c);
        return;
    }
    c->state = SIM_CONNECTING;
    timer_move(c, c->options.connect_timeout_ms);
}

static void on_timer(void *owner)
{
    struct sim_client *c = owner;
    if (c->state == SIM_CONNECTING) {
        io_cancel(c->options.io, c->connect_ref);
        return;
    }
    if (c->state == SIM_UP) {
        tell_finished(c);
        flush(c);
        return;
    }
    ASSERT(c->state == SIM_PAUSING);
    if (!c->closing) {
        connect_begin(c);
        return;
    }
    finish_all(&c->waiting);
    tell_finished(c);
    ASSERT(c->call_count == 0);
    client_free(c);
}

/* ---- what the caller sees ---- */

struct sim_client *sim_client_open(const struct sim_client_options *o)
{
    if (o->endpoint_count == 0 || o->endpoint_count > SIM_ENDPOINTS_MAX ||
        o->endpoint_first >= o->endpoint_count || o->connect_timeout_ms == 0 ||
        o->pause_min_ms == 0 || o->pause_max_ms < o->pause_min_ms)
        return NULL;
    struct sim_client *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->options = *o;
    memcpy(c->endpoints, o->endpoints, o->endpoint_count * sizeof *o->endpoints);
    c->options.endpoints = NULL;
    c->endpoint = o->endpoint_first;
    c->fd = -1;
    list_init(&c->waiting);
    list_init(&c->calls);
    list_init(&c->finished);
    timer_init(&c->timer, on_timer, c);
    pause_begin(c);
    return c;
}

static void on_deadline(void *owner)
{
    struct sim_call *call = owner;
    struct sim_client *c = call->client;
    bool is_deaf = call->stream_id != 0 && c->received_ms <= call->began_ms;
    if (call->stream_id != 0)
        sim_h2_cancel(c, call);
    sim_call_finish(call, sim_call_is_sent(call) ? SIM_UNKNOWN : SIM_NOT_SENT);
    if (is_deaf)
        conn_break(c);
    tell_finished(c);
    flush(c);
}

static void call_reset(struct sim_client *c, struct sim_call *call)
{
    struct io *io = c->options.io;
    ASSERT(call->timeout_ms > 0);
    ASSERT(call->request.size <= UINT32_MAX);
    call->client = c;
    call->began_ms = io_now_ms(io);
    call->stream_id = 0;
    call->sent_bytes = 0;
    call->grpc_status = -1;
    call->too_large = false;
    call->reply_size = 0;
    call->response = slice_of(NULL, 0);
    call->text[0] = '\0';
    grpc_prefix_put(call->prefix, (uint32_t)call->request.size);
    int size = snprintf(call->timeout_text, sizeof call->timeout_text, "%um",
                        call->timeout_ms > 99999999 ? 99999999 : call->timeout_ms);
    ASSERT(size > 0 && (size_t)size < sizeof call->timeout_text);
    timer_init(&call->timer, on_deadline, call);
}

bool sim_client_call(struct sim_client *c, struct sim_call *call)
{
    struct io *io = c->options.io;
    if (c->closing || c->call_count >= c->options.calls_max)
        return false;
    call_reset(c, call);
    if (!io_timer_set(io, &call->timer, call->began_ms + call->timeout_ms))
        return false;
    c->call_count++;
    list_push_back(&c->waiting, &call->link);
    if (c->state == SIM_UP && !c->goaway) {
        waiting_submit(c);
        flush(c);
    }
    return true;
}

void sim_client_move(struct sim_client *c)
{
    if (c->state == SIM_UP)
        conn_break(c);
    else if (c->state == SIM_CONNECTING)
        io_cancel(c->options.io, c->connect_ref);
}

void sim_client_close(struct sim_client *c, void (*fn)(void *owner), void *owner)
{
    ASSERT(!c->closing);
    c->closing = true;
    c->closed = fn;
    c->closed_owner = owner;
    sim_client_move(c);
    if (c->state == SIM_PAUSING)
        timer_move(c, 0);
}

bool sim_client_is_up(const struct sim_client *c)
{
    return c->state == SIM_UP && !c->broken && !c->goaway;
}

size_t sim_client_endpoint(const struct sim_client *c)
{
    return c->endpoint;
}

uint64_t sim_client_session(const struct sim_client *c)
{
    return c->session_count;
}

size_t sim_client_calls(const struct sim_client *c)
{
    return c->call_count;
}

void sim_call_done(struct sim_call *call)
{
    free(call->reply);
    call->reply = NULL;
    call->reply_capacity = 0;
}
