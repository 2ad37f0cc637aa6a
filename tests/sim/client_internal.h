/* client_internal.h: what client.c (connecting, calls) and client_h2.c (HTTP/2) share. */
#ifndef TESTS_SIM_CLIENT_INTERNAL_H
#define TESTS_SIM_CLIENT_INTERNAL_H

#include <nghttp2/nghttp2.h>

#include "tests/sim/client.h"

enum {
    SIM_OUT_BYTES = 32 * 1024,                     /* filled up to here */
    SIM_OUT_BYTES_MAX = SIM_OUT_BYTES + 17 * 1024, /* and past it by one frame */
};

enum sim_client_state {
    SIM_PAUSING,    /* until the timer */
    SIM_CONNECTING, /* until the timer, at the latest */
    SIM_UP,         /* the timer, if set: calls have finished */
    SIM_ENDING,     /* the socket's last operations complete */
};

struct sim_client {
    struct sim_client_options options;
    struct io_addr endpoints[SIM_ENDPOINTS_MAX];
    size_t endpoint;
    enum sim_client_state state;
    uint32_t failures; /* in a row */
    struct timer timer;
    struct io_ref connect_ref;

    struct list waiting;  /* calls for the next connection */
    struct list calls;    /* on the connection */
    struct list finished; /* ended, not told yet */
    size_t call_count;    /* on all three */

    int fd;
    nghttp2_session *session;
    struct io_ref recv_ref;
    struct io_ref send_ref;
    bool reading;
    bool sending;
    bool in_bytes; /* nghttp2 works on what came: output waits for its end */
    bool broken;   /* shut down; recv will end it */
    bool goaway;   /* finishes what it has, takes nothing new */
    uint64_t received_ms;
    uint64_t session_count;
    size_t out_size;
    uint8_t out[SIM_OUT_BYTES_MAX];

    bool closing;
    void (*closed)(void *owner);
    void *closed_owner;
};

/* False: out of memory. */
bool sim_h2_open(struct sim_client *c);

/* The call goes on a stream of its own. False: nghttp2 takes no more. */
bool sim_h2_submit(struct sim_client *c, struct sim_call *call);

/* False: the bytes are no HTTP/2. Calls that ended are on c->finished. */
bool sim_h2_receive(struct sim_client *c, struct slice bytes);

/* Fills c->out. False: the session is beyond repair. */
bool sim_h2_fill(struct sim_client *c);

/* It neither sends nor takes anything any more. */
bool sim_h2_is_over(const struct sim_client *c);

/* The call's stream ends and knows it no more. */
void sim_h2_cancel(struct sim_client *c, struct sim_call *call);

/* Every byte that a server needs to act on it may have left. */
bool sim_call_is_sent(const struct sim_call *call);

/* Moves it to c->finished. */
void sim_call_finish(struct sim_call *call, enum sim_outcome outcome);

#endif
