/* A connection's whole byte stream from another member: frames, messages, and the core, formation
 * and checks that they reach. Whatever comes, a bad frame ends its connection and is counted. */
#include <stdlib.h>

#include "base/assert.h"
#include "proto/entry.h"
#include "proto/pb_arena.h"
#include "rpc/peer.h"
#include "rpc/peer_codec.h"
#include "rpc/peer_frame.h"
#include "server/check.h"
#include "server/formation.h"
#include "storage/snapshot_format.h"
#include "tests/fuzz/core.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/reseal.h"
#include "tests/support/fake_net.h"
#include "tests/support/peer_entries.h"

enum { OWN = 1, CLUSTER = 7, FRAME_BYTES_MAX = 1 << 18, CHECK_BYTES = 1 << 20 };

/* The pieces of an input: a byte says which. */
enum piece {
    PIECE_RAW,       /* length (2), bytes as they are */
    PIECE_FRAME,     /* length of the head (2), of the attachment (2), both: sealed here */
    PIECE_EVENT,     /* kind, argument: something on this node */
    PIECE_RECONNECT, /* as member 2 or 3; 0: without a Hello of ours */
    PIECES,
};

static struct fake_net net;
static struct peer_net *peers;
static struct core core;
static struct formation formation;
static bool closed;

/* ---- the owner of the links ---- */

static const char *on_hello(void *owner, const struct peer_hello *hello,
                            enum peer_unwelcome *ret_why)
{
    (void)owner;
    if (hello->peer_url_count > 0)
        IGNORE(peer_net_add(peers, hello->member_id, hello->peer_urls, hello->peer_url_count) != 0,
               "either is an answer");
    bool is_final = false;
    struct formation_effects effects;
    const char *refusal = formation_on_hello(&formation, hello->member_id, hello->incarnation,
                                             hello->initial_cluster_hash, &is_final, &effects);
    *ret_why = is_final ? PEER_UNWELCOME_DISK : PEER_UNWELCOME_NOW;
    return refusal;
}

static void on_refused(void *owner, uint64_t member, struct slice text, enum peer_unwelcome why)
{
    (void)owner, (void)text;
    struct formation_effects effects;
    formation_on_refused(&formation, member, why == PEER_UNWELCOME_DISK, &effects);
}

static void on_link(void *owner, uint64_t member, bool up)
{
    (void)owner, (void)member, (void)up;
}

static void on_process_dead(void *owner, uint64_t member)
{
    (void)owner, (void)member;
}

static bool on_raft(void *owner, const struct raft_msg *msg)
{
    (void)owner;
    return core_message(&core, msg);
}

static bool on_formation(void *owner, uint64_t member, struct slice bytes)
{
    (void)owner;
    struct formation_effects effects;
    bool is_possible = formation_on_announce(&formation, member, bytes, &effects);
    if (effects.save)
        formation_on_saved(&formation, &effects);
    return is_possible;
}

static void on_forward(void *owner, uint64_t member, const struct peer_forward *forward)
{
    (void)owner, (void)member;
    struct arena arena;
    arena_init(&arena, CHECK_BYTES);
    Holdfastpb__Command *command = (Holdfastpb__Command *)pb_arena_unpack_within(
        &arena, &holdfastpb__command__descriptor, forward->command, PB_LOG_DEPTH_MAX);
    if (command)
        IGNORE(check_command(command, &arena) != ETCD_OK, "either is an answer");
    arena_done(&arena);
}

static void on_forward_refused(void *owner, uint64_t member,
                               const struct peer_forward_refused *refused)
{
    (void)owner, (void)member;
    ASSERT(refused->why == PEER_REFUSED_NOT_LEADER || refused->why == PEER_REFUSED_BUSY);
}

static void on_complaint(void *owner, uint64_t member, const char *why)
{
    (void)owner, (void)member;
    ASSERT(why[0] != '\0');
}

static void on_forward_query(void *owner, uint64_t member, const struct peer_forward_query *query)
{
    (void)owner, (void)member, (void)query;
}

static void on_forward_reach(void *owner, uint64_t member, const struct peer_forward_reach *reach)
{
    (void)owner, (void)member, (void)reach;
}

