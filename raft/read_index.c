/* Linearizable reads without a log entry (thesis §6.4, I11).
 *
 * On the leader a read notes the commit index and the next heartbeat round; a quorum's answers to
 * that round or a later one prove that nobody else led when the read was asked. Until an entry
 * of its own term is committed a leader does not know what its predecessors had committed, so
 * answers wait for that. A follower asks its leader with a number of its own; since numbers rise,
 * an answer to one answers all before it, and repeating the newest repeats them all. */
#include "raft/raft_internal.h"

/* ---- the queue ---- */

static void push_result(struct raft *r, const struct raft_read *read, uint64_t index, bool refused)
{
    if (read->member != r->options.id) {
        raft_push_message(r, &(struct raft_msg){ .type = RAFT_MSG_READ_INDEX_RESULT,
                                                 .to = read->member,
                                                 .read_index_result = { .context = read->context,
                                                                        .index = index,
                                                                        .refused = refused } });
        return;
    }
    ASSERT(r->result_count <= RAFT_READS_WAITING_MAX);
    r->results[r->result_count++] =
        (struct raft_read_result){ .context = read->context, .index = index, .refused = refused };
}

static void drop_reads(struct raft *r, uint32_t first, uint32_t count)
{
    r->read_count -= count;
    memmove(r->reads + first, r->reads + first + count,
            (r->read_count - first) * sizeof r->reads[0]);
}

static void refuse_first(struct raft *r, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        push_result(r, &r->reads[i], 0, true);
    drop_reads(r, 0, count);
}

/* At the cap it is refused, and whoever asked may ask again. */
static bool add_read(struct raft *r, struct raft_read read)
{
    if (r->read_count == RAFT_READS_WAITING_MAX) {
        push_result(r, &read, 0, true);
        return false;
    }
    if (r->role == RAFT_LEADER) {
        read.index = r->log.commit;
        read.round = r->round + 1;
    }
    r->reads[r->read_count++] = read;
    return true;
}

void raft_on_read(struct raft *r, uint64_t context)
{
    struct raft_read read = {
        .member = r->options.id,
        .context = context,
        .ask = r->ask_last + 1,
        .asked_ms = r->now_ms,
    };
    if (!add_read(r, read))
        return;
    r->ask_last++;
    if (r->role != RAFT_LEADER && r->leader != 0)
        raft_reads_send(r);
}

/* ---- the leader ---- */

/* By the configuration in force when the answers are counted; it may be newer than the read.
 *   1. {1,2,3}: the leader, 1, is asked for a read, and appends the joint {1,4,5} with {1,2,3}
 *      before the round is answered
 *   2. 2 and 3 may have elected 2 before the read was asked, and committed more; 4 and 5 know
 *      nothing of that, so their answers alone prove nothing
 *   3. the joint one needs two of {1,2,3} as well, and 2 and 3 answer no round of 1's term.
 * A simple change is no different: its majorities meet those of the one before, and nobody is
 * elected by one older still, since that was committed in this leader's term before. */
static uint64_t confirmed_round(const struct raft *r)
{
    uint64_t values[RAFT_MEMBERS_MAX] = { 0 };
    for (uint32_t i = 0; i < r->member_count; i++)
        values[i] = r->members[i].round;
    return raft_quorum_value(r, values);
}

/* Rounds are pipelined, up to a few; reads past that share the next one. */
void raft_reads_begin_round(struct raft *r)
{
    if (r->read_count == 0 || r->reads[r->read_count - 1].round <= r->round)
        return;
    if (r->round - confirmed_round(r) < RAFT_ROUNDS_INFLIGHT_MAX)
        raft_heartbeat_round(r);
}

void raft_reads_confirm(struct raft *r)
{
    if (r->read_count == 0 || r->log.commit < r->term_first_index)
        return;
    uint64_t round = confirmed_round(r);
    uint32_t count = 0;
    for (; count < r->read_count && r->reads[count].round <= round; count++) {
        const struct raft_read *read = &r->reads[count];
        push_result(r, read, read->index > r->term_first_index ? read->index : r->term_first_index,
                    false);
    }
    drop_reads(r, 0, count);
}

