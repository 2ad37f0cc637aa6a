#include "storage/record_row.h"

#include <criterion/criterion.h>

#include "base/prng.h"
#include "tests/support/record_expect.h"

static const struct kv_record blank = { .mod = { .main = 100, .sub = 3 } };

/* Of each number: small, large, negative, at the ends. */
static uint64_t number_draw(struct prng *p)
{
    static const uint64_t ends[] = { 0, 1, 127, 128, INT64_MAX, (uint64_t)1 << 63, UINT64_MAX };
    if (prng_below(p, 3) == 0)
        return ends[prng_below(p, sizeof ends / sizeof ends[0])];
    return prng_next(p) >> prng_below(p, 64);
}

Test(record_row, any_numbers_come_back)
{
    struct prng p = prng_seeded(1);
    for (int i = 0; i < 100000; i++) {
        struct kv_record want = {
            .mod = { .main = (int64_t)number_draw(&p), .sub = 3 },
            .create_revision = (int64_t)number_draw(&p),
            .version = (int64_t)number_draw(&p),
            .lease = prng_below(&p, 2) ? 0 : (int64_t)number_draw(&p),
            .tombstone = prng_below(&p, 2) == 0,
            .value_bytes = (uint32_t)number_draw(&p),
            .sum = prng_next(&p),
        };
        uint32_t number = (uint32_t)number_draw(&p);
        uint8_t bytes[RECORD_ROW_BYTES_MAX + 8] = { 0 }; /* something may follow */
        size_t size = record_row_encode(&want, number, bytes);
        cr_assert_leq(size, RECORD_ROW_BYTES_MAX);
        struct kv_record got = { .mod = want.mod };
        uint32_t got_number;
        size_t got_size;
        cr_assert_eq(record_row_decode(slice_of(bytes, size + prng_below(&p, 8)), &got, &got_number,
                                       &got_size),
                     STORE_OK);
        cr_assert_eq(got_size, size);
        cr_assert_eq(got_number, number);
        record_expect_numbers(&got, &want);
        for (size_t cut = 0; cut < size; cut++)
            cr_assert_eq(record_row_decode(slice_of(bytes, cut), &got, &got_number, &got_size),
                         STORE_E_CORRUPT);
    }
}

Test(record_row, is_short)
{
    uint8_t bytes[RECORD_ROW_BYTES_MAX];
    struct kv_record record = blank;
    record.create_revision = 99;
    record.version = 2;
    record.value_bytes = 127;
    cr_assert_eq(record_row_encode(&record, 127, bytes), 14);
    record.lease = 1;
    cr_assert_eq(record_row_encode(&record, 127, bytes), 22);
}

/* Each was cut from, or made longer than, what record_row_encode makes. */
Test(record_row, refuses_what_has_another_form)
{
    static const struct {
        const char *what;
        enum store_err err;
        size_t size;
        uint8_t bytes[48];
    } cases[] = {
        { "empty", STORE_E_CORRUPT, 0, { 0 } },
        { "format 0", STORE_E_VERSION, 44, { 0 } },
        { "format 3", STORE_E_VERSION, 44, { 3 } },
        { "an unknown flag", STORE_E_VERSION, 14, { 2, 4 } },
        { "format 1 with a lease's flag", STORE_E_VERSION, 44, { 1, 2 } },
        { "format 1 without its zeros", STORE_E_VERSION, 44, { 1, 0, 1 } },
        { "format 1, cut", STORE_E_CORRUPT, 43, { 1 } },
        { "a longer number", STORE_E_CORRUPT, 15, { 2, 0, 0x80, 0 } },
        { "a longer size", STORE_E_CORRUPT, 15, { 2, 0, 0, 0x80, 0 } },
        { "a longer age", STORE_E_CORRUPT, 15, { 2, 0, 0, 0, 0x80, 0 } },
        { "a longer version", STORE_E_CORRUPT, 15, { 2, 0, 0, 0, 0, 0x80, 0 } },
        { "33 bits of number", STORE_E_CORRUPT, 18, { 2, 0, 0x80, 0x80, 0x80, 0x80, 0x10 } },
        { "33 bits of size", STORE_E_CORRUPT, 18, { 2, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x10 } },
        { "no lease with the flag", STORE_E_CORRUPT, 22, { 2, 2 } },
        { "a lease that is cut", STORE_E_CORRUPT, 21, { 2, 2, 0, 0, 0, 0, 1 } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kv_record record = blank;
        uint32_t number;
        size_t size;
        cr_assert_eq(
            record_row_decode(slice_of(cases[i].bytes, cases[i].size), &record, &number, &size),
            cases[i].err, "%s", cases[i].what);
    }
}

Test(record_row, format_1_is_read)
{
    static const uint8_t bytes[] = {
        1,    1,    0,    0,                            /* format, flags, zero */
        3,    2,    0,    0,                            /* the tree's number */
        5,    0,    0,    0x80,                         /* value bytes */
        0x11, 0,    0,    0,    0,    0,    0,    0,    /* create revision */
        0x12, 0,    0,    0,    0,    0,    0,    0,    /* version */
        0x14, 0x13, 0,    0,    0,    0,    0,    0,    /* lease */
        0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, /* sum */
        'k',
    };
    struct kv_record got = blank;
    struct kv_record want = blank;
    want.tombstone = true;
    want.value_bytes = 0x80000005;
    want.create_revision = 0x11;
    want.version = 0x12;
    want.lease = 0x1314;
    want.sum = 0x2122232425262728;
    uint32_t number;
    size_t size;
    cr_assert_eq(record_row_decode(slice_of(bytes, sizeof bytes), &got, &number, &size), STORE_OK);
    cr_assert_eq(number, 0x0203);
    cr_assert_eq(size, 44);
    record_expect_numbers(&got, &want);
}
