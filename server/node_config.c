/* The memberships by the log, and the links that they ask for.
 *
 * A configuration is in force from when its entry is appended (Raft §6); the state machine has it
 * when it is applied (node->membership). Links go by the first, what is served and stored by the
 * second. While the newest is not committed the one before it still counts, too: its members keep
 * their links, since it may come back.
 */
#include "base/assert.h"
#include "base/log.h"
#include "proto/entry.h"
#include "server/membership_change.h"
#include "server/node_internal.h"

void node_config_open(struct node *node)
{
    membership_init(&node->config.in_force);
    membership_init(&node->config.before);
}

void node_config_done(struct node *node)
{
    membership_done(&node->config.in_force);
    membership_done(&node->config.before);
}

/* ---- what is in force ---- */

/* The payload of the entry at the index, which has it in memory; empty: it is applied. */
static struct slice payload_at(const struct node *node, uint64_t index)
{
    const struct raft_entry *entry = index > 0 ? raft_entry_at(node->raft, index) : NULL;
    struct entry_header header;
    struct slice payload;
    size_t size;
    if (!entry || entry->type != RAFT_ENTRY_CONFIG ||
        entry_decode(entry->bytes, &header, &payload, &size) != ENTRY_OK)
        return (struct slice){ 0 };
    return payload;
}

/* What has left memory is applied, and so is what is older than the log. */
static void config_load(struct node *node, uint64_t index, struct membership *ret_membership)
{
    struct membership made;
    membership_init(&made);
    struct slice payload = payload_at(node, index);
    enum membership_err err = membership_copy(&made, &node->membership);
    if (err == MEMBERSHIP_OK && payload.size > 0)
        err = membership_apply(&made, payload, index);
    if (err != MEMBERSHIP_OK) {
        /* One that no state machine takes ends every node that applies it, and not before. */
        LOG_ERRORF("a configuration in the log cannot be read", log_number("index", index),
                   log_text("why", membership_strerror(err)));
        membership_done(&made);
        return;
    }
    membership_done(ret_membership);
    *ret_membership = made;
}

/* ---- links ---- */

static bool is_member(const struct node *node, uint64_t id)
{
    return membership_by_id(&node->config.in_force, id) ||
           membership_by_id(&node->config.before, id);
}

static uint32_t link_find(const struct node *node, uint64_t id)
{
    uint32_t i = 0;
    while (i < node->config.link_count && node->config.links[i].id != id)
        i++;
    return i;
}

static void link_drop(struct node *node, uint32_t i)
{
    struct node_config *c = &node->config;
    uint64_t id = c->links[i].id;
    c->link_count--;
    memmove(&c->links[i], &c->links[i + 1], (c->link_count - i) * sizeof c->links[0]);
    peer_net_remove(node->peers, id);
}

static bool link_add(struct node *node, uint64_t id, const char *const *urls, size_t url_count)
{
    struct node_config *c = &node->config;
    uint32_t i = link_find(node, id);
    if (i == NODE_LINKS_MAX)
        return false;
    enum peer_err err = peer_net_add(node->peers, id, urls, url_count);
    if (err != PEER_OK) {
        LOG_WARNF("a member cannot be dialled", log_id("member", id),
                  log_text("why", peer_strerror(err)));
        return false;
    }
    if (i == c->link_count) {
        c->link_count++;
        c->links[i].id = id;
        c->links[i].refusals = (struct log_limit){ 0 };
    }
    return true;
}

static void links_add_all(struct node *node, const struct membership *m)
{
    for (uint32_t i = 0; i < m->member_count; i++) {
        const struct membership_member *member = &m->members[i];
        bool is_there =
            m != &node->config.in_force && membership_by_id(&node->config.in_force, member->id);
        if (member->id != node->identity.member_id && !is_there)
            IGNORE(!link_add(node, member->id, member->peer.urls, member->peer.count),
                   "said in the log; the others go on");
    }
}

static void links_refresh(struct node *node)
{
    struct node_config *c = &node->config;
    for (uint32_t i = c->link_count; i-- > 0;) {
        if (!is_member(node, c->links[i].id))
            link_drop(node, i);
    }
    links_add_all(node, &c->in_force);
    links_add_all(node, &c->before);
    const struct membership_member *own = membership_by_id(&c->in_force, node->identity.member_id);
    if (own && own->peer.count > 0)
        peer_net_set_own_urls(node->peers, own->peer.urls, own->peer.count);
}

void node_config_refresh(struct node *node)
{
    struct raft_config_at in_force = raft_config_in_force(node->raft);
    struct raft_config_at committed = raft_config_committed(node->raft);
    config_load(node, in_force.index, &node->config.in_force);
    membership_done(&node->config.before);
    if (committed.index != in_force.index)
        config_load(node, committed.index, &node->config.before);
    links_refresh(node);
}

bool node_config_is_linked(const struct node *node, uint64_t id)
{
    return link_find(node, id) < node->config.link_count;
}

bool node_config_refusal_is_news(struct node *node, uint64_t id, struct slice text)
{
    uint32_t i = link_find(node, id);
    return i == node->config.link_count ||
           log_limit_passes(&node->config.links[i].refusals, text, io_now_ms(node->io));
}

/* ---- members that we do not know yet ---- */

/* We may lag: the log that would tell of it comes from a leader that we may not know, either. It
 * goes again with the next configuration, if that does not name it; the oldest makes room. */
bool node_config_admit_stranger(struct node *node, const struct peer_hello *hello)
{
    struct node_config *c = &node->config;
    if (node->status.role == RAFT_LEADER || hello->peer_url_count == 0)
        return false; /* nobody knows more than a leader */
    for (uint32_t i = 0; i < c->link_count && c->link_count == NODE_LINKS_MAX; i++) {
        if (!is_member(node, c->links[i].id))
            link_drop(node, i);
    }
    return link_add(node, hello->member_id, hello->peer_urls, hello->peer_url_count);
}
