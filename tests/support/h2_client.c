#include "tests/support/h2_client.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/list.h"

enum { WINDOW_BYTES = 16 << 20, READ_BYTES = 64 * 1024, PREFIX_BYTES = 5 };

struct call {
    struct h2_reply reply;
    struct list link;
    uint8_t *out; /* not yet sent */
    size_t out_size;
    bool out_ends;
};

struct h2_client {
    int fd;
    nghttp2_session *ng;
    struct list calls;
    bool ended;
    size_t pongs;
    size_t pings;
    bool settings_acked;
    bool settings_seen;
    int64_t goaway_code;
    char goaway_debug[256];
};

static struct call *call_find(const struct h2_client *c, int32_t id)
{
    for (struct list *node = c->calls.next; node != &c->calls; node = node->next) {
        struct call *call = LIST_ENTRY(node, struct call, link);
        if (call->reply.id == id)
            return call;
    }
    return NULL;
}

/* ---- what nghttp2 tells ---- */

static void text_copy(char *to, size_t room, const uint8_t *value, size_t size)
{
    size_t kept = size < room - 1 ? size : room - 1;
    if (kept > 0)
        memcpy(to, value, kept);
    to[kept] = '\0';
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *owner)
{
    (void)ng;
    (void)flags;
    (void)name_size;
    struct call *call = call_find(owner, frame->hd.stream_id);
    if (!call)
        return 0;
    struct h2_reply *r = &call->reply;
    char text[H2_CLIENT_TEXT_BYTES];
    text_copy(text, sizeof text, value, value_size);
    const char *field = (const char *)name; /* nghttp2 ends names with a NUL */
    if (strcmp(field, ":status") == 0)
        r->http_status = (int)strtol(text, NULL, 10);
    else if (strcmp(field, "grpc-status") == 0)
        r->grpc_status = (int)strtol(text, NULL, 10);
    else if (strcmp(field, "grpc-message") == 0)
        memcpy(r->text, text, sizeof text);
    else if (strcmp(field, "content-type") == 0)
        text_copy(r->content_type, sizeof r->content_type, value, value_size);
    else if (strcmp(field, "grpc-accept-encoding") == 0)
        text_copy(r->accept_encoding, sizeof r->accept_encoding, value, value_size);
    return 0;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t size,
                   void *owner)
{
    (void)ng;
    (void)flags;
    struct call *call = call_find(owner, id);
    if (!call)
        return 0;
    struct h2_reply *r = &call->reply;
    uint8_t *body = realloc(r->body, r->body_size + size + 1);
    if (!body)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    memcpy(body + r->body_size, data, size);
    r->body = body;
    r->body_size += size;
    return 0;
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *owner)
{
    (void)ng;
    struct h2_client *c = owner;
    struct call *call = call_find(c, frame->hd.stream_id);
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        if (call) {
            call->reply.has_headers = true;
            call->reply.header_blocks++;
        }
        break;
    case NGHTTP2_PING:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK)
            c->pongs++;
        else
            c->pings++;
        break;
    case NGHTTP2_SETTINGS:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK)
            c->settings_acked = true;
        else
            c->settings_seen = true;
        break;
    case NGHTTP2_GOAWAY:
        c->goaway_code = frame->goaway.error_code;
        text_copy(c->goaway_debug, sizeof c->goaway_debug, frame->goaway.opaque_data,
                  frame->goaway.opaque_data_len);
        break;
    default:
        break;
    }
    return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *owner)
{
    (void)ng;
    struct call *call = call_find(owner, id);
    if (call) {
        call->reply.closed = true;
        call->reply.reset_code = code;
    }
    return 0;
}

static ssize_t on_send(nghttp2_session *ng, const uint8_t *data, size_t size, int flags,
                       void *owner)
{
    (void)ng;
    (void)flags;
    struct h2_client *c = owner;
    ssize_t sent = send(c->fd, data, size, MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EAGAIN ? NGHTTP2_ERR_WOULDBLOCK : NGHTTP2_ERR_CALLBACK_FAILURE;
    return sent;
}

static ssize_t on_read(nghttp2_session *ng, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                       nghttp2_data_source *source, void *owner)
{
    (void)ng;
    (void)id;
    (void)owner;
    struct call *call = source->ptr;
    if (call->out_size == 0 && !call->out_ends)
        return NGHTTP2_ERR_DEFERRED;
    size_t size = call->out_size < room ? call->out_size : room;
    if (size > 0)
        memcpy(to, call->out, size);
    call->out_size -= size;
    if (call->out_size > 0)
        memmove(call->out, call->out + size, call->out_size);
    if (call->out_size == 0 && call->out_ends)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)size;
}

