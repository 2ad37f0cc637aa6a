/* A complete snapshot takes the place of the state (storage/store_switch.h has the steps on the
 * disk, and what each crash leaves).
 *
 * The log must not have the position: then nothing of it is needed, and it begins anew. From the
 * moment that the journal is told until the core is, the core stands still: entries that it
 * appended meanwhile would follow what the journal has let go of.
 *
 * Reads that are under way keep the store before, until the last one has ended (retired).
 */
#include "base/assert.h"
#include "base/log.h"
#include "server/node_internal.h"
#include "storage/store_switch.h"

/* ---- the store before ---- */

static void retired_run(struct io_job *job)
{
    struct node_retired *retired = LIST_ENTRY(job, struct node_retired, job);
    kv_close(retired->kv);
    store_close(retired->store);
}

static void retired_done(struct io_job *job)
{
    *LIST_ENTRY(job, struct node_retired, job) = (struct node_retired){ .store = NULL };
}

void node_retired_close(struct node *node)
{
    struct node_retired *retired = &node->retired;
    if (!retired->store || retired->is_closing || kv_views_open(retired->kv) > 0)
        return;
    retired->is_closing = true;
    retired->job = (struct io_job){ .run = retired_run, .done = retired_done };
    list_init(&retired->job.link);
    io_offload(node->io, &retired->job);
}

/* ---- waiting for the moment ---- */

bool node_install_holds(const struct node *node)
{
    return node->install.state != NODE_INSTALL_NONE;
}

bool node_install_is_critical(const struct node *node)
{
    return node->install.state == NODE_INSTALL_RESETS ||
           node->install.state == NODE_INSTALL_SWITCHES;
}

bool node_install_is_running(const struct node *node)
{
    return node->install.state == NODE_INSTALL_SWITCHES || node->retired.is_closing;
}

void node_install_begin(struct node *node)
{
    node->install.state = NODE_INSTALL_WAITS;
    node_want_turn(node);
}

static void install_drop(struct node *node, enum peer_snapshot_status status)
{
    const struct node_receive *r = &node->receive;
    struct peer_snapshot_ack ack = { .snapshot_id = r->id, .status = status };
    peer_net_send_snapshot_ack(node->peers, r->member, &ack);
    node->install.state = NODE_INSTALL_NONE;
    node_receive_end(node, false);
    node_want_turn(node);
}

static void switch_begin(struct node *node);

static void on_reset(void *owner, enum journal_err err)
{
    struct node *node = owner;
    node->persist.is_writing = false;
    if (err != JOURNAL_OK)
        node_fail(node, err == JOURNAL_E_NOSPACE ? EXIT_CODE_NO_SPACE : EXIT_CODE_IO,
                  "a journal write failed", journal_strerror(err));
    else if (!node->has_failed && !node->is_closing)
        switch_begin(node); /* else the next start does it */
}

/* What was to be written belongs to the log that ends here; term and vote go with the reset. */
static void reset_begin(struct node *node)
{
    struct node_persist *p = &node->persist;
    struct journal_batch batch = {
        .hard = p->hard,
        .prev = node->receive.pos,
        .reset = JOURNAL_RESET_DROP,
        .reset_pos = node->receive.pos,
    };
    ASSERT(p->hard.term >= batch.reset_pos.term);
    enum journal_err err = journal_write(node->journal, &batch, on_reset, node);
    if (err == JOURNAL_E_FULL) {
        install_drop(node, PEER_SNAPSHOT_FAILED); /* a flush frees it, which this holds up */
        return;
    }
    if (err != JOURNAL_OK) {
        node_fail(node, EXIT_CODE_IO, "the journal cannot be written", journal_strerror(err));
        return;
    }
    p->is_writing = true;
    p->is_pending = false;
    p->wants_rewrite = false;
    node->install_seq = p->seq;
    node->install.state = NODE_INSTALL_RESETS;
}

/* Once the journal is told, the core must take it. */
static bool is_possible(const struct node *node)
{
    const struct snapshot_meta *meta = snapshot_sink_meta(node->receive.sink);
    struct membership membership;
    membership_init(&membership);
    bool is_good = membership_decode(&membership, meta->state.membership) == MEMBERSHIP_OK;
    struct raft_config_at config = { .index = membership.config_index,
                                     .config = membership_to_raft_config(&membership) };
    membership_done(&membership);
    return is_good && raft_snapshot_check(node->raft, node->receive.pos, &config) == RAFT_OK;
}

void node_install_advance(struct node *node)
{
    if (node->install.state != NODE_INSTALL_WAITS)
        return;
    if (node->status.role == RAFT_LEADER || node_receive_is_needless(node, node->receive.pos)) {
        install_drop(node, PEER_SNAPSHOT_INSTALLED);
        return;
    }
    if (node->persist.is_writing && journal_usage(node->journal).is_stuck) {
        install_drop(node, PEER_SNAPSHOT_FAILED); /* it waits for a flush, which this holds up */
        return;
    }
    if (node->flush.is_running || node_fetch_is_running(node) || node_send_is_reading(node) ||
        node->persist.is_writing || node->retired.store)
        return; /* the end of each begins a turn */
    if (!is_possible(node)) {
        LOG_WARNF("a snapshot is not installed: it contradicts the log",
                  log_id("member", node->receive.member),
                  log_number("index", node->receive.pos.index));
        node->counters.snapshots_failed++;
        install_drop(node, PEER_SNAPSHOT_FAILED);
        return;
    }
    reset_begin(node);
}

