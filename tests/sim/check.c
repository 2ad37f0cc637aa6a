#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "proto/config.h"
#include "tests/sim/check_internal.h"
#include "tests/support/counts_check.h"

enum {
    TERMS_MAX = 1 << 20,
    COMPLETENESS_ENTRIES = 256,
    MEMTABLES = 3,                  /* one active, two frozen */
    MEMTABLE_SLACK_BYTES = 8 << 20, /* a turn's writes come on top, and whole chunks */
    TURNS_BETWEEN_WALKS = 1024,     /* raft_check_invariants walks the whole window */
};

struct sim_check *sim_check_new(struct sim *sim)
{
    struct sim_check *check = calloc(1, sizeof *check);
    ASSERT(check);
    check->sim = sim;
    map_init(&check->leaders, TERMS_MAX);
    return check;
}

void sim_check_free(struct sim_check *check)
{
    check_quorum_done(check);
    map_done(&check->leaders);
    free(check->log);
    free(check);
}

void sim_check_on_start(struct sim_host *h)
{
    h->sim->check->nodes[h->index] = (struct node_view){ 0 };
    if (sim_host_node(h))
        sim_promise_on_start(&h->sim->check->promises[h->index], h, sim_host_node(h));
}

void sim_check_on_end(struct sim_host *h)
{
    h->sim->check->nodes[h->index] = (struct node_view){ 0 };
}

uint64_t sim_check_applied(const struct sim *sim)
{
    return sim->check->log_count;
}

/* ---- one leader a term, who has everything ---- */

/* Who is elected late, when others have elected in a later term, need not have what that one's
 * leader committed. */
static void check_completeness(struct sim_host *h, const struct node *node)
{
    const struct sim_check *check = h->sim->check;
    uint64_t index = check->log_count;
    /* Votes may come so late that a later term has had its leader, and has committed: that it need
     * not have, and it can commit nothing. */
    while (index > 0 && check->log[index - 1].by >= node->status.term)
        index--;
    uint64_t stop = index > COMPLETENESS_ENTRIES ? index - COMPLETENESS_ENTRIES : 0;
    uint64_t last = raft_last_pos(node->raft).index;
    if (last < index) {
        sim_fail(h->sim,
                 "leader completeness: %s leads term %" PRIu64 " with a log up to %" PRIu64
                 ", but %" PRIu64 " was applied",
                 h->name, node->status.term, last, index);
        return;
    }
    for (; index > stop; index--) {
        uint64_t term = raft_term_at(node->raft, index);
        if (term != 0 && term != check->log[index - 1].term)
            sim_fail(h->sim,
                     "leader completeness: %s leads term %" PRIu64 " with term %" PRIu64
                     " at %" PRIu64 ", applied was term %" PRIu64,
                     h->name, node->status.term, term, index, check->log[index - 1].term);
    }
}

static void check_leader(struct sim_host *h, const struct node *node)
{
    struct sim_check *check = h->sim->check;
    uint64_t term = node->status.term;
    uintptr_t known = (uintptr_t)map_get(&check->leaders, term);
    if (known == 0) {
        ASSERT(map_put(&check->leaders, term, (void *)((uintptr_t)h->index + 1)));
        check_completeness(h, node);
        check_election(h, node);
    } else if (known != h->index + 1) {
        sim_fail(h->sim, "election safety: %s and %s both lead term %" PRIu64, h->name,
                 h->sim->hosts[known - 1].name, term);
    }
}

/* ---- the same entries, the same state ---- */

static struct applied *log_at(struct sim_check *check, uint64_t index)
{
    if (index > check->log_capacity) {
        check->log_capacity = check->log_capacity ? 2 * check->log_capacity : 4096;
        check->log = realloc(check->log, check->log_capacity * sizeof *check->log);
        ASSERT(check->log);
    }
    return &check->log[index - 1];
}

static void check_state(struct sim_host *h, uint64_t index, uint64_t hash)
{
    struct sim_check *check = h->sim->check;
    if (index == 0 || index > check->log_count)
        return;
    struct applied *known = log_at(check, index);
    if (known->hash == 0)
        known->hash = hash;
    else if (known->hash != hash)
        sim_fail(h->sim, "state machines differ: %s at %" PRIu64, h->name, index);
}

