#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "tests/sim/fault.h"

enum { MS = 1000 };

enum rule_nodes { RULE_FEW, RULE_ALL, RULE_MINORITY };

/* How long it lasts, how large it is, and whom it strikes. */
struct kind_rule {
    const char *name;
    uint32_t for_ms_min, for_ms_max;
    uint32_t size_min, size_max;
    enum rule_nodes nodes;
};

static const struct kind_rule rules[FAULT_KINDS] = {
    [FAULT_KILL] = { "kill", 50, 5000, 0, 0, RULE_FEW },
    [FAULT_KILL_WITHIN] = { "kill-within", 500, 5000, 1, 40, RULE_FEW },
    [FAULT_KILL_ALL] = { "kill-all", 50, 3000, 0, 0, RULE_ALL },
    [FAULT_TERMINATE] = { "terminate", 2000, 6000, 0, 0, RULE_FEW },
    [FAULT_POWER] = { "power", 200, 6000, 0, 0, RULE_FEW },
    [FAULT_POWER_WITHIN] = { "power-within", 500, 5000, 1, 40, RULE_FEW },
    [FAULT_POWER_LATE] = { "power-late", 500, 4000, 200, 3000, RULE_FEW },
    [FAULT_POWER_ALL] = { "power-all", 100, 4000, 0, 0, RULE_ALL },
    [FAULT_PAUSE] = { "pause", 50, 6000, 0, 0, RULE_FEW },
    [FAULT_PAUSE_LEADER] = { "pause-leader", 500, 5000, 0, 0, RULE_FEW },
    [FAULT_KILL_LEADER] = { "kill-leader", 50, 3000, 0, 0, RULE_FEW },
    [FAULT_ISOLATE] = { "isolate", 200, 8000, 0, 0, RULE_FEW },
    [FAULT_ISOLATE_LEADER] = { "isolate-leader", 500, 6000, 0, 0, RULE_FEW },
    [FAULT_HALVES] = { "halves", 500, 8000, 0, 0, RULE_FEW },
    [FAULT_ONE_WAY] = { "one-way", 500, 6000, 0, 0, RULE_FEW },
    [FAULT_RING] = { "ring", 500, 6000, 0, 0, RULE_ALL },
    [FAULT_BRIDGE] = { "bridge", 500, 6000, 0, 0, RULE_FEW },
    [FAULT_CLIENTS_CUT] = { "clients-cut", 200, 4000, 0, 0, RULE_FEW },
    [FAULT_SLOW_LINKS] = { "slow-links", 500, 8000, 1, 300, RULE_FEW },
    [FAULT_OLD_ECHOES] = { "old-echoes", 6000, 12000, 1000, 4000, RULE_FEW },
    [FAULT_LOSS] = { "loss", 500, 8000, 1000, 200000, RULE_FEW },
    [FAULT_CLOG] = { "clog", 20, 1500, 0, 0, RULE_FEW },
    [FAULT_RESET] = { "reset", 0, 0, 0, 0, RULE_FEW },
    [FAULT_DISK_STALL] = { "disk-stall", 20, 5000, 0, 0, RULE_FEW },
    [FAULT_DISK_SLOW] = { "disk-slow", 500, 8000, 1, 50, RULE_FEW },
    [FAULT_DISK_ERRORS] = { "disk-errors", 20, 500, 1000, 500000, RULE_FEW },
    [FAULT_DISK_FULL] = { "disk-full", 500, 6000, 0, 0, RULE_FEW },
    [FAULT_CLOCK_JUMP] = { "clock-jump", 0, 0, 1, 600000, RULE_FEW },
    [FAULT_ROT] = { "rot", 200, 3000, 1, 8, RULE_FEW },
    [FAULT_LOSE_VOTE] = { "lose-vote", 200, 3000, 0, 0, RULE_FEW },
    [FAULT_LOST_WRITE] = { "lost-write", 200, 3000, 1, 3, RULE_FEW },
    [FAULT_ROW] = { "row", 200, 3000, 0, 3, RULE_FEW },
    [FAULT_WIPE] = { "wipe", 200, 3000, 0, 0, RULE_FEW },
    [FAULT_ZONE_POWER] = { "zone-power", 500, 6000, 0, 0, RULE_MINORITY },
    [FAULT_ZONE_CUT] = { "zone-cut", 500, 8000, 0, 0, RULE_MINORITY },
    [FAULT_MID_SNAPSHOT] = { "mid-snapshot", 6000, 16000, 0, 59, RULE_FEW },
    [FAULT_MEMBER_ADD] = { "add", 500, 6000, 0, 59, RULE_FEW },
    [FAULT_MEMBER_PROMOTE] = { "promote", 500, 6000, 0, 59, RULE_FEW },
    [FAULT_MEMBER_DEMOTE] = { "demote", 500, 6000, 0, 59, RULE_FEW },
    [FAULT_MEMBER_REMOVE] = { "remove", 500, 6000, 0, 59, RULE_FEW },
    [FAULT_MEMBER_JOINT] = { "joint", 500, 6000, 0, 59, RULE_FEW },
    [FAULT_MEMBER_REPLACE] = { "replace", 500, 6000, 0, 59, RULE_FEW },
    [FAULT_MEMBER_URLS] = { "urls", 500, 4000, 0, 59, RULE_FEW },
    [FAULT_TRANSFER] = { "transfer", 100, 3000, 0, 59, RULE_FEW },
};

