/* The other members: whom to dial, whom to believe, and how blank disks become a cluster (I7a).
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "command.pb-c.h"
#include "proto/pb_arena.h"
#include "server/node_internal.h"

enum {
    PEER_BACKOFF_MIN_MS = 10,
    PEER_BACKOFF_MAX_MS = 500,
    PEER_HANDSHAKE_TIMEOUT_MS = 2000,
    PUBLISH_BYTES_MAX = 16 << 10,
    FIRST_ELECTION_MS = 20,
};
#define PEER_OUT_BYTES_MAX ((uint64_t)32 << 20)

/* ---- formation ---- */

static void save_run(struct io_job *job)
{
    struct node *node = LIST_ENTRY(job, struct node, identity_job);
    node->identity_err = identity_save(node->io, node->dir_fd, &node->identity_saving);
}

static void save_done(struct io_job *job)
{
    struct node *node = LIST_ENTRY(job, struct node, identity_job);
    node->identity_is_saving = false;
    if (node->identity_err != IDENTITY_OK) {
        node_fail(node,
                  node->identity_err == IDENTITY_E_NOSPACE ? EXIT_CODE_NO_SPACE : EXIT_CODE_IO,
                  "the identity file cannot be written", identity_strerror(node->identity_err));
        return;
    }
    if (node->is_closing)
        return;
    node->identity = node->identity_saving;
    struct formation_effects effects;
    formation_on_saved(&node->formation, &effects);
    node_formation_carry_out(node, &effects);
}

static void save_begin(struct node *node, const struct formation_effects *effects)
{
    ASSERT(!node->identity_is_saving);
    ASSERT(effects->save_bytes.size <= IDENTITY_FORMATION_BYTES_MAX);
    node->identity_is_saving = true;
    node->identity_saving = node->identity;
    node->identity_saving.formed = effects->save_formed;
    node->identity_saving.formation_bytes = effects->save_bytes.size;
    memcpy(node->identity_saving.formation, effects->save_bytes.data, effects->save_bytes.size);
    node->identity_job = (struct io_job){ .run = save_run, .done = save_done };
    list_init(&node->identity_job.link);
    io_offload(node->io, &node->identity_job);
}

/* The membership learns whose disk is whose. */
static void take_incarnations(struct node *node)
{
    const struct formation_record *record = &node->formation.durable;
    for (uint32_t i = 0; i < record->count; i++) {
        const struct membership_member *known =
            membership_by_id(&node->membership, record->disks[i].member);
        if (!known || known->has_incarnation)
            continue;
        struct membership_member member = *known;
        member.has_incarnation = true;
        memcpy(member.incarnation, record->disks[i].incarnation, sizeof member.incarnation);
        if (membership_put(&node->membership, &member) != MEMBERSHIP_OK)
            node_fail(node, EXIT_CODE_FAILURE, "the membership cannot be kept", "out of memory");
    }
}

/* A cluster that starts as a whole has no leader to wait for: once a quorum is met its members ask
 * for votes in turn, a little apart, rather than after a time-out. */
static void hurry_first_election(struct node *node)
{
    const struct membership *m = &node->config.in_force;
    uint32_t voters = 0;
    uint32_t met = 0;
    uint32_t rank = 0;
    for (uint32_t i = 0; i < m->member_count; i++) {
        uint64_t id = m->members[i].id;
        if (!(m->members[i].roles & RAFT_VOTER))
            continue;
        voters++;
        rank += id < node->identity.member_id;
        met += id == node->identity.member_id || peer_net_is_up(node->peers, id);
    }
    if (!node->has_voice || node->status.leader != 0 || met <= voters / 2)
        return;
    uint64_t at_ms = io_now_ms(node->io) + FIRST_ELECTION_MS * (1 + rank);
    IGNORE(!io_timer_set(node->io, &node->start_timer, at_ms), "the election time-out remains");
}

static void formed(struct node *node)
{
    take_incarnations(node);
    node->has_voice = true;
    peer_net_set_cluster_hash(node->peers, formation_hello_hash(&node->formation));
    raft_set_voice(node->raft, true);
    LOG_INFOF("the cluster has formed", log_id("cluster", node->identity.cluster_id),
              log_id("member", node->identity.member_id));
    struct raft_event tick = { .type = RAFT_EV_TICK };
    node_step(node, &tick);
    hurry_first_election(node);
}

