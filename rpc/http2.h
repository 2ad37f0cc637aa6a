/* http2.h: one HTTP/2 server session, as gRPC uses it, on a connection (conn.h) by nghttp2.
 *
 * Sources: RFC 9113; the gRPC project's PROTOCOL-HTTP2 text; its keepalive rules (A8, A9).
 *
 * A stream answers with messages and one status: response headers, DATA, trailers; or, without
 * a message, the trailers alone. Bytes wait in the stream until the session may send them: the
 * client's windows (RFC 9113 §5.2) and the socket decide when.
 *
 * Owner:    the session belongs to its connection. The memory of a stream belongs to whoever
 *           answers events->open; it is given back by events->closed, which each stream that
 *           opened gets exactly once.
 * Thread:   the loop's.
 * Bounds:   header lists HTTP2_HEADER_BYTES_MAX; streams, windows and control frames by SETTINGS
 *           and nghttp2's flood limits; what waits in the streams of one connection by
 *           waiting_bytes_max: past it new streams are refused, and a client that takes nothing
 *           for write_stall_ms loses its connection. Blocks that were given count for the second
 *           alone, lest small answers fail beside a large one: who gives them asks
 *           http2_is_full first.
 * Errors:   a stream's end that stream, the session's its connection (conn_fail).
 */
#ifndef RPC_HTTP2_H
#define RPC_HTTP2_H

#include <nghttp2/nghttp2.h>

#include "rpc/conn.h"

enum {
    HTTP2_WINDOW_BYTES = 1 << 20, /* of a stream and of a connection: a full request in one go */
    HTTP2_HEADER_BYTES_MAX = 16 * 1024,
    HTTP2_SETTINGS_COUNT = 4,
    /* Cancelled calls reset their streams; beyond that it is a flood (CVE-2023-44487). */
    HTTP2_RESET_BURST = 4000,
    HTTP2_RESETS_PER_S = 1000,
    HTTP2_OUT_KEPT_BYTES = 4096, /* a stream's buffer up to here is used again */
};

struct http2;

struct http2_out {
    uint8_t *data;
    size_t size;
    size_t sent;
    size_t capacity;
};

/* The first member of whatever answers on it. */
struct http2_stream {
    struct http2 *session;
    struct list link; /* session->streams */
    int32_t id;
    bool request_ended; /* the client sends no more */
    bool answered;      /* response headers were submitted */
    bool finished;      /* and so was the status */
    bool deferred;      /* nghttp2 has to be told of new bytes */
    bool is_given;      /* out is a block of http2_stream_give */
    bool closed;
    uint8_t status;
    size_t tail_bytes; /* the status text, at the end of out */
    struct http2_out out;
};

/* An answer before any message, or instead. */
struct http2_refusal {
    const char *http_status; /* static; "200" but for what is no gRPC request */
    uint32_t status;
    struct slice text;
    bool tells_encodings; /* grpc-accept-encoding: identity */
};

struct http2_events {
    /* A zeroed or kept stream; NULL: refuse it. */
    struct http2_stream *(*open)(void *owner);
    /* A request header; name and value are valid during the call. False: no memory. */
    bool (*header)(struct http2_stream *s, struct slice name, struct slice value);
    void (*headers_end)(struct http2_stream *s);
    void (*data)(struct http2_stream *s, struct slice bytes);
    void (*request_end)(struct http2_stream *s);
    /* What came in at once is worked off; slices of data die now. */
    void (*settle)(void *owner);
    /* s is the owner's again; its buffer holds at most HTTP2_OUT_KEPT_BYTES. */
    void (*closed)(struct http2_stream *s);
};

struct http2_options {
    const struct http2_events *events;
    void *owner;
    uint32_t stream_count_max;
    uint64_t waiting_bytes_max;
    uint32_t write_stall_ms;
    uint32_t keepalive_min_ms;
    uint32_t keepalive_interval_ms; /* 0: never */
    uint32_t keepalive_timeout_ms;
};

/* What the sessions of one server share. */
struct http2_env {
    struct http2_options options;
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    nghttp2_settings_entry settings[HTTP2_SETTINGS_COUNT];
    nghttp2_mem mem;
    struct http2_pool *pool;
    uint64_t waiting_bytes; /* of all sessions */
    uint64_t drains;        /* how often a session came back to waiting_bytes_max */
};

struct http2 {
    struct conn *conn;
    struct http2_env *env;
    nghttp2_session *ng;
    struct list streams;
    struct http2_stream *current; /* the stream of the last frame: frames of one come together */
    uint64_t waiting_bytes;       /* in the streams */
    uint64_t given_bytes;         /* of them in blocks that were given */
    uint64_t progress_ms;         /* when the last of them left, or the first came */
    uint64_t ping_ms;             /* our ping that is unanswered: when it left; else 0 */
    uint64_t client_ping_ms;      /* the client's last one */
    uint32_t header_bytes;        /* of the header list being received */
    uint8_t ping_strikes;
    bool strikes_reset;    /* something was sent since the client's last ping */
    bool settings_seen;    /* the client's first SETTINGS */
    bool trailers_indexed; /* see http2_send.c */
    bool ends;             /* its last GOAWAY is queued */
};

/* False: no memory. */
bool http2_env_open(struct http2_env *env, const struct http2_options *options);
void http2_env_close(struct http2_env *env);

bool http2_open(struct http2_env *env, struct conn *c);
bool http2_recv(struct http2 *h, struct slice bytes);
bool http2_pump(struct http2 *h);
uint64_t http2_time(struct http2 *h, uint64_t now_ms);
void http2_close(struct http2 *h);

/* GOAWAY: no new streams; the connection ends with the last open one. */
void http2_shutdown(struct http2 *h);

/* More than waiting_bytes_max waits, blocks included. */
bool http2_is_full(const struct http2 *h);

/* What is not in blocks. */
static inline uint64_t http2_copied_bytes(const struct http2 *h)
{
    return h->waiting_bytes - h->given_bytes;
}

/* ---- a stream ---- */

/* size more bytes to send, to be filled before anything else happens. NULL: no memory, or past
 * HTTP2's 2 GiB for one stream. */
uint8_t *http2_stream_room(struct http2_stream *s, size_t size);

/* The same with bytes that lie in a block of malloc's already, which is the stream's from here on;
 * nothing waits in the stream. False as above, and the block is freed. */
bool http2_stream_give(struct http2_stream *s, uint8_t *block, size_t size)
    __attribute__((warn_unused_result));

/* The last of it: status and its text (raw bytes). */
void http2_stream_finish(struct http2_stream *s, uint32_t status, struct slice text);

/* Nothing was sent on it yet. */
void http2_stream_refuse(struct http2_stream *s, const struct http2_refusal *refusal);

/* Not sent yet, of all messages. */
static inline size_t http2_stream_waiting_bytes(const struct http2_stream *s)
{
    return s->out.size - s->out.sent;
}

/* When the owner throws a closed stream away. */
void http2_stream_done(struct http2_stream *s);

#endif
