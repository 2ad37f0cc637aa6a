/* measure.h: how long clients wait when a leader is lost, in virtual time; and what a second of
 * the machine's time brings.
 */
#ifndef TESTS_SIM_MEASURE_H
#define TESTS_SIM_MEASURE_H

#include <stdbool.h>

/* "failover" or "speed", then perhaps the number of runs. An exit code. */
int measure_main(int argc, char **argv);

/* A fixed set of seeds keeps what is promised of fail-over. Says on stdout what does not. */
bool measure_failover_holds(void);

#endif