void node_formation_carry_out(struct node *node, const struct formation_effects *effects)
{
    if (effects->fatal) {
        node_fail(node, EXIT_CODE_BLANK_DISK, "this member cannot take part", effects->fatal);
        return;
    }
    if (effects->announce_all) {
        for (uint32_t i = 0; i < node->config.link_count; i++)
            peer_net_send_formation(node->peers, node->config.links[i].id, effects->announce);
    } else if (effects->announce_to != 0) {
        peer_net_send_formation(node->peers, effects->announce_to, effects->announce);
    }
    if (effects->formed_now)
        formed(node);
    if (effects->save)
        save_begin(node, effects);
}

/* ---- removed ---- */

static void end_removed(struct node *node)
{
    node_fail(node, EXIT_CODE_REMOVED, "this member was removed", NODE_REMOVED_TEXT);
}

void node_on_removal_timer(void *owner)
{
    end_removed(owner);
}

/* A leader first hands over (thesis §4.2.2), and that has to leave. */
static void on_removed(struct node *node)
{
    uint64_t wait_ms = node->status.role == RAFT_LEADER ? node->options.election_timeout_ms
                                                        : node->options.heartbeat_ms;
    node->is_removed = true;
    if (!io_timer_set(node->io, &node->removal_timer, io_now_ms(node->io) + wait_ms))
        end_removed(node);
}

void node_members_on_applied(struct node *node)
{
    node->membership_changes = machine_membership_changes(node->machine);
    node_join_on_applied(node);
    if (node->is_serving)
        node->publish_is_due = true; /* if it is not known any more */
    if (!node->is_removed && membership_is_removed(&node->membership, node->identity.member_id))
        on_removed(node);
}

/* ---- what the links tell ---- */

static const char *judge_hello(struct node *node, const struct peer_hello *hello,
                               enum peer_unwelcome *ret_why)
{
    if (membership_is_removed(&node->membership, hello->member_id)) {
        node->counters.removed_refused++;
        *ret_why = PEER_UNWELCOME_REMOVED;
        return NODE_REMOVED_TEXT;
    }
    struct formation_effects effects;
    bool is_final = false;
    const char *refusal = formation_on_hello(&node->formation, hello->member_id, hello->incarnation,
                                             hello->initial_cluster_hash, &is_final, &effects);
    *ret_why = is_final ? PEER_UNWELCOME_DISK : PEER_UNWELCOME_NOW;
    node_formation_carry_out(node, &effects);
    return refusal;
}

static const char *on_hello(void *owner, const struct peer_hello *hello,
                            enum peer_unwelcome *ret_why)
{
    struct node *node = owner;
    const char *refusal = judge_hello(node, hello, ret_why);
    if (!refusal && !node_config_is_linked(node, hello->member_id) &&
        !node_config_admit_stranger(node, hello))
        refusal = "not a member of this cluster";
    if (!refusal)
        node_join_on_hello(node, hello);
    return refusal;
}

static void on_refused(void *owner, uint64_t member, struct slice text, enum peer_unwelcome why)
{
    struct node *node = owner;
    if (node_config_refusal_is_news(node, member, text))
        LOG_WARNF("a member refuses this one", log_id("member", member), log_bytes("why", text));
    if (why == PEER_UNWELCOME_REMOVED) {
        end_removed(node);
        return;
    }
    struct formation_effects effects;
    formation_on_refused(&node->formation, member, why == PEER_UNWELCOME_DISK, &effects);
    node_formation_carry_out(node, &effects);
}

static void on_link(void *owner, uint64_t member, bool up)
{
    struct node *node = owner;
    LOG_INFOF(up ? "connected to member" : "lost the connection to member",
              log_id("member", member));
    if (!up && requests_on_link_lost(&node->requests, node->status.term))
        node->forward_query_is_due = true;
    struct raft_event event = { .type = RAFT_EV_LINK, .link = { .member = member, .up = up } };
    node_step(node, &event);
    if (!up)
        return;
    node_send_on_link_up(node, member);
    hurry_first_election(node);
    struct formation_effects effects;
    formation_on_link_up(&node->formation, member, &effects);
    node_formation_carry_out(node, &effects);
}

