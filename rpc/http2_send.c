/* Answers: what a stream has to say becomes frames in the connection's out buffer.
 *
 * nghttp2 makes the response headers. DATA frames are written here, from the stream's buffer
 * straight into the connection's (NGHTTP2_DATA_FLAG_NO_COPY), and so are the trailers behind the
 * last of them: to nghttp2 that DATA frame ends the stream, on the wire the END_STREAM flag moves
 * to the HEADERS frame that follows. That block leaves the compression state alone
 * (grpc_trailer_encode), with one exception: after a client changed its header table in the middle
 * of a connection, the next block has to begin with the new size (RFC 7541 §4.2), which nghttp2
 * alone knows. From then on nghttp2 makes the trailers too (trailers_indexed).
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "rpc/grpc_codec.h"
#include "rpc/http2_internal.h"

enum {
    FRAME_HEAD_BYTES = 9,
    FRAME_FLAGS = 4, /* the offset in a frame's head */
    OUT_BYTES_MIN = 512,
    STREAM_BYTES_MAX = INT32_MAX,
};

#define FIELD(name_text, value_text)                                           \
    {                                                                          \
        (uint8_t *)(uintptr_t)(name_text), (uint8_t *)(uintptr_t)(value_text), \
            sizeof(name_text) - 1, sizeof(value_text) - 1,                     \
            NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE       \
    }

static const nghttp2_nv field_status_200 = FIELD(":status", "200");
static const nghttp2_nv field_content_type = FIELD("content-type", "application/grpc");
static const nghttp2_nv field_encodings = FIELD("grpc-accept-encoding", "identity");
static const nghttp2_nv field_grpc_status = FIELD("grpc-status", "");
static const nghttp2_nv field_grpc_message = FIELD("grpc-message", "");

/* The value is copied by nghttp2. */
static nghttp2_nv field_with(nghttp2_nv field, struct slice value, uint8_t flags)
{
    field.value = (uint8_t *)(uintptr_t)value.data;
    field.valuelen = value.size;
    field.flags = (uint8_t)(NGHTTP2_NV_FLAG_NO_COPY_NAME | flags);
    return field;
}

/* ---- the stream's buffer ---- */

static bool out_grow(struct http2_out *out, size_t size)
{
    size_t left = out->size - out->sent;
    if (size > (size_t)STREAM_BYTES_MAX - left)
        return false;
    if (out->sent > 0 && out->sent >= left) {
        /* Moving costs less than what was sent since. */
        memcpy(out->data, out->data + out->sent, left);
        out->size = left;
        out->sent = 0;
    }
    if (size <= out->capacity - out->size)
        return true;
    size_t capacity = out->capacity ? out->capacity : OUT_BYTES_MIN;
    while (capacity - out->size < size)
        capacity *= 2;
    uint8_t *data = realloc(out->data, capacity);
    if (!data)
        return false;
    out->data = data;
    out->capacity = capacity;
    return true;
}

static void out_count(struct http2 *h, size_t size)
{
    if (h->waiting_bytes == 0)
        h->progress_ms = conn_now_ms(h->conn);
    h->waiting_bytes += size;
    h->env->waiting_bytes += size;
}

static uint8_t *out_room(struct http2_stream *s, size_t size)
{
    if (size > s->out.capacity - s->out.size && !out_grow(&s->out, size))
        return NULL;
    if (s->is_given)
        s->session->given_bytes += size;
    out_count(s->session, size);
    uint8_t *room = s->out.data + s->out.size;
    s->out.size += size;
    return room;
}

static void out_sent(struct http2_stream *s, size_t size)
{
    struct http2 *h = s->session;
    bool was_full = http2_is_full(h);
    s->out.sent += size;
    h->waiting_bytes -= size;
    h->env->waiting_bytes -= size;
    if (s->is_given)
        h->given_bytes -= size;
    if (was_full && !http2_is_full(h))
        h->env->drains++;
}

void http2_stream_forget(struct http2_stream *s)
{
    struct http2 *h = s->session;
    out_sent(s, s->out.size - s->out.sent);
    s->closed = true;
    if (h->current == s)
        h->current = NULL;
    list_remove(&s->link);
    s->out.size = 0;
    s->out.sent = 0;
    if (s->out.capacity > HTTP2_OUT_KEPT_BYTES)
        http2_stream_done(s);
}

void http2_stream_done(struct http2_stream *s)
{
    free(s->out.data);
    s->out = (struct http2_out){ 0 };
}

/* ---- nghttp2 asks ---- */

