/* Byte orders, slices, checksums and random numbers: values that formats and runs depend on. */
#include "base/bytes.h"

#include <criterion/criterion.h>

#include "base/checksum.h"
#include "base/prng.h"
#include "base/slice.h"

Test(bytes, each_width_has_its_order)
{
    uint8_t at[9] = { 0 };
    put_le16(at + 1, 0x0102);
    cr_expect(memcmp(at + 1, "\x02\x01\0", 3) == 0);
    cr_expect_eq(get_le16(at + 1), 0x0102);
    put_be16(at + 1, 0x0102);
    cr_expect(memcmp(at + 1, "\x01\x02\0", 3) == 0);
    cr_expect_eq(get_be16(at + 1), 0x0102);
    put_le32(at + 1, 0x01020304);
    cr_expect(memcmp(at + 1, "\x04\x03\x02\x01\0", 5) == 0);
    cr_expect_eq(get_le32(at + 1), 0x01020304);
    put_be32(at + 1, 0x01020304);
    cr_expect(memcmp(at + 1, "\x01\x02\x03\x04\0", 5) == 0);
    cr_expect_eq(get_be32(at + 1), 0x01020304);
    put_le64(at + 1, UINT64_C(0x0102030405060708));
    cr_expect(memcmp(at, "\0\x08\x07\x06\x05\x04\x03\x02\x01", 9) == 0);
    cr_expect_eq(get_le64(at + 1), UINT64_C(0x0102030405060708));
    put_be64(at + 1, UINT64_C(0x0102030405060708));
    cr_expect(memcmp(at, "\0\x01\x02\x03\x04\x05\x06\x07\x08", 9) == 0);
    cr_expect_eq(get_be64(at + 1), UINT64_C(0x0102030405060708));
}

Test(bytes, big_endian_sorts_like_numbers)
{
    struct prng p = prng_seeded(1);
    for (int i = 0; i < 1000; i++) {
        uint64_t a = prng_next(&p) >> prng_below(&p, 64), b = prng_next(&p) >> prng_below(&p, 64);
        uint8_t wire_a[8], wire_b[8];
        put_be64(wire_a, a);
        put_be64(wire_b, b);
        int order = memcmp(wire_a, wire_b, 8);
        cr_assert_eq(order < 0, a < b);
        cr_assert_eq(order > 0, a > b);
    }
}

Test(slice, compares_bytes_then_lengths)
{
    static const struct {
        struct slice a, b;
        int order;
    } cases[] = {
        { { NULL, 0 }, { NULL, 0 }, 0 },
        { { NULL, 0 }, { (const uint8_t *)"", 0 }, 0 },
        { { NULL, 0 }, { (const uint8_t *)"\0", 1 }, -1 },
        { { (const uint8_t *)"a", 1 }, { (const uint8_t *)"a\0", 2 }, -1 },
        { { (const uint8_t *)"a\0b", 3 }, { (const uint8_t *)"a\0c", 3 }, -1 },
        { { (const uint8_t *)"\xff", 1 }, { (const uint8_t *)"a", 1 }, 1 },
        { { (const uint8_t *)"b", 1 }, { (const uint8_t *)"aa", 2 }, 1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int order = slice_compare(cases[i].a, cases[i].b);
        int reverse = slice_compare(cases[i].b, cases[i].a);
        cr_expect_eq((order > 0) - (order < 0), cases[i].order, "%zu", i);
        cr_expect_eq((reverse > 0) - (reverse < 0), -cases[i].order, "%zu", i);
        cr_expect_eq(slice_equal(cases[i].a, cases[i].b), cases[i].order == 0, "%zu", i);
    }
    cr_expect_eq(slice_of_text("ab").size, 2);
}

/* Files and frames hold these: a change breaks what is on disk. */
Test(checksum, is_xxh3_with_a_seed)
{
    cr_expect_eq(checksum((struct slice){ 0 }, 0), UINT64_C(0x2d06800538d394c2));
    cr_expect_eq(checksum(slice_of("holdfast", 8), 0), UINT64_C(0x4ddf46ebd3ad850b));
    cr_expect_eq(checksum(slice_of("holdfast", 8), 1), UINT64_C(0x69c60ff020c8d432));
    cr_expect_eq(checksum_u64(7, 9), UINT64_C(0x1eb8c967fefe1618));
}

Test(checksum, depends_on_every_bit_and_the_seed)
{
    uint8_t bytes[300];
    struct prng p = prng_seeded(2);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)prng_next(&p);
    struct slice all = slice_of(bytes, sizeof bytes);
    uint64_t before = checksum(all, 5);
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_neq(checksum(all, 5), before, "bit %zu", bit);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    cr_expect_eq(checksum(all, 5), before);
    cr_expect_neq(checksum(all, 6), before);
    cr_expect_neq(checksum_u64(checksum_u64(0, 1), 2), checksum_u64(checksum_u64(0, 2), 1));
}

/* A recorded seed must replay the same run for ever. */
Test(prng, the_same_seed_gives_the_same_numbers)
{
    static const uint64_t expected[] = { 0x15780b2e0c2ec716u, 0x6104d9866d113a7eu,
                                         0xae17533239e499a1u, 0xecb8ad4703b360a1u };
    struct prng p = prng_seeded(42);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        cr_expect_eq(prng_next(&p), expected[i], "%zu", i);
    struct prng other = prng_seeded(43);
    cr_expect_neq(prng_next(&other), expected[0]);
}

/* The vectors follow from the state 1, 2, 3, 4 by the authors' definition. */
Test(prng, is_xoshiro256_starstar)
{
    static const uint64_t expected[] = { 11520, 0, 1509978240, 1215971899390074240u };
    struct prng p = { .state = { 1, 2, 3, 4 } };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        cr_expect_eq(prng_next(&p), expected[i], "%zu", i);
}

Test(prng, below_is_bounded_and_roughly_uniform)
{
    struct prng p = prng_seeded(3);
    cr_expect_eq(prng_below(&p, 1), 0);
    for (int i = 0; i < 100; i++)
        cr_assert_lt(prng_below(&p, UINT64_MAX), UINT64_MAX);
    unsigned counts[7] = { 0 };
    for (int i = 0; i < 70000; i++)
        counts[prng_below(&p, 7)]++;
    for (int i = 0; i < 7; i++)
        cr_expect(counts[i] > 9500 && counts[i] < 10500, "%d: %u", i, counts[i]);
    unsigned high = 0;
    uint64_t bound = UINT64_C(3) << 62; /* a plain remainder would favour the low third */
    for (int i = 0; i < 30000; i++)
        high += prng_below(&p, bound) >= bound / 3 * 2;
    cr_expect(high > 9500 && high < 10500, "%u", high);
}
