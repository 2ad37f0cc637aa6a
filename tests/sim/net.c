#include "tests/sim/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "rpc/addr.h"
#include "tests/sim/net_internal.h"

enum {
    SYN_RETRY_US = 1000000,
    SYN_TRIES_MAX = 7,
    TAIL_ODDS = 64,
    LAN_BASE_US = 100,
    LAN_JITTER_US = 200,
    LAN_BYTES_PER_MS = 125000, /* 1 Gbit/s */
    WAN_BASE_US_MIN = 5000,
    WAN_BASE_US_MAX = 40000,
    WAN_BYTES_PER_MS = 12500,
    LOCAL_US = 20,
    LOST_US = 200000,
};

/* ---- links ---- */

struct sim_link *sim_net_link(struct sim_net *net, uint32_t from, uint32_t to)
{
    return &net->links[from * net->sim->host_count + to];
}

bool sim_link_passes(const struct sim_net *net, uint32_t from, uint32_t to)
{
    return net->links[from * net->sim->host_count + to].blocked == 0;
}

uint64_t sim_link_arrival(struct sim_net *net, struct sim_link *l, uint64_t now_us, size_t size)
{
    uint64_t start_us = now_us > l->free_us ? now_us : l->free_us;
    l->free_us = start_us + (uint64_t)size * 1000 / l->bytes_per_ms;
    uint64_t us = l->base_us + prng_below(&l->chance, l->jitter_us);
    if (prng_below(&l->chance, TAIL_ODDS) == 0)
        us += prng_below(&l->chance, 4 * (uint64_t)l->jitter_us);
    if (l->loss_ppm > 0 && prng_below(&l->chance, 1000000) < l->loss_ppm)
        us += LOST_US;
    uint64_t at_us = l->free_us + us + l->slow_us;
    if (l->clogged_until_us > net->sim->now_us && at_us < l->clogged_until_us)
        at_us = l->clogged_until_us;
    return at_us;
}

static void link_init(struct sim_net *net, uint32_t from, uint32_t to)
{
    struct sim_link *l = sim_net_link(net, from, to);
    l->chance = sim_chance(net->sim, SIM_CHANCE_LINK, from, to);
    l->base_us = LAN_BASE_US;
    l->jitter_us = LAN_JITTER_US;
    l->bytes_per_ms = LAN_BYTES_PER_MS;
    uint32_t node_count = net->sim->options.node_count;
    if (from == to) {
        l->base_us = LOCAL_US;
        l->jitter_us = LOCAL_US;
    } else if (net->sim->options.is_wide && from < node_count && to < node_count) {
        uint32_t low = from < to ? from : to;
        struct prng both = sim_chance(net->sim, SIM_CHANCE_LINK, from + to, 1000 + low);
        l->base_us =
            WAN_BASE_US_MIN + (uint32_t)prng_below(&both, WAN_BASE_US_MAX - WAN_BASE_US_MIN);
        l->jitter_us = l->base_us / 10;
        l->bytes_per_ms = WAN_BYTES_PER_MS;
    }
}

void sim_net_init(struct sim_net *net, struct sim *sim)
{
    net->sim = sim;
    list_init(&net->listeners);
    list_init(&net->conns);
    net->links = calloc((size_t)sim->host_count * sim->host_count, sizeof *net->links);
    ASSERT(net->links);
    for (uint32_t from = 0; from < sim->host_count; from++) {
        for (uint32_t to = 0; to < sim->host_count; to++)
            link_init(net, from, to);
    }
}

static void conn_free(struct sim_conn *c)
{
    struct events *events = &c->net->sim->events;
    list_remove(&c->link);
    event_cancel(events, &c->syn);
    for (int i = 0; i < 2; i++) {
        event_cancel(events, &c->ends[i].reset);
        event_cancel(events, &c->ways[i].arrival);
        sim_chunks_free(&c->ends[i].rx);
        sim_chunks_free(&c->ways[i].chunks);
        list_remove(&c->ends[i].backlog);
    }
    free(c);
}

void sim_net_done(struct sim_net *net)
{
    ASSERT(list_is_empty(&net->listeners));
    while (!list_is_empty(&net->conns))
        conn_free(LIST_ENTRY(net->conns.next, struct sim_conn, link));
    free(net->links);
}

void sim_conn_free_if_done(struct sim_conn *c)
{
    if (!c->ends[0].is_open && !c->ends[1].is_open && !c->connect)
        conn_free(c);
}

