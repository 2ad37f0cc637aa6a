/* peer_codec_internal.h: shared by peer_codec*.c alone. */
#ifndef RPC_PEER_CODEC_INTERNAL_H
#define RPC_PEER_CODEC_INTERNAL_H

#include "rpc/peer_codec.h"

/* A frame with its head packed and room for the attachment at *ret_attachment, not yet sealed.
 * NULL: no memory, or too large. */
struct peer_out *peer_out_new(const Holdfastpb__PeerMessage *message, size_t attachment_bytes,
                              uint32_t frame_bytes_max, uint8_t **ret_attachment);

/* The attachment stands where peer_out_new said. */
void peer_out_seal(struct peer_out *out, const uint8_t *attachment, size_t attachment_bytes);

#endif
