#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/varint.h"
#include "proto/entry.h"
#include "tests/support/old_entry.h"

enum { NEW_BYTES = 28 + 37 + 4 + 7, OLD_BYTES = 64 + 4 + 7, BYTES_MAX = 4096 };

/* Format 2. A change here is a new format: nodes of two versions share these bytes. */
static const uint8_t golden[NEW_BYTES] = {
    0xef, 0x0a, 0xc6, 0x42, 0x77, 0xb6, 0xab, 0x13, 0x02, 0x02, 0x45, 0x00, 0x7b, 0x8d, 0x2d, 0x5b,
    0xf0, 0x61, 0xfe, 0x32, 0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 0x07, 0x88, 0x8e, 0x98,
    0xa8, 0xc0, 0xe0, 0x80, 0x81, 0x01, 0x98, 0xae, 0xd8, 0xa8, 0xc1, 0xe2, 0x84, 0x89, 0x11, 0xb8,
    0xee, 0xd8, 0xa9, 0xc3, 0xe6, 0x8c, 0x99, 0x31, 0xc8, 0x8e, 0x99, 0xaa, 0xc4, 0xe8, 0x90, 0xa1,
    0x41, 0x72, 0x6f, 0x6f, 0x74, 0x70, 0x61, 0x79, 0x6c, 0x6f, 0x61, 0x64,
};

/* Format 1, as logs of the first versions have it. */
static const uint8_t golden_old[OLD_BYTES] = {
    0x1e, 0x62, 0x69, 0x58, 0xde, 0x37, 0x5c, 0x63, 0x01, 0x02, 0x44, 0x00, 0x07, 0x00, 0x00,
    0x00, 0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13,
    0x12, 0x11, 0x7b, 0x8d, 0x2d, 0x5b, 0xf0, 0x61, 0xfe, 0x32, 0x28, 0x27, 0x26, 0x25, 0x24,
    0x23, 0x22, 0x21, 0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31, 0x48, 0x47, 0x46, 0x45,
    0x44, 0x43, 0x42, 0x41, 0x72, 0x6f, 0x6f, 0x74, 0x70, 0x61, 0x79, 0x6c, 0x6f, 0x61, 0x64,
};

static const struct golden {
    const char *format;
    struct slice bytes;
} goldens[] = {
    { "format 2", { golden, sizeof golden } },
    { "format 1", { golden_old, sizeof golden_old } },
};
enum { GOLDENS = sizeof goldens / sizeof goldens[0] };

/* What both hold. */
static struct entry_header header_make(void)
{
    return (struct entry_header){
        .type = RAFT_ENTRY_COMMAND,
        .pos = { .term = 0x1112131415161718, .index = 0x0102030405060708 },
        .request_id = 0x2122232425262728,
        .wall_ms = 0x3132333435363738,
        .auth_revision = 0x4142434445464748,
        .user = slice_of("root", 4),
        .payload_bytes = 7,
    };
}

static void header_expect(const struct entry_header *got, const struct entry_header *want)
{
    cr_assert_eq(got->type, want->type);
    cr_assert_eq(got->pos.term, want->pos.term);
    cr_assert_eq(got->pos.index, want->pos.index);
    cr_assert_eq(got->request_id, want->request_id);
    cr_assert_eq(got->wall_ms, want->wall_ms);
    cr_assert_eq(got->auth_revision, want->auth_revision);
    cr_assert_eq(got->payload_bytes, want->payload_bytes);
    cr_assert(slice_equal(got->user, want->user));
}

static void bytes_expect(const uint8_t *got, struct slice want)
{
    for (size_t i = 0; i < want.size; i++)
        cr_assert_eq(got[i], want.data[i], "byte %zu: %02x, not %02x", i, got[i], want.data[i]);
}

/* From memory of exactly that size, so that a read beyond it shows under a sanitizer. */
static enum entry_err decode(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, bytes, size);
    struct entry_header header;
    struct slice payload;
    size_t entry_bytes;
    enum entry_err err = entry_decode(slice_of(copy, size), &header, &payload, &entry_bytes);
    free(copy);
    return err;
}

