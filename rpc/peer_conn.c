/* One connection: frames in, frames out, and the watch on its silence. */
#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "rpc/peer_internal.h"

static void conn_on_recv(void *owner, struct slice bytes, int32_t result);

/* ---- life ---- */

static bool conn_timer_set(struct peer_conn *c, uint32_t after_ms)
{
    struct io *io = c->net->options.io;
    return io_timer_set(io, &c->timer, io_now_ms(io) + after_ms);
}

/* True when the connection is given up. */
static bool conn_tick_is_silent(struct peer_conn *c)
{
    if (c->sending && ++c->send_ticks > PEER_SEND_TICKS_MAX)
        return true;
    if (c->is_dialled)
        return c->ping_sent && ++c->ping_ticks >= PEER_PING_TICKS_MAX;
    c->quiet_ticks = c->heard ? 0 : c->quiet_ticks + 1;
    return c->quiet_ticks >= PEER_QUIET_TICKS_MAX;
}

/* It has something to send, at the next flush. */
static void conn_dirty(struct peer_conn *c)
{
    if (list_is_empty(&c->dirty))
        list_push_back(&c->net->dirty, &c->dirty);
}

/* In front of all that waits: its answer is to show the other side's life, not the queue's. */
static void conn_ping(struct peer_conn *c)
{
    struct peer_out *ping = peer_encode_ping();
    if (!ping)
        return;
    c->ping_waiting = true;
    c->waiting_bytes += ping->size;
    list_push_back(c->waiting.next, &ping->link);
    conn_dirty(c);
}

static void conn_tick(struct peer_conn *c)
{
    if (conn_tick_is_silent(c)) {
        c->net->counters.connections_silent++;
        peer_conn_lose(c);
        return;
    }
    c->heard = false;
    if (c->is_dialled && !c->ping_waiting)
        conn_ping(c);
    if (!conn_timer_set(c, PEER_TICK_MS))
        peer_conn_lose(c);
}

static void conn_on_timer(void *owner)
{
    struct peer_conn *c = owner;
    struct peer_net *net = c->net;
    peer_net_enter(net);
    switch (c->state) {
    case PEER_CONN_HELLO:
        net->counters.connections_silent++;
        peer_conn_lose(c);
        break;
    case PEER_CONN_LAST_WORDS:
        peer_conn_lose(c);
        break;
    case PEER_CONN_UP:
        conn_tick(c);
        break;
    case PEER_CONN_CLOSED:
        break;
    }
    peer_net_leave(net);
}

struct peer_conn *peer_conn_new(struct peer_net *net, int fd, struct peer_member *member)
{
    struct io *io = net->options.io;
    struct peer_conn *c = calloc(1, sizeof *c);
    if (!c)
        goto fail;
    c->net = net;
    c->member = member;
    c->is_dialled = member != NULL;
    c->state = PEER_CONN_HELLO;
    c->fd = fd;
    list_init(&c->link);
    list_init(&c->waiting);
    list_init(&c->appends);
    list_init(&c->bulk);
    list_init(&c->dirty);
    timer_init(&c->timer, conn_on_timer, c);
    if (!conn_timer_set(c, net->options.handshake_timeout_ms))
        goto fail;
    if (io->ops->recv(io, fd, conn_on_recv, c, &c->recv_ref) < 0) {
        io_timer_cancel(io, &c->timer);
        goto fail;
    }
    c->receiving = true;
    list_push_back(&net->conns, &c->link);
    net->conn_count++;
    return c;
fail:
    free(c);
    io->ops->close(io, fd);
    return NULL;
}

static void out_free(struct peer_conn *c, struct peer_out *out)
{
    *(out->is_bulk ? &c->bulk_bytes : &c->waiting_bytes) -= out->size;
    list_remove(&out->link);
    list_remove(&out->append_link);
    free(out);
}

static void queue_clear(struct peer_conn *c)
{
    while (!list_is_empty(&c->waiting))
        out_free(c, LIST_ENTRY(c->waiting.next, struct peer_out, link));
    while (!list_is_empty(&c->bulk))
        out_free(c, LIST_ENTRY(c->bulk.next, struct peer_out, link));
    list_remove(&c->dirty);
}

