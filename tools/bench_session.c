/* The session's state, and what it sends. bench_receive.c has what it receives. */
#include "tools/bench_session.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "tools/bench_conn.h"
#include "tools/bench_hpack.h"
#include "tools/bench_session_internal.h"

enum {
    WINDOW_DEFAULT = 65535, /* RFC 9113 §6.9.2 */
    FRAME_BYTES = 16384,    /* of data: every server takes so much */
    OPEN_DEFAULT = 100,     /* until the server has said how many */
    STREAM_ID_LAST = INT32_MAX,
    SETTING_BYTES = 6,
};

void bench_frame_head(uint8_t *to, size_t size, uint8_t type, uint8_t flags, uint32_t id)
{
    put_be32(to, (uint32_t)size << 8 | type);
    to[4] = flags;
    put_be32(to + 5, id);
}

bool bench_session_control(struct bench_session *s, const struct bench_control *frame)
{
    uint8_t *room = bench_conn_out_room(s->conn, BENCH_FRAME_HEAD_BYTES + frame->payload.size);
    if (!room)
        return false;
    bench_frame_head(room, frame->payload.size, frame->type, frame->flags, frame->id);
    if (frame->payload.size > 0)
        memcpy(room + BENCH_FRAME_HEAD_BYTES, frame->payload.data, frame->payload.size);
    return true;
}

bool bench_session_word(struct bench_session *s, uint8_t type, uint32_t id, uint32_t word)
{
    uint8_t payload[4];
    put_be32(payload, word);
    return bench_session_control(s, &(struct bench_control){
                                        .type = type,
                                        .id = id,
                                        .payload = slice_of(payload, sizeof payload),
                                    });
}

/* ---- opening ---- */

static uint8_t *put_setting(uint8_t *to, uint16_t id, uint32_t value)
{
    put_be16(to, id);
    put_be32(to + 2, value);
    return to + SETTING_BYTES;
}

static bool preface(struct bench_session *s)
{
    static const struct slice magic = { (const uint8_t *)NGHTTP2_CLIENT_MAGIC,
                                        NGHTTP2_CLIENT_MAGIC_LEN };
    uint8_t settings[3 * SETTING_BYTES];
    uint8_t *at = put_setting(settings, NGHTTP2_SETTINGS_ENABLE_PUSH, 0);
    at = put_setting(at, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, INT32_MAX);
    at = put_setting(at, NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1);
    uint8_t *room = bench_conn_out_room(s->conn, magic.size);
    if (!room)
        return false;
    memcpy(room, magic.data, magic.size);
    struct bench_control frame = { .type = NGHTTP2_SETTINGS,
                                   .payload = slice_of(settings, (size_t)(at - settings)) };
    return bench_session_control(s, &frame) &&
           bench_session_word(s, NGHTTP2_WINDOW_UPDATE, 0, INT32_MAX - WINDOW_DEFAULT);
}

bool bench_session_open(struct bench_session *s, struct bench_conn *conn)
{
    size_t streams = 2;
    while (streams < 2 * conn->call_count)
        streams *= 2;
    *s = (struct bench_session){
        .conn = conn,
        .streams = calloc(streams, sizeof *s->streams),
        .stream_mask = streams - 1,
        .next_id = 1,
        .window = WINDOW_DEFAULT,
        .stream_window = WINDOW_DEFAULT,
        .open_max = OPEN_DEFAULT,
    };
    list_init(&s->unsent);
    return s->streams && nghttp2_hd_inflate_new2(&s->inflater, &conn->env->mem) == 0 && preface(s);
}

void bench_session_close(struct bench_session *s)
{
    if (s->inflater)
        nghttp2_hd_inflate_del(s->inflater);
    free(s->streams);
    *s = (struct bench_session){ 0 };
}

/* ---- streams ---- */

static struct bench_call **stream_at(struct bench_session *s, uint32_t id)
{
    return &s->streams[(id >> 1) & s->stream_mask];
}

struct bench_call *bench_session_call(struct bench_session *s, uint32_t id)
{
    struct bench_call *call = *stream_at(s, id);
    return call && call->stream_id == id ? call : NULL;
}

