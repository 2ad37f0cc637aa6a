/* The connection's life and its socket. The session's callbacks are in bench_session.c. */
#include "tools/bench_conn.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/assert.h"
#include "tools/bench_clock.h"
#include "tools/bench_session.h"

enum { OUT_BYTES_MIN = 16 << 10, PUMP_BYTES_MAX = 256 << 10 };

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

void bench_conn_done(struct bench_conn *c)
{
    list_remove(&c->dirty);
    nghttp2_session_del(c->session);
    c->session = NULL;
    if (c->state != BENCH_CONN_DOWN)
        close(c->fd);
    c->state = BENCH_CONN_DOWN;
    c->out_size = 0;
    c->out_sent = 0;
}

void bench_conn_fail(struct bench_conn *c, const char *why)
{
    IGNORE(snprintf(c->why, sizeof c->why, "%s", why) < 0, "a cut text still says enough");
    bool was_up = c->state == BENCH_CONN_UP;
    bench_conn_done(c);
    for (size_t i = 0; i < c->call_count; i++) {
        struct bench_call *call = &c->calls[i];
        if (call->stream_id == 0)
            continue;
        call->stream_id = 0;
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
    if (!bench_session_open(c)) {
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

/* Moves frames from the session to the out buffer. Data frames go there by themselves. 1: there may
 * be more, 0: that was all, less: it failed. */
static int pump(struct bench_conn *c)
{
    while (c->out_size < PUMP_BYTES_MAX) {
        const uint8_t *data;
        ssize_t size = nghttp2_session_mem_send(c->session, &data);
        if (size <= 0)
            return (int)size;
        uint8_t *room = bench_conn_out_room(c, (size_t)size);
        if (!room)
            return NGHTTP2_ERR_NOMEM;
        memcpy(room, data, (size_t)size);
    }
    return 1;
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
    int more = 1;
    while (more > 0 && !(c->wants_out && c->out_size >= PUMP_BYTES_MAX)) {
        more = pump(c);
        if (more < 0) {
            bench_conn_fail(c, "connection lost: nghttp2 failed");
            return;
        }
        if (!send_out(c))
            return;
    }
    if (!nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session))
        bench_conn_fail(c, "connection lost: closed by HTTP/2");
}

/* ---- receiving ---- */

static void receive(struct bench_conn *c)
{
    struct bench_conn_env *env = c->env;
    ssize_t size = recv(c->fd, env->buffer, env->buffer_bytes, 0);
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
    ssize_t taken = nghttp2_session_mem_recv(c->session, env->buffer, (size_t)size);
    if (taken < 0) {
        bench_conn_fail(c, "connection lost: bytes that are no HTTP/2");
        return;
    }
    if (nghttp2_session_want_write(c->session))
        mark(c);
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

bool bench_conn_begin(struct bench_conn *c, struct bench_call *call, struct slice path)
{
    ASSERT(c->state == BENCH_CONN_UP && !c->is_leaving);
    mark(c);
    return bench_session_submit(c, call, path);
}

void bench_conn_cancel(struct bench_conn *c, struct bench_call *call, const char *error)
{
    ASSERT(call->stream_id != 0);
    bench_session_reset(c, call);
    mark(c);
    c->env->on_end(c->env->owner, call, error);
}
