/* One step: check the event, let its handler change the state, then gather the effects. */
#include "raft/raft_internal.h"

#define RAFT_ERROR_TEXT(name, text) \
    case name:                      \
        return text;

const char *raft_strerror(enum raft_err err)
{
    switch (err) {
        RAFT_ERRORS(RAFT_ERROR_TEXT)
    }
    return "unknown error";
}

/* ---- what handlers use ---- */

/* Fills in the sender and, where the message names none, the term. Without a voice nothing leaves
 * (I7), whatever a handler has to say. */
void raft_push_message(struct raft *r, const struct raft_msg *msg)
{
    if (!r->has_voice)
        return;
    ASSERT(r->message_count < RAFT_MESSAGES_MAX);
    ASSERT(msg->to != 0 && msg->to != r->options.id);
    struct raft_msg *out = &r->messages[r->message_count++];
    *out = *msg;
    out->from = r->options.id;
    if (out->term == 0)
        out->term = r->term;
}

uint64_t raft_step_seq(const struct raft *r)
{
    return r->seq_last + 1;
}

void raft_set_hard(struct raft *r, uint64_t term, uint64_t vote)
{
    r->term = term;
    r->vote = vote;
    r->hard_changed = true;
    r->hard_seq = raft_step_seq(r);
}

/* As many of them as there is room for. */
void raft_append_entries(struct raft *r, const struct raft_entry *entries, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!raft_log_admits(&r->log, entries[i].type, entries[i].bytes.size))
            return;
        raft_log_append(&r->log, &entries[i], raft_step_seq(r));
        if (r->persist.first == 0)
            r->persist.first = entries[i].pos.index;
        r->persist.last = entries[i].pos.index;
    }
}

/* ---- events ---- */

static enum raft_err check(const struct raft *r, const struct raft_event *event)
{
    ASSERT(event->now_ms >= r->now_ms);
    switch (event->type) {
    case RAFT_EV_MESSAGE:
        return r->has_voice ? raft_message_check(r, &event->message) : RAFT_OK;
    case RAFT_EV_PROPOSE:
        return raft_propose_check(r, event);
    case RAFT_EV_FETCHED:
        return raft_fetched_check(r, event);
    case RAFT_EV_DURABLE:
        ASSERT(event->persist_seq <= r->seq_last);
        return RAFT_OK;
    case RAFT_EV_APPLIED:
        ASSERT(event->applied.index >= r->log.applied);
        ASSERT(event->applied.index <= r->log.handed);
        return RAFT_OK;
    case RAFT_EV_FLUSHED:
        ASSERT(event->flushed_index <= r->log.applied);
        return RAFT_OK;
    case RAFT_EV_TRANSFER:
        return raft_transfer_check(r, event->transfer.to);
    case RAFT_EV_SNAPSHOT_INSTALLED:
        return raft_snapshot_check(r, event->snapshot_installed.pos,
                                   &event->snapshot_installed.config);
    case RAFT_EV_TICK:
    case RAFT_EV_READ:
    case RAFT_EV_LINK:
    case RAFT_EV_STARTED:
    case RAFT_EV_LEADER_DEAD:
    case RAFT_EV_SNAPSHOT_SENT:
        return RAFT_OK;
    }
    ASSERT(!"a known event type");
}

static void on_tick(struct raft *r)
{
    raft_on_leader_tick(r);
    raft_on_election_tick(r);
    raft_reads_on_tick(r);
}

static void on_durable(struct raft *r, uint64_t persist_seq)
{
    r->disk_ms = r->now_ms; /* a part of a long write is progress, too */
    if (persist_seq <= r->seq_durable)
        return;
    r->seq_durable = persist_seq;
    raft_log_on_durable(&r->log, persist_seq);
    raft_repair_advance(r); /* before what is durable is answered */
    raft_vote_on_durable(r);
    raft_append_answer_due(r);
    raft_election_on_durable(r);
}

static void on_propose(struct raft *r, const struct raft_event *event)
{
    raft_append_entries(r, event->propose.entries, event->propose.entry_count);
    if (event->propose.entry_count > 0)
        ASSERT(r->log.last.index ==
               event->propose.entries[event->propose.entry_count - 1].pos.index);
    if (event->propose.config_count > 0)
        raft_config_append(r, &event->propose.configs[0]);
}

static void on_link(struct raft *r, uint64_t id, bool is_up)
{
    struct raft_progress *member = raft_member(r, id);
    if (!member || id == r->options.id)
        return;
    if (r->role == RAFT_LEADER)
        raft_replication_on_link(r, member, is_up);
    else if (is_up)
        raft_election_on_link_up(r, member);
    if (is_up && id == r->leader)
        raft_reads_send(r);
}

