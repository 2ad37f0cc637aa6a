/* The core's edge: events in, effects out. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "proto/config.h"
#include "server/node_internal.h"

enum {
    APPEND_BYTES_MAX = 1 << 20,
    APPENDS_INFLIGHT_MAX = 64,
    START_RETRY_MS = 150,
    STARTS_MAX = 16,
};
#define WINDOW_BYTES_MAX      ((uint64_t)192 << 20)
#define UNCOMMITTED_BYTES_MAX ((uint64_t)32 << 20)
#define INFLIGHT_BYTES_MAX    ((uint64_t)16 << 20)

static struct raft_options raft_options_of(const struct node *node)
{
    uint64_t uncommitted = UNCOMMITTED_BYTES_MAX;
    /* What no quorum has yet can neither be flushed nor freed: it must leave room in the ring. */
    uint64_t ring = node->options.journal_segment_bytes * node->options.journal_segment_count_max;
    if (uncommitted > ring / 4)
        uncommitted = ring / 4;
    /* Whatever one request may weigh, a few of them fit. */
    if (uncommitted < 4ull * node->options.request_bytes_max)
        uncommitted = 4ull * node->options.request_bytes_max;
    return (struct raft_options){
        .id = node->identity.member_id,
        .seed = node->io->ops->random(node->io),
        .election_timeout_ms = node->options.election_timeout_ms,
        .heartbeat_ms = node->options.heartbeat_ms,
        .window_entries_max = node->options.window_entries_max,
        .window_bytes_max = WINDOW_BYTES_MAX + 4 * uncommitted,
        .window_bytes_keep = node->options.window_bytes_keep,
        .uncommitted_bytes_max = uncommitted,
        .append_bytes_max = APPEND_BYTES_MAX,
        .inflight_max = APPENDS_INFLIGHT_MAX,
        .inflight_bytes_max = INFLIGHT_BYTES_MAX,
        .pre_vote = node->options.pre_vote,
    };
}

static enum raft_err restore(struct raft *r, const struct raft_entry *entry)
{
    struct raft_config config;
    if (entry->type != RAFT_ENTRY_CONFIG)
        return raft_restore_entry(r, entry, NULL);
    return config_of_entry(entry->bytes, &config) ? raft_restore_entry(r, entry, &config)
                                                  : RAFT_E_STATE;
}

enum exit_code node_raft_open(struct node *node, const struct store_state *state,
                              struct journal_recovery *recovery, char *detail)
{
    struct raft_options options = raft_options_of(node);
    size_t bytes = raft_memory_bytes(&options);
    node->raft_memory = bytes ? calloc(1, bytes) : NULL;
    if (!node->raft_memory) {
        snprintf(detail, NODE_DETAIL_BYTES, "%s",
                 bytes ? "out of memory" : "heartbeat or election timeout out of bounds");
        return bytes ? EXIT_CODE_FAILURE : EXIT_CODE_USAGE;
    }
    struct raft_start start = {
        .hard = recovery->hard,
        .config = membership_to_raft_config(&node->membership),
        .log_start = state->log_start,
        .flushed = state->applied,
        .term_starts = state->term_starts,
        .term_start_count = state->term_start_count,
        .now_ms = io_now_ms(node->io),
        .awaits_repair = node->repair.state != REPAIR_NONE,
    };
    enum raft_err err = raft_open(&node->raft, node->raft_memory, &options, &start);
    for (size_t i = 0; err == RAFT_OK && i < recovery->entry_count; i++)
        err = restore(node->raft, &recovery->entries[i]);
    if (err != RAFT_OK) {
        snprintf(detail, NODE_DETAIL_BYTES, "the persisted log cannot be used: %s",
                 raft_strerror(err));
        return err == RAFT_E_OPTIONS ? EXIT_CODE_USAGE : EXIT_CODE_CORRUPT;
    }
    node->status = raft_status(node->raft);
    node->persist.hard = recovery->hard;
    return EXIT_CODE_OK;
}

/* ---- effects ---- */

static const char *role_name(enum raft_role role)
{
    switch (role) {
    case RAFT_FOLLOWER:
        return "follower";
    case RAFT_PRE_CANDIDATE:
        return "pre-candidate";
    case RAFT_CANDIDATE:
        return "candidate";
    case RAFT_LEADER:
        return "leader";
    }
    return "?";
}

