#include "tests/support/raft_cluster.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "tests/support/raft_cluster_net.h"

/* ---- life of a cluster ---- */

struct cluster_options cluster_defaults(uint32_t node_count, uint64_t seed)
{
    return (struct cluster_options){
        .node_count = node_count,
        .seed = seed,
        .link_min_ms = 1,
        .link_max_ms = 1,
        .disk_min_ms = 1,
        .disk_max_ms = 1,
        .flush_permille = 500,
        .core = { .election_timeout_ms = 100,
                  .heartbeat_ms = 20,
                  .window_entries_max = 64,
                  .window_bytes_max = 8192,
                  .window_bytes_keep = 1024,
                  .uncommitted_bytes_max = 4096,
                  .append_bytes_max = 512,
                  .inflight_max = 4,
                  .inflight_bytes_max = 2048,
                  .pre_vote = true },
    };
}

struct cluster *cluster_new(const struct cluster_options *options)
{
    struct cluster *c = calloc(1, sizeof *c);
    ASSERT(c);
    ASSERT(options->node_count <= CLUSTER_NODES_MAX);
    c->options = *options;
    c->prng = prng_seeded(options->seed);
    for (uint32_t i = 0; i < options->node_count; i++) {
        c->nodes[i].id = i + 1;
        c->nodes[i].disk.log = calloc(CLUSTER_LOG_MAX, sizeof(struct raft_entry));
        ASSERT(c->nodes[i].disk.log);
    }
    return c;
}

void cluster_free(struct cluster *c)
{
    for (uint32_t i = 0; i < c->options.node_count; i++) {
        struct cluster_node *n = &c->nodes[i];
        if (n->is_up)
            cluster_crash(c, n->id);
        cluster_disk_free(&n->disk);
    }
    for (uint64_t i = 1; i <= c->truth_count; i++)
        block_unref(c->truth[i].block);
    while (c->event_count > 0) {
        struct cluster_event event = cluster_pop(c);
        if (event.kind == CLUSTER_MESSAGE)
            cluster_message_done(&event.msg);
    }
    for (size_t i = 0; i < CLUSTER_LOG_MAX; i++)
        while (c->seen[i]) {
            struct cluster_seen *next = c->seen[i]->next;
            free(c->seen[i]);
            c->seen[i] = next;
        }
    if (c->trace_file)
        free(cluster_take_trace(c));
    free(c->events);
    free(c);
}

struct cluster_node *cluster_node(struct cluster *c, uint64_t id)
{
    ASSERT(id >= 1 && id <= c->options.node_count);
    return &c->nodes[id - 1];
}

/* ---- entries ---- */

struct raft_entry cluster_entry_new(struct raft_pos pos, enum raft_entry_type type, uint64_t value,
                                    uint32_t size_bytes)
{
    ASSERT(size_bytes >= 8);
    struct block *b = block_new(size_bytes);
    ASSERT(b);
    memset(b->data, 0, size_bytes);
    put_le64(b->data, value);
    return (struct raft_entry){
        .pos = pos, .type = type, .bytes = slice_of(b->data, size_bytes), .block = b
    };
}

void cluster_preload(struct cluster *c, uint64_t id, uint64_t term, const char *terms)
{
    struct cluster_disk *disk = &cluster_node(c, id)->disk;
    disk->hard.term = term;
    for (; *terms; terms++) {
        struct raft_pos pos = { .term = (uint64_t)(*terms - '0'), .index = disk->last + 1 };
        uint64_t prev_term = disk->last == 0 ? 0 : disk->log[disk->last].pos.term;
        struct raft_entry e =
            cluster_entry_new(pos, RAFT_ENTRY_COMMAND, pos.term << 32 | pos.index, 16);
        cluster_check_entry(c, &e, prev_term);
        cluster_disk_append(disk, &e);
        block_unref(e.block);
    }
}

/* ---- life of a node ---- */

