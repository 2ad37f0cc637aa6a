/* The connection's life and its socket. What goes over it is the session's (bench_session.h). */
#include "tools/bench_conn.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/assert.h"
#include "rpc/http2_pool.h"
#include "tools/bench_clock.h"

enum {
    OUT_BYTES_MIN = 16 << 10,
    PUMP_BYTES_MAX = 256 << 10,
    OUT_BYTES_MAX = 1 << 20, /* a server that asks for so many answers to its pings is left */
    BUFFER_BYTES = 256 << 10,
};

/* ---- what connections share ---- */

bool bench_conn_env_open(struct bench_conn_env *env)
{
    list_init(&env->dirty);
    env->buffer_bytes = BUFFER_BYTES;
    env->buffer = malloc(BUFFER_BYTES);
    env->pool = http2_pool_new();
    if (!env->buffer || !env->pool)
        return false;
    env->mem = http2_pool_mem(env->pool);
    return true;
}

void bench_conn_env_close(struct bench_conn_env *env)
{
    http2_pool_free(env->pool);
    free(env->buffer);
}

/* ---- the connection ---- */

static void watch(struct bench_conn *c, uint32_t events, int operation)
{
    struct epoll_event event = { .events = events, .data.ptr = c };
    ASSERT(epoll_ctl(c->env->epoll_fd, operation, c->fd, &event) == 0);
}

static void mark(struct bench_conn *c)
{
    if (list_is_empty(&c->dirty))
        list_push_back(&c->env->dirty, &c->dirty);
}

void bench_conn_init(struct bench_conn *c)
{
    list_init(&c->dirty);
    for (size_t i = 0; i < c->call_count; i++) {
        list_init(&c->calls[i].link);
        list_init(&c->calls[i].unsent);
        c->calls[i].conn = c;
    }
}

void bench_conn_hang_up(struct bench_conn *c)
{
    list_remove(&c->dirty);
    bench_session_close(&c->session);
    if (c->state != BENCH_CONN_DOWN)
        close(c->fd);
    c->state = BENCH_CONN_DOWN;
    c->in_size = 0;
    c->out_size = 0;
    c->out_sent = 0;
}

void bench_conn_done(struct bench_conn *c)
{
    bench_conn_hang_up(c);
    free(c->in);
    free(c->out);
}

void bench_conn_fail(struct bench_conn *c, const char *why)
{
    IGNORE(snprintf(c->why, sizeof c->why, "%s", why) < 0, "a cut text still says enough");
    bool was_up = c->state == BENCH_CONN_UP;
    bench_conn_hang_up(c);
    for (size_t i = 0; i < c->call_count; i++) {
        struct bench_call *call = &c->calls[i];
        if (!call->in_flight)
            continue;
        call->in_flight = false;
        call->stream_id = 0;
        list_init(&call->unsent); /* its list is gone */
        c->env->on_end(c->env->owner, call, c->why);
    }
    c->env->on_down(c->env->owner, c, was_up);
}

static void fail_errno(struct bench_conn *c, const char *what, int error)
{
    char why[BENCH_CALL_TEXT_BYTES];
    IGNORE(snprintf(why, sizeof why, "%s: %s", what, strerror(error)) < 0, "it cannot");
    bench_conn_fail(c, why);
}

/* ---- connecting ---- */

static void connected(struct bench_conn *c)
{
    if (!bench_session_open(&c->session, c)) {
        bench_conn_fail(c, "connection lost: out of memory");
        return;
    }
    c->state = BENCH_CONN_UP;
    c->is_leaving = false;
    c->wants_out = false;
    watch(c, EPOLLIN, EPOLL_CTL_MOD);
    mark(c);
    c->env->on_up(c->env->owner, c);
}

void bench_conn_dial(struct bench_conn *c, const struct bench_endpoint *endpoint)
{
    ASSERT(c->state == BENCH_CONN_DOWN);
    c->endpoint = endpoint;
    c->dialled_ns = bench_now_ns();
    c->fd = socket(endpoint->addr.sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        fail_errno(c, "cannot connect", errno);
        return;
    }
    c->state = BENCH_CONN_CONNECTING;
    int on = 1;
    IGNORE(setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0, "only costs latency");
    watch(c, EPOLLOUT, EPOLL_CTL_ADD);
    if (connect(c->fd, (const struct sockaddr *)&endpoint->addr.sa, endpoint->addr.sa_size) == 0)
        connected(c);
    else if (errno != EINPROGRESS)
        fail_errno(c, "cannot connect", errno);
}

