#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/prng.h"
#include "rpc/peer_codec.h"
#include "rpc/peer_frame.h"
#include "tests/support/old_entry.h"
#include "tests/support/peer_entries.h"

enum { FRAME_MAX = 1 << 20, ARENA_MAX = 1 << 20, FLIPS = 4000 };

/* A frame taken apart as a receiver does, after the checksums. */
struct received {
    struct arena arena;
    struct block *block;
    struct slice attachment;
    Holdfastpb__PeerMessage *message;
};

static struct received receive(const struct peer_out *out)
{
    cr_assert_not_null(out);
    struct peer_frame frame;
    cr_assert_eq(peer_frame_decode(out->bytes, FRAME_MAX, &frame), PEER_FRAME_OK);
    struct slice body =
        slice_of(out->bytes + PEER_FRAME_HEADER_BYTES, out->size - PEER_FRAME_HEADER_BYTES);
    cr_assert_eq(body.size, frame.head_bytes + frame.attachment_bytes);
    cr_assert(peer_frame_body_is_intact(&frame, body));
    struct received r = { .block = block_new(body.size) };
    arena_init(&r.arena, ARENA_MAX);
    memcpy(r.block->data, body.data, body.size);
    r.attachment = slice_of(r.block->data + frame.head_bytes, frame.attachment_bytes);
    r.message = peer_decode(slice_of(r.block->data, frame.head_bytes), &r.arena);
    cr_assert_not_null(r.message);
    return r;
}

static void received_done(struct received *r)
{
    arena_done(&r->arena);
    block_unref(r->block);
}

