/* Raft's messages, and the entries that appends carry, as they stand in the log. */
#include "proto/config.h"
#include "proto/entry.h"
#include "rpc/peer_codec_internal.h"

/* ---- sent ---- */

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
    struct peer_out *out = peer_out_new(&message, entries_bytes, frame_bytes_max, &attachment);
    if (!out)
        return NULL;
    uint8_t *to = attachment;
    for (uint32_t i = 0; i < entry_count; i++) {
        struct slice bytes = msg->append.entries[i].bytes;
        memcpy(to, bytes.data, bytes.size);
        to += bytes.size;
    }
    out->is_append = is_append;
    peer_out_seal(out, attachment, entries_bytes);
    return out;
}

/* ---- received ---- */

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
    if (pb->entry_count > attachment.size / ENTRY_HEADER_BYTES_MIN)
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