static void on_snapshot_chunk(void *owner, uint64_t member, const struct peer_snapshot_chunk *chunk)
{
    (void)owner, (void)member;
    struct snapshot_chunk_header header;
    struct slice meta;
    struct slice rows;
    ASSERT(chunk->pos.index > 0 && chunk->pos.term > 0 && chunk->term >= chunk->pos.term);
    if (snapshot_chunk_decode(chunk->bytes, &header, &meta, &rows) != SNAPSHOT_OK)
        return;
    ASSERT(chunk->block && meta.size + rows.size < chunk->bytes.size);
    IGNORE(!snapshot_chain_holds(&header, meta, rows, snapshot_chain_start(header.id)), "any");
}

static void on_snapshot_ack(void *owner, uint64_t member, const struct peer_snapshot_ack *ack)
{
    (void)owner, (void)member;
    ASSERT(ack->status >= PEER_SNAPSHOT_OK && ack->status <= PEER_SNAPSHOT_INSTALLED);
}

/* ---- life ---- */

static struct peer_hello hello_of(uint64_t from, uint64_t to)
{
    struct peer_hello hello = { .cluster_id = CLUSTER,
                                .member_id = from,
                                .to_member_id = to,
                                .feature_level_max = 1,
                                .initial_cluster_hash = formation_hello_hash(&formation),
                                .server_version = slice_of_text("3.7.1"),
                                .peer_url_count = from == 3,
                                .peer_urls = { "http://127.0.0.1:3" } };
    memset(hello.incarnation, (int)(0x20 + from), sizeof hello.incarnation);
    memset(hello.process, (int)(0x30 + from), sizeof hello.process);
    return hello;
}

static void membership_make(struct membership *m)
{
    membership_init(m);
    for (uint64_t id = 1; id <= 3; id++) {
        struct membership_member member = {
            .id = id, .name = "m", .peer = { 1, { "http://127.0.0.1:1" } }, .roles = RAFT_VOTER
        };
        ASSERT(membership_put(m, &member) == MEMBERSHIP_OK);
    }
}

static void formation_make(void)
{
    static const uint8_t incarnation[MEMBERSHIP_INCARNATION_BYTES] = { 0x21 };
    struct membership initial;
    membership_make(&initial);
    struct formation_options options = { .own_id = OWN,
                                         .incarnation = incarnation,
                                         .initial = &initial };
    struct formation_effects effects;
    ASSERT(formation_open(&formation, &options, &effects) == FORMATION_OK);
    membership_done(&initial);
}

static void node_make(uint8_t start)
{
    fake_net_init(&net);
    core_open(&core, start);
    formation_make();
    struct peer_options options = {
        .io = &net.io,
        .self = hello_of(OWN, 0),
        .handlers = { NULL, on_hello, on_refused, on_link, on_process_dead, on_raft, on_formation,
                      on_forward, on_forward_refused, on_complaint, on_forward_query,
                      on_forward_reach, on_snapshot_chunk, on_snapshot_ack },
        .members_max = 4,
        .out_bytes_max = 1 << 20,
        .frame_bytes_max = FRAME_BYTES_MAX,
        .backoff_min_ms = 10,
        .backoff_max_ms = 100,
        .handshake_timeout_ms = 1000,
    };
    ASSERT(peer_net_open(&peers, &options) == PEER_OK);
    const char *url = "http://127.0.0.1:1";
    ASSERT(peer_net_add(peers, 2, &url, 1) == PEER_OK);
    ASSERT(peer_net_add(peers, 3, &url, 1) == PEER_OK);
    struct io_addr any = { 0 };
    struct io_addr bound;
    ASSERT(peer_net_listen(peers, &any, &bound) == 0);
}

static void on_closed(void *owner)
{
    *(bool *)owner = true;
}

static void turn(void)
{
    peer_net_flush(peers);
    fake_net_turn(&net);
}

static void node_end(void)
{
    closed = false;
    peer_net_close(peers, on_closed, &closed);
    for (int i = 0; i < 8 && !closed; i++)
        fake_net_turn(&net);
    ASSERT(closed);
    core_close(&core);
    fake_net_done(&net);
}

/* ---- the stream ---- */

