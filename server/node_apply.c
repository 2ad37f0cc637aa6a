/* Committed entries into the state machine, in slices of a turn, and the results to whoever
 * waits for them here.
 */
#include "base/assert.h"
#include "base/log.h"
#include "server/node_internal.h"

enum { ENTRIES_BETWEEN_CLOCKS = 16 };

/* ---- I5: equal state at equal index ---- */

static void report_difference(struct node *node, uint64_t member, struct raft_state_hash ours)
{
    if (!node->is_corrupt)
        LOG_ERRORF("state differs from another member's at the same index: one of them is corrupt",
                   log_id("member", member), log_number("index", ours.index),
                   log_id("our-hash", ours.hash));
    node->is_corrupt = true;
}

static void remember_hash(struct node *node, struct raft_state_hash ours)
{
    node->hashes[ours.index % NODE_HASHES] = ours;
    if (node->expected.index != ours.index)
        return;
    if (node->expected.hash != ours.hash)
        report_difference(node, node->status.leader, ours);
    node->expected.index = 0;
}

void node_check_hash(struct node *node, uint64_t member, struct raft_state_hash theirs)
{
    if (theirs.index == 0)
        return;
    const struct machine_state *state = machine_state(node->machine);
    if (theirs.index > state->applied.index) {
        if (node->expected.index == 0)
            node->expected = theirs; /* judged when we get there */
        return;
    }
    struct raft_state_hash ours = node->hashes[theirs.index % NODE_HASHES];
    if (ours.index == theirs.index && ours.hash != theirs.hash)
        report_difference(node, member, ours);
}

/* ---- applying ---- */

static void fail_machine(struct node *node, enum machine_err err)
{
    static const char what[] = "the log cannot be applied";
    if (err == MACHINE_E_CORRUPT)
        node_fail_damaged(node, what, machine_strerror(err));
    else if (err == MACHINE_E_UNKNOWN)
        node_fail(node, EXIT_CODE_VERSION, what, machine_strerror(err));
    else
        node_fail(node, err == MACHINE_E_STORE ? EXIT_CODE_IO : EXIT_CODE_FAILURE, what,
                  machine_strerror(err));
}

static void finish_request(struct node *node, struct request *request)
{
    node->counters.proposals_committed++;
    if (request->reply.error != ETCD_OK)
        node->counters.proposals_failed++;
    requests_finish(&node->requests, request);
}

/* MACHINE_OK: applied, go on. */
static enum machine_err apply_one(struct node *node, uint64_t index)
{
    const struct raft_entry *entry = raft_entry_at(node->raft, index);
    ASSERT(entry && entry->pos.index == index);
    struct entry_header header;
    struct slice payload;
    size_t size;
    /* It was verified when it came in, and again here before it takes effect. */
    enum entry_err bad = entry_decode(entry->bytes, &header, &payload, &size);
    ASSERT(bad == ENTRY_OK && header.pos.index == index && size == entry->bytes.size);
    struct request *request = requests_find(&node->requests, header.request_id);
    enum machine_err err =
        machine_apply(node->machine, &header, payload, request ? &request->reply : NULL);
    if (err != MACHINE_OK)
        return err;
    node->unflushed_bytes += entry->bytes.size;
    node_change_on_applied(node, header.pos, header.type == RAFT_ENTRY_CONFIG);
    if (machine_membership_changes(node->machine) != node->membership_changes)
        node_members_on_applied(node);
    const struct machine_state *state = machine_state(node->machine);
    remember_hash(node, (struct raft_state_hash){ index, state->state_hash });
    if (request)
        finish_request(node, request);
    if (header.pos.term > node->applied_term) {
        node->applied_term = header.pos.term;
        requests_on_term_applied(&node->requests, header.pos.term);
    }
    return MACHINE_OK;
}

/* Keys in no order cost a miss of the cache at every step to where they belong. So the next few
 * are looked for together, ahead of their turn. */
static void prefetch(const struct node *node, uint64_t index)
{
    struct slice payloads[KV_PREFETCH_MAX];
    size_t count = 0;
    for (; index <= node->apply_to_index && count < KV_PREFETCH_MAX; index++)
        payloads[count++] = entry_payload(raft_entry_at(node->raft, index)->bytes);
    if (count > 1)
        machine_prefetch(node->machine, payloads, count);
}

static void apply_slice(struct node *node)
{
    uint64_t end_us = node->io->ops->now_us(node->io) + NODE_APPLY_SLICE_US;
    uint64_t index = machine_state(node->machine)->applied.index + 1;
    for (uint32_t n = 1; index <= node->apply_to_index; index++, n++) {
        if ((n - 1) % KV_PREFETCH_MAX == 0)
            prefetch(node, index);
        enum machine_err err = apply_one(node, index);
        node->apply_is_sliced = err == MACHINE_MORE;
        if (err == MACHINE_MORE)
            break;
        if (err != MACHINE_OK) {
            fail_machine(node, err);
            return;
        }
        if (n % ENTRIES_BETWEEN_CLOCKS == 0 && node->io->ops->now_us(node->io) >= end_us) {
            index++;
            break;
        }
    }
    if (index <= node->apply_to_index)
        node_want_turn(node);
}

void node_apply_committed(struct node *node)
{
    uint64_t before = machine_state(node->machine)->applied.index;
    if (before >= node->apply_to_index || node_install_holds(node))
        return;
    enum kv_err err = machine_batch_begin(node->machine);
    if (err == KV_E_BUSY) {
        node_want_turn(node); /* every view is out: one comes back with the next job's end */
        return;
    }
    if (err != KV_OK) {
        node_fail_store(node, node->kv, err);
        return;
    }
    apply_slice(node);
    machine_batch_end(node->machine);
    const struct machine_state *state = machine_state(node->machine);
    if (node->has_failed || state->applied.index == before)
        return;
    struct raft_event applied = {
        .type = RAFT_EV_APPLIED,
        .applied = { state->applied.index, state->state_hash },
    };
    node_step(node, &applied);
}