void sim_net_reset(struct sim_net *net, uint32_t a, uint32_t b)
{
    for (struct list *at = net->conns.next; at != &net->conns; at = at->next) {
        struct sim_conn *c = LIST_ENTRY(at, struct sim_conn, link);
        bool is_between = (c->ends[0].host == a && c->ends[1].host == b) ||
                          (c->ends[0].host == b && c->ends[1].host == a);
        if (!is_between || c->phase != CONN_UP)
            continue;
        sim_sock_break(&c->ends[0], -ECONNRESET);
        sim_sock_break(&c->ends[1], -ECONNRESET);
    }
}

/* ---- descriptors ---- */

static int fd_new(struct sim_proc *p, struct sim_listener *l, struct sim_sock *s)
{
    uint32_t i = 0;
    while (i < p->fd_count && p->fds[i])
        i++;
    if (i == PROC_FDS_MAX)
        return -EMFILE;
    if (i == p->fd_count) {
        p->fds = realloc(p->fds, (p->fd_count + 1) * sizeof(void *));
        ASSERT(p->fds);
        p->fd_count++;
    }
    struct sim_fd *f = malloc(sizeof *f);
    ASSERT(f);
    *f = (struct sim_fd){ .listener = l, .sock = s };
    p->fds[i] = f;
    return (int)i;
}

static struct sim_fd *fd_find(const struct sim_proc *p, int fd)
{
    return fd >= 0 && (uint32_t)fd < p->fd_count ? p->fds[fd] : NULL;
}

static void fd_free(struct sim_proc *p, int fd)
{
    free(p->fds[fd]);
    p->fds[fd] = NULL;
}

static struct sim_sock *sock_find(const struct sim_proc *p, int fd)
{
    struct sim_fd *f = fd_find(p, fd);
    return f ? f->sock : NULL;
}

/* ---- listening ---- */

static struct sim_listener *listener_find(struct sim_net *net, uint32_t host, uint16_t port)
{
    for (struct list *at = net->listeners.next; at != &net->listeners; at = at->next) {
        struct sim_listener *l = LIST_ENTRY(at, struct sim_listener, link);
        if (l->host == host && l->port == port)
            return l;
    }
    return NULL;
}

/* 10.0.0.1 is the first host. */
static bool host_of(const struct sim_net *net, const struct io_addr *addr, uint32_t *ret_host)
{
    struct sockaddr_in ipv4;
    if (addr->sa.ss_family != AF_INET)
        return false;
    memcpy(&ipv4, &addr->sa, sizeof ipv4);
    uint32_t low = ntohl(ipv4.sin_addr.s_addr) & 0xffff;
    if (low == 0 || low > net->sim->host_count)
        return false;
    *ret_host = low - 1;
    return true;
}

int sim_net_listen(struct sim_proc *p, const struct io_addr *addr, struct io_addr *ret_bound)
{
    struct sim_net *net = &p->sim->net;
    uint16_t port = addr_port(addr);
    if (listener_find(net, p->host->index, port))
        return -EADDRINUSE;
    struct sim_listener *l = calloc(1, sizeof *l);
    ASSERT(l);
    l->proc = p;
    l->host = p->host->index;
    l->port = port;
    list_init(&l->backlog);
    l->fd = fd_new(p, l, NULL);
    list_push_back(&net->listeners, &l->link);
    if (ret_bound)
        *ret_bound = *addr;
    return l->fd;
}

int sim_net_accept(struct sim_proc *p, int fd, struct sim_op *op)
{
    struct sim_fd *f = fd_find(p, fd);
    if (!f || !f->listener)
        return -EBADF;
    op->sock = f->listener;
    f->listener->accept = op;
    if (!list_is_empty(&f->listener->backlog))
        sim_op_ready(op, 0);
    return 0;
}

void sim_net_run_accept(struct sim_op *op)
{
    struct sim_listener *l = op->sock;
    struct sim_proc *p = op->proc;
    uint32_t generation = op->generation;
    struct list *node;
    while ((node = list_pop_front(&l->backlog)) != NULL) {
        struct sim_sock *s = LIST_ENTRY(node, struct sim_sock, backlog);
        s->proc = p;
        s->fd = fd_new(p, NULL, s);
        if (s->fd < 0) {
            sim_sock_close(s);
            continue;
        }
        op->fn.accept(op->owner, s->fd);
        if (op->generation != generation || op->is_cancelled)
            return;
    }
}

