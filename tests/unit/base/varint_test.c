#include "base/varint.h"

#include <criterion/criterion.h>

#include "base/prng.h"

/* By hand, from the definition. */
static const struct {
    uint64_t number;
    size_t size;
    uint8_t bytes[VARINT_BYTES_MAX];
} golden[] = {
    { 0, 1, { 0 } },
    { 1, 1, { 1 } },
    { 127, 1, { 0x7f } },
    { 128, 2, { 0x80, 0x01 } },
    { 300, 2, { 0xac, 0x02 } },
    { 16383, 2, { 0xff, 0x7f } },
    { 16384, 3, { 0x80, 0x80, 0x01 } },
    { UINT32_MAX, 5, { 0xff, 0xff, 0xff, 0xff, 0x0f } },
    { INT64_MAX, 9, { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f } },
    { (uint64_t)1 << 63, 10, { 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01 } },
    { UINT64_MAX, 10, { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01 } },
};

Test(varint, bytes_are_the_golden_ones)
{
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
        uint8_t bytes[VARINT_BYTES_MAX];
        uint8_t *end = varint_put(bytes, golden[i].number);
        cr_assert_eq((size_t)(end - bytes), golden[i].size, "%zu", i);
        cr_assert_eq(varint_size(golden[i].number), golden[i].size, "%zu", i);
        cr_assert_arr_eq(bytes, golden[i].bytes, golden[i].size, "%zu", i);
        uint64_t got;
        cr_assert_eq(varint_get(bytes, end, &got), end, "%zu", i);
        cr_assert_eq(got, golden[i].number);
    }
}

/* No byte past `end` is looked at, nor one behind the number. */
Test(varint, ends_before_the_end_or_not_at_all)
{
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
        const uint8_t *bytes = golden[i].bytes;
        uint64_t got = 77;
        for (size_t size = 0; size < golden[i].size; size++)
            cr_assert_null(varint_get(bytes, bytes + size, &got), "%zu: %zu", i, size);
        cr_assert_eq(got, 77, "untouched");
        uint8_t longer[VARINT_BYTES_MAX + 1];
        memset(longer, 0xff, sizeof longer);
        memcpy(longer, bytes, golden[i].size);
        cr_assert_eq(varint_get(longer, longer + sizeof longer, &got), longer + golden[i].size);
        cr_assert_eq(got, golden[i].number);
    }
}

Test(varint, refuses_what_has_another_form_or_too_many_bits)
{
    static const struct {
        const char *what;
        size_t size;
        uint8_t bytes[12];
    } cases[] = {
        { "zero in two bytes", 2, { 0x80, 0 } },
        { "one in two bytes", 2, { 0x81, 0 } },
        { "one in ten bytes", 10, { 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0 } },
        { "65 bits", 10, { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02 } },
        { "70 bits", 10, { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f } },
        { "eleven bytes", 11, { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 1 } },
        { "without an end", 12, { [0 ... 11] = 0x80 } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t got = 77;
        cr_assert_null(varint_get(cases[i].bytes, cases[i].bytes + cases[i].size, &got), "%s",
                       cases[i].what);
        cr_assert_null(varint_get(cases[i].bytes, cases[i].bytes + 12, &got), "%s, with more",
                       cases[i].what);
        cr_assert_eq(got, 77, "untouched");
    }
}

/* Whatever is taken, put again, is the same bytes; and whatever was put is taken. */
Test(varint, one_number_one_form)
{
    struct prng p = prng_seeded(1);
    for (int i = 0; i < 200000; i++) {
        uint8_t bytes[VARINT_BYTES_MAX + 2];
        uint8_t again[VARINT_BYTES_MAX];
        for (size_t j = 0; j < sizeof bytes; j++) /* ends rare, so that all lengths come */
            bytes[j] = (uint8_t)(prng_next(&p) | (prng_below(&p, 4) ? 0x80 : 0));
        uint64_t number;
        const uint8_t *end = varint_get(bytes, bytes + sizeof bytes, &number);
        if (end != NULL) {
            cr_assert_eq(varint_put(again, number) - again, end - bytes);
            cr_assert_arr_eq(again, bytes, (size_t)(end - bytes));
        }
        uint64_t put = prng_next(&p) >> prng_below(&p, 64);
        end = varint_put(again, put);
        cr_assert_eq(varint_get(again, end, &number), end);
        cr_assert_eq(number, put);
    }
}
