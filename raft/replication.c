/* A leader brings the others' logs in line with its own (Raft §5.3, thesis §10.2.1), and decides
 * what is committed. */
#include "raft/raft_internal.h"

/* ---- commit ---- */

/* Only an entry of its own term is committed by counting; those before it go with it (Raft
 * §5.4.2, figure 8). The own log counts as far as it is durable (I1). */
void raft_commit_advance(struct raft *r)
{
    uint64_t values[RAFT_MEMBERS_MAX] = { 0 };
    for (uint32_t i = 0; i < r->member_count; i++) {
        if (r->members[i].id == r->options.id)
            r->members[i].match = r->log.durable;
        values[i] = raft_progress_counted(&r->members[i]);
    }
    uint64_t reached = raft_quorum_value(r, values);
    if (reached >= r->term_first_index && reached > r->log.commit) {
        ASSERT(reached <= r->log.last.index);
        r->log.commit = reached;
    }
}

/* ---- proposals ---- */

/* One entry may exceed the limit when it is alone. */
static bool fits(uint64_t used, uint64_t more, uint64_t max, uint32_t count)
{
    return (used <= max && more <= max - used) || (used == 0 && count == 1);
}

/* Half the window at most is uncommitted: whatever a follower has to hold beside what it can
 * apply and flush fits with room for the NOOPs of leaders to come. */
static bool has_room(const struct raft *r, const struct raft_entry *entries, uint32_t count)
{
    const struct raft_log *log = &r->log;
    if (count == 1 && entries[0].type != RAFT_ENTRY_COMMAND)
        return raft_log_admits(log, entries[0].type, entries[0].bytes.size);
    if (log->last.index - log->commit + count > log->capacity / 2 ||
        log->last.index - log->flushed + count > log->capacity)
        return false;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        bytes += entries[i].bytes.size;
    uint64_t uncommitted = raft_log_bytes(log, log->commit, log->last.index);
    uint64_t pinned = raft_log_bytes(log, log->flushed, log->last.index);
    return fits(uncommitted, bytes, r->options.uncommitted_bytes_max, count) &&
           fits(pinned, bytes, log->bytes_max, count);
}

enum raft_err raft_propose_check(const struct raft *r, const struct raft_event *event)
{
    if (r->role != RAFT_LEADER || !r->has_voice)
        return RAFT_E_NOT_LEADER;
    const struct raft_entry *entries = event->propose.entries;
    uint32_t count = event->propose.entry_count;
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(entries[i].pos.term == r->term);
        ASSERT(entries[i].pos.index == r->log.last.index + 1 + i);
        ASSERT(entries[i].block);
    }
    bool is_first = r->log.last.index + 1 == r->term_first_index;
    if (count > 0 && is_first)
        ASSERT(entries[0].type == RAFT_ENTRY_NOOP); /* raft.h, RAFT_EV_PROPOSE */
    const struct raft_config_at *configs = event->propose.configs;
    ASSERT(raft_configs_match(entries, count, configs, event->propose.config_count));
    if (event->propose.config_count > 1)
        return RAFT_E_CONFIG;
    if (event->propose.config_count == 1 && raft_config_check(r, &configs[0].config) != RAFT_OK)
        return RAFT_E_CONFIG;
    if (r->transferee != 0 && !is_first)
        return RAFT_E_FULL; /* its target could not catch up with more */
    if (r->log.last.index > RAFT_INDEX_MAX - count || !has_room(r, entries, count))
        return RAFT_E_FULL;
    return RAFT_OK;
}

/* ---- appends ---- */

/* How many entries from `from` on go into one message: within append_bytes_max but for the first,
 * and one run of the ring. */
static uint32_t batch_count(const struct raft *r, uint64_t from, uint64_t *ret_bytes)
{
    const struct raft_log *log = &r->log;
    uint32_t count = 0;
    *ret_bytes = 0;
    while (from + count <= log->last.index) {
        uint32_t slot = raft_log_slot(log, from + count);
        uint64_t bytes = log->entries[slot].bytes.size;
        if (count > 0 && (slot == 0 || *ret_bytes + bytes > r->options.append_bytes_max))
            break;
        *ret_bytes += bytes;
        count++;
    }
    return count;
}

/* False: our log no longer knows the term before them, so nothing that could be sent would be
 * accepted. */
static bool push_append(struct raft *r, struct raft_progress *p, uint64_t first,
                        const struct raft_entry *entries, uint32_t count)
{
    struct raft_pos prev = { .index = first - 1 };
    if (!raft_log_term(&r->log, prev.index, &prev.term)) {
        raft_progress_strand(p);
        return false;
    }
    raft_push_message(r, &(struct raft_msg){
                             .type = RAFT_MSG_APPEND,
                             .to = p->id,
                             .append = { .prev = prev,
                                         .commit = r->log.commit,
                                         .entries = entries,
                                         .entry_count = count },
                         });
    uint64_t end = prev.index + count;
    p->commit_sent = r->log.commit < end ? r->log.commit : end;
    return true;
}

