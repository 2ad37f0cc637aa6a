/* Majorities of the voters and, while a joint configuration lasts, of both its halves (Raft §6).
 * Whatever is decided by a quorum is decided here: commit, votes, read rounds, contact. */
#include "raft/raft_internal.h"

/* The value that more than half of the members with this role have reached; UINT64_MAX when
 * there are none: an absent half restricts nothing. */
static uint64_t half_value(const struct raft *r, const uint64_t values[RAFT_MEMBERS_MAX],
                           enum raft_member_role half)
{
    uint64_t sorted[RAFT_MEMBERS_MAX]; /* descending */
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->member_count; i++) {
        if (!(r->members[i].roles & half))
            continue;
        uint32_t place = count++;
        for (; place > 0 && sorted[place - 1] < values[i]; place--)
            sorted[place] = sorted[place - 1];
        sorted[place] = values[i];
    }
    return count == 0 ? UINT64_MAX : sorted[count / 2];
}

uint64_t raft_quorum_value(const struct raft *r, const uint64_t values[RAFT_MEMBERS_MAX])
{
    uint64_t a = half_value(r, values, RAFT_VOTER);
    uint64_t b = half_value(r, values, RAFT_VOTER_OUTGOING);
    return a < b ? a : b;
}

static bool has_rejection(const struct raft *r)
{
    for (uint32_t i = 0; i < r->member_count; i++)
        if (r->members[i].ballot == RAFT_BALLOT_REJECTED)
            return true;
    return false;
}

/* Once somebody has refused, a member that is known dead no longer counts as undecided: two
 * survivors of three that voted for themselves would wait a whole election timeout for it. Until
 * then it does: it may have been started again. */
enum raft_quorum_vote raft_quorum_vote(const struct raft *r)
{
    uint64_t granted[RAFT_MEMBERS_MAX] = { 0 };
    uint64_t possible[RAFT_MEMBERS_MAX] = { 0 };
    bool awaits_dead = !has_rejection(r);
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct raft_progress *p = &r->members[i];
        bool is_open = p->ballot == RAFT_BALLOT_NONE && (p->id != r->dead_leader || awaits_dead);
        granted[i] = p->ballot == RAFT_BALLOT_GRANTED;
        possible[i] = granted[i] || is_open;
    }
    if (raft_quorum_value(r, granted) > 0)
        return RAFT_QUORUM_WON;
    return raft_quorum_value(r, possible) > 0 ? RAFT_QUORUM_PENDING : RAFT_QUORUM_LOST;
}

bool raft_quorum_is_self(const struct raft *r)
{
    uint64_t values[RAFT_MEMBERS_MAX] = { 0 };
    for (uint32_t i = 0; i < r->member_count; i++)
        values[i] = r->members[i].id == r->options.id;
    /* A member that joins knows no voter yet, and nobody is a quorum of nobody. */
    return raft_config_has_voter(&r->config.config, r->options.id) &&
           raft_quorum_value(r, values) > 0;
}
