/* Requests and answers as nghttp2 sees them.
 *
 * What makes it cheap: no priorities, no header checks (a benchmark trusts its server), windows so
 * large that WINDOW_UPDATE is never due, header fields that are not copied, DATA frames written
 * from the request straight into the connection's out buffer, and no look-up of the stream for
 * header fields that mean nothing here.
 */
#include "tools/bench_session.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "rpc/grpc.h"
#include "rpc/grpc_codec.h"
#include "rpc/http2_pool.h"
#include "tools/client_h2.h"

enum { FRAME_HEAD_BYTES = 9, BUFFER_BYTES = 256 << 10 };

/* ---- requests ---- */

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *buffer, size_t size,
                       uint32_t *flags, nghttp2_data_source *source, void *owner)
{
    (void)session;
    (void)buffer;
    (void)owner;
    const struct bench_call *call = source->ptr;
    if (call->stream_id != id)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* given up meanwhile */
    size_t left = call->request.size - call->sent;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (left > size)
        return (ssize_t)size;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)left;
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                        size_t size, nghttp2_data_source *source, void *owner)
{
    (void)session;
    (void)frame;
    struct bench_conn *c = owner;
    struct bench_call *call = source->ptr;
    uint8_t *room = bench_conn_out_room(c, FRAME_HEAD_BYTES + size);
    if (!room)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    memcpy(room, head, FRAME_HEAD_BYTES);
    memcpy(room + FRAME_HEAD_BYTES, call->request.data + call->sent, size);
    call->sent += size;
    return 0;
}

#define FIELD(name_text, value_text)                                           \
    {                                                                          \
        (uint8_t *)(uintptr_t)(name_text), (uint8_t *)(uintptr_t)(value_text), \
            sizeof(name_text) - 1, sizeof(value_text) - 1,                     \
            NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE       \
    }

bool bench_session_submit(struct bench_conn *c, struct bench_call *call, struct slice path)
{
    enum { PATH = 2, AUTHORITY = 3 };
    nghttp2_nv fields[] = {
        FIELD(":method", "POST"), FIELD(":scheme", "http"),
        FIELD(":path", ""),       FIELD(":authority", ""),
        FIELD("te", "trailers"),  FIELD("content-type", "application/grpc"),
    };
    fields[PATH].value = (uint8_t *)(uintptr_t)path.data;
    fields[PATH].valuelen = path.size;
    fields[AUTHORITY].value = (uint8_t *)(uintptr_t)c->endpoint->authority;
    fields[AUTHORITY].valuelen = strlen(c->endpoint->authority);
    call->sent = 0;
    call->received = 0;
    call->http_status = 0;
    call->grpc_status = -1;
    call->text[0] = '\0';
    nghttp2_data_provider body = { { .ptr = call }, on_read };
    int32_t id = nghttp2_submit_request(c->session, NULL, fields, sizeof fields / sizeof fields[0],
                                        &body, call);
    call->stream_id = id > 0 ? id : 0;
    return id > 0;
}

void bench_session_reset(struct bench_conn *c, struct bench_call *call)
{
    int32_t id = call->stream_id;
    call->stream_id = 0;
    IGNORE(nghttp2_session_set_stream_user_data(c->session, id, NULL) != 0, "it was not sent yet");
    IGNORE(nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL) != 0,
           "without memory the server goes on for nothing");
}

/* ---- answers ---- */

static struct bench_call *call_of(nghttp2_session *session, int32_t id)
{
    struct bench_call *call = nghttp2_session_get_stream_user_data(session, id);
    return call && call->stream_id == id ? call : NULL;
}