static struct raft_pos disk_pos(const struct cluster_disk *disk, uint64_t index)
{
    return index == 0 ? (struct raft_pos){ 0 } : disk->log[index].pos;
}

static uint32_t term_starts(const struct cluster_disk *disk, struct raft_term_start *starts)
{
    uint32_t count = 0;
    for (uint64_t i = disk->log_start + 1; i <= disk->flushed; i++)
        if (count == 0 || starts[count - 1].term != disk->log[i].pos.term)
            starts[count++] = (struct raft_term_start){ disk->log[i].pos.term, i };
    return count;
}

uint64_t cluster_extend_hash(uint64_t hash, const struct raft_entry *entry)
{
    return hash * 31 + get_le64(entry->bytes.data);
}

static void restore(struct cluster_node *n)
{
    for (uint64_t i = n->disk.flushed + 1; i <= n->disk.last; i++) {
        const struct raft_entry *e = &n->disk.log[i];
        struct raft_config config;
        bool is_config = e->type == RAFT_ENTRY_CONFIG;
        if (is_config)
            config = cluster_config_of_entry(e);
        enum raft_err err = raft_restore_entry(n->raft, e, is_config ? &config : NULL);
        ASSERT(err == RAFT_OK);
    }
}

void cluster_start(struct cluster *c, uint64_t id)
{
    static struct raft_term_start starts[CLUSTER_LOG_MAX];
    struct cluster_node *n = cluster_node(c, id);
    ASSERT(!n->is_up);
    struct raft_options options = c->options.core;
    options.id = id;
    options.seed = prng_next(&c->prng);
    struct raft_start start = {
        .hard = n->disk.hard,
        .config = cluster_config_at(c, n->disk.log, n->disk.flushed).config,
        .log_start = disk_pos(&n->disk, n->disk.log_start),
        .flushed = disk_pos(&n->disk, n->disk.flushed),
        .term_starts = starts,
        .term_start_count = term_starts(&n->disk, starts),
        .awaits_repair = n->disk.awaits_repair,
        .now_ms = c->now_ms,
    };
    n->memory = malloc(raft_memory_bytes(&options));
    enum raft_err err = raft_open(&n->raft, n->memory, &options, &start);
    ASSERT(err == RAFT_OK);
    n->state_hash = cluster_hash_at(c, n->disk.flushed);
    restore(n);
    raft_set_voice(n->raft, true);
    n->applied = n->disk.flushed;
    n->commit_seen = raft_commit_index(n->raft);
    n->hold_index = 0;
    n->is_up = true;
    n->life++;
    cluster_trace(c, id, "start term=%lu last=%lu%s", (unsigned long)n->disk.hard.term,
                  (unsigned long)n->disk.last, n->disk.awaits_repair ? " awaits repair" : "");
    IGNORE(cluster_feed(c, id, (struct raft_event){ .type = RAFT_EV_TICK }), "cannot fail");
}

void cluster_start_all(struct cluster *c)
{
    for (uint32_t i = 0; i < c->options.node_count; i++)
        if (!c->nodes[i].is_up)
            cluster_start(c, i + 1);
}

void cluster_crash(struct cluster *c, uint64_t id)
{
    struct cluster_node *n = cluster_node(c, id);
    ASSERT(n->is_up);
    cluster_trace(c, id, "crash");
    cluster_writes_lose(c, n);
    raft_close(n->raft);
    free(n->memory);
    n->raft = NULL;
    n->is_up = false;
    n->noop_due = false;
    n->disk_busy_ms = 0;
    n->stalled_until_ms = 0;
}

/* ---- effects ---- */

/* A new leader's first entry, in the turn in which it became one (raft.h). */
static void propose_noop(struct cluster *c, struct cluster_node *n)
{
    if (!n->noop_due || raft_status(n->raft).role != RAFT_LEADER)
        return;
    struct raft_entry e =
        cluster_entry_new(raft_next_pos(n->raft), RAFT_ENTRY_NOOP, ++c->value_last, 8);
    struct raft_event event = { .type = RAFT_EV_PROPOSE,
                                .propose = { .entries = &e, .entry_count = 1 } };
    n->noop_due = false;
    if (cluster_feed(c, n->id, event) == RAFT_E_FULL)
        n->noop_due = true; /* again after a flush */
    block_unref(e.block);
}

