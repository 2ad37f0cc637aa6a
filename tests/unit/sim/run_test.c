/* Whole runs: what makes them worth something. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/sim/run.h"

static struct run_options options_of(uint64_t seed, const char *profile)
{
    return (struct run_options){ .seed = seed,
                                 .node_count = 3,
                                 .seconds = 10,
                                 .client_count = 4,
                                 .think_ms = 100,
                                 .profile = sim_profile_find(profile) };
}

Test(run, one_seed_is_one_run)
{
    struct run_options options = options_of(7, "usual");
    struct run_result first = run(&options);
    struct run_result second = run(&options);
    cr_assert(first.is_good && second.is_good);
    cr_assert_eq(first.hash, second.hash);
    cr_assert_eq(first.event_count, second.event_count);
    cr_assert_gt(first.op_count, 100);
    options.seed = 8;
    cr_assert_neq(run(&options).hash, first.hash);
}

Test(run, what_is_looked_at_changes_nothing)
{
    struct run_options options = options_of(7, "crash");
    uint64_t hash = run(&options).hash;
    options.is_traced = true;
    options.prints_plan = true;
    cr_assert_eq(run(&options).hash, hash);
}

Test(run, a_plan_without_one_fault_has_the_others)
{
    struct run_options options = options_of(3, "usual");
    static struct sim_plan whole, less;
    options.seconds = 60;
    run_plan(&options, &whole);
    options.left_out[options.left_out_count++] = 2;
    run_plan(&options, &less);
    cr_assert_gt(whole.count, 5);
    cr_assert(less.faults[2].is_left_out);
    less.faults[2].is_left_out = false;
    cr_assert_eq(memcmp(&whole, &less, sizeof whole), 0);
    struct sim_plan shorter;
    options.left_out_count = 0;
    options.seconds = 30;
    run_plan(&options, &shorter);
    for (uint32_t i = 0; i < shorter.count; i++)
        cr_assert_eq(shorter.faults[i].at_us, whole.faults[i].at_us);
}

Test(run, every_profile_runs)
{
    static const char *const names[] = { "calm", "usual",   "crash",  "net",      "disk", "damage",
                                         "wan",  "members", "repair", "snapshot", "zones" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct run_options options = options_of(100 + i, names[i]);
        cr_assert(run(&options).is_good, "%s", names[i]);
    }
}

Test(run, members_come_and_go)
{
    struct run_options options = options_of(3, "members");
    options.seconds = 30;
    struct run_result first = run(&options);
    cr_assert(first.is_good);
    cr_assert_eq(run(&options).hash, first.hash);
}
