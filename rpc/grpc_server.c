#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "rpc/grpc_internal.h"

#define GRPC_SERVER_TEXT_ENTRY(name, text) [name] = text,
static const char *const err_texts[] = { GRPC_SERVER_ERRORS(GRPC_SERVER_TEXT_ENTRY) };
#undef GRPC_SERVER_TEXT_ENTRY

const char *grpc_server_strerror(enum grpc_err err)
{
    ASSERT((size_t)err < sizeof err_texts / sizeof err_texts[0]);
    return err_texts[err];
}

/* ---- connections ---- */

static struct grpc_server *server_of(const struct conn *c)
{
    return LIST_ENTRY(c->set, struct grpc_server, conns);
}

static bool on_conn_open(struct conn *c)
{
    return http2_open(&server_of(c)->http2, c);
}

static bool on_conn_bytes(struct conn *c, struct slice bytes)
{
    return http2_recv(c->session, bytes);
}

static bool on_conn_pump(struct conn *c)
{
    return http2_pump(c->session);
}

static uint64_t on_conn_waiting(const struct conn *c)
{
    return http2_copied_bytes(c->session);
}

static uint64_t on_conn_time(struct conn *c, uint64_t now_ms)
{
    return http2_time(c->session, now_ms);
}

static void on_conn_close(struct conn *c)
{
    http2_close(c->session);
}

static const struct conn_events conn_events = {
    .open = on_conn_open,
    .bytes = on_conn_bytes,
    .pump = on_conn_pump,
    .waiting_bytes = on_conn_waiting,
    .time = on_conn_time,
    .close = on_conn_close,
};

/* ---- open ---- */

static bool options_are_good(const struct grpc_options *o)
{
    for (size_t i = 0; i < o->method_count; i++) {
        if (!o->methods[i].path || !o->methods[i].on_message)
            return false;
        if (i > 0 && strcmp(o->methods[i - 1].path, o->methods[i].path) >= 0)
            return false;
    }
    bool bounded = o->connection_count_max > 0 && o->stream_count_max > 0 &&
                   o->message_bytes_max > 0 && o->request_bytes_max > 0 &&
                   o->response_bytes_max > 0 && o->connection_out_bytes_max > 0;
    return o->io && bounded && o->stream_count_max <= INT32_MAX && o->write_stall_ms > 0;
}

static bool paths_open(struct grpc_server *s)
{
    const struct grpc_options *o = &s->options;
    s->paths = calloc(o->method_count + 1, sizeof *s->paths);
    for (size_t i = 0; s->paths && i < o->method_count; i++)
        s->paths[i] = slice_of_text(o->methods[i].path);
    return s->paths != NULL;
}

static bool http2_env_open_for(struct grpc_server *s)
{
    const struct grpc_options *o = &s->options;
    struct http2_options options = {
        .events = &grpc_stream_events,
        .owner = s,
        .stream_count_max = o->stream_count_max,
        .waiting_bytes_max = o->connection_out_bytes_max,
        .write_stall_ms = o->write_stall_ms,
        .keepalive_min_ms = o->keepalive_min_ms,
        .keepalive_interval_ms = o->keepalive_interval_ms,
        .keepalive_timeout_ms = o->keepalive_timeout_ms,
    };
    return http2_env_open(&s->http2, &options);
}

static void server_free(struct grpc_server *s)
{
    struct list *node;
    while ((node = list_pop_front(&s->spare)))
        grpc_call_free(LIST_ENTRY(node, struct grpc_call, link));
    conn_set_done(&s->conns);
    http2_env_close(&s->http2);
    free(s->paths);
    free(s);
}

static void on_grace_over(void *owner)
{
    struct grpc_server *s = owner;
    while (!list_is_empty(&s->conns.all))
        conn_fail(LIST_ENTRY(s->conns.all.next, struct conn, link), CONN_END_CLOSED);
}

enum grpc_err grpc_server_open(struct grpc_server **ret_s, const struct grpc_options *options)
{
    if (!options_are_good(options))
        return GRPC_SERVER_E_OPTIONS;
    struct grpc_server *s = calloc(1, sizeof *s);
    if (!s)
        return GRPC_SERVER_E_NOMEM;
    s->options = *options;
    list_init(&s->fresh);
    list_init(&s->spare);
    timer_init(&s->grace, on_grace_over, s);
    conn_set_init(&s->conns, &(struct conn_options){
                                 .io = options->io,
                                 .events = &conn_events,
                                 .counters = &s->counters,
                                 .count_max = options->connection_count_max,
                                 .write_stall_ms = options->write_stall_ms,
                                 .waiting_bytes_max = options->connection_out_bytes_max,
                             });
    if (!paths_open(s) || !http2_env_open_for(s)) {
        server_free(s);
        return GRPC_SERVER_E_NOMEM;
    }
    *ret_s = s;
    return GRPC_SERVER_OK;
}

