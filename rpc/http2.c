#include <stdlib.h>

#include "base/assert.h"
#include "rpc/http2_internal.h"
#include "rpc/http2_pool.h"

enum {
    PING_STRIKES_MAX = 2,
    /* A client without open calls has no reason to ping (grpc-go: http2_server.go, whose
     * default ping interval is two hours). */
    PING_IDLE_MIN_MS = 2 * 3600 * 1000,
    HEADER_OVERHEAD_BYTES = 32, /* RFC 9113 §6.5.2: how a header list's size counts */
};

static struct grpc_counters *counters_of(const struct http2 *h)
{
    return h->conn->set->options.counters;
}

static struct http2_stream *stream_of(struct http2 *h, int32_t id)
{
    if (!h->current || h->current->id != id)
        h->current = nghttp2_session_get_stream_user_data(h->ng, id);
    return h->current;
}

/* ---- streams ---- */

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *owner)
{
    struct http2 *h = owner;
    h->header_bytes = 0;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    const struct http2_options *o = &h->env->options;
    int32_t id = frame->hd.stream_id;
    struct http2_stream *s = NULL;
    /* Behind its last GOAWAY a client takes a stream that this does not name for one that nobody
     * acted on, and sends the request again: so nobody may. */
    if (!h->ends && http2_copied_bytes(h) <= o->waiting_bytes_max)
        s = o->events->open(o->owner);
    if (!s) {
        /* gRPC's clients try again by themselves after this code. */
        counters_of(h)->calls_refused++;
        return nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
    }
    s->session = h;
    s->id = id;
    list_push_back(&h->streams, &s->link);
    h->current = s;
    return nghttp2_session_set_stream_user_data(ng, id, s);
}

/* The syntax that nghttp2 would check itself, but for :authority: etcd's clients up to 3.4 put the
 * whole endpoint there ("http://host:port"), and grpc-go takes it. No call depends on it. */
static bool header_is_valid(struct slice name, struct slice value)
{
    return nghttp2_check_header_name(name.data, name.size) &&
           nghttp2_check_header_value(value.data, value.size);
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *owner)
{
    (void)ng;
    (void)flags;
    struct http2 *h = owner;
    struct http2_stream *s = stream_of(h, frame->hd.stream_id);
    if (!s)
        return 0;
    /* One field is at most 64 KiB to nghttp2, so this cannot overflow before it is refused. */
    h->header_bytes += (uint32_t)(name_size + value_size + HEADER_OVERHEAD_BYTES);
    if (h->header_bytes > HTTP2_HEADER_BYTES_MAX)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0; /* gRPC gives request trailers no meaning */
    struct slice field = slice_of(name, name_size);
    struct slice content = slice_of(value, value_size);
    bool taken =
        header_is_valid(field, content) && h->env->options.events->header(s, field, content);
    return taken ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t size,
                   void *owner)
{
    (void)ng;
    (void)flags;
    struct http2 *h = owner;
    struct http2_stream *s = stream_of(h, id);
    if (s)
        h->env->options.events->data(s, slice_of(data, size));
    return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t error_code, void *owner)
{
    (void)error_code;
    struct http2 *h = owner;
    struct http2_stream *s = nghttp2_session_get_stream_user_data(ng, id);
    if (!s)
        return 0;
    IGNORE(nghttp2_session_set_stream_user_data(ng, id, NULL), "the stream exists");
    http2_stream_forget(s);
    h->env->options.events->closed(s);
    return 0;
}

/* ---- frames ---- */

/* How often a client may ping is the server's to say (gRPC A8). One early ping is jitter. */
static void on_client_ping(struct http2 *h)
{
    uint64_t now_ms = conn_now_ms(h->conn);
    uint64_t last_ms = h->client_ping_ms;
    h->client_ping_ms = now_ms;
    if (h->strikes_reset) {
        h->strikes_reset = false;
        h->ping_strikes = 0;
        return;
    }
    bool idle = list_is_empty(&h->streams);
    uint64_t min_ms = idle ? PING_IDLE_MIN_MS : h->env->options.keepalive_min_ms;
    if (last_ms == 0 || now_ms - last_ms >= min_ms)
        return;
    if (++h->ping_strikes <= PING_STRIKES_MAX || h->ends)
        return;
    static const char debug[] = "too_many_pings";
    h->ends = true;
    counters_of(h)->connections_pinging++;
    int32_t last_id = nghttp2_session_get_last_proc_stream_id(h->ng);
    if (nghttp2_submit_goaway(h->ng, NGHTTP2_FLAG_NONE, last_id, NGHTTP2_ENHANCE_YOUR_CALM,
                              (const uint8_t *)debug, sizeof debug - 1) != 0)
        conn_fail(h->conn, CONN_END_NOMEM);
    else
        conn_close_flushed(h->conn);
}

