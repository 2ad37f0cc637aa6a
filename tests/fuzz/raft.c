/* The core alone, with well-typed messages whose fields lie around what it holds: impossible ones
 * are refused, and whatever is accepted leaves the invariants whole. */
#include "base/assert.h"
#include "raft/raft_internal.h"
#include "tests/fuzz/core.h"
#include "tests/fuzz/fuzz.h"

enum { STEPS_MAX = 400, TERMS_BYTES_MAX = 8 };

/* A number near those that matter, or far from all. */
static uint64_t near(struct fuzz_reader *r, const struct core *c, uint64_t around)
{
    uint8_t pick = fuzz_u8(r);
    uint64_t offset = (pick >> 3) & 3;
    switch (pick & 7) {
    case 0:
        return around + offset;
    case 1:
        return around > offset ? around - offset : 0;
    case 2:
        return raft_last_pos(c->rig.raft).index + offset;
    case 3:
        return raft_commit_index(c->rig.raft) + offset;
    case 4:
        return offset;
    case 5:
        return pick >> 3;
    case 6:
        return RAFT_INDEX_MAX - 1 + offset;
    default:
        return UINT64_MAX - offset;
    }
}

static uint64_t term_near(struct fuzz_reader *r, const struct core *c)
{
    return near(r, c, raft_status(c->rig.raft).term);
}

static uint64_t index_near(struct fuzz_reader *r, const struct core *c)
{
    return near(r, c, raft_last_pos(c->rig.raft).index);
}

static struct raft_pos pos_near(struct fuzz_reader *r, const struct core *c)
{
    uint64_t index = index_near(r, c);
    uint64_t term = raft_term_at(c->rig.raft, index);
    return (struct raft_pos){ .term = fuzz_u8(r) % 4 ? term : term_near(r, c), .index = index };
}

/* What an append points into. */
struct contents {
    struct raft_entry entries[TERMS_BYTES_MAX];
    struct raft_config_at configs[TERMS_BYTES_MAX + 1];
};

/* Some entries are configurations, and what is said of those may not fit them: flags of 0 and 1
 * leave all in order. */
static void configs_make(struct fuzz_reader *r, const struct core *c, struct raft_msg *msg,
                         struct contents *contents)
{
    uint8_t which = fuzz_u8(r);
    uint8_t flags = which ? fuzz_u8(r) : 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < msg->append.entry_count; i++) {
        if (!(which >> i & 1))
            continue;
        contents->entries[i].type = RAFT_ENTRY_CONFIG;
        contents->configs[count++] = (struct raft_config_at){
            .index = contents->entries[i].pos.index + (flags == 2),
            .config = core_config(c, fuzz_u8(r)),
        };
    }
    if (flags == 3 && count > 0)
        count--;
    if (flags == 4 && count <= TERMS_BYTES_MAX)
        contents->configs[count++] = (struct raft_config_at){ .index = 1 };
    msg->append.configs = count > 0 ? contents->configs : NULL;
    msg->append.config_count = count;
}

/* As the codec leaves them: consecutive, from prev on; their terms are the sender's affair. */
static void entries_make(struct fuzz_reader *r, const struct core *c, struct raft_msg *msg,
                         struct contents *contents)
{
    char terms[TERMS_BYTES_MAX + 1] = "";
    uint32_t count = fuzz_u8(r) % (TERMS_BYTES_MAX + 1);
    uint64_t term = raft_status(c->rig.raft).term;
    for (uint32_t i = 0; i < count; i++)
        terms[i] = (char)('0' + (term + fuzz_u8(r) % 4) % 70);
    if (msg->append.prev.index > RAFT_INDEX_MAX)
        msg->append.prev.index = RAFT_INDEX_MAX; /* indexes must not wrap: the codec sees to it */
    rig_entries(contents->entries, msg->append.prev.index + 1, terms, 1 + fuzz_u8(r));
    msg->append.entries = contents->entries;
    msg->append.entry_count = count;
    configs_make(r, c, msg, contents);
}