static void dispatch(struct raft *r, const struct raft_event *event)
{
    switch (event->type) {
    case RAFT_EV_TICK:
        on_tick(r);
        return;
    case RAFT_EV_MESSAGE:
        if (r->has_voice)
            raft_on_message(r, &event->message);
        return;
    case RAFT_EV_PROPOSE:
        on_propose(r, event);
        return;
    case RAFT_EV_DURABLE:
        on_durable(r, event->persist_seq);
        return;
    case RAFT_EV_APPLIED:
        r->log.applied = event->applied.index;
        r->state = event->applied;
        return;
    case RAFT_EV_FLUSHED:
        raft_log_on_flushed(&r->log, event->flushed_index);
        raft_append_on_flushed(r);
        return;
    case RAFT_EV_READ:
        raft_on_read(r, event->read.context);
        return;
    case RAFT_EV_FETCHED:
        raft_on_fetched(r, event);
        return;
    case RAFT_EV_LINK:
        on_link(r, event->link.member, event->link.up);
        return;
    case RAFT_EV_STARTED:
        raft_on_started(r);
        return;
    case RAFT_EV_LEADER_DEAD:
        raft_on_leader_dead(r);
        return;
    case RAFT_EV_TRANSFER:
        raft_on_transfer(r, event->transfer.to);
        return;
    case RAFT_EV_SNAPSHOT_SENT:
        raft_on_snapshot_sent(r, event->snapshot_sent.member, event->snapshot_sent.pos,
                              event->snapshot_sent.ok);
        return;
    case RAFT_EV_SNAPSHOT_INSTALLED:
        raft_on_snapshot_installed(r, event->snapshot_installed.pos,
                                   &event->snapshot_installed.config,
                                   event->snapshot_installed.hash);
        return;
    }
}

/* ---- the step ---- */

static void begin(struct raft *r, uint64_t now_ms)
{
    r->now_ms = now_ms;
    r->is_started = true;
    r->hard_changed = false;
    r->persist = (struct raft_range){ 0 };
    r->message_count = 0;
    r->result_count = 0;
    r->fetch_count = 0;
    r->snapshot_count = 0;
    r->repaired = false;
    if (!r->has_voice && (r->role != RAFT_FOLLOWER || r->leader != 0))
        raft_become_follower(r, r->term, 0);
    if (r->election_restart)
        raft_election_reset(r);
}