/* Every kind, every field different and not zero. */
static const struct raft_msg kinds[] = {
    { .type = RAFT_MSG_VOTE, .term = 1, .vote = { true, false, false, { 2, 3 } } },
    { .type = RAFT_MSG_VOTE,
      .term = UINT64_MAX,
      .vote = { false, true, false, { 4, UINT64_MAX } } },
    { .type = RAFT_MSG_VOTE, .term = 2, .vote = { false, false, true, { 1, 5 } } },
    { .type = RAFT_MSG_VOTE_RESULT, .term = 5, .vote_result = { true, false } },
    { .type = RAFT_MSG_VOTE_RESULT, .term = 5, .vote_result = { false, true } },
    { .type = RAFT_MSG_APPEND, .term = 6, .append = { .prev = { 5, 7 }, .commit = 8 } },
    { .type = RAFT_MSG_APPEND_RESULT,
      .term = 9,
      .append_result = { true, false, 10, 11, { 12, 13 }, 14, 30 } },
    { .type = RAFT_MSG_APPEND_RESULT,
      .term = 9,
      .append_result = { false, true, 1, 2, { 3, 4 }, 5, UINT64_MAX } },
    { .type = RAFT_MSG_HEARTBEAT,
      .term = 15,
      .heartbeat = { 16, 17, 18, { 19, UINT64_MAX }, 31, 32 } },
    { .type = RAFT_MSG_HEARTBEAT_RESULT,
      .term = 20,
      .heartbeat_result = { 21, { 22, 23 }, 24, 33 } },
    { .type = RAFT_MSG_READ_INDEX, .term = 25, .read_index = { 26 } },
    { .type = RAFT_MSG_READ_INDEX_RESULT, .term = 27, .read_index_result = { 28, 29, true } },
    { .type = RAFT_MSG_TIMEOUT_NOW, .term = 34 },
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static void pos_equal(struct raft_pos a, struct raft_pos b)
{
    cr_assert_eq(a.term, b.term);
    cr_assert_eq(a.index, b.index);
}

static void state_equal(struct raft_state_hash a, struct raft_state_hash b)
{
    cr_assert_eq(a.index, b.index);
    cr_assert_eq(a.hash, b.hash);
}

static void append_equal(const struct raft_msg_append *a, const struct raft_msg_append *b)
{
    pos_equal(a->prev, b->prev);
    cr_assert_eq(a->commit, b->commit);
    cr_assert_eq(a->entry_count, b->entry_count);
    for (uint32_t i = 0; i < a->entry_count; i++) {
        pos_equal(a->entries[i].pos, b->entries[i].pos);
        cr_assert_eq(a->entries[i].type, b->entries[i].type);
        cr_assert(slice_equal(a->entries[i].bytes, b->entries[i].bytes));
    }
}

static void append_result_equal(const struct raft_msg_append_result *a,
                                const struct raft_msg_append_result *b)
{
    cr_assert_eq(a->rejected, b->rejected);
    cr_assert_eq(a->no_room, b->no_room);
    cr_assert_eq(a->match, b->match);
    cr_assert_eq(a->rejected_prev, b->rejected_prev);
    pos_equal(a->hint, b->hint);
    cr_assert_eq(a->room_bytes, b->room_bytes);
    cr_assert_eq(a->repair_id, b->repair_id);
}

static void msg_equal(const struct raft_msg *a, const struct raft_msg *b)
{
    cr_assert_eq(a->type, b->type);
    cr_assert_eq(a->term, b->term);
    switch (a->type) {
    case RAFT_MSG_VOTE:
        cr_assert_eq(a->vote.pre_vote, b->vote.pre_vote);
        cr_assert_eq(a->vote.leader_is_dead, b->vote.leader_is_dead);
        cr_assert_eq(a->vote.transfer, b->vote.transfer);
        pos_equal(a->vote.last, b->vote.last);
        break;
    case RAFT_MSG_VOTE_RESULT:
        cr_assert_eq(a->vote_result.pre_vote, b->vote_result.pre_vote);
        cr_assert_eq(a->vote_result.granted, b->vote_result.granted);
        break;
    case RAFT_MSG_APPEND:
        append_equal(&a->append, &b->append);
        break;
    case RAFT_MSG_APPEND_RESULT:
        append_result_equal(&a->append_result, &b->append_result);
        break;
    case RAFT_MSG_HEARTBEAT:
        cr_assert_eq(a->heartbeat.commit, b->heartbeat.commit);
        cr_assert_eq(a->heartbeat.round, b->heartbeat.round);
        cr_assert_eq(a->heartbeat.keep_index, b->heartbeat.keep_index);
        state_equal(a->heartbeat.state, b->heartbeat.state);
        cr_assert_eq(a->heartbeat.last_index, b->heartbeat.last_index);
        cr_assert_eq(a->heartbeat.repair_id, b->heartbeat.repair_id);
        break;
    case RAFT_MSG_HEARTBEAT_RESULT:
        cr_assert_eq(a->heartbeat_result.round, b->heartbeat_result.round);
        state_equal(a->heartbeat_result.state, b->heartbeat_result.state);
        cr_assert_eq(a->heartbeat_result.room_bytes, b->heartbeat_result.room_bytes);
        cr_assert_eq(a->heartbeat_result.repair_id, b->heartbeat_result.repair_id);
        break;
    case RAFT_MSG_READ_INDEX:
        cr_assert_eq(a->read_index.context, b->read_index.context);
        break;
    case RAFT_MSG_READ_INDEX_RESULT:
        cr_assert_eq(a->read_index_result.context, b->read_index_result.context);
        cr_assert_eq(a->read_index_result.index, b->read_index_result.index);
        cr_assert_eq(a->read_index_result.refused, b->read_index_result.refused);
        break;
    case RAFT_MSG_TIMEOUT_NOW:
        break;
    }
}

static void round_trip(const struct raft_msg *msg)
{
    struct peer_out *out = peer_encode_raft(msg, FRAME_MAX);
    struct received r = receive(out);
    cr_assert_eq(r.message->message_case, HOLDFASTPB__PEER_MESSAGE__MESSAGE_RAFT);
    struct raft_msg back;
    cr_assert(peer_decode_raft(r.message->raft, r.block, r.attachment, &r.arena, &back));
    msg_equal(msg, &back);
    cr_assert_eq(out->is_append, msg->type == RAFT_MSG_APPEND);
    received_done(&r);
    free(out);
}

Test(peer_codec, every_kind_of_raft_message_comes_back)
{
    unsigned seen = 0;
    for (size_t i = 0; i < KINDS; i++) {
        round_trip(&kinds[i]);
        seen |= 1u << kinds[i].type;
    }
    cr_assert_eq(seen, 0x3fe, "a kind has no row");
}

Test(peer_codec, all_zero_messages_come_back)
{
    for (size_t i = 0; i < KINDS; i++)
        round_trip(&(struct raft_msg){ .type = kinds[i].type });
}

static struct raft_msg append_of(const struct peer_entries *entries, struct raft_pos prev)
{
    return (struct raft_msg){ .type = RAFT_MSG_APPEND,
                              .term = 4,
                              .append = { .prev = prev,
                                          .commit = 9,
                                          .entries = entries->entries,
                                          .entry_count = entries->count } };
}

Test(peer_codec, entries_come_back_as_views_into_the_frame)
{
    struct peer_entries entries = peer_entries_new((struct raft_pos){ 3, 11 }, 20, 100);
    struct raft_msg msg = append_of(&entries, (struct raft_pos){ 2, 10 });
    round_trip(&msg);
    struct peer_out *out = peer_encode_raft(&msg, FRAME_MAX);
    struct received r = receive(out);
    struct raft_msg back;
    cr_assert(peer_decode_raft(r.message->raft, r.block, r.attachment, &r.arena, &back));
    cr_assert_eq(back.append.entries[19].block, r.block);
    cr_assert_eq(back.append.entries[0].bytes.data, r.attachment.data, "copied");
    received_done(&r);
    free(out);
    block_unref(entries.block);
}

/* As a leader sends them that has them from before. */
Test(peer_codec, entries_of_an_older_format_come_back)
{
    struct peer_entries entries = peer_entries_new((struct raft_pos){ 3, 11 }, 3, 100);
    for (uint32_t i = 0; i < 2; i++)
        entries.entries[i] = old_entry_of(&entries.entries[i]);
    struct raft_msg msg = append_of(&entries, (struct raft_pos){ 2, 10 });
    round_trip(&msg);
    for (uint32_t i = 0; i < 2; i++)
        block_unref(entries.entries[i].block);
    block_unref(entries.block);
}

/* An append of a command and a configuration, whose payload is given. */
static struct peer_out *append_with_config(struct block *block, struct slice payload)
{
    struct entry_header header = { .type = RAFT_ENTRY_COMMAND, .pos = { 3, 11 } };
    uint8_t *at = block->data;
    struct raft_entry entries[2];
    for (uint32_t i = 0; i < 2; i++) {
        if (header.payload_bytes > 0)
            memcpy(at + entry_payload_offset(&header), payload.data, payload.size);
        entry_seal(at, &header);
        size_t size = entry_size_bytes(&header);
        entries[i] = (struct raft_entry){ header.pos, header.type, slice_of(at, size), block };
        at += size;
        header.type = RAFT_ENTRY_CONFIG;
        header.pos.index++;
        header.payload_bytes = (uint32_t)payload.size;
    }
    struct raft_msg msg = { .type = RAFT_MSG_APPEND,
                            .term = 4,
                            .append = { .prev = { 2, 10 }, .entries = entries, .entry_count = 2 } };
    return peer_encode_raft(&msg, FRAME_MAX);
}

/* The core decodes nothing: what a configuration entry says comes with it. */
Test(peer_codec, configurations_come_decoded)
{
    static const uint8_t payload[] = { 0x12, 4, 8, 1, 48, 1, 0x12, 4, 8, 7, 48, 4 };
    struct block *block = block_new(1 << 12);
    struct peer_out *out = append_with_config(block, slice_of(payload, sizeof payload));
    struct received r = receive(out);
    struct raft_msg back;
    cr_assert(peer_decode_raft(r.message->raft, r.block, r.attachment, &r.arena, &back));
    cr_assert_eq(back.append.config_count, 1);
    const struct raft_config_at *at = &back.append.configs[0];
    cr_assert(at->index == 12 && at->config.member_count == 2);
    cr_assert(at->config.members[1].id == 7 && at->config.members[1].roles == RAFT_LEARNER);
    received_done(&r);
    free(out);
    out = append_with_config(block, slice_of(payload, 6)); /* without the learner */
    r = receive(out);
    cr_assert(peer_decode_raft(r.message->raft, r.block, r.attachment, &r.arena, &back));
    received_done(&r);
    free(out);
    out = append_with_config(block, slice_of(payload + 6, 6)); /* without the voter */
    r = receive(out);
    cr_assert_not(peer_decode_raft(r.message->raft, r.block, r.attachment, &r.arena, &back));
    received_done(&r);
    free(out);
    block_unref(block);
}

Test(peer_codec, a_frame_over_the_cap_is_not_made)
{
    struct peer_entries entries = peer_entries_new((struct raft_pos){ 3, 11 }, 4, 1000);
    struct raft_msg msg = append_of(&entries, (struct raft_pos){ 2, 10 });
    struct peer_out *out = peer_encode_raft(&msg, FRAME_MAX);
    cr_assert_null(peer_encode_raft(&msg, (uint32_t)out->size - 1));
    struct peer_out *exact = peer_encode_raft(&msg, (uint32_t)out->size);
    cr_assert_not_null(exact);
    cr_assert_null(peer_encode_raft(&msg, 0));
    free(exact);
    free(out);
    block_unref(entries.block);
}

/* Appends that contradict themselves: what is changed in a good one, { term 3, index 11 .. 13 }
 * after { 2, 10 } in term 4. */
static const struct {
    const char *rule;
    struct raft_pos prev;
    uint64_t term;
    uint32_t count;
    size_t attachment_less;
    bool accepted;
} bad_appends[] = {
    { "as it is", { 2, 10 }, 4, 3, 0, true },
    { "an equal term before", { 3, 10 }, 4, 3, 0, true },
    { "a gap after prev", { 2, 9 }, 4, 3, 0, false },
    { "entries at or before prev", { 2, 11 }, 4, 3, 0, false },
    { "a last index before", { 2, UINT64_MAX }, 4, 3, 0, false },
    { "terms that go back", { 4, 10 }, 4, 3, 0, false },
    { "entries of a later term than the sender's", { 2, 10 }, 2, 3, 0, false },
    { "fewer entries than bytes", { 2, 10 }, 4, 2, 0, false },
    { "more entries than bytes", { 2, 10 }, 4, 4, 0, false },
    { "a count that no frame holds", { 2, 10 }, 4, UINT32_MAX, 0, false },
    { "none, but an attachment", { 2, 10 }, 4, 0, 0, false },
    { "a truncated last entry", { 2, 10 }, 4, 3, 1, false },
};

Test(peer_codec, appends_that_contradict_themselves_are_refused)
{
    struct peer_entries entries = peer_entries_new((struct raft_pos){ 3, 11 }, 3, 50);
    size_t bytes = entries.entries[0].bytes.size * 3;
    for (size_t i = 0; i < sizeof bad_appends / sizeof bad_appends[0]; i++) {
        Holdfastpb__Position prev = HOLDFASTPB__POSITION__INIT;
        prev.term = bad_appends[i].prev.term;
        prev.index = bad_appends[i].prev.index;
        Holdfastpb__Append append = HOLDFASTPB__APPEND__INIT;
        append.prev = &prev;
        append.entry_count = bad_appends[i].count;
        Holdfastpb__RaftMessage pb = HOLDFASTPB__RAFT_MESSAGE__INIT;
        pb.term = bad_appends[i].term;
        pb.body_case = HOLDFASTPB__RAFT_MESSAGE__BODY_APPEND;
        pb.append = &append;
        struct arena a;
        arena_init(&a, ARENA_MAX);
        struct raft_msg msg;
        struct slice attachment =
            slice_of(entries.block->data, bytes - bad_appends[i].attachment_less);
        cr_assert_eq(peer_decode_raft(&pb, entries.block, attachment, &a, &msg),
                     bad_appends[i].accepted, "%s", bad_appends[i].rule);
        arena_done(&a);
    }
    block_unref(entries.block);
}

Test(peer_codec, an_attachment_fits_no_other_kind)
{
    struct arena a;
    arena_init(&a, ARENA_MAX);
    Holdfastpb__Vote vote = HOLDFASTPB__VOTE__INIT;
    Holdfastpb__RaftMessage pb = HOLDFASTPB__RAFT_MESSAGE__INIT;
    pb.body_case = HOLDFASTPB__RAFT_MESSAGE__BODY_VOTE;
    pb.vote = &vote;
    struct raft_msg msg;
    cr_assert(peer_decode_raft(&pb, NULL, (struct slice){ 0 }, &a, &msg));
    cr_assert_not(peer_decode_raft(&pb, NULL, slice_of_text("x"), &a, &msg));
    pb.body_case = HOLDFASTPB__RAFT_MESSAGE__BODY__NOT_SET;
    cr_assert_not(peer_decode_raft(&pb, NULL, (struct slice){ 0 }, &a, &msg), "no body");
    arena_done(&a);
}

static struct peer_hello hello_sample(void)
{
    struct peer_hello hello = {
        .cluster_id = 1,
        .member_id = 2,
        .to_member_id = 3,
        .initial_cluster_hash = slice_of_text("hashhash"),
        .feature_level_max = 4,
        .server_version = slice_of_text("0.1.0"),
        .peer_url_count = 2,
        .peer_urls = { "http://a:1", "http://b:1" },
    };
    memset(hello.incarnation, 5, sizeof hello.incarnation);
    memset(hello.process, 6, sizeof hello.process);
    return hello;
}

Test(peer_codec, hello_comes_back)
{
    struct peer_hello hello = hello_sample();
    struct peer_out *out = peer_encode_hello(&hello, "no", PEER_UNWELCOME_DISK);
    struct received r = receive(out);
    cr_assert_eq(r.message->message_case, HOLDFASTPB__PEER_MESSAGE__MESSAGE_HELLO);
    struct peer_hello back;
    cr_assert(peer_decode_hello(r.message->hello, &back));
    cr_assert_eq(back.cluster_id, 1);
    cr_assert_eq(back.member_id, 2);
    cr_assert_eq(back.to_member_id, 3);
    cr_assert_eq(back.feature_level_max, 4);
    cr_assert(slice_equal(back.initial_cluster_hash, hello.initial_cluster_hash));
    cr_assert(slice_equal(back.server_version, hello.server_version));
    cr_assert_arr_eq(back.incarnation, hello.incarnation, PEER_INCARNATION_BYTES);
    cr_assert_arr_eq(back.process, hello.process, PEER_INCARNATION_BYTES);
    cr_assert_str_eq(r.message->hello->refusal, "no");
    cr_assert(r.message->hello->refusal_is_final);
    cr_assert_not(r.message->hello->refusal_is_removal);
    cr_assert_eq(back.peer_url_count, 2);
    cr_assert_str_eq(back.peer_urls[1], "http://b:1");
    char *good_url = r.message->hello->peer_urls[0];
    char long_url[PEER_URL_BYTES_MAX + 2];
    memset(long_url, 'u', sizeof long_url - 1);
    long_url[sizeof long_url - 1] = '\0';
    r.message->hello->peer_urls[0] = long_url;
    cr_assert_not(peer_decode_hello(r.message->hello, &back), "a long URL");
    r.message->hello->peer_urls[0] = good_url;
    r.message->hello->n_peer_urls = PEER_URLS_MAX + 1;
    cr_assert_not(peer_decode_hello(r.message->hello, &back), "many URLs");
    r.message->hello->n_peer_urls = 2;
    r.message->hello->incarnation.len--;
    cr_assert_not(peer_decode_hello(r.message->hello, &back), "a short incarnation");
    received_done(&r);
    free(out);
}

Test(peer_codec, a_long_refusal_is_cut)
{
    char long_text[PEER_REFUSAL_BYTES_MAX * 2];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    struct peer_hello hello = hello_sample();
    struct peer_out *out = peer_encode_hello(&hello, long_text, PEER_UNWELCOME_NOW);
    struct received r = receive(out);
    cr_assert_eq(strlen(r.message->hello->refusal), PEER_REFUSAL_BYTES_MAX);
    received_done(&r);
    free(out);
}

Test(peer_codec, forwards_come_back)
{
    struct peer_forward forward = { 1, 3, 2, slice_of_text("root"), slice_of_text("put a b") };
    struct peer_out *out = peer_encode_forward(&forward, FRAME_MAX);
    struct received r = receive(out);
    struct peer_forward back;
    cr_assert(peer_decode_forward(r.message->forward, r.attachment, &back));
    cr_assert_eq(back.request_id, 1);
    cr_assert_eq(back.term, 3);
    cr_assert_eq(back.auth_revision, 2);
    cr_assert(slice_equal(back.user, forward.user));
    cr_assert(slice_equal(back.command, forward.command));
    received_done(&r);
    free(out);
    cr_assert_null(peer_encode_forward(&forward, 40), "over the cap");
}

Test(peer_codec, refused_forwards_come_back)
{
    static const enum peer_refusal whys[] = { PEER_REFUSED_NOT_LEADER, PEER_REFUSED_BUSY };
    for (size_t i = 0; i < 2; i++) {
        struct peer_forward_refused refused = { 7, 3, whys[i] };
        struct peer_out *out = peer_encode_forward_refused(&refused);
        struct received r = receive(out);
        struct peer_forward_refused back;
        cr_assert(peer_decode_forward_refused(r.message->forward_refused, &back));
        cr_assert_eq(back.request_id, 7);
        cr_assert_eq(back.term, 3);
        cr_assert_eq(back.why, whys[i]);
        r.message->forward_refused->reason = 77;
        cr_assert_not(peer_decode_forward_refused(r.message->forward_refused, &back));
        received_done(&r);
        free(out);
    }
}

static struct peer_snapshot_chunk chunk_sample(void)
{
    return (struct peer_snapshot_chunk){
        .snapshot_id = 0xfffffffffffffff1u,
        .term = 9,
        .seq = 4,
        .pos = { 8, 1000 },
        .last = true,
        .bytes = slice_of_text("rows"),
    };
}

Test(peer_codec, golden_snapshot_chunk)
{
    static const uint8_t golden[] = { 0x32, 22,   0x09, 0xf1, 0xff, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0x10, 9,    0x18, 4,    0x22,
                                      5,    0x08, 8,    0x10, 0xe8, 0x07, 0x28, 1 };
    struct peer_snapshot_chunk chunk = chunk_sample();
    struct peer_out *out = peer_encode_snapshot_chunk(&chunk, FRAME_MAX);
    cr_assert(out->is_bulk);
    struct peer_frame frame;
    cr_assert_eq(peer_frame_decode(out->bytes, FRAME_MAX, &frame), PEER_FRAME_OK);
    cr_assert_eq(frame.head_bytes, sizeof golden);
    cr_assert_arr_eq(out->bytes + PEER_FRAME_HEADER_BYTES, golden, sizeof golden);
    free(out);
}

Test(peer_codec, snapshot_chunks_come_back)
{
    struct peer_snapshot_chunk chunk = chunk_sample();
    struct peer_out *out = peer_encode_snapshot_chunk(&chunk, FRAME_MAX);
    struct received r = receive(out);
    Holdfastpb__SnapshotChunk *pb = r.message->snapshot_chunk;
    struct peer_snapshot_chunk back;
    cr_assert(peer_decode_snapshot_chunk(pb, NULL, r.attachment, &back));
    cr_assert_eq(back.snapshot_id, chunk.snapshot_id);
    cr_assert_eq(back.term, 9);
    cr_assert_eq(back.seq, 4);
    cr_assert_eq(back.pos.term, 8);
    cr_assert_eq(back.pos.index, 1000);
    cr_assert(back.last);
    cr_assert(slice_equal(back.bytes, chunk.bytes));
    pb->pos->term = 10;
    cr_assert_not(peer_decode_snapshot_chunk(pb, NULL, r.attachment, &back), "from the future");
    pb->pos->index = UINT64_MAX;
    pb->pos->term = 8;
    cr_assert_not(peer_decode_snapshot_chunk(pb, NULL, r.attachment, &back), "out of bounds");
    pb->pos->term = 0;
    cr_assert_not(peer_decode_snapshot_chunk(pb, NULL, r.attachment, &back), "of no term");
    pb->pos = NULL;
    cr_assert_not(peer_decode_snapshot_chunk(pb, NULL, r.attachment, &back), "without position");
    received_done(&r);
    free(out);
    cr_assert_null(peer_encode_snapshot_chunk(&chunk, 40), "over the cap");
}

Test(peer_codec, snapshot_acks_come_back)
{
    for (int status = PEER_SNAPSHOT_OK; status <= PEER_SNAPSHOT_INSTALLED; status++) {
        struct peer_snapshot_ack ack = { 7, 5, (enum peer_snapshot_status)status };
        struct peer_out *out = peer_encode_snapshot_ack(&ack);
        struct received r = receive(out);
        struct peer_snapshot_ack back;
        cr_assert(peer_decode_snapshot_ack(r.message->snapshot_ack, &back));
        cr_assert_eq(back.snapshot_id, 7);
        cr_assert_eq(back.next_seq, 5);
        cr_assert_eq(back.status, ack.status);
        r.message->snapshot_ack->status = 0;
        cr_assert_not(peer_decode_snapshot_ack(r.message->snapshot_ack, &back));
        received_done(&r);
        free(out);
    }
}

Test(peer_codec, a_formation_is_checked_before_it_leaves)
{
    cr_assert_null(peer_encode_formation(slice_of_text("\xff\xff")));
    struct peer_out *out = peer_encode_formation(slice_of("\x08\x01", 2));
    struct received r = receive(out);
    cr_assert_eq(r.message->message_case, HOLDFASTPB__PEER_MESSAGE__MESSAGE_FORMATION);
    cr_assert(r.message->formation->formed);
    received_done(&r);
    free(out);
}

/* Everything a receiver does with bytes whose checksums are right, whatever they hold. */
static bool decode_all(struct slice head, struct slice attachment, struct arena *a)
{
    arena_reset(a);
    Holdfastpb__PeerMessage *m = peer_decode(head, a);
    if (!m)
        return false;
    struct raft_msg msg;
    struct peer_hello hello;
    struct peer_forward forward;
    struct peer_forward_refused refused;
    struct peer_snapshot_chunk chunk;
    struct peer_snapshot_ack ack;
    switch (m->message_case) {
    case HOLDFASTPB__PEER_MESSAGE__MESSAGE_RAFT:
        return peer_decode_raft(m->raft, NULL, attachment, a, &msg);
    case HOLDFASTPB__PEER_MESSAGE__MESSAGE_HELLO:
        return peer_decode_hello(m->hello, &hello);
    case HOLDFASTPB__PEER_MESSAGE__MESSAGE_FORWARD:
        return peer_decode_forward(m->forward, attachment, &forward);
    case HOLDFASTPB__PEER_MESSAGE__MESSAGE_FORWARD_REFUSED:
        return peer_decode_forward_refused(m->forward_refused, &refused);
    case HOLDFASTPB__PEER_MESSAGE__MESSAGE_SNAPSHOT_CHUNK:
        return peer_decode_snapshot_chunk(m->snapshot_chunk, NULL, attachment, &chunk);
    case HOLDFASTPB__PEER_MESSAGE__MESSAGE_SNAPSHOT_ACK:
        return peer_decode_snapshot_ack(m->snapshot_ack, &ack);
    case HOLDFASTPB__PEER_MESSAGE__MESSAGE_FORWARD_QUERY:
    case HOLDFASTPB__PEER_MESSAGE__MESSAGE_FORWARD_REACH:
        return true;
    case HOLDFASTPB__PEER_MESSAGE__MESSAGE_FORMATION:
    case HOLDFASTPB__PEER_MESSAGE__MESSAGE__NOT_SET:
    case _HOLDFASTPB__PEER_MESSAGE__MESSAGE__CASE_IS_INT_SIZE:
        break;
    }
    return false;
}

/* Each byte string stands at the end of an allocation of its own, so that a sanitizer sees one
 * byte too many. */
static bool decode_copy(const uint8_t *head, size_t head_bytes, const uint8_t *attachment,
                        size_t attachment_bytes, struct arena *a)
{
    uint8_t *head_copy = malloc(head_bytes + 1);
    uint8_t *attachment_copy = malloc(attachment_bytes + 1);
    memcpy(head_copy + 1, head, head_bytes);
    memcpy(attachment_copy + 1, attachment, attachment_bytes);
    bool good = decode_all(slice_of(head_copy + 1, head_bytes),
                           slice_of(attachment_copy + 1, attachment_bytes), a);
    free(head_copy);
    free(attachment_copy);
    return good;
}

static void torture(struct peer_out *out, struct prng *prng)
{
    struct arena a;
    arena_init(&a, ARENA_MAX);
    struct peer_frame frame;
    cr_assert_eq(peer_frame_decode(out->bytes, FRAME_MAX, &frame), PEER_FRAME_OK);
    uint8_t *head = out->bytes + PEER_FRAME_HEADER_BYTES;
    uint8_t *attachment = head + frame.head_bytes;
    cr_assert(decode_copy(head, frame.head_bytes, attachment, frame.attachment_bytes, &a));
    for (size_t size = 0; size < frame.head_bytes; size++)
        decode_copy(head, size, attachment, frame.attachment_bytes, &a);
    for (size_t size = 0; size < frame.attachment_bytes; size++)
        decode_copy(head, frame.head_bytes, attachment, size, &a);
    size_t body_bytes = frame.head_bytes + frame.attachment_bytes;
    for (int i = 0; i < FLIPS; i++) {
        size_t at = prng_below(prng, body_bytes);
        uint8_t flip = (uint8_t)(1 + prng_below(prng, 255));
        head[at] ^= flip;
        decode_copy(head, frame.head_bytes, attachment, frame.attachment_bytes, &a);
        head[at] ^= flip;
    }
    arena_done(&a);
    free(out);
}

Test(peer_codec, no_bytes_can_hurt_the_decoders)
{
    struct prng prng = prng_seeded(20);
    for (size_t i = 0; i < KINDS; i++)
        torture(peer_encode_raft(&kinds[i], FRAME_MAX), &prng);
    struct peer_entries entries = peer_entries_new((struct raft_pos){ 3, 11 }, 5, 30);
    struct raft_msg msg = append_of(&entries, (struct raft_pos){ 2, 10 });
    torture(peer_encode_raft(&msg, FRAME_MAX), &prng);
    struct peer_hello hello = hello_sample();
    torture(peer_encode_hello(&hello, "go away", PEER_UNWELCOME_NOW), &prng);
    struct peer_forward forward = { 1, 3, 2, slice_of_text("root"), slice_of_text("put a b") };
    torture(peer_encode_forward(&forward, FRAME_MAX), &prng);
    struct peer_snapshot_chunk chunk = chunk_sample();
    torture(peer_encode_snapshot_chunk(&chunk, FRAME_MAX), &prng);
    torture(peer_encode_snapshot_ack(&(struct peer_snapshot_ack){ 7, 3, PEER_SNAPSHOT_BUSY }),
            &prng);
    torture(peer_encode_forward_query(&(struct peer_forward_query){ 7, 3 }), &prng);
    torture(peer_encode_forward_reach(&(struct peer_forward_reach){ 7, 3, 9 }), &prng);
    torture(peer_encode_forward_refused(&(struct peer_forward_refused){ 7, 3, PEER_REFUSED_BUSY }),
            &prng);
    block_unref(entries.block);
}
