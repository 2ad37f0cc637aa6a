#include "base/checksum.h"

#include "base/bytes.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t checksum(struct slice bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes.data, bytes.size, seed);
}

uint64_t checksum_u64(uint64_t hash, uint64_t value)
{
    uint8_t wire[8];
    put_le64(wire, value);
    return XXH3_64bits_withSeed(wire, sizeof wire, hash);
}
