/* Snapshots to members that need what the log no longer has. */
#include "base/assert.h"
#include "base/log.h"
#include "server/node_internal.h"

enum {
    RETRY_MS = 1000,    /* without an answer the chunks go again */
    GIVE_UP_MS = 30000, /* without progress */
    HOLD_MS = 60000,    /* of the store's rows: longer than a session without progress lives */
};

static void send_pump(struct node_send *s);

static void timer_set(struct node_send *s, uint64_t at_ms)
{
    if (!io_timer_set(s->node->io, &s->timer, at_ms))
        node_fail(s->node, EXIT_CODE_FAILURE, "a timer cannot be set", "out of memory");
}

/* ---- the end ---- */

static void send_free(struct node_send *s)
{
    struct node *node = s->node;
    ASSERT(!s->is_reading);
    io_timer_cancel(node->io, &s->timer);
    snapshot_source_close(s->source);
    *s = (struct node_send){ .node = node };
}

static void start_queued(struct node *node);

/* 1. a snapshot takes longer than the log is retained for, since writes go on; 2. it is installed,
 * and the next flush trims the log behind it; 3. the member needs another snapshot, and so on. So
 * the log stays for twice as long as the sending took: who takes entries half as fast again as they
 * are written has caught up by then. */
static void trail_begin(struct node_send *s)
{
    uint64_t now_ms = io_now_ms(s->node->io);
    uint64_t took_ms = now_ms - s->began_ms;
    snapshot_source_close(s->source);
    s->source = NULL;
    s->state = NODE_SEND_TRAILS;
    s->trail_ms = now_ms + (2 * took_ms > GIVE_UP_MS ? 2 * took_ms : GIVE_UP_MS);
    s->progress_ms = now_ms;
    timer_set(s, now_ms + RETRY_MS);
}

/* What the member needs next. False: the log is kept for it as for all, or of no use to it. */
static bool trail_next(const struct node_send *s, uint64_t *ret_index)
{
    const struct node *node = s->node;
    struct raft_member_progress progress;
    if (!raft_member_progress(node->raft, s->member, &progress) || progress.needs_snapshot)
        return false;
    uint64_t has = progress.match > s->pos.index ? progress.match : s->pos.index;
    *ret_index = has + 1;
    return has + node->options.log_keep_entries < machine_state(node->machine)->applied.index;
}

static void trail_on_timer(struct node_send *s)
{
    uint64_t now_ms = io_now_ms(s->node->io);
    uint64_t next = s->trail_index;
    bool is_needed = trail_next(s, &next);
    if (next > s->trail_index)
        s->progress_ms = now_ms;
    s->trail_index = next;
    if (is_needed && now_ms < s->trail_ms && now_ms - s->progress_ms < GIVE_UP_MS)
        timer_set(s, now_ms + RETRY_MS);
    else
        send_free(s);
}

/* why: NULL when it was installed. */
static void send_end(struct node_send *s, const char *why)
{
    struct node *node = s->node;
    bool was_current = s->term == node->status.term && node->status.role == RAFT_LEADER;
    struct raft_event event = {
        .type = RAFT_EV_SNAPSHOT_SENT,
        .snapshot_sent = { .member = s->member, .pos = s->pos, .ok = !why },
    };
    if (why) {
        node->counters.snapshots_failed++;
        LOG_WARNF("a snapshot was not sent", log_id("member", s->member), log_text("why", why));
    } else {
        node->counters.snapshots_sent++;
        LOG_INFOF("a snapshot was sent", log_id("member", s->member),
                  log_number("index", s->pos.index),
                  log_number("bytes", snapshot_source_progress(s->source).bytes));
    }
    io_timer_cancel(node->io, &s->timer);
    if (s->is_reading)
        s->state = NODE_SEND_ENDS;
    else if (!why && was_current)
        trail_begin(s);
    else
        send_free(s);
    if (was_current)
        node_step(node, &event);
    start_queued(node);
}

static void send_drop(struct node_send *s)
{
    io_timer_cancel(s->node->io, &s->timer);
    if (s->is_reading)
        s->state = NODE_SEND_ENDS;
    else
        send_free(s);
}

/* ---- chunks ---- */

