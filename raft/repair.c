/* Repair (I7): a node whose disk has lost some of what was durable, but not its term and vote, gets
 * it back from a leader. Until then it votes for nobody, and its answers carry repair_id, by which
 * leaders count it for nothing: no commit, no read round, no contact.
 *
 * It is whole again when its log equals a leader's, durably, up to a target: that leader's last
 * index, as a heartbeat names it that was sent after this start. Call the node p, and its term at
 * this start T. What its disk may have lost, p acknowledged before this start, and in a term of at
 * most T, since no term is acted in before it is durable. Each such entry e that is committed, or
 * ever will be, is in the leader's log, at or below its last index:
 *
 *   a. The leader leads T. What p acknowledged to it, it had sent to p. What p acknowledged to
 *      leaders before it was in p's log when p voted in T, if it did: elections see to it as ever
 *      (Raft §5.4.3). But a heartbeat may be older than an acknowledgement:
 *        1. the leader's log ends at 5, and it sends a heartbeat, which is held up
 *        2. it sends 6 to p, p acknowledges it, and with p it is committed
 *        3. p restarts without 6, and the heartbeat arrives: it is whole at 5, and elects a node
 *           that has never seen 6.
 *      So in T a heartbeat counts only when it echoes the repair_id, new at each start.
 *   b. The leader leads a later term. It was elected without p, whose vote would have raised p's
 *      durable term. The quorum that acknowledged e and the one that voted meet in a node other
 *      than p. That had e when it voted, or had lost it and been repaired before, so by the same
 *      argument had it back; it did not vote in between. So the leader has e since its election,
 *      and any heartbeat of its will do.
 *
 * Another leader's log may be shorter than the one's before it, so a new term fixes it anew.
 *
 * What is left of the log may be a past that was overwritten, so the commit index on the disk says
 * nothing of it:
 *   1. the journal has 6..8 of term 1, then 6..7 of term 2 in their place with commit 7
 *   2. the second write is damaged: 6..8 of term 1 remain, and none of them is committed. */
#include "raft/raft_internal.h"

uint64_t raft_repair_id(const struct raft *r)
{
    return r->awaits_repair ? r->repair_id : 0;
}

bool raft_awaits_repair(const struct raft *r)
{
    return r->awaits_repair;
}

void raft_repair_begin(struct raft *r)
{
    r->awaits_repair = true;
    r->repair_id = r->ask_base | 1; /* by chance, and not 0 */
    r->repair_start_term = r->term;
}

/* ---- the node ---- */

void raft_repair_on_heartbeat(struct raft *r, const struct raft_msg_heartbeat *heartbeat)
{
    if (!r->awaits_repair || r->repair_has_target)
        return;
    if (r->term == r->repair_start_term && heartbeat->repair_id != r->repair_id)
        return;
    r->repair_has_target = true;
    r->repair_target = heartbeat->last_index;
}

/* At the end of each step, and when more is durable. */
void raft_repair_advance(struct raft *r)
{
    if (!r->awaits_repair || !r->repair_has_target)
        return;
    uint64_t whole = r->verified > r->log.commit ? r->verified : r->log.commit;
    if (whole < r->repair_target || r->log.durable < r->repair_target)
        return;
    r->awaits_repair = false;
    r->repaired = true;
    raft_election_reset(r);
    raft_append_answer_again(r); /* it counts from now on */
}

/* ---- its leader ---- */

/* Of each result, before its contents count. False: the member counts for nothing. What it
 * acknowledged before its disk lost it is forgotten when it is first heard to await repair. A
 * result from before that start may still arrive after it, and then it counts until its next
 * answer. That loses nothing: what it acknowledged back then was true then, and the target covers
 * it; what it acknowledged since is durable there and equals our log. */
bool raft_repair_hear(struct raft *r, struct raft_progress *p, uint64_t repair_id)
{
    if (repair_id == 0) {
        p->repairing = 0;
        return true;
    }
    if (p->repairing != repair_id) {
        p->repairing = repair_id;
        raft_progress_reset_match(r, p);
    }
    return false;
}
