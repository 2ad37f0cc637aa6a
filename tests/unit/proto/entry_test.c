#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/checksum.h"
#include "proto/entry.h"

enum { ENTRY_BYTES = ENTRY_HEADER_BYTES + 4 + 7 };

/* Format 1. A change here is a new format: nodes of two versions share these bytes. */
static const uint8_t golden[ENTRY_BYTES] = {
    0x1e, 0x62, 0x69, 0x58, 0xde, 0x37, 0x5c, 0x63, 0x01, 0x02, 0x44, 0x00, 0x07, 0x00, 0x00,
    0x00, 0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13,
    0x12, 0x11, 0x7b, 0x8d, 0x2d, 0x5b, 0xf0, 0x61, 0xfe, 0x32, 0x28, 0x27, 0x26, 0x25, 0x24,
    0x23, 0x22, 0x21, 0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31, 0x48, 0x47, 0x46, 0x45,
    0x44, 0x43, 0x42, 0x41, 0x72, 0x6f, 0x6f, 0x74, 0x70, 0x61, 0x79, 0x6c, 0x6f, 0x61, 0x64,
};

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

static void entry_make(uint8_t *to)
{
    struct entry_header header = header_make();
    cr_assert_eq(entry_size_bytes(&header), ENTRY_BYTES);
    memcpy(to + entry_payload_offset(&header), "payload", 7);
    entry_seal(to, &header);
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
    uint8_t bytes[ENTRY_BYTES];
    entry_make(bytes);
    for (size_t i = 0; i < ENTRY_BYTES; i++)
        cr_assert_eq(bytes[i], golden[i], "byte %zu: %02x, not %02x", i, bytes[i], golden[i]);
}

Test(entry, decodes_what_was_sealed_and_leaves_the_rest)
{
    uint8_t bytes[ENTRY_BYTES + 9];
    entry_make(bytes);
    memset(bytes + ENTRY_BYTES, 0xff, 9);
    struct entry_header want = header_make();
    struct entry_header header;
    struct slice payload;
    size_t size = 0;
    cr_assert_eq(entry_decode(slice_of(bytes, sizeof bytes), &header, &payload, &size), ENTRY_OK);
    cr_assert_eq(size, ENTRY_BYTES);
    cr_assert_eq(header.type, want.type);
    cr_assert_eq(header.pos.term, want.pos.term);
    cr_assert_eq(header.pos.index, want.pos.index);
    cr_assert_eq(header.request_id, want.request_id);
    cr_assert_eq(header.wall_ms, want.wall_ms);
    cr_assert_eq(header.auth_revision, want.auth_revision);
    cr_assert(slice_equal(header.user, want.user));
    cr_assert(slice_equal(payload, slice_of("payload", 7)));
}

Test(entry, without_user_and_payload)
{
    uint8_t bytes[ENTRY_HEADER_BYTES];
    struct entry_header header = { .type = RAFT_ENTRY_NOOP, .pos = { .term = 1, .index = 1 } };
    entry_seal(bytes, &header);
    struct slice payload;
    size_t size = 0;
    cr_assert_eq(entry_decode(slice_of(bytes, sizeof bytes), &header, &payload, &size), ENTRY_OK);
    cr_assert_eq(size, ENTRY_HEADER_BYTES);
    cr_assert_eq(payload.size, 0);
    cr_assert_eq(header.user.size, 0);
}

Test(entry, every_prefix_is_refused)
{
    for (size_t size = 0; size < ENTRY_BYTES; size++)
        cr_assert_eq(decode(golden, size), ENTRY_E_TRUNCATED, "%zu bytes", size);
    cr_assert_eq(decode(golden, ENTRY_BYTES), ENTRY_OK);
}

Test(entry, every_flip_is_refused)
{
    uint8_t bytes[ENTRY_BYTES];
    memcpy(bytes, golden, sizeof bytes);
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_neq(decode(bytes, sizeof bytes), ENTRY_OK, "bit %zu", bit);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
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
        size_t at;
        uint8_t value;
        enum entry_err err;
    } rows[] = {
        { "format 2", 8, 2, ENTRY_E_VERSION },
        { "type 0", 9, 0, ENTRY_E_TYPE },
        { "type 4", 9, 4, ENTRY_E_TYPE },
        { "a payload beyond the cap", 15, 0x80, ENTRY_E_BOUNDS },
        { "a payload beyond the bytes", 13, 1, ENTRY_E_TRUNCATED },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t bytes[ENTRY_BYTES];
        memcpy(bytes, golden, sizeof bytes);
        bytes[rows[i].at] = rows[i].value;
        header_reseal(bytes);
        cr_assert_eq(decode(bytes, sizeof bytes), rows[i].err, "%s", rows[i].what);
    }
}

Test(entry, header_lengths_out_of_bounds_are_refused)
{
    static const uint16_t lengths[] = { 0, 63, ENTRY_HEADER_BYTES + ENTRY_USER_BYTES_MAX + 1,
                                        0xffff };
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        uint8_t bytes[ENTRY_BYTES];
        memcpy(bytes, golden, sizeof bytes);
        put_le16(bytes + 10, lengths[i]);
        cr_assert_eq(decode(bytes, sizeof bytes), ENTRY_E_BOUNDS, "%u", lengths[i]);
    }
}

Test(entry, the_header_verifies_without_its_payload)
{
    uint8_t bytes[ENTRY_BYTES];
    memcpy(bytes, golden, sizeof bytes);
    bytes[ENTRY_BYTES - 1] ^= 1;
    size_t header_bytes = get_le16(bytes + 10);
    cr_assert_eq(get_le64(bytes), checksum(slice_of(bytes + 8, header_bytes - 8), 0));
    cr_assert_eq(decode(bytes, sizeof bytes), ENTRY_E_CHECKSUM);
}
