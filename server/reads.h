/* reads.h: linearizable reads on their way: gathered, confirmed as a batch, then held until the
 * state machine has reached their index (I11, thesis §6.4).
 *
 * Owner:    whoever waits embeds the read and keeps it until `done` ran or reads_cancel returned.
 * Thread:   the loop's. Bounds: count_max waiting, each for timeout_ms; READS_CONTEXTS_MAX
 *           batches asked for at a time, further reads gather for the next.
 */
#ifndef SERVER_READS_H
#define SERVER_READS_H

#include "base/io.h"
#include "server/etcd_error.h"

enum { READS_CONTEXTS_MAX = 4 };

struct read {
    /* Exactly once, unless cancelled. ETCD_OK: read now, the state is new enough. */
    void (*done)(struct read *read, enum etcd_error error);
    /* Internal. */
    bool is_waiting;
    uint64_t context; /* that was asked for it */
    uint64_t index;   /* that it waits for */
    struct timer timer;
    struct list link;
    struct reads *set;
};

struct reads {
    struct io *io;
    struct list gathered;  /* not asked yet */
    struct list asked;     /* by context, ascending */
    struct list confirmed; /* by index, ascending */
    size_t count;
    size_t count_max;
    uint64_t next_context;
    uint64_t answered_context;
    uint32_t timeout_ms;
    bool leader_was_lost;
    uint64_t refused;
    uint64_t timed_out;
};

void reads_init(struct reads *set, struct io *io, size_t count_max, uint32_t timeout_ms);

/* Fill done before. False at the cap: not added. */
bool reads_add(struct reads *set, struct read *read);

/* The context to ask Raft for now, or 0 when nothing gathered or enough are under way. */
uint64_t reads_next_context(struct reads *set);

/* Raft's answer: it holds for every context up to this one, asked earlier as they were. */
void reads_on_confirmed(struct reads *set, uint64_t context, uint64_t index);

/* No answer will come: those up to the context gather again. */
void reads_on_refused(struct reads *set, uint64_t context);

/* Runs `done` of those whose index is reached. */
void reads_on_applied(struct reads *set, uint64_t index);

void reads_cancel(struct reads *set, struct read *read);
void reads_fail_all(struct reads *set, enum etcd_error error);

#endif