static void send_probe(struct raft *r, struct raft_progress *p)
{
    const struct raft_entry *entries = NULL;
    uint32_t count = 0;
    uint64_t bytes = 0;
    if (raft_log_has(&r->log, p->next)) {
        entries = &r->log.entries[raft_log_slot(&r->log, p->next)];
        count = batch_count(r, p->next, &bytes);
    }
    if (!push_append(r, p, p->next, entries, count))
        return;
    p->gap_check_due = false;
    p->probe_sent = true;
    p->probe = (struct raft_inflight){ p->next - 1 + count, bytes };
    p->append_ms = r->now_ms;
}

static void ask_fetch(struct raft *r, struct raft_progress *p)
{
    if (p->fetching)
        return;
    p->fetching = true;
    p->fetch_first = p->next;
    ASSERT(r->fetch_count < RAFT_MEMBERS_MAX);
    r->fetches[r->fetch_count++] = (struct raft_fetch){
        .member = p->id,
        .first_index = p->next,
        .bytes_max = r->options.append_bytes_max,
    };
}

/* Worth a message of its own only when nothing else is on its way to be committed: under load the
 * next append, or the news of its commit, tells this too; should both fail, the next heartbeat. */
static bool has_commit_news(const struct raft *r, const struct raft_progress *p)
{
    if (r->log.commit < r->log.last.index)
        return false;
    uint64_t takes = r->log.commit < p->next - 1 ? r->log.commit : p->next - 1;
    return takes > p->commit_sent;
}

static void send_pipelined(struct raft *r, struct raft_progress *p)
{
    uint32_t sent = 0;
    while (p->next <= r->log.last.index && sent < RAFT_APPENDS_PER_STEP_MAX &&
           !raft_progress_is_full(r, p)) {
        if (p->next < r->log.first) {
            ask_fetch(r, p);
            break;
        }
        uint64_t bytes;
        uint32_t count = batch_count(r, p->next, &bytes);
        const struct raft_entry *entries = &r->log.entries[raft_log_slot(&r->log, p->next)];
        if (!push_append(r, p, p->next, entries, count))
            return;
        p->next += count;
        p->append_ms = r->now_ms;
        raft_inflights_add(r, p, (struct raft_inflight){ p->next - 1, bytes });
        sent++;
    }
    if (p->gap_check_due)
        p->append_ms = r->now_ms;
    if (sent == 0 && (p->gap_check_due || has_commit_news(r, p)))
        IGNORE(push_append(r, p, p->next, NULL, 0), "it is stranded then");
    p->gap_check_due = false;
}

/* Is it back within reach? */
static void send_snapshot_check(struct raft *r, struct raft_progress *p)
{
    if (!p->gap_check_due)
        return;
    p->gap_check_due = false;
    p->append_ms = r->now_ms;
    p->next = raft_snapshot_check_next(r, p);
    IGNORE(push_append(r, p, p->next, NULL, 0), "it stays as it is then");
}

/* Sends each member what it may have now; nothing when that was sent before. */
void raft_replicate(struct raft *r)
{
    for (uint32_t i = 0; i < r->member_count; i++) {
        struct raft_progress *p = &r->members[i];
        if (p->id == r->options.id || r->now_ms < p->retry_ms)
            continue;
        switch (p->state) {
        case RAFT_PROGRESS_PROBE:
            if (!p->probe_sent && (p->gap_check_due || p->next <= r->log.last.index))
                send_probe(r, p);
            break;
        case RAFT_PROGRESS_REPLICATE:
            send_pipelined(r, p);
            break;
        case RAFT_PROGRESS_SNAPSHOT:
            send_snapshot_check(r, p);
            raft_snapshot_ask(r, p);
            break;
        }
    }
}

/* ---- answers ---- */

static void on_accepted(struct raft *r, struct raft_progress *p, uint64_t match)
{
    if (match > p->match) {
        p->match = match;
        if (p->next <= match)
            p->next = match + 1;
        raft_inflights_free(r, p, match);
    }
    if (p->room_bytes > 0)
        p->retry_ms = 0;
    if (p->state == RAFT_PROGRESS_SNAPSHOT && p->match + 1 < r->log.first)
        return; /* it accepted something old */
    if (p->state != RAFT_PROGRESS_REPLICATE)
        raft_progress_replicate(r, p);
}