static const struct sim_profile profiles[] = {
    { .name = "calm", .about = "no faults", .weights = { 0 } },
    { .name = "usual",
      .about = "everything",
      .faults_per_minute = 30,
      .drift_ppm = 200,
      .spare_count = 2,
      .log_entries = 200,
      .weights = { [FAULT_KILL] = 4,
                   [FAULT_KILL_WITHIN] = 4,
                   [FAULT_KILL_ALL] = 1,
                   [FAULT_TERMINATE] = 2,
                   [FAULT_POWER] = 3,
                   [FAULT_POWER_WITHIN] = 3,
                   [FAULT_POWER_LATE] = 2,
                   [FAULT_POWER_ALL] = 1,
                   [FAULT_PAUSE] = 2,
                   [FAULT_PAUSE_LEADER] = 2,
                   [FAULT_KILL_LEADER] = 3,
                   [FAULT_ISOLATE] = 2,
                   [FAULT_ISOLATE_LEADER] = 2,
                   [FAULT_HALVES] = 2,
                   [FAULT_ONE_WAY] = 2,
                   [FAULT_RING] = 1,
                   [FAULT_BRIDGE] = 1,
                   [FAULT_CLIENTS_CUT] = 1,
                   [FAULT_SLOW_LINKS] = 2,
                   [FAULT_LOSS] = 2,
                   [FAULT_CLOG] = 2,
                   [FAULT_RESET] = 3,
                   [FAULT_DISK_STALL] = 3,
                   [FAULT_DISK_SLOW] = 2,
                   [FAULT_DISK_ERRORS] = 1,
                   [FAULT_DISK_FULL] = 1,
                   [FAULT_CLOCK_JUMP] = 2,
                   [FAULT_OLD_ECHOES] = 1,
                   [FAULT_ROT] = 1,
                   [FAULT_LOST_WRITE] = 1,
                   [FAULT_ROW] = 1,
                   [FAULT_ZONE_POWER] = 1,
                   [FAULT_ZONE_CUT] = 1,
                   [FAULT_MID_SNAPSHOT] = 2,
                   [FAULT_TRANSFER] = 2,
                   [FAULT_MEMBER_ADD] = 3,
                   [FAULT_MEMBER_PROMOTE] = 2,
                   [FAULT_MEMBER_DEMOTE] = 1,
                   [FAULT_MEMBER_REMOVE] = 2,
                   [FAULT_MEMBER_JOINT] = 2,
                   [FAULT_MEMBER_REPLACE] = 1,
                   [FAULT_MEMBER_URLS] = 1 } },
    { .name = "crash",
      .about = "processes and hosts die, often and together",
      .faults_per_minute = 60,
      .weights = { [FAULT_KILL] = 4,
                   [FAULT_KILL_WITHIN] = 6,
                   [FAULT_KILL_ALL] = 2,
                   [FAULT_KILL_LEADER] = 4,
                   [FAULT_TERMINATE] = 2,
                   [FAULT_POWER] = 4,
                   [FAULT_POWER_WITHIN] = 6,
                   [FAULT_POWER_LATE] = 4,
                   [FAULT_POWER_ALL] = 2 } },
    { .name = "net",
      .about = "the network alone",
      .faults_per_minute = 40,
      .drift_ppm = 200,
      .weights = { [FAULT_ISOLATE] = 3,
                   [FAULT_ISOLATE_LEADER] = 3,
                   [FAULT_HALVES] = 3,
                   [FAULT_ONE_WAY] = 4,
                   [FAULT_RING] = 2,
                   [FAULT_BRIDGE] = 3,
                   [FAULT_CLIENTS_CUT] = 1,
                   [FAULT_SLOW_LINKS] = 3,
                   [FAULT_OLD_ECHOES] = 3,
                   [FAULT_LOSS] = 3,
                   [FAULT_CLOG] = 3,
                   [FAULT_RESET] = 4 } },
    { .name = "disk",
      .about = "disks that stall, fail and fill up, and crashes",
      .faults_per_minute = 30,
      .weights = { [FAULT_KILL] = 2,
                   [FAULT_KILL_WITHIN] = 3,
                   [FAULT_POWER] = 3,
                   [FAULT_POWER_WITHIN] = 3,
                   [FAULT_DISK_STALL] = 5,
                   [FAULT_DISK_SLOW] = 3,
                   [FAULT_DISK_ERRORS] = 3,
                   [FAULT_DISK_FULL] = 3 } },
    { .name = "damage",
      .about = "a minority's durable data is damaged or lost, and crashes",
      .faults_per_minute = 20,
      .weights = { [FAULT_ROT] = 3,
                   [FAULT_LOST_WRITE] = 1,
                   [FAULT_ROW] = 1,
                   [FAULT_LOSE_VOTE] = 1,
                   [FAULT_WIPE] = 2,
                   [FAULT_KILL] = 3,
                   [FAULT_POWER] = 3,
                   [FAULT_KILL_LEADER] = 2,
                   [FAULT_ISOLATE] = 2,
                   [FAULT_PAUSE] = 2 } },
    { .name = "repair",
      .about = "damage that heals by itself, and crashes meanwhile",
      .faults_per_minute = 40,
      .log_entries = 100,
      .is_snapshot_slow = true,
      .weights = { [FAULT_ROT] = 4,
                   [FAULT_LOST_WRITE] = 4,
                   [FAULT_ROW] = 8,
                   [FAULT_KILL] = 2,
                   [FAULT_KILL_WITHIN] = 3,
                   [FAULT_POWER] = 2,
                   [FAULT_POWER_WITHIN] = 3,
                   [FAULT_POWER_ALL] = 1,
                   [FAULT_KILL_LEADER] = 2,
                   [FAULT_ISOLATE] = 2,
                   [FAULT_ISOLATE_LEADER] = 1,
                   [FAULT_TRANSFER] = 1,
                   [FAULT_RESET] = 1,
                   [FAULT_PAUSE] = 2 } },
    { .name = "snapshot",
      .about = "members lag so that they need snapshots, and faults meanwhile",
      .faults_per_minute = 30,
      .drift_ppm = 200,
      .log_entries = 20,
      .is_snapshot_slow = true,
      .weights = { [FAULT_MID_SNAPSHOT] = 10,
                   [FAULT_KILL] = 2,
                   [FAULT_KILL_WITHIN] = 4,
                   [FAULT_POWER] = 2,
                   [FAULT_POWER_WITHIN] = 4,
                   [FAULT_POWER_ALL] = 1,
                   [FAULT_PAUSE] = 2,
                   [FAULT_KILL_LEADER] = 1,
                   [FAULT_ISOLATE] = 4,
                   [FAULT_ISOLATE_LEADER] = 1,
                   [FAULT_LOSS] = 1,
                   [FAULT_RESET] = 2,
                   [FAULT_DISK_STALL] = 2,
                   [FAULT_DISK_ERRORS] = 1,
                   [FAULT_DISK_FULL] = 1,
                   [FAULT_TRANSFER] = 2 } },
    { .name = "members",
      .about = "members come and go, and crashes and partitions meanwhile",
      .faults_per_minute = 50,
      .drift_ppm = 200,
      .spare_count = 4,
      .log_entries = 100,
      .is_snapshot_slow = true,
      .weights = { [FAULT_MEMBER_ADD] = 8,    [FAULT_MEMBER_PROMOTE] = 5,
                   [FAULT_MEMBER_DEMOTE] = 2, [FAULT_MEMBER_REMOVE] = 4,
                   [FAULT_MEMBER_JOINT] = 6,  [FAULT_MEMBER_REPLACE] = 3,
                   [FAULT_MEMBER_URLS] = 2,   [FAULT_TRANSFER] = 4,
                   [FAULT_KILL] = 2,          [FAULT_KILL_WITHIN] = 2,
                   [FAULT_POWER] = 1,         [FAULT_POWER_WITHIN] = 2,
                   [FAULT_POWER_ALL] = 1,     [FAULT_TERMINATE] = 1,
                   [FAULT_KILL_LEADER] = 2,   [FAULT_PAUSE] = 1,
                   [FAULT_ISOLATE] = 2,       [FAULT_ISOLATE_LEADER] = 2,
                   [FAULT_HALVES] = 1,        [FAULT_ONE_WAY] = 1,
                   [FAULT_RESET] = 1,         [FAULT_DISK_STALL] = 1 } },
    { .name = "zones",
      .about = "a minority or all lose power or are cut off at once",
      .faults_per_minute = 20,
      .log_entries = 100,
      .weights = { [FAULT_ZONE_POWER] = 5,
                   [FAULT_ZONE_CUT] = 5,
                   [FAULT_POWER_ALL] = 2,
                   [FAULT_KILL_ALL] = 1,
                   [FAULT_KILL_LEADER] = 2,
                   [FAULT_TRANSFER] = 1,
                   [FAULT_RESET] = 1 } },
    { .name = "wan",
      .about = "members far apart; everything, more slowly",
      .is_wide = true,
      .faults_per_minute = 15,
      .drift_ppm = 200,
      .weights = { [FAULT_KILL] = 2,
                   [FAULT_POWER] = 2,
                   [FAULT_PAUSE] = 2,
                   [FAULT_ISOLATE] = 3,
                   [FAULT_HALVES] = 2,
                   [FAULT_ONE_WAY] = 2,
                   [FAULT_SLOW_LINKS] = 3,
                   [FAULT_LOSS] = 3,
                   [FAULT_RESET] = 3,
                   [FAULT_DISK_STALL] = 2 } },
};

