/* Elections: the four roles and the moves between them.
 *
 *   FOLLOWER --timeout, or leader dead--> PRE_CANDIDATE --pre-votes--> CANDIDATE --votes--> LEADER
 *
 * and from each back to FOLLOWER: a higher term, a leader of this term, an election lost, or a
 * leader that has lost its quorum. The term rises only from PRE_CANDIDATE to CANDIDATE (thesis
 * §9.6), so a node without a majority disturbs nobody. */
#include "raft/raft_internal.h"

bool raft_is_promotable(const struct raft *r)
{
    return r->has_voice && !r->awaits_repair && raft_is_voter(r) && !raft_disk_is_stalled(r);
}

static bool leader_is_dead(const struct raft *r)
{
    return r->dead_leader != 0;
}

void raft_election_reset(struct raft *r)
{
    uint64_t base_ms = r->options.election_timeout_ms;
    r->election_restart = false;
    if (raft_quorum_is_self(r))
        r->election_deadline_ms = r->now_ms; /* nobody to wait for */
    else
        r->election_deadline_ms = r->now_ms + base_ms + prng_below(&r->prng, base_ms);
}

/* The next try when the leader is known dead: soon, and not at the same moment as the others. */
static void reset_for_retry(struct raft *r)
{
    raft_election_reset(r);
    if (leader_is_dead(r))
        r->election_deadline_ms =
            r->now_ms + RAFT_DEAD_RETRY_MS + prng_below(&r->prng, RAFT_DEAD_RETRY_MS);
}

static void set_leader(struct raft *r, uint64_t leader)
{
    if (leader == r->leader)
        return;
    r->leader = leader;
    if (leader == 0)
        return;
    r->dead_leader = 0;
    if (leader != r->options.id)
        raft_reads_on_leader(r);
}

/* ---- to follower ---- */

static void leave_term(struct raft *r, uint64_t term)
{
    raft_set_hard(r, term, 0);
    r->term_leader = 0;
    r->pending_vote = 0;
    r->has_asked = false;
    r->is_asked_to = false;
    r->repair_has_target = false;
    r->verified = 0;
    r->answered = 0;
    r->owes_answer = false;
    r->said_no_room = false;
}

void raft_become_follower(struct raft *r, uint64_t term, uint64_t leader)
{
    ASSERT(term >= r->term);
    enum raft_role before = r->role;
    if (term > r->term)
        leave_term(r, term);
    r->role = RAFT_FOLLOWER;
    if (before == RAFT_LEADER) {
        raft_reads_on_deposed(r);
        raft_transfer_end(r);
    }
    set_leader(r, leader);
    if (leader != 0)
        r->term_leader = leader;
    if (before != RAFT_FOLLOWER)
        reset_for_retry(r);
}

/* A valid message from this term's leader. What a dead leader had sent before it died may still
 * arrive: its entries are welcome, but it must not pass for alive and undo the fast path. If it
 * goes on for longer than that, the report of its death was wrong. */
void raft_on_leader_heard(struct raft *r, uint64_t from)
{
    ASSERT(r->role != RAFT_LEADER);
    if (r->dead_leader == from && r->dead_term == r->term && r->now_ms < r->last_words_ms)
        return;
    raft_become_follower(r, r->term, from);
    r->leader_heard_ms = r->now_ms;
    raft_election_reset(r);
}

/* ---- asking for votes ---- */

/* That a leader is dead is said only of the term that it led, in the election right after it: a
 * later leader may live, and whoever follows that one is not to let go of it. */
static void ask(struct raft *r, const struct raft_progress *member)
{
    bool is_pre = r->role == RAFT_PRE_CANDIDATE;
    uint64_t asked_term = is_pre ? r->term + 1 : r->term;
    raft_push_message(
        r, &(struct raft_msg){
               .type = RAFT_MSG_VOTE,
               .to = member->id,
               .term = asked_term,
               .vote = { .pre_vote = is_pre,
                         .leader_is_dead = leader_is_dead(r) && asked_term == r->dead_term + 1,
                         .transfer = !is_pre && r->is_asked_to,
                         .last = r->log.last },
           });
}

static bool is_askable(const struct raft *r, const struct raft_progress *p)
{
    return p->id != r->options.id && (p->roles & (RAFT_VOTER | RAFT_VOTER_OUTGOING)) &&
           p->ballot == RAFT_BALLOT_NONE;
}

static void ask_all(struct raft *r)
{
    for (uint32_t i = 0; i < r->member_count; i++)
        if (is_askable(r, &r->members[i]))
            ask(r, &r->members[i]);
}

/* Requests to a member whose link was down are lost; nobody else would repeat them in time. A
 * candidate's wait for its own vote like those of all (raft_election_on_durable). */
void raft_election_on_link_up(struct raft *r, struct raft_progress *member)
{
    bool is_candidate = r->role == RAFT_CANDIDATE && r->has_asked;
    if ((is_candidate || r->role == RAFT_PRE_CANDIDATE) && is_askable(r, member))
        ask(r, member);
}

