/* Leadership transfer (thesis §3.10): on request, by a leader that is no voter any more (thesis
 * §4.2.2), and by one that has stopped hearing its disk.
 *
 *   begin: no more proposals --target has all of the log--> TIMEOUT_NOW --> it campaigns at once
 *     |                                                         |
 *     +--an election timeout passes---------> goes on  <--------+  it must go: becomes follower
 *
 * The target's requests carry `transfer`, which sees past stickiness: all have heard from the
 * leader just now. It says so only in the election that the leader asked for:
 *   1. leader 1 of term 5 sends 2 TIMEOUT_NOW; 2 asks for votes in term 6
 *   2. 2 loses, and 3 leads term 7
 *   3. a late copy of 2's request is of term 6 and moves nobody; in term 8 it asks without it.
 *
 * The leader itself gives way to the one that it told, and to nobody else. A TIMEOUT_NOW that
 * arrives after the leader has given up starts an election all the same: that costs time, and
 * nothing else. */
#include "raft/raft_internal.h"

/* ---- the disk ---- */

/* Nothing of what is under way has become durable for an election timeout. */
bool raft_disk_is_stalled(const struct raft *r)
{
    return r->now_ms >= raft_disk_stall_ms(r);
}

uint64_t raft_disk_stall_ms(const struct raft *r)
{
    if (r->seq_durable == r->seq_last)
        return RAFT_NEVER_MS;
    return r->disk_ms + r->options.election_timeout_ms;
}

/* ---- to whom ---- */

static bool is_fit(const struct raft *r, const struct raft_progress *p)
{
    return p->id != r->options.id && (p->roles & RAFT_VOTER) && !p->repairing &&
           p->state == RAFT_PROGRESS_REPLICATE && raft_progress_is_active(r, p);
}

/* The one that is furthest; 0: nobody is fit. */
static uint64_t best_voter(const struct raft *r)
{
    const struct raft_progress *best = NULL;
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct raft_progress *p = &r->members[i];
        if (is_fit(r, p) && (!best || p->match > best->match))
            best = p;
    }
    return best ? best->id : 0;
}

static uint64_t target_of(const struct raft *r, uint64_t to)
{
    if (to == 0)
        return best_voter(r);
    bool is_other_voter = to != r->options.id && raft_config_has_voter(&r->config.config, to);
    return is_other_voter ? to : 0;
}

/* ---- the leader ---- */

enum raft_err raft_transfer_check(const struct raft *r, uint64_t to)
{
    if (r->role != RAFT_LEADER || !r->has_voice)
        return RAFT_E_NOT_LEADER;
    return target_of(r, to) != 0 ? RAFT_OK : RAFT_E_TRANSFEREE;
}

static void begin(struct raft *r, uint64_t to)
{
    r->transferee = to;
    r->transfer_is_sent = false;
    r->transfer_deadline_ms = r->now_ms + r->options.election_timeout_ms;
}

void raft_on_transfer(struct raft *r, uint64_t to)
{
    uint64_t target = target_of(r, to);
    if (r->transferee == 0 || (to != 0 && r->transferee != target))
        begin(r, target);
}

void raft_transfer_end(struct raft *r)
{
    r->transferee = 0;
}

/* When it has to go for its disk's sake. One that is a quorum by itself waits for its disk: nobody
 * else could lead. */
static uint64_t disk_limit_ms(const struct raft *r)
{
    return raft_quorum_is_self(r) ? RAFT_NEVER_MS : raft_disk_stall_ms(r);
}

/* It may not lead on: its removal is committed, or its disk has stalled. */
static bool must_go(const struct raft *r)
{
    bool is_removed = r->config.index <= r->log.commit && !raft_is_voter(r);
    return is_removed || r->now_ms >= disk_limit_ms(r);
}

static void send_timeout_now(struct raft *r)
{
    const struct raft_progress *p = raft_member(r, r->transferee);
    if (r->transfer_is_sent || p->state != RAFT_PROGRESS_REPLICATE ||
        p->match != r->log.last.index || p->repairing)
        return;
    raft_push_message(r, &(struct raft_msg){ .type = RAFT_MSG_TIMEOUT_NOW, .to = p->id });
    r->transfer_is_sent = true;
    r->transfer_told = p->id;
}

/* At the end of each step of a leader, behind the appends. */
void raft_transfer_advance(struct raft *r)
{
    bool goes = must_go(r);
    if (goes && r->transferee == 0 && best_voter(r) != 0)
        begin(r, best_voter(r));
    if (r->transferee != 0 && r->now_ms >= r->transfer_deadline_ms)
        r->transferee = 0;
    if (r->transferee != 0)
        send_timeout_now(r);
    if (goes && (r->transferee == 0 || r->transfer_is_sent))
        raft_become_follower(r, r->term, 0);
}

uint64_t raft_transfer_deadline_ms(const struct raft *r)
{
    return r->transferee != 0 ? r->transfer_deadline_ms : disk_limit_ms(r);
}

uint64_t raft_transferee(const struct raft *r)
{
    return r->role == RAFT_LEADER ? r->transferee : 0;
}

/* ---- the target ---- */

/* It is of the present term, so from the leader that verified our log in it. A candidate has left
 * that term's leader behind. */
void raft_on_timeout_now(struct raft *r)
{
    if (r->role != RAFT_CANDIDATE && raft_is_promotable(r))
        raft_campaign_for_transfer(r);
}
