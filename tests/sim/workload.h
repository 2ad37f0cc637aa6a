/* workload.h: clients that read and write a few keys of a cluster, and the history of it.
 *
 * Processes, each with one operation at a time, work on registers, lists, counters and accounts
 * through struct io; every value written is unique. A process stays with an endpoint for a while
 * and leaves it after an error. Reads are sent again; a write only when no server can have acted
 * on it, so that one recorded operation takes effect at most once, whatever the servers do. After
 * an unknown outcome the process goes on under a new number, as Jepsen's do.
 *
 * Keys by number: accounts, counters, lists, registers. An account that is absent holds
 * WORKLOAD_BALANCE; the sum over all accounts never changes.
 *
 * Owner:    open .. the `fn` of close. The history lives as long.
 * Thread:   the loop's; chance comes from the seed alone, so equal answers at equal times give
 *           equal operations.
 * Bounds:   ops_max recorded operations: then no new ones begin. Two timers a process, one a
 *           connection; group_count times endpoint_count connections.
 */
#ifndef TESTS_SIM_WORKLOAD_H
#define TESTS_SIM_WORKLOAD_H

#include "base/io.h"
#include "tools/check_history.h"

enum { WORKLOAD_BALANCE = 100, WORKLOAD_KEYS_MAX = 999 };

enum workload_kind {
    WORKLOAD_GET,
    WORKLOAD_GET_SERIALIZABLE,
    WORKLOAD_PUT,
    WORKLOAD_CAS_VALUE,
    WORKLOAD_CAS_MOD,
    WORKLOAD_COMPARE, /* the same with any other compare */
    WORKLOAD_DELETE,
    WORKLOAD_DELETE_RANGE, /* a few neighbouring registers */
    WORKLOAD_MULTI,        /* gets and puts of several registers, without compares */
    WORKLOAD_RANGE,        /* all keys */
    WORKLOAD_RANGE_LIMIT,
    WORKLOAD_RANGE_SERIALIZABLE,
    WORKLOAD_PAST,      /* all keys at a revision of the past */
    WORKLOAD_APPEND,    /* to a list: a read, then a transaction */
    WORKLOAD_TRANSFER,  /* between accounts, likewise */
    WORKLOAD_INCREMENT, /* of a counter, likewise */
    WORKLOAD_COMPACT,
    WORKLOAD_KINDS
};

struct workload_options {
    struct io *io;                   /* borrowed */
    const struct io_addr *endpoints; /* copied */
    size_t endpoint_count;           /* > 0, up to SIM_ENDPOINTS_MAX */
    uint64_t seed;
    uint32_t process_count; /* > 0 */
    uint32_t group_count;   /* > 0: those that share connections */
    uint32_t think_min_ms;  /* from one operation's end to the next; 0 and 0: at once */
    uint32_t think_max_ms;
    uint32_t call_timeout_ms;         /* > 0, of one attempt */
    uint32_t retries_max;             /* of one operation */
    uint32_t accounts;                /* 0, or at least 2 */
    uint32_t counters;                /* as many keys of each class as their kinds need */
    uint32_t lists;                   /* 0, or at least 2 */
    uint32_t registers;               /* 0, or at least 2 */
    uint32_t list_max;                /* elements of a list, then it is deleted */
    uint32_t value_bytes;             /* of a register, at least; up to 64 KiB */
    uint32_t weights[WORKLOAD_KINDS]; /* chances of kinds, relative to each other */
    size_t ops_max;
};

/* Few keys, much contention, everything in it. The caller fills in io, endpoints and seed. */
struct workload_options workload_options_usual(void);

struct workload_counters {
    uint64_t began;
    uint64_t ok, failed, unknown;
    uint64_t retries;
    uint64_t malformed;      /* answers that do not decode: a defect of the server */
    uint64_t last_ok_ms;     /* when one last came out well */
    int64_t newest_revision; /* that an answer told */
};

struct workload;

/* NULL: out of memory, or options out of bounds. */
struct workload *workload_open(const struct workload_options *options);

/* New operations begin, from now on. Again after a stop: goes on. */
void workload_start(struct workload *w);
/* None begins any more; those in flight end by themselves, after their time-outs at the latest. */
void workload_stop(struct workload *w);
bool workload_is_drained(const struct workload *w);

const struct check_history *workload_history(const struct workload *w);
const struct workload_counters *workload_counters(const struct workload *w);

/* For each key of the history its history_class. */
const uint8_t *workload_classes(const struct workload *w);

/* Ends what is in flight, as unknown where it may be; then `fn` runs and the workload is gone. */
void workload_close(struct workload *w, void (*fn)(void *owner), void *owner);

#endif
