/* fault.h: a plan of faults, from the seed and the profile: printable, and each can be left out.
 *
 * Faults stay within what the design promises to survive. A member whose durable data is damaged or
 * gone, or who has no voice yet, counts as hurt: never more than a minority of the voters at a
 * time, of whichever members some leader may go by. Changes of the members keep to that, too.
 * Everything else heals: processes are
 * started again, partitions end, disks get room; power may go on all nodes at once.
 * What one fault chooses when it comes is drawn from a stream of its own, so a plan without it
 * leaves the others as they are.
 */
#ifndef TESTS_SIM_FAULT_H
#define TESTS_SIM_FAULT_H

#include <stdio.h>

#include "tests/sim/host.h"

enum sim_fault_kind {
    FAULT_KILL,
    FAULT_KILL_WITHIN, /* in the midst of a blocking call or an LMDB commit */
    FAULT_KILL_ALL,
    FAULT_TERMINATE,
    FAULT_POWER,
    FAULT_POWER_WITHIN,
    FAULT_POWER_LATE, /* kill -9, a start, acknowledgements, then the power */
    FAULT_POWER_ALL,
    FAULT_PAUSE,
    FAULT_PAUSE_LEADER,
    FAULT_KILL_LEADER,
    FAULT_ISOLATE,
    FAULT_ISOLATE_LEADER,
    FAULT_HALVES,
    FAULT_ONE_WAY,
    FAULT_RING,
    FAULT_BRIDGE,
    FAULT_CLIENTS_CUT,
    FAULT_SLOW_LINKS,
    FAULT_OLD_ECHOES, /* the leader hears late, then is no longer heard: who leads does not know it
                       */
    FAULT_LOSS,
    FAULT_CLOG,
    FAULT_RESET,
    FAULT_DISK_STALL,
    FAULT_DISK_SLOW,
    FAULT_DISK_ERRORS,
    FAULT_DISK_FULL,
    FAULT_CLOCK_JUMP,
    FAULT_ROT,        /* bits of the journal, below what is known durable */
    FAULT_LOST_WRITE, /* there, a block that never reached the disk, or went elsewhere */
    FAULT_ROW,        /* a bit of a row of the store */
    FAULT_LOSE_VOTE,  /* both slots of term and vote */
    FAULT_WIPE,       /* a blank disk under the old name */
    FAULT_ZONE_POWER, /* a minority at once */
    FAULT_ZONE_CUT,
    FAULT_MID_SNAPSHOT, /* a member lags, and while it gets a snapshot somebody is struck */
    /* Operations, until they succeed or the time is over; `size` chooses. */
    FAULT_MEMBER_ADD,
    FAULT_MEMBER_PROMOTE,
    FAULT_MEMBER_DEMOTE,
    FAULT_MEMBER_REMOVE,
    FAULT_MEMBER_JOINT,   /* several at once */
    FAULT_MEMBER_REPLACE, /* one whose disk is gone; goes on until it succeeds */
    FAULT_MEMBER_URLS,
    FAULT_TRANSFER,
    FAULT_KINDS
};

enum { SIM_FAULTS_MAX = 256 };

struct sim_fault {
    uint64_t at_us;
    uint64_t for_us;
    enum sim_fault_kind kind;
    uint32_t nodes; /* bits */
    uint64_t size;  /* what of: a delay, a count */
    bool is_left_out;
};

struct sim_plan {
    struct sim_fault faults[SIM_FAULTS_MAX]; /* by time */
    uint32_t count;
};

const char *sim_fault_name(enum sim_fault_kind kind);

struct sim_profile {
    const char *name;
    const char *about;
    bool is_wide;
    uint32_t faults_per_minute;
    uint32_t drift_ppm;
    uint32_t spare_count; /* hosts for members to be added */
    uint32_t log_entries; /* kept for members that are away; 0: as ever */
    bool is_snapshot_slow;
    uint8_t weights[FAULT_KINDS];
};

/* NULL: there is none of this name. */
const struct sim_profile *sim_profile_find(const char *name);
void sim_profiles_print(FILE *to);

void sim_plan_make(struct sim_plan *plan, const struct sim_profile *profile, uint64_t seed,
                   uint32_t node_count, uint64_t from_us, uint64_t to_us);
void sim_plan_print(const struct sim_plan *plan, FILE *to);

struct sim_nemesis;

/* Sets the plan's faults into the world's future. `plan` is copied. */
struct sim_nemesis *sim_nemesis_new(struct sim *sim, const struct sim_plan *plan);
void sim_nemesis_free(struct sim_nemesis *n);

/* No fault from here on: what is cut is joined, what is down starts. */
void sim_nemesis_heal(struct sim_nemesis *n);

#endif