static void on_no_room(struct raft *r, struct raft_progress *p, uint64_t hint_index)
{
    uint64_t next = hint_index + 1 < p->next ? hint_index + 1 : p->next;
    raft_progress_probe(p, next > p->match ? next : p->match + 1);
    p->retry_ms = r->now_ms + r->options.heartbeat_ms;
}

/* The refused append may be an old one: below match it was overtaken by an acceptance, and while
 * probing only the probe itself counts. After one lost append all that were pipelined behind it
 * are refused; the first refusal starts the probe, the others find it under way. */
static bool is_stale_rejection(const struct raft_progress *p, uint64_t rejected_prev)
{
    if (rejected_prev <= p->match)
        return true;
    if (p->state == RAFT_PROGRESS_REPLICATE)
        return rejected_prev >= p->next;
    return rejected_prev != p->next - 1;
}

/* Where our log has a later term than the hint, the member's cannot match (its terms up to the
 * hint are no later): skip those (etcd: raft.go, stepLeader). */
static void on_mismatch(struct raft *r, struct raft_progress *p,
                        const struct raft_msg_append_result *result)
{
    if (p->state == RAFT_PROGRESS_SNAPSHOT || is_stale_rejection(p, result->rejected_prev))
        return;
    uint64_t up_to = result->rejected_prev - 1;
    if (result->hint.index < up_to)
        up_to = result->hint.index;
    struct raft_pos common;
    if (up_to <= p->match) {
        raft_progress_probe(p, p->match + 1);
    } else if (raft_log_last_of_term(&r->log, up_to, result->hint.term, &common)) {
        raft_progress_probe(p, common.index > p->match ? common.index + 1 : p->match + 1);
    } else {
        raft_progress_strand(p);
    }
}

void raft_on_append_result(struct raft *r, const struct raft_msg *msg)
{
    if (r->role != RAFT_LEADER)
        return;
    struct raft_progress *p = raft_member(r, msg->from);
    const struct raft_msg_append_result *result = &msg->append_result;
    raft_progress_hear(r, p);
    if (raft_repair_hear(r, p, result->repair_id))
        p->contact_ms = r->now_ms;
    p->append_ms = r->now_ms;
    p->room_bytes = result->room_bytes;
    if (!result->rejected)
        on_accepted(r, p, result->match);
    else if (!result->no_room)
        on_mismatch(r, p, result);
    else if (result->rejected_prev >= p->match && p->state != RAFT_PROGRESS_SNAPSHOT)
        on_no_room(r, p, result->hint.index);
}

/* ---- entries from the log store ---- */

enum raft_err raft_fetched_check(const struct raft *r, const struct raft_event *event)
{
    uint64_t first = event->fetched.first_index;
    for (uint32_t i = 0; i < event->fetched.entry_count; i++) {
        const struct raft_entry *e = &event->fetched.entries[i];
        uint64_t term;
        if (e->pos.index != first + i || e->pos.index > r->log.flushed)
            return RAFT_E_MESSAGE;
        if (raft_log_term(&r->log, e->pos.index, &term) && term != e->pos.term)
            return RAFT_E_MESSAGE;
    }
    return RAFT_OK;
}

void raft_on_fetched(struct raft *r, const struct raft_event *event)
{
    struct raft_progress *p = raft_member(r, event->fetched.member);
    if (!p || !p->fetching || p->fetch_first != event->fetched.first_index)
        return;
    p->fetching = false;
    /* Meanwhile another term, a probe, or an acknowledgement may have moved on. */
    if (r->role != RAFT_LEADER || p->state != RAFT_PROGRESS_REPLICATE ||
        p->next != p->fetch_first || raft_progress_is_full(r, p))
        return;
    uint32_t count = event->fetched.entry_count;
    if (count == 0) {
        p->append_ms = r->now_ms;
        raft_progress_strand(p);
        return;
    }
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        bytes += event->fetched.entries[i].bytes.size;
    if (!push_append(r, p, p->next, event->fetched.entries, count))
        return;
    p->next += count;
    p->append_ms = r->now_ms;
    raft_inflights_add(r, p, (struct raft_inflight){ p->next - 1, bytes });
}

/* ---- links ---- */

/* What was under way is lost with the connection; a probe waits until it is back. */
void raft_replication_on_link(struct raft *r, struct raft_progress *p, bool is_up)
{
    if (p->state == RAFT_PROGRESS_REPLICATE)
        raft_progress_probe(p, p->match + 1);
    p->probe_sent = !is_up;
    p->probe = (struct raft_inflight){ 0 };
    if (is_up) {
        p->retry_ms = 0;
        raft_heartbeat_send(r, p);
    }
}