static void clear_ballots(struct raft *r, bool keep_granted)
{
    for (uint32_t i = 0; i < r->member_count; i++)
        if (!keep_granted || r->members[i].ballot != RAFT_BALLOT_GRANTED)
            r->members[i].ballot = RAFT_BALLOT_NONE;
}

static void cast_own_ballot(struct raft *r)
{
    struct raft_progress *self = raft_member(r, r->options.id);
    if (self)
        self->ballot = RAFT_BALLOT_GRANTED;
    raft_ballots_count(r);
}

static void become_pre_candidate(struct raft *r)
{
    /* Tries follow each other faster than far members answer, so grants of the same term add up. */
    clear_ballots(r, r->role == RAFT_PRE_CANDIDATE && leader_is_dead(r));
    r->role = RAFT_PRE_CANDIDATE;
    set_leader(r, 0);
    reset_for_retry(r);
    cast_own_ballot(r);
    if (r->role == RAFT_PRE_CANDIDATE)
        ask_all(r);
}

/* Asks nobody yet. Term, vote and log must be durable before a vote can rest on them:
 *   1. it asks at term 3 with index 10, which only its memory holds, and crashes
 *   2. it comes back with term 2 and index 9, and asks again at term 3
 *   3. a grant of the first request arrives and elects a log without index 10, which the granter
 *      and the old leader had committed. */
static void become_candidate(struct raft *r)
{
    if (r->term == RAFT_TERM_MAX)
        return;
    leave_term(r, r->term + 1);
    raft_set_hard(r, r->term, r->options.id);
    r->role = RAFT_CANDIDATE;
    set_leader(r, 0);
    clear_ballots(r, false);
    raft_election_reset(r);
    if (raft_quorum_is_self(r))
        r->election_deadline_ms = RAFT_NEVER_MS; /* the own disk decides */
}

void raft_election_on_durable(struct raft *r)
{
    if (r->role != RAFT_CANDIDATE || r->has_asked || r->hard_seq > r->seq_durable)
        return;
    ASSERT(r->log.durable == r->log.last.index);
    r->has_asked = true;
    cast_own_ballot(r);
    if (r->role == RAFT_CANDIDATE)
        ask_all(r);
}

/* ---- the outcome ---- */

/* Its own term's first entry is the caller's to propose, in this turn (raft.h). Heartbeats go out
 * at once; appends begin with that entry. */
static void become_leader(struct raft *r)
{
    ASSERT(r->vote == r->options.id);
    ASSERT(r->hard_seq <= r->seq_durable);
    r->role = RAFT_LEADER;
    r->term_leader = r->options.id;
    r->term_first_index = r->log.last.index + 1;
    r->round = 0;
    r->heartbeat_due_ms = r->now_ms;
    for (uint32_t i = 0; i < r->member_count; i++)
        raft_progress_reset(r, &r->members[i], r->log.last.index + 1);
    r->transferee = 0;
    r->transfer_told = 0;
    set_leader(r, r->options.id);
    raft_reads_on_elected(r);
}

void raft_ballots_count(struct raft *r)
{
    switch (raft_quorum_vote(r)) {
    case RAFT_QUORUM_PENDING:
        return;
    case RAFT_QUORUM_LOST:
        r->role = RAFT_FOLLOWER;
        reset_for_retry(r);
        return;
    case RAFT_QUORUM_WON:
        if (r->role == RAFT_PRE_CANDIDATE)
            become_candidate(r);
        else
            become_leader(r);
        return;
    }
}

static void campaign(struct raft *r)
{
    if (r->options.pre_vote)
        become_pre_candidate(r);
    else
        become_candidate(r);
}

/* ---- what starts one ---- */

/* Who may not campaign still lets go of a leader that it no longer hears: reads wait for another.
 */
void raft_on_election_tick(struct raft *r)
{
    if (r->role == RAFT_LEADER || r->now_ms < r->election_deadline_ms)
        return;
    if (raft_is_promotable(r))
        campaign(r);
    else
        raft_become_follower(r, r->term, 0);
}

/* No pre-vote: the leader has said that it goes, and all others still hear it. */
void raft_campaign_for_transfer(struct raft *r)
{
    become_candidate(r);
    r->is_asked_to = r->role == RAFT_CANDIDATE;
}

void raft_on_started(struct raft *r)
{
    bool knows_nobody = r->role == RAFT_FOLLOWER && r->leader == 0 && r->leader_heard_ms == 0;
    if (knows_nobody && r->options.pre_vote && raft_is_promotable(r))
        campaign(r);
}

void raft_on_leader_dead(struct raft *r)
{
    if (r->leader == 0 || r->role == RAFT_LEADER)
        return;
    r->dead_leader = r->leader;
    r->dead_term = r->term;
    r->last_words_ms = r->now_ms + 2 * (uint64_t)r->options.heartbeat_ms;
    set_leader(r, 0);
    if (raft_is_promotable(r))
        campaign(r);
}

uint64_t raft_election_deadline_ms(const struct raft *r)
{
    bool has_more_to_do = raft_is_promotable(r) || r->role != RAFT_FOLLOWER || r->leader != 0;
    return has_more_to_do ? r->election_deadline_ms : RAFT_NEVER_MS;
}
