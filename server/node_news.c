/* What a leader has to tell, and when it goes.
 *
 * That more is committed is mostly told by the next append, which under load is due in a moment. A
 * message of its own wakes every follower for it: a third of what one client's put costs them. So
 * an append that carries the commit index alone waits NEWS_DELAY_MS for another message to its
 * member; but not where somebody is known to wait for it: a follower whose client's request was
 * forwarded, or anybody for an entry that is no command. Watchers at followers see it later by
 * that much.
 */
#include "base/assert.h"
#include "server/node_internal.h"

enum { NEWS_DELAY_MS = 1 };

static struct node_told *told_of(struct node *node, uint64_t member)
{
    struct node_news *n = &node->news;
    for (uint32_t i = 0; i < n->told_count; i++)
        if (n->told[i].member == member)
            return &n->told[i];
    if (n->told_count == RAFT_MEMBERS_MAX)
        n->told_count = 0; /* of members that are gone; what waited is told by heartbeats */
    n->told[n->told_count] = (struct node_told){ .member = member };
    return &n->told[n->told_count++];
}

static uint64_t commit_in(const struct raft_msg *msg)
{
    if (msg->type == RAFT_MSG_APPEND)
        return msg->append.commit;
    return msg->type == RAFT_MSG_HEARTBEAT ? msg->heartbeat.commit : 0;
}

static bool may_wait(const struct node *node, const struct node_told *told,
                     const struct raft_msg *msg)
{
    return msg->type == RAFT_MSG_APPEND && msg->append.entry_count == 0 &&
           msg->append.commit > told->commit && node->news.awaited_index <= told->commit;
}

static void tell(struct node *node, struct node_told *told, const struct raft_msg *msg)
{
    if (commit_in(msg) > told->commit)
        told->commit = commit_in(msg);
    peer_net_send_raft(node->peers, msg);
}

/* Appends are cumulative: a later one stands in for what waits. */
void node_news_send(struct node *node, const struct raft_msg *msg)
{
    struct node_told *told = told_of(node, msg->to);
    if (may_wait(node, told, msg) &&
        io_timer_set(node->io, &node->news.timer, io_now_ms(node->io) + NEWS_DELAY_MS)) {
        told->waiting = *msg;
        told->is_waiting = true;
        return;
    }
    if (told->is_waiting && msg->type != RAFT_MSG_APPEND)
        tell(node, told, &told->waiting);
    told->is_waiting = false;
    tell(node, told, msg);
}

void node_news_await(struct node *node, uint64_t index)
{
    node->news.awaited_index = index;
}

void node_on_news_timer(void *owner)
{
    struct node *node = owner;
    for (uint32_t i = 0; !node->has_failed && i < node->news.told_count; i++) {
        struct node_told *told = &node->news.told[i];
        if (told->is_waiting)
            tell(node, told, &told->waiting);
        told->is_waiting = false;
    }
}

void node_news_forget(struct node *node)
{
    io_timer_cancel(node->io, &node->news.timer);
    node->news.told_count = 0;
    node->news.awaited_index = 0;
}
