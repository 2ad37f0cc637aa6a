/* peer_frame.h: the header in front of every frame between members, version 1.
 *
 *   offset size
 *        0    4  magic "HFPF"
 *        4    2  protocol version, PEER_PROTOCOL_VERSION
 *        6    2  zero
 *        8    4  head_bytes: an encoded holdfastpb.PeerMessage
 *       12    4  attachment_bytes: log entries or a command, as they stand in the log
 *       16    8  checksum of bytes 0-15
 *       24    8  checksum of head and attachment, seeded with the one before
 *       32    -  head, then attachment
 *
 * Little-endian. The header has a checksum of its own, so that no length is believed, and no
 * memory taken for it, before it verifies. A frame with neither head nor attachment is a ping,
 * and so is its answer.
 * Thread: any; no state.
 */
#ifndef RPC_PEER_FRAME_H
#define RPC_PEER_FRAME_H

#include "base/slice.h"

enum { PEER_FRAME_HEADER_BYTES = 32, PEER_FRAME_HEAD_BYTES_MAX = 1 << 16 };

struct peer_frame {
    uint32_t head_bytes;
    uint32_t attachment_bytes;
    uint64_t body_sum;
    uint64_t header_sum;
};

#define PEER_FRAME_ERRORS(X)                                                               \
    X(PEER_FRAME_OK, "ok")                                                                 \
    X(PEER_FRAME_E_MAGIC, "not a member's frame")                                          \
    X(PEER_FRAME_E_VERSION, "frame of an unknown protocol version; is this node too old?") \
    X(PEER_FRAME_E_CHECKSUM, "frame fails its checksum")                                   \
    X(PEER_FRAME_E_BOUNDS, "frame with a length out of bounds")

#define PEER_FRAME_ENUM_ENTRY(name, text) name,
enum peer_frame_err { PEER_FRAME_ERRORS(PEER_FRAME_ENUM_ENTRY) };
#undef PEER_FRAME_ENUM_ENTRY

const char *peer_frame_strerror(enum peer_frame_err err);

/* Writes the header of a frame whose head and attachment already stand behind it. */
void peer_frame_seal(uint8_t *frame, uint32_t head_bytes, uint32_t attachment_bytes);

/* header: PEER_FRAME_HEADER_BYTES of it. frame_bytes_max bounds the whole frame. */
enum peer_frame_err peer_frame_decode(const uint8_t *header, uint32_t frame_bytes_max,
                                      struct peer_frame *ret_frame)
    __attribute__((warn_unused_result));

/* body: head and attachment. */
bool peer_frame_body_is_intact(const struct peer_frame *frame, struct slice body);

#endif
