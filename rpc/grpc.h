/* grpc.h: a gRPC server over HTTP/2 (nghttp2 sessions on struct io).
 *
 * Sources: the gRPC project's PROTOCOL-HTTP2 text (framing, grpc-timeout, status trailers,
 * percent-encoding) and statuscodes; RFC 9113.
 *
 * A call is one stream. The server decodes its framing, bounds its size, watches its deadline,
 * and hands each request message to the method's handler: that of a unary call when the client
 * has ended its request, those of a stream as they come. The handler answers at once or later
 * with grpc_call_send and grpc_call_finish.
 *
 * Owner:    the server owns the calls. A handler may keep the pointer until it has called finish,
 *           or until its on_gone ran (client cancelled, deadline passed, connection lost):
 *           exactly one of these ends each call, and after it the pointer is dead.
 * Lifetime: a message slice is valid during the handler's call alone, unless it is copied to
 *           the call's arena. What is sent is copied before the function returns.
 * Thread:   the loop's. Responses gather during a turn and leave at grpc_server_flush, which also
 *           ends what broke: on_gone runs there, from timers, or below a client's bytes, and
 *           never inside a function of this header but flush and close.
 * Bounds:   options; every cap has a counter in grpc_counters and an answer: a connection past
 *           connection_count_max is closed at once, a stream past stream_count_max refused, a
 *           message past message_bytes_max gets RESOURCE_EXHAUSTED, a client that does not read
 *           is no longer read from, and closed after write_stall_ms.
 * Errors:   bad bytes end their own connection (GOAWAY where HTTP/2 allows), nothing else. An
 *           HTTP/1 request gets 505.
 */
#ifndef RPC_GRPC_H
#define RPC_GRPC_H

#include "base/arena.h"
#include "base/io.h"

enum grpc_status {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};

enum {
    GRPC_LISTENERS_MAX = 16,
    GRPC_BLOCK_BYTES_BEFORE = 5, /* what stands in front of each message on the wire */
};

struct grpc_server;
struct grpc_call;

/* Metadata that the services know by name; views that live as long as the call. */
struct grpc_metadata {
    struct slice authorization; /* the token, from "token" or else "authorization"; empty: none */
    bool has_leader;            /* "hasleader: true": refuse when there is no leader */
};

struct grpc_method {
    const char *path;    /* "/etcdserverpb.KV/Put" */
    bool client_streams; /* more than one request message may come */
    /* One request message. May finish the call. */
    void (*on_message)(void *owner, struct grpc_call *call, struct slice message);
    /* The client will send no more (client_streams alone). May be NULL otherwise. */
    void (*on_half_close)(void *owner, struct grpc_call *call);
};

struct grpc_options {
    struct io *io;                     /* borrowed */
    const struct grpc_method *methods; /* borrowed, ordered by path (strcmp) */
    size_t method_count;
    void *owner; /* the handlers' first argument */
    uint32_t connection_count_max;
    uint32_t stream_count_max;         /* of a connection, announced in SETTINGS */
    uint32_t message_bytes_max;        /* of a request message */
    const char *message_too_large;     /* the status text past it; NULL: as grpc-go words it */
    uint64_t request_bytes_max;        /* of all request messages being received, all connections */
    const char *request_bytes_full;    /* the status text past it */
    uint64_t response_bytes_max;       /* of all responses waiting to be sent: past it large ones
                                        * are refused (grpc_call_send), small ones still go */
    uint64_t connection_out_bytes_max; /* responses waiting to be sent: past it new streams are
                                        * refused, and reading pauses while the socket is full */
    uint32_t write_stall_ms;           /* not even 128 KiB accepted in so long: closed */
    uint32_t keepalive_min_ms;         /* pings more often than that: too_many_pings (etcd: 5 s) */
    uint32_t keepalive_interval_ms;    /* idle connections are pinged (etcd: 2 h); 0: never */
    uint32_t keepalive_timeout_ms;     /* and closed without an answer in time (etcd: 20 s) */
};