/* ---- the switch ---- */

static void switch_run(struct io_job *job)
{
    struct node *node = LIST_ENTRY(job, struct node, install.job);
    struct node_install *install = &node->install;
    struct store_options options = node_store_options(node);
    install->err = store_switch(node->store_parent);
    if (install->err != STORE_OK)
        return;
    install->err = store_open(&install->store, &options, &install->published, install->detail,
                              sizeof install->detail);
    if (install->err != STORE_OK)
        return;
    if (kv_open(&install->kv, install->store, node->options.views_max) != KV_OK)
        install->err = STORE_E_NOMEM;
}

static void opened_close(struct node_install *install)
{
    kv_close(install->kv);
    store_close(install->store);
    install->kv = NULL;
    install->store = NULL;
}

/* What the state machine is from here on; false: out of memory, or worse. */
static bool machine_replace(struct node *node)
{
    const struct store_state *published = &node->install.published;
    struct machine_state state = {
        .applied = published->applied,
        .revision = published->revision,
        .compact_revision = published->compact_revision,
        .state_hash = published->state_hash,
        .feature_level = published->feature_level,
    };
    struct machine *machine = NULL;
    if (membership_decode(&node->membership, published->membership) != MEMBERSHIP_OK ||
        machine_open(&machine, node->install.kv, &node->membership, &state) != MACHINE_OK)
        return false;
    machine_close(node->machine);
    node->machine = machine;
    node->retired = (struct node_retired){ .store = node->store, .kv = node->kv };
    node->store = node->install.store;
    node->kv = node->install.kv;
    node->install.store = NULL;
    node->install.kv = NULL;
    return true;
}

/* What the node remembers of the state before. */
static void memory_renew(struct node *node, struct raft_pos pos)
{
    memset(node->hashes, 0, sizeof node->hashes);
    if (node->expected.index <= pos.index)
        node->expected.index = 0;
    node->apply_to_index = pos.index;
    node->apply_is_sliced = false;
    node->applied_term = pos.term;
    node->unflushed_bytes = 0;
    retention_reset(&node->retention);
    node->membership_changes = 0;
    /* 1. a write is forwarded; 2. the leader applies it and sends a snapshot that has it. Nobody
     * here sees its entry, so sent again it could be applied twice. */
    requests_on_skipped(&node->requests, pos.term);
    node_change_fail(node, ETCD_E_TIMEOUT);
}

static void core_renew(struct node *node)
{
    const struct machine_state *state = machine_state(node->machine);
    struct raft_event installed = {
        .type = RAFT_EV_SNAPSHOT_INSTALLED,
        .snapshot_installed = {
            .pos = state->applied,
            .config = { .index = node->membership.config_index,
                        .config = membership_to_raft_config(&node->membership) },
            .hash = state->state_hash,
        },
    };
    if (!node_step(node, &installed)) {
        node_fail(node, EXIT_CODE_CORRUPT, "a snapshot cannot be installed",
                  "it contradicts the log");
        return;
    }
    /* Only now: what the core asked for before is of the log that is gone. */
    struct raft_event durable = { .type = RAFT_EV_DURABLE, .persist_seq = node->install_seq };
    node_step(node, &durable);
}

static void install_finish(struct node *node)
{
    struct raft_pos pos = node->install.published.applied;
    struct peer_snapshot_ack ack = { .snapshot_id = node->receive.id,
                                     .status = PEER_SNAPSHOT_INSTALLED };
    uint64_t member = node->receive.member;
    memory_renew(node, pos);
    core_renew(node);
    journal_release(node->journal, pos.index);
    node_tell_compacted(node, node->install.published.compacted_revision);
    node_members_on_applied(node);
    node_receive_end(node, true);
    peer_net_send_snapshot_ack(node->peers, member, &ack);
    node->counters.snapshots_received++;
    LOG_INFOF("a snapshot was installed", log_id("member", member), log_number("index", pos.index),
              log_number("revision", (uint64_t)machine_state(node->machine)->revision));
    node_want_turn(node);
}

static void switch_done(struct io_job *job)
{
    struct node *node = LIST_ENTRY(job, struct node, install.job);
    struct node_install *install = &node->install;
    install->state = NODE_INSTALL_NONE;
    if (node->has_failed || node->is_closing) {
        opened_close(install); /* the disk has it; the next start reads it */
        return;
    }
    if (install->err != STORE_OK || !machine_replace(node)) {
        const char *why = install->detail[0] ? install->detail : store_strerror(install->err);
        opened_close(install);
        node_fail(node, install->err == STORE_E_NOSPACE ? EXIT_CODE_NO_SPACE : EXIT_CODE_IO,
                  "an installed snapshot cannot be opened", why);
        return;
    }
    install_finish(node);
}

static void switch_begin(struct node *node)
{
    struct node_install *install = &node->install;
    install->state = NODE_INSTALL_SWITCHES;
    install->detail[0] = '\0';
    install->job = (struct io_job){ .run = switch_run, .done = switch_done };
    list_init(&install->job.link);
    io_offload(node->io, &install->job);
}
