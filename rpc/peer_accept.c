/* The accepting side: strangers until their Hello says who they are. */
#include <errno.h>

#include "base/assert.h"
#include "rpc/peer_internal.h"

static bool is_stranger(const struct peer_conn *c)
{
    return !c->is_dialled && !c->member && c->state != PEER_CONN_CLOSED;
}

/* Makes room for one more. The oldest goes, since a member says its Hello at once: whoever holds
 * connections open and says nothing cannot keep members out. */
static void strangers_limit(struct peer_net *net)
{
    struct peer_conn *oldest = NULL;
    uint32_t count = 0;
    for (struct list *at = net->conns.next; at != &net->conns; at = at->next) {
        struct peer_conn *c = LIST_ENTRY(at, struct peer_conn, link);
        if (!is_stranger(c))
            continue;
        count++;
        oldest = oldest ? oldest : c;
    }
    if (count < PEER_STRANGERS_MAX)
        return;
    net->counters.accepts_refused++;
    peer_conn_close(oldest);
}

static void accept_on_fd(void *owner, int fd)
{
    struct peer_listener *listener = owner;
    struct peer_net *net = listener->net;
    struct io *io = net->options.io;
    uint32_t conns_max = net->options.members_max * PEER_CONNS_PER_MEMBER + PEER_STRANGERS_MAX;
    peer_net_enter(net);
    if (fd >= 0 && !net->closing)
        strangers_limit(net);
    if (fd < 0) {
        listener->accepting = false;
    } else if (net->closing || net->conn_count >= conns_max) {
        net->counters.accepts_refused++;
        io->ops->close(io, fd);
    } else if (!peer_conn_new(net, fd, NULL)) {
        net->counters.accepts_refused++;
    }
    peer_net_leave(net);
}

int peer_net_listen(struct peer_net *net, const struct io_addr *addr, struct io_addr *ret_bound)
{
    struct io *io = net->options.io;
    if (net->listener_count == PEER_LISTENERS_MAX)
        return -ENOSPC;
    struct peer_listener *listener = &net->listeners[net->listener_count];
    int fd = io->ops->listen(io, addr, ret_bound);
    if (fd < 0)
        return fd;
    *listener = (struct peer_listener){ .net = net, .fd = fd };
    int rc = io->ops->accept(io, fd, accept_on_fd, listener, &listener->ref);
    if (rc < 0) {
        io->ops->close(io, fd);
        return rc;
    }
    listener->accepting = true;
    net->listener_count++;
    return 0;
}

void peer_accept_stop(struct peer_net *net)
{
    for (uint32_t i = 0; i < net->listener_count; i++) {
        if (net->listeners[i].accepting)
            io_cancel(net->options.io, net->listeners[i].ref);
    }
}

bool peer_accept_is_idle(const struct peer_net *net)
{
    for (uint32_t i = 0; i < net->listener_count; i++) {
        if (net->listeners[i].accepting)
            return false;
    }
    return true;
}

bool peer_accept_on_hello(struct peer_conn *c, const Holdfastpb__Hello *pb)
{
    struct peer_net *net = c->net;
    struct peer_hello hello;
    enum peer_unwelcome why = PEER_UNWELCOME_NOW;
    if (pb->refusal[0] != '\0')
        return false;
    const char *text = peer_hello_judge(net, pb, 0, &hello, &why);
    if (c->state != PEER_CONN_HELLO)
        return true; /* the handler has closed the net */
    struct peer_member *m = peer_net_find(net, pb->member_id);
    if (!text && !m)
        text = "this member does not know you, or not yet";
    if (text) {
        peer_conn_refuse(c, pb->member_id, text, why);
        return true;
    }
    /* The newest connection is the member's: it may have lost the older one without a trace that
     * reached us (and see peer.h, Disks). */
    if (m->accepted)
        peer_conn_close(m->accepted);
    c->member = m;
    m->accepted = c;
    memcpy(c->process, hello.process, PEER_INCARNATION_BYTES);
    peer_conn_say_hello(c, m->id);
    if (c->state == PEER_CONN_HELLO)
        peer_conn_up(c);
    if (c->state == PEER_CONN_UP)
        peer_member_met(m, c);
    return true;
}