struct grpc_counters {
    uint64_t connections_accepted;
    uint64_t connections_open;
    uint64_t connections_refused; /* at the cap */
    uint64_t connections_broken;  /* bad bytes, or not HTTP/2 */
    uint64_t connections_stalled; /* write_stall_ms */
    uint64_t connections_silent;  /* no handshake in 10 s, or no answer to a ping */
    uint64_t connections_pinging; /* too_many_pings */
    uint64_t connections_held;    /* how often: grpc_call_hold */
    uint64_t calls_busy;          /* grpc_call_finish_busy */
    uint64_t calls_started;
    uint64_t calls_open;
    uint64_t calls_too_large;
    uint64_t calls_refused;     /* request_bytes_max, stream_count_max, connection_out_bytes_max */
    uint64_t responses_refused; /* response_bytes_max */
    uint64_t calls_gone;        /* cancelled, deadline, connection lost */
    uint64_t received_bytes;
    uint64_t sent_bytes;
};

#define GRPC_SERVER_ERRORS(X)               \
    X(GRPC_SERVER_OK, "ok")                 \
    X(GRPC_SERVER_E_NOMEM, "out of memory") \
    X(GRPC_SERVER_E_OPTIONS, "options out of bounds, or methods not in order")

#define GRPC_SERVER_ENUM_ENTRY(name, text) name,
enum grpc_err { GRPC_SERVER_ERRORS(GRPC_SERVER_ENUM_ENTRY) };
#undef GRPC_SERVER_ENUM_ENTRY

const char *grpc_server_strerror(enum grpc_err err);

enum grpc_err grpc_server_open(struct grpc_server **ret_s, const struct grpc_options *options)
    __attribute__((warn_unused_result));

/* Accepts on one more address, of at most GRPC_LISTENERS_MAX; *ret_bound says which port 0
 * became. 0 or -errno. */
int grpc_server_listen(struct grpc_server *s, const struct io_addr *addr,
                       struct io_addr *ret_bound);

/* What gathered in this turn leaves. Called by the owner at the end of each turn. */
void grpc_server_flush(struct grpc_server *s);

const struct grpc_counters *grpc_server_counters(const struct grpc_server *s);

/* There is room again: so many connections that were held are read again, oldest first. */
void grpc_server_take_more(struct grpc_server *s, size_t connections);

/* How often a connection ceased to be congested (grpc_call_is_congested). */
uint64_t grpc_server_drains(const struct grpc_server *s);

/* Stops accepting, sends GOAWAY, lets open calls finish until the deadline, then closes all.
 * `fn` runs when nothing is left; the server is gone then. */
void grpc_server_close(struct grpc_server *s, uint32_t grace_ms, void (*fn)(void *owner),
                       void *owner);

/* ---- a call ---- */

/* Freed with the call, so finish and on_gone end it; bounded by a few times message_bytes_max. */
struct arena *grpc_call_arena(struct grpc_call *call);

const struct grpc_metadata *grpc_call_metadata(const struct grpc_call *call);

/* The client's, as now_ms counts; UINT64_MAX: none. The server itself ends calls that pass it. */
uint64_t grpc_call_deadline_ms(const struct grpc_call *call);

/* Whoever keeps the call beyond on_message registers here. */
void grpc_call_on_gone(struct grpc_call *call, void (*fn)(void *owner, struct grpc_call *call),
                       void *owner);

/* One response message: room for size bytes, which the caller fills before anything else happens
 * to the call; so a message is packed where it is sent from. NULL: out of memory,
 * response_bytes_max or past 2 GiB for one call: finish it with an error. */
uint8_t *grpc_call_send(struct grpc_call *call, size_t size);

/* So much waits for this client to take it that a large response had better wait until
 * grpc_server_drains is another number. */
bool grpc_call_is_congested(const struct grpc_call *call);

/* The same without a copy, for what was packed elsewhere: a block of malloc's with
 * GRPC_BLOCK_BYTES_BEFORE to spare in front of the message, which is the server's from here on.
 * Nothing else waits on the call. False as NULL above; the block is freed. */
bool grpc_call_send_block(struct grpc_call *call, uint8_t *block, size_t size)
    __attribute__((warn_unused_result));

/* Sent but not on its way yet: what a stream of many messages looks at before the next one. */
size_t grpc_call_waiting_bytes(const struct grpc_call *call);

/* Ends it. text: the status message, any bytes (percent-encoded on the wire); NULL with GRPC_OK. */
void grpc_call_finish(struct grpc_call *call, enum grpc_status status, const char *text);

/* Nothing more is read of its connection for a while: until grpc_server_take_more, or half a second
 * has gone by. */
void grpc_call_hold(struct grpc_call *call);

/* Ends it with RESOURCE_EXHAUSTED, for want of room, and holds its connection: with a client that
 * goes on asking the server would spend its time on refusing. */
void grpc_call_finish_busy(struct grpc_call *call, const char *text);

#endif
