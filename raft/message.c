/* Messages: which are impossible, and what the term in each does before its contents count. */
#include "raft/raft_internal.h"

/* ---- impossible ones: a broken or hostile peer; no ASSERT (I9) ---- */

static bool is_append_result_possible(const struct raft *r, const struct raft_msg *msg)
{
    if (msg->term != r->term || r->role != RAFT_LEADER)
        return true; /* not looked at */
    const struct raft_msg_append_result *result = &msg->append_result;
    if (!result->rejected)
        return result->match <= r->log.last.index;
    return result->rejected_prev <= r->log.last.index &&
           result->hint.index <= result->rejected_prev && result->hint.term <= r->term;
}

/* A heartbeat names a commit index only up to what the receiver has acknowledged in this term,
 * and that is durable here; of a new term nothing is acknowledged yet. */
static bool is_heartbeat_possible(const struct raft *r, const struct raft_msg *msg)
{
    if (msg->term < r->term)
        return true;
    if (msg->term > r->term)
        return msg->heartbeat.commit <= r->log.commit || r->awaits_repair;
    if (r->term_leader != 0 && r->term_leader != msg->from)
        return false;
    if (r->awaits_repair)
        return true; /* what it has acknowledged is lost: raft_on_heartbeat takes less */
    return msg->heartbeat.commit <= r->log.durable || msg->heartbeat.commit <= r->log.commit;
}

static bool is_heartbeat_result_possible(const struct raft *r, const struct raft_msg *msg)
{
    return msg->term != r->term || r->role != RAFT_LEADER ||
           msg->heartbeat_result.round <= r->round;
}

static bool is_timeout_now_possible(const struct raft *r, const struct raft_msg *msg)
{
    return msg->term != r->term || r->term_leader == 0 || r->term_leader == msg->from;
}

static bool is_vote_possible(const struct raft_msg *msg)
{
    struct raft_pos last = msg->vote.last;
    return last.term < msg->term && last.index <= RAFT_INDEX_MAX &&
           (last.index == 0) == (last.term == 0);
}

/* A candidate asks nobody before its own vote is durable, and in a term it asks in once. A refusal
 * may answer what it asked in an earlier term, and name the one that we have come to meanwhile. */
static bool is_vote_result_possible(const struct raft *r, const struct raft_msg *msg)
{
    return msg->vote_result.pre_vote || !msg->vote_result.granted || msg->term != r->term ||
           r->role != RAFT_CANDIDATE || r->has_asked;
}

enum raft_err raft_message_check(const struct raft *r, const struct raft_msg *msg)
{
    if (msg->to != r->options.id || msg->from == r->options.id || msg->from == 0)
        return RAFT_E_MESSAGE;
    if (msg->term == 0 || msg->term > RAFT_TERM_MAX)
        return RAFT_E_MESSAGE;
    bool possible = false;
    switch (msg->type) {
    case RAFT_MSG_VOTE:
        possible = is_vote_possible(msg);
        break;
    case RAFT_MSG_APPEND:
        return raft_append_check(r, msg);
    case RAFT_MSG_APPEND_RESULT:
        possible = is_append_result_possible(r, msg);
        break;
    case RAFT_MSG_HEARTBEAT:
        possible = is_heartbeat_possible(r, msg);
        break;
    case RAFT_MSG_HEARTBEAT_RESULT:
        possible = is_heartbeat_result_possible(r, msg);
        break;
    case RAFT_MSG_READ_INDEX_RESULT:
        possible = msg->read_index_result.index <= RAFT_INDEX_MAX;
        break;
    case RAFT_MSG_TIMEOUT_NOW:
        possible = is_timeout_now_possible(r, msg);
        break;
    case RAFT_MSG_VOTE_RESULT:
        possible = is_vote_result_possible(r, msg);
        break;
    case RAFT_MSG_READ_INDEX:
        possible = true;
        break;
    } /* a type of none of these: from a newer version */
    return possible ? RAFT_OK : RAFT_E_MESSAGE;
}

/* ---- terms (Raft §5.1) ---- */

/* The sender has missed a term. It must learn: with pre-votes and stickiness nobody would take a
 * vote request of ours for higher than its leader, so a node that once got ahead in term would
 * stay cut off (etcd: raft.go, Step). Only results and requests that are answered anyway carry
 * the term back; results get no answer. */