Test(entry, golden_bytes)
{
    uint8_t bytes[NEW_BYTES];
    struct entry_header header = header_make();
    cr_assert_eq(entry_size_bytes(&header), NEW_BYTES);
    memcpy(bytes + entry_payload_offset(&header), "payload", 7);
    entry_seal(bytes, &header);
    bytes_expect(bytes, goldens[0].bytes);
}

/* What other tests take for old entries are old entries. */
Test(entry, golden_bytes_of_format_1)
{
    uint8_t bytes[OLD_BYTES];
    struct entry_header header = header_make();
    cr_assert_eq(old_entry_size_bytes(&header), OLD_BYTES);
    memcpy(bytes + old_entry_payload_offset(&header), "payload", 7);
    old_entry_seal(bytes, &header);
    bytes_expect(bytes, goldens[1].bytes);
}

Test(entry, decodes_both_formats_and_leaves_the_rest)
{
    for (size_t i = 0; i < GOLDENS; i++) {
        uint8_t bytes[NEW_BYTES + 9];
        struct slice whole = goldens[i].bytes;
        memset(bytes, 0xff, sizeof bytes);
        memcpy(bytes, whole.data, whole.size);
        struct entry_header want = header_make();
        struct entry_header header;
        struct slice payload;
        size_t size = 0;
        cr_assert_eq(entry_decode(slice_of(bytes, sizeof bytes), &header, &payload, &size),
                     ENTRY_OK, "%s", goldens[i].format);
        cr_assert_eq(size, whole.size);
        header_expect(&header, &want);
        cr_assert(slice_equal(payload, slice_of("payload", 7)));
        struct slice alone = entry_payload(slice_of(bytes, size));
        cr_assert(alone.data == payload.data && alone.size == payload.size);
    }
}

static size_t round_trip(const struct entry_header *want)
{
    static uint8_t bytes[BYTES_MAX];
    size_t want_bytes = entry_size_bytes(want);
    cr_assert_leq(want_bytes, sizeof bytes);
    memset(bytes + entry_payload_offset(want), 'p', want->payload_bytes);
    entry_seal(bytes, want);
    struct entry_header header;
    struct slice payload;
    size_t size = 0;
    cr_assert_eq(entry_decode(slice_of(bytes, want_bytes), &header, &payload, &size), ENTRY_OK);
    cr_assert_eq(size, want_bytes);
    header_expect(&header, want);
    cr_assert_eq(payload.size, want->payload_bytes);
    return entry_payload_offset(want);
}

Test(entry, the_shortest_and_the_longest_header)
{
    static const uint8_t name[ENTRY_USER_BYTES_MAX] = { 'u' };
    struct entry_header header = { .type = RAFT_ENTRY_NOOP, .pos = { .term = 1, .index = 1 } };
    cr_assert_eq(round_trip(&header), ENTRY_HEADER_BYTES_MIN);
    header = (struct entry_header){
        .type = RAFT_ENTRY_CONFIG,
        .pos = { UINT64_MAX, UINT64_MAX },
        .request_id = UINT64_MAX,
        .wall_ms = UINT64_MAX,
        .auth_revision = UINT64_MAX,
        .user = slice_of(name, sizeof name),
    };
    cr_assert_eq(round_trip(&header), ENTRY_HEADER_BYTES_MAX - 4);
    header.payload_bytes = ENTRY_PAYLOAD_BYTES_MAX;
    cr_assert_eq(entry_payload_offset(&header), ENTRY_HEADER_BYTES_MAX);
}

Test(entry, what_a_put_takes)
{
    struct entry_header header = { .type = RAFT_ENTRY_COMMAND,
                                   .pos = { .term = 5, .index = 3000000 },
                                   .request_id = 0xfedcba9876543210,
                                   .wall_ms = 1780000000000,
                                   .payload_bytes = 280 };
    cr_assert_eq(round_trip(&header), 42);
}

Test(entry, every_prefix_is_refused)
{
    for (size_t i = 0; i < GOLDENS; i++) {
        struct slice whole = goldens[i].bytes;
        for (size_t size = 0; size < whole.size; size++)
            cr_assert_eq(decode(whole.data, size), ENTRY_E_TRUNCATED, "%s, %zu bytes",
                         goldens[i].format, size);
        cr_assert_eq(decode(whole.data, whole.size), ENTRY_OK);
    }
}

