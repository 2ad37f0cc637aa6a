/* bench_conn.h: one HTTP/2 connection with its calls in flight.
 *
 * Non-blocking, for an epoll loop: readiness goes in, ended calls come out through the handler.
 * Calls begun in a turn leave with one send (bench_conn_flush).
 *
 * Owner:    the run owns connections and calls. A call belongs to one connection for good; from
 *           bench_conn_begin until it has ended, its request's bytes are borrowed.
 * Thread:   one.
 * Bounds:   what the socket does not take waits, as much as the calls in flight have to say.
 * Errors:   a call ends with a text; a connection that breaks ends all its calls and says so to
 *           the handler. Nothing in the header fails otherwise.
 */
#ifndef TOOLS_BENCH_CONN_H
#define TOOLS_BENCH_CONN_H

#include <nghttp2/nghttp2.h>

#include "base/io.h"
#include "base/list.h"
#include "base/slice.h"
#include "tools/bench_session.h"

enum { BENCH_CALL_TEXT_BYTES = 160, BENCH_AUTHORITY_BYTES_MAX = 320 };

struct bench_conn;
struct http2_pool;

struct bench_call {
    struct list link; /* the run's, while it is not in flight */
    struct bench_conn *conn;
    uint32_t slot;
    bool in_flight;
    uint64_t start_ns; /* as intended */
    uint64_t begun_ns;
    uint64_t rests_until_ns; /* after an error */
    bool counts;             /* the run's */

    struct slice path;
    struct slice request;
    size_t sent;
    struct list unsent; /* the session's, until all of the request is written */
    uint32_t stream_id; /* 0: not begun yet, or not in flight */
    int64_t window;     /* of its stream: the server still takes so much */

    uint8_t *head; /* of the answer's frame: prefix and message, head_capacity bytes at most */
    size_t head_capacity;
    size_t received; /* of the frame, whether kept or not */
    int http_status;
    int grpc_status; /* -1: none came */
    char text[BENCH_CALL_TEXT_BYTES];
};

struct bench_endpoint {
    struct io_addr addr;
    char authority[BENCH_AUTHORITY_BYTES_MAX];
};

/* What the connections of a run share. */
struct bench_conn_env {
    int epoll_fd;
    struct http2_pool *pool;
    nghttp2_mem mem;
    uint8_t *buffer; /* what a receive fills */
    size_t buffer_bytes;
    uint64_t now_ns; /* as of the last receive */
    uint64_t sent_bytes;
    uint64_t received_bytes;
    struct list dirty; /* connections with something to flush */

    /* error NULL: answered, with status 0 and a whole message. Must not begin calls. */
    void (*on_end)(void *owner, struct bench_call *call, const char *error);
    void (*on_up)(void *owner, struct bench_conn *conn);
    void (*on_down)(void *owner, struct bench_conn *conn, bool was_up);
    void *owner;
};

enum bench_conn_state { BENCH_CONN_DOWN, BENCH_CONN_CONNECTING, BENCH_CONN_UP };

struct bench_conn {
    struct bench_conn_env *env;
    struct list dirty;
    struct bench_call *calls; /* call_count of them, the run's */
    size_t call_count;
    const struct bench_endpoint *endpoint;
    size_t endpoint_index; /* the run's */
    uint64_t redial_ns;    /* the run's */
    uint64_t dialled_ns;
    enum bench_conn_state state;
    int fd;
    struct bench_session session;
    bool is_leaving;                 /* GOAWAY came: no new calls */
    bool wants_out;                  /* the socket is full */
    char why[BENCH_CALL_TEXT_BYTES]; /* it is down */

    uint8_t *in; /* of a frame that is not whole yet */
    size_t in_size;
    uint8_t *out;
    size_t out_size;
    size_t out_sent;
    size_t out_capacity;
};

/* Fills the buffers. False: out of memory. */
bool bench_conn_env_open(struct bench_conn_env *env);
void bench_conn_env_close(struct bench_conn_env *env);

/* Zeroed before but for env, calls and call_count. */
void bench_conn_init(struct bench_conn *c);

/* Begins to connect; on_up or on_down follows, perhaps from inside. */
void bench_conn_dial(struct bench_conn *c, const struct bench_endpoint *endpoint);

/* Readiness, as epoll tells it. */
void bench_conn_on_events(struct bench_conn *c, uint32_t events);

/* The call's path (static, at most BENCH_PATH_BYTES_MAX) and request, with the next flush. The
 * connection must be up and not leaving. */
void bench_conn_begin(struct bench_conn *c, struct bench_call *call);

/* Gives a call in flight up; it ends with that error. */
void bench_conn_cancel(struct bench_conn *c, struct bench_call *call, const char *error);

/* Sends what gathered. */
void bench_conn_flush(struct bench_conn *c);

/* Breaks it; its calls end with this error. */
void bench_conn_fail(struct bench_conn *c, const char *why);

/* Room at the end of what waits to be sent; for the session. NULL: out of memory. */
uint8_t *bench_conn_out_room(struct bench_conn *c, size_t size);

/* Without a word to the handler; its memory stays for the next dial. */
void bench_conn_hang_up(struct bench_conn *c);

void bench_conn_done(struct bench_conn *c);

#endif