/* A member repeats its newest question until it is answered: one copy is enough. */
static bool is_queued(const struct raft *r, const struct raft_msg *msg)
{
    for (uint32_t i = r->read_count; i-- > 0;)
        if (r->reads[i].member == msg->from)
            return r->reads[i].context == msg->read_index.context;
    return false;
}

void raft_on_read_index(struct raft *r, const struct raft_msg *msg)
{
    struct raft_read read = {
        .member = msg->from,
        .context = msg->read_index.context,
        .asked_ms = r->now_ms,
    };
    struct raft_progress *p = raft_member(r, msg->from);
    if (r->role != RAFT_LEADER || !p) {
        push_result(r, &read, 0, true);
        return;
    }
    raft_progress_hear(r, p);
    if (p->repairing == 0)
        p->contact_ms = r->now_ms;
    if (!is_queued(r, msg))
        IGNORE(add_read(r, read), "it is refused then");
}

/* Those that were asked of a follower while it had no leader are the new leader's to answer. */
void raft_reads_on_elected(struct raft *r)
{
    uint32_t sent = 0;
    while (sent < r->read_count && r->reads[sent].ask <= r->ask_sent)
        sent++;
    refuse_first(r, sent);
    for (uint32_t i = 0; i < r->read_count; i++) {
        r->reads[i].index = r->log.commit;
        r->reads[i].round = 1;
    }
}

void raft_reads_on_deposed(struct raft *r)
{
    refuse_first(r, r->read_count);
    r->ask_sent = r->ask_last;
}

/* ---- the others ---- */

void raft_reads_send(struct raft *r)
{
    if (r->read_count == 0)
        return;
    const struct raft_read *newest = &r->reads[r->read_count - 1];
    raft_push_message(r, &(struct raft_msg){ .type = RAFT_MSG_READ_INDEX,
                                             .to = r->leader,
                                             .read_index = { r->ask_base + newest->ask } });
    r->ask_sent = newest->ask;
    r->reads_sent_to = r->leader;
    r->reads_sent_ms = r->now_ms;
}

void raft_reads_on_leader(struct raft *r)
{
    if (r->reads_sent_to != r->leader) {
        uint32_t sent = 0;
        while (sent < r->read_count && r->reads[sent].ask <= r->ask_sent)
            sent++;
        refuse_first(r, sent);
    }
    raft_reads_send(r);
}

/* Answers to questions of an earlier life of this process, or answered before, find no read: the
 * numbers begin elsewhere at each start. */
void raft_on_read_index_result(struct raft *r, const struct raft_msg *msg)
{
    const struct raft_msg_read_index_result *result = &msg->read_index_result;
    uint64_t ask = result->context - r->ask_base;
    if (r->role == RAFT_LEADER || msg->from != r->reads_sent_to || ask > r->ask_sent)
        return;
    uint32_t count = 0;
    while (count < r->read_count && r->reads[count].ask <= ask)
        count++;
    if (count == 0)
        return;
    if (result->refused) {
        if (r->reads[count - 1].ask != ask)
            return;
        push_result(r, &r->reads[count - 1], 0, true);
        drop_reads(r, count - 1, 1);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        push_result(r, &r->reads[i], result->index, false);
    drop_reads(r, 0, count);
}

void raft_reads_on_tick(struct raft *r)
{
    if (r->role == RAFT_LEADER || r->now_ms < raft_reads_deadline_ms(r))
        return;
    if (r->leader != 0) {
        raft_reads_send(r);
        return;
    }
    uint32_t count = 0;
    while (count < r->read_count &&
           r->now_ms >= r->reads[count].asked_ms + r->options.election_timeout_ms)
        count++;
    refuse_first(r, count);
}

/* Not on a leader, whose heartbeats come anyway. */
uint64_t raft_reads_deadline_ms(const struct raft *r)
{
    if (r->read_count == 0)
        return RAFT_NEVER_MS;
    if (r->leader != 0)
        return r->reads_sent_ms + r->options.heartbeat_ms;
    return r->reads[0].asked_ms + r->options.election_timeout_ms;
}
