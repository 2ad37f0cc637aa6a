#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "tests/sim/fault.h"

enum { MS = 1000 };

/* How long it lasts, how large it is, and whom it strikes. */
struct kind_rule {
    const char *name;
    uint32_t for_ms_min, for_ms_max;
    uint32_t size_min, size_max;
    bool is_of_all;
};

static const struct kind_rule rules[FAULT_KINDS] = {
    [FAULT_KILL] = { "kill", 50, 5000, 0, 0, false },
    [FAULT_KILL_WITHIN] = { "kill-within", 500, 5000, 1, 40, false },
    [FAULT_KILL_ALL] = { "kill-all", 50, 3000, 0, 0, true },
    [FAULT_TERMINATE] = { "terminate", 2000, 6000, 0, 0, false },
    [FAULT_POWER] = { "power", 200, 6000, 0, 0, false },
    [FAULT_POWER_WITHIN] = { "power-within", 500, 5000, 1, 40, false },
    [FAULT_POWER_LATE] = { "power-late", 500, 4000, 200, 3000, false },
    [FAULT_POWER_ALL] = { "power-all", 100, 4000, 0, 0, true },
    [FAULT_PAUSE] = { "pause", 50, 6000, 0, 0, false },
    [FAULT_PAUSE_LEADER] = { "pause-leader", 500, 5000, 0, 0, false },
    [FAULT_KILL_LEADER] = { "kill-leader", 50, 3000, 0, 0, false },
    [FAULT_ISOLATE] = { "isolate", 200, 8000, 0, 0, false },
    [FAULT_ISOLATE_LEADER] = { "isolate-leader", 500, 6000, 0, 0, false },
    [FAULT_HALVES] = { "halves", 500, 8000, 0, 0, false },
    [FAULT_ONE_WAY] = { "one-way", 500, 6000, 0, 0, false },
    [FAULT_RING] = { "ring", 500, 6000, 0, 0, true },
    [FAULT_BRIDGE] = { "bridge", 500, 6000, 0, 0, false },
    [FAULT_CLIENTS_CUT] = { "clients-cut", 200, 4000, 0, 0, false },
    [FAULT_SLOW_LINKS] = { "slow-links", 500, 8000, 1, 300, false },
    [FAULT_OLD_ECHOES] = { "old-echoes", 6000, 12000, 1000, 4000, false },
    [FAULT_LOSS] = { "loss", 500, 8000, 1000, 200000, false },
    [FAULT_CLOG] = { "clog", 20, 1500, 0, 0, false },
    [FAULT_RESET] = { "reset", 0, 0, 0, 0, false },
    [FAULT_DISK_STALL] = { "disk-stall", 20, 5000, 0, 0, false },
    [FAULT_DISK_SLOW] = { "disk-slow", 500, 8000, 1, 50, false },
    [FAULT_DISK_ERRORS] = { "disk-errors", 20, 500, 1000, 500000, false },
    [FAULT_DISK_FULL] = { "disk-full", 500, 6000, 0, 0, false },
    [FAULT_CLOCK_JUMP] = { "clock-jump", 0, 0, 1, 600000, false },
    [FAULT_ROT] = { "rot", 200, 3000, 1, 8, false },
    [FAULT_LOSE_VOTE] = { "lose-vote", 200, 3000, 0, 0, false },
    [FAULT_WIPE] = { "wipe", 200, 3000, 0, 0, false },
};

static const struct sim_profile profiles[] = {
    { .name = "calm", .about = "no faults", .weights = { 0 } },
    { .name = "usual",
      .about = "everything",
      .faults_per_minute = 24,
      .drift_ppm = 200,
      .weights = { [FAULT_KILL] = 4,           [FAULT_KILL_WITHIN] = 4, [FAULT_KILL_ALL] = 1,
                   [FAULT_TERMINATE] = 2,      [FAULT_POWER] = 3,       [FAULT_POWER_WITHIN] = 3,
                   [FAULT_POWER_LATE] = 2,     [FAULT_POWER_ALL] = 1,   [FAULT_PAUSE] = 2,
                   [FAULT_PAUSE_LEADER] = 2,   [FAULT_KILL_LEADER] = 3, [FAULT_ISOLATE] = 2,
                   [FAULT_ISOLATE_LEADER] = 2, [FAULT_HALVES] = 2,      [FAULT_ONE_WAY] = 2,
                   [FAULT_RING] = 1,           [FAULT_BRIDGE] = 1,      [FAULT_CLIENTS_CUT] = 1,
                   [FAULT_SLOW_LINKS] = 2,     [FAULT_LOSS] = 2,        [FAULT_CLOG] = 2,
                   [FAULT_RESET] = 3,          [FAULT_DISK_STALL] = 3,  [FAULT_DISK_SLOW] = 2,
                   [FAULT_DISK_ERRORS] = 1,    [FAULT_DISK_FULL] = 1,   [FAULT_CLOCK_JUMP] = 2,
                   [FAULT_OLD_ECHOES] = 1 } },
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
                   [FAULT_LOSE_VOTE] = 1,
                   [FAULT_WIPE] = 2,
                   [FAULT_KILL] = 3,
                   [FAULT_POWER] = 3,
                   [FAULT_KILL_LEADER] = 2,
                   [FAULT_ISOLATE] = 2,
                   [FAULT_PAUSE] = 2 } },
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
    if (rule->is_of_all)
        return all;
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
