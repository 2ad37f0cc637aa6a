/* client.h: a gRPC client over struct io: one connection, many calls in flight, virtual time.
 *
 * It connects at once, and again after a failure: to the next endpoint, with a pause that doubles
 * after each that failed. A call begun meanwhile waits for the attempt under way or the next one,
 * and fails with it. A connection on which a whole call's time passed without a byte is given up.
 *
 * Owner:    the caller keeps a sim_call and its request until `done` ran; the response
 *           lives in the call until that begins anew or sim_call_done. Endpoints are copied.
 * Lifetime: open .. the `fn` of close. `done` runs exactly once a call, from the loop and never
 *           inside the function that began it; it may begin calls, on the same sim_call too, and
 *           close the client.
 * Thread:   the loop's.
 * Bounds:   calls_max in flight and response_bytes_max each; endpoint_count up to
 *           SIM_ENDPOINTS_MAX. One timer a client and one a call.
 */
#ifndef TESTS_SIM_CLIENT_H
#define TESTS_SIM_CLIENT_H

#include "base/io.h"
#include "rpc/grpc.h"

enum { SIM_ENDPOINTS_MAX = 16, SIM_CALL_TEXT_BYTES = 160, SIM_CALL_TIMEOUT_BYTES = 12 };

struct sim_client;
struct sim_call;

/* What is known about a call that ended. */
enum sim_outcome {
    SIM_ANSWERED, /* status and text are the server's */
    SIM_NOT_SENT, /* no server can have acted on it: it may be sent again */
    SIM_UNKNOWN,  /* connection lost or deadline passed: it may have happened, or yet happen */
};

typedef void sim_call_fn(void *owner, struct sim_call *call);

/* The caller embeds it, zeroed at first, and fills in the first part before each call. */
struct sim_call {
    const char *path;     /* "/etcdserverpb.KV/Put"; static */
    struct slice request; /* the packed message */
    uint32_t timeout_ms;  /* > 0 */
    sim_call_fn *done;
    void *owner;

    /* How it ended. */
    enum sim_outcome outcome;
    enum grpc_status status;        /* GRPC_UNAVAILABLE where no server gave one */
    char text[SIM_CALL_TEXT_BYTES]; /* of the server, as it came on the wire, cut when longer */
    struct slice response;          /* with GRPC_OK alone */

    /* The client's. */
    struct sim_client *client;
    struct list link;
    struct timer timer;
    uint64_t began_ms;
    int32_t stream_id; /* 0: waits for a connection */
    size_t sent_bytes; /* of prefix and request */
    uint8_t prefix[5];
    char timeout_text[SIM_CALL_TIMEOUT_BYTES];
    int grpc_status; /* -1: none came */
    bool too_large;
    uint8_t *reply;
    size_t reply_size;
    size_t reply_capacity;
};

struct sim_client_options {
    struct io *io;                   /* borrowed */
    const struct io_addr *endpoints; /* copied */
    size_t endpoint_count;           /* > 0 */
    size_t endpoint_first;           /* the first to try */
    uint32_t connect_timeout_ms;     /* > 0, of one attempt */
    uint32_t pause_min_ms;           /* after the first failure; > 0 */
    uint32_t pause_max_ms;
    uint32_t calls_max;
    uint32_t response_bytes_max;
};

/* NULL: out of memory, or options out of bounds. */
struct sim_client *sim_client_open(const struct sim_client_options *options);

/* False: calls_max are in flight, no timer is left, or the client closes; `done` will not run. */
bool sim_client_call(struct sim_client *c, struct sim_call *call)
    __attribute__((warn_unused_result));

/* What is in flight ends first, as unknown or not sent; then `fn` runs and the client is gone. */
void sim_client_close(struct sim_client *c, void (*fn)(void *owner), void *owner);

/* Leaves its endpoint for the next one, as if the connection had broken. */
void sim_client_move(struct sim_client *c);

bool sim_client_is_up(const struct sim_client *c);
size_t sim_client_endpoint(const struct sim_client *c);  /* the one in use or tried next */
uint64_t sim_client_session(const struct sim_client *c); /* connections so far, this one included */
size_t sim_client_calls(const struct sim_client *c);     /* in flight */

/* Frees what the call kept; it is not in flight. */
void sim_call_done(struct sim_call *call);

#endif
