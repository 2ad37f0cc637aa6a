/* What the server says. A frame is handled when it is there as a whole. */
#include <stdio.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "rpc/grpc.h"
#include "rpc/grpc_codec.h"
#include "tools/bench_session_internal.h"
#include "tools/client_h2.h"

enum {
    ACKNOWLEDGE_BYTES = 1 << 30, /* half of the connection's window */
    SETTING_BYTES = 6,
    TABLE_BYTES_MIN =
        4096, /* of the server's header table: the default, and what requests rely on */
    ID_MASK = INT32_MAX,
};

struct frame {
    uint8_t type;
    uint8_t flags;
    uint32_t id;
    struct slice payload;
};

static const char no_memory[] = "out of memory";
static const char bad_frame[] = "a frame that HTTP/2 does not allow";

/* ---- the end of a call ---- */

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
    return status < (int)(sizeof names / sizeof names[0]) ? names[status] : "UNKNOWN";
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

static void call_end(struct bench_session *s, struct bench_call *call, uint32_t reset)
{
    char text[2 * BENCH_CALL_TEXT_BYTES];
    struct bench_conn_env *env = s->conn->env;
    bench_session_forget(s, call);
    env->on_end(env->owner, call, verdict(call, reset, text, sizeof text));
}

/* END_STREAM. When the request is not said to its end yet, the server does not want the rest. */
static const char *stream_end(struct bench_session *s, uint32_t id)
{
    struct bench_call *call = bench_session_call(s, id);
    if (!call)
        return NULL;
    bool cuts = call->sent < call->request.size;
    call_end(s, call, NGHTTP2_NO_ERROR);
    if (cuts && !bench_session_word(s, NGHTTP2_RST_STREAM, id, NGHTTP2_CANCEL))
        return no_memory;
    return NULL;
}

/* ---- frames ---- */

/* Takes the padding off. False: there is more of it than payload. */
static bool unpad(struct frame *f)
{
    if (!(f->flags & NGHTTP2_FLAG_PADDED))
        return true;
    if (f->payload.size == 0 || f->payload.data[0] >= f->payload.size)
        return false;
    f->payload = slice_of(f->payload.data + 1, f->payload.size - 1 - f->payload.data[0]);
    return true;
}

static const char *on_data(struct bench_session *s, struct frame *f)
{
    s->unacknowledged += f->payload.size;
    if (!unpad(f))
        return bad_frame;
    struct bench_call *call = bench_session_call(s, f->id);
    if (call && call->received < call->head_capacity && f->payload.size > 0) {
        size_t room = call->head_capacity - call->received;
        memcpy(call->head + call->received, f->payload.data,
               f->payload.size < room ? f->payload.size : room);
    }
    if (call)
        call->received += f->payload.size;
    if (s->unacknowledged >= ACKNOWLEDGE_BYTES) {
        if (!bench_session_word(s, NGHTTP2_WINDOW_UPDATE, 0, (uint32_t)s->unacknowledged))
            return no_memory;
        s->unacknowledged = 0;
    }
    return f->flags & NGHTTP2_FLAG_END_STREAM ? stream_end(s, f->id) : NULL;
}

static int number_of(struct slice text)
{
    int value = 0;
    for (size_t i = 0; i < text.size && i < 3; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return GRPC_UNKNOWN;
        value = value * 10 + (text.data[i] - '0');
    }
    return value;
}

static bool name_is(const nghttp2_nv *field, const char *text, size_t size)
{
    return field->namelen == size && memcmp(field->name, text, size) == 0;
}

static void on_field(struct bench_call *call, const nghttp2_nv *field)
{
    struct slice value = slice_of(field->value, field->valuelen);
    if (name_is(field, "grpc-status", 11))
        call->grpc_status = number_of(value);
    else if (name_is(field, ":status", 7))
        call->http_status = number_of(value);
    else if (name_is(field, "grpc-message", 12))
        client_h2_message_decode(value, call->text, sizeof call->text);
}

/* A part of a header block; END_HEADERS says that it is the last. Blocks of calls given up are
 * inflated too, since they change the table. */
static const char *on_block(struct bench_session *s, const struct frame *f)
{
    struct bench_call *call = bench_session_call(s, f->id);
    uint8_t *at = (uint8_t *)(uintptr_t)f->payload.data; /* it only reads */
    size_t left = f->payload.size;
    bool is_last = f->flags & NGHTTP2_FLAG_END_HEADERS;
    for (;;) {
        nghttp2_nv field;
        int flags = 0;
        ssize_t size = nghttp2_hd_inflate_hd2(s->inflater, &field, &flags, at, left, is_last);
        if (size < 0)
            return "a header block that HPACK does not allow";
        at += size;
        left -= (size_t)size;
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) && call)
            on_field(call, &field);
        if (flags & NGHTTP2_HD_INFLATE_FINAL) {
            nghttp2_hd_inflate_end_headers(s->inflater);
            break;
        }
        if (!(flags & NGHTTP2_HD_INFLATE_EMIT) && left == 0)
            break;
    }
    s->block_id = is_last ? 0 : f->id;
    return is_last && s->block_ends_stream ? stream_end(s, f->id) : NULL;
}

static const char *on_headers(struct bench_session *s, struct frame *f)
{
    enum { PRIORITY_BYTES = 5 };
    if (!unpad(f))
        return bad_frame;
    if (f->flags & NGHTTP2_FLAG_PRIORITY) {
        if (f->payload.size < PRIORITY_BYTES)
            return bad_frame;
        f->payload = slice_of(f->payload.data + PRIORITY_BYTES, f->payload.size - PRIORITY_BYTES);
    }
    s->block_ends_stream = f->flags & NGHTTP2_FLAG_END_STREAM;
    return on_block(s, f);
}

