/* The dialling side: resolve, connect, introduce ourselves, and again when it ends. */
#include <errno.h>

#include "base/assert.h"
#include "rpc/peer_internal.h"

static void link_on_timer(void *owner);
static void link_on_resolved(struct io_job *job);
static void link_on_connected(void *owner, int32_t result);

void peer_link_init(struct peer_member *m)
{
    m->dial = (struct peer_link){ .state = PEER_LINK_WAITING };
    m->dial.backoff_ms = m->net->options.backoff_min_ms;
    timer_init(&m->dial.timer, link_on_timer, m);
}

bool peer_link_is_idle(const struct peer_member *m)
{
    return !m->dial.resolving && !m->dial.connecting && !m->dial.conn;
}

bool peer_link_is_up(const struct peer_member *m)
{
    return m->dial.conn && m->dial.conn->state == PEER_CONN_UP;
}

/* ---- waiting ---- */

static void link_timer_set(struct peer_member *m, uint32_t after_ms)
{
    struct io *io = m->net->options.io;
    if (!io_timer_set(io, &m->dial.timer, io_now_ms(io) + after_ms))
        m->net->timer_refused = true;
}

/* Half of the back-off is jitter, so that members that lost each other do not dial in step. */
static void link_wait(struct peer_member *m)
{
    struct peer_link *l = &m->dial;
    uint32_t half_ms = l->backoff_ms / 2;
    l->state = PEER_LINK_WAITING;
    uint64_t jitter_ms = prng_below(&m->net->prng, (uint64_t)half_ms + 1);
    link_timer_set(m, l->backoff_ms - half_ms + (uint32_t)jitter_ms);
    uint32_t max_ms = m->net->options.backoff_max_ms;
    l->backoff_ms = l->backoff_ms > max_ms / 2 ? max_ms : l->backoff_ms * 2;
}

static void link_failed(struct peer_member *m)
{
    m->net->counters.dials_failed++;
    m->dial.url_i = (m->dial.url_i + 1) % m->url_count;
    link_wait(m);
}

void peer_link_rearm(struct peer_member *m)
{
    if (m->dial.state == PEER_LINK_WAITING && m->dial.timer.heap_i == 0)
        link_wait(m);
}

static void link_on_timer(void *owner)
{
    struct peer_member *m = owner;
    struct peer_net *net = m->net;
    peer_net_enter(net);
    if (m->dial.state == PEER_LINK_WAITING)
        peer_link_dial(m);
    else if (m->dial.connecting)
        io_cancel(net->options.io, m->dial.connect_ref);
    peer_net_leave(net);
}

void peer_link_hurry(struct peer_member *m)
{
    if (m->dial.state != PEER_LINK_WAITING)
        return;
    io_timer_cancel(m->net->options.io, &m->dial.timer);
    peer_link_dial(m);
}

void peer_link_stop(struct peer_member *m)
{
    struct io *io = m->net->options.io;
    io_timer_cancel(io, &m->dial.timer);
    if (m->dial.connecting)
        io_cancel(io, m->dial.connect_ref);
    if (m->dial.conn)
        peer_conn_close(m->dial.conn);
}

/* ---- dialling ---- */

/* On another thread: touches the job's fields alone. */
static void link_resolve(struct io_job *job)
{
    struct peer_link *l = LIST_ENTRY(job, struct peer_link, job);
    l->job_rc = addr_resolve(&l->job_url, &l->job_addr);
}

void peer_link_dial(struct peer_member *m)
{
    struct peer_link *l = &m->dial;
    ASSERT(l->state == PEER_LINK_WAITING && peer_link_is_idle(m));
    l->state = PEER_LINK_RESOLVING;
    l->resolving = true;
    l->job_url = m->urls[l->url_i];
    list_init(&l->job.link);
    l->job.run = link_resolve;
    l->job.done = link_on_resolved;
    io_offload(m->net->options.io, &l->job);
}

static void link_connect(struct peer_member *m, const struct io_addr *addr)
{
    struct peer_link *l = &m->dial;
    struct io *io = m->net->options.io;
    l->addr = *addr;
    if (io->ops->connect(io, &l->addr, link_on_connected, m, &l->connect_ref) < 0) {
        link_failed(m);
        return;
    }
    l->state = PEER_LINK_CONNECTING;
    l->connecting = true;
    link_timer_set(m, m->net->options.handshake_timeout_ms);
}