static int number_of(nghttp2_vec text)
{
    int value = 0;
    for (size_t i = 0; i < text.len && i < 4; i++)
        value = value * 10 + (text.base[i] - '0');
    return value;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                     nghttp2_rcbuf *value, uint8_t flags, void *owner)
{
    (void)flags;
    (void)owner;
    nghttp2_vec key = nghttp2_rcbuf_get_buf(name);
    nghttp2_vec text = nghttp2_rcbuf_get_buf(value);
    bool is_status = key.len == 11 && memcmp(key.base, "grpc-status", 11) == 0;
    bool is_message = key.len == 12 && memcmp(key.base, "grpc-message", 12) == 0;
    bool is_http = key.len == 7 && memcmp(key.base, ":status", 7) == 0;
    if (!is_status && !is_message && !is_http)
        return 0;
    struct bench_call *call = call_of(session, frame->hd.stream_id);
    if (!call)
        return 0;
    if (is_status)
        call->grpc_status = number_of(text);
    else if (is_http)
        call->http_status = number_of(text);
    else
        client_h2_message_decode(slice_of(text.base, text.len), call->text, sizeof call->text);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t size, void *owner)
{
    (void)flags;
    (void)owner;
    struct bench_call *call = call_of(session, id);
    if (!call)
        return 0;
    if (call->received < call->head_capacity) {
        size_t room = call->head_capacity - call->received;
        memcpy(call->head + call->received, data, size < room ? size : room);
    }
    call->received += size;
    return 0;
}

static const char *status_name(int status)
{
    static const char *const names[] = {
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    };
    return status >= 0 && status < (int)(sizeof names / sizeof names[0]) ? names[status]
                                                                         : "UNKNOWN";
}

static bool message_is_whole(const struct bench_call *call)
{
    return call->received >= GRPC_PREFIX_BYTES && call->head[0] == 0 &&
           get_be32(call->head + 1) == call->received - GRPC_PREFIX_BYTES;
}

/* NULL: it succeeded. */
static const char *verdict(const struct bench_call *call, uint32_t reset, char *text, size_t size)
{
    int written = 0;
    if (call->grpc_status == GRPC_OK)
        return message_is_whole(call) ? NULL : "an answer that is not one whole message";
    if (call->grpc_status > 0 && call->text[0] != '\0')
        written = snprintf(text, size, "%s: %s", status_name(call->grpc_status), call->text);
    else if (call->grpc_status > 0)
        written = snprintf(text, size, "%s", status_name(call->grpc_status));
    else if (reset != NGHTTP2_NO_ERROR)
        written = snprintf(text, size, "stream reset: %s", nghttp2_http2_strerror(reset));
    else
        written = snprintf(text, size, "HTTP status %d without a gRPC one", call->http_status);
    IGNORE(written < 0, "a cut text still says enough");
    return text;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *owner)
{
    struct bench_conn *c = owner;
    struct bench_call *call = call_of(session, id);
    if (!call)
        return 0;
    char text[2 * BENCH_CALL_TEXT_BYTES];
    call->stream_id = 0;
    c->env->on_end(c->env->owner, call, verdict(call, error, text, sizeof text));
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *owner)
{
    (void)session;
    struct bench_conn *c = owner;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        c->is_leaving = true;
    return 0;
}

/* ---- opening ---- */

bool bench_session_open(struct bench_conn *c)
{
    struct bench_conn_env *env = c->env;
    nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, INT32_MAX },
        { NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 },
    };
    nghttp2_session *session;
    if (nghttp2_session_client_new3(&session, env->callbacks, c, env->option, &env->mem) != 0)
        return false;
    if (nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings,
                                sizeof settings / sizeof settings[0]) != 0 ||
        nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, INT32_MAX) != 0) {
        nghttp2_session_del(session);
        return false;
    }
    c->session = session;
    return true;
}

bool bench_conn_env_open(struct bench_conn_env *env)
{
    list_init(&env->dirty);
    env->buffer_bytes = BUFFER_BYTES;
    env->buffer = malloc(BUFFER_BYTES);
    env->pool = http2_pool_new();
    if (!env->buffer || !env->pool || nghttp2_session_callbacks_new(&env->callbacks) != 0 ||
        nghttp2_option_new(&env->option) != 0)
        return false;
    env->mem = http2_pool_mem(env->pool);
    nghttp2_option_set_no_http_messaging(env->option, 1);
    nghttp2_session_callbacks_set_send_data_callback(env->callbacks, on_send_data);
    nghttp2_session_callbacks_set_on_header_callback2(env->callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(env->callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(env->callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(env->callbacks, on_frame);
    return true;
}

void bench_conn_env_close(struct bench_conn_env *env)
{
    nghttp2_session_callbacks_del(env->callbacks);
    nghttp2_option_del(env->option);
    http2_pool_free(env->pool);
    free(env->buffer);
}