static struct slice tail_of(const struct http2_stream *s)
{
    return slice_of(s->out.data + s->out.size - s->tail_bytes, s->tail_bytes);
}

static int submit_trailers(struct http2_stream *s)
{
    char digits[4];
    int size = snprintf(digits, sizeof digits, "%u", (unsigned)s->status);
    struct slice tail = tail_of(s);
    nghttp2_nv fields[2] = {
        field_with(field_grpc_status, slice_of(digits, (size_t)size), 0),
        field_with(field_grpc_message, tail, NGHTTP2_NV_FLAG_NO_INDEX),
    };
    return nghttp2_submit_trailer(s->session->ng, s->id, fields, tail.size > 0 ? 2 : 1);
}

static ssize_t on_read(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t size, uint32_t *flags,
                       nghttp2_data_source *source, void *owner)
{
    (void)ng;
    (void)id;
    (void)buf;
    struct http2 *h = owner;
    struct http2_stream *s = source->ptr;
    size_t left = s->out.size - s->tail_bytes - s->out.sent;
    if (left == 0 && !s->finished) {
        s->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (left > size)
        return (ssize_t)size;
    if (s->finished) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (h->trailers_indexed) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            if (submit_trailers(s) != 0)
                return NGHTTP2_ERR_CALLBACK_FAILURE;
        }
    }
    return (ssize_t)left;
}

static void frame_head_put(uint8_t to[FRAME_HEAD_BYTES], size_t size, uint8_t type, uint8_t flags,
                           int32_t id)
{
    put_be32(to, (uint32_t)size << 8 | type);
    to[FRAME_FLAGS] = flags;
    put_be32(to + FRAME_FLAGS + 1, (uint32_t)id);
}

static int on_send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *head, size_t size,
                        nghttp2_data_source *source, void *owner)
{
    (void)ng;
    struct http2 *h = owner;
    struct http2_stream *s = source->ptr;
    if (conn_out_is_full(h->conn))
        return NGHTTP2_ERR_WOULDBLOCK;
    bool last = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    uint8_t block[GRPC_TRAILER_BYTES_MAX];
    size_t block_size = last ? grpc_trailer_encode(s->status, tail_of(s), block) : 0;
    size_t data_bytes = size > 0 ? FRAME_HEAD_BYTES + size : 0;
    size_t trailer_bytes = last ? FRAME_HEAD_BYTES + block_size : 0;
    uint8_t *room = conn_out_room(h->conn, data_bytes + trailer_bytes);
    if (!room)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (size > 0) {
        memcpy(room, head, FRAME_HEAD_BYTES);
        room[FRAME_FLAGS] &= (uint8_t)~NGHTTP2_FLAG_END_STREAM;
        memcpy(room + FRAME_HEAD_BYTES, s->out.data + s->out.sent, size);
        out_sent(s, size);
    }
    if (last) {
        frame_head_put(room + data_bytes, block_size, NGHTTP2_HEADERS,
                       NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, s->id);
        memcpy(room + data_bytes + FRAME_HEAD_BYTES, block, block_size);
    }
    return 0;
}

/* The answer was complete before the request: the client may stop (RFC 9113 §8.1). */
static int stop_request(struct http2 *h, int32_t id)
{
    const struct http2_stream *s = nghttp2_session_get_stream_user_data(h->ng, id);
    if (!s || s->request_ended)
        return 0;
    return nghttp2_submit_rst_stream(h->ng, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
}

static int on_frame_sent(nghttp2_session *ng, const nghttp2_frame *frame, void *owner)
{
    (void)ng;
    struct http2 *h = owner;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        h->strikes_reset = true;
        if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
            return stop_request(h, frame->hd.stream_id);
        break;
    case NGHTTP2_GOAWAY:
        /* Not ours: nghttp2 has found bytes that are no HTTP/2. */
        if (frame->goaway.error_code != NGHTTP2_NO_ERROR && !h->ends)
            h->conn->set->options.counters->connections_broken++;
        break;
    default:
        break;
    }
    return 0;
}

void http2_send_register(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
}

/* ---- the session's turn ---- */

static ssize_t pump_frame(struct http2 *h)
{
    const uint8_t *data;
    ssize_t size = nghttp2_session_mem_send(h->ng, &data);
    if (size <= 0)
        return size;
    uint8_t *room = conn_out_room(h->conn, (size_t)size);
    if (!room)
        return NGHTTP2_ERR_NOMEM;
    memcpy(room, data, (size_t)size);
    return size;
}

