#include <criterion/criterion.h>

#include "base/bytes.h"
#include "base/checksum.h"
#include "rpc/peer_frame.h"

enum { FRAME_BYTES = PEER_FRAME_HEADER_BYTES + 5, MAX = 1000 };

/* Head "abc", attachment "de", protocol version 1. A change here is a new version. */
static const uint8_t golden[FRAME_BYTES] = {
    0x48, 0x46, 0x50, 0x46, 0x01, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x02,
    0x00, 0x00, 0x00, 0xec, 0x35, 0x86, 0xac, 0xb1, 0xe2, 0x00, 0x8e, 0xf2, 0x21,
    0x99, 0xb2, 0xfa, 0xe8, 0x06, 0x3f, 0x61, 0x62, 0x63, 0x64, 0x65,
};

static void frame_fill(uint8_t frame[FRAME_BYTES])
{
    memcpy(frame + PEER_FRAME_HEADER_BYTES, "abcde", 5);
    peer_frame_seal(frame, 3, 2);
}

Test(peer_frame, golden_bytes)
{
    uint8_t frame[FRAME_BYTES];
    frame_fill(frame);
    cr_assert_arr_eq(frame, golden, sizeof golden);
}

Test(peer_frame, golden_bytes_decode)
{
    struct peer_frame f;
    cr_assert_eq(peer_frame_decode(golden, FRAME_BYTES, &f), PEER_FRAME_OK);
    cr_assert_eq(f.head_bytes, 3);
    cr_assert_eq(f.attachment_bytes, 2);
    cr_assert(peer_frame_body_is_intact(&f, slice_of(golden + PEER_FRAME_HEADER_BYTES, 5)));
}

Test(peer_frame, one_byte_over_the_cap_is_refused)
{
    struct peer_frame f;
    cr_assert_eq(peer_frame_decode(golden, FRAME_BYTES - 1, &f), PEER_FRAME_E_BOUNDS);
}

Test(peer_frame, every_flipped_bit_is_noticed)
{
    for (size_t bit = 0; bit < FRAME_BYTES * 8; bit++) {
        uint8_t frame[FRAME_BYTES];
        frame_fill(frame);
        frame[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        struct peer_frame f;
        bool passes = peer_frame_decode(frame, MAX, &f) == PEER_FRAME_OK &&
                      peer_frame_body_is_intact(&f, slice_of(frame + PEER_FRAME_HEADER_BYTES, 5));
        cr_assert_not(passes, "bit %zu", bit);
    }
}

/* Lengths that add up past 2^32, behind a right checksum. */
static const struct {
    const char *rule;
    size_t offset;
    uint32_t value;
    enum peer_frame_err err;
} rows[] = {
    { "another magic", 0, 0x46504648 + 1, PEER_FRAME_E_MAGIC },
    { "a later version", 4, 2, PEER_FRAME_E_VERSION },
    { "version 0", 4, 0, PEER_FRAME_E_VERSION },
    { "reserved bytes in use", 4, 0x00010001, PEER_FRAME_E_BOUNDS },
    { "a head above its cap", 8, PEER_FRAME_HEAD_BYTES_MAX + 1, PEER_FRAME_E_BOUNDS },
    { "a frame above the cap", 12, MAX - PEER_FRAME_HEADER_BYTES - 3 + 1, PEER_FRAME_E_BOUNDS },
    { "an attachment that wraps", 12, UINT32_MAX, PEER_FRAME_E_BOUNDS },
    { "a frame at the cap", 12, MAX - PEER_FRAME_HEADER_BYTES - 3, PEER_FRAME_OK },
};

Test(peer_frame, header_rules)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t frame[FRAME_BYTES];
        frame_fill(frame);
        put_le32(frame + rows[i].offset, rows[i].value);
        put_le64(frame + 16, checksum(slice_of(frame, 16), 0));
        struct peer_frame f;
        cr_assert_eq(peer_frame_decode(frame, MAX, &f), rows[i].err, "%s", rows[i].rule);
    }
}

Test(peer_frame, errors_have_texts)
{
    cr_assert_str_eq(peer_frame_strerror(PEER_FRAME_E_CHECKSUM), "frame fails its checksum");
}