/* 0, the own one, or another's. */
static uint64_t repair_id_near(const struct core *c, uint8_t flags)
{
    return flags & 1 ? raft_repair_id(c->rig.raft) : flags >> 1;
}

static void body_make(struct fuzz_reader *r, const struct core *c, struct raft_msg *msg,
                      struct contents *contents)
{
    uint8_t flags = fuzz_u8(r);
    switch (msg->type) {
    case RAFT_MSG_VOTE:
        msg->vote = (struct raft_msg_vote){ .pre_vote = flags & 1,
                                            .leader_is_dead = flags & 2,
                                            .transfer = flags & 4,
                                            .last = pos_near(r, c) };
        return;
    case RAFT_MSG_VOTE_RESULT:
        msg->vote_result = (struct raft_msg_vote_result){ flags & 1, flags & 2 };
        return;
    case RAFT_MSG_APPEND:
        msg->append.prev = pos_near(r, c);
        msg->append.commit = index_near(r, c);
        entries_make(r, c, msg, contents);
        return;
    case RAFT_MSG_APPEND_RESULT:
        msg->append_result = (struct raft_msg_append_result){ .rejected = flags & 1,
                                                              .no_room = flags & 2,
                                                              .match = index_near(r, c),
                                                              .rejected_prev = index_near(r, c),
                                                              .hint = pos_near(r, c),
                                                              .room_bytes = index_near(r, c),
                                                              .repair_id = flags >> 2 };
        return;
    case RAFT_MSG_HEARTBEAT:
        msg->heartbeat = (struct raft_msg_heartbeat){ .commit = index_near(r, c),
                                                      .round = index_near(r, c),
                                                      .keep_index = index_near(r, c),
                                                      .last_index = index_near(r, c),
                                                      .repair_id = repair_id_near(c, flags) };
        return;
    case RAFT_MSG_HEARTBEAT_RESULT:
        msg->heartbeat_result = (struct raft_msg_heartbeat_result){ .round = index_near(r, c),
                                                                    .room_bytes = flags,
                                                                    .repair_id = flags >> 6 };
        return;
    case RAFT_MSG_READ_INDEX:
        msg->read_index.context = flags;
        return;
    case RAFT_MSG_READ_INDEX_RESULT:
        msg->read_index_result =
            (struct raft_msg_read_index_result){ flags & 0x7f, index_near(r, c), flags & 0x80 };
        return;
    case RAFT_MSG_TIMEOUT_NOW:
        return;
    }
}

static void message(struct fuzz_reader *r, struct core *c)
{
    static const enum raft_msg_type types[] = {
        RAFT_MSG_VOTE,          RAFT_MSG_VOTE_RESULT,       RAFT_MSG_APPEND,
        RAFT_MSG_APPEND_RESULT, RAFT_MSG_HEARTBEAT,         RAFT_MSG_HEARTBEAT_RESULT,
        RAFT_MSG_READ_INDEX,    RAFT_MSG_READ_INDEX_RESULT, RAFT_MSG_TIMEOUT_NOW,
    };
    struct contents contents;
    struct raft_msg msg = { .type = types[fuzz_u8(r) % (sizeof types / sizeof types[0])],
                            .from = fuzz_u8(r) % 7,
                            .to = 1,
                            .term = term_near(r, c) };
    body_make(r, c, &msg, &contents);
    IGNORE(!core_message(c, &msg), "either is an answer");
    for (uint32_t i = 0; msg.type == RAFT_MSG_APPEND && i < msg.append.entry_count; i++)
        block_unref(contents.entries[i].block);
}

static void run(struct slice input)
{
    struct fuzz_reader r = { input };
    struct core core;
    core_open(&core, fuzz_u8(&r));
    for (int steps = 0; r.left.size > 0 && steps < STEPS_MAX; steps++) {
        uint8_t kind = fuzz_u8(&r);
        if (kind & 1)
            message(&r, &core);
        else
            core_event(&core, kind / 2, fuzz_u8(&r));
    }
    core_close(&core);
}