static void on_process_dead(void *owner, uint64_t member)
{
    struct node *node = owner;
    if (member != node->status.leader)
        return;
    LOG_WARNF("the leader's process has died", log_id("member", member));
    struct raft_event event = { .type = RAFT_EV_LEADER_DEAD };
    node_step(node, &event);
}

static bool on_raft(void *owner, const struct raft_msg *msg)
{
    struct node *node = owner;
    if (msg->type == RAFT_MSG_HEARTBEAT)
        node_check_hash(node, msg->from, msg->heartbeat.state);
    else if (msg->type == RAFT_MSG_HEARTBEAT_RESULT)
        node_check_hash(node, msg->from, msg->heartbeat_result.state);
    return node_step_message(node, msg);
}

static bool on_formation(void *owner, uint64_t member, struct slice bytes)
{
    struct node *node = owner;
    struct formation_effects effects;
    bool is_possible = formation_on_announce(&node->formation, member, bytes, &effects);
    node_formation_carry_out(node, &effects);
    return is_possible;
}

static void on_complaint(void *owner, uint64_t member, const char *why)
{
    (void)owner;
    LOG_WARNF("closed a connection from a member", log_id("member", member), log_text("why", why));
}

/* ---- opening ---- */

static struct peer_options peer_options_of(struct node *node)
{
    struct peer_options options = {
        .io = node->io,
        .self = { .cluster_id = node->identity.cluster_id,
                  .member_id = node->identity.member_id,
                  .initial_cluster_hash = formation_hello_hash(&node->formation),
                  .feature_level_max = MACHINE_FEATURE_LEVEL_MAX,
                  .server_version = slice_of_text(node->options.server_version) },
        .handlers = { .owner = node,
                      .on_hello = on_hello,
                      .on_refused = on_refused,
                      .on_link = on_link,
                      .on_process_dead = on_process_dead,
                      .on_raft = on_raft,
                      .on_formation = on_formation,
                      .on_forward = node_on_forward,
                      .on_forward_refused = node_on_forward_refused,
                      .on_complaint = on_complaint,
                      .on_forward_query = node_on_forward_query,
                      .on_forward_reach = node_on_forward_reach,
                      .on_snapshot_chunk = node_receive_on_chunk,
                      .on_snapshot_ack = node_send_on_ack },
        .members_max = NODE_LINKS_MAX,
        .out_bytes_max = PEER_OUT_BYTES_MAX + 4ull * node->options.request_bytes_max,
        .frame_bytes_max = (4u << 20) + 2 * node->options.request_bytes_max,
        .backoff_min_ms = PEER_BACKOFF_MIN_MS,
        .backoff_max_ms = PEER_BACKOFF_MAX_MS,
        .handshake_timeout_ms = PEER_HANDSHAKE_TIMEOUT_MS,
    };
    memcpy(options.self.incarnation, node->identity.incarnation, INCARNATION_BYTES);
    node_random_fill(node->io, options.self.process, sizeof options.self.process);
    return options;
}

static enum exit_code listen_for_peers(struct node *node, char *detail)
{
    for (size_t i = 0; i < node->options.peer_addr_count; i++) {
        struct io_addr bound;
        int err = peer_net_listen(node->peers, &node->options.peer_addrs[i], &bound);
        char text[ADDR_TEXT_BYTES_MAX];
        if (err < 0) {
            snprintf(detail, NODE_DETAIL_BYTES,
                     "cannot listen for peers on %s: %s; free it, or change --listen-peer-urls",
                     addr_format(&node->options.peer_addrs[i], text), strerror(-err));
            return EXIT_CODE_ADDRESS;
        }
        LOG_INFOF("listening for peers", log_text("address", addr_format(&bound, text)));
    }
    return EXIT_CODE_OK;
}

