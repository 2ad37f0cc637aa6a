/* bench_session.h: the client's half of HTTP/2, as much of it as unary gRPC calls need.
 *
 * nghttp2's session costs 8,000 instructions a call, most of what a load generator spends; this one
 * a tenth of it. Frames are read and written here; header blocks of answers go through nghttp2's
 * inflater. Header blocks of requests are indices: what the first request of a connection put into
 * the server's table (RFC 7541 §6.2.1), the others name.
 *
 * Sources:  RFC 9113, RFC 7541; the gRPC project's PROTOCOL-HTTP2 text.
 * Owner:    the connection. Calls in flight are borrowed.
 * Lifetime: open .. close, one connection. Thread: the connection's.
 * Bounds:   a frame is at most 16 KiB, as HTTP/2 has it by default; what is received of one that is
 *           not whole waits. Windows are as large as they can be, so that WINDOW_UPDATE is rare.
 * Errors:   a text; the connection is to be closed then.
 */
#ifndef TOOLS_BENCH_SESSION_H
#define TOOLS_BENCH_SESSION_H

#include <nghttp2/nghttp2.h>

#include "base/list.h"
#include "base/slice.h"

enum {
    BENCH_FRAME_HEAD_BYTES = 9,
    BENCH_FRAME_BYTES_MAX = 16384 + BENCH_FRAME_HEAD_BYTES,
    BENCH_PATHS_MAX = 8, /* indexed; more are written out each time */
};

struct bench_call;
struct bench_conn;

/* Where a request's field is in the server's table: the number of its insertion. */
struct bench_indexed {
    struct slice value;
    uint32_t number;
};

struct bench_session {
    struct bench_conn *conn;
    nghttp2_hd_inflater *inflater;

    struct bench_call **streams; /* by stream id; a power of two, of which half is empty */
    size_t stream_mask;
    uint32_t next_id;
    size_t open_count;

    struct list unsent; /* calls, in order, that have not said all */
    int64_t window;     /* the server still takes so much */
    int64_t stream_window;
    uint32_t open_max;
    bool has_settings;

    struct bench_indexed paths[BENCH_PATHS_MAX];
    size_t path_count;
    uint32_t inserted; /* into the server's table */
    uint32_t common_number;

    uint32_t block_id; /* of the stream whose header block is not whole; 0: none */
    bool block_ends_stream;
    uint64_t unacknowledged; /* received since the last WINDOW_UPDATE */
};

/* Writes the preface. False: out of memory. */
bool bench_session_open(struct bench_session *s, struct bench_conn *conn)
    __attribute__((warn_unused_result));
void bench_session_close(struct bench_session *s); /* zeroed is fine */

/* The call's request, for the next pump. */
void bench_session_submit(struct bench_session *s, struct bench_call *call);

/* Takes the call back; the server is told. */
bool bench_session_cancel(struct bench_session *s, struct bench_call *call)
    __attribute__((warn_unused_result));

/* Writes what calls have to say, while the connection waits to send less than bytes_max. False: out
 * of memory. *ret_more: there is more. */
bool bench_session_pump(struct bench_session *s, size_t bytes_max, bool *ret_more)
    __attribute__((warn_unused_result));

/* Handles the whole frames in bytes; *ret_taken is what they were. NULL, or what is wrong. */
const char *bench_session_receive(struct bench_session *s, struct slice bytes, size_t *ret_taken)
    __attribute__((warn_unused_result));

#endif
