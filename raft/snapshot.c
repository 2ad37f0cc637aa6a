/* Snapshots (Raft §7): a leader has one sent to a member whose next entries are gone here, and a
 * node that has received one begins its log anew after it. The bytes are the caller's. */
#include "raft/raft_internal.h"

/* ---- the leader ---- */

/* Asks for it, once for each need: what was asked for is under way until it is answered. One that
 * is not heard would not be reached by a snapshot either. */
void raft_snapshot_ask(struct raft *r, struct raft_progress *p)
{
    if (p->snapshot_asked || r->now_ms < p->snapshot_retry_ms || !raft_progress_is_active(r, p))
        return;
    p->snapshot_asked = true;
    ASSERT(r->snapshot_count < RAFT_MEMBERS_MAX);
    r->snapshots[r->snapshot_count++] = (struct raft_snapshot_need){ .member = p->id };
}

static void back_off(struct raft *r, struct raft_progress *p)
{
    uint64_t base_ms = r->options.election_timeout_ms;
    p->snapshot_backoff_ms = p->snapshot_backoff_ms == 0 ? base_ms : 2 * p->snapshot_backoff_ms;
    if (p->snapshot_backoff_ms > 8 * base_ms)
        p->snapshot_backoff_ms = 8 * base_ms;
    p->snapshot_retry_ms = r->now_ms + p->snapshot_backoff_ms;
}

void raft_on_snapshot_sent(struct raft *r, uint64_t member, struct raft_pos pos, bool ok)
{
    struct raft_progress *p = raft_member(r, member);
    if (r->role != RAFT_LEADER || !p || !p->snapshot_asked)
        return;
    p->snapshot_asked = false;
    if (!ok) {
        back_off(r, p);
        return;
    }
    ASSERT(pos.index <= r->log.applied);
    /* One that says so and still needs another would keep this node at nothing else. */
    p->snapshot_backoff_ms = 0;
    p->snapshot_retry_ms = r->now_ms + r->options.election_timeout_ms;
    if (p->state != RAFT_PROGRESS_SNAPSHOT)
        return;
    raft_progress_probe(p, pos.index > p->match ? pos.index + 1 : p->match + 1);
    p->gap_check_due = true; /* how far it is shows at once, though there may be nothing to send */
}

/* Where an empty append shows whether the member has come within reach by other means. */
uint64_t raft_snapshot_check_next(const struct raft *r, const struct raft_progress *p)
{
    return p->match + 1 > r->log.first ? p->match + 1 : r->log.first;
}

/* ---- the receiver ---- */

/* What is committed, and what this term's leader has, is in no snapshot another. */
static bool contradicts_log(const struct raft *r, struct raft_pos pos)
{
    uint64_t settled = r->log.commit > r->verified ? r->log.commit : r->verified;
    if (r->config_before.index > settled)
        settled = r->config_before.index;
    uint64_t term;
    bool is_ours = raft_log_term(&r->log, pos.index, &term) && term == pos.term;
    return pos.index > r->log.applied && pos.index <= settled && !is_ours;
}

enum raft_err raft_snapshot_check(const struct raft *r, struct raft_pos pos,
                                  const struct raft_config_at *config)
{
    bool is_possible = pos.index > 0 && pos.index <= RAFT_INDEX_MAX && pos.term > 0 &&
                       pos.term <= r->term && config->index <= pos.index &&
                       raft_config_is_valid(&config->config);
    return is_possible && !contradicts_log(r, pos) ? RAFT_OK : RAFT_E_STATE;
}

/* The state machine is at pos, whatever was handed out before. Applied is the measure, not
 * committed:
 *   1. 5 is applied, 10 is committed, and a snapshot of 8 takes the place of the state at 5
 *   2. who took it for old, since 8 is committed, would apply 6 to 8 to it again.
 * An older one than what is applied would take back what clients have seen: its caller is to drop
 * it, and nothing happens here.
 *
 * Entries after pos stay when the log has pos itself; else they follow something that contradicts
 * a committed entry or is missing, so they are not committed and never will be (Raft §5.3, log
 * matching), even if this node acknowledged them to some leader:
 *   1. 6 and 7 of term 2 are here alone, and acknowledged to the leader of term 2, who dies
 *   2. term 3 commits its own 6 to 9, and sends a snapshot of 9: 6 and 7 are dropped
 *   3. to commit them, term 2 would have needed a quorum, and one of that would have kept term 3's
 *      leader from being elected without them. */
void raft_on_snapshot_installed(struct raft *r, struct raft_pos pos,
                                const struct raft_config_at *config, uint64_t hash)
{
    if (pos.index <= r->log.applied)
        return;
    if (r->role != RAFT_FOLLOWER)
        raft_become_follower(r, r->term, 0);
    uint64_t term;
    bool is_kept = raft_log_term(&r->log, pos.index, &term) && term == pos.term;
    raft_log_begin_after(&r->log, pos, is_kept);
    raft_config_on_snapshot(r, config, pos.index, is_kept);
    r->state = (struct raft_state_hash){ .index = pos.index, .hash = hash };
    if (r->verified < pos.index)
        r->verified = pos.index; /* every leader's log has what is committed */
    raft_election_reset(r);
    raft_append_answer_due(r);
}
