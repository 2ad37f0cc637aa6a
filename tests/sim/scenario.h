/* scenario.h: stories with a known course (docs/etcd-bugs.md): what must hold at each step.
 *
 * Each is played with SCENARIO_SEEDS seeds, which decide its timing, in a process of its own.
 */
#ifndef TESTS_SIM_SCENARIO_H
#define TESTS_SIM_SCENARIO_H

#include "tests/sim/scene.h"

enum { SCENARIO_SEEDS = 20 };

struct scenario {
    const char *name;  /* NULL ends a table */
    const char *about; /* what must hold */
    void (*play)(struct scene *s);
    uint32_t node_count; /* 0: 3 */
};

extern const struct scenario scenarios_of_writes[];
extern const struct scenario scenarios_of_reads[];
extern const struct scenario scenarios_of_elections[];
extern const struct scenario scenarios_of_disks[];
extern const struct scenario scenarios_of_members[];

/* "all", "list" or a name, then perhaps one seed, --trace, --log. An exit code. */
int scenario_main(int argc, char **argv);

#endif