static void on_status(struct node *node, struct raft_status status)
{
    struct raft_status before = node->status;
    node->status = status;
    LOG_INFOF("raft role", log_text("role", role_name(status.role)),
              log_number("term", status.term), log_id("leader", status.leader));
    if (before.leader != 0 && status.leader != before.leader) {
        node->requests.leader_was_lost = true;
        node->reads.leader_was_lost = true;
    }
    if (status.leader != 0 && status.leader != before.leader) {
        node->counters.leader_changes++;
        node->forward_not_before_ms = 0;
    }
    if (status.role != RAFT_LEADER && node->change.state == NODE_CHANGE_WAITS)
        node_change_fail(node, ETCD_E_LEADER_CHANGED);
    if (status.role != before.role || status.term != before.term)
        node_news_forget(node);
    node_send_review(node);
    if (status.role == RAFT_LEADER && node->receive.state == NODE_RECEIVE_TAKES)
        node_receive_end(node, false);
    node_transfer_on_status(node, before);
    if (status.role == RAFT_LEADER && before.role != RAFT_LEADER)
        node_propose_noop(node);
}

static void on_reads(struct node *node, const struct raft_ready *ready)
{
    for (uint32_t i = 0; i < ready->read_count; i++) {
        const struct raft_read_result *result = &ready->reads[i];
        if (result->refused)
            reads_on_refused(&node->reads, result->context);
        else
            reads_on_confirmed(&node->reads, result->context, result->index);
    }
}

static void on_ready(struct node *node, const struct raft_ready *ready)
{
    node_persist_add(node, ready);
    if (ready->config_changed)
        node_config_refresh(node);
    if (ready->leave_joint_due && !node->leave_joint_due)
        node_want_turn(node);
    node->leave_joint_due = ready->leave_joint_due;
    for (uint32_t i = 0; i < ready->message_count; i++)
        node_news_send(node, &ready->messages[i]);
    if (ready->committed.first <= ready->committed.last) {
        ASSERT(ready->committed.first == node->apply_to_index + 1);
        node->apply_to_index = ready->committed.last;
    }
    if (ready->repaired)
        node_repair_on_repaired(node);
    on_reads(node, ready);
    for (uint32_t i = 0; i < ready->fetch_count; i++)
        node_fetch_begin(node, &ready->fetches[i]);
    for (uint32_t i = 0; i < ready->snapshot_count; i++)
        node_send_wanted(node, ready->snapshots[i].member);
    if (ready->deadline_ms == UINT64_MAX)
        io_timer_cancel(node->io, &node->raft_timer);
    else if (!io_timer_set(node->io, &node->raft_timer, ready->deadline_ms))
        node_fail(node, EXIT_CODE_FAILURE, "a timer cannot be set", "out of memory");
    /* Last, since it may step again, and that ends this ready's life. */
    if (ready->status_changed)
        on_status(node, ready->status);
}

/* A late message or timer must not act on parts that are closed already, nor on those that a
 * snapshot just replaces: then it is as if it was lost on its way. */
static bool is_deaf(const struct node *node, const struct raft_event *event)
{
    return node->has_failed || node->closing_parts > 0 ||
           (node_install_is_critical(node) && event->type != RAFT_EV_LINK);
}

static enum raft_err step(struct node *node, struct raft_event *event)
{
    event->now_ms = io_now_ms(node->io);
    struct raft_ready ready;
    enum raft_err err = raft_step(node->raft, event, &ready);
    if (err == RAFT_OK)
        on_ready(node, &ready);
    else
        node->counters.raft_refused++;
    return err;
}

bool node_step(struct node *node, struct raft_event *event)
{
    return !is_deaf(node, event) && step(node, event) == RAFT_OK;
}

bool node_step_message(struct node *node, const struct raft_msg *msg)
{
    struct raft_event event = { .type = RAFT_EV_MESSAGE, .message = *msg };
    return is_deaf(node, &event) || step(node, &event) != RAFT_E_MESSAGE;
}

void node_on_start_timer(void *owner)
{
    struct node *node = owner;
    struct raft_event started = { .type = RAFT_EV_STARTED };
    node_step(node, &started);
    /* It may have been refused for its older log, or votes were split: another round, apart. */
    if (node->status.leader != 0 || node->starts == STARTS_MAX)
        return;
    node->starts++;
    uint64_t apart_ms = START_RETRY_MS + node->io->ops->random(node->io) % START_RETRY_MS;
    IGNORE(!io_timer_set(node->io, &node->start_timer, io_now_ms(node->io) + apart_ms),
           "the election time-out remains");
}

void node_on_raft_timer(void *owner)
{
    struct raft_event tick = { .type = RAFT_EV_TICK };
    node_step(owner, &tick);
}