static void listener_free(struct sim_listener *l, bool kernel_lives)
{
    struct list *node;
    while ((node = list_pop_front(&l->backlog)) != NULL) {
        struct sim_sock *s = LIST_ENTRY(node, struct sim_sock, backlog);
        if (kernel_lives)
            sim_sock_send_reset(s);
        sim_sock_vanish(s);
    }
    if (l->accept)
        l->accept->sock = NULL;
    list_remove(&l->link);
    free(l);
}

/* ---- connecting ---- */

static void conn_on_syn(void *owner);

static struct sim_conn *conn_new(struct sim_net *net, uint32_t from, uint32_t to, uint16_t port)
{
    struct sim_conn *c = calloc(1, sizeof *c);
    ASSERT(c);
    c->net = net;
    c->port = port;
    event_init(&c->syn, conn_on_syn, c);
    for (int i = 0; i < 2; i++) {
        c->ends[i].conn = c;
        c->ends[i].side = i;
        c->ends[i].host = i == 0 ? from : to;
        c->ends[i].fd = -1;
        list_init(&c->ends[i].backlog);
        event_init(&c->ends[i].reset, sim_sock_on_reset, &c->ends[i]);
        c->ways[i].conn = c;
        c->ways[i].side = i;
        event_init(&c->ways[i].arrival, sim_way_arrive, &c->ways[i]);
    }
    list_push_back(&net->conns, &c->link);
    return c;
}

int sim_net_connect(struct sim_proc *p, const struct io_addr *addr, struct sim_op *op)
{
    struct sim_net *net = &p->sim->net;
    uint32_t to;
    if (!host_of(net, addr, &to))
        return -ENETUNREACH;
    struct sim_conn *c = conn_new(net, p->host->index, to, addr_port(addr));
    c->connect = op;
    c->ends[0].is_open = true;
    c->ends[0].proc = p;
    op->sock = c;
    struct sim_link *l = sim_net_link(net, p->host->index, to);
    event_set(&net->sim->events, &c->syn, sim_link_arrival(net, l, sim_proc_now_us(p), 0));
    return 0;
}

static void conn_end(struct sim_conn *c, int result)
{
    struct sim_op *op = c->connect;
    c->connect = NULL;
    c->ends[0].is_open = false;
    op->sock = NULL;
    sim_op_ready(op, result);
    sim_conn_free_if_done(c);
}

static void syn_retry(struct sim_conn *c)
{
    struct sim *sim = c->net->sim;
    if (++c->tries == SYN_TRIES_MAX)
        conn_end(c, -ETIMEDOUT);
    else
        event_set(&sim->events, &c->syn, sim->now_us + ((uint64_t)SYN_RETRY_US << (c->tries - 1)));
}

static void syn_arrives(struct sim_conn *c)
{
    struct sim_net *net = c->net;
    struct sim *sim = net->sim;
    uint32_t from = c->ends[0].host;
    uint32_t to = c->ends[1].host;
    uint64_t clogged_us = sim_net_link(net, from, to)->clogged_until_us;
    if (clogged_us > sim->now_us) {
        event_set(&sim->events, &c->syn, clogged_us);
        return;
    }
    if (!sim->hosts[to].has_power || !sim_link_passes(net, from, to) ||
        !sim_link_passes(net, to, from)) {
        syn_retry(c);
        return;
    }
    struct sim_listener *l = listener_find(net, to, c->port);
    c->phase = l ? CONN_ANSWERED : CONN_REFUSED;
    uint64_t at_us = sim_link_arrival(net, sim_net_link(net, to, from), sim->now_us, 0);
    event_set(&sim->events, &c->syn, at_us);
    if (!l)
        return;
    c->ways[1].last_us = at_us;
    c->ends[1].is_open = true;
    list_push_back(&l->backlog, &c->ends[1].backlog);
    if (l->accept)
        sim_op_ready(l->accept, 0);
}

static void conn_on_syn(void *owner)
{
    struct sim_conn *c = owner;
    sim_trace(c->net->sim, TRACE_CONNECT, c->ends[0].host, c->ends[1].host, c->phase);
    switch (c->phase) {
    case CONN_SYN:
        syn_arrives(c);
        break;
    case CONN_REFUSED:
        conn_end(c, -ECONNREFUSED);
        break;
    case CONN_ANSWERED: {
        struct sim_sock *s = &c->ends[0];
        c->phase = CONN_UP;
        s->fd = fd_new(s->proc, NULL, s);
        if (s->fd < 0) {
            sim_sock_send_reset(s);
            conn_end(c, s->fd);
            break;
        }
        struct sim_op *op = c->connect;
        c->connect = NULL;
        op->sock = NULL;
        sim_op_ready(op, s->fd);
        break;
    }
    case CONN_UP:
        break;
    }
}

