#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "rpc/grpc_codec.h"
#include "tests/sim/client_internal.h"

enum {
    STREAM_WINDOW_BYTES = 4 << 20, /* so large that updates are rare */
    CONNECTION_WINDOW_BYTES = 64 << 20,
    REPLY_BYTES_MIN = 256,
    STATUS_DIGITS_MAX = 3,
};

bool sim_call_is_sent(const struct sim_call *call)
{
    return call->sent_bytes == GRPC_PREFIX_BYTES + call->request.size;
}

/* ---- nghttp2's callbacks ---- */

static struct sim_call *call_of(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

static ssize_t on_read(nghttp2_session *session, int32_t stream_id, uint8_t *to, size_t room,
                       uint32_t *flags, nghttp2_data_source *source, void *owner)
{
    (void)source;
    (void)owner;
    struct sim_call *call = call_of(session, stream_id);
    if (!call)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* cancelled: its request may be gone */
    size_t filled = 0;
    while (filled < room && !sim_call_is_sent(call)) {
        bool in_prefix = call->sent_bytes < GRPC_PREFIX_BYTES;
        const uint8_t *from = in_prefix
                                  ? call->prefix + call->sent_bytes
                                  : call->request.data + (call->sent_bytes - GRPC_PREFIX_BYTES);
        size_t end = in_prefix ? GRPC_PREFIX_BYTES : GRPC_PREFIX_BYTES + call->request.size;
        size_t part =
            end - call->sent_bytes < room - filled ? end - call->sent_bytes : room - filled;
        memcpy(to + filled, from, part);
        call->sent_bytes += part;
        filled += part;
    }
    if (sim_call_is_sent(call))
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)filled;
}

/* -1: no small number. */
static int digits_value(const uint8_t *text, size_t size)
{
    int value = 0;
    if (size == 0 || size > STATUS_DIGITS_MAX)
        return -1;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

static bool name_is(const uint8_t *name, size_t size, const char *text)
{
    return slice_equal(slice_of(name, size), slice_of_text(text));
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *owner)
{
    (void)flags;
    (void)owner;
    struct sim_call *call = call_of(session, frame->hd.stream_id);
    if (!call)
        return 0;
    if (name_is(name, name_size, "grpc-status")) {
        call->grpc_status = digits_value(value, value_size);
    } else if (name_is(name, name_size, "grpc-message")) {
        size_t kept = value_size < sizeof call->text - 1 ? value_size : sizeof call->text - 1;
        if (kept > 0)
            memcpy(call->text, value, kept);
        call->text[kept] = '\0';
    }
    return 0;
}

static bool reply_reserve(struct sim_call *call, size_t size)
{
    if (size <= call->reply_capacity)
        return true;
    size_t capacity = call->reply_capacity > 0 ? call->reply_capacity : REPLY_BYTES_MIN;
    while (capacity < size)
        capacity *= 2;
    uint8_t *reply = realloc(call->reply, capacity);
    if (!reply)
        return false;
    call->reply = reply;
    call->reply_capacity = capacity;
    return true;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t size, void *owner)
{
    (void)flags;
    struct sim_client *c = owner;
    struct sim_call *call = call_of(session, stream_id);
    if (!call || call->too_large)
        return 0;
    size_t needed = call->reply_size + size;
    if (needed > (size_t)c->options.response_bytes_max + GRPC_PREFIX_BYTES ||
        !reply_reserve(call, needed)) {
        call->too_large = true;
        return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_CANCEL);
    }
    memcpy(call->reply + call->reply_size, data, size);
    call->reply_size = needed;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *owner)
{
    (void)session;
    struct sim_client *c = owner;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        c->goaway = true; /* nghttp2 closes the streams past its last one as refused */
    return 0;
}