static void on_read(struct snapshot_read *read)
{
    struct node_send *s = read->owner;
    struct node *node = s->node;
    s->is_reading = false;
    if (s->state == NODE_SEND_ENDS || node->has_failed || node->is_closing) {
        if (read->err == SNAPSHOT_OK)
            block_unref(read->block);
        send_free(s);
        if (!node->has_failed && !node->is_closing)
            start_queued(node);
        return;
    }
    if (read->err == SNAPSHOT_E_CORRUPT) {
        node_fail_damaged(node, "a snapshot cannot be sent", snapshot_strerror(read->err));
        return;
    }
    if (read->err != SNAPSHOT_OK) {
        send_end(s, snapshot_strerror(read->err));
        return;
    }
    struct peer_snapshot_chunk chunk = {
        .snapshot_id = s->id,
        .term = s->term,
        .seq = read->seq,
        .pos = s->pos,
        .last = read->last,
        .bytes = read->chunk,
    };
    bool is_sent = peer_net_send_snapshot_chunk(node->peers, s->member, &chunk);
    if (read->last) {
        s->has_last = true;
        s->last_seq = read->seq;
    }
    uint64_t now_ms = io_now_ms(node->io);
    if (is_sent && s->next_seq == read->seq)
        s->next_seq++; /* else it began again meanwhile */
    s->pace_ms = now_ms + read->chunk.size * 1000 / node->options.snapshot_bytes_per_s;
    block_unref(read->block);
    if (is_sent)
        send_pump(s); /* else when the link is up, or after a while */
}

static bool may_read(const struct node_send *s)
{
    return s->state == NODE_SEND_RUNS && !s->is_reading &&
           s->next_seq < s->acked_seq + NODE_SNAPSHOT_WINDOW &&
           (!s->has_last || s->next_seq <= s->last_seq) &&
           snapshot_source_may_read(s->source, s->next_seq) &&
           peer_net_is_up(s->node->peers, s->member);
}

static void send_pump(struct node_send *s)
{
    uint64_t now_ms = io_now_ms(s->node->io);
    if (!may_read(s)) {
        timer_set(s, now_ms + RETRY_MS);
        return;
    }
    if (now_ms < s->pace_ms) {
        timer_set(s, s->pace_ms);
        return;
    }
    timer_set(s, now_ms + RETRY_MS);
    s->is_reading = true;
    s->read = (struct snapshot_read){ .seq = s->next_seq, .done = on_read, .owner = s };
    snapshot_source_read(s->source, &s->read);
}

/* From the first chunk that is not acknowledged. */
static void send_again(struct node_send *s)
{
    s->next_seq = s->acked_seq;
    s->resumed_ms = io_now_ms(s->node->io);
    send_pump(s);
}

static void on_timer(void *owner)
{
    struct node_send *s = owner;
    uint64_t now_ms = io_now_ms(s->node->io);
    if (now_ms - s->progress_ms >= GIVE_UP_MS)
        send_end(s, "the member takes no more of it");
    else if (s->is_reading || may_read(s))
        send_pump(s);
    else if (peer_net_is_up(s->node->peers, s->member))
        send_again(s);
    else
        timer_set(s, now_ms + RETRY_MS);
}

/* ---- answers ---- */

static struct node_send *send_find(struct node *node, uint64_t member)
{
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
        struct node_send *s = &node->sends[i];
        if ((s->state == NODE_SEND_QUEUED || s->state == NODE_SEND_RUNS) && s->member == member)
            return s;
    }
    return NULL;
}

/* The last chunk stays the source's to give until it is installed: it is what asks for that. */
static void on_taken(struct node_send *s, uint64_t next_seq)
{
    struct node *node = s->node;
    uint64_t now_ms = io_now_ms(node->io);
    if (s->has_last && next_seq > s->last_seq)
        next_seq = s->last_seq;
    if (next_seq > s->acked_seq) {
        if (!snapshot_source_ack(s->source, next_seq)) {
            send_end(s, "the member acknowledges what it was not sent");
            return;
        }
        s->acked_seq = next_seq;
        if (s->next_seq < next_seq)
            s->next_seq = next_seq;
        s->progress_ms = now_ms;
        if (!snapshot_source_hold(s->source, now_ms + HOLD_MS)) {
            send_end(s, "it was held for too long");
            return;
        }
    }
    send_pump(s);
}

/* It may ask several times for one gap. */
static void on_gap(struct node_send *s, uint64_t next_seq)
{
    uint64_t now_ms = io_now_ms(s->node->io);
    if (next_seq < s->acked_seq)
        send_end(s, "the member has lost what it took");
    else if (now_ms - s->resumed_ms >= RETRY_MS / 2)
        send_again(s);
}

void node_send_on_ack(void *owner, uint64_t member, const struct peer_snapshot_ack *ack)
{
    struct node *node = owner;
    struct node_send *s = send_find(node, member);
    if (!s || s->state != NODE_SEND_RUNS || s->id != ack->snapshot_id || node->has_failed)
        return; /* of an earlier session */
    switch (ack->status) {
    case PEER_SNAPSHOT_OK:
        on_taken(s, ack->next_seq);
        return;
    case PEER_SNAPSHOT_RESUME_AT:
        on_gap(s, ack->next_seq);
        return;
    case PEER_SNAPSHOT_BUSY:
        send_end(s, "the member takes another one");
        return;
    case PEER_SNAPSHOT_FAILED:
        send_end(s, "the member cannot take it");
        return;
    case PEER_SNAPSHOT_INSTALLED:
        send_end(s, NULL);
        return;
    }
}

