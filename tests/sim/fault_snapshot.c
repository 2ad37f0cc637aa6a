/* Faults in the middle of a snapshot: a member is cut off until the others' logs no longer reach
 * back to it; then it is heard again, and when its snapshot is as far as `size` says, the sender or
 * the receiver is struck, or the link between them, or the leader changes. Once more for some.
 */
#include "base/assert.h"
#include "server/node_internal.h"
#include "tests/sim/check.h"
#include "tests/sim/fault_internal.h"

enum { LOOK_US = 100000, WATCH_US = 120 };

/* What is waited for. */
enum moment { MOMENT_TAKES, MOMENT_MANY, MOMENT_WAITS, MOMENT_RESETS, MOMENT_SWITCHES, MOMENTS };

/* What happens then. */
enum blow {
    BLOW_KILL,
    BLOW_POWER,
    BLOW_KILL_WITHIN,
    BLOW_POWER_WITHIN,
    BLOW_PAUSE,
    BLOW_CUT,
    BLOW_KILL_SENDER,
    BLOW_PAUSE_SENDER,
    BLOW_RESET,
    BLOWS
};

static struct sim_host *struck(const struct planned *p)
{
    for (uint32_t i = 0; i < fault_node_count(p); i++) {
        if (fault_strikes(p, i))
            return fault_host(p, i);
    }
    return NULL;
}

static void watch(struct planned *p, uint64_t after_us)
{
    event_set(&p->nemesis->sim->events, &p->step, p->nemesis->sim->now_us + after_us);
}

static void cut(struct planned *p, const struct sim_host *h)
{
    for (uint32_t i = 0; i < fault_node_count(p); i++)
        fault_block_both(p, h->index, i);
}

void fault_snapshot_begin(struct planned *p)
{
    struct sim_host *h = struck(p);
    if (h && h == fault_leader(p)) /* another one, if there is one */
        h = fault_host(p, (h->index + 1) % fault_node_count(p));
    if (!h || !h->is_used)
        return;
    p->nodes = 1u << h->index;
    p->stage = 0;
    cut(p, h);
    watch(p, LOOK_US);
}

/* Whether the leader has let go of what it needs next, in memory and in the log store. */
static bool is_stranded(const struct planned *p, const struct sim_host *h)
{
    const struct sim_host *leader = fault_leader(p);
    const struct node *node = sim_host_node(h);
    if (!leader || leader == h || !node || node->closing_parts > 0)
        return false;
    const struct node *leading = sim_host_node(leader);
    uint64_t last = raft_last_pos(node->raft).index;
    return !raft_entry_at(leading->raft, last + 1) &&
           store_published(leading->store)->log_start.index > last;
}

static bool is_the_moment(const struct planned *p, const struct node *node)
{
    switch ((enum moment)(p->fault->size % MOMENTS)) {
    case MOMENT_TAKES:
        return node->receive.state == NODE_RECEIVE_TAKES;
    case MOMENT_MANY:
        return node->receive.state == NODE_RECEIVE_TAKES && node->receive.next_seq > 5;
    case MOMENT_WAITS:
        return node->receive.state == NODE_RECEIVE_INSTALLS ||
               node->install.state == NODE_INSTALL_WAITS;
    case MOMENT_RESETS:
        return node->install.state == NODE_INSTALL_RESETS;
    case MOMENT_SWITCHES:
        return node->install.state == NODE_INSTALL_SWITCHES;
    case MOMENTS:
        break;
    }
    return false;
}

static void strike(struct planned *p, struct sim_host *h)
{
    struct sim_host *leader = fault_leader(p);
    enum blow blow = (enum blow)(p->fault->size / MOMENTS % BLOWS);
    sim_trace_line(h->sim, "fault %td: blow %d while %s gets a snapshot", p - p->nemesis->planned,
                   (int)blow, h->name);
    switch (blow) {
    case BLOW_KILL:
        sim_host_kill(h);
        break;
    case BLOW_POWER:
        sim_host_cut_power(h);
        break;
    case BLOW_KILL_WITHIN:
    case BLOW_POWER_WITHIN:
        sim_host_kill_within(h, 1 + prng_below(&p->chance, 12), blow == BLOW_POWER_WITHIN);
        break;
    case BLOW_PAUSE:
        sim_host_pause(h);
        break;
    case BLOW_CUT:
        cut(p, h);
        break;
    case BLOW_KILL_SENDER:
        if (leader)
            sim_host_kill(leader);
        break;
    case BLOW_PAUSE_SENDER:
        if (leader)
            sim_host_pause(leader);
        break;
    case BLOW_RESET:
        if (leader)
            sim_net_reset(&h->sim->net, leader->index, h->index);
        break;
    case BLOWS:
        break;
    }
    if (leader && (blow == BLOW_KILL_SENDER || blow == BLOW_PAUSE_SENDER))
        p->nodes |= 1u << leader->index; /* it comes back in the end */
}

void fault_snapshot_on_step(struct planned *p)
{
    struct sim_host *h = struck(p);
    const struct node *node = sim_host_node(h);
    if (p->stage == 0) {
        if (is_stranded(p, h)) {
            sim_trace_line(h->sim, "fault %td: %s lags", p - p->nemesis->planned, h->name);
            fault_unblock_all(p);
            p->stage = 1;
        }
        watch(p, p->stage == 0 ? LOOK_US : WATCH_US);
        return;
    }
    if (!node || node->closing_parts > 0 || !is_the_moment(p, node)) {
        watch(p, WATCH_US);
        return;
    }
    strike(p, h);
}
