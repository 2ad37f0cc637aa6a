/* minimise.h: a failing run made shorter: fewer faults, fewer clients, less time. */
#ifndef TESTS_SIM_MINIMISE_H
#define TESTS_SIM_MINIMISE_H

#include "tests/sim/run.h"

/* False: the run does not fail at all. Prints what it tries on stderr, and at the end the command
 * that shows the failure. */
bool minimise(const struct run_options *options);

#endif