static void on_settings(struct http2 *h, const nghttp2_settings *settings)
{
    if (settings->hd.flags & NGHTTP2_FLAG_ACK)
        return;
    for (size_t i = 0; h->settings_seen && i < settings->niv; i++)
        h->trailers_indexed |= settings->iv[i].settings_id == NGHTTP2_SETTINGS_HEADER_TABLE_SIZE;
    h->settings_seen = true;
    conn_settle(h->conn);
}

static void on_request_part(struct http2 *h, const nghttp2_frame *frame)
{
    const struct http2_events *events = h->env->options.events;
    struct http2_stream *s = stream_of(h, frame->hd.stream_id);
    if (!s)
        return;
    bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (ends)
        s->request_ended = true;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        events->headers_end(s);
    if (ends)
        events->request_end(s);
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *owner)
{
    (void)ng;
    struct http2 *h = owner;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        on_request_part(h, frame);
        break;
    case NGHTTP2_SETTINGS:
        on_settings(h, &frame->settings);
        break;
    case NGHTTP2_PING:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK)
            conn_wake_by(h->conn, conn_now_ms(h->conn) + h->env->options.keepalive_interval_ms);
        else
            on_client_ping(h);
        break;
    default: /* the peer chooses the type: nghttp2 has done what there is to do */
        break;
    }
    return 0;
}

static int on_invalid_frame(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *owner)
{
    (void)ng;
    (void)frame;
    struct http2 *h = owner;
    if (error == NGHTTP2_ERR_REFUSED_STREAM)
        counters_of(h)->calls_refused++;
    return 0;
}

/* ---- what the sessions share ---- */

static bool callbacks_open(struct http2_env *env)
{
    if (nghttp2_session_callbacks_new(&env->callbacks) != 0)
        return false;
    nghttp2_session_callbacks *cb = env->callbacks;
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    http2_send_register(cb);
    return true;
}

bool http2_env_open(struct http2_env *env, const struct http2_options *options)
{
    *env = (struct http2_env){ .options = *options };
    const nghttp2_settings_entry settings[HTTP2_SETTINGS_COUNT] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options->stream_count_max },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_WINDOW_BYTES },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP2_HEADER_BYTES_MAX },
        /* Without it nghttp2 keeps each closed stream for the priority tree. */
        { NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 },
    };
    memcpy(env->settings, settings, sizeof settings);
    env->pool = http2_pool_new();
    if (!env->pool || !callbacks_open(env) || nghttp2_option_new(&env->option) != 0) {
        http2_env_close(env);
        return false;
    }
    env->mem = http2_pool_mem(env->pool);
    nghttp2_option_set_no_http_messaging(env->option, 1); /* see header_is_valid */
    nghttp2_option_set_stream_reset_rate_limit(env->option, HTTP2_RESET_BURST, HTTP2_RESETS_PER_S);
    return true;
}

void http2_env_close(struct http2_env *env)
{
    nghttp2_option_del(env->option);
    nghttp2_session_callbacks_del(env->callbacks);
    http2_pool_free(env->pool);
    *env = (struct http2_env){ 0 };
}

/* ---- a session ---- */

bool http2_open(struct http2_env *env, struct conn *c)
{
    struct http2 *h = calloc(1, sizeof *h);
    if (!h)
        return false;
    h->conn = c;
    h->env = env;
    list_init(&h->streams);
    if (nghttp2_session_server_new3(&h->ng, env->callbacks, h, env->option, &env->mem) != 0) {
        free(h);
        return false;
    }
    if (nghttp2_submit_settings(h->ng, NGHTTP2_FLAG_NONE, env->settings, HTTP2_SETTINGS_COUNT) ||
        nghttp2_session_set_local_window_size(h->ng, NGHTTP2_FLAG_NONE, 0, HTTP2_WINDOW_BYTES)) {
        nghttp2_session_del(h->ng);
        free(h);
        return false;
    }
    c->session = h;
    return true;
}