static void feed(int fd, struct slice bytes)
{
    if (fd < 0 || bytes.size == 0)
        return;
    uint64_t bad = peer_net_counters(peers)->frames_bad;
    IGNORE(!fake_net_bytes(&net, fd, bytes), "it may be closed");
    if (peer_net_counters(peers)->frames_bad > bad)
        ASSERT(!net.streams[fd].open || net.streams[fd].shut);
    turn();
}

static void feed_frame(int fd, struct slice head, struct slice attachment)
{
    size_t size = PEER_FRAME_HEADER_BYTES + head.size + attachment.size;
    uint8_t *frame = malloc(size);
    ASSERT(frame);
    uint8_t *to = frame + PEER_FRAME_HEADER_BYTES;
    if (head.size > 0)
        memcpy(to, head.data, head.size);
    if (attachment.size > 0)
        memcpy(to + head.size, attachment.data, attachment.size);
    reseal_entries(to + head.size, attachment.size);
    reseal_chunk(to + head.size, attachment.size);
    peer_frame_seal(frame, (uint32_t)head.size, (uint32_t)attachment.size);
    feed(fd, slice_of(frame, size));
    free(frame);
}

static int reconnect(int fd, uint8_t member)
{
    if (fd >= 0)
        fake_net_end(&net, fd);
    turn();
    fd = fake_net_connect(&net);
    if (fd < 0 || member == 0)
        return fd;
    struct peer_hello hello = hello_of(2 + member % 2, OWN);
    struct peer_out *out = peer_encode_hello(&hello, NULL, PEER_UNWELCOME_NOW);
    ASSERT(out);
    feed(fd, slice_of(out->bytes, out->size));
    free(out);
    return fd;
}

static bool is_gone(int fd)
{
    return fd < 0 || !net.streams[fd].open || net.streams[fd].shut;
}

static void run(struct slice input)
{
    struct fuzz_reader r = { input };
    node_make(fuzz_u8(&r));
    int fd = reconnect(-1, 2);
    while (r.left.size > 0) {
        uint8_t piece = fuzz_u8(&r) % PIECES;
        if (piece == PIECE_RECONNECT) {
            fd = reconnect(fd, fuzz_u8(&r));
            continue;
        }
        if (piece == PIECE_EVENT) {
            uint8_t kind = fuzz_u8(&r);
            core_event(&core, kind, fuzz_u8(&r));
            continue;
        }
        if (is_gone(fd))
            fd = reconnect(fd, 2);
        size_t size = fuzz_u16(&r);
        size_t attachment_size = piece == PIECE_FRAME ? fuzz_u16(&r) : 0;
        struct slice bytes = fuzz_take(&r, size);
        if (piece == PIECE_FRAME)
            feed_frame(fd, bytes, fuzz_take(&r, attachment_size));
        else
            feed(fd, bytes);
    }
    node_end();
}

/* ---- seeds: one of each message ---- */

static struct fuzz_writer writer;

/* A sealed frame of the encoders', taken apart. */
static void put_frame(struct peer_out *out)
{
    struct peer_frame frame;
    ASSERT(out && peer_frame_decode(out->bytes, FRAME_BYTES_MAX, &frame) == PEER_FRAME_OK);
    fuzz_put_u8(&writer, PIECE_FRAME);
    fuzz_put_u16(&writer, frame.head_bytes);
    fuzz_put_u16(&writer, frame.attachment_bytes);
    fuzz_put(&writer, slice_of(out->bytes + PEER_FRAME_HEADER_BYTES,
                               (size_t)frame.head_bytes + frame.attachment_bytes));
    free(out);
}

static void put_event(uint8_t kind, uint8_t argument)
{
    fuzz_put_u8(&writer, PIECE_EVENT);
    fuzz_put_u8(&writer, kind);
    fuzz_put_u8(&writer, argument);
}

static void put_raft(const struct raft_msg *msg)
{
    put_frame(peer_encode_raft(msg, FRAME_BYTES_MAX));
    put_event(1, 0);
    put_event(2, 0);
}

static void seed_end(fuzz_seed_fn *add, void *owner, const char *name)
{
    add(owner, name, slice_of(writer.bytes, writer.size));
    writer.size = 0;
}

