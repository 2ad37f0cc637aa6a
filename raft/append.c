/* A follower takes entries (Raft §5.3) and says so once they are durable (I1). */
#include "raft/raft_internal.h"

/* ---- impossible messages ---- */

static bool is_well_formed(const struct raft_msg *msg)
{
    const struct raft_msg_append *a = &msg->append;
    if ((a->prev.index == 0) != (a->prev.term == 0) || a->prev.term > msg->term)
        return false;
    if (a->prev.index > RAFT_INDEX_MAX - a->entry_count)
        return false;
    if (a->entry_count > 0 && !a->entries)
        return false;
    uint64_t term = a->prev.term == 0 ? 1 : a->prev.term;
    for (uint32_t i = 0; i < a->entry_count; i++) {
        const struct raft_entry *e = &a->entries[i];
        if (e->pos.index != a->prev.index + 1 + i || e->pos.term < term || !e->block)
            return false;
        term = e->pos.term;
    }
    if (term > msg->term ||
        !raft_configs_match(a->entries, a->entry_count, a->configs, a->config_count))
        return false;
    for (uint32_t i = 0; i < a->config_count; i++)
        if (!raft_config_is_valid(&a->configs[i].config))
            return false;
    return true;
}

/* Whether our log holds it. What lies before our start is committed: every leader has the same. */
static bool is_ours(const struct raft *r, struct raft_pos pos)
{
    uint64_t term;
    if (pos.index < r->log.start.index)
        return true;
    return raft_log_term(&r->log, pos.index, &term) && term == pos.term;
}

static uint32_t count_ours(const struct raft *r, const struct raft_msg_append *a)
{
    uint32_t count = 0;
    while (count < a->entry_count && is_ours(r, a->entries[count].pos))
        count++;
    return count;
}

/* A leader of any term holds all that is committed, and the configuration before the newest is
 * (membership.c); one leader never contradicts itself. */
static bool contradicts_settled(const struct raft *r, const struct raft_msg *msg)
{
    const struct raft_msg_append *a = &msg->append;
    uint64_t settled = r->log.commit;
    if (r->config_before.index > settled)
        settled = r->config_before.index;
    if (msg->term == r->term && r->verified > settled)
        settled = r->verified;
    if (!is_ours(r, a->prev))
        return a->prev.index <= settled;
    uint32_t ours = count_ours(r, a);
    return ours < a->entry_count && a->entries[ours].pos.index <= settled;
}

enum raft_err raft_append_check(const struct raft *r, const struct raft_msg *msg)
{
    if (!is_well_formed(msg))
        return RAFT_E_MESSAGE;
    if (msg->term < r->term)
        return RAFT_OK;
    bool is_second = msg->term == r->term && r->term_leader != 0 && r->term_leader != msg->from;
    return is_second || contradicts_settled(r, msg) ? RAFT_E_MESSAGE : RAFT_OK;
}

/* ---- answers ---- */

/* Acceptances are cumulative, so a newer one stands in for those before it; what is durable so
 * far is told as soon as it grows. */
void raft_append_answer_due(struct raft *r)
{
    if (!r->owes_answer || r->hard_seq > r->seq_durable)
        return;
    uint64_t match = r->verified < r->log.durable ? r->verified : r->log.durable;
    if (match < r->owed_match && match <= r->answered)
        return;
    raft_push_message(r, &(struct raft_msg){
                             .type = RAFT_MSG_APPEND_RESULT,
                             .to = r->term_leader,
                             .append_result = { .match = match,
                                                .room_bytes = raft_log_room(&r->log),
                                                .repair_id = raft_repair_id(r) },
                         });
    if (match > r->answered)
        r->answered = match;
    r->owes_answer = match < r->owed_match;
}

static void owe_answer(struct raft *r, uint64_t match)
{
    if (!r->owes_answer || match > r->owed_match)
        r->owed_match = match;
    r->owes_answer = true;
    raft_append_answer_due(r);
}

