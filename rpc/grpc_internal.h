/* grpc_internal.h: between grpc_server.c (listeners, connections), grpc_recv.c (requests) and
 * grpc.c (what a handler may do with a call). */
#ifndef RPC_GRPC_INTERNAL_H
#define RPC_GRPC_INTERNAL_H

#include "rpc/grpc_codec.h"
#include "rpc/http2.h"

enum {
    GRPC_IN_KEPT_BYTES = 4096, /* a request buffer up to here is used again */
    GRPC_SPARE_CALLS_MAX = 1024,
    GRPC_ARENA_BYTES_MIN = 64 * 1024,
    GRPC_ARENA_MESSAGES = 4, /* a call's arena holds so many messages */
    GRPC_ACCEPT_RETRY_MS = 100,
};

/* A request message that did not come in one piece. */
struct grpc_in {
    uint8_t *data;
    size_t size;
    size_t capacity;
    uint64_t counted_bytes; /* of server->request_bytes */
};

struct grpc_call {
    struct http2_stream stream; /* first */
    struct grpc_server *server;
    const struct grpc_method *method; /* NULL: unknown */
    struct list link;                 /* server->fresh while open, server->spare after */
    struct arena arena;
    struct grpc_metadata metadata;

    uint64_t deadline_ms;
    struct timer timer;
    void (*gone_fn)(void *owner, struct grpc_call *call);
    void *gone_owner;

    struct slice path;         /* of an unknown method */
    struct slice content_type; /* when it is not gRPC's */
    struct slice encoding;     /* unless it is identity */
    struct slice http_method;  /* when it is not POST */
    bool type_is_ours;
    bool timeout_is_bad;
    bool token_is_exact; /* from "token", which wins over "authorization" */

    struct grpc_prefix prefix;
    struct grpc_in in;
    struct slice message; /* of a unary call, until the request has ended */
    bool message_seen;
    bool message_borrowed; /* it lies in the receive buffer, until settled */
};

struct grpc_listener {
    struct grpc_server *server;
    int fd;
    struct io_ref ref;
    bool accepting;
    struct timer retry;
};

struct grpc_server {
    struct grpc_options options;
    struct grpc_counters counters;
    struct conn_set conns;
    struct http2_env http2;
    struct slice *paths; /* of options.methods, in their order */
    struct grpc_listener listeners[GRPC_LISTENERS_MAX];
    size_t listener_count;

    struct list fresh; /* calls that began or got bytes since the last settling */
    struct list spare; /* closed calls, to be used again */
    size_t spare_count;
    uint64_t request_bytes;

    bool closing;
    struct timer grace;
    void (*closed_fn)(void *owner);
    void *closed_owner;
};

extern const struct http2_events grpc_stream_events;

/* What ends a call from this side without its handler: which, if it holds the call, is told. */
void grpc_call_reject(struct grpc_call *call, const struct http2_refusal *refusal);

/* The handler's claim ends; it is told. */
void grpc_call_lose(struct grpc_call *call);

void grpc_call_on_deadline(void *owner);

/* Its memory, for good. */
void grpc_call_free(struct grpc_call *call);

#endif
