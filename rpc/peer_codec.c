#include "rpc/peer_codec.h"

#include <stdlib.h>

#include "base/assert.h"
#include "proto/entry.h"
#include "proto/pb_arena.h"
#include "rpc/peer_codec_internal.h"
#include "rpc/peer_frame.h"

/* ---- frames ---- */

struct peer_out *peer_out_new(const Holdfastpb__PeerMessage *message, size_t attachment_bytes,
                              uint32_t frame_bytes_max, uint8_t **ret_attachment)
{
    size_t head_bytes = message ? holdfastpb__peer_message__get_packed_size(message) : 0;
    if (head_bytes > PEER_FRAME_HEAD_BYTES_MAX || attachment_bytes > frame_bytes_max ||
        PEER_FRAME_HEADER_BYTES + head_bytes > frame_bytes_max - attachment_bytes)
        return NULL;
    size_t size = PEER_FRAME_HEADER_BYTES + head_bytes + attachment_bytes;
    struct peer_out *out = malloc(sizeof *out + size);
    if (!out)
        return NULL;
    list_init(&out->link);
    list_init(&out->append_link);
    out->is_append = false;
    out->is_ping = message == NULL;
    out->is_bulk = false;
    out->size = size;
    if (message)
        holdfastpb__peer_message__pack(message, out->bytes + PEER_FRAME_HEADER_BYTES);
    *ret_attachment = out->bytes + PEER_FRAME_HEADER_BYTES + head_bytes;
    return out;
}

void peer_out_seal(struct peer_out *out, const uint8_t *attachment, size_t attachment_bytes)
{
    size_t head_bytes = (size_t)(attachment - out->bytes) - PEER_FRAME_HEADER_BYTES;
    peer_frame_seal(out->bytes, (uint32_t)head_bytes, (uint32_t)attachment_bytes);
}

/* Small ones without an attachment. */
static struct peer_out *out_of_head(const Holdfastpb__PeerMessage *message)
{
    uint8_t *end = NULL;
    struct peer_out *out = peer_out_new(message, 0, UINT32_MAX, &end);
    if (out)
        peer_out_seal(out, end, 0);
    return out;
}

static struct peer_out *out_with(const Holdfastpb__PeerMessage *message, struct slice bytes,
                                 uint32_t frame_bytes_max)
{
    uint8_t *attachment = NULL;
    struct peer_out *out = peer_out_new(message, bytes.size, frame_bytes_max, &attachment);
    if (!out)
        return NULL;
    if (bytes.size > 0)
        memcpy(attachment, bytes.data, bytes.size);
    peer_out_seal(out, attachment, bytes.size);
    return out;
}

struct peer_out *peer_encode_ping(void)
{
    return out_of_head(NULL);
}

Holdfastpb__PeerMessage *peer_decode(struct slice head, struct arena *a)
{
    return (Holdfastpb__PeerMessage *)pb_arena_unpack(a, &holdfastpb__peer_message__descriptor,
                                                      head);
}

/* protobuf-c's fields point to bytes that may be written; ours may not, and packing does not. */
static ProtobufCBinaryData pb_bytes(struct slice bytes)
{
    union {
        const uint8_t *read;
        uint8_t *write;
    } data = { .read = bytes.data };
    return (ProtobufCBinaryData){ .len = bytes.size, .data = data.write };
}

static struct slice pb_slice(ProtobufCBinaryData bytes)
{
    return slice_of(bytes.data, bytes.len);
}

/* A text for a protobuf-c string, cut at `max` bytes. */
static void text_copy(char *to, size_t max, struct slice text)
{
    size_t size = text.size < max ? text.size : max;
    if (size > 0)
        memcpy(to, text.data, size);
    to[size] = '\0';
}

/* ---- hello ---- */

/* protobuf-c's strings are writable by type; packing writes none of them. */
static char *pb_text(const char *text)
{
    union {
        const char *read;
        char *write;
    } pointer = { .read = text };
    return pointer.write;
}

