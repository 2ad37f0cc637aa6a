#include "base/prng.h"

#include "base/assert.h"

/* SplitMix64, as the generator's authors advise for filling its state. */
static uint64_t split_mix(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

struct prng prng_seeded(uint64_t seed)
{
    struct prng p;
    for (int i = 0; i < 4; i++)
        p.state[i] = split_mix(&seed);
    return p;
}

static uint64_t rotate_left(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

uint64_t prng_next(struct prng *p)
{
    uint64_t *s = p->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t prng_below(struct prng *p, uint64_t bound)
{
    ASSERT(bound > 0);
    /* Rejecting the short last interval keeps it uniform. */
    uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
    uint64_t x = prng_next(p);
    while (x >= limit)
        x = prng_next(p);
    return x % bound;
}