/* Unless that was done by a step within this one. */
static void leave_joint(struct cluster *c, struct cluster_node *n)
{
    struct raft_config_at joint = raft_config_in_force(n->raft);
    if (!raft_config_is_joint(&joint.config) || raft_status(n->raft).role != RAFT_LEADER)
        return;
    struct raft_config left = raft_config_left(&joint.config);
    enum raft_err err = cluster_propose_config(c, n->id, &left);
    ASSERT(err == RAFT_OK || err == RAFT_E_FULL);
}

static void apply(struct cluster *c, struct cluster_node *n, struct raft_range range)
{
    for (uint64_t i = range.first; i <= range.last; i++)
        n->state_hash = cluster_extend_hash(n->state_hash, raft_entry_at(n->raft, i));
    n->applied = range.last;
    IGNORE(cluster_feed(c, n->id,
                        (struct raft_event){ .type = RAFT_EV_APPLIED,
                                             .applied = { n->applied, n->state_hash } }),
           "cannot fail");
    if (prng_below(&c->prng, 1000) < c->options.flush_permille)
        cluster_flush(c, n->id);
}

static void carry_out(struct cluster *c, struct cluster_node *n, const struct raft_ready *ready)
{
    struct raft_range committed = ready->committed;
    if (ready->persist_seq != 0)
        cluster_write(c, n, ready);
    for (uint32_t i = 0; i < ready->message_count; i++) {
        const struct raft_msg *msg = &ready->messages[i];
        n->no_room_count += msg->type == RAFT_MSG_APPEND_RESULT && msg->append_result.no_room;
        n->timeout_now_count += msg->type == RAFT_MSG_TIMEOUT_NOW;
        cluster_send(c, msg);
    }
    for (uint32_t i = 0; i < ready->fetch_count; i++) {
        n->fetch_count++;
        cluster_later(c, (struct cluster_event){ .due_ms = c->now_ms + 1,
                                                 .kind = CLUSTER_FETCHED,
                                                 .node = (uint32_t)n->id - 1,
                                                 .life = n->life,
                                                 .fetch = ready->fetches[i] });
    }
    for (uint32_t i = 0; i < ready->snapshot_count; i++)
        cluster_snapshot_begin(c, n, ready->snapshots[i].member);
    if (ready->repaired)
        cluster_later(c, (struct cluster_event){ .due_ms = c->now_ms + 3,
                                                 .kind = CLUSTER_REPAIRED,
                                                 .node = (uint32_t)n->id - 1,
                                                 .life = n->life });
    bool leaves_joint = ready->leave_joint_due && !c->options.stays_joint;
    if (ready->status_changed)
        n->noop_due = ready->status.role == RAFT_LEADER;
    if (committed.first <= committed.last)
        apply(c, n, committed);
    propose_noop(c, n);
    if (leaves_joint)
        leave_joint(c, n);
}

enum raft_err cluster_feed(struct cluster *c, uint64_t id, struct raft_event event)
{
    struct cluster_node *n = cluster_node(c, id);
    ASSERT(n->is_up);
    struct raft_ready ready;
    event.now_ms = c->now_ms;
    enum raft_err err = raft_step(n->raft, &event, &ready);
    c->steps++;
    n->deadline_ms = ready.deadline_ms;
    if (err == RAFT_E_MESSAGE)
        cluster_check_refusal(c, n, &event.message);
    if (err != RAFT_OK)
        return err;
    if (event.type == RAFT_EV_TICK)
        ASSERT(ready.deadline_ms > c->now_ms); /* else its caller would spin */
    cluster_trace_ready(c, n, &ready);
    cluster_check_ready(c, n, &ready);
    carry_out(c, n, &ready);
    return RAFT_OK;
}

