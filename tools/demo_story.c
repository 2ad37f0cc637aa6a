#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "rpc.pb-c.h"
#include "tools/client.h"
#include "tools/demo.h"
#include "tools/demo_load.h"

enum {
    WRITES_PER_ACT = 500,
    ACT_MS = 60000,
    STATUS_TIMEOUT_MS = 1000,
    CALL_TIMEOUT_MS = 10000,
};

/* Whether an act may go on waiting; says so when it may not. */
static bool act_goes_on(uint64_t deadline_ms, const char *what)
{
    if (demo_is_interrupted()) {
        demo_say(DEMO_BAD, "interrupted");
        return false;
    }
    if (client_now_ms() < deadline_ms)
        return true;
    demo_say(DEMO_BAD, "%s: not within %d s", what, ACT_MS / 1000);
    return false;
}

/* Another WRITES_PER_ACT acknowledged writes from here. */
static bool await_writes(struct demo_load *load)
{
    uint64_t wanted = demo_load_acknowledged(load) + WRITES_PER_ACT;
    uint64_t deadline_ms = client_now_ms() + ACT_MS;
    while (demo_load_acknowledged(load) < wanted) {
        if (!act_goes_on(deadline_ms, "no progress of the writers"))
            return false;
        demo_poll_pause();
    }
    return true;
}

static struct demo_node *await_leader(struct demo_nodes *nodes, uint64_t *ret_term)
{
    uint64_t deadline_ms = client_now_ms() + ACT_MS;
    for (;;) {
        struct demo_node *leader = demo_nodes_leader(nodes, ret_term);
        if (leader != NULL)
            return leader;
        if (!act_goes_on(deadline_ms, "no leader"))
            return NULL;
        demo_poll_pause();
    }
}

/* Until the node has applied what the cluster had when this began. */
static bool await_caught_up(struct demo_node *node, int64_t revision)
{
    uint64_t deadline_ms = client_now_ms() + ACT_MS;
    for (;;) {
        struct demo_status status;
        if (!demo_node_is_alive(node))
            return false;
        if (demo_node_status(node, STATUS_TIMEOUT_MS, &status) && status.leader_id != 0 &&
            status.revision >= revision)
            return true;
        if (!act_goes_on(deadline_ms, "a node did not catch up"))
            return false;
        demo_poll_pause();
    }
}

/* The newest revision, from any node and confirmed by a majority. */
static bool newest_revision(const struct demo_nodes *nodes, int64_t *ret_revision)
{
    const char *endpoints[DEMO_NODE_COUNT];
    struct client *client = NULL;
    struct client_error error;
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    for (size_t i = 0; i < DEMO_NODE_COUNT; i++)
        endpoints[i] = nodes->items[i].endpoint;
    const struct client_options options = { .endpoints = endpoints,
                                            .endpoint_count = DEMO_NODE_COUNT,
                                            .dial_timeout_ms = CALL_TIMEOUT_MS,
                                            .call_timeout_ms = CALL_TIMEOUT_MS,
                                            .receive_bytes_max = 1 << 20 };
    request.key = (ProtobufCBinaryData){ .len = 4, .data = (uint8_t *)"demo" };
    bool ok = client_open(&client, &options, &error) &&
              client_call(client, &client_kv_range, &request.base, &response, &error);
    client_close(client);
    if (!ok) {
        demo_say(DEMO_BAD, "cannot read the revision: %s", error.message);
        return false;
    }
    const Etcdserverpb__RangeResponse *range = (const Etcdserverpb__RangeResponse *)response;
    *ret_revision = range->header == NULL ? 0 : range->header->revision;
    protobuf_c_message_free_unpacked(response, NULL);
    return true;
}

static bool node_restart(struct demo_nodes *nodes, struct demo_node *node)
{
    int64_t revision = 0;
    uint64_t start_ms = client_now_ms();
    if (!newest_revision(nodes, &revision) || !demo_node_start(nodes, node) ||
        !await_caught_up(node, revision))
        return false;
    demo_say(DEMO_PLAIN, "%s is back and has caught up after %" PRIu64 " ms", node->name,
             client_now_ms() - start_ms);
    return true;
}

/* ---- the acts ---- */

static bool act_start(struct demo_nodes *nodes)
{
    uint64_t term = 0;
    uint64_t start_ms = client_now_ms();
    for (size_t i = 0; i < DEMO_NODE_COUNT; i++) {
        if (!demo_node_start(nodes, &nodes->items[i]))
            return false;
    }
    struct demo_node *leader = demo_wait_ready(nodes, &term);
    if (leader == NULL)
        return false;
    demo_say(DEMO_PLAIN, "three nodes are up after %" PRIu64 " ms: %s, %s, %s",
             client_now_ms() - start_ms, nodes->items[0].endpoint, nodes->items[1].endpoint,
             nodes->items[2].endpoint);
    demo_say(DEMO_BOLD, "%s leads (term %" PRIu64 ")", leader->name, term);
    return true;
}

