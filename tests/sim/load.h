/* load.h: simple fast clients, for measuring: puts and linearizable gets, as many as go. */
#ifndef TESTS_SIM_LOAD_H
#define TESTS_SIM_LOAD_H

#include "tests/sim/host.h"

struct load;

struct load *load_open(struct sim *sim, uint32_t clients, uint32_t think_ms);
void load_stop(struct load *l);
bool load_is_drained(const struct load *l);
uint64_t load_ops(const struct load *l); /* that came out well */
void load_close(struct load *l);         /* runs the world until it is gone */

#endif
