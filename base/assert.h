/* assert.h: invariants, checked in every build.
 *
 * ASSERT states what only a bug in this program can break. Bytes from a client, a peer or a
 * disk never reach one (I9): those get an error code. It stays on in release builds, because a
 * stopped node is safe and a wrong one is not.
 */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

#include <stdbool.h>

/* Prints the failed claim to stderr and aborts. Any thread. */
_Noreturn void assert_fail(const char *expr, const char *file, int line, const char *func);

/* Whether an abort is one of these. Async-signal-safe. */
bool assert_is_failing(void);

#define ASSERT(e) ((e) ? (void)0 : assert_fail(#e, __FILE__, __LINE__, __func__))

/* Drops a result on purpose. The reason is for the reader; gcc accepts no cast to void here. */
#define IGNORE(call, reason)                                                      \
    do {                                                                          \
        _Static_assert(sizeof(reason) > 1, "say why the result does not matter"); \
        if (call) {                                                               \
        }                                                                         \
    } while (0)

#endif