static bool act_kill_leader(struct demo_nodes *nodes, struct demo_load *load,
                            struct demo_node **ret_killed)
{
    uint64_t term = 0;
    struct demo_node *leader = await_leader(nodes, &term);
    if (leader == NULL)
        return false;
    demo_load_watch(load);
    demo_node_kill(leader);
    *ret_killed = leader;
    demo_say(DEMO_BOLD, "kill -9 %s, the leader, after %" PRIu64 " acknowledged writes",
             leader->name, demo_load_acknowledged(load));
    struct demo_node *successor = await_leader(nodes, &term);
    if (successor == NULL || !await_writes(load))
        return false;
    demo_say(DEMO_BOLD, "%s leads (term %" PRIu64 "); writes stood still for %" PRIu64 " ms",
             successor->name, term, demo_load_gap_ms(load));
    return true;
}

static bool act_kill_follower(struct demo_nodes *nodes, struct demo_load *load,
                              const struct demo_node *spared, struct demo_node **ret_killed)
{
    uint64_t term = 0;
    struct demo_node *leader = await_leader(nodes, &term);
    struct demo_node *follower = NULL;
    for (size_t i = 0; i < DEMO_NODE_COUNT && leader != NULL; i++) {
        struct demo_node *node = &nodes->items[i];
        if (node != leader && (follower == NULL || follower == spared))
            follower = node;
    }
    if (follower == NULL)
        return false;
    demo_load_watch(load);
    demo_node_kill(follower);
    *ret_killed = follower;
    demo_say(DEMO_BOLD, "kill -9 %s, a follower", follower->name);
    if (!await_writes(load))
        return false;
    demo_say(DEMO_PLAIN,
             "%s goes on leading; the longest pause between two writes was %" PRIu64 " ms",
             leader->name, demo_load_gap_ms(load));
    return true;
}

static bool act_under_load(struct demo_nodes *nodes, struct demo_load *load)
{
    struct demo_node *first = NULL;
    struct demo_node *second = NULL;
    demo_say(DEMO_PLAIN, "%d writers begin, each with a connection and keys of its own",
             DEMO_WRITER_COUNT);
    return await_writes(load) && act_kill_leader(nodes, load, &first) &&
           node_restart(nodes, first) && await_writes(load) &&
           act_kill_follower(nodes, load, first, &second) && node_restart(nodes, second) &&
           await_writes(load);
}

static bool hash_of(const struct demo_node *node, int64_t revision, uint32_t *ret_hash)
{
    struct client *client = NULL;
    struct client_error error;
    Etcdserverpb__HashKVRequest request = ETCDSERVERPB__HASH_KVREQUEST__INIT;
    ProtobufCMessage *response = NULL;
    const char *endpoint = node->endpoint;
    const struct client_options options = { .endpoints = &endpoint,
                                            .endpoint_count = 1,
                                            .dial_timeout_ms = CALL_TIMEOUT_MS,
                                            .call_timeout_ms = CALL_TIMEOUT_MS,
                                            .receive_bytes_max = 1 << 20 };
    request.revision = revision;
    bool ok = client_open(&client, &options, &error) &&
              client_call(client, &client_maintenance_hash_kv, &request.base, &response, &error);
    client_close(client);
    if (!ok) {
        demo_say(DEMO_BAD, "no hash from %s: %s", node->name, error.message);
        return false;
    }
    *ret_hash = ((const Etcdserverpb__HashKVResponse *)response)->hash;
    protobuf_c_message_free_unpacked(response, NULL);
    return true;
}

/* Every acknowledged write on every node, by its own account, and equal hashes. */
static bool act_verify(struct demo_nodes *nodes, const struct demo_load *load)
{
    int64_t revision = 0;
    uint32_t hashes[DEMO_NODE_COUNT] = { 0 };
    bool held = newest_revision(nodes, &revision);
    for (size_t i = 0; i < DEMO_NODE_COUNT && held; i++) {
        struct demo_node *node = &nodes->items[i];
        uint64_t present = 0;
        uint64_t missing = 0;
        held = await_caught_up(node, revision) &&
               demo_load_verify(load, node, revision, &present, &missing) &&
               hash_of(node, revision, &hashes[i]);
        if (!held)
            break;
        held = missing == 0;
        demo_say(held ? DEMO_PLAIN : DEMO_BAD,
                 "%s has %" PRIu64 " keys, %" PRIu64
                 " acknowledged ones are missing, hash %08" PRIx32,
                 node->name, present, missing, hashes[i]);
    }
    if (held && (hashes[0] != hashes[1] || hashes[0] != hashes[2])) {
        demo_say(DEMO_BAD, "the hashes differ");
        held = false;
    }
    return held;
}

int demo_story_run(struct demo_nodes *nodes)
{
    struct demo_load load;
    if (!act_start(nodes) || !demo_load_start(&load, nodes))
        return EXIT_FAILURE;
    bool held = act_under_load(nodes, &load);
    demo_load_stop(&load);
    if (held) {
        demo_say(DEMO_PLAIN,
                 "the writers end: %" PRIu64 " writes acknowledged, %" PRIu64
                 " with unknown outcome",
                 load.acknowledged_count, load.unknown_count);
        held = act_verify(nodes, &load);
    }
    if (held)
        demo_say(DEMO_GOOD,
                 "every acknowledged write is on every node, and their hashes are equal");
    else
        demo_say(DEMO_BAD, "the demo failed");
    demo_load_done(&load);
    return held ? EXIT_SUCCESS : EXIT_FAILURE;
}
