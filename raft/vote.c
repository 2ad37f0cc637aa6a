/* Voting: who gets a vote or a pre-vote, when the grant may leave, and counting them. */
#include "raft/raft_internal.h"

/* Theirs is at least as up to date as ours (Raft §5.4.1). */
bool raft_pos_is_fresh(struct raft_pos ours, struct raft_pos theirs)
{
    if (theirs.term != ours.term)
        return theirs.term > ours.term;
    return theirs.index >= ours.index;
}

/* Leader stickiness (Raft §6, thesis §4.2.3): who has a leader takes part in no other election,
 * lest a node that merely lost contact, or was removed, depose it. That the leader's process has
 * died makes the rule void, but not for a leader: it knows better, and steps down by itself when
 * it has lost its quorum. So does that the leader itself asked for the election; it gives way to
 * whom it asked. */
bool raft_vote_is_ignored(const struct raft *r, const struct raft_msg *msg)
{
    if (r->role == RAFT_LEADER)
        return !msg->vote.transfer || msg->from != r->transfer_told;
    if (r->leader == 0 || msg->vote.leader_is_dead || msg->vote.transfer)
        return false;
    return r->now_ms < r->leader_heard_ms + r->options.election_timeout_ms;
}

static void push_result(struct raft *r, const struct raft_msg *msg, uint64_t term, bool granted)
{
    raft_push_message(r, &(struct raft_msg){
                             .type = RAFT_MSG_VOTE_RESULT,
                             .to = msg->from,
                             .term = term,
                             .vote_result = { .pre_vote = msg->vote.pre_vote, .granted = granted },
                         });
}

/* A pre-vote asks at the candidate's next term. The refusal names the term that it is in, else a
 * candidate that is ahead of us would take it for a message from its past. */
void raft_vote_reject(struct raft *r, const struct raft_msg *msg)
{
    uint64_t term = r->term;
    if (msg->vote.pre_vote && msg->term - 1 > term)
        term = msg->term - 1;
    push_result(r, msg, term, false);
}

static bool is_grantable(const struct raft *r, const struct raft_msg *msg)
{
    bool is_free =
        msg->term > r->term || r->vote == msg->from || (r->vote == 0 && r->term_leader == 0);
    return is_free && raft_pos_is_fresh(r->log.last, msg->vote.last);
}

/* The term is settled: ours is msg->term, or below it for a pre-vote. A learner votes too, and a
 * candidate that we do not know as a member gets our vote: our configuration may be old, and it is
 * the candidate who counts by its own (etcd: raft.go, Step).
 *   1. {1,2} and the learner 3; 1 makes 3 a voter, committed by 1 and 2; 1 dies
 *   2. 2 needs two of {1,2,3}: 3's vote, who has not received that entry.
 * And {1,2}: 1 adds 3 and then 4 while 2 is away, and dies; 3 and 4 need three of {1,2,3,4}, so the
 * vote of 2, who has never heard of them. The vote is no less safe for that: it still goes to one
 * candidate a term, with a log as fresh. */
void raft_on_vote(struct raft *r, const struct raft_msg *msg)
{
    /* No refusal either, which is faster than any grant: with a leader known dead one refusal may
     * decide an election (raft_quorum_vote), and this node would refuse again and again. */
    if (r->awaits_repair)
        return;
    if (!is_grantable(r, msg)) {
        raft_vote_reject(r, msg);
        return;
    }
    if (msg->vote.pre_vote) { /* promises nothing, so it needs no disk */
        push_result(r, msg, msg->term, true);
        return;
    }
    if (r->vote != msg->from)
        raft_set_hard(r, r->term, msg->from);
    r->pending_vote = msg->from;
    raft_election_reset(r);
    raft_vote_on_durable(r);
}

/* I1, I2: a vote that a crash could take back would be given twice in one term. */
void raft_vote_on_durable(struct raft *r)
{
    if (r->pending_vote == 0 || r->hard_seq > r->seq_durable)
        return;
    ASSERT(r->pending_vote == r->vote);
    raft_push_message(r, &(struct raft_msg){
                             .type = RAFT_MSG_VOTE_RESULT,
                             .to = r->pending_vote,
                             .term = r->term,
                             .vote_result = { .pre_vote = false, .granted = true },
                         });
    r->pending_vote = 0;
}

/* Answers to an election that is over, or to a pre-vote of another term, say nothing; and who
 * answers what nobody asked yet is broken or hostile. */
static bool is_awaited(const struct raft *r, const struct raft_msg *msg)
{
    if (!msg->vote_result.pre_vote)
        return r->role == RAFT_CANDIDATE && r->has_asked;
    if (r->role != RAFT_PRE_CANDIDATE)
        return false;
    return msg->term == (msg->vote_result.granted ? r->term + 1 : r->term);
}

void raft_on_vote_result(struct raft *r, const struct raft_msg *msg)
{
    if (!is_awaited(r, msg))
        return;
    struct raft_progress *p = raft_member(r, msg->from);
    ASSERT(p); /* results of others are dropped */
    if (p->ballot == RAFT_BALLOT_GRANTED)
        return; /* a copy of an older answer came late */
    p->ballot = msg->vote_result.granted ? RAFT_BALLOT_GRANTED : RAFT_BALLOT_REJECTED;
    raft_ballots_count(r);
}