bool http2_recv(struct http2 *h, struct slice bytes)
{
    ssize_t taken = nghttp2_session_mem_recv(h->ng, bytes.data, bytes.size);
    h->env->options.events->settle(h->env->options.owner);
    if (taken < 0)
        conn_fail(h->conn, taken == NGHTTP2_ERR_NOMEM ? CONN_END_NOMEM : CONN_END_BROKEN);
    return taken >= 0;
}

void http2_shutdown(struct http2 *h)
{
    if (h->ends)
        return;
    h->ends = true;
    int32_t last_id = nghttp2_session_get_last_proc_stream_id(h->ng);
    if (nghttp2_submit_goaway(h->ng, NGHTTP2_FLAG_NONE, last_id, NGHTTP2_NO_ERROR, NULL, 0) != 0)
        conn_fail(h->conn, CONN_END_NOMEM);
    conn_mark(h->conn);
}

void http2_close(struct http2 *h)
{
    /* nghttp2 does not report the streams that die with their session. */
    while (!list_is_empty(&h->streams)) {
        struct http2_stream *s = LIST_ENTRY(h->streams.next, struct http2_stream, link);
        http2_stream_forget(s);
        h->env->options.events->closed(s);
    }
    nghttp2_session_del(h->ng);
    free(h);
}

/* ---- time ---- */

/* Any byte of the client is an answer (gRPC A8: activity counts). */
static uint64_t keepalive_time(struct http2 *h, uint64_t now_ms)
{
    const struct http2_options *o = &h->env->options;
    uint64_t heard_ms = h->conn->received_ms;
    if (h->ping_ms != 0 && heard_ms >= h->ping_ms)
        h->ping_ms = 0;
    if (h->ping_ms != 0) {
        if (now_ms < h->ping_ms + o->keepalive_timeout_ms)
            return h->ping_ms + o->keepalive_timeout_ms;
        conn_fail(h->conn, CONN_END_SILENT);
        return UINT64_MAX;
    }
    if (o->keepalive_interval_ms == 0)
        return UINT64_MAX;
    if (now_ms < heard_ms + o->keepalive_interval_ms)
        return heard_ms + o->keepalive_interval_ms;
    if (nghttp2_submit_ping(h->ng, NGHTTP2_FLAG_NONE, NULL) != 0) {
        conn_fail(h->conn, CONN_END_NOMEM);
        return UINT64_MAX;
    }
    h->ping_ms = now_ms;
    conn_mark(h->conn);
    return now_ms + o->keepalive_timeout_ms;
}

bool http2_is_full(const struct http2 *h)
{
    return h->waiting_bytes > h->env->options.waiting_bytes_max;
}

/* The client's windows are shut and stay shut. One slow stream beside others is its own affair,
 * within waiting_bytes_max; a shut connection, or more than that, is not. */
static bool windows_are_stuck(const struct http2 *h)
{
    return http2_is_full(h) ||
           (h->waiting_bytes > 0 && nghttp2_session_get_remote_window_size(h->ng) <= 0);
}

static uint64_t stall_time(struct http2 *h, uint64_t now_ms)
{
    if (h->waiting_bytes == 0)
        return UINT64_MAX;
    uint64_t stall_ms = h->progress_ms + h->env->options.write_stall_ms;
    if (now_ms < stall_ms)
        return stall_ms;
    if (windows_are_stuck(h))
        conn_fail(h->conn, CONN_END_STALLED);
    return now_ms + h->env->options.write_stall_ms;
}

uint64_t http2_time(struct http2 *h, uint64_t now_ms)
{
    uint64_t stall_ms = stall_time(h, now_ms);
    uint64_t keepalive_ms = keepalive_time(h, now_ms);
    return stall_ms < keepalive_ms ? stall_ms : keepalive_ms;
}
