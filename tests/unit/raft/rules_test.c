/* The rules that decide, as tables. */
#include <criterion/criterion.h>

#include "raft/raft_internal.h"
#include "tests/support/raft_rig.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Raft §5.4.1. */
static const struct {
    const char *rule;
    struct raft_pos ours, theirs;
    bool fresh;
} freshness[] = {
    { "later last term beats a longer log", { 2, 9 }, { 3, 1 }, true },
    { "earlier last term loses with a longer log", { 3, 1 }, { 2, 9 }, false },
    { "same term, longer log", { 2, 8 }, { 2, 9 }, true },
    { "same term, shorter log loses", { 2, 9 }, { 2, 8 }, false },
    { "an equal log is good enough", { 2, 9 }, { 2, 9 }, true },
    { "two empty logs", { 0, 0 }, { 0, 0 }, true },
    { "an empty log loses against any", { 1, 1 }, { 0, 0 }, false },
};

Test(raft_rules, vote_needs_a_fresh_log)
{
    for (size_t i = 0; i < COUNT(freshness); i++)
        cr_assert_eq(raft_pos_is_fresh(freshness[i].ours, freshness[i].theirs), freshness[i].fresh,
                     "%s", freshness[i].rule);
}

enum {
    V = RAFT_VOTER,
    O = RAFT_VOTER_OUTGOING,
    B = RAFT_VOTER | RAFT_VOTER_OUTGOING,
    L = RAFT_LEARNER,
    D = RAFT_VOTER_OUTGOING | RAFT_LEARNER, /* being demoted */
};

static const struct {
    const char *rule;
    uint32_t count;
    unsigned roles[6];
    uint64_t values[6];
    uint64_t reached;
} quorums[] = {
    { "one voter decides alone", 1, { V }, { 7 }, 7 },
    { "two need both", 2, { V, V }, { 7, 3 }, 3 },
    { "three need two", 3, { V, V, V }, { 7, 3, 5 }, 5 },
    { "four need three", 4, { V, V, V, V }, { 7, 3, 5, 6 }, 5 },
    { "five need three", 5, { V, V, V, V, V }, { 9, 1, 5, 2, 8 }, 5 },
    { "equal values", 3, { V, V, V }, { 4, 4, 4 }, 4 },
    { "a learner does not count", 4, { V, V, V, L }, { 7, 3, 5, 99 }, 5 },
    { "one voter and learners", 3, { V, L, L }, { 2, 9, 9 }, 2 },
    { "joint: the old half holds back", 4, { V, V, O, O }, { 9, 9, 1, 4 }, 1 },
    { "joint: the new half holds back", 4, { V, V, O, O }, { 2, 9, 8, 8 }, 2 },
    { "joint: members of both", 4, { B, B, V, O }, { 5, 6, 9, 1 }, 5 },
    { "joint: one replaces another", 4, { B, B, O, V }, { 8, 3, 8, 1 }, 3 },
    { "joint: the demoted counts in the old half", 4, { B, B, D, V }, { 8, 1, 7, 6 }, 6 },
};

static struct raft *with_members(struct rig *rig, const unsigned *roles, uint32_t count)
{
    *rig = rig_defaults();
    rig->start.config.member_count = count;
    for (uint32_t i = 0; i < count; i++)
        rig->start.config.members[i] = (struct raft_member){ i + 1, roles[i] };
    rig_open(rig, "");
    return rig->raft;
}

Test(raft_rules, quorum_values)
{
    for (size_t i = 0; i < COUNT(quorums); i++) {
        struct rig rig;
        struct raft *r = with_members(&rig, quorums[i].roles, quorums[i].count);
        uint64_t values[RAFT_MEMBERS_MAX] = { 0 };
        memcpy(values, quorums[i].values, sizeof quorums[i].values);
        cr_assert_eq(raft_quorum_value(r, values), quorums[i].reached, "%s", quorums[i].rule);
        rig_close(&rig);
    }
}

static const struct {
    const char *rule;
    uint32_t count;
    unsigned roles[6];
    const char *ballots; /* granted, rejected, none yet */
    uint64_t dead;
    enum raft_quorum_vote outcome;
} votes[] = {
    { "nobody yet", 3, { V, V, V }, "NNN", 0, RAFT_QUORUM_PENDING },
    { "own alone", 3, { V, V, V }, "GNN", 0, RAFT_QUORUM_PENDING },
    { "two of three", 3, { V, V, V }, "GGN", 0, RAFT_QUORUM_WON },
    { "one refusal of three", 3, { V, V, V }, "GRN", 0, RAFT_QUORUM_PENDING },
    { "two refusals of three", 3, { V, V, V }, "GRR", 0, RAFT_QUORUM_LOST },
    { "a refusal, and the third is dead", 3, { V, V, V }, "GRN", 3, RAFT_QUORUM_LOST },
    { "no refusal: the dead may be back", 3, { V, V, V }, "GNN", 3, RAFT_QUORUM_PENDING },
    { "the dead is back and grants", 3, { V, V, V }, "GRG", 3, RAFT_QUORUM_WON },
    { "of two, one dead", 2, { V, V }, "GN", 2, RAFT_QUORUM_PENDING },
    { "a learner's ballot is void", 4, { V, V, V, L }, "GNNG", 0, RAFT_QUORUM_PENDING },
    { "joint: one half is not enough", 4, { V, V, O, O }, "GGGN", 0, RAFT_QUORUM_PENDING },
    { "joint: both", 4, { V, V, O, O }, "GGGG", 0, RAFT_QUORUM_WON },
    { "joint: lost in one half", 4, { V, V, O, O }, "GGRG", 0, RAFT_QUORUM_LOST },
};

