/* Requests: from streams of bytes to calls of methods.
 *
 * Rules and texts follow grpc-go's server, since clients see them. A unary call is handed over
 * when the client has ended its request and sent exactly one message.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "rpc/grpc_internal.h"

enum { TEXT_BYTES_MAX = 1024, IN_BYTES_MIN = 1024 };

static struct grpc_call *call_of(struct http2_stream *s)
{
    return (struct grpc_call *)s;
}

__attribute__((format(printf, 4, 5))) static void call_refuse(struct grpc_call *call,
                                                              const char *http_status,
                                                              enum grpc_status status,
                                                              const char *format, ...)
{
    char text[TEXT_BYTES_MAX];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ASSERT(size >= 0);
    size_t kept = (size_t)size < sizeof text ? (size_t)size : sizeof text - 1;
    grpc_call_reject(call, &(struct http2_refusal){
                               .http_status = http_status,
                               .status = (uint32_t)status,
                               .text = slice_of(text, kept),
                               .tells_encodings = status == GRPC_UNIMPLEMENTED,
                           });
}

/* For %.*s: what is cut off is cut off at the end of the text anyway. */
static int text_size(struct slice text)
{
    return text.size < TEXT_BYTES_MAX ? (int)text.size : TEXT_BYTES_MAX;
}

/* ---- a call's life ---- */

static struct grpc_call *call_new(struct grpc_server *server)
{
    struct list *node = list_pop_front(&server->spare);
    if (node) {
        server->spare_count--;
        return LIST_ENTRY(node, struct grpc_call, link);
    }
    struct grpc_call *call = calloc(1, sizeof *call);
    if (!call)
        return NULL;
    call->server = server;
    uint64_t bytes = (uint64_t)server->options.message_bytes_max * GRPC_ARENA_MESSAGES;
    arena_init(&call->arena, (size_t)bytes + GRPC_ARENA_BYTES_MIN);
    timer_init(&call->timer, grpc_call_on_deadline, call);
    list_init(&call->link);
    return call;
}

static struct http2_stream *on_open(void *owner)
{
    struct grpc_server *server = owner;
    struct grpc_call *call = call_new(server);
    if (!call)
        return NULL;
    call->deadline_ms = UINT64_MAX;
    list_push_back(&server->fresh, &call->link);
    server->counters.calls_started++;
    server->counters.calls_open++;
    return &call->stream;
}

static void in_release(struct grpc_call *call)
{
    call->server->request_bytes -= call->in.counted_bytes;
    call->in.counted_bytes = 0;
    call->in.size = 0;
    if (call->in.capacity > GRPC_IN_KEPT_BYTES) {
        free(call->in.data);
        call->in = (struct grpc_in){ 0 };
    }
}

/* Everything but the memory that the next call may use. */
static void call_clear(struct grpc_call *call)
{
    struct grpc_server *server = call->server;
    struct http2_out out = call->stream.out;
    struct arena arena = call->arena;
    in_release(call);
    struct grpc_in in = call->in;
    memset(call, 0, sizeof *call);
    call->server = server;
    call->stream.out = out;
    call->in = in;
    call->arena = arena;
    arena_reset(&call->arena);
    list_init(&call->link);
    list_init(&call->stream.link);
    timer_init(&call->timer, grpc_call_on_deadline, call);
}

static void on_closed(struct http2_stream *s)
{
    struct grpc_call *call = call_of(s);
    struct grpc_server *server = call->server;
    server->counters.calls_open--;
    if (!s->finished)
        grpc_call_lose(call);
    list_remove(&call->link);
    call_clear(call);
    if (server->spare_count == GRPC_SPARE_CALLS_MAX) {
        grpc_call_free(call);
        return;
    }
    /* The last one in is the first one out: its memory is warm. */
    list_push_back(server->spare.next, &call->link);
    server->spare_count++;
}

/* ---- headers ---- */

