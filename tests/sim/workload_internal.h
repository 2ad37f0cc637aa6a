/* workload_internal.h: what the parts of the workload share: workload.c (processes and their
 * time), workload_make.c (which operation comes next), workload_wire.c (its messages).
 */
#ifndef TESTS_SIM_WORKLOAD_INTERNAL_H
#define TESTS_SIM_WORKLOAD_INTERNAL_H

#include "base/arena.h"
#include "base/prng.h"
#include "tests/sim/client.h"
#include "tests/sim/workload.h"

enum {
    WORKLOAD_STEPS_MAX = 6, /* of one branch */
    WORKLOAD_COMPARES_MAX = 2,
    WORKLOAD_KEY_BYTES = 4,
    WORKLOAD_ARENA_BYTES = 4 << 20,
};

/* The transaction that follows a read: all about two keys at most. */
struct workload_follow {
    enum workload_kind kind;
    bool is_due;
    uint32_t keys[2];
    uint32_t key_count;
    struct check_seen seen[2];
};

struct workload_process {
    struct workload *workload;
    uint32_t slot;
    uint32_t number; /* in the history; another after each unknown outcome */
    uint32_t endpoint;
    uint32_t ops_until_move;
    uint32_t retries;
    size_t op; /* in flight: its place in the history */
    bool in_flight;
    bool is_retry; /* the timer sends op again */
    struct prng chance;
    struct timer timer;
    struct workload_follow follow;
    struct sim_call call;
    uint8_t *request;
    size_t request_capacity;
};

struct workload {
    struct workload_options options;
    struct io_addr endpoints[SIM_ENDPOINTS_MAX];
    uint32_t key_count;
    uint32_t first_counter, first_list, first_register; /* accounts begin at 0 */
    uint32_t weight_sum;
    uint8_t classes[WORKLOAD_KEYS_MAX];
    struct check_seen known[WORKLOAD_KEYS_MAX]; /* what somebody last learned: for compares */
    uint64_t next_number;
    struct check_history history;
    struct workload_counters counters;
    struct workload_process *processes;
    struct sim_client **clients; /* [group * endpoint_count + endpoint] */
    size_t client_count;
    struct arena arena; /* of one message */
    bool running;
    bool full; /* no room for more history */
    size_t in_flight_count;
    void (*closed)(void *owner);
    void *closed_owner;
};

/* Adds the next operation of p to the history. False: no room. */
bool workload_make(struct workload_process *p);

/* What p's operation, which has ended well, makes it do next. */
void workload_learn(struct workload_process *p);

/* Fills in path and request of p->call for its operation. False: out of memory. */
bool workload_encode(struct workload_process *p);

/* The answer into the history. False: not an answer to this request. */
bool workload_decode(struct workload_process *p);

#endif
