/* grpc_fixture.h: a gRPC server in a thread of its own, with a service to try it with.
 *
 * /test.Echo/Block    as Repeat, from a block
 * /test.Echo/Busy     grpc_call_finish_busy
 * /test.Echo/Collect  stream in: answers with the bytes received, as decimal digits
 * /test.Echo/Fail     NOT_FOUND "no \x01 100% \xc3\xa9"
 * /test.Echo/Hold     never answers; counts who is gone
 * /test.Echo/Later    echoes from a timer
 * /test.Echo/More     echoes, and the server reads one more of those that were held
 * /test.Echo/Repeat   answers with as many bytes as its message, four bytes big-endian, says
 * /test.Echo/Stream   both ways: echoes each message at once; OK when the client has ended
 * /test.Echo/Token    answers with the token and whether a leader is asked for
 * /test.Echo/Unary    echoes
 */
#ifndef TESTS_SUPPORT_GRPC_FIXTURE_H
#define TESTS_SUPPORT_GRPC_FIXTURE_H

#include "rpc/grpc.h"

struct grpc_fixture;

/* Generous: to be narrowed where a test is about a bound. The fixture fills in the rest. */
struct grpc_options grpc_fixture_options(void);

/* NULL: grpc_fixture_options. Fails the test where it cannot. */
struct grpc_fixture *grpc_fixture_open(const struct grpc_options *options);

const struct io_addr *grpc_fixture_addr(const struct grpc_fixture *f);

/* As of the last turn that ended; all of them from one turn. */
struct grpc_counters grpc_fixture_counters(struct grpc_fixture *f);

/* Until `is_so` holds of the counters; false after ten seconds. */
bool grpc_fixture_await(struct grpc_fixture *f, bool (*is_so)(const struct grpc_counters *c));

/* Begins grpc_server_close; the test may go on talking to it. */
void grpc_fixture_shut(struct grpc_fixture *f, uint32_t grace_ms);

/* Shuts it without grace unless that has begun, waits for the end, and says what the counters
 * were then and how many calls of Hold were told that they are gone. */
struct grpc_counters grpc_fixture_close(struct grpc_fixture *f, uint64_t *ret_gone);

#endif
