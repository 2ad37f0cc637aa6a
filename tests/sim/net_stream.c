/* Bytes from one end of a connection to the other, in order, and the ways in which that ends. */
#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tests/sim/net_internal.h"

enum {
    SEGMENT_BYTES = 16 << 10,
    RECV_BYTES = 8192, /* a buffer of holdfastd's loop */
    RETRY_US = 200000,
    RETRY_DOUBLINGS = 5,
    GIVE_UP_US = 120000000,
};

static struct sim_sock *far_end(struct sim_sock *s)
{
    return &s->conn->ends[1 - s->side];
}

static void chunk_push(struct sim_chunks *q, struct sim_chunk *chunk)
{
    chunk->next = NULL;
    if (q->tail)
        q->tail->next = chunk;
    else
        q->head = chunk;
    q->tail = chunk;
    q->bytes += chunk->size - chunk->taken;
}

static struct sim_chunk *chunk_pop(struct sim_chunks *q)
{
    struct sim_chunk *chunk = q->head;
    q->head = chunk->next;
    if (!q->head)
        q->tail = NULL;
    q->bytes -= chunk->size - chunk->taken;
    return chunk;
}

void sim_chunks_free(struct sim_chunks *q)
{
    while (q->head)
        free(chunk_pop(q));
}

/* ---- sending ---- */

static void way_push(struct sim_way *w, enum sim_chunk_kind kind, struct slice bytes)
{
    struct sim_net *net = w->conn->net;
    struct sim_sock *from = &w->conn->ends[w->side];
    struct sim_chunk *chunk = malloc(sizeof *chunk + bytes.size);
    ASSERT(chunk);
    chunk->kind = kind;
    chunk->size = bytes.size;
    chunk->taken = 0;
    if (bytes.size > 0)
        memcpy(chunk->data, bytes.data, bytes.size);
    uint64_t now_us = from->proc ? sim_proc_now_us(from->proc) : net->sim->now_us;
    struct sim_link *l = sim_net_link(net, from->host, far_end(from)->host);
    uint64_t at_us = sim_link_arrival(net, l, now_us, bytes.size);
    chunk->arrives_us = at_us > w->last_us ? at_us : w->last_us;
    w->last_us = chunk->arrives_us;
    bool was_empty = w->chunks.head == NULL;
    chunk_push(&w->chunks, chunk);
    if (was_empty)
        event_set(&net->sim->events, &w->arrival, chunk->arrives_us);
}

void sim_way_fill(struct sim_way *w)
{
    struct sim_sock *from = &w->conn->ends[w->side];
    struct sim_op *op = from->send;
    if (!op)
        return;
    while (op->offset < op->bytes.size) {
        size_t used = w->chunks.bytes + far_end(from)->rx.bytes;
        size_t room = used < NET_SEND_BYTES_MAX ? NET_SEND_BYTES_MAX - used : 0;
        size_t left = op->bytes.size - (size_t)op->offset;
        size_t take = left < room ? left : room;
        take = take < SEGMENT_BYTES ? take : SEGMENT_BYTES;
        if (take == 0)
            return;
        way_push(w, CHUNK_DATA, slice_of(op->bytes.data + op->offset, take));
        op->offset += take;
    }
    from->send = NULL;
    op->sock = NULL;
    sim_op_ready(op, (int32_t)op->bytes.size);
}

void sim_way_end(struct sim_way *w)
{
    if (w->fin_sent)
        return;
    w->fin_sent = true;
    way_push(w, CHUNK_FIN, (struct slice){ 0 });
}

/* ---- arriving ---- */

static void way_retry(struct sim_way *w)
{
    struct sim *sim = w->conn->net->sim;
    struct sim_sock *from = &w->conn->ends[w->side];
    if (w->tries == 0)
        w->stuck_us = sim->now_us;
    uint32_t doublings = w->tries < RETRY_DOUBLINGS ? w->tries : RETRY_DOUBLINGS;
    w->tries++;
    if (!from->is_open && from->proc == NULL && !w->fin_sent) {
        sim_chunks_free(&w->chunks); /* nobody is left to send it again */
    } else if (sim->now_us - w->stuck_us > GIVE_UP_US) {
        sim_chunks_free(&w->chunks);
        sim_sock_break(from, -ETIMEDOUT);
    } else {
        uint64_t at_us = sim->now_us + ((uint64_t)RETRY_US << doublings);
        event_set(&sim->events, &w->arrival, at_us);
    }
}

static void way_take(struct sim_way *w, struct sim_sock *to)
{
    struct sim *sim = w->conn->net->sim;
    while (w->chunks.head && w->chunks.head->arrives_us <= sim->now_us) {
        struct sim_chunk *chunk = chunk_pop(&w->chunks);
        if (chunk->kind == CHUNK_FIN)
            to->has_end = true;
        if (chunk->kind == CHUNK_FIN || to->is_shut) {
            free(chunk);
            continue;
        }
        chunk_push(&to->rx, chunk);
    }
    if (to->recv)
        sim_op_ready(to->recv, 0);
    if (w->chunks.head)
        event_set(&sim->events, &w->arrival, w->chunks.head->arrives_us);
}