const struct sim_profile *sim_profile_find(const char *name)
{
    for (size_t i = 0; i < sizeof profiles / sizeof profiles[0]; i++) {
        if (strcmp(profiles[i].name, name) == 0)
            return &profiles[i];
    }
    return NULL;
}

void sim_profiles_print(FILE *to)
{
    for (size_t i = 0; i < sizeof profiles / sizeof profiles[0]; i++)
        fprintf(to, "  %-8s %s\n", profiles[i].name, profiles[i].about);
}

/* ---- making ---- */

static enum sim_fault_kind kind_pick(const struct sim_profile *profile, struct prng *chance)
{
    uint64_t sum = 0;
    for (int k = 0; k < FAULT_KINDS; k++)
        sum += profile->weights[k];
    uint64_t pick = prng_below(chance, sum);
    for (int k = 0; k < FAULT_KINDS; k++) {
        if (pick < profile->weights[k])
            return (enum sim_fault_kind)k;
        pick -= profile->weights[k];
    }
    ASSERT(pick < sum);
    return FAULT_KILL;
}

static uint64_t between(struct prng *chance, uint64_t low, uint64_t high)
{
    return high > low ? low + prng_below(chance, high - low + 1) : low;
}

/* Small ones more often than large ones. */
static uint64_t between_skewed(struct prng *chance, uint64_t low, uint64_t high)
{
    uint64_t a = between(chance, low, high);
    uint64_t b = between(chance, low, high);
    return a < b ? a : b;
}