/* The flags can be corrected; what the log says is not theirs. */
static enum exit_code dial_members(struct node *node, char *detail)
{
    node_config_refresh(node);
    const struct membership *m = &node->config.in_force;
    for (uint32_t i = 0; i < m->member_count && m->config_index == 0; i++) {
        if (m->members[i].id != node->identity.member_id &&
            !node_config_is_linked(node, m->members[i].id)) {
            snprintf(detail, NODE_DETAIL_BYTES, "member %s has a peer URL that cannot be dialled",
                     m->members[i].name);
            return EXIT_CODE_USAGE;
        }
    }
    return EXIT_CODE_OK;
}

static enum exit_code open_formation(struct node *node, struct formation_effects *ret_effects,
                                     char *detail)
{
    struct membership nobody;
    membership_init(&nobody);
    struct formation_options options = {
        .own_id = node->identity.member_id,
        .incarnation = node->identity.incarnation,
        .initial = node->options.joins ? &nobody : node->options.initial,
        .joins = node->options.joins,
        .saved = slice_of(node->identity.formation, node->identity.formation_bytes),
    };
    enum formation_err err = formation_open(&node->formation, &options, ret_effects);
    if (err == FORMATION_OK)
        return EXIT_CODE_OK;
    snprintf(detail, NODE_DETAIL_BYTES, "the data directory %s: %s", node->options.data_dir,
             formation_strerror(err));
    return err == FORMATION_E_OWN ? EXIT_CODE_USAGE : EXIT_CODE_FOREIGN_DATA;
}

enum exit_code node_members_open(struct node *node, char *detail)
{
    struct formation_effects effects;
    enum exit_code code = open_formation(node, &effects, detail);
    if (code != EXIT_CODE_OK)
        return code;
    struct peer_options peer_options = peer_options_of(node);
    if (peer_net_open(&node->peers, &peer_options) != PEER_OK) {
        snprintf(detail, NODE_DETAIL_BYTES, "out of memory");
        return EXIT_CODE_FAILURE;
    }
    peer_net_set_own_urls(node->peers, node->options.peer_urls, node->options.peer_url_count);
    code = listen_for_peers(node, detail);
    if (code == EXIT_CODE_OK)
        code = dial_members(node, detail);
    if (code != EXIT_CODE_OK)
        return code;
    node_formation_carry_out(node, &effects);
    /* A crash may have come before the record was saved. */
    node_join_on_applied(node);
    return EXIT_CODE_OK;
}

/* ---- our own name and URLs ---- */

static bool attributes_are_known(const struct node *node)
{
    const struct membership_member *own =
        membership_by_id(&node->membership, node->identity.member_id);
    if (!own || strcmp(own->name, node->options.name) != 0 ||
        own->client.count != node->options.client_url_count)
        return false;
    for (size_t i = 0; i < node->options.client_url_count; i++) {
        if (strcmp(own->client.urls[i], node->options.client_urls[i]) != 0)
            return false;
    }
    return true;
}

static void on_published(struct request *request)
{
    struct node *node = LIST_ENTRY(request, struct node, publish);
    arena_done(&node->publish_arena);
    /* Not from here: where too many requests wait this ran within node_submit. */
    node->publish_is_due |= request->reply.error != ETCD_OK;
}

void node_publish_attributes(struct node *node)
{
    if (node->publish.state != REQUEST_IDLE)
        return; /* under way: looked at again when it is done */
    node->publish_is_due = false;
    if (attributes_are_known(node))
        return;
    Holdfastpb__MemberAttributes attributes = HOLDFASTPB__MEMBER_ATTRIBUTES__INIT;
    attributes.member_id = node->identity.member_id;
    attributes.name = (char *)node->options.name;
    attributes.client_urls = (char **)node->options.client_urls;
    attributes.n_client_urls = node->options.client_url_count;
    Holdfastpb__Command command = HOLDFASTPB__COMMAND__INIT;
    command.command_case = HOLDFASTPB__COMMAND__COMMAND_MEMBER_ATTRIBUTES;
    command.member_attributes = &attributes;
    arena_init(&node->publish_arena, PUBLISH_BYTES_MAX);
    node->publish = (struct request){ .done = on_published };
    node->publish.reply.arena = &node->publish_arena;
    if (!pb_arena_pack(&node->publish_arena, &command.base, &node->publish.command)) {
        LOG_WARNF("the client URLs are too long to be told to other members");
        return;
    }
    node_submit(node, &node->publish);
}