/* A membership of the voters 1, 2 and 3 in an entry. */
static struct raft_entry config_entry(struct raft_pos pos)
{
    struct membership membership;
    struct arena arena;
    struct slice bytes;
    arena_init(&arena, CHECK_BYTES);
    membership_make(&membership);
    ASSERT(membership_encode(&membership, &arena, &bytes));
    membership_done(&membership);
    struct entry_header header = { .type = RAFT_ENTRY_CONFIG,
                                   .pos = pos,
                                   .payload_bytes = (uint32_t)bytes.size };
    struct block *block = block_new(entry_size_bytes(&header));
    ASSERT(block);
    memcpy(block->data + entry_payload_offset(&header), bytes.data, bytes.size);
    entry_seal(block->data, &header);
    arena_done(&arena);
    return (struct raft_entry){ pos, RAFT_ENTRY_CONFIG,
                                slice_of(block->data, block->capacity_bytes), block };
}

/* Each type of message as a follower of term 3, and as a leader, gets it. */
static void seeds_raft(fuzz_seed_fn *add, void *owner)
{
    struct peer_entries entries = peer_entries_new((struct raft_pos){ 3, 5 }, 3, 20);
    const struct raft_msg messages[] = {
        { .type = RAFT_MSG_VOTE, .term = 3, .vote = { .pre_vote = true, .last = { 2, 4 } } },
        { .type = RAFT_MSG_VOTE, .term = 3, .vote = { .last = { 2, 4 } } },
        { .type = RAFT_MSG_APPEND, .term = 3, .append = { { 2, 4 }, 4, entries.entries, 3 } },
        { .type = RAFT_MSG_HEARTBEAT, .term = 3, .heartbeat = { 5, 1, 1, { 4, 44 } } },
        { .type = RAFT_MSG_READ_INDEX, .term = 3, .read_index = { 9 } },
        { .type = RAFT_MSG_READ_INDEX_RESULT, .term = 3, .read_index_result = { 9, 5, false } },
        { .type = RAFT_MSG_VOTE_RESULT, .term = 3, .vote_result = { true, true } },
        { .type = RAFT_MSG_VOTE_RESULT, .term = 3, .vote_result = { false, true } },
        { .type = RAFT_MSG_APPEND_RESULT, .term = 3, .append_result = { .match = 5 } },
        { .type = RAFT_MSG_APPEND_RESULT,
          .term = 3,
          .append_result = { .rejected = true, .rejected_prev = 4, .hint = { 1, 3 } } },
        { .type = RAFT_MSG_HEARTBEAT_RESULT, .term = 3, .heartbeat_result = { 1, { 4, 44 }, 99 } },
        { .type = RAFT_MSG_TIMEOUT_NOW, .term = 3 },
    };
    for (int leads = 0; leads < 2; leads++) {
        fuzz_put_u8(&writer, CORE_START_VOTERS);
        if (leads) {
            put_event(0, 0);
            put_event(0, 100);
            put_raft(&messages[6]);
            put_raft(&messages[7]);
        }
        for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++)
            put_raft(&messages[i]);
        seed_end(add, owner, leads ? "leader" : "follower");
    }
    block_unref(entries.block);
}

/* A configuration from a leader of term 3; then the one before it leads again. */
static void seed_configs(fuzz_seed_fn *add, void *owner)
{
    struct raft_entry entry = config_entry((struct raft_pos){ 3, 5 });
    const struct raft_msg messages[] = {
        { .type = RAFT_MSG_APPEND, .term = 3, .append = { { 2, 4 }, 5, &entry, 1, NULL, 0 } },
        { .type = RAFT_MSG_VOTE, .term = 4, .vote = { .transfer = true, .last = { 3, 5 } } },
        { .type = RAFT_MSG_APPEND, .term = 4, .append = { { 2, 4 }, 4, NULL, 0, NULL, 0 } },
    };
    fuzz_put_u8(&writer, CORE_START_LEARNERS);
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++)
        put_raft(&messages[i]);
    seed_end(add, owner, "configs");
    block_unref(entry.block);
}