static const char *on_setting(struct bench_session *s, uint16_t id, uint32_t value)
{
    switch (id) {
    case NGHTTP2_SETTINGS_HEADER_TABLE_SIZE:
        return value < TABLE_BYTES_MIN ? "a header table smaller than usual" : NULL;
    case NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS:
        s->open_max = value;
        return NULL;
    case NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE:
        if (value > INT32_MAX)
            return bad_frame;
        for (size_t i = 0; i <= s->stream_mask; i++) {
            if (s->streams[i])
                s->streams[i]->window += (int64_t)value - s->stream_window;
        }
        s->stream_window = value;
        return NULL;
    default:
        return NULL;
    }
}

static const char *on_settings(struct bench_session *s, const struct frame *f)
{
    if (f->flags & NGHTTP2_FLAG_ACK)
        return NULL;
    if (f->payload.size % SETTING_BYTES != 0)
        return bad_frame;
    if (!s->has_settings)
        s->open_max = UINT32_MAX;
    s->has_settings = true;
    for (size_t at = 0; at < f->payload.size; at += SETTING_BYTES) {
        const uint8_t *setting = f->payload.data + at;
        const char *why = on_setting(s, get_be16(setting), get_be32(setting + 2));
        if (why)
            return why;
    }
    struct bench_control ack = { .type = NGHTTP2_SETTINGS, .flags = NGHTTP2_FLAG_ACK };
    return bench_session_control(s, &ack) ? NULL : no_memory;
}

static const char *on_ping(struct bench_session *s, const struct frame *f)
{
    if (f->flags & NGHTTP2_FLAG_ACK)
        return NULL;
    struct bench_control ack = { .type = NGHTTP2_PING,
                                 .flags = NGHTTP2_FLAG_ACK,
                                 .payload = f->payload };
    return bench_session_control(s, &ack) ? NULL : no_memory;
}

/* What the server has not begun, and will not. */
static const char *on_goaway(struct bench_session *s, const struct frame *f)
{
    if (f->payload.size < 8)
        return bad_frame;
    uint32_t last_id = get_be32(f->payload.data) & ID_MASK;
    s->conn->is_leaving = true;
    for (size_t i = 0; i < s->conn->call_count; i++) {
        struct bench_call *call = &s->conn->calls[i];
        if (call->in_flight && (call->stream_id == 0 || call->stream_id > last_id))
            call_end(s, call, NGHTTP2_REFUSED_STREAM);
    }
    return NULL;
}

static const char *on_window_update(struct bench_session *s, const struct frame *f)
{
    if (f->payload.size != 4)
        return bad_frame;
    uint32_t size = get_be32(f->payload.data) & ID_MASK;
    struct bench_call *call = f->id != 0 ? bench_session_call(s, f->id) : NULL;
    if (f->id == 0)
        s->window += size;
    else if (call)
        call->window += size;
    return NULL;
}

static const char *on_reset(struct bench_session *s, const struct frame *f)
{
    if (f->payload.size != 4)
        return bad_frame;
    struct bench_call *call = bench_session_call(s, f->id);
    if (call)
        call_end(s, call, get_be32(f->payload.data));
    return NULL;
}

static const char *on_frame(struct bench_session *s, struct frame *f)
{
    bool goes_on = f->type == NGHTTP2_CONTINUATION;
    if (goes_on ? s->block_id == 0 || f->id != s->block_id : s->block_id != 0)
        return bad_frame;
    switch (f->type) {
    case NGHTTP2_DATA:
        return on_data(s, f);
    case NGHTTP2_HEADERS:
        return on_headers(s, f);
    case NGHTTP2_CONTINUATION:
        return on_block(s, f);
    case NGHTTP2_RST_STREAM:
        return on_reset(s, f);
    case NGHTTP2_SETTINGS:
        return on_settings(s, f);
    case NGHTTP2_PING:
        return on_ping(s, f);
    case NGHTTP2_GOAWAY:
        return on_goaway(s, f);
    case NGHTTP2_WINDOW_UPDATE:
        return on_window_update(s, f);
    case NGHTTP2_PUSH_PROMISE:
        return bad_frame; /* forbidden in our settings */
    default:
        return NULL; /* RFC 9113 §5.5: what is not known does not matter */
    }
}

const char *bench_session_receive(struct bench_session *s, struct slice bytes, size_t *ret_taken)
{
    size_t at = 0;
    while (bytes.size - at >= BENCH_FRAME_HEAD_BYTES) {
        const uint8_t *head = bytes.data + at;
        size_t size = get_be32(head) >> 8;
        if (size > BENCH_FRAME_BYTES_MAX - BENCH_FRAME_HEAD_BYTES)
            return "a frame larger than 16 KiB, or no HTTP/2";
        if (bytes.size - at - BENCH_FRAME_HEAD_BYTES < size)
            break;
        struct frame frame = { .type = head[3],
                               .flags = head[4],
                               .id = get_be32(head + 5) & ID_MASK,
                               .payload = slice_of(head + BENCH_FRAME_HEAD_BYTES, size) };
        const char *why = on_frame(s, &frame);
        if (why)
            return why;
        at += BENCH_FRAME_HEAD_BYTES + size;
    }
    *ret_taken = at;
    return NULL;
}
