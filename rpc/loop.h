/* loop.h: struct io for the world: one io_uring, its thread, and a few threads for jobs.
 *
 * Needs Linux 6.1 and io_uring with SINGLE_ISSUER, DEFER_TASKRUN, multishot accept and receive,
 * and provided buffer rings; loop_open says which is missing.
 * Owner:  the caller. Thread: the one that opened it.
 * Bounds: options; op slots carry generations, so that a completion that comes late never
 *         touches what its slot was given to since. An operation past op_count_max and a timer past
 *         timer_count_max are refused and counted. Received bytes wait in the kernel while no
 *         buffer is free.
 * Idle:   without completions and due timers the thread sleeps; the loop wakes itself for nothing.
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
    uint32_t recv_buffer_count;            /* power of two, [1, 32768]; shared by all connections */
    uint32_t recv_buffer_bytes;            /* [16, 1 << 20] */
    uint32_t thread_counts[IO_LANE_COUNT]; /* for jobs, [1, 64] each */
    /* Runs after each batch of completions, timers and jobs: proposals, frames and responses
     * that gathered during the turn leave here. May be NULL. */
    void (*turn_end)(void *owner);
    void *owner;
};

struct loop_counters {
    uint64_t turns;
    uint64_t completions;
    uint64_t completions_late;    /* of an operation that had ended: dropped */
    uint64_t operations_refused;  /* op_count_max */
    uint64_t timers_refused;      /* timer_count_max */
    uint64_t submissions_full;    /* the submission queue filled up within a turn */
    uint64_t transfers_short;     /* sends and writes that took more than one request */
    uint64_t recv_without_buffer; /* a receive found all buffers taken, and was asked for again */
    uint64_t accept_rests;        /* accepting failed and rested, as without descriptors */
    uint64_t jobs_started;
};

/* What a loop with these options takes when all of it is in use: operations, timers, rings and
 * receive buffers; without the threads' stacks. For the total at start-up (I8). */
uint64_t loop_memory_bytes(const struct loop_options *options);

/* detail: for the operator, which operation is missing or which call failed. */
enum loop_err loop_open(struct loop **ret_loop, const struct loop_options *options, char *detail,
                        size_t detail_bytes) __attribute__((warn_unused_result));

struct io *loop_io(struct loop *l);

const struct loop_counters *loop_counters(const struct loop *l);

/* Serves until loop_stop; turn_end also runs once before the first wait, for what gathered since
 * loop_open. LOOP_E_SYSTEM: the ring itself failed. */
enum loop_err loop_run(struct loop *l) __attribute__((warn_unused_result));

/* From a callback: loop_run returns at the end of this turn. */
void loop_stop(struct loop *l);

/* Readable calls `fn` on the loop each time the descriptor (a signalfd, an eventfd) becomes
 * readable, until the loop closes. 0 or -errno. */
int loop_watch(struct loop *l, int fd, void (*fn)(void *owner), void *owner);

/* Cancels what is in flight and waits for it: owners get their last callbacks in here, and must
 * still be there. So do jobs, which all run to their end. What a callback begins is refused with
 * -ECANCELED, and timers no longer run. Only when the ring itself fails are operations given up.
 * NULL is fine. */
void loop_close(struct loop *l);

#endif