/* One that awaits repair hears its leader's end of the log; and what a leader hears of one. */
static void seed_repair(fuzz_seed_fn *add, void *owner)
{
    const struct raft_msg messages[] = {
        { .type = RAFT_MSG_HEARTBEAT,
          .term = 3,
          .heartbeat = { .commit = 4, .round = 1, .last_index = 4, .repair_id = 9 } },
        { .type = RAFT_MSG_APPEND, .term = 3, .append = { { 2, 4 }, 4, NULL, 0, NULL, 0 } },
        { .type = RAFT_MSG_HEARTBEAT_RESULT,
          .term = 3,
          .heartbeat_result = { .round = 1, .room_bytes = 9, .repair_id = 9 } },
        { .type = RAFT_MSG_APPEND_RESULT,
          .term = 3,
          .append_result = { .match = 5, .repair_id = 9 } },
    };
    fuzz_put_u8(&writer, CORE_START_VOTERS | CORE_START_REPAIR);
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++)
        put_raft(&messages[i]);
    seed_end(add, owner, "repair");
}

static void seed_snapshot(fuzz_seed_fn *add, void *owner)
{
    uint8_t bytes[SNAPSHOT_HEADER_BYTES + 2] = { 0 };
    struct snapshot_chunk_header header = { .id = 5,
                                            .flags = SNAPSHOT_FIRST | SNAPSHOT_LAST,
                                            .meta_bytes = 2 };
    snapshot_chunk_seal(bytes, &header, snapshot_chain_start(5));
    struct peer_snapshot_chunk chunk = { .snapshot_id = 5,
                                         .term = 3,
                                         .pos = { 2, 9 },
                                         .last = true,
                                         .bytes = slice_of(bytes, sizeof bytes) };
    struct peer_snapshot_ack ack = { 5, 1, PEER_SNAPSHOT_INSTALLED };
    fuzz_put_u8(&writer, CORE_START_JOINT | CORE_START_CUT);
    put_frame(peer_encode_snapshot_chunk(&chunk, FRAME_BYTES_MAX));
    put_event(CORE_SNAPSHOT_INSTALLED, 7);
    put_frame(peer_encode_snapshot_ack(&ack));
    seed_end(add, owner, "snapshot");
}

static void seeds(fuzz_seed_fn *add, void *owner)
{
    static const uint8_t formation_bytes[] = { 0x08, 0x01 };
    static const uint8_t command[] = { 0x0a, 0x06, 0x0a, 0x01, 'k', 0x12, 0x01, 'v' };
    formation_make();
    seeds_raft(add, owner);
    seed_configs(add, owner);
    seed_repair(add, owner);
    seed_snapshot(add, owner);
    fuzz_put_u8(&writer, CORE_START_VOTERS);
    put_frame(peer_encode_ping());
    put_frame(peer_encode_formation(slice_of(formation_bytes, sizeof formation_bytes)));
    struct peer_forward forward = { .request_id = 5,
                                    .term = 2,
                                    .user = slice_of_text("u"),
                                    .command = slice_of(command, sizeof command) };
    put_frame(peer_encode_forward(&forward, FRAME_BYTES_MAX));
    struct peer_forward_refused refused = { 5, 2, PEER_REFUSED_BUSY };
    put_frame(peer_encode_forward_refused(&refused));
    seed_end(add, owner, "others");
    struct peer_hello hello = hello_of(3, OWN);
    fuzz_put_u8(&writer, CORE_START_VOTERS);
    fuzz_put_u8(&writer, PIECE_RECONNECT);
    fuzz_put_u8(&writer, 0);
    put_frame(peer_encode_hello(&hello, NULL, PEER_UNWELCOME_NOW));
    put_frame(peer_encode_hello(&hello, "go away", PEER_UNWELCOME_REMOVED));
    seed_end(add, owner, "hellos");
    struct peer_out *out = peer_encode_ping();
    fuzz_put_u8(&writer, CORE_START_VOTERS);
    fuzz_put_u8(&writer, PIECE_RAW);
    fuzz_put_u16(&writer, out->size);
    fuzz_put(&writer, slice_of(out->bytes, out->size));
    free(out);
    seed_end(add, owner, "raw");
}

const struct fuzz_target fuzz_peer = { "peer", 8000, run, seeds };