Test(raft_rules, elections)
{
    for (size_t i = 0; i < COUNT(votes); i++) {
        struct rig rig;
        struct raft *r = with_members(&rig, votes[i].roles, votes[i].count);
        for (uint32_t j = 0; j < votes[i].count; j++)
            r->members[j].ballot = votes[i].ballots[j] == 'G'   ? RAFT_BALLOT_GRANTED
                                   : votes[i].ballots[j] == 'R' ? RAFT_BALLOT_REJECTED
                                                                : RAFT_BALLOT_NONE;
        r->dead_leader = votes[i].dead;
        cr_assert_eq(raft_quorum_vote(r), votes[i].outcome, "%s", votes[i].rule);
        rig_close(&rig);
    }
}

/* Raft §5.3, end; the two sides of the conflict hint use the same search. */
static const struct {
    const char *rule;
    const char *terms;
    uint64_t index, term;
    struct raft_pos found; /* index UINT64_MAX: nothing */
} searches[] = {
    { "the index itself", "1144", 3, 4, { 4, 3 } },
    { "past the end: the last", "1144", 9, 4, { 4, 4 } },
    { "skips a later term", "1144", 4, 3, { 1, 2 } },
    { "skips several terms at once", "112233", 6, 1, { 1, 2 } },
    { "a term between ours", "1133", 4, 2, { 1, 2 } },
    { "nothing as old: before the first", "3344", 4, 2, { 0, 0 } },
    { "empty log", "", 5, 2, { 0, 0 } },
};

Test(raft_rules, last_of_term)
{
    for (size_t i = 0; i < COUNT(searches); i++) {
        struct rig rig = rig_defaults();
        rig.start.hard.term = 9;
        rig_open(&rig, searches[i].terms);
        struct raft_pos found;
        cr_assert(
            raft_log_last_of_term(&rig.raft->log, searches[i].index, searches[i].term, &found),
            "%s", searches[i].rule);
        cr_assert_eq(found.index, searches[i].found.index, "%s", searches[i].rule);
        cr_assert_eq(found.term, searches[i].found.term, "%s", searches[i].rule);
        rig_close(&rig);
    }
}

/* The hint of a follower that refuses an append at `prev`. */
static const struct {
    const char *rule;
    const char *terms;
    uint64_t commit;
    struct raft_pos prev;
    struct raft_pos hint;
} hints[] = {
    { "gap: its last", "11", 0, { 5, 8 }, { 1, 2 } },
    { "mismatch: last with a term as old", "1122333", 0, { 1, 6 }, { 1, 2 } },
    { "mismatch with an older own term", "1111", 0, { 3, 3 }, { 1, 3 } },
    { "not below what is committed", "1122", 3, { 1, 4 }, { 2, 3 } },
    { "nothing in common: before the first", "2222", 0, { 1, 3 }, { 0, 0 } },
    { "empty log", "", 0, { 4, 9 }, { 0, 0 } },
};

/* A term from before our log's start at an index behind it: no leader has that. */
Test(raft_rules, conflict_hint_before_the_start)
{
    struct rig rig = rig_defaults();
    rig.start.hard.term = 5;
    rig.start.log_start = (struct raft_pos){ 4, 3 };
    rig.start.flushed = (struct raft_pos){ 4, 3 };
    rig_open(&rig, "5");
    cr_assert_eq(rig_append(&rig, 6, (struct raft_pos){ 3, 4 }, "", 0, 0), RAFT_OK);
    const struct raft_msg *m = rig_message(&rig, RAFT_MSG_APPEND_RESULT, 2);
    cr_assert(m->append_result.rejected && m->append_result.hint.index == 3);
    rig_close(&rig);
}

Test(raft_rules, conflict_hints)
{
    for (size_t i = 0; i < COUNT(hints); i++) {
        struct rig rig = rig_defaults();
        rig.start.hard = (struct raft_hard_state){ .term = 5, .commit = hints[i].commit };
        rig_open(&rig, hints[i].terms);
        cr_assert_eq(rig_append(&rig, 6, hints[i].prev, "", 0, 0), RAFT_OK);
        const struct raft_msg *m = rig_message(&rig, RAFT_MSG_APPEND_RESULT, 2);
        cr_assert(m && m->append_result.rejected && !m->append_result.no_room, "%s", hints[i].rule);
        cr_assert_eq(m->append_result.rejected_prev, hints[i].prev.index, "%s", hints[i].rule);
        cr_assert_eq(m->append_result.hint.index, hints[i].hint.index, "%s", hints[i].rule);
        cr_assert_eq(m->append_result.hint.term, hints[i].hint.term, "%s", hints[i].rule);
        rig_close(&rig);
    }
}