struct peer_out *peer_encode_hello(const struct peer_hello *hello, const char *refusal,
                                   enum peer_unwelcome kind)
{
    char version[PEER_VERSION_BYTES_MAX + 1];
    char why[PEER_REFUSAL_BYTES_MAX + 1];
    text_copy(version, PEER_VERSION_BYTES_MAX, hello->server_version);
    text_copy(why, PEER_REFUSAL_BYTES_MAX, slice_of_text(refusal ? refusal : ""));
    Holdfastpb__Hello pb = HOLDFASTPB__HELLO__INIT;
    pb.protocol_version = PEER_PROTOCOL_VERSION;
    pb.cluster_id = hello->cluster_id;
    pb.member_id = hello->member_id;
    pb.to_member_id = hello->to_member_id;
    pb.incarnation = pb_bytes(slice_of(hello->incarnation, PEER_INCARNATION_BYTES));
    pb.process = pb_bytes(slice_of(hello->process, PEER_INCARNATION_BYTES));
    pb.initial_cluster_hash = pb_bytes(hello->initial_cluster_hash);
    pb.feature_level_max = hello->feature_level_max;
    pb.server_version = version;
    pb.refusal = why;
    pb.refusal_is_final = kind != PEER_UNWELCOME_NOW;
    pb.refusal_is_removal = kind == PEER_UNWELCOME_REMOVED;
    char *urls[PEER_URLS_MAX];
    for (uint32_t i = 0; i < hello->peer_url_count; i++)
        urls[i] = pb_text(hello->peer_urls[i]);
    pb.n_peer_urls = hello->peer_url_count;
    pb.peer_urls = urls;
    Holdfastpb__PeerMessage message = HOLDFASTPB__PEER_MESSAGE__INIT;
    message.message_case = HOLDFASTPB__PEER_MESSAGE__MESSAGE_HELLO;
    message.hello = &pb;
    return out_of_head(&message);
}

static bool hello_urls_decode(const Holdfastpb__Hello *pb, struct peer_hello *hello)
{
    if (pb->n_peer_urls > PEER_URLS_MAX)
        return false;
    for (size_t i = 0; i < pb->n_peer_urls; i++) {
        if (strlen(pb->peer_urls[i]) > PEER_URL_BYTES_MAX)
            return false;
        hello->peer_urls[i] = pb->peer_urls[i];
    }
    hello->peer_url_count = (uint32_t)pb->n_peer_urls;
    return true;
}

bool peer_decode_hello(const Holdfastpb__Hello *pb, struct peer_hello *ret_hello)
{
    if (pb->incarnation.len != PEER_INCARNATION_BYTES ||
        pb->process.len != PEER_INCARNATION_BYTES ||
        pb->initial_cluster_hash.len > PEER_CLUSTER_HASH_BYTES_MAX ||
        strlen(pb->server_version) > PEER_VERSION_BYTES_MAX)
        return false;
    *ret_hello = (struct peer_hello){
        .cluster_id = pb->cluster_id,
        .member_id = pb->member_id,
        .to_member_id = pb->to_member_id,
        .initial_cluster_hash = pb_slice(pb->initial_cluster_hash),
        .feature_level_max = pb->feature_level_max,
        .server_version = slice_of_text(pb->server_version),
    };
    memcpy(ret_hello->incarnation, pb->incarnation.data, PEER_INCARNATION_BYTES);
    memcpy(ret_hello->process, pb->process.data, PEER_INCARNATION_BYTES);
    return hello_urls_decode(pb, ret_hello);
}

/* ---- formation, forwards ---- */

