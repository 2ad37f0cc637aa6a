/* Whatever a message's fields hold, it is refused or handled, and the invariants stand (I9). */
#include <criterion/criterion.h>

#include "base/prng.h"
#include "raft/raft_internal.h"
#include "tests/support/raft_cluster.h"
#include "tests/support/raft_rig.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { ROUNDS = 2000, MESSAGES = 60, ENTRIES_MAX = 6 };

static uint64_t odd(struct prng *p)
{
    static const uint64_t values[] = { 0, 1, 2, 3, 4, 5, 6, 7, 99, RAFT_TERM_MAX, UINT64_MAX };
    return values[prng_below(p, COUNT(values))];
}

static bool flip(struct prng *p, uint64_t one_in)
{
    return prng_below(p, one_in) == 0;
}

static struct raft_config random_config(struct prng *p)
{
    static const char *const texts[] = { "123",    "12",     "1234",        "23",   "23 L1", "1",
                                         "4 B123", "456 O1", "45 B1 O2 D3", "L123", "" };
    struct raft_config config = cluster_config(texts[prng_below(p, COUNT(texts))]);
    if (flip(p, 10))
        config.members[0].roles = (unsigned)odd(p);
    if (flip(p, 10))
        config.member_count = (uint32_t)odd(p);
    return config;
}

/* Often one that a leader might send. The entries are the rig's to release. */
static void random_append(struct prng *p, const struct rig *rig, struct raft_msg *msg,
                          struct raft_entry entries[RIG_ENTRIES_MAX],
                          struct raft_config_at configs[ENTRIES_MAX])
{
    struct raft_msg_append *a = &msg->append;
    uint64_t last = raft_last_pos(rig->raft).index;
    a->prev.index = flip(p, 10) ? odd(p) : prng_below(p, last + 2);
    a->prev.term = flip(p, 6) ? odd(p) : raft_term_at(rig->raft, a->prev.index);
    a->commit = flip(p, 4) ? odd(p) : prng_below(p, last + 2);
    char terms[ENTRIES_MAX + 1] = "";
    uint32_t count = (uint32_t)prng_below(p, ENTRIES_MAX + 1);
    uint64_t term = a->prev.term < 8 ? a->prev.term : 1;
    for (uint32_t i = 0; i < count; i++) {
        term += flip(p, 6);
        terms[i] = (char)('0' + (term > 0 ? term : flip(p, 10) ? 0 : 1));
    }
    rig_entries(entries, a->prev.index + 1, terms, flip(p, 8) ? 300 : 10);
    a->entries = entries;
    a->entry_count = count;
    for (uint32_t i = 0; i < count; i++) {
        if (!flip(p, 3))
            continue;
        entries[i].type = RAFT_ENTRY_CONFIG;
        configs[a->config_count++] = (struct raft_config_at){
            .index = flip(p, 20) ? odd(p) : entries[i].pos.index,
            .config = random_config(p),
        };
    }
    a->configs = configs;
    if (flip(p, 20))
        a->config_count = 0;
}

static void random_fields(struct prng *p, struct raft_msg *msg)
{
    bool a = flip(p, 2);
    bool b = flip(p, 2);
    switch (msg->type) {
    case RAFT_MSG_VOTE:
        msg->vote = (struct raft_msg_vote){ a, b, flip(p, 2), { odd(p), odd(p) } };
        return;
    case RAFT_MSG_VOTE_RESULT:
        msg->vote_result = (struct raft_msg_vote_result){ a, b };
        return;
    case RAFT_MSG_APPEND_RESULT:
        msg->append_result =
            (struct raft_msg_append_result){ a,      b,     odd(p), odd(p), { odd(p), odd(p) },
                                             odd(p), odd(p) };
        return;
    case RAFT_MSG_HEARTBEAT:
        msg->heartbeat = (struct raft_msg_heartbeat){ odd(p), odd(p), odd(p), { odd(p), odd(p) },
                                                      odd(p), odd(p) };
        return;
    case RAFT_MSG_HEARTBEAT_RESULT:
        msg->heartbeat_result =
            (struct raft_msg_heartbeat_result){ odd(p), { odd(p), odd(p) }, odd(p), odd(p) };
        return;
    case RAFT_MSG_READ_INDEX:
        msg->read_index.context = odd(p);
        return;
    case RAFT_MSG_READ_INDEX_RESULT:
        msg->read_index_result = (struct raft_msg_read_index_result){ odd(p), odd(p), a };
        return;
    case RAFT_MSG_APPEND:
    case RAFT_MSG_TIMEOUT_NOW:
        return;
    }
}