bool http2_pump(struct http2 *h)
{
    uint64_t waiting_bytes = h->waiting_bytes;
    ssize_t size = 1;
    while (size > 0 && !conn_out_is_full(h->conn))
        size = pump_frame(h);
    if (size < 0) {
        conn_fail(h->conn, CONN_END_NOMEM);
        return false;
    }
    if (h->waiting_bytes > 0) {
        uint64_t now_ms = conn_now_ms(h->conn);
        if (h->waiting_bytes < waiting_bytes)
            h->progress_ms = now_ms;
        conn_wake_by(h->conn, now_ms + h->env->options.write_stall_ms);
    }
    if (!nghttp2_session_want_read(h->ng) && !nghttp2_session_want_write(h->ng))
        conn_close_flushed(h->conn);
    return true;
}

/* ---- answers ---- */

static bool stream_answer(struct http2_stream *s)
{
    const nghttp2_nv fields[2] = { field_status_200, field_content_type };
    nghttp2_data_provider provider = { { .ptr = s }, on_read };
    s->answered = true;
    return nghttp2_submit_response(s->session->ng, s->id, fields, 2, &provider) == 0;
}

/* nghttp2 learns that there is something new. */
static bool stream_wake(struct http2_stream *s)
{
    conn_mark(s->session->conn);
    if (!s->answered)
        return stream_answer(s);
    if (!s->deferred)
        return true;
    s->deferred = false;
    return nghttp2_session_resume_data(s->session->ng, s->id) != NGHTTP2_ERR_NOMEM;
}

static bool stream_wake_or_fail(struct http2_stream *s)
{
    if (stream_wake(s))
        return true;
    conn_fail(s->session->conn, CONN_END_NOMEM);
    return false;
}

uint8_t *http2_stream_room(struct http2_stream *s, size_t size)
{
    ASSERT(!s->finished);
    ASSERT(!s->closed);
    uint8_t *room = out_room(s, size);
    return room && stream_wake_or_fail(s) ? room : NULL;
}

bool http2_stream_give(struct http2_stream *s, uint8_t *block, size_t size)
{
    ASSERT(!s->finished);
    ASSERT(!s->closed);
    ASSERT(http2_stream_waiting_bytes(s) == 0);
    if (size > STREAM_BYTES_MAX) {
        free(block);
        return false;
    }
    free(s->out.data);
    s->out = (struct http2_out){ .data = block, .size = size, .capacity = size };
    s->is_given = true;
    s->session->given_bytes += size;
    out_count(s->session, size);
    return stream_wake_or_fail(s);
}

void http2_stream_refuse(struct http2_stream *s, const struct http2_refusal *refusal)
{
    ASSERT(!s->answered);
    ASSERT(!s->finished);
    uint8_t text[GRPC_STATUS_TEXT_BYTES_MAX];
    size_t text_size = grpc_percent_encode(refusal->text, text, sizeof text);
    char digits[4];
    int digit_count = snprintf(digits, sizeof digits, "%u", (unsigned)refusal->status);
    nghttp2_nv fields[5];
    size_t count = 0;
    fields[count++] = field_with(field_status_200, slice_of_text(refusal->http_status), 0);
    fields[count++] = field_content_type;
    fields[count++] = field_with(field_grpc_status, slice_of(digits, (size_t)digit_count), 0);
    if (text_size > 0)
        fields[count++] =
            field_with(field_grpc_message, slice_of(text, text_size), NGHTTP2_NV_FLAG_NO_INDEX);
    if (refusal->tells_encodings)
        fields[count++] = field_encodings;
    s->answered = true;
    s->finished = true;
    conn_mark(s->session->conn);
    if (nghttp2_submit_response(s->session->ng, s->id, fields, count, NULL) != 0)
        conn_fail(s->session->conn, CONN_END_NOMEM);
}

void http2_stream_finish(struct http2_stream *s, uint32_t status, struct slice text)
{
    ASSERT(!s->finished);
    ASSERT(!s->closed);
    if (!s->answered) {
        http2_stream_refuse(
            s, &(struct http2_refusal){ .http_status = "200", .status = status, .text = text });
        return;
    }
    if (text.size > 0) {
        uint8_t encoded[GRPC_STATUS_TEXT_BYTES_MAX];
        size_t size = grpc_percent_encode(text, encoded, sizeof encoded);
        uint8_t *room = out_room(s, size);
        if (room) {
            memcpy(room, encoded, size);
            s->tail_bytes = size;
        } /* else the status goes without its text */
    }
    s->status = (uint8_t)status;
    s->finished = true;
    IGNORE(stream_wake_or_fail(s), "the connection is lost then");
}