/* ---- the connection ---- */

int h2_client_socket(const struct io_addr *addr)
{
    int fd = socket(addr->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int on = 1;
    if (connect(fd, (const struct sockaddr *)&addr->sa, addr->sa_size) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool session_open(struct h2_client *c, uint32_t window_bytes)
{
    nghttp2_session_callbacks *cb;
    if (nghttp2_session_callbacks_new(&cb) != 0)
        return false;
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_send_callback(cb, on_send);
    int error = nghttp2_session_client_new(&c->ng, cb, c);
    nghttp2_session_callbacks_del(cb);
    if (error != 0)
        return false;
    nghttp2_settings_entry entry = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window_bytes };
    return nghttp2_submit_settings(c->ng, NGHTTP2_FLAG_NONE, &entry, 1) == 0 &&
           nghttp2_session_set_local_window_size(c->ng, NGHTTP2_FLAG_NONE, 0,
                                                 (int32_t)window_bytes) == 0;
}

struct h2_client *h2_client_open(const struct io_addr *addr,
                                 const struct h2_client_options *options)
{
    struct h2_client *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    list_init(&c->calls);
    c->goaway_code = -1;
    uint32_t window_bytes = options && options->window_bytes ? options->window_bytes : WINDOW_BYTES;
    c->fd = h2_client_socket(addr);
    if (c->fd < 0 || fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0 || !session_open(c, window_bytes) ||
        !h2_client_flush(c)) {
        h2_client_close(c);
        return NULL;
    }
    return c;
}

static void call_free(struct call *call)
{
    list_remove(&call->link);
    free(call->reply.body);
    free(call->out);
    free(call);
}

void h2_client_close(struct h2_client *c)
{
    if (!c)
        return;
    nghttp2_session_del(c->ng);
    while (!list_is_empty(&c->calls))
        call_free(LIST_ENTRY(c->calls.next, struct call, link));
    if (c->fd >= 0)
        close(c->fd);
    free(c);
}

bool h2_client_flush(struct h2_client *c)
{
    if (!c->ended && nghttp2_session_send(c->ng) != 0)
        c->ended = true; /* reset by the server */
    return !c->ended;
}

/* Sends, waits for bytes, and takes them. False: nothing came in time. */
static bool turn(struct h2_client *c)
{
    h2_client_flush(c);
    short events = POLLIN;
    if (nghttp2_session_want_write(c->ng) && !c->ended)
        events |= POLLOUT;
    struct pollfd p = { .fd = c->fd, .events = events };
    if (poll(&p, 1, H2_CLIENT_WAIT_MS) <= 0)
        return false;
    static uint8_t bytes[READ_BYTES];
    ssize_t size = recv(c->fd, bytes, sizeof bytes, 0);
    if (size < 0 && errno == EAGAIN)
        return true;
    if (size <= 0 || nghttp2_session_mem_recv(c->ng, bytes, (size_t)size) != size)
        c->ended = true;
    return true;
}

/* ---- calls ---- */

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){ (uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                         strlen(value), NGHTTP2_NV_FLAG_NONE };
}

static bool call_add(struct call *call, struct slice bytes, bool end)
{
    uint8_t *out = realloc(call->out, call->out_size + bytes.size + 1);
    if (!out)
        return false;
    if (bytes.size > 0)
        memcpy(out + call->out_size, bytes.data, bytes.size);
    call->out = out;
    call->out_size += bytes.size;
    call->out_ends = end;
    return true;
}

int32_t h2_client_call(struct h2_client *c, const struct h2_request *q, struct slice bytes,
                       bool end)
{
    nghttp2_nv fields[9];
    size_t count = 0;
    fields[count++] = field(":method", q->method ? q->method : "POST");
    fields[count++] = field(":scheme", "http");
    fields[count++] = field(":authority", "localhost");
    fields[count++] = field(":path", q->path);
    fields[count++] = field("content-type", q->content_type ? q->content_type : "application/grpc");
    fields[count++] = field("te", "trailers");
    if (q->timeout)
        fields[count++] = field("grpc-timeout", q->timeout);
    if (q->encoding)
        fields[count++] = field("grpc-encoding", q->encoding);
    if (q->extra_name)
        fields[count++] = field(q->extra_name, q->extra_value);
    struct call *call = calloc(1, sizeof *call);
    if (!call)
        return -1;
    list_push_back(&c->calls, &call->link);
    call->reply.grpc_status = -1;
    nghttp2_data_provider provider = { { .ptr = call }, on_read };
    int32_t id = -1;
    if (call_add(call, bytes, end))
        id = nghttp2_submit_request(c->ng, NULL, fields, count, &provider, NULL);
    if (id < 0)
        call_free(call);
    else
        call->reply.id = id;
    return id;
}

bool h2_client_data(struct h2_client *c, int32_t id, struct slice bytes, bool end)
{
    struct call *call = call_find(c, id);
    if (!call || !call_add(call, bytes, end))
        return false;
    int error = nghttp2_session_resume_data(c->ng, id);
    return error == 0 || error == NGHTTP2_ERR_INVALID_ARGUMENT; /* not begun: nothing to resume */
}

bool h2_client_reset(struct h2_client *c, int32_t id, uint32_t code)
{
    return nghttp2_submit_rst_stream(c->ng, NGHTTP2_FLAG_NONE, id, code) == 0;
}

bool h2_client_ping(struct h2_client *c)
{
    /* nghttp2 would send it before what was queued earlier. */
    return h2_client_flush(c) && nghttp2_submit_ping(c->ng, NGHTTP2_FLAG_NONE, NULL) == 0;
}

bool h2_client_settings(struct h2_client *c, const nghttp2_settings_entry *entries, size_t count)
{
    return nghttp2_submit_settings(c->ng, NGHTTP2_FLAG_NONE, entries, count) == 0;
}

const struct h2_reply *h2_client_wait(struct h2_client *c, int32_t id)
{
    struct call *call = call_find(c, id);
    while (call && !call->reply.closed) {
        if (c->ended || !turn(c))
            return NULL;
    }
    return call ? &call->reply : NULL;
}

const struct h2_reply *h2_client_wait_body(struct h2_client *c, int32_t id, size_t bytes)
{
    struct call *call = call_find(c, id);
    while (call && call->reply.body_size < bytes) {
        if (c->ended || call->reply.closed || !turn(c))
            return NULL;
    }
    return call ? &call->reply : NULL;
}

void h2_client_forget(struct h2_client *c, int32_t id)
{
    struct call *call = call_find(c, id);
    if (call && call->reply.closed)
        call_free(call);
}

bool h2_client_wait_end(struct h2_client *c)
{
    while (!c->ended) {
        if (!turn(c))
            return false;
    }
    return true;
}

bool h2_client_wait_pings(struct h2_client *c, size_t answered, size_t received)
{
    while (c->pongs < answered || c->pings < received) {
        if (c->ended || !turn(c))
            return false;
    }
    return h2_client_flush(c);
}

bool h2_client_wait_settings(struct h2_client *c)
{
    while (!c->settings_acked || !c->settings_seen) {
        if (c->ended || !turn(c))
            return false;
    }
    return h2_client_flush(c);
}

int64_t h2_client_goaway(const struct h2_client *c, const char **ret_debug)
{
    *ret_debug = c->goaway_debug;
    return c->goaway_code;
}

uint32_t h2_client_setting(const struct h2_client *c, nghttp2_settings_id id)
{
    return nghttp2_session_get_remote_settings(c->ng, id);
}

int h2_client_fd(const struct h2_client *c)
{
    return c->fd;
}

size_t h2_message(uint8_t *to, uint8_t flags, struct slice message)
{
    to[0] = flags;
    put_be32(to + 1, (uint32_t)message.size);
    if (message.size > 0)
        memcpy(to + PREFIX_BYTES, message.data, message.size);
    return PREFIX_BYTES + message.size;
}