void node_send_on_link_up(struct node *node, uint64_t member)
{
    struct node_send *s = send_find(node, member);
    if (s && s->state == NODE_SEND_RUNS)
        send_again(s);
}

/* ---- the beginning ---- */

static void send_start(struct node_send *s)
{
    struct node *node = s->node;
    uint64_t now_ms = io_now_ms(node->io);
    struct snapshot_source_options options = {
        .id = node->io->ops->random(node->io),
        .row_bytes_max = node->options.snapshot_chunk_bytes,
        .hold_until_ms = now_ms + HOLD_MS,
    };
    enum snapshot_err err = SNAPSHOT_E_EXPIRED; /* nothing is published: nothing can be missing */
    if (store_published(node->store)->applied.index > 0)
        err = snapshot_source_open(&s->source, node->store, &options);
    if (err == SNAPSHOT_E_BUSY) {
        timer_set(s, now_ms + RETRY_MS); /* or when the flush is done */
        return;
    }
    s->state = NODE_SEND_RUNS;
    s->id = options.id;
    s->began_ms = now_ms;
    s->progress_ms = now_ms;
    if (err != SNAPSHOT_OK) {
        send_end(s, snapshot_strerror(err));
        return;
    }
    s->pos = snapshot_source_pos(s->source);
    LOG_INFOF("sending a snapshot", log_id("member", s->member), log_number("index", s->pos.index),
              log_number("bytes", snapshot_source_progress(s->source).bytes_estimate));
    send_pump(s);
}

static void start_queued(struct node *node)
{
    uint32_t running = 0;
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
        enum node_send_state state = node->sends[i].state;
        running += state == NODE_SEND_RUNS || state == NODE_SEND_ENDS;
    }
    for (size_t i = 0; i < RAFT_MEMBERS_MAX && running < NODE_SENDS_MAX; i++) {
        if (node->sends[i].state != NODE_SEND_QUEUED)
            continue;
        running++;
        timer_set(&node->sends[i], io_now_ms(node->io)); /* not inside whatever step asked */
    }
}

/* Queued: its turn has come. */
static void on_any_timer(void *owner)
{
    struct node_send *s = owner;
    if (s->state == NODE_SEND_QUEUED)
        send_start(s);
    else if (s->state == NODE_SEND_RUNS)
        on_timer(s);
    else if (s->state == NODE_SEND_TRAILS)
        trail_on_timer(s);
}

/* Its turn had come, and a flush was in the way. */
static bool awaits_flush(const struct node_send *s)
{
    return s->state == NODE_SEND_QUEUED && s->timer.heap_i != 0;
}

bool node_send_awaits_flush(const struct node *node)
{
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++)
        if (awaits_flush(&node->sends[i]))
            return true;
    return false;
}

/* The flush that was in the way is done, and the next has not begun. */
void node_send_on_flushed(struct node *node)
{
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
        struct node_send *s = &node->sends[i];
        if (awaits_flush(s))
            send_start(s);
    }
}

void node_send_open(struct node *node)
{
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++)
        node->sends[i].node = node;
}

/* NULL: none is free. What trails was not enough, and ends. */
static struct node_send *send_new(struct node *node, uint64_t member)
{
    struct node_send *found = NULL;
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
        struct node_send *s = &node->sends[i];
        if (s->state == NODE_SEND_TRAILS && s->member == member)
            send_free(s);
        if (s->state == NODE_SEND_NONE)
            found = s;
    }
    return found;
}

void node_send_wanted(struct node *node, uint64_t member)
{
    if (send_find(node, member))
        return; /* it is under way, and reports */
    struct node_send *s = send_new(node, member);
    if (!s)
        return;
    s->state = NODE_SEND_QUEUED;
    s->member = member;
    s->term = node->status.term;
    timer_init(&s->timer, on_any_timer, s);
    start_queued(node);
}

/* ---- what ends all ---- */

static bool is_void(const struct node *node, const struct node_send *s)
{
    return node->has_failed || node->is_closing || node->status.role != RAFT_LEADER ||
           node->status.term != s->term || !membership_by_id(&node->config.in_force, s->member);
}

void node_send_review(struct node *node)
{
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
        struct node_send *s = &node->sends[i];
        if (s->state != NODE_SEND_NONE && s->state != NODE_SEND_ENDS && is_void(node, s))
            send_drop(s);
    }
}

bool node_send_is_reading(const struct node *node)
{
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
        if (node->sends[i].is_reading)
            return true;
    }
    return false;
}

uint64_t node_send_keep_index(const struct node *node)
{
    uint64_t keep = UINT64_MAX;
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
        const struct node_send *s = &node->sends[i];
        uint64_t next = s->pos.index + 1;
        bool holds =
            s->state == NODE_SEND_RUNS || (s->state == NODE_SEND_TRAILS && trail_next(s, &next));
        if (holds && next < keep)
            keep = next;
    }
    return keep;
}