static void on_connected(struct bench_conn *c)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    if (error != 0)
        fail_errno(c, "cannot connect", error);
    else
        connected(c);
}

/* ---- sending ---- */

uint8_t *bench_conn_out_room(struct bench_conn *c, size_t size)
{
    size_t needed = c->out_size + size;
    if (needed > OUT_BYTES_MAX)
        return NULL;
    if (needed > c->out_capacity) {
        size_t capacity = c->out_capacity > 0 ? c->out_capacity : OUT_BYTES_MIN;
        while (capacity < needed)
            capacity *= 2;
        uint8_t *out = realloc(c->out, capacity);
        if (!out)
            return NULL;
        c->out = out;
        c->out_capacity = capacity;
    }
    uint8_t *room = c->out + c->out_size;
    c->out_size = needed;
    return room;
}

/* False: the connection is broken. */
static bool send_out(struct bench_conn *c)
{
    while (c->out_sent < c->out_size) {
        ssize_t sent = send(c->fd, c->out + c->out_sent, c->out_size - c->out_sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN) {
            fail_errno(c, "connection lost", errno);
            return false;
        }
        if (sent < 0) {
            if (!c->wants_out)
                watch(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            c->wants_out = true;
            return true;
        }
        c->env->sent_bytes += (uint64_t)sent;
        c->out_sent += (size_t)sent;
    }
    c->out_size = 0;
    c->out_sent = 0;
    if (c->wants_out)
        watch(c, EPOLLIN, EPOLL_CTL_MOD);
    c->wants_out = false;
    return true;
}

void bench_conn_flush(struct bench_conn *c)
{
    list_remove(&c->dirty);
    bool more = true;
    while (more && !(c->wants_out && c->out_size >= PUMP_BYTES_MAX)) {
        if (!bench_session_pump(&c->session, PUMP_BYTES_MAX, &more)) {
            bench_conn_fail(c, "connection lost: out of memory");
            return;
        }
        if (!send_out(c))
            return;
    }
}

/* ---- receiving ---- */

/* What is left of a frame that is not whole waits until the next receive, which begins with it. */
static bool keep_rest(struct bench_conn *c, const uint8_t *rest, size_t size)
{
    c->in_size = size;
    if (size == 0)
        return true;
    if (!c->in)
        c->in = malloc(BENCH_FRAME_BYTES_MAX);
    if (!c->in)
        return false;
    memcpy(c->in, rest, size);
    return true;
}

static void on_bytes(struct bench_conn *c, size_t size)
{
    char text[BENCH_CALL_TEXT_BYTES];
    size_t taken = 0;
    const char *why = bench_session_receive(&c->session, slice_of(c->env->buffer, size), &taken);
    if (!why && !keep_rest(c, c->env->buffer + taken, size - taken))
        why = "out of memory";
    if (why) {
        IGNORE(snprintf(text, sizeof text, "connection lost: %s", why) < 0, "it fits");
        bench_conn_fail(c, text);
    } else if (c->out_size > 0 || !list_is_empty(&c->session.unsent)) {
        mark(c);
    }
}

static void receive(struct bench_conn *c)
{
    struct bench_conn_env *env = c->env;
    if (c->in_size > 0)
        memcpy(env->buffer, c->in, c->in_size);
    ssize_t size = recv(c->fd, env->buffer + c->in_size, env->buffer_bytes - c->in_size, 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size < 0) {
        fail_errno(c, "connection lost", errno);
        return;
    }
    env->now_ns = bench_now_ns();
    if (size == 0) {
        bench_conn_fail(c, "connection lost: closed by the server");
        return;
    }
    env->received_bytes += (uint64_t)size;
    on_bytes(c, c->in_size + (size_t)size);
}

void bench_conn_on_events(struct bench_conn *c, uint32_t events)
{
    if (c->state == BENCH_CONN_CONNECTING) {
        on_connected(c);
        return;
    }
    if (c->state == BENCH_CONN_UP && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        receive(c);
    if (c->state == BENCH_CONN_UP && (events & EPOLLOUT))
        mark(c);
}

void bench_conn_begin(struct bench_conn *c, struct bench_call *call)
{
    ASSERT(c->state == BENCH_CONN_UP && !c->is_leaving);
    mark(c);
    bench_session_submit(&c->session, call);
}

void bench_conn_cancel(struct bench_conn *c, struct bench_call *call, const char *error)
{
    ASSERT(call->in_flight);
    bool ok = bench_session_cancel(&c->session, call);
    mark(c);
    c->env->on_end(c->env->owner, call, error);
    if (!ok)
        bench_conn_fail(c, "connection lost: it does not take what is sent");
}
