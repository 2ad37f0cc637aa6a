#include "base/assert.h"
#include "tests/sim/check.h"
#include "tests/sim/host.h"
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
    char scratch[] = "/dev/shm/holdfast-sim-XXXXXX";
    ASSERT(mkdtemp(scratch));
    struct sim_options o = { .seed = argc > 1 ? strtoull(argv[1], 0, 10) : 1,
                             .node_count = 3,
                             .client_host_count = 1,
                             .is_traced = true,
                             .scratch = scratch,
                             .is_logged = argc > 2 };
    struct sim *sim = sim_new(&o);
    for (uint32_t i = 0; i < 3; i++)
        sim_host_start(&sim->hosts[i]);
    sim_run_until(sim, 10000000);
    printf("%lx %lu events\n", sim->trace.hash, sim->event_count);
    sim_free(sim);
    remove(scratch);
}