/* A macro, so that the compiler knows the size and compares words. */
#define IS(a, text) ((a).size == sizeof(text) - 1 && memcmp((a).data, text, sizeof(text) - 1) == 0)

static const struct grpc_method *method_find(const struct grpc_server *server, struct slice path)
{
    size_t low = 0;
    size_t high = server->options.method_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = slice_compare(path, server->paths[mid]);
        if (order == 0)
            return &server->options.methods[mid];
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

static bool on_path(struct grpc_call *call, struct slice path)
{
    call->method = method_find(call->server, path);
    return call->method || arena_copy(&call->arena, path, &call->path);
}

static bool on_content_type(struct grpc_call *call, struct slice value)
{
    call->type_is_ours = grpc_content_type_is_ours(value);
    return call->type_is_ours || arena_copy(&call->arena, value, &call->content_type);
}

static bool on_token(struct grpc_call *call, struct slice value, bool exact)
{
    if (call->token_is_exact && !exact)
        return true;
    call->token_is_exact = exact;
    return arena_copy(&call->arena, value, &call->metadata.authorization);
}

static void on_timeout(struct grpc_call *call, struct slice value)
{
    uint64_t timeout_ms;
    if (grpc_timeout_parse(value, &timeout_ms))
        call->deadline_ms = io_now_ms(call->server->options.io) + timeout_ms;
    else
        call->timeout_is_bad = true;
}

/* By size first: most headers of most requests are none of ours. */
static bool on_header(struct http2_stream *s, struct slice name, struct slice value)
{
    struct grpc_call *call = call_of(s);
    switch (name.size) {
    case sizeof ":path" - 1:
        if (IS(name, ":path"))
            return on_path(call, value);
        return !IS(name, "token") || on_token(call, value, true);
    case sizeof ":method" - 1:
        if (IS(name, ":method") && !IS(value, "POST"))
            return arena_copy(&call->arena, value, &call->http_method);
        return true;
    case sizeof "hasleader" - 1:
        if (IS(name, "hasleader"))
            call->metadata.has_leader = IS(value, "true");
        return true;
    case sizeof "content-type" - 1:
        if (IS(name, "content-type"))
            return on_content_type(call, value);
        if (IS(name, "grpc-timeout"))
            on_timeout(call, value);
        return true;
    case sizeof "grpc-encoding" - 1:
        if (IS(name, "authorization"))
            return on_token(call, value, false);
        if (IS(name, "grpc-encoding") && !IS(value, "identity"))
            return arena_copy(&call->arena, value, &call->encoding);
        return true;
    default:
        return true;
    }
}

static bool service_is_known(const struct grpc_server *server, struct slice service)
{
    for (size_t i = 0; i < server->options.method_count; i++) {
        struct slice known;
        struct slice method;
        if (grpc_path_split(server->paths[i], &known, &method) && slice_equal(known, service))
            return true;
    }
    return false;
}

static void refuse_path(struct grpc_call *call)
{
    struct slice service;
    struct slice method;
    if (!grpc_path_split(call->path, &service, &method))
        call_refuse(call, "200", GRPC_UNIMPLEMENTED, "malformed method name: \"%.*s\"",
                    text_size(call->path), (const char *)call->path.data);
    else if (service_is_known(call->server, service))
        call_refuse(call, "200", GRPC_UNIMPLEMENTED, "unknown method %.*s for service %.*s",
                    text_size(method), (const char *)method.data, text_size(service),
                    (const char *)service.data);
    else
        call_refuse(call, "200", GRPC_UNIMPLEMENTED, "unknown service %.*s", text_size(service),
                    (const char *)service.data);
}

static void on_headers_end(struct http2_stream *s)
{
    struct grpc_call *call = call_of(s);
    if (!call->type_is_ours)
        call_refuse(call, "415", GRPC_INVALID_ARGUMENT,
                    "invalid gRPC request content-type \"%.*s\"", text_size(call->content_type),
                    (const char *)call->content_type.data);
    else if (call->timeout_is_bad)
        call_refuse(call, "400", GRPC_INTERNAL, "malformed grpc-timeout");
    else if (call->http_method.size > 0)
        call_refuse(call, "405", GRPC_INTERNAL,
                    "Received a HEADERS frame with :method \"%.*s\" which should be POST",
                    text_size(call->http_method), (const char *)call->http_method.data);
    else if (!call->method)
        refuse_path(call);
}

/* ---- messages ---- */

static bool in_count(struct grpc_call *call, uint64_t bytes)
{
    struct grpc_server *server = call->server;
    uint64_t more = bytes - call->in.counted_bytes;
    if (more > server->options.request_bytes_max - server->request_bytes) {
        server->counters.calls_refused++;
        const char *text = server->options.request_bytes_full;
        call_refuse(call, "200", GRPC_RESOURCE_EXHAUSTED, "%s", text ? text : "too many requests");
        return false;
    }
    server->request_bytes += more;
    call->in.counted_bytes = bytes;
    return true;
}

/* Grows with what came, never with what was announced alone (I9). */
static bool in_append(struct grpc_call *call, struct slice bytes, size_t message_bytes)
{
    struct grpc_in *in = &call->in;
    size_t need = in->size + bytes.size;
    if (need > in->capacity) {
        size_t capacity = in->capacity * 2 > IN_BYTES_MIN ? in->capacity * 2 : IN_BYTES_MIN;
        if (capacity > message_bytes)
            capacity = message_bytes;
        if (capacity < need)
            capacity = need;
        if (!in_count(call, capacity))
            return false;
        uint8_t *data = realloc(in->data, capacity);
        if (!data) {
            call_refuse(call, "200", GRPC_RESOURCE_EXHAUSTED, "out of memory");
            return false;
        }
        in->data = data;
        in->capacity = capacity;
    } else if (in->counted_bytes == 0 && !in_count(call, in->capacity)) {
        return false;
    }
    if (bytes.size > 0)
        memcpy(in->data + in->size, bytes.data, bytes.size);
    in->size = need;
    return true;
}

/* The checks of grpc-go: rpc_util.go, recvMsg and checkRecvPayload, in their order. */
static bool prefix_is_good(struct grpc_call *call)
{
    struct grpc_server *server = call->server;
    uint32_t bytes = grpc_prefix_message_bytes(&call->prefix);
    uint8_t flags = grpc_prefix_flags(&call->prefix);
    uint32_t bytes_max = server->options.message_bytes_max;
    if (bytes > bytes_max) {
        server->counters.calls_too_large++;
        const char *text = server->options.message_too_large;
        if (text)
            call_refuse(call, "200", GRPC_RESOURCE_EXHAUSTED, "%s", text);
        else
            call_refuse(call, "200", GRPC_RESOURCE_EXHAUSTED,
                        "grpc: received message larger than max (%u vs. %u)", bytes, bytes_max);
    } else if (flags == 1 && call->encoding.size == 0) {
        call_refuse(call, "200", GRPC_INTERNAL,
                    "grpc: compressed flag set with identity or empty encoding");
    } else if (flags == 1) {
        call_refuse(call, "200", GRPC_UNIMPLEMENTED,
                    "grpc: Decompressor is not installed for grpc-encoding \"%.*s\"",
                    text_size(call->encoding), (const char *)call->encoding.data);
    } else if (flags != 0) {
        call_refuse(call, "200", GRPC_INTERNAL, "grpc: received unexpected payload format %u",
                    flags);
    } else {
        return true;
    }
    return false;
}

static void call_dispatch(struct grpc_call *call, struct slice message)
{
    call->method->on_message(call->server->options.owner, call, message);
}

static void on_whole_message(struct grpc_call *call, struct slice message, bool borrowed)
{
    call->prefix.count = 0;
    if (call->method->client_streams) {
        call_dispatch(call, message);
        in_release(call);
        return;
    }
    call->message_seen = true;
    call->message_borrowed = borrowed;
    call->message = message;
    if (borrowed && list_is_empty(&call->link))
        list_push_back(&call->server->fresh, &call->link);
}

/* The part of the message at the front of *bytes. False: the call was refused. */
static bool on_message_bytes(struct grpc_call *call, struct slice *bytes)
{
    size_t message_bytes = grpc_prefix_message_bytes(&call->prefix);
    if (call->in.size == 0 && bytes->size >= message_bytes) {
        struct slice message = slice_of(bytes->data, message_bytes);
        *bytes = slice_of(bytes->data + message_bytes, bytes->size - message_bytes);
        on_whole_message(call, message, true);
        return true;
    }
    size_t missing = message_bytes - call->in.size;
    size_t take = bytes->size < missing ? bytes->size : missing;
    if (!in_append(call, slice_of(bytes->data, take), message_bytes))
        return false;
    *bytes = slice_of(bytes->data + take, bytes->size - take);
    if (call->in.size == message_bytes)
        on_whole_message(call, slice_of(call->in.data, call->in.size), false);
    return true;
}

/* Completes the prefix from the front of *bytes. True: it is complete and good. */
static bool on_prefix_bytes(struct grpc_call *call, struct slice *bytes)
{
    if (!grpc_prefix_take(&call->prefix, bytes) || !prefix_is_good(call))
        return false;
    if (call->message_seen) {
        call_refuse(call, "200", GRPC_INTERNAL,
                    "cardinality violation: received multiple request messages for "
                    "non-client-streaming RPC");
        return false;
    }
    return true;
}

static void on_data(struct http2_stream *s, struct slice bytes)
{
    struct grpc_call *call = call_of(s);
    while (bytes.size > 0 && !s->finished) {
        bool begun = call->prefix.count == GRPC_PREFIX_BYTES;
        if (!begun && !on_prefix_bytes(call, &bytes))
            return;
        /* An empty message is whole with its prefix: this is not for the loop's condition. */
        if (!on_message_bytes(call, &bytes))
            return;
    }
}

static void on_request_end(struct http2_stream *s)
{
    struct grpc_call *call = call_of(s);
    if (s->finished)
        return;
    if (call->prefix.count > 0) {
        call_refuse(call, "200", GRPC_INTERNAL, "unexpected EOF");
    } else if (call->method->client_streams) {
        if (call->method->on_half_close)
            call->method->on_half_close(call->server->options.owner, call);
    } else if (!call->message_seen) {
        call_refuse(call, "200", GRPC_INTERNAL,
                    "cardinality violation: received no request message from "
                    "non-client-streaming RPC");
    } else {
        call_dispatch(call, call->message);
        call->message = slice_of(NULL, 0);
        call->message_borrowed = false;
        in_release(call);
    }
}

/* ---- the end of what came in at once ---- */

/* The receive buffer is about to be reused. */
static void message_keep(struct grpc_call *call)
{
    struct slice message = call->message;
    call->message_borrowed = false;
    if (call->stream.finished || !in_append(call, message, message.size))
        return;
    call->message = slice_of(call->in.data, call->in.size);
}

/* Most calls are answered before this; the others now get what they need to wait. */
static void on_settle(void *owner)
{
    struct grpc_server *server = owner;
    struct list *node;
    while ((node = list_pop_front(&server->fresh))) {
        struct grpc_call *call = LIST_ENTRY(node, struct grpc_call, link);
        if (call->message_borrowed)
            message_keep(call);
        if (call->stream.finished || call->deadline_ms == UINT64_MAX || call->timer.heap_i != 0)
            continue;
        if (!io_timer_set(server->options.io, &call->timer, call->deadline_ms)) {
            server->counters.calls_refused++;
            call_refuse(call, "200", GRPC_RESOURCE_EXHAUSTED, "too many timers");
        }
    }
}

const struct http2_events grpc_stream_events = {
    .open = on_open,
    .header = on_header,
    .headers_end = on_headers_end,
    .data = on_data,
    .request_end = on_request_end,
    .settle = on_settle,
    .closed = on_closed,
};