/* What it starts as; then an event (even: twice the kind, argument) or a message (odd, type, from,
 * term, flags, ...). */
static const uint8_t seed_leader[] = {
    0,                                                     /* of {1,2,3} */
    0,  0, 0,  100,                                        /* time to ask for votes */
    1,  1, 2,  8,   3,  2, 0, 1, 1, 2,  0,  2, 2, 0,       /* pre-vote and vote, durable */
    1,  3, 2,  0,   0,  0, 0, 0, 1, 0,  4,  0,             /* appended, applied */
    8,  9, 2,  0,   1,  3, 3, 0, 0, 0,  0,  0, 1, 0, 4, 0, /* a proposal likewise */
    16, 7, 0,  6,   1,  5, 2, 0, 0, 13,                    /* a read, its round */
    6,  3, 12, 0,   12, 1, 1, 6, 3, 0,  44,                /* a flush, links, a member's read */
    26, 4, 2,  0,   1,  3, 2, 0, 0, 0,  0,  0, 1, 0, 4, 0, /* a joint configuration */
    26, 0, 2,  0,   1,  3, 2, 0, 0, 0,  0,  0, 1, 0, 4, 0, /* left again */
    1,  3, 3,  0,   5,  0, 1, 0, 1, 0,                     /* a member awaits repair */
    22, 3, 10, 0,   20, 2, 1, 0, 2, 8,  4,  0, 0,          /* snapshot sent, fetch, transfer */
};
static const uint8_t seed_follower[] = { 0, 1, 2, 2, 8, 0, 0, 1, 2, 3, 0, 0, 0, 20, 0,  2, 0,
                                         1, 4, 2, 0, 0, 3, 1, 1, 4, 0, 6, 2, 1, 2,  2,  0, 0,
                                         2, 1, 1, 2, 0, 9, 0, 1, 8, 2, 0, 0, 2, 0,  24, 23 };
static const uint8_t seed_configs[] = {
    2,                                                      /* {1,2}, and 3 and 4 learn */
    1, 2, 2, 0, 0, 2, 1, 3, 2, 0, 0, 9, 3, 0, 9,  17, 2, 0, /* 3 and 2 as voters */
    1, 2, 2, 8, 0, 2, 1, 2, 1, 0, 9, 1, 0, 0, 2,  0,        /* the newer one is dropped */
    1, 2, 2, 0, 0, 2, 1, 2, 1, 0, 9, 1, 2, 0,               /* misplaced */
    1, 2, 2, 0, 0, 2, 1, 2, 1, 0, 9, 1, 0, 7, 24, 18,       /* invalid; a snapshot */
};
static const uint8_t seed_repair[] = {
    8,                                                          /* it awaits repair */
    1, 4, 2, 0, 1, 0, 1, 4, 0, 2, 0, 1, 2, 2, 0, 0, 2, 0, 0, 0, /* heartbeat, a probe */
    2, 0, 1, 4, 2, 0, 1, 0, 1, 4, 0,                            /* durable; heartbeat */
};

static void seeds(fuzz_seed_fn *add, void *owner)
{
    add(owner, "leader", slice_of(seed_leader, sizeof seed_leader));
    add(owner, "follower", slice_of(seed_follower, sizeof seed_follower));
    add(owner, "configs", slice_of(seed_configs, sizeof seed_configs));
    add(owner, "repair", slice_of(seed_repair, sizeof seed_repair));
    uint8_t mixed[256];
    for (size_t i = 0; i < sizeof mixed; i++)
        mixed[i] = (uint8_t)(i * 37);
    add(owner, "mixed", slice_of(mixed, sizeof mixed));
}

const struct fuzz_target fuzz_raft = { "raft", 16000, run, seeds };