void peer_conn_close(struct peer_conn *c)
{
    if (c->state == PEER_CONN_CLOSED)
        return;
    struct io *io = c->net->options.io;
    c->state = PEER_CONN_CLOSED;
    io_timer_cancel(io, &c->timer);
    queue_clear(c);
    io->ops->shutdown(io, c->fd);
    if (c->receiving)
        io_cancel(io, c->recv_ref);
    if (c->sending)
        io_cancel(io, c->send_ref);
    struct peer_member *m = c->member;
    c->member = NULL;
    if (m && m->accepted == c)
        m->accepted = NULL;
    if (m && m->dial.conn == c)
        m->dial.conn = NULL;
}

void peer_conn_lose(struct peer_conn *c)
{
    struct peer_member *m = c->member;
    bool was_up = c->state == PEER_CONN_UP;
    bool was_link = m && m->dial.conn == c;
    peer_conn_close(c);
    if (was_link)
        peer_link_on_lost(m, was_up);
}

bool peer_conn_is_done(const struct peer_conn *c)
{
    return c->state == PEER_CONN_CLOSED && !c->receiving && !c->sending;
}

void peer_conn_free(struct peer_conn *c)
{
    ASSERT(peer_conn_is_done(c));
    struct io *io = c->net->options.io;
    io->ops->close(io, c->fd);
    list_remove(&c->link);
    c->net->conn_count--;
    block_unref(c->body);
    free(c->out_frame);
    free(c->gather);
    free(c);
}

void peer_conn_up(struct peer_conn *c)
{
    c->state = PEER_CONN_UP;
    if (!conn_timer_set(c, PEER_TICK_MS))
        peer_conn_lose(c);
}

/* ---- out ---- */

/* Whoever sends a snapshot sends the chunk again, so that a full queue is no loss. */
static bool bulk_queue(struct peer_conn *c, struct peer_out *out)
{
    if (c->bulk_bytes + out->size > PEER_BULK_BYTES_MAX) {
        free(out);
        return false;
    }
    c->bulk_bytes += out->size;
    list_push_back(&c->bulk, &out->link);
    conn_dirty(c);
    return true;
}

bool peer_conn_queue(struct peer_conn *c, struct peer_out *out)
{
    struct peer_net *net = c->net;
    uint64_t max = net->options.out_bytes_max;
    if (!out) {
        net->counters.frames_dropped++;
        return false;
    }
    if (out->is_bulk)
        return bulk_queue(c, out);
    while (c->waiting_bytes + out->size > max && !list_is_empty(&c->appends)) {
        out_free(c, LIST_ENTRY(c->appends.next, struct peer_out, append_link));
        net->counters.frames_dropped++;
    }
    if (c->waiting_bytes + out->size > max) {
        free(out);
        net->counters.frames_dropped++;
        return false;
    }
    c->waiting_bytes += out->size;
    list_push_back(&c->waiting, &out->link);
    if (out->is_append)
        list_push_back(&c->appends, &out->append_link);
    conn_dirty(c);
    return true;
}

/* Off the queue, on its way: from here on only the connection's end stops it. */
static struct peer_out *out_take(struct peer_conn *c)
{
    struct list *from = list_is_empty(&c->waiting) ? &c->bulk : &c->waiting;
    struct peer_out *out = LIST_ENTRY(list_pop_front(from), struct peer_out, link);
    list_remove(&out->append_link);
    *(out->is_bulk ? &c->bulk_bytes : &c->waiting_bytes) -= out->size;
    c->out_frames++;
    if (out->is_ping)
        c->ping_sent = true;
    return out;
}

static bool out_is_empty(const struct peer_conn *c)
{
    return list_is_empty(&c->waiting) && list_is_empty(&c->bulk);
}

static bool out_fits(const struct peer_conn *c, size_t gathered_bytes)
{
    if (list_is_empty(&c->waiting))
        return false;
    const struct peer_out *next = LIST_ENTRY(c->waiting.next, struct peer_out, link);
    return next->size <= PEER_GATHER_BYTES - gathered_bytes;
}

/* What the next send sends. One frame goes as it is; many small ones are copied together, since
 * each send is a system call's worth of work. */