/* ---- a process's calls ---- */

int sim_net_recv(struct sim_proc *p, int fd, struct sim_op *op)
{
    struct sim_sock *s = sock_find(p, fd);
    if (!s || s->recv)
        return -EBADF;
    op->sock = s;
    s->recv = op;
    if (s->rx.head || s->has_end || s->error != 0)
        sim_op_ready(op, s->error);
    return 0;
}

int sim_net_send(struct sim_proc *p, int fd, struct slice bytes, struct sim_op *op)
{
    struct sim_sock *s = sock_find(p, fd);
    if (!s || s->send)
        return -EBADF;
    op->bytes = bytes;
    op->offset = 0;
    if (s->error != 0 || s->is_shut) {
        sim_op_ready(op, s->error != 0 ? s->error : -EPIPE);
        return 0;
    }
    op->sock = s;
    s->send = op;
    sim_way_fill(&s->conn->ways[s->side]);
    return 0;
}

void sim_net_shutdown(struct sim_proc *p, int fd)
{
    struct sim_sock *s = sock_find(p, fd);
    if (!s || s->is_shut)
        return;
    s->is_shut = true;
    if (s->error != 0)
        return;
    s->has_end = true;
    sim_chunks_free(&s->rx);
    if (s->recv)
        sim_op_ready(s->recv, 0);
    struct sim_op *send = s->send;
    s->send = NULL;
    if (send) {
        send->sock = NULL;
        sim_op_ready(send, -EPIPE);
    }
    sim_way_end(&s->conn->ways[s->side]);
}

void sim_net_close(struct sim_proc *p, int fd)
{
    struct sim_fd *f = fd_find(p, fd);
    if (!f)
        return; /* the process died, and its kernel was quicker */
    struct sim_listener *l = f->listener;
    struct sim_sock *s = f->sock;
    fd_free(p, fd);
    if (l)
        listener_free(l, true);
    else
        sim_sock_close(s);
}

void sim_net_op_forget(struct sim_op *op)
{
    void *sock = op->sock;
    op->sock = NULL;
    if (!sock)
        return;
    if (op->kind == OP_ACCEPT) {
        ((struct sim_listener *)sock)->accept = NULL;
    } else if (op->kind == OP_RECV) {
        ((struct sim_sock *)sock)->recv = NULL;
    } else if (op->kind == OP_SEND) {
        ((struct sim_sock *)sock)->send = NULL;
    } else if (op->kind == OP_CONNECT) {
        struct sim_conn *c = sock;
        c->connect = NULL;
        event_cancel(&c->net->sim->events, &c->syn);
        if (c->phase == CONN_ANSWERED)
            sim_sock_send_reset(&c->ends[0]);
        sim_sock_vanish(&c->ends[0]);
    }
}

static void conn_lose_proc(struct sim_conn *c, struct sim_proc *p, bool kernel_lives)
{
    bool was_dialling = c->connect && c->ends[0].proc == p;
    if (was_dialling) {
        sim_net_op_forget(c->connect);
        return;
    }
    bool is_mine[2] = { c->ends[0].proc == p && c->ends[0].is_open,
                        c->ends[1].proc == p && c->ends[1].is_open };
    for (int i = 0; i < 2; i++) {
        bool is_last = !c->ends[1 - i].is_open;
        if (!is_mine[i])
            continue;
        if (kernel_lives)
            sim_sock_close(&c->ends[i]);
        else
            sim_sock_vanish(&c->ends[i]);
        if (is_last)
            return; /* the connection is gone with its second end */
    }
}

void sim_net_proc_gone(struct sim_proc *p, bool kernel_lives)
{
    struct sim_net *net = &p->sim->net;
    for (struct list *at = net->listeners.next; at != &net->listeners;) {
        struct sim_listener *l = LIST_ENTRY(at, struct sim_listener, link);
        at = at->next;
        if (l->proc == p)
            listener_free(l, kernel_lives);
    }
    for (struct list *at = net->conns.next; at != &net->conns;) {
        struct sim_conn *c = LIST_ENTRY(at, struct sim_conn, link);
        at = at->next;
        conn_lose_proc(c, p, kernel_lives);
    }
    for (uint32_t i = 0; i < p->fd_count; i++) {
        free(p->fds[i]);
        p->fds[i] = NULL;
    }
}
