/* checksum.h: XXH3-64, the one checksum of every format.
 *
 * `seed` chains: a record's checksum seeds the next one's. Any thread.
 */
#ifndef BASE_CHECKSUM_H
#define BASE_CHECKSUM_H

#include "base/slice.h"

uint64_t checksum(struct slice bytes, uint64_t seed);

/* Extends a running hash by one number; order matters. */
uint64_t checksum_u64(uint64_t hash, uint64_t value);

#endif