static void check_entry(struct sim_host *h, const struct node *node, uint64_t index)
{
    struct sim_check *check = h->sim->check;
    const struct raft_entry *entry = raft_entry_at(node->raft, index);
    if (!entry && index <= check->log_count)
        return; /* a snapshot has passed it */
    if (!entry) {
        sim_fail(h->sim, "%s has applied %" PRIu64 ", which left its memory at once", h->name,
                 index);
        return;
    }
    uint64_t sum = checksum(entry->bytes, 0);
    if (index <= check->log_count) {
        const struct applied *known = log_at(check, index);
        if (known->term != entry->pos.term || known->sum != sum)
            sim_fail(h->sim,
                     "%s applied another entry at %" PRIu64 ": term %" PRIu64
                     ", it was term %" PRIu64,
                     h->name, index, entry->pos.term, known->term);
    } else if (index == check->log_count + 1) {
        check->log_count++;
        *log_at(check, index) =
            (struct applied){ .term = entry->pos.term, .sum = sum, .by = node->status.term };
        check_commit(h, index, entry->pos.term);
        struct raft_config config;
        if (entry->type == RAFT_ENTRY_CONFIG && config_of_entry(entry->bytes, &config))
            check_config_learn(check, &config);
    } else {
        sim_fail(h->sim, "%s applied %" PRIu64 " where nobody had applied %" PRIu64, h->name, index,
                 check->log_count + 1);
        return;
    }
    struct raft_state_hash seen = node->hashes[index % NODE_HASHES];
    if (seen.index == index)
        check_state(h, index, seen.hash);
}

static void check_progress(struct sim_host *h, const struct node *node, struct node_view *v)
{
    const struct machine_state *state = machine_state(node->machine);
    uint64_t commit = raft_commit_index(node->raft);
    if (!v->is_known) {
        v->applied = store_published(node->store)->applied.index;
        if (v->applied > h->sim->check->log_count)
            sim_fail(h->sim, "%s starts with %" PRIu64 ", which nobody had applied", h->name,
                     v->applied);
        check_state(h, v->applied, store_published(node->store)->state_hash);
    } else if (commit < v->commit || state->applied.index < v->applied ||
               state->revision < v->revision || node->status.term < v->term) {
        sim_fail(h->sim,
                 "%s falls back: term %" PRIu64 " commit %" PRIu64 " applied %" PRIu64
                 " revision %" PRId64,
                 h->name, node->status.term, commit, state->applied.index, state->revision);
    }
    for (uint64_t i = v->applied + 1; i <= state->applied.index && !h->sim->has_failed; i++)
        check_entry(h, node, i);
    /* Half an entry belongs to no index; one that met damage stays half. */
    if (!node->apply_is_sliced && !node->has_failed)
        check_state(h, state->applied.index, state->state_hash);
    if (state->applied.index > commit)
        sim_fail(h->sim, "%s has applied %" PRIu64 " of %" PRIu64 " committed", h->name,
                 state->applied.index, commit);
    v->commit = commit;
    v->applied = state->applied.index;
    v->revision = state->revision;
}

/* I8: what has a cap is below it, whatever waits for whom. */
static void check_bounds(struct sim_host *h, const struct node *node)
{
    const struct node_options *o = &node->options;
    struct journal_usage journal = journal_usage(node->journal);
    size_t memtable_bytes = kv_memtable_bytes(node->kv);
    if (memtable_bytes > MEMTABLES * o->memtable_bytes_max + MEMTABLE_SLACK_BYTES)
        sim_fail(h->sim, "%s holds %zu bytes in memtables", h->name, memtable_bytes);
    if (journal.segments_in_use > o->journal_segment_count_max)
        sim_fail(h->sim, "%s uses %u journal segments", h->name, journal.segments_in_use);
    if (node->requests.by_id.count > o->requests_max || node->reads.count > o->requests_max)
        sim_fail(h->sim, "%s has more requests than its cap", h->name);
}

/* What the next start finds, or what a repair went over, is whole again. */
static void review_hurt(struct sim_host *h, const struct node *node)
{
    bool heals = h->hurt == HURT_JOURNAL || h->hurt == HURT_STORE || h->hurt == HURT_VOTE;
    if (raft_awaits_repair(node->raft)) {
        if (!heals)
            sim_fail(h->sim, "%s repairs what nothing has damaged", h->name);
        h->was_repairing = true;
    } else if (heals && (h->was_repairing || h->hurt != HURT_STORE) &&
               node->repair.state == REPAIR_NONE) {
        sim_trace_line(h->sim, "%s is whole again%s", h->name,
                       h->was_repairing ? ", repaired" : "");
        h->hurt = HURT_NOT;
        h->was_repairing = false;
    }
}

void sim_check_turn(struct sim_host *h)
{
    struct node *node = h->is_node ? sim_host_node(h) : NULL;
    if (!node || node->closing_parts > 0)
        return;
    struct node_view *v = &h->sim->check->nodes[h->index];
    if (h->sim->check->config.member_count == 0 && node->membership.config_index == 0 &&
        node->membership.member_count > 0) {
        struct raft_config initial = membership_to_raft_config(&node->membership);
        check_config_learn(h->sim->check, &initial);
    }
    h->had_voice |= node->has_voice;
    check_promises(h, node, !v->is_known);
    review_hurt(h, node);
    if (node->status.role == RAFT_LEADER)
        check_leader(h, node);
    bool is_news = !v->is_known || v->role != node->status.role || v->term != node->status.term;
    check_progress(h, node, v);
    sim_promise_turn(&h->sim->check->promises[h->index], h, node);
    v->role = node->status.role;
    v->term = node->status.term;
    v->is_known = true;
    if (is_news)
        sim_trace_line(h->sim, "%s: term %" PRIu64 " leader %" PRIx64, h->name, v->term,
                       node->status.leader);
    if (node->is_corrupt)
        sim_fail(h->sim, "%s finds its state different from another's", h->name);
    if (++v->turns % TURNS_BETWEEN_WALKS != 0)
        return;
    raft_check_invariants(node->raft);
    check_bounds(h, node);
}