/* One whole message and nothing else. */
static bool reply_is_whole(struct sim_call *call)
{
    struct grpc_prefix prefix = { .count = 0 };
    struct slice bytes = slice_of(call->reply, call->reply_size);
    if (!grpc_prefix_take(&prefix, &bytes) || grpc_prefix_flags(&prefix) != 0 ||
        grpc_prefix_message_bytes(&prefix) != bytes.size)
        return false;
    call->response = bytes;
    return true;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error, void *owner)
{
    (void)owner;
    struct sim_call *call = call_of(session, stream_id);
    if (!call)
        return 0;
    bool has_status = call->grpc_status >= 0 && call->grpc_status <= GRPC_UNAUTHENTICATED;
    if (has_status && !call->too_large && (call->grpc_status != GRPC_OK || reply_is_whole(call))) {
        call->status = (enum grpc_status)call->grpc_status;
        sim_call_finish(call, SIM_ANSWERED);
    } else if (error == NGHTTP2_REFUSED_STREAM || !sim_call_is_sent(call)) {
        sim_call_finish(call, SIM_NOT_SENT);
    } else {
        sim_call_finish(call, SIM_UNKNOWN);
    }
    return 0;
}

/* ---- for client.c ---- */

bool sim_h2_open(struct sim_client *c)
{
    nghttp2_session_callbacks *cb = NULL;
    nghttp2_option *option = NULL;
    if (nghttp2_session_callbacks_new(&cb) != 0)
        return false;
    int error = nghttp2_option_new(&option);
    if (error == 0) {
        nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
        nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
        nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
        nghttp2_option_set_no_closed_streams(option, 1);
        error = nghttp2_session_client_new2(&c->session, cb, c, option);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    if (error != 0)
        return false;
    const nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES },
    };
    if (nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, 2) == 0 &&
        nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0,
                                              CONNECTION_WINDOW_BYTES) == 0)
        return true;
    nghttp2_session_del(c->session);
    c->session = NULL;
    return false;
}

/* Names and values outlive the request, so nghttp2 need not copy them. */
static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)name,
                         .value = (uint8_t *)(uintptr_t)value,
                         .namelen = strlen(name),
                         .valuelen = strlen(value),
                         .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE };
}

bool sim_h2_submit(struct sim_client *c, struct sim_call *call)
{
    nghttp2_nv fields[] = {
        field(":method", "POST"),
        field(":scheme", "http"),
        field(":path", call->path),
        field(":authority", "cluster"),
        field("content-type", "application/grpc"),
        field("te", "trailers"),
        field("grpc-timeout", call->timeout_text),
    };
    fields[6].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME; /* a call that ends early is used again */
    nghttp2_data_provider body = { .source.ptr = NULL, .read_callback = on_read };
    int32_t id = nghttp2_submit_request(c->session, NULL, fields, sizeof fields / sizeof fields[0],
                                        &body, call);
    if (id < 0)
        return false;
    call->stream_id = id;
    return true;
}

bool sim_h2_receive(struct sim_client *c, struct slice bytes)
{
    c->in_bytes = true;
    ssize_t taken = nghttp2_session_mem_recv(c->session, bytes.data, bytes.size);
    c->in_bytes = false;
    return taken == (ssize_t)bytes.size;
}

bool sim_h2_fill(struct sim_client *c)
{
    while (c->out_size < SIM_OUT_BYTES) {
        const uint8_t *made = NULL;
        ssize_t size = nghttp2_session_mem_send(c->session, &made);
        if (size < 0 || (size_t)size > sizeof c->out - c->out_size)
            return false;
        if (size == 0)
            break;
        memcpy(c->out + c->out_size, made, (size_t)size);
        c->out_size += (size_t)size;
    }
    return true;
}

bool sim_h2_is_over(const struct sim_client *c)
{
    return !nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session);
}

void sim_h2_cancel(struct sim_client *c, struct sim_call *call)
{
    IGNORE(nghttp2_session_set_stream_user_data(c->session, call->stream_id, NULL) != 0,
           "a stream that is gone knows nothing");
    IGNORE(nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, call->stream_id,
                                     NGHTTP2_CANCEL) != 0,
           "the server finishes it for nobody then");
}
