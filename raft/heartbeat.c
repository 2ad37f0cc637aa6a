/* Heartbeats: they keep a leader in place, tell it that it is one, carry read rounds and the
 * commit index, and show whether an append was lost. */
#include "raft/raft_internal.h"

void raft_heartbeat_send(struct raft *r, const struct raft_progress *member)
{
    /* Only up to what it is known to hold: beyond that its log may be another. */
    uint64_t commit = r->log.commit < member->match ? r->log.commit : member->match;
    raft_push_message(r, &(struct raft_msg){
                             .type = RAFT_MSG_HEARTBEAT,
                             .to = member->id,
                             .heartbeat = { .commit = commit,
                                            .round = r->round,
                                            .keep_index = raft_keep_index(r),
                                            .state = r->state,
                                            .last_index = r->log.last.index,
                                            .repair_id = member->repairing },
                         });
}

void raft_heartbeat_round(struct raft *r)
{
    r->round++;
    r->heartbeat_due_ms = r->now_ms + r->options.heartbeat_ms;
    for (uint32_t i = 0; i < r->member_count; i++) {
        struct raft_progress *p = &r->members[i];
        if (p->id == r->options.id)
            p->round = r->round;
        else
            raft_heartbeat_send(r, p);
    }
}

/* The last moment at which a quorum had been heard since. */
uint64_t raft_quorum_contact_ms(const struct raft *r)
{
    uint64_t values[RAFT_MEMBERS_MAX] = { 0 };
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct raft_progress *p = &r->members[i];
        values[i] = p->id == r->options.id ? r->now_ms : p->contact_ms;
    }
    return raft_quorum_value(r, values);
}

/* A leader that a quorum does not hear steps down (thesis §6.2): its clients look elsewhere, and
 * its own stickiness ends. In a joint configuration that means both halves:
 *   1. {1,2,3} is to become {3,4,5}; the leader, 1, reaches 2 and 3, and 3 alone reaches 4 and 5
 *   2. 1 commits nothing and confirms no read; 3 could do both
 *   3. as long as 1 leads, 2 and 3 hear it and elect nobody else. */
void raft_on_leader_tick(struct raft *r)
{
    if (r->role == RAFT_LEADER &&
        r->now_ms >= raft_quorum_contact_ms(r) + r->options.election_timeout_ms)
        raft_become_follower(r, r->term, 0);
}

void raft_on_heartbeat(struct raft *r, const struct raft_msg *msg)
{
    r->term_leader = msg->from;
    raft_on_leader_heard(r, msg->from);
    raft_repair_on_heartbeat(r, &msg->heartbeat);
    uint64_t commit = msg->heartbeat.commit;
    if (r->awaits_repair && commit > r->verified)
        commit = r->verified; /* it was told of a log that is lost */
    if (commit > r->log.commit)
        r->log.commit = commit;
    r->keep_index = msg->heartbeat.keep_index;
    raft_push_message(r, &(struct raft_msg){
                             .type = RAFT_MSG_HEARTBEAT_RESULT,
                             .to = msg->from,
                             .heartbeat_result = { .round = msg->heartbeat.round,
                                                   .state = r->state,
                                                   .room_bytes = raft_log_room(&r->log),
                                                   .repair_id = raft_repair_id(r) },
                         });
}

/* The member lives, but an append to it has gone unanswered for a heartbeat interval: the link may
 * have dropped it. While pipelining an empty append at the end shows a gap; a slow disk shows none
 * and is not sent everything again. */
static void look_for_loss(struct raft *r, struct raft_progress *p)
{
    uint64_t quiet_ms = r->now_ms - p->append_ms;
    switch (p->state) {
    case RAFT_PROGRESS_PROBE:
        if (quiet_ms < r->options.heartbeat_ms || !p->probe_sent)
            break;
        p->probe_sent = false;
        p->gap_check_due = true; /* it was sent for its answer, though all may be there */
        break;
    case RAFT_PROGRESS_REPLICATE:
        if (quiet_ms >= r->options.heartbeat_ms && p->match + 1 < p->next)
            p->gap_check_due = true;
        break;
    case RAFT_PROGRESS_SNAPSHOT: /* it may have been restored by other means */
        if (quiet_ms >= r->options.election_timeout_ms)
            p->gap_check_due = true;
        break;
    }
}

void raft_on_heartbeat_result(struct raft *r, const struct raft_msg *msg)
{
    if (r->role != RAFT_LEADER)
        return;
    struct raft_progress *p = raft_member(r, msg->from);
    raft_progress_hear(r, p);
    if (raft_repair_hear(r, p, msg->heartbeat_result.repair_id)) {
        p->contact_ms = r->now_ms;
        if (msg->heartbeat_result.round > p->round)
            p->round = msg->heartbeat_result.round;
    }
    p->room_bytes = msg->heartbeat_result.room_bytes;
    if (p->room_bytes > 0)
        p->retry_ms = 0;
    look_for_loss(r, p);
}