const struct grpc_counters *grpc_server_counters(const struct grpc_server *s)
{
    return &s->counters;
}

/* ---- listeners ---- */

static void on_accept(void *owner, int fd);

static int listener_accept(struct grpc_listener *l)
{
    struct io *io = l->server->options.io;
    int error = io->ops->accept(io, l->fd, on_accept, l, &l->ref);
    l->accepting = error == 0;
    return error;
}

static void listener_retry_later(struct grpc_listener *l)
{
    struct io *io = l->server->options.io;
    IGNORE(io_timer_set(io, &l->retry, io_now_ms(io) + GRPC_ACCEPT_RETRY_MS),
           "past its timers a node has too many connections anyway");
}

static void on_retry(void *owner)
{
    struct grpc_listener *l = owner;
    if (listener_accept(l) != 0)
        listener_retry_later(l);
}

static void on_accept(void *owner, int fd)
{
    struct grpc_listener *l = owner;
    struct grpc_server *s = l->server;
    struct io *io = s->options.io;
    if (fd < 0) {
        l->accepting = false;
        if (!s->closing)
            listener_retry_later(l);
    } else if (s->closing) {
        io->ops->close(io, fd);
    } else {
        conn_set_accept(&s->conns, fd);
    }
}

int grpc_server_listen(struct grpc_server *s, const struct io_addr *addr, struct io_addr *ret_bound)
{
    struct io *io = s->options.io;
    if (s->closing || s->listener_count == GRPC_LISTENERS_MAX)
        return -EMFILE;
    int fd = io->ops->listen(io, addr, ret_bound);
    if (fd < 0)
        return fd;
    struct grpc_listener *l = &s->listeners[s->listener_count];
    *l = (struct grpc_listener){ .server = s, .fd = fd };
    timer_init(&l->retry, on_retry, l);
    int error = listener_accept(l);
    if (error != 0) {
        io->ops->close(io, fd);
        return error;
    }
    s->listener_count++;
    return 0;
}

/* ---- turns, and the end ---- */

/* Listeners close one by one, as their accepts have completed. */
static bool listeners_are_closed(struct grpc_server *s)
{
    struct io *io = s->options.io;
    bool closed = true;
    for (size_t i = 0; i < s->listener_count; i++) {
        struct grpc_listener *l = &s->listeners[i];
        if (l->accepting) {
            closed = false;
        } else if (l->fd >= 0) {
            io->ops->close(io, l->fd);
            l->fd = -1;
        }
    }
    return closed;
}

void grpc_server_take_more(struct grpc_server *s, size_t connections)
{
    conn_set_release(&s->conns, connections);
}

uint64_t grpc_server_drains(const struct grpc_server *s)
{
    return s->http2.drains;
}

void grpc_server_flush(struct grpc_server *s)
{
    conn_set_flush(&s->conns);
    if (!s->closing || !listeners_are_closed(s) || s->conns.count > 0)
        return;
    void (*fn)(void *owner) = s->closed_fn;
    void *owner = s->closed_owner;
    io_timer_cancel(s->options.io, &s->grace);
    server_free(s);
    if (fn)
        fn(owner);
}

void grpc_server_close(struct grpc_server *s, uint32_t grace_ms, void (*fn)(void *owner),
                       void *owner)
{
    struct io *io = s->options.io;
    ASSERT(!s->closing);
    s->closing = true;
    s->closed_fn = fn;
    s->closed_owner = owner;
    for (size_t i = 0; i < s->listener_count; i++) {
        struct grpc_listener *l = &s->listeners[i];
        io_timer_cancel(io, &l->retry);
        if (l->accepting)
            io_cancel(io, l->ref);
    }
    struct list *next;
    for (struct list *node = s->conns.all.next; node != &s->conns.all; node = next) {
        struct conn *c = LIST_ENTRY(node, struct conn, link);
        next = node->next;
        if (c->session)
            http2_shutdown(c->session);
        else
            conn_fail(c, CONN_END_CLOSED);
    }
    if (grace_ms == 0 || !io_timer_set(io, &s->grace, io_now_ms(io) + grace_ms))
        on_grace_over(s);
}
