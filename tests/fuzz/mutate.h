/* mutate.h: an input somewhat changed, by a seed. Thread: any; no state but the prng. */
#ifndef TESTS_FUZZ_MUTATE_H
#define TESTS_FUZZ_MUTATE_H

#include "base/prng.h"
#include "base/slice.h"

/* Changes `bytes`, *size of them and room for `room`, a few times; parts may come from `other`. */
void mutate(struct prng *chance, uint8_t *bytes, size_t *size, size_t room, struct slice other);

#endif
