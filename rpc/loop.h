/* loop.h: struct io for the world: one io_uring, its thread, and a few threads for jobs.
 *
 * Needs Linux 6.1 and io_uring with SINGLE_ISSUER, DEFER_TASKRUN, multishot accept and receive,
 * and provided buffer rings; loop_open says which is missing.
 * Owner:  the caller. Thread: the one that opened it; loop_wake alone may be called from others.
 * Bounds: options; op slots carry generations, so that a completion that comes late never
 *         touches what its slot was given to since.
 */
#ifndef RPC_LOOP_H
#define RPC_LOOP_H

#include "base/io.h"

#define LOOP_ERRORS(X)                                                       \
    X(LOOP_OK, "ok")                                                         \
    X(LOOP_E_NOMEM, "out of memory")                                         \
    X(LOOP_E_OPTIONS, "options out of bounds")                               \
    X(LOOP_E_UNSUPPORTED, "the kernel lacks io_uring or an operation of it") \
    X(LOOP_E_SYSTEM, "a system call failed")

#define LOOP_ENUM_ENTRY(name, text) name,
enum loop_err { LOOP_ERRORS(LOOP_ENUM_ENTRY) };
#undef LOOP_ENUM_ENTRY

const char *loop_strerror(enum loop_err err);

struct loop;

struct loop_options {
    uint32_t op_count_max; /* operations in flight, [64, 1 << 20] */
    uint32_t timer_count_max;
    uint32_t recv_buffer_count; /* power of two; shared by all receiving connections */
    uint32_t recv_buffer_bytes;
    uint32_t thread_count; /* for jobs, [1, 64] */
    /* Runs after each batch of completions, timers and jobs: proposals, frames and responses
     * that gathered during the turn leave here. May be NULL. */
    void (*turn_end)(void *owner);
    void *owner;
};

/* detail: for the operator, which operation is missing or which call failed. */
enum loop_err loop_open(struct loop **ret_loop, const struct loop_options *options, char *detail,
                        size_t detail_bytes) __attribute__((warn_unused_result));

struct io *loop_io(struct loop *l);

/* Serves until loop_stop. LOOP_E_SYSTEM: the ring itself failed. */
enum loop_err loop_run(struct loop *l) __attribute__((warn_unused_result));

/* From a callback: loop_run returns at the end of this turn. */
void loop_stop(struct loop *l);

/* Readable calls `fn` on the loop each time the descriptor (a signalfd, an eventfd) becomes
 * readable, until the loop closes. 0 or -errno. */
int loop_watch(struct loop *l, int fd, void (*fn)(void *owner), void *owner);

/* Every operation has completed or is given up; jobs are waited for. NULL is fine. */
void loop_close(struct loop *l);

#endif