/* ---- what happens ---- */

static void on_fetched(struct cluster *c, struct cluster_node *n, const struct raft_fetch *fetch)
{
    struct raft_event event = {
        .type = RAFT_EV_FETCHED,
        .fetched = { .member = fetch->member, .first_index = fetch->first_index },
    };
    uint64_t bytes = 0;
    if (fetch->first_index > n->disk.log_start)
        event.fetched.entries = &n->disk.log[fetch->first_index];
    for (uint64_t i = fetch->first_index; event.fetched.entries && i <= n->disk.flushed; i++) {
        bytes += n->disk.log[i].bytes.size;
        if (i > fetch->first_index && bytes > fetch->bytes_max)
            break;
        event.fetched.entry_count++;
    }
    enum raft_err err = cluster_feed(c, n->id, event);
    ASSERT(err == RAFT_OK);
}

static void happen(struct cluster *c, struct cluster_event *event)
{
    struct cluster_node *n = &c->nodes[event->node];
    bool is_current = n->is_up && n->life == event->life;
    uint64_t seq;
    switch (event->kind) {
    case CLUSTER_MESSAGE:
        if (n->is_up)
            IGNORE(
                cluster_feed(c, n->id,
                             (struct raft_event){ .type = RAFT_EV_MESSAGE, .message = event->msg }),
                "a refusal fails the run");
        cluster_message_done(&event->msg);
        return;
    case CLUSTER_DURABLE:
        if (is_current && c->now_ms < n->stalled_until_ms) {
            event->due_ms = n->stalled_until_ms;
            cluster_later(c, *event);
            return;
        }
        seq = is_current ? cluster_writes_land(c, n, event->seq) : 0;
        if (seq == 0)
            return;
        cluster_trace(c, n->id, "durable");
        IGNORE(cluster_feed(c, n->id,
                            (struct raft_event){ .type = RAFT_EV_DURABLE, .persist_seq = seq }),
               "cannot fail");
        return;
    case CLUSTER_FETCHED:
        if (is_current)
            on_fetched(c, n, &event->fetch);
        return;
    case CLUSTER_SNAPSHOT:
        cluster_on_snapshot(c, &event->snapshot);
        return;
    case CLUSTER_SNAPSHOT_SENT:
        if (is_current)
            cluster_on_snapshot_sent(c, n, &event->snapshot);
        return;
    case CLUSTER_REPAIRED:
        if (is_current) {
            n->disk.awaits_repair = false;
            n->disk.lost_count = 0;
        }
        return;
    }
}

bool cluster_step(struct cluster *c, uint64_t until_ms)
{
    struct cluster_node *ticks = NULL;
    uint64_t next_ms = c->event_count > 0 ? c->events[0].due_ms : UINT64_MAX;
    for (uint32_t i = 0; i < c->options.node_count; i++) {
        struct cluster_node *n = &c->nodes[i];
        if (n->is_up && n->deadline_ms < next_ms) {
            next_ms = n->deadline_ms;
            ticks = n;
        }
    }
    if (next_ms > until_ms) {
        c->now_ms = until_ms;
        return false;
    }
    if (next_ms > c->now_ms)
        c->now_ms = next_ms;
    if (ticks) {
        IGNORE(cluster_feed(c, ticks->id, (struct raft_event){ .type = RAFT_EV_TICK }),
               "cannot fail");
        return true;
    }
    struct cluster_event event = cluster_pop(c);
    happen(c, &event);
    return true;
}

void cluster_run(struct cluster *c, uint64_t for_ms)
{
    uint64_t until_ms = c->now_ms + for_ms;
    while (cluster_step(c, until_ms))
        ;
}

/* ---- what tests do ---- */