struct peer_out *peer_encode_formation(struct slice formation)
{
    struct arena a;
    arena_init(&a, 16 * (size_t)PEER_FRAME_HEAD_BYTES_MAX);
    Holdfastpb__PeerMessage message = HOLDFASTPB__PEER_MESSAGE__INIT;
    message.message_case = HOLDFASTPB__PEER_MESSAGE__MESSAGE_FORMATION;
    message.formation =
        (Holdfastpb__Formation *)pb_arena_unpack(&a, &holdfastpb__formation__descriptor, formation);
    struct peer_out *out = message.formation ? out_of_head(&message) : NULL;
    arena_done(&a);
    return out;
}

struct peer_out *peer_encode_forward(const struct peer_forward *forward, uint32_t frame_bytes_max)
{
    Holdfastpb__Forward pb = HOLDFASTPB__FORWARD__INIT;
    pb.request_id = forward->request_id;
    pb.term = forward->term;
    pb.auth_revision = forward->auth_revision;
    pb.user = pb_bytes(forward->user);
    Holdfastpb__PeerMessage message = HOLDFASTPB__PEER_MESSAGE__INIT;
    message.message_case = HOLDFASTPB__PEER_MESSAGE__MESSAGE_FORWARD;
    message.forward = &pb;
    return out_with(&message, forward->command, frame_bytes_max);
}

bool peer_decode_forward(const Holdfastpb__Forward *pb, struct slice attachment,
                         struct peer_forward *ret_forward)
{
    if (pb->user.len > ENTRY_USER_BYTES_MAX || attachment.size > ENTRY_PAYLOAD_BYTES_MAX)
        return false;
    *ret_forward = (struct peer_forward){
        .request_id = pb->request_id,
        .term = pb->term,
        .auth_revision = pb->auth_revision,
        .user = pb_slice(pb->user),
        .command = attachment,
    };
    return true;
}

struct peer_out *peer_encode_forward_refused(const struct peer_forward_refused *refused)
{
    Holdfastpb__ForwardRefused pb = HOLDFASTPB__FORWARD_REFUSED__INIT;
    pb.request_id = refused->request_id;
    pb.term = refused->term;
    switch (refused->why) {
    case PEER_REFUSED_NOT_LEADER:
        pb.reason = HOLDFASTPB__FORWARD_REFUSED__REASON__NOT_LEADER;
        break;
    case PEER_REFUSED_BUSY:
        pb.reason = HOLDFASTPB__FORWARD_REFUSED__REASON__BUSY;
        break;
    }
    Holdfastpb__PeerMessage message = HOLDFASTPB__PEER_MESSAGE__INIT;
    message.message_case = HOLDFASTPB__PEER_MESSAGE__MESSAGE_FORWARD_REFUSED;
    message.forward_refused = &pb;
    return out_of_head(&message);
}

bool peer_decode_forward_refused(const Holdfastpb__ForwardRefused *pb,
                                 struct peer_forward_refused *ret_refused)
{
    struct peer_forward_refused refused = { .request_id = pb->request_id, .term = pb->term };
    if (pb->reason == HOLDFASTPB__FORWARD_REFUSED__REASON__NOT_LEADER)
        refused.why = PEER_REFUSED_NOT_LEADER;
    else if (pb->reason == HOLDFASTPB__FORWARD_REFUSED__REASON__BUSY)
        refused.why = PEER_REFUSED_BUSY;
    else
        return false;
    *ret_refused = refused;
    return true;
}

struct peer_out *peer_encode_forward_query(const struct peer_forward_query *query)
{
    Holdfastpb__ForwardQuery pb = HOLDFASTPB__FORWARD_QUERY__INIT;
    pb.term = query->term;
    pb.context = query->context;
    Holdfastpb__PeerMessage message = HOLDFASTPB__PEER_MESSAGE__INIT;
    message.message_case = HOLDFASTPB__PEER_MESSAGE__MESSAGE_FORWARD_QUERY;
    message.forward_query = &pb;
    return out_of_head(&message);
}

