#include "rpc/peer_frame.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "rpc/peer.h"

enum {
    AT_MAGIC = 0,
    AT_VERSION = 4,
    AT_ZERO = 6,
    AT_HEAD_BYTES = 8,
    AT_ATTACHMENT_BYTES = 12,
    AT_HEADER_SUM = 16,
    AT_BODY_SUM = 24,
};

static const uint8_t magic[4] = { 'H', 'F', 'P', 'F' };

const char *peer_frame_strerror(enum peer_frame_err err)
{
#define PEER_FRAME_TEXT(name, text) \
    case name:                      \
        return text;
    switch (err) {
        PEER_FRAME_ERRORS(PEER_FRAME_TEXT)
    }
#undef PEER_FRAME_TEXT
    return "unknown error";
}

void peer_frame_seal(uint8_t *frame, uint32_t head_bytes, uint32_t attachment_bytes)
{
    memcpy(frame + AT_MAGIC, magic, sizeof magic);
    put_le16(frame + AT_VERSION, PEER_PROTOCOL_VERSION);
    put_le16(frame + AT_ZERO, 0);
    put_le32(frame + AT_HEAD_BYTES, head_bytes);
    put_le32(frame + AT_ATTACHMENT_BYTES, attachment_bytes);
    uint64_t header_sum = checksum(slice_of(frame, AT_HEADER_SUM), 0);
    size_t body_bytes = (size_t)head_bytes + attachment_bytes;
    struct slice body = slice_of(frame + PEER_FRAME_HEADER_BYTES, body_bytes);
    put_le64(frame + AT_HEADER_SUM, header_sum);
    put_le64(frame + AT_BODY_SUM, checksum(body, header_sum));
}

enum peer_frame_err peer_frame_decode(const uint8_t *header, uint32_t frame_bytes_max,
                                      struct peer_frame *ret_frame)
{
    if (memcmp(header + AT_MAGIC, magic, sizeof magic) != 0)
        return PEER_FRAME_E_MAGIC;
    uint64_t header_sum = get_le64(header + AT_HEADER_SUM);
    /* The version stands where it does in every version; what follows need not. */
    if (get_le16(header + AT_VERSION) != PEER_PROTOCOL_VERSION)
        return PEER_FRAME_E_VERSION;
    if (checksum(slice_of(header, AT_HEADER_SUM), 0) != header_sum)
        return PEER_FRAME_E_CHECKSUM;
    uint32_t head_bytes = get_le32(header + AT_HEAD_BYTES);
    uint32_t attachment_bytes = get_le32(header + AT_ATTACHMENT_BYTES);
    if (get_le16(header + AT_ZERO) != 0 || head_bytes > PEER_FRAME_HEAD_BYTES_MAX)
        return PEER_FRAME_E_BOUNDS;
    uint64_t frame_bytes = (uint64_t)PEER_FRAME_HEADER_BYTES + head_bytes + attachment_bytes;
    if (frame_bytes > frame_bytes_max)
        return PEER_FRAME_E_BOUNDS;
    *ret_frame = (struct peer_frame){
        .head_bytes = head_bytes,
        .attachment_bytes = attachment_bytes,
        .body_sum = get_le64(header + AT_BODY_SUM),
        .header_sum = header_sum,
    };
    return PEER_FRAME_OK;
}

bool peer_frame_body_is_intact(const struct peer_frame *frame, struct slice body)
{
    return checksum(body, frame->header_sum) == frame->body_sum;
}
