/* fake_net.h: the time and the streams of struct io, moved by hand.
 *
 * The test is the other end of each connection and the clock: bytes arrive when it says so, sends
 * complete in fake_net_turn, and operations can be made to fail. Nobody can be connected to; jobs
 * run at once, inside the call; files are missing.
 */
#ifndef TESTS_SUPPORT_FAKE_NET_H
#define TESTS_SUPPORT_FAKE_NET_H

#include "base/io.h"

enum { FAKE_NET_STREAMS = 8, FAKE_NET_TIMERS_MAX = 64 };

struct fake_stream {
    bool open;
    bool shut; /* by shutdown */
    io_recv_fn *recv;
    void *recv_owner;
    bool recv_cancelled;
    io_done_fn *sent;
    void *sent_owner;
    bool send_cancelled;
    struct slice sending;
    uint8_t *out; /* all that was sent */
    size_t out_size;
};

struct fake_net {
    struct io io; /* first */
    uint64_t now_ms;
    struct timer_heap timers;
    struct fake_stream streams[FAKE_NET_STREAMS];
    io_accept_fn *accept;
    void *accept_owner;
    bool accept_cancelled;
    bool holds_sends; /* they stay in flight until cancelled */
    uint64_t fail_at; /* the n-th operation from now is refused; 0: none */
    uint64_t operations;
};

void fake_net_init(struct fake_net *n);
/* Fails the test when a stream is still open. */
void fake_net_done(struct fake_net *n);

/* A client has connected. The number of its stream; below 0: not accepted, or closed at once. */
int fake_net_connect(struct fake_net *n);

/* From the client; nothing happens when the server does not read. True: delivered. */
bool fake_net_bytes(struct fake_net *n, int fd, struct slice bytes);
void fake_net_end(struct fake_net *n, int fd);

/* Sends and cancellations complete. */
void fake_net_turn(struct fake_net *n);

/* The clock moves, and due timers run. */
void fake_net_advance(struct fake_net *n, uint64_t ms);

#endif