void sim_way_arrive(void *owner)
{
    struct sim_way *w = owner;
    struct sim_net *net = w->conn->net;
    struct sim_sock *from = &w->conn->ends[w->side];
    struct sim_sock *to = far_end(from);
    struct sim_link *l = sim_net_link(net, from->host, to->host);
    if (l->clogged_until_us > net->sim->now_us) {
        event_set(&net->sim->events, &w->arrival, l->clogged_until_us);
        return;
    }
    bool is_deaf = !net->sim->hosts[to->host].has_power;
    if (is_deaf || !sim_link_passes(net, from->host, to->host) ||
        (!to->is_open && !sim_link_passes(net, to->host, from->host))) {
        way_retry(w);
        return;
    }
    w->tries = 0;
    sim_trace(net->sim, TRACE_RECV, to->host, from->host, w->chunks.head->size);
    if (to->is_open && to->error == 0) {
        way_take(w, to);
        return;
    }
    bool is_data = w->chunks.head->kind == CHUNK_DATA;
    sim_chunks_free(&w->chunks);
    if (is_data)
        sim_sock_send_reset(to);
    sim_conn_free_if_done(w->conn);
}

static void chunk_push_front(struct sim_chunks *q, struct sim_chunk *chunk)
{
    chunk->next = q->head;
    q->head = chunk;
    if (!q->tail)
        q->tail = chunk;
    q->bytes += chunk->size - chunk->taken;
}

/* In pieces; false: the process wants no more. The chunk is nobody's meanwhile: what it calls may
 * empty the queue. */
static bool chunk_deliver(struct sim_op *op, struct sim_sock *s, struct sim_chunk *chunk)
{
    while (chunk->taken < chunk->size && !op->is_cancelled) {
        size_t left = chunk->size - chunk->taken;
        size_t take = left < RECV_BYTES ? left : RECV_BYTES;
        const uint8_t *data = chunk->data + chunk->taken;
        chunk->taken += take;
        op->proc->cost_us += 1 + take / 2000;
        op->fn.recv(op->owner, slice_of(data, take), (int32_t)take);
    }
    if (chunk->taken < chunk->size && s->error == 0 && !s->is_shut)
        chunk_push_front(&s->rx, chunk);
    else
        free(chunk);
    return !op->is_cancelled && !op->is_ready;
}

void sim_net_run_recv(struct sim_op *op)
{
    struct sim_sock *s = op->sock;
    while (s->rx.head) {
        if (!chunk_deliver(op, s, chunk_pop(&s->rx)))
            return;
    }
    sim_way_fill(&s->conn->ways[1 - s->side]);
    if (s->error != 0 || s->has_end)
        sim_op_finish(op, s->error);
}

/* ---- ends ---- */

/* Its operations see how it is, and it knows them no more. */
void sim_sock_let_go(struct sim_sock *s)
{
    if (s->recv)
        s->recv->sock = NULL;
    if (s->send)
        s->send->sock = NULL;
    s->recv = NULL;
    s->send = NULL;
}

void sim_sock_break(struct sim_sock *s, int error)
{
    struct sim_way *w = &s->conn->ways[s->side];
    if (!s->is_open || s->error != 0)
        return;
    s->error = error;
    sim_chunks_free(&s->rx);
    sim_chunks_free(&w->chunks);
    event_cancel(&s->conn->net->sim->events, &w->arrival);
    struct sim_op *send = s->send;
    s->send = NULL;
    if (send) {
        send->sock = NULL;
        sim_op_ready(send, error);
    }
    if (s->recv)
        sim_op_ready(s->recv, error);
}

void sim_sock_on_reset(void *owner)
{
    struct sim_sock *s = owner;
    sim_sock_break(s, -ECONNRESET);
    sim_conn_free_if_done(s->conn);
}

void sim_sock_send_reset(struct sim_sock *from)
{
    struct sim_net *net = from->conn->net;
    struct sim_sock *to = far_end(from);
    if (!to->is_open || event_is_set(&to->reset) || !sim_link_passes(net, from->host, to->host))
        return;
    struct sim_link *l = sim_net_link(net, from->host, to->host);
    uint64_t at_us = sim_link_arrival(net, l, net->sim->now_us, 0);
    event_set(&net->sim->events, &to->reset, at_us);
}

void sim_sock_close(struct sim_sock *s)
{
    if (!s->is_open)
        return;
    sim_sock_let_go(s);
    if (s->error == 0 && s->rx.head)
        sim_sock_send_reset(s);
    else if (s->error == 0)
        sim_way_end(&s->conn->ways[s->side]);
    s->is_open = false;
    s->proc = NULL;
    sim_chunks_free(&s->rx);
    sim_conn_free_if_done(s->conn);
}

void sim_sock_vanish(struct sim_sock *s)
{
    sim_sock_let_go(s);
    s->is_open = false;
    s->proc = NULL;
    s->conn->ways[s->side].fin_sent = false;
    sim_chunks_free(&s->rx);
    sim_conn_free_if_done(s->conn);
}