/* Ids may be left out: one whose place an older call still has. Half of the places are free. */
static bool stream_open(struct bench_session *s, struct bench_call *call)
{
    while (*stream_at(s, s->next_id))
        s->next_id += 2;
    if (s->next_id > STREAM_ID_LAST)
        return false;
    call->stream_id = s->next_id;
    call->window = s->stream_window;
    *stream_at(s, s->next_id) = call;
    s->next_id += 2;
    s->open_count++;
    return true;
}

void bench_session_forget(struct bench_session *s, struct bench_call *call)
{
    list_remove(&call->unsent);
    call->in_flight = false;
    if (call->stream_id == 0)
        return;
    *stream_at(s, call->stream_id) = NULL;
    call->stream_id = 0;
    s->open_count--;
}

/* ---- sending ---- */

void bench_session_submit(struct bench_session *s, struct bench_call *call)
{
    call->in_flight = true;
    call->stream_id = 0;
    call->sent = 0;
    call->received = 0;
    call->http_status = 0;
    call->grpc_status = -1;
    call->text[0] = '\0';
    list_push_back(&s->unsent, &call->unsent);
}

bool bench_session_cancel(struct bench_session *s, struct bench_call *call)
{
    uint32_t id = call->stream_id;
    bench_session_forget(s, call);
    return id == 0 || bench_session_word(s, NGHTTP2_RST_STREAM, id, NGHTTP2_CANCEL);
}

static bool write_headers(struct bench_session *s, struct bench_call *call)
{
    struct bench_conn *c = s->conn;
    if (!stream_open(s, call)) {
        c->is_leaving = true; /* no ids are left: a new connection has them */
        return true;
    }
    uint8_t *room = bench_conn_out_room(c, BENCH_FRAME_HEAD_BYTES + BENCH_BLOCK_BYTES_MAX);
    if (!room)
        return false;
    size_t size = bench_hpack_request(s, call->path, slice_of_text(c->endpoint->authority),
                                      room + BENCH_FRAME_HEAD_BYTES);
    bench_frame_head(room, size, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, call->stream_id);
    c->out_size -= BENCH_BLOCK_BYTES_MAX - size;
    return true;
}

static size_t least(size_t a, int64_t b)
{
    if (b <= 0)
        return 0;
    return a < (size_t)b ? a : (size_t)b;
}

/* One frame. *ret_size 0: the server takes no more for now. */
static bool write_data(struct bench_session *s, struct bench_call *call, size_t *ret_size)
{
    size_t left = call->request.size - call->sent;
    size_t size = least(least(left, s->window), call->window);
    size = least(size, FRAME_BYTES);
    *ret_size = size;
    if (size == 0)
        return true;
    uint8_t *room = bench_conn_out_room(s->conn, BENCH_FRAME_HEAD_BYTES + size);
    if (!room)
        return false;
    bench_frame_head(room, size, NGHTTP2_DATA, size == left ? NGHTTP2_FLAG_END_STREAM : 0,
                     call->stream_id);
    memcpy(room + BENCH_FRAME_HEAD_BYTES, call->request.data + call->sent, size);
    call->sent += size;
    call->window -= (int64_t)size;
    s->window -= (int64_t)size;
    return true;
}

/* Until the call has said all, the server takes no more, or enough waits to be sent. */
static bool write_call(struct bench_session *s, struct bench_call *call, size_t bytes_max)
{
    size_t size = 1;
    if (call->stream_id == 0 && !write_headers(s, call))
        return false;
    while (size > 0 && call->stream_id != 0 && call->sent < call->request.size &&
           s->conn->out_size < bytes_max) {
        if (!write_data(s, call, &size))
            return false;
    }
    return true;
}

bool bench_session_pump(struct bench_session *s, size_t bytes_max, bool *ret_more)
{
    struct list *node = s->unsent.next;
    *ret_more = false;
    while (node != &s->unsent && s->window > 0) {
        struct bench_call *call = LIST_ENTRY(node, struct bench_call, unsent);
        if (call->stream_id == 0 && (s->open_count >= s->open_max || s->conn->is_leaving))
            return true;
        if (s->conn->out_size >= bytes_max) {
            *ret_more = true;
            return true;
        }
        if (!write_call(s, call, bytes_max))
            return false;
        node = node->next;
        if (call->stream_id != 0 && call->sent == call->request.size)
            list_remove(&call->unsent);
        else if (s->conn->out_size >= bytes_max)
            node = &call->unsent;
    }
    return true;
}