struct peer_out *peer_encode_forward_reach(const struct peer_forward_reach *reach)
{
    Holdfastpb__ForwardReach pb = HOLDFASTPB__FORWARD_REACH__INIT;
    pb.term = reach->term;
    pb.context = reach->context;
    pb.last_index = reach->last_index;
    Holdfastpb__PeerMessage message = HOLDFASTPB__PEER_MESSAGE__INIT;
    message.message_case = HOLDFASTPB__PEER_MESSAGE__MESSAGE_FORWARD_REACH;
    message.forward_reach = &pb;
    return out_of_head(&message);
}

/* ---- snapshots ---- */

struct peer_out *peer_encode_snapshot_chunk(const struct peer_snapshot_chunk *chunk,
                                            uint32_t frame_bytes_max)
{
    Holdfastpb__Position pos = HOLDFASTPB__POSITION__INIT;
    pos.term = chunk->pos.term;
    pos.index = chunk->pos.index;
    Holdfastpb__SnapshotChunk pb = HOLDFASTPB__SNAPSHOT_CHUNK__INIT;
    pb.snapshot_id = chunk->snapshot_id;
    pb.term = chunk->term;
    pb.seq = chunk->seq;
    pb.pos = &pos;
    pb.last = chunk->last;
    Holdfastpb__PeerMessage message = HOLDFASTPB__PEER_MESSAGE__INIT;
    message.message_case = HOLDFASTPB__PEER_MESSAGE__MESSAGE_SNAPSHOT_CHUNK;
    message.snapshot_chunk = &pb;
    struct peer_out *out = out_with(&message, chunk->bytes, frame_bytes_max);
    if (out)
        out->is_bulk = true;
    return out;
}

bool peer_decode_snapshot_chunk(const Holdfastpb__SnapshotChunk *pb, struct block *block,
                                struct slice attachment, struct peer_snapshot_chunk *ret_chunk)
{
    if (!pb->pos || pb->pos->index == 0 || pb->pos->index > UINT64_MAX / 2 || pb->pos->term == 0 ||
        pb->term < pb->pos->term)
        return false;
    *ret_chunk = (struct peer_snapshot_chunk){
        .snapshot_id = pb->snapshot_id,
        .term = pb->term,
        .seq = pb->seq,
        .pos = { pb->pos->term, pb->pos->index },
        .last = pb->last,
        .bytes = attachment,
        .block = block,
    };
    return true;
}

struct peer_out *peer_encode_snapshot_ack(const struct peer_snapshot_ack *ack)
{
    Holdfastpb__SnapshotAck pb = HOLDFASTPB__SNAPSHOT_ACK__INIT;
    pb.snapshot_id = ack->snapshot_id;
    pb.next_seq = ack->next_seq;
    pb.status = (Holdfastpb__SnapshotAck__Status)ack->status;
    Holdfastpb__PeerMessage message = HOLDFASTPB__PEER_MESSAGE__INIT;
    message.message_case = HOLDFASTPB__PEER_MESSAGE__MESSAGE_SNAPSHOT_ACK;
    message.snapshot_ack = &pb;
    return out_of_head(&message);
}

/* The numbers on the wire are ours. */
_Static_assert((int)PEER_SNAPSHOT_OK == HOLDFASTPB__SNAPSHOT_ACK__STATUS__OK &&
                   (int)PEER_SNAPSHOT_INSTALLED == HOLDFASTPB__SNAPSHOT_ACK__STATUS__INSTALLED,
               "statuses agree");

bool peer_decode_snapshot_ack(const Holdfastpb__SnapshotAck *pb, struct peer_snapshot_ack *ret_ack)
{
    if (pb->status < HOLDFASTPB__SNAPSHOT_ACK__STATUS__OK ||
        pb->status > HOLDFASTPB__SNAPSHOT_ACK__STATUS__INSTALLED)
        return false;
    *ret_ack = (struct peer_snapshot_ack){
        .snapshot_id = pb->snapshot_id,
        .next_seq = pb->next_seq,
        .status = (enum peer_snapshot_status)pb->status,
    };
    return true;
}
