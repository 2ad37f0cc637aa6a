/* peer_codec.h: what members say to each other <-> whole frames.
 *
 * Encoders return a sealed frame ready to be sent, the caller's to free; NULL without memory or
 * above frame_bytes_max. Decoders check all that a sender could get wrong (I9) and copy nothing:
 * slices view the frame's block, so whoever keeps an entry takes a reference on that block.
 * Thread: any; no state.
 */
#ifndef RPC_PEER_CODEC_H
#define RPC_PEER_CODEC_H

#include "base/arena.h"
#include "base/list.h"
#include "peer.pb-c.h"
#include "rpc/peer.h"

enum { PEER_VERSION_BYTES_MAX = 64 };

/* A frame on its way out. */
struct peer_out {
    struct list link;
    struct list append_link; /* of appends alone, which may be dropped: Raft sends them again */
    bool is_append;
    bool is_ping;
    bool is_bulk; /* a chunk of a snapshot: leaves when nothing else waits */
    size_t size;
    uint8_t bytes[];
};

struct peer_out *peer_encode_ping(void);
/* refusal: NULL when we do talk. */
struct peer_out *peer_encode_hello(const struct peer_hello *hello, const char *refusal,
                                   enum peer_unwelcome why);
struct peer_out *peer_encode_raft(const struct raft_msg *msg, uint32_t frame_bytes_max);
/* formation: an encoded holdfastpb.Formation; NULL also when it is not one. */
struct peer_out *peer_encode_formation(struct slice formation);
struct peer_out *peer_encode_forward(const struct peer_forward *forward, uint32_t frame_bytes_max);
struct peer_out *peer_encode_forward_refused(const struct peer_forward_refused *refused);
struct peer_out *peer_encode_forward_query(const struct peer_forward_query *query);
struct peer_out *peer_encode_forward_reach(const struct peer_forward_reach *reach);
struct peer_out *peer_encode_snapshot_chunk(const struct peer_snapshot_chunk *chunk,
                                            uint32_t frame_bytes_max);
struct peer_out *peer_encode_snapshot_ack(const struct peer_snapshot_ack *ack);

/* NULL: malformed, or more than the arena takes. */
Holdfastpb__PeerMessage *peer_decode(struct slice head, struct arena *a);

/* False: malformed. */
bool peer_decode_hello(const Holdfastpb__Hello *pb, struct peer_hello *ret_hello);

/* All but from and to, which are the connection's. The block holds the attachment; the entries
 * of an append, each verified, view it. False: malformed, or more than the arena takes. */
bool peer_decode_raft(const Holdfastpb__RaftMessage *pb, struct block *block,
                      struct slice attachment, struct arena *a, struct raft_msg *ret_msg);

bool peer_decode_forward(const Holdfastpb__Forward *pb, struct slice attachment,
                         struct peer_forward *ret_forward);
bool peer_decode_forward_refused(const Holdfastpb__ForwardRefused *pb,
                                 struct peer_forward_refused *ret_refused);
bool peer_decode_snapshot_chunk(const Holdfastpb__SnapshotChunk *pb, struct block *block,
                                struct slice attachment, struct peer_snapshot_chunk *ret_chunk);
bool peer_decode_snapshot_ack(const Holdfastpb__SnapshotAck *pb, struct peer_snapshot_ack *ret_ack);

#endif
