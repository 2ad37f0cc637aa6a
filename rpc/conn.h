/* conn.h: the accepted connections of a server: bytes in, one buffer out, time-outs.
 *
 * A connection knows its socket and which protocol the client speaks. What the bytes mean is
 * for its session (http2.h), which it reaches through struct conn_events.
 *
 * Output is corked: whoever has something to write marks the connection, and conn_set_flush, at
 * the end of a turn, lets its session fill the buffer and starts one send. While that send is in
 * flight nothing more is written; the session keeps what is left, and has a cap for it.
 *
 * Owner:    the set owns its connections. conn_fail only marks one; the teardown happens in
 *           conn_set_flush, so no session dies below its own caller. The memory goes when the
 *           operations in flight have completed.
 * Thread:   the loop's.
 * Bounds:   conn_out holds at most CONN_OUT_BYTES_MAX; idle connections hold no buffer. A send
 *           that makes no progress for write_stall_ms ends its connection, and so does a client
 *           that does not say what it wants within CONN_HANDSHAKE_MS.
 * Errors:   any failure ends that connection alone.
 */
#ifndef RPC_CONN_H
#define RPC_CONN_H

#include "base/io.h"
#include "rpc/grpc.h"

enum {
    CONN_FIRST_BYTES_MAX = 24, /* what tells the protocols apart: RFC 9113 §3.4 */
    CONN_HANDSHAKE_MS = 10 * 1000,
    CONN_LINGER_MS = 1000, /* after an answer that ends the connection */
    CONN_HOLD_MS = 500,    /* at most: what it says may matter more than what was refused */
    /* The session stops filling at the first figure and may go past it by one frame and its
     * trailers. It is also the step in which a slow client's progress is seen. */
    CONN_OUT_BYTES = 128 * 1024,
    CONN_OUT_BYTES_MAX = CONN_OUT_BYTES + 64 * 1024,
    CONN_SPARE_BYTES = 16 * 1024, /* buffers up to here are used again */
    CONN_SPARE_COUNT_MAX = 256,
};

enum conn_protocol { CONN_UNDECIDED, CONN_HTTP2, CONN_HTTP1, CONN_FOREIGN };

/* What the first bytes of a client say; CONN_UNDECIDED: more are needed. */
enum conn_protocol conn_protocol_detect(struct slice first);

/* Why a connection ends: one counter each. */
enum conn_end {
    CONN_END_CLOSED,  /* by the client, or by us after the last answer */
    CONN_END_BROKEN,  /* bad bytes */
    CONN_END_STALLED, /* the client does not read */
    CONN_END_SILENT,  /* no handshake, or no answer to a ping */
    CONN_END_NOMEM,
};

struct conn;
struct conn_set;

struct conn_events {
    /* The client speaks HTTP/2. False: no memory. */
    bool (*open)(struct conn *c);
    /* False: the session has called conn_fail. */
    bool (*bytes)(struct conn *c, struct slice bytes);
    /* Room in the out buffer. False: as above. */
    bool (*pump)(struct conn *c);
    /* What waits in the session to be sent. */
    uint64_t (*waiting_bytes)(const struct conn *c);
    /* Its time-outs; returns when to ask again, or UINT64_MAX. */
    uint64_t (*time)(struct conn *c, uint64_t now_ms);
    /* The session dies; only after a true open. */
    void (*close)(struct conn *c);
};

struct conn_options {
    struct io *io;
    const struct conn_events *events;
    struct grpc_counters *counters;
    uint32_t count_max;
    uint32_t write_stall_ms;
    uint64_t waiting_bytes_max; /* past it reading pauses while the socket takes nothing */
};

struct conn_spare;

struct conn_set {
    struct conn_options options;
    struct list all;
    struct list dirty;
    struct list dead;
    struct list held; /* the first was held first */
    size_t count;
    struct conn_spare *spare; /* out buffers at rest */
    size_t spare_count;
};

struct conn_out {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

struct conn {
    struct conn_set *set;
    struct list link; /* set->all, or set->dead */
    struct list dirty_link;
    struct list hold_link; /* set->held */
    int fd;
    enum conn_protocol protocol;
    bool settled;     /* the handshake is done */
    bool reading;     /* recv is in flight */
    bool paused;      /* and shall not be */
    bool sending;     /* out.data is the kernel's */
    bool last_answer; /* close when all is out */
    bool read_all;    /* the client has ended its direction, and waits for that answer */
    bool ending;      /* on set->dead, or past it */
    uint8_t first_size;
    uint8_t first[CONN_FIRST_BYTES_MAX];
    struct io_ref recv_ref;
    struct io_ref send_ref;
    struct conn_out out;
    struct timer timer; /* one for all time-outs, moved only to earlier moments */
    uint64_t accepted_ms;
    uint64_t received_ms; /* when bytes last came */
    uint64_t sending_ms;  /* when the send in flight began */
    uint64_t held_ms;     /* when it was */
    uint64_t linger_ms;   /* 0, or when the last answer was out */
    void *session;
};

void conn_set_init(struct conn_set *set, const struct conn_options *options);

/* The set is empty. */
void conn_set_done(struct conn_set *set);

/* Takes fd, which is closed at once when the set is full or memory is out. */
void conn_set_accept(struct conn_set *set, int fd);

/* Sends what gathered; buries the dead. */
void conn_set_flush(struct conn_set *set);

/* Ends it; its session is told at the next flush. Again: nothing. */
void conn_fail(struct conn *c, enum conn_end end);

/* Reads nothing more of it until it is released, or CONN_HOLD_MS are over: its requests wait where
 * they cost nothing, which is with the client. Again: nothing. */
void conn_hold(struct conn *c);

/* Those that were held first, so many of them. */
void conn_set_release(struct conn_set *set, size_t count);

/* It has something to write. */
void conn_mark(struct conn *c);

/* The session knows its client: only its own time-outs hold from now. */
void conn_settle(struct conn *c);

/* Ends it when everything that is to be sent is out. */
void conn_close_flushed(struct conn *c);

/* Asks events->time at that moment, or before. */
void conn_wake_by(struct conn *c, uint64_t at_ms);

/* During events->pump: size bytes at the end of the out buffer, NULL: no memory. */
uint8_t *conn_out_room(struct conn *c, size_t size);

static inline bool conn_out_is_full(const struct conn *c)
{
    return c->out.size >= CONN_OUT_BYTES;
}

static inline uint64_t conn_now_ms(const struct conn *c)
{
    return io_now_ms(c->set->options.io);
}

#endif