static void link_on_resolved(struct io_job *job)
{
    struct peer_link *l = LIST_ENTRY(job, struct peer_link, job);
    struct peer_member *m = LIST_ENTRY(l, struct peer_member, dial);
    struct peer_net *net = m->net;
    peer_net_enter(net);
    l->resolving = false;
    if (!m->is_removed) {
        if (l->job_rc == 0)
            link_connect(m, &l->job_addr);
        else
            link_failed(m);
    }
    peer_net_leave(net);
}

static bool addr_equal(const struct io_addr *a, const struct io_addr *b)
{
    char a_text[ADDR_TEXT_BYTES_MAX];
    char b_text[ADDR_TEXT_BYTES_MAX];
    return strcmp(addr_format(a, a_text), addr_format(b, b_text)) == 0;
}

/* A host that answers "refused" where the member used to listen has no such process any more.
 * A reset, a time-out or another address prove nothing. */
static void link_not_connected(struct peer_member *m, int32_t result)
{
    struct peer_link *l = &m->dial;
    bool is_dead = result == -ECONNREFUSED && l->was_up && addr_equal(&l->addr, &l->up_addr);
    link_failed(m);
    if (is_dead)
        peer_member_died(m);
}

static void link_on_connected(void *owner, int32_t result)
{
    struct peer_member *m = owner;
    struct peer_net *net = m->net;
    struct io *io = net->options.io;
    peer_net_enter(net);
    m->dial.connecting = false;
    io_timer_cancel(io, &m->dial.timer);
    if (m->is_removed) {
        if (result >= 0)
            io->ops->close(io, result);
    } else if (result < 0) {
        link_not_connected(m, result);
    } else {
        struct peer_conn *c = peer_conn_new(net, result, m);
        m->dial.conn = c;
        m->dial.state = PEER_LINK_CONNECTED;
        if (c)
            peer_conn_say_hello(c, m->id);
        else
            link_failed(m);
    }
    peer_net_leave(net);
}

/* ---- connected ---- */

bool peer_link_on_hello(struct peer_conn *c, const Holdfastpb__Hello *pb)
{
    struct peer_member *m = c->member;
    struct peer_net *net = c->net;
    const struct peer_handlers *h = &net->options.handlers;
    if (pb->refusal[0] != '\0') {
        struct slice text = slice_of_text(pb->refusal);
        text.size = text.size < PEER_REFUSAL_BYTES_MAX ? text.size : PEER_REFUSAL_BYTES_MAX;
        uint64_t id = m->id;
        peer_conn_lose(c);
        h->on_refused(h->owner, id, text, peer_refusal_kind(net, pb, id));
        return true;
    }
    struct peer_hello hello;
    enum peer_unwelcome why = PEER_UNWELCOME_NOW;
    const char *text = peer_hello_judge(net, pb, m->id, &hello, &why);
    if (c->state != PEER_CONN_HELLO)
        return true; /* the handler has removed the member */
    if (text) {
        peer_conn_refuse(c, m->id, text, why);
        return true;
    }
    memcpy(c->process, hello.process, PEER_INCARNATION_BYTES);
    net->counters.connects++;
    m->dial.up_addr = m->dial.addr;
    m->dial.backoff_ms = net->options.backoff_min_ms;
    peer_conn_up(c);
    if (c->state == PEER_CONN_UP)
        peer_member_met(m, c);
    m->dial.was_up = true;
    if (c->state == PEER_CONN_UP)
        h->on_link(h->owner, m->id, true);
    return true;
}

/* After an established link the first dial goes at once, to where it was: whether that is
 * refused is how a dead leader is told from a lost packet (design: fail-over). Rarely, so that a
 * member that drops us after each handshake is not dialled in a circle. */
static bool link_may_hurry(struct peer_member *m, uint64_t now_ms)
{
    struct peer_link *l = &m->dial;
    if (l->hurried_ever && now_ms - l->hurried_ms < m->net->options.backoff_max_ms)
        return false;
    l->hurried_ever = true;
    l->hurried_ms = now_ms;
    return true;
}

void peer_link_on_lost(struct peer_member *m, bool was_up)
{
    const struct peer_handlers *h = &m->net->options.handlers;
    if (!was_up)
        link_failed(m);
    else if (link_may_hurry(m, io_now_ms(m->net->options.io)))
        link_connect(m, &m->dial.up_addr);
    else
        link_wait(m);
    if (was_up)
        h->on_link(h->owner, m->id, false);
}