/* One node more often than two; all where the kind says so. */
static uint32_t nodes_pick(const struct kind_rule *rule, struct prng *chance, uint32_t node_count)
{
    uint32_t all = (1u << node_count) - 1;
    if (rule->nodes == RULE_ALL)
        return all;
    if (rule->nodes == RULE_MINORITY) {
        uint32_t zone = 0;
        while ((uint32_t)__builtin_popcount(zone) < (node_count - 1) / 2)
            zone |= 1u << prng_below(chance, node_count);
        return zone;
    }
    uint32_t nodes = 1u << prng_below(chance, node_count);
    if (prng_below(chance, 3) == 0)
        nodes |= 1u << prng_below(chance, node_count);
    return nodes;
}

static void fault_make(struct sim_fault *f, const struct sim_profile *profile, uint64_t seed,
                       uint32_t node_count)
{
    struct prng chance = prng_seeded(seed);
    f->kind = kind_pick(profile, &chance);
    const struct kind_rule *rule = &rules[f->kind];
    f->for_us = between_skewed(&chance, rule->for_ms_min, rule->for_ms_max) * MS;
    f->size = between_skewed(&chance, rule->size_min, rule->size_max);
    f->nodes = nodes_pick(rule, &chance, node_count);
}

void sim_plan_make(struct sim_plan *plan, const struct sim_profile *profile, uint64_t seed,
                   uint32_t node_count, uint64_t from_us, uint64_t to_us)
{
    *plan = (struct sim_plan){ 0 };
    if (profile->faults_per_minute == 0)
        return;
    uint64_t base = checksum_u64(seed, SIM_CHANCE_PLAN);
    struct prng when = prng_seeded(base);
    uint64_t gap_us = 60000000 / profile->faults_per_minute;
    uint64_t at_us = from_us;
    while (plan->count < SIM_FAULTS_MAX) {
        at_us += prng_below(&when, 2 * gap_us);
        if (at_us >= to_us)
            return;
        struct sim_fault *f = &plan->faults[plan->count++];
        fault_make(f, profile, checksum_u64(base, plan->count), node_count);
        f->at_us = at_us;
        if (f->for_us > to_us - at_us)
            f->for_us = to_us - at_us;
    }
}

void sim_plan_print(const struct sim_plan *plan, FILE *to)
{
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct sim_fault *f = &plan->faults[i];
        fprintf(to, "fault %3u %s at %8.3f s for %6.3f s size %-6" PRIu64 " nodes", i,
                f->is_left_out ? "(left out)" : "          ", (double)f->at_us / 1e6,
                (double)f->for_us / 1e6, f->size);
        for (uint32_t k = 0; k < SIM_NODES_MAX; k++) {
            if (f->nodes & 1u << k)
                fprintf(to, " n%u", k + 1);
        }
        fprintf(to, " %s\n", rules[f->kind].name);
    }
}

const char *sim_fault_name(enum sim_fault_kind kind)
{
    return rules[kind].name;
}
