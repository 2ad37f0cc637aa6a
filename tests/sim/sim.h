/* sim.h: a world of whole members and clients in one process, in virtual time, from one seed.
 *
 * Nothing in it but the seed decides what happens: no clock, no address, no order of a hash. One
 * event runs at a time; a process (proc.h) has turns like those of rpc/loop.c, its host (host.h)
 * has a disk and an address, streams between hosts (net.h) have latencies, and time passes from
 * one event to the next.
 *
 * Owner:  main, or a test. Thread: one. The simulated LMDB files are real, in `scratch`.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "base/prng.h"
#include "tests/sim/event.h"
#include "tests/sim/net.h"
#include "tests/sim/trace.h"

enum {
    SIM_NODES_MAX = 9,  /* spare ones counted */
    SIM_HOSTS_MAX = 64, /* nodes, then clients' hosts */
    SIM_PATH_BYTES = 256,
    SIM_START_US = 1000000,
};

/* Streams of chance, each for itself: what one purpose takes changes no other. */
enum sim_chance {
    SIM_CHANCE_DISK,   /* of a host: latencies */
    SIM_CHANCE_CRASH,  /* of a host: what survives */
    SIM_CHANCE_JOBS,   /* of a host */
    SIM_CHANCE_RANDOM, /* of a host: what struct io gives out */
    SIM_CHANCE_CLOCK,  /* of a host */
    SIM_CHANCE_LINK,   /* of a pair of hosts */
    SIM_CHANCE_PLAN,   /* the faults */
    SIM_CHANCE_FAULT,  /* what one fault chooses when it comes */
    SIM_CHANCE_SIZES,  /* a process's limits */
    SIM_CHANCE_LOAD,   /* what the clients do */
};

struct sim_options {
    uint64_t seed;
    uint32_t node_count;  /* hosts of members, spare ones too */
    uint32_t spare_count; /* of them: blank, for members that are added later */
    uint32_t client_host_count;
    bool is_wide; /* WAN rather than LAN */
    bool is_traced;
    bool is_logged;           /* the nodes' own log, to stderr */
    const char *scratch;      /* a directory that exists: LMDB's files */
    uint64_t heartbeat_ms;    /* 0: 100 */
    uint64_t election_ms;     /* 0: 1000 */
    uint32_t log_entries;     /* kept for members that are away; 0: 500 */
    bool is_snapshot_slow;    /* small chunks, and not many a second */
    uint32_t clock_drift_ppm; /* at most, either way */
};

struct sim_check;
struct sim_host;

struct sim {
    struct sim_options options;
    uint64_t now_us;
    struct events events;
    uint64_t event_count;
    struct sim_trace trace;
    struct sim_net net;
    struct sim_host *hosts; /* nodes, then clients */
    uint32_t host_count;
    struct sim_check *check;
    bool is_ending;  /* nobody starts members again */
    bool has_failed; /* a checker has spoken: the run ends */
};

struct sim *sim_new(const struct sim_options *options);
void sim_free(struct sim *sim);

/* A stream of its own for this purpose; a and b name whose. */
struct prng sim_chance(const struct sim *sim, enum sim_chance purpose, uint64_t a, uint64_t b);

/* Events up to then run; earlier when a checker spoke. */
void sim_run_until(struct sim *sim, uint64_t until_us);

/* A checker found what must not be: one line on stderr, and the run ends. */
void sim_fail(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