/* True when it was taken. */
static bool receive_one(struct prng *p, struct rig *rig)
{
    struct raft_entry entries[RIG_ENTRIES_MAX];
    struct raft_config_at configs[ENTRIES_MAX];
    struct raft_msg msg;
    memset(&msg, 0, sizeof msg);
    msg.type = flip(p, 3) ? RAFT_MSG_APPEND : (enum raft_msg_type)(1 + prng_below(p, 10));
    msg.from = flip(p, 10) ? 9 : 2 + prng_below(p, 2);
    uint64_t term = raft_status(rig->raft).term;
    msg.term = flip(p, 4) ? odd(p) : term + flip(p, 20);
    if (msg.type == RAFT_MSG_APPEND)
        random_append(p, rig, &msg, entries, configs);
    else
        random_fields(p, &msg);
    enum raft_err err = rig_receive(rig, msg);
    cr_assert(err == RAFT_OK || err == RAFT_E_MESSAGE);
    for (uint32_t i = 0; msg.type == RAFT_MSG_APPEND && i < msg.append.entry_count; i++)
        block_unref(entries[i].block);
    return err == RAFT_OK;
}

static struct rig rig_of_round(int round)
{
    struct rig rig = rig_defaults();
    switch (round % 4) {
    case 0: /* a leader, maybe one that is handing over */
        rig_open(&rig, "");
        rig_elect(&rig);
        return rig;
    case 1:
        rig.start.awaits_repair = true;
        break;
    case 2:
        rig.start.config = cluster_config("23 L1");
        break;
    default:
        break;
    }
    rig.start.hard = (struct raft_hard_state){ .term = 4, .commit = 2 };
    rig_open(&rig, "1144");
    rig_tick(&rig, 0);
    return rig;
}

Test(raft_hostile, random_contents_break_nothing)
{
    struct prng p = prng_seeded(3);
    uint64_t taken = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct rig rig = rig_of_round(round);
        for (int i = 0; i < MESSAGES; i++) {
            rig.now_ms += prng_below(&p, 30);
            taken += receive_one(&p, &rig);
            if (rig.seq > 0 && flip(&p, 4))
                rig_durable(&rig);
            if (flip(&p, 8))
                rig_tick(&rig, prng_below(&p, 150));
            if (flip(&p, 10)) {
                rig_apply(&rig);
                rig_flush(&rig, rig.commit_seen);
            }
            if (flip(&p, 20))
                rig_step(&rig, (struct raft_event){ .type = RAFT_EV_TRANSFER });
            if (flip(&p, 20))
                rig_step(&rig, (struct raft_event){ .type = RAFT_EV_LEADER_DEAD });
            if (flip(&p, 10))
                rig_step(&rig, (struct raft_event){ .type = RAFT_EV_READ });
        }
        rig_close(&rig);
    }
    cr_assert_gt(taken, (uint64_t)ROUNDS * MESSAGES / 4, "most of it was refused at the door");
}

/* No honest node votes for a candidate that has not asked, so this must not elect it (I1, I9). */
Test(raft_hostile, votes_that_a_candidate_did_not_ask_for)
{
    struct rig rig = rig_defaults();
    rig.options.pre_vote = false;
    rig_open(&rig, "");
    rig_tick(&rig, 0);
    rig_tick(&rig, 200);
    for (uint64_t from = 2; from <= 3; from++)
        cr_assert_eq(rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_VOTE_RESULT,
                                                          .from = from,
                                                          .term = 1,
                                                          .vote_result = { false, true } }),
                     RAFT_OK);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_CANDIDATE);
    rig_durable(&rig);
    cr_assert_eq(rig_message_count(&rig, RAFT_MSG_VOTE), 2);
    rig_close(&rig);
}