/* What a leader does whatever the event was. */
static void lead(struct raft *r)
{
    raft_commit_advance(r);
    if (r->now_ms >= r->heartbeat_due_ms)
        raft_heartbeat_round(r);
    raft_reads_begin_round(r);
    raft_reads_confirm(r);
    raft_replicate(r);
    raft_transfer_advance(r);
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t deadline_ms(const struct raft *r)
{
    if (r->role != RAFT_LEADER)
        return min_u64(raft_election_deadline_ms(r), raft_reads_deadline_ms(r));
    uint64_t contact_ms = raft_quorum_contact_ms(r);
    uint64_t lost_ms = contact_ms + r->options.election_timeout_ms;
    return min_u64(min_u64(r->heartbeat_due_ms, lost_ms), raft_transfer_deadline_ms(r));
}

static bool status_differs(struct raft_status a, struct raft_status b)
{
    return a.role != b.role || a.term != b.term || a.leader != b.leader;
}

/* Entries go to the state machine once, in order, when they are committed and durable here (I3).
 */
static struct raft_range hand_over(struct raft *r)
{
    struct raft_range range = {
        .first = r->log.handed + 1,
        .last = min_u64(r->log.commit, r->log.durable),
    };
    if (range.first > range.last)
        return (struct raft_range){ .first = 1, .last = 0 };
    r->log.handed = range.last;
    return range;
}

static void gather_persist(struct raft *r, struct raft_ready *out)
{
    bool has_entries = r->persist.first != 0;
    out->persist = has_entries ? r->persist : (struct raft_range){ .first = 1, .last = 0 };
    out->hard_changed = r->hard_changed;
    if (!r->hard_changed && !has_entries)
        return;
    if (r->seq_durable == r->seq_last)
        r->disk_ms = r->now_ms;
    out->persist_seq = ++r->seq_last;
}

static void gather_config(struct raft *r, struct raft_ready *out)
{
    out->leave_joint_due = raft_is_leave_joint_due(r);
    out->config_changed = r->config_changed;
    if (r->config_changed)
        out->config = r->config;
    r->config_changed = false;
}

static void gather(struct raft *r, struct raft_ready *out)
{
    gather_persist(r, out);
    gather_config(r, out);
    out->committed = hand_over(r);
    /* A commit index on the disk above what the disk holds would be wrong after a crash. */
    out->hard = (struct raft_hard_state){
        .term = r->term,
        .vote = r->vote,
        .commit = min_u64(r->log.commit, r->log.durable),
    };
    out->messages = r->messages;
    out->message_count = r->message_count;
    out->reads = r->results;
    out->read_count = r->result_count;
    out->fetches = r->fetches;
    out->fetch_count = r->fetch_count;
    out->snapshots = r->snapshots;
    out->snapshot_count = r->snapshot_count;
    out->repaired = r->repaired;
    out->status = raft_status(r);
    out->status_changed = status_differs(out->status, r->told);
    r->told = out->status;
    out->deadline_ms = deadline_ms(r);
}

enum raft_err raft_step(struct raft *r, const struct raft_event *event,
                        struct raft_ready *ret_ready)
{
    *ret_ready = (struct raft_ready){ .persist = { 1, 0 }, .committed = { 1, 0 } };
    enum raft_err err = check(r, event);
    if (err != RAFT_OK) {
        ret_ready->deadline_ms = deadline_ms(r);
        return err;
    }
    begin(r, event->now_ms);
    raft_log_evict(&r->log); /* before anything points to entries in this step */
    dispatch(r, event);
    if (r->role == RAFT_LEADER)
        lead(r);
    raft_repair_advance(r);
    gather(r, ret_ready);
    return RAFT_OK;
}

/* Losing the voice takes effect at once for what is owed, and with the next step for the role. */
void raft_set_voice(struct raft *r, bool has_voice)
{
    if (has_voice && !r->has_voice)
        r->election_restart = true;
    if (!has_voice) {
        r->pending_vote = 0;
        r->owes_answer = false;
        r->said_no_room = false;
    }
    r->has_voice = has_voice;
}

/* ---- queries ---- */

const struct raft_entry *raft_entry_at(const struct raft *r, uint64_t index)
{
    if (!raft_log_has(&r->log, index))
        return NULL;
    return &r->log.entries[raft_log_slot(&r->log, index)];
}

uint64_t raft_persist_seq_at(const struct raft *r, uint64_t index)
{
    ASSERT(raft_log_has(&r->log, index));
    return r->log.persist_seqs[raft_log_slot(&r->log, index)];
}

struct raft_pos raft_next_pos(const struct raft *r)
{
    return (struct raft_pos){ .term = r->term, .index = r->log.last.index + 1 };
}

struct raft_status raft_status(const struct raft *r)
{
    return (struct raft_status){ .role = r->role, .term = r->term, .leader = r->leader };
}

struct raft_pos raft_last_pos(const struct raft *r)
{
    return r->log.last;
}

uint64_t raft_commit_index(const struct raft *r)
{
    return r->log.commit;
}

uint64_t raft_term_at(const struct raft *r, uint64_t index)
{
    uint64_t term;
    return raft_log_term(&r->log, index, &term) ? term : 0;
}

uint32_t raft_term_starts(const struct raft *r, uint64_t up_to, struct raft_term_start *ret_starts,
                          uint32_t count_max)
{
    uint32_t end = r->log.run_count;
    while (end > 0 && r->log.runs[end - 1].first_index > up_to)
        end--;
    uint32_t count = end < count_max ? end : count_max;
    if (count > 0)
        memcpy(ret_starts, r->log.runs + (end - count), count * sizeof ret_starts[0]);
    return count;
}

uint64_t raft_keep_index(const struct raft *r)
{
    if (r->role != RAFT_LEADER)
        return r->keep_index;
    uint64_t keep = r->log.durable + 1;
    for (uint32_t i = 0; i < r->member_count; i++)
        if (r->members[i].id != r->options.id && r->members[i].state != RAFT_PROGRESS_SNAPSHOT)
            keep = min_u64(keep, r->members[i].match + 1);
    return keep;
}

bool raft_member_progress(const struct raft *r, uint64_t member,
                          struct raft_member_progress *ret_progress)
{
    const struct raft_progress *p = raft_member(r, member);
    if (!p || r->role != RAFT_LEADER)
        return false;
    if (member == r->options.id) {
        *ret_progress = (struct raft_member_progress){ .match = r->log.durable,
                                                       .active = true,
                                                       .room_bytes = raft_log_room(&r->log) };
        return true;
    }
    *ret_progress = (struct raft_member_progress){
        .match = p->match,
        .active = raft_progress_is_active(r, p),
        .repairing = p->repairing != 0,
        .needs_snapshot = p->state == RAFT_PROGRESS_SNAPSHOT,
        .room_bytes = p->room_bytes,
    };
    return true;
}
