#include "rpc/peer_codec.h"

#include <stdlib.h>

#include "base/assert.h"
#include "proto/config.h"
#include "proto/entry.h"
#include "proto/pb_arena.h"
#include "rpc/peer_frame.h"

/* ---- frames ---- */

/* A frame with its head packed and room for the attachment at *ret_attachment, not yet sealed. */
static struct peer_out *out_new(const Holdfastpb__PeerMessage *message, size_t attachment_bytes,
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

static void out_seal(struct peer_out *out, const uint8_t *attachment, size_t attachment_bytes)
{
    size_t head_bytes = (size_t)(attachment - out->bytes) - PEER_FRAME_HEADER_BYTES;
    peer_frame_seal(out->bytes, (uint32_t)head_bytes, (uint32_t)attachment_bytes);
}

/* Small ones without an attachment. */
static struct peer_out *out_of_head(const Holdfastpb__PeerMessage *message)
{
    uint8_t *end = NULL;
    struct peer_out *out = out_new(message, 0, UINT32_MAX, &end);
    if (out)
        out_seal(out, end, 0);
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
    uint8_t *attachment = NULL;
    struct peer_out *out = out_new(&message, forward->command.size, frame_bytes_max, &attachment);
    if (!out)
        return NULL;
    if (forward->command.size > 0)
        memcpy(attachment, forward->command.data, forward->command.size);
    out_seal(out, attachment, forward->command.size);
    return out;
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
    uint8_t *attachment = NULL;
    struct peer_out *out = out_new(&message, chunk->bytes.size, frame_bytes_max, &attachment);
    if (!out)
        return NULL;
    if (chunk->bytes.size > 0)
        memcpy(attachment, chunk->bytes.data, chunk->bytes.size);
    out->is_bulk = true;
    out_seal(out, attachment, chunk->bytes.size);
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

/* ---- raft ---- */

/* One message and all that it may point to. */
struct raft_pb {
    Holdfastpb__RaftMessage raft;
    Holdfastpb__Position position;
    Holdfastpb__StateHash state;
    union {
        Holdfastpb__Vote vote;
        Holdfastpb__VoteResult vote_result;
        Holdfastpb__Append append;
        Holdfastpb__AppendResult append_result;
        Holdfastpb__Heartbeat heartbeat;
        Holdfastpb__HeartbeatResult heartbeat_result;
        Holdfastpb__ReadIndex read_index;
        Holdfastpb__ReadIndexResult read_index_result;
        Holdfastpb__TimeoutNow timeout_now;
    };
};

static Holdfastpb__Position *position_to_pb(struct raft_pb *pb, struct raft_pos pos)
{
    holdfastpb__position__init(&pb->position);
    pb->position.term = pos.term;
    pb->position.index = pos.index;
    return &pb->position;
}

/* proto3 writers may leave out what is zero. */
static struct raft_pos position_of_pb(const Holdfastpb__Position *pb)
{
    return pb ? (struct raft_pos){ pb->term, pb->index } : (struct raft_pos){ 0 };
}

static Holdfastpb__StateHash *state_to_pb(struct raft_pb *pb, struct raft_state_hash state)
{
    holdfastpb__state_hash__init(&pb->state);
    pb->state.index = state.index;
    pb->state.hash = state.hash;
    return &pb->state;
}

static struct raft_state_hash state_of_pb(const Holdfastpb__StateHash *pb)
{
    return pb ? (struct raft_state_hash){ pb->index, pb->hash } : (struct raft_state_hash){ 0 };
}

/* The oneof's case and pointer, and the body behind it, for one kind of message. */
#define PB_BODY(KIND, field)                                    \
    pb->raft.body_case = HOLDFASTPB__RAFT_MESSAGE__BODY_##KIND; \
    pb->raft.field = &pb->field;                                \
    holdfastpb__##field##__init(&pb->field)

static void append_result_to_pb(struct raft_pb *pb, const struct raft_msg_append_result *m)
{
    PB_BODY(APPEND_RESULT, append_result);
    pb->append_result.rejected = m->rejected;
    pb->append_result.no_room = m->no_room;
    pb->append_result.match = m->match;
    pb->append_result.rejected_prev = m->rejected_prev;
    pb->append_result.hint = position_to_pb(pb, m->hint);
    pb->append_result.room_bytes = m->room_bytes;
    pb->append_result.repair_id = m->repair_id;
}

static void heartbeat_to_pb(struct raft_pb *pb, const struct raft_msg_heartbeat *m)
{
    PB_BODY(HEARTBEAT, heartbeat);
    pb->heartbeat.commit = m->commit;
    pb->heartbeat.round = m->round;
    pb->heartbeat.keep_index = m->keep_index;
    pb->heartbeat.state = state_to_pb(pb, m->state);
    pb->heartbeat.last_index = m->last_index;
    pb->heartbeat.repair_id = m->repair_id;
}

static void heartbeat_result_to_pb(struct raft_pb *pb, const struct raft_msg_heartbeat_result *m)
{
    PB_BODY(HEARTBEAT_RESULT, heartbeat_result);
    pb->heartbeat_result.round = m->round;
    pb->heartbeat_result.state = state_to_pb(pb, m->state);
    pb->heartbeat_result.room_bytes = m->room_bytes;
    pb->heartbeat_result.repair_id = m->repair_id;
}

static void raft_to_pb(struct raft_pb *pb, const struct raft_msg *msg)
{
    holdfastpb__raft_message__init(&pb->raft);
    pb->raft.term = msg->term;
    switch (msg->type) {
    case RAFT_MSG_VOTE:
        PB_BODY(VOTE, vote);
        pb->vote.pre_vote = msg->vote.pre_vote;
        pb->vote.leader_is_dead = msg->vote.leader_is_dead;
        pb->vote.transfer = msg->vote.transfer;
        pb->vote.last = position_to_pb(pb, msg->vote.last);
        break;
    case RAFT_MSG_VOTE_RESULT:
        PB_BODY(VOTE_RESULT, vote_result);
        pb->vote_result.pre_vote = msg->vote_result.pre_vote;
        pb->vote_result.granted = msg->vote_result.granted;
        break;
    case RAFT_MSG_APPEND:
        PB_BODY(APPEND, append);
        pb->append.prev = position_to_pb(pb, msg->append.prev);
        pb->append.commit = msg->append.commit;
        pb->append.entry_count = msg->append.entry_count;
        break;
    case RAFT_MSG_APPEND_RESULT:
        append_result_to_pb(pb, &msg->append_result);
        break;
    case RAFT_MSG_HEARTBEAT:
        heartbeat_to_pb(pb, &msg->heartbeat);
        break;
    case RAFT_MSG_HEARTBEAT_RESULT:
        heartbeat_result_to_pb(pb, &msg->heartbeat_result);
        break;
    case RAFT_MSG_READ_INDEX:
        PB_BODY(READ_INDEX, read_index);
        pb->read_index.context = msg->read_index.context;
        break;
    case RAFT_MSG_READ_INDEX_RESULT:
        PB_BODY(READ_INDEX_RESULT, read_index_result);
        pb->read_index_result.context = msg->read_index_result.context;
        pb->read_index_result.index = msg->read_index_result.index;
        pb->read_index_result.refused = msg->read_index_result.refused;
        break;
    case RAFT_MSG_TIMEOUT_NOW:
        PB_BODY(TIMEOUT_NOW, timeout_now);
        break;
    }
}

#undef PB_BODY

struct peer_out *peer_encode_raft(const struct raft_msg *msg, uint32_t frame_bytes_max)
{
    struct raft_pb pb;
    raft_to_pb(&pb, msg);
    Holdfastpb__PeerMessage message = HOLDFASTPB__PEER_MESSAGE__INIT;
    message.message_case = HOLDFASTPB__PEER_MESSAGE__MESSAGE_RAFT;
    message.raft = &pb.raft;
    bool is_append = msg->type == RAFT_MSG_APPEND;
    uint32_t entry_count = is_append ? msg->append.entry_count : 0;
    size_t entries_bytes = 0;
    for (uint32_t i = 0; i < entry_count; i++) {
        if (__builtin_add_overflow(entries_bytes, msg->append.entries[i].bytes.size,
                                   &entries_bytes))
            return NULL;
    }
    uint8_t *attachment = NULL;
    struct peer_out *out = out_new(&message, entries_bytes, frame_bytes_max, &attachment);
    if (!out)
        return NULL;
    uint8_t *to = attachment;
    for (uint32_t i = 0; i < entry_count; i++) {
        struct slice bytes = msg->append.entries[i].bytes;
        memcpy(to, bytes.data, bytes.size);
        to += bytes.size;
    }
    out->is_append = is_append;
    out_seal(out, attachment, entries_bytes);
    return out;
}

/* ---- raft, received ---- */

/* One more entry after `before` and within the sender's term; false: it cannot follow. */
static bool entry_of_attachment(struct slice *rest, struct raft_pos before, uint64_t term,
                                struct block *block, struct raft_entry *ret_entry)
{
    struct entry_header header;
    struct slice payload;
    size_t size;
    if (entry_decode(*rest, &header, &payload, &size) != ENTRY_OK)
        return false;
    if (before.index == UINT64_MAX || header.pos.index != before.index + 1 ||
        header.pos.term < before.term || header.pos.term > term)
        return false;
    *ret_entry = (struct raft_entry){
        .pos = header.pos,
        .type = header.type,
        .bytes = slice_of(rest->data, size),
        .block = block,
    };
    *rest = slice_of(rest->data + size, rest->size - size);
    return true;
}

/* The core decodes nothing: what its configuration entries say goes with them. */
static bool configs_of_entries(struct raft_msg_append *append, struct arena *a)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < append->entry_count; i++)
        count += append->entries[i].type == RAFT_ENTRY_CONFIG;
    if (count == 0)
        return true;
    struct raft_config_at *configs = arena_alloc(a, count * sizeof *configs);
    if (!configs)
        return false;
    append->configs = configs;
    for (uint32_t i = 0; i < append->entry_count; i++) {
        const struct raft_entry *e = &append->entries[i];
        if (e->type != RAFT_ENTRY_CONFIG)
            continue;
        struct raft_config_at *config = &configs[append->config_count++];
        config->index = e->pos.index;
        if (!config_of_entry(e->bytes, &config->config))
            return false;
    }
    return true;
}