static void out_load(struct peer_conn *c)
{
    c->out_frames = 0;
    bool is_alone = c->waiting.next->next == &c->waiting || !out_fits(c, 0);
    if (!is_alone && !c->gather)
        c->gather = malloc(PEER_GATHER_BYTES);
    if (is_alone || !c->gather) {
        c->out_frame = out_take(c);
        c->out = slice_of(c->out_frame->bytes, c->out_frame->size);
        return;
    }
    size_t gathered_bytes = 0;
    while (out_fits(c, gathered_bytes)) {
        struct peer_out *out = out_take(c);
        memcpy(c->gather + gathered_bytes, out->bytes, out->size);
        gathered_bytes += out->size;
        free(out);
    }
    c->out = slice_of(c->gather, gathered_bytes);
}

static void out_sent(struct peer_conn *c)
{
    c->net->counters.frames_sent += c->out_frames;
    c->net->counters.sent_bytes += c->out.size;
    c->send_ticks = 0;
    c->out = (struct slice){ 0 };
    free(c->out_frame);
    c->out_frame = NULL;
    if (!out_is_empty(c))
        conn_dirty(c);
    else if (c->state == PEER_CONN_LAST_WORDS)
        peer_conn_lose(c);
}

static void conn_on_sent(void *owner, int32_t result)
{
    struct peer_conn *c = owner;
    struct peer_net *net = c->net;
    peer_net_enter(net);
    c->sending = false;
    if (c->state != PEER_CONN_CLOSED) {
        if (result < 0)
            peer_conn_lose(c);
        else
            out_sent(c);
    }
    peer_net_leave(net);
}

void peer_conn_flush(struct peer_conn *c)
{
    struct io *io = c->net->options.io;
    list_remove(&c->dirty);
    if (c->sending || c->state == PEER_CONN_CLOSED)
        return; /* what waits is made dirty again when this send ends */
    if (c->out.size == 0) {
        if (out_is_empty(c))
            return;
        out_load(c);
    }
    int rc = io->ops->send(io, c->fd, c->out, conn_on_sent, c, &c->send_ref);
    if (rc == 0)
        c->sending = true;
    else if (rc == -EAGAIN)
        conn_dirty(c); /* no operation left: at the next flush */
    else
        peer_conn_lose(c);
}

static struct peer_out *hello_to(const struct peer_net *net, uint64_t to, const char *text,
                                 enum peer_unwelcome why)
{
    struct peer_hello hello = net->options.self;
    hello.to_member_id = to;
    return peer_encode_hello(&hello, text, why);
}

void peer_conn_say_hello(struct peer_conn *c, uint64_t to)
{
    if (!peer_conn_queue(c, hello_to(c->net, to, NULL, PEER_UNWELCOME_NOW)))
        peer_conn_lose(c);
}

void peer_conn_refuse(struct peer_conn *c, uint64_t to, const char *text, enum peer_unwelcome why)
{
    peer_complain(c->net, to, text);
    c->net->counters.hellos_refused++;
    c->state = PEER_CONN_LAST_WORDS;
    if (!conn_timer_set(c, c->net->options.handshake_timeout_ms) ||
        !peer_conn_queue(c, hello_to(c->net, to, text, why)))
        peer_conn_lose(c);
}

/* ---- in ---- */

/* A ping, or the answer to ours. */
static bool on_ping(struct peer_conn *c)
{
    if (c->state != PEER_CONN_UP)
        return false;
    if (!c->is_dialled) {
        IGNORE(peer_conn_queue(c, peer_encode_ping()), "at the cap the next ping will do");
        return true;
    }
    c->ping_waiting = false;
    c->ping_sent = false;
    c->ping_ticks = 0;
    return true;
}

static bool on_message(struct peer_conn *c, const Holdfastpb__PeerMessage *message,
                       struct block *block, struct slice attachment)
{
    bool is_hello = message->message_case == HOLDFASTPB__PEER_MESSAGE__MESSAGE_HELLO;
    if (is_hello && attachment.size > 0)
        return false;
    if (c->is_dialled)
        return is_hello && c->state == PEER_CONN_HELLO && peer_link_on_hello(c, message->hello);
    if (c->state == PEER_CONN_HELLO)
        return is_hello && peer_accept_on_hello(c, message->hello);
    return peer_dispatch(c, message, block, attachment);
}