static void answer_stale(struct raft *r, const struct raft_msg *msg)
{
    struct raft_msg answer = { .to = msg->from };
    switch (msg->type) {
    case RAFT_MSG_VOTE:
        raft_vote_reject(r, msg);
        return;
    case RAFT_MSG_APPEND:
        answer.type = RAFT_MSG_APPEND_RESULT;
        answer.append_result.rejected = true;
        answer.append_result.rejected_prev = msg->append.prev.index;
        answer.append_result.repair_id = raft_repair_id(r);
        break;
    case RAFT_MSG_HEARTBEAT:
        answer.type = RAFT_MSG_HEARTBEAT_RESULT;
        answer.heartbeat_result.repair_id = raft_repair_id(r);
        break;
    case RAFT_MSG_READ_INDEX:
        answer.type = RAFT_MSG_READ_INDEX_RESULT;
        answer.read_index_result.context = msg->read_index.context;
        answer.read_index_result.refused = true;
        break;
    case RAFT_MSG_VOTE_RESULT:
    case RAFT_MSG_APPEND_RESULT:
    case RAFT_MSG_HEARTBEAT_RESULT:
    case RAFT_MSG_READ_INDEX_RESULT:
    case RAFT_MSG_TIMEOUT_NOW:
        return;
    }
    raft_push_message(r, &answer);
}

/* False: the message ends here. One that told us to campaign in a later term was meant for who had
 * acknowledged that term's entries. */
static bool enter_higher_term(struct raft *r, const struct raft_msg *msg)
{
    if (msg->type == RAFT_MSG_TIMEOUT_NOW)
        return false;
    bool is_vote = msg->type == RAFT_MSG_VOTE;
    if (is_vote && raft_vote_is_ignored(r, msg))
        return false;
    if (is_vote && msg->vote.pre_vote)
        return true; /* asks about a term that nobody has entered */
    if (msg->type == RAFT_MSG_VOTE_RESULT && msg->vote_result.pre_vote && msg->vote_result.granted)
        return true; /* names the term that we asked about */
    bool is_leader = msg->type == RAFT_MSG_APPEND || msg->type == RAFT_MSG_HEARTBEAT;
    raft_become_follower(r, msg->term, is_leader ? msg->from : 0);
    return true;
}

static void dispatch(struct raft *r, const struct raft_msg *msg)
{
    switch (msg->type) {
    case RAFT_MSG_VOTE:
        raft_on_vote(r, msg);
        return;
    case RAFT_MSG_VOTE_RESULT:
        raft_on_vote_result(r, msg);
        return;
    case RAFT_MSG_APPEND:
        raft_on_append(r, msg);
        return;
    case RAFT_MSG_APPEND_RESULT:
        raft_on_append_result(r, msg);
        return;
    case RAFT_MSG_HEARTBEAT:
        raft_on_heartbeat(r, msg);
        return;
    case RAFT_MSG_HEARTBEAT_RESULT:
        raft_on_heartbeat_result(r, msg);
        return;
    case RAFT_MSG_READ_INDEX:
        raft_on_read_index(r, msg);
        return;
    case RAFT_MSG_READ_INDEX_RESULT:
        raft_on_read_index_result(r, msg);
        return;
    case RAFT_MSG_TIMEOUT_NOW:
        raft_on_timeout_now(r);
        return;
    }
}

/* ---- who is no member ---- */

/* Leaders and candidates are heard though our configuration does not know them: it may be older
 * than theirs (thesis §4.1.2). Answers count only from members, and what one that was removed says
 * must not depose a leader by its term. The links decide who may talk at all. */
static bool is_taken(const struct raft *r, const struct raft_msg *msg)
{
    switch (msg->type) {
    case RAFT_MSG_VOTE:
    case RAFT_MSG_APPEND:
    case RAFT_MSG_HEARTBEAT:
    case RAFT_MSG_TIMEOUT_NOW:
        return true;
    case RAFT_MSG_READ_INDEX:
        return msg->term <= r->term || raft_member(r, msg->from);
    case RAFT_MSG_READ_INDEX_RESULT:
        return msg->from == r->reads_sent_to || raft_member(r, msg->from);
    case RAFT_MSG_VOTE_RESULT:
    case RAFT_MSG_APPEND_RESULT:
    case RAFT_MSG_HEARTBEAT_RESULT:
        return raft_member(r, msg->from);
    }
    ASSERT(!"a known message type");
}

void raft_on_message(struct raft *r, const struct raft_msg *msg)
{
    if (!is_taken(r, msg))
        return;
    if (msg->term < r->term)
        answer_stale(r, msg);
    else if (msg->term == r->term || enter_higher_term(r, msg))
        dispatch(r, msg);
}