static bool append_of_pb(const Holdfastpb__RaftMessage *raft, struct block *block,
                         struct slice attachment, struct arena *a, struct raft_msg *msg)
{
    const Holdfastpb__Append *pb = raft->append;
    /* Before the count chooses an allocation, the bytes must be able to hold so many. */
    if (pb->entry_count > attachment.size / ENTRY_HEADER_BYTES)
        return false;
    struct raft_pos before = position_of_pb(pb->prev);
    msg->append = (struct raft_msg_append){
        .prev = before,
        .commit = pb->commit,
        .entry_count = pb->entry_count,
    };
    struct slice rest = attachment;
    struct raft_entry *entries = NULL;
    if (pb->entry_count > 0) {
        entries = arena_alloc(a, pb->entry_count * sizeof *entries);
        if (!entries)
            return false;
    }
    for (uint32_t i = 0; i < pb->entry_count; i++) {
        if (!entry_of_attachment(&rest, before, raft->term, block, &entries[i]))
            return false;
        before = entries[i].pos;
    }
    msg->append.entries = entries;
    return rest.size == 0 && configs_of_entries(&msg->append, a);
}

static void heartbeat_of_pb(const Holdfastpb__Heartbeat *pb, struct raft_msg *msg)
{
    msg->type = RAFT_MSG_HEARTBEAT;
    msg->heartbeat = (struct raft_msg_heartbeat){
        .commit = pb->commit,
        .round = pb->round,
        .keep_index = pb->keep_index,
        .state = state_of_pb(pb->state),
        .last_index = pb->last_index,
        .repair_id = pb->repair_id,
    };
}