bool sim_check_has_converged(const struct sim *sim)
{
    uint64_t leader = 0;
    for (uint32_t i = 0; i < sim->options.node_count; i++) {
        const struct node *node = sim_host_node(&sim->hosts[i]);
        if (!sim_host_must_serve(&sim->hosts[i]))
            continue;
        if (!node || node->closing_parts > 0 || !node->is_serving)
            return false;
        bool follows = node->status.leader != 0 && (leader == 0 || node->status.leader == leader);
        if (!follows || machine_state(node->machine)->applied.index != sim->check->log_count)
            return false;
        leader = node->status.leader;
    }
    return leader != 0;
}

/* ---- what the store holds in the end ---- */

static bool hash_of(struct node *node, uint64_t *ret_hash)
{
    const struct machine_state *state = machine_state(node->machine);
    struct kv_view *view;
    if (kv_view_open(node->kv, &view) != KV_OK)
        return false;
    enum kv_err err = kv_view_hash(view, state->compact_revision, state->revision, ret_hash);
    kv_view_close(view);
    return err == KV_OK;
}

static enum kv_err walk_count(struct kv_view *view, const struct kv_range *range,
                              uint64_t *ret_count)
{
    struct arena arena;
    struct kv_cursor *cursor = NULL;
    struct kv_record record;
    bool found = true;
    arena_init(&arena, 1 << 20);
    *ret_count = 0;
    enum kv_err err = kv_cursor_open(view, range, &arena, &cursor);
    while (err == KV_OK && found) {
        err = kv_cursor_next(cursor, &record, &found);
        *ret_count += found;
    }
    kv_cursor_close(cursor);
    arena_done(&arena);
    return err;
}

/* What a client is told, on the loop and by a job, and what there is: now and as long ago as can be
 * asked for. */
static bool counts_agree(struct node *node)
{
    const struct machine_state *state = machine_state(node->machine);
    struct kv_view *view;
    bool agree = kv_view_open(node->kv, &view) == KV_OK;
    if (!agree)
        return false;
    for (int i = 0; i < 4 && agree; i++) {
        struct kv_range range = {
            .end_is_open = true,
            .revision = i < 2 ? state->revision : state->compact_revision,
        };
        struct kv_counting counting = { .on_loop = i % 2 == 0, .steps_max = UINT64_MAX };
        uint64_t walked;
        uint64_t count;
        bool known;
        agree = walk_count(view, &range, &walked) == KV_OK &&
                kv_view_count(view, &range, &counting, &count, &known) == KV_OK && known &&
                count == walked;
    }
    kv_view_close(view);
    return agree;
}

void sim_check_find_damage(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->options.node_count; i++) {
        struct sim_host *h = &sim->hosts[i];
        struct node *node = sim_host_node(h);
        uint64_t hash;
        char why[COUNTS_CHECK_WHY_BYTES];
        if (h->hurt != HURT_STORE || !node ||
            (hash_of(node, &hash) && counts_agree(node) && counts_are_right(node->store, why)))
            continue;
        sim_trace_line(sim, "%s is found to be damaged", h->name);
        h->was_repairing = true; /* as good as */
        struct sim_proc *before = sim_proc_enter(h->proc);
        node_fail_store(node, node->kv, KV_E_CORRUPT);
        sim_proc_enter(before);
        sim_proc_wake(h->proc, sim->now_us);
    }
}

void sim_check_stores(struct sim *sim)
{
    uint64_t first = 0;
    const struct sim_host *first_host = NULL;
    for (uint32_t i = 0; i < sim->options.node_count; i++) {
        struct sim_host *h = &sim->hosts[i];
        struct node *node = sim_host_node(h);
        uint64_t hash;
        if (!node || !sim_host_must_serve(h))
            continue;
        char why[COUNTS_CHECK_WHY_BYTES];
        if (!counts_are_right(node->store, why))
            sim_fail(sim, "%s has miscounted its keys: %s", h->name, why);
        if (!counts_agree(node))
            sim_fail(sim, "%s answers with a wrong count of its keys", h->name);
        if (!hash_of(node, &hash))
            sim_fail(sim, "%s cannot read its store", h->name);
        else if (first_host && hash != first)
            sim_fail(sim, "%s and %s hold different keys", first_host->name, h->name);
        first = hash;
        first_host = h;
    }
}
