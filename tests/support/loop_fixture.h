/* loop_fixture.h: a loop for a test, and a connected pair of its sockets.
 *
 * All of them fail the test where something goes wrong.
 */
#ifndef TESTS_SUPPORT_LOOP_FIXTURE_H
#define TESTS_SUPPORT_LOOP_FIXTURE_H

#include "rpc/loop.h"

/* Small, but enough for a few connections. */
struct loop_options loop_fixture_options(void);

/* NULL: loop_fixture_options. */
struct loop *loop_fixture_open(const struct loop_options *options);

/* Until loop_stop. */
void loop_fixture_run(struct loop *l);

/* Returns once everything that was ready, and what it caused, has been handled. */
void loop_fixture_settle(struct loop *l);

struct io_addr loop_fixture_loopback(void); /* 127.0.0.1:0 */

/* An end that connected and one that was accepted; the caller closes them. */
void loop_fixture_pair(struct loop *l, int ret_fds[2]);

/* An owner that counts its completions and keeps the last result. */
struct loop_fixture_done {
    struct loop *stop; /* NULL, or to stop with it */
    unsigned count;
    int32_t result;
};

void loop_fixture_on_done(void *done, int32_t result);

/* An owner that counts what it receives. */
struct loop_fixture_sink {
    struct loop *stop; /* at the end */
    uint64_t bytes;
    unsigned ended;
    int32_t result;
};

void loop_fixture_on_recv(void *sink, struct slice bytes, int32_t result);

#endif
