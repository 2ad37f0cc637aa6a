/* prng.h: seeded random numbers, xoshiro256** (Blackman and Vigna, 2018).
 *
 * The only source of chance in the node: the same seed gives the same run. Not for secrets.
 * Thread: the owner's.
 */
#ifndef BASE_PRNG_H
#define BASE_PRNG_H

#include <stdint.h>

struct prng {
    uint64_t state[4];
};

struct prng prng_seeded(uint64_t seed);
uint64_t prng_next(struct prng *p);

/* Uniform in [0, bound); bound > 0. */
uint64_t prng_below(struct prng *p, uint64_t bound);

#endif