enum raft_err cluster_propose(struct cluster *c, uint64_t id, uint32_t size_bytes)
{
    struct cluster_node *n = cluster_node(c, id);
    if (n->noop_due)
        return RAFT_E_FULL;
    struct raft_entry e =
        cluster_entry_new(raft_next_pos(n->raft), RAFT_ENTRY_COMMAND, ++c->value_last, size_bytes);
    struct raft_event event = { .type = RAFT_EV_PROPOSE,
                                .propose = { .entries = &e, .entry_count = 1 } };
    enum raft_err err = cluster_feed(c, id, event);
    block_unref(e.block);
    return err;
}

uint64_t cluster_read(struct cluster *c, uint64_t id)
{
    ASSERT(c->read_count < CLUSTER_READS_MAX);
    uint64_t number = c->read_count++;
    c->reads[number] = (struct cluster_read){ .node = id,
                                              .life = cluster_node(c, id)->life,
                                              .index_min = c->commit_max };
    IGNORE(cluster_feed(c, id, (struct raft_event){ .type = RAFT_EV_READ, .read = { number } }),
           "cannot fail");
    return number;
}

/* What no member needs any more leaves the log store, by chance. */
void cluster_flush(struct cluster *c, uint64_t id)
{
    struct cluster_node *n = cluster_node(c, id);
    n->disk.flushed = n->applied;
    uint64_t keep = raft_keep_index(n->raft);
    if (cluster_happens(c, c->options.trim_permille))
        keep = n->disk.flushed + 1;
    if (n->hold_index != 0 && keep > n->hold_index + 1)
        keep = n->hold_index + 1;
    if (prng_below(&c->prng, 4) == 0 && keep > n->disk.log_start + 1)
        n->disk.log_start = keep - 1 < n->disk.flushed ? keep - 1 : n->disk.flushed;
    IGNORE(cluster_feed(
               c, id,
               (struct raft_event){ .type = RAFT_EV_FLUSHED, .flushed_index = n->disk.flushed }),
           "cannot fail");
}

enum raft_err cluster_transfer(struct cluster *c, uint64_t id, uint64_t to)
{
    cluster_trace(c, id, "transfer to=n%lu", (unsigned long)to);
    return cluster_feed(c, id, (struct raft_event){ .type = RAFT_EV_TRANSFER, .transfer = { to } });
}

void cluster_stall(struct cluster *c, uint64_t id, uint64_t for_ms)
{
    cluster_node(c, id)->stalled_until_ms = c->now_ms + for_ms;
}

void cluster_cut(struct cluster *c, uint64_t from, uint64_t to, bool is_cut)
{
    c->cut[from - 1][to - 1] = is_cut;
}

void cluster_cut_off(struct cluster *c, uint64_t id, bool is_cut)
{
    for (uint64_t other = 1; other <= c->options.node_count; other++) {
        cluster_cut(c, id, other, is_cut);
        cluster_cut(c, other, id, is_cut);
    }
}

void cluster_link(struct cluster *c, uint64_t at, uint64_t member, bool is_up)
{
    IGNORE(
        cluster_feed(c, at, (struct raft_event){ .type = RAFT_EV_LINK, .link = { member, is_up } }),
        "cannot fail");
}

void cluster_set_voice(struct cluster *c, uint64_t at, bool has_voice)
{
    raft_set_voice(cluster_node(c, at)->raft, has_voice);
    cluster_trace(c, at, "voice=%d", has_voice);
    IGNORE(cluster_feed(c, at, (struct raft_event){ .type = RAFT_EV_TICK }), "cannot fail");
}

void cluster_leader_dead(struct cluster *c, uint64_t at)
{
    IGNORE(cluster_feed(c, at, (struct raft_event){ .type = RAFT_EV_LEADER_DEAD }), "cannot fail");
}

uint64_t cluster_leader(struct cluster *c)
{
    uint64_t leader = 0;
    uint64_t term = 0;
    for (uint32_t i = 0; i < c->options.node_count; i++) {
        if (!c->nodes[i].is_up)
            continue;
        struct raft_status status = raft_status(c->nodes[i].raft);
        if (status.role == RAFT_LEADER && status.term > term) {
            leader = i + 1;
            term = status.term;
        }
    }
    return leader;
}