/* Tells the leader once more how far this is, because of what else the answer says. */
void raft_append_answer_again(struct raft *r)
{
    ASSERT(r->term_leader != 0); /* it has said something in this term */
    owe_answer(r, r->answered);
}

/* A leader that was told "no room" waits: tell it that there is some again. */
void raft_append_on_flushed(struct raft *r)
{
    if (!r->said_no_room || raft_log_room(&r->log) == 0)
        return;
    r->said_no_room = false;
    raft_append_answer_again(r);
}

static void push_rejection(struct raft *r, uint64_t to, uint64_t rejected_prev,
                           struct raft_pos hint, bool no_room)
{
    raft_push_message(r, &(struct raft_msg){
                             .type = RAFT_MSG_APPEND_RESULT,
                             .to = to,
                             .append_result = { .rejected = true,
                                                .no_room = no_room,
                                                .rejected_prev = rejected_prev,
                                                .hint = hint,
                                                .room_bytes = raft_log_room(&r->log),
                                                .repair_id = raft_repair_id(r) },
                         });
}

/* The leader's log has terms up to prev.term before prev, so ours with a later term cannot match:
 * one answer skips them all (Raft §5.3, end; etcd: log.go, findConflictByTerm). */
static void reject_mismatch(struct raft *r, const struct raft_msg *msg)
{
    struct raft_pos prev = msg->append.prev;
    struct raft_pos hint;
    if (!raft_log_last_of_term(&r->log, prev.index, prev.term, &hint) ||
        hint.index < r->log.commit) {
        hint.index = r->log.commit; /* matches every leader's */
        bool known = raft_log_term(&r->log, hint.index, &hint.term);
        ASSERT(known);
    }
    push_rejection(r, msg->from, prev.index, hint, false);
}

static void reject_no_room(struct raft *r, const struct raft_msg *msg, uint64_t matched)
{
    struct raft_pos hint = { .index = matched };
    bool known = raft_log_term(&r->log, matched, &hint.term);
    ASSERT(known);
    r->said_no_room = true;
    push_rejection(r, msg->from, matched, hint, true);
}

/* ---- entries ---- */

/* Takes what is new and fits; returns up to where the log now equals the leader's. A truncation
 * whose replacement does not fit leaves the old tail on the disk: that is harmless, it comes
 * back after a crash as what it is, entries that no quorum has. */
static uint64_t take_entries(struct raft *r, const struct raft_msg_append *a)
{
    uint32_t ours = count_ours(r, a);
    if (ours == a->entry_count)
        return a->prev.index + a->entry_count;
    const struct raft_entry *rest = a->entries + ours;
    uint32_t rest_count = a->entry_count - ours;
    if (rest->pos.index <= r->log.last.index) {
        raft_log_truncate(&r->log, rest->pos.index);
        raft_config_on_truncate(r, rest->pos.index);
    }
    raft_append_entries(r, rest, rest_count);
    for (uint32_t i = 0; i < a->config_count; i++)
        if (a->configs[i].index >= rest->pos.index && a->configs[i].index <= r->log.last.index)
            raft_config_append(r, &a->configs[i]);
    return r->log.last.index;
}

void raft_on_append(struct raft *r, const struct raft_msg *msg)
{
    const struct raft_msg_append *a = &msg->append;
    r->term_leader = msg->from;
    raft_on_leader_heard(r, msg->from);
    if (!is_ours(r, a->prev)) {
        reject_mismatch(r, msg);
        return;
    }
    uint64_t matched = take_entries(r, a);
    uint64_t commit = a->commit < matched ? a->commit : matched;
    bool is_news = commit > r->log.commit;
    if (is_news)
        r->log.commit = commit;
    if (matched < a->prev.index + a->entry_count)
        reject_no_room(r, msg, matched);
    if (matched > r->verified)
        r->verified = matched;
    if (r->log.commit > r->verified)
        r->verified = r->log.commit;
    /* One that only brought a commit index tells its sender nothing by being answered. */
    if (a->entry_count > 0 || !is_news || matched > r->answered)
        owe_answer(r, matched);
}