/* Nor is a flip taken for a newer version. */
Test(entry, every_flip_is_refused)
{
    for (size_t i = 0; i < GOLDENS; i++) {
        uint8_t bytes[NEW_BYTES];
        struct slice whole = goldens[i].bytes;
        memcpy(bytes, whole.data, whole.size);
        for (size_t bit = 0; bit < whole.size * 8; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            enum entry_err err = decode(bytes, whole.size);
            cr_assert(err == ENTRY_E_CHECKSUM || err == ENTRY_E_BOUNDS || err == ENTRY_E_TRUNCATED,
                      "%s, bit %zu: %s", goldens[i].format, bit, entry_strerror(err));
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

static void header_reseal(uint8_t *bytes)
{
    size_t header_bytes = get_le16(bytes + 10);
    put_le64(bytes, checksum(slice_of(bytes + 8, header_bytes - 8), 0));
}

/* Behind a checksum that holds: what a newer, or a hostile, node may send. */
Test(entry, names_what_it_does_not_know)
{
    static const struct {
        const char *what;
        size_t golden;
        size_t at;
        uint8_t value;
        enum entry_err err;
    } rows[] = {
        { "format 3", 0, 8, 3, ENTRY_E_VERSION },
        { "format 0", 0, 8, 0, ENTRY_E_VERSION },
        { "format 3 as long as 1", 1, 8, 3, ENTRY_E_VERSION },
        { "type 0", 0, 9, 0, ENTRY_E_TYPE },
        { "type 4", 0, 9, 4, ENTRY_E_TYPE },
        { "a payload beyond the bytes", 0, 28, 8, ENTRY_E_TRUNCATED },
        { "format 1, type 4", 1, 9, 4, ENTRY_E_TYPE },
        { "format 1, a payload beyond the cap", 1, 15, 0x80, ENTRY_E_BOUNDS },
        { "format 1, a payload beyond the bytes", 1, 13, 1, ENTRY_E_TRUNCATED },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t bytes[NEW_BYTES];
        struct slice whole = goldens[rows[i].golden].bytes;
        memcpy(bytes, whole.data, whole.size);
        bytes[rows[i].at] = rows[i].value;
        header_reseal(bytes);
        cr_assert_eq(decode(bytes, whole.size), rows[i].err, "%s", rows[i].what);
    }
}

/* A header of a newer format may be shorter or longer than any of ours. */
Test(entry, a_newer_format_has_a_front_at_least)
{
    static uint8_t bytes[UINT16_MAX] = { [8] = 3, [9] = RAFT_ENTRY_NOOP };
    static const uint16_t lengths[] = { 12, 13, ENTRY_HEADER_BYTES_MAX + 1, UINT16_MAX };
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        put_le16(bytes + 10, lengths[i]);
        header_reseal(bytes);
        cr_assert_eq(decode(bytes, lengths[i]), ENTRY_E_VERSION, "%u", lengths[i]);
        cr_assert_eq(decode(bytes, lengths[i] - 1u), ENTRY_E_TRUNCATED, "%u", lengths[i]);
    }
    put_le16(bytes + 10, 11);
    cr_assert_eq(decode(bytes, sizeof bytes), ENTRY_E_BOUNDS);
}

Test(entry, header_lengths_out_of_bounds_are_refused)
{
    static const struct {
        size_t golden;
        uint16_t length;
    } rows[] = {
        { 0, 0 },
        { 0, ENTRY_HEADER_BYTES_MIN - 1 },
        { 0, ENTRY_HEADER_BYTES_MAX + 1 },
        { 0, 0xffff },
        { 1, 0 },
        { 1, 63 },
        { 1, 64 + ENTRY_USER_BYTES_MAX + 1 },
        { 1, 0xffff },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t bytes[NEW_BYTES];
        struct slice whole = goldens[rows[i].golden].bytes;
        memcpy(bytes, whole.data, whole.size);
        put_le16(bytes + 10, rows[i].length);
        cr_assert_eq(decode(bytes, whole.size), ENTRY_E_BOUNDS, "row %zu", i);
    }
}

/* An entry of format 2 whose numbers are those bytes, before a user name, with its checksums. What
 * stands behind it is nothing to it. */
static enum entry_err decode_numbers(struct slice numbers, size_t user_bytes)
{
    static uint8_t bytes[BYTES_MAX];
    size_t header_bytes = 28 + numbers.size + user_bytes;
    memset(bytes, 1, sizeof bytes);
    bytes[8] = 2;
    bytes[9] = RAFT_ENTRY_COMMAND;
    put_le16(bytes + 10, (uint16_t)header_bytes);
    put_le64(bytes + 12, checksum(slice_of(bytes, 0), 0));
    memcpy(bytes + 28, numbers.data, numbers.size);
    header_reseal(bytes);
    enum entry_err err = decode(bytes, header_bytes);
    if (err != ENTRY_E_TRUNCATED)
        cr_assert_eq(decode(bytes, header_bytes + 16), err);
    return err;
}

#define NUMBERS(...) slice_of(((const uint8_t[]){ __VA_ARGS__ }), sizeof(uint8_t[]){ __VA_ARGS__ })

Test(entry, a_number_has_one_form)
{
    cr_assert_eq(decode_numbers(NUMBERS(0, 1, 1, 0, 0), 0), ENTRY_OK);
    for (size_t at = 0; at < 5; at++) {
        uint8_t numbers[6] = { 0, 1, 1, 0, 0, 0 };
        memmove(numbers + at + 1, numbers + at, 5 - at);
        numbers[at] |= 0x80;
        numbers[at + 1] = 0; /* one byte more than it needs */
        cr_assert_eq(decode_numbers(slice_of(numbers, 6), 0), ENTRY_E_BOUNDS, "number %zu", at);
    }
    struct slice too_many_bits =
        NUMBERS(0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0);
    cr_assert_eq(decode_numbers(too_many_bits, 0), ENTRY_E_BOUNDS);
}

Test(entry, numbers_and_user_end_where_the_header_ends)
{
    for (size_t at = 0; at < 5; at++) {
        uint8_t numbers[5] = { 0, 1, 1, 0, 0 };
        memset(numbers + at, 0x80, 5 - at);
        cr_assert_eq(decode_numbers(slice_of(numbers, 5), 0), ENTRY_E_BOUNDS, "number %zu", at);
    }
    struct slice numbers = NUMBERS(0, 1, 1, 0, 0);
    cr_assert_eq(decode_numbers(numbers, ENTRY_USER_BYTES_MAX), ENTRY_OK);
    cr_assert_eq(decode_numbers(numbers, ENTRY_USER_BYTES_MAX + 1), ENTRY_E_BOUNDS);
}

Test(entry, payload_sizes_out_of_bounds_are_refused)
{
    static const uint64_t sizes[] = { (uint64_t)ENTRY_PAYLOAD_BYTES_MAX + 1, UINT32_MAX,
                                      (uint64_t)1 << 32, UINT64_MAX };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t numbers[VARINT_BYTES_MAX + 4] = { 0 };
        size_t size = (size_t)(varint_put(numbers, sizes[i]) - numbers) + 4;
        cr_assert_eq(decode_numbers(slice_of(numbers, size), 0), ENTRY_E_BOUNDS, "row %zu", i);
    }
    uint8_t numbers[VARINT_BYTES_MAX + 4] = { 0 };
    size_t size = (size_t)(varint_put(numbers, ENTRY_PAYLOAD_BYTES_MAX) - numbers) + 4;
    cr_assert_eq(decode_numbers(slice_of(numbers, size), 0), ENTRY_E_TRUNCATED, "the cap itself");
}

Test(entry, the_header_verifies_without_its_payload)
{
    for (size_t i = 0; i < GOLDENS; i++) {
        uint8_t bytes[NEW_BYTES];
        struct slice whole = goldens[i].bytes;
        memcpy(bytes, whole.data, whole.size);
        bytes[whole.size - 1] ^= 1;
        size_t header_bytes = get_le16(bytes + 10);
        cr_assert_eq(get_le64(bytes), checksum(slice_of(bytes + 8, header_bytes - 8), 0));
        cr_assert_eq(decode(bytes, whole.size), ENTRY_E_CHECKSUM);
    }
}