/* A whole frame has come. False: a bad one. */
static bool on_frame(struct peer_conn *c, struct block *body)
{
    size_t body_bytes = (size_t)c->frame.head_bytes + c->frame.attachment_bytes;
    const uint8_t *data = body ? body->data : NULL;
    c->bad_why = NULL;
    if (!peer_frame_body_is_intact(&c->frame, slice_of(data, body_bytes))) {
        c->bad_why = peer_frame_strerror(PEER_FRAME_E_CHECKSUM);
        return false;
    }
    c->net->counters.frames_received++;
    if (body_bytes == 0)
        return on_ping(c);
    struct slice attachment = slice_of(data + c->frame.head_bytes, c->frame.attachment_bytes);
    arena_reset(&c->net->arena);
    const Holdfastpb__PeerMessage *message =
        peer_decode(slice_of(data, c->frame.head_bytes), &c->net->arena);
    return message && on_message(c, message, body, attachment);
}

/* Before the Hello nobody has a claim on more memory than a Hello takes. */
static uint32_t frame_cap(const struct peer_conn *c)
{
    return c->state == PEER_CONN_HELLO ? PEER_FRAME_BYTES_MIN : c->net->options.frame_bytes_max;
}

/* Takes what it can use off *bytes. False: a bad frame, or no memory for it. */
static bool conn_take_header(struct peer_conn *c, struct slice *bytes)
{
    size_t want = PEER_FRAME_HEADER_BYTES - c->header_have_bytes;
    size_t take = bytes->size < want ? bytes->size : want;
    memcpy(c->header + c->header_have_bytes, bytes->data, take);
    c->header_have_bytes += take;
    *bytes = slice_of(bytes->data + take, bytes->size - take);
    if (take < want)
        return true;
    enum peer_frame_err err = peer_frame_decode(c->header, frame_cap(c), &c->frame);
    if (err != PEER_FRAME_OK) {
        c->bad_why = peer_frame_strerror(err);
        return false;
    }
    size_t body_bytes = (size_t)c->frame.head_bytes + c->frame.attachment_bytes;
    c->body_have_bytes = 0;
    if (body_bytes == 0)
        return true;
    c->body = block_new(body_bytes);
    c->bad_why = c->body ? NULL : "no memory for a frame";
    return c->body != NULL;
}

static void conn_take_body(struct peer_conn *c, struct slice *bytes)
{
    size_t want = c->body->capacity_bytes - c->body_have_bytes;
    size_t take = bytes->size < want ? bytes->size : want;
    memcpy(c->body->data + c->body_have_bytes, bytes->data, take);
    c->body_have_bytes += take;
    *bytes = slice_of(bytes->data + take, bytes->size - take);
}

static bool frame_is_whole(const struct peer_conn *c)
{
    return c->header_have_bytes == PEER_FRAME_HEADER_BYTES &&
           (!c->body || c->body_have_bytes == c->body->capacity_bytes);
}

/* False: a bad frame. */
static bool conn_feed(struct peer_conn *c, struct slice bytes)
{
    while (bytes.size > 0 && (c->state == PEER_CONN_HELLO || c->state == PEER_CONN_UP)) {
        if (c->header_have_bytes < PEER_FRAME_HEADER_BYTES) {
            if (!conn_take_header(c, &bytes))
                return false;
        } else {
            conn_take_body(c, &bytes);
        }
        if (!frame_is_whole(c))
            continue;
        struct block *body = c->body;
        c->body = NULL;
        c->header_have_bytes = 0;
        bool is_good = on_frame(c, body);
        block_unref(body);
        if (!is_good)
            return false;
    }
    return true;
}

/* It may be closed by now: a handler did that. */
static void conn_spoilt(struct peer_conn *c)
{
    struct peer_net *net = c->net;
    net->counters.frames_bad++;
    if (c->state != PEER_CONN_CLOSED && !net->closing)
        peer_complain(net, c->member ? c->member->id : 0,
                      c->bad_why ? c->bad_why : "a message that is malformed or out of place");
    peer_conn_lose(c);
}

static void conn_on_recv(void *owner, struct slice bytes, int32_t result)
{
    (void)result;
    struct peer_conn *c = owner;
    struct peer_net *net = c->net;
    peer_net_enter(net);
    if (bytes.size == 0) {
        c->receiving = false;
        if (c->state != PEER_CONN_CLOSED)
            peer_conn_lose(c);
    } else if (c->state != PEER_CONN_CLOSED) {
        net->counters.received_bytes += bytes.size;
        c->heard = true;
        if (!conn_feed(c, bytes))
            conn_spoilt(c);
    }
    peer_net_leave(net);
}