static void append_result_of_pb(const Holdfastpb__AppendResult *pb, struct raft_msg *msg)
{
    msg->type = RAFT_MSG_APPEND_RESULT;
    msg->append_result = (struct raft_msg_append_result){
        .rejected = pb->rejected,
        .no_room = pb->no_room,
        .match = pb->match,
        .rejected_prev = pb->rejected_prev,
        .hint = position_of_pb(pb->hint),
        .room_bytes = pb->room_bytes,
        .repair_id = pb->repair_id,
    };
}

/* False: a kind that this version does not know, or none. */
static bool small_of_pb(const Holdfastpb__RaftMessage *pb, struct raft_msg *msg)
{
    switch (pb->body_case) {
    case HOLDFASTPB__RAFT_MESSAGE__BODY_VOTE:
        msg->type = RAFT_MSG_VOTE;
        msg->vote = (struct raft_msg_vote){
            .pre_vote = pb->vote->pre_vote,
            .leader_is_dead = pb->vote->leader_is_dead,
            .transfer = pb->vote->transfer,
            .last = position_of_pb(pb->vote->last),
        };
        return true;
    case HOLDFASTPB__RAFT_MESSAGE__BODY_VOTE_RESULT:
        msg->type = RAFT_MSG_VOTE_RESULT;
        msg->vote_result =
            (struct raft_msg_vote_result){ pb->vote_result->pre_vote, pb->vote_result->granted };
        return true;
    case HOLDFASTPB__RAFT_MESSAGE__BODY_APPEND_RESULT:
        append_result_of_pb(pb->append_result, msg);
        return true;
    case HOLDFASTPB__RAFT_MESSAGE__BODY_HEARTBEAT:
        heartbeat_of_pb(pb->heartbeat, msg);
        return true;
    case HOLDFASTPB__RAFT_MESSAGE__BODY_HEARTBEAT_RESULT:
        msg->type = RAFT_MSG_HEARTBEAT_RESULT;
        msg->heartbeat_result = (struct raft_msg_heartbeat_result){
            .round = pb->heartbeat_result->round,
            .state = state_of_pb(pb->heartbeat_result->state),
            .room_bytes = pb->heartbeat_result->room_bytes,
            .repair_id = pb->heartbeat_result->repair_id,
        };
        return true;
    case HOLDFASTPB__RAFT_MESSAGE__BODY_READ_INDEX:
        msg->type = RAFT_MSG_READ_INDEX;
        msg->read_index.context = pb->read_index->context;
        return true;
    case HOLDFASTPB__RAFT_MESSAGE__BODY_READ_INDEX_RESULT:
        msg->type = RAFT_MSG_READ_INDEX_RESULT;
        msg->read_index_result = (struct raft_msg_read_index_result){
            .context = pb->read_index_result->context,
            .index = pb->read_index_result->index,
            .refused = pb->read_index_result->refused,
        };
        return true;
    case HOLDFASTPB__RAFT_MESSAGE__BODY_TIMEOUT_NOW:
        msg->type = RAFT_MSG_TIMEOUT_NOW;
        return true;
    case HOLDFASTPB__RAFT_MESSAGE__BODY_APPEND:
    case HOLDFASTPB__RAFT_MESSAGE__BODY__NOT_SET:
    case _HOLDFASTPB__RAFT_MESSAGE__BODY__CASE_IS_INT_SIZE:
        break;
    }
    return false;
}

bool peer_decode_raft(const Holdfastpb__RaftMessage *pb, struct block *block,
                      struct slice attachment, struct arena *a, struct raft_msg *ret_msg)
{
    struct raft_msg msg = { .term = pb->term };
    if (pb->body_case == HOLDFASTPB__RAFT_MESSAGE__BODY_APPEND) {
        msg.type = RAFT_MSG_APPEND;
        if (!append_of_pb(pb, block, attachment, a, &msg))
            return false;
    } else if (attachment.size > 0 || !small_of_pb(pb, &msg)) {
        return false;
    }
    *ret_msg = msg;
    return true;
}
