#include "rpc/conn.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"

/* The first bytes of an out buffer at rest. */
struct conn_spare {
    struct conn_spare *next;
};

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
_Static_assert(sizeof preface - 1 == CONN_FIRST_BYTES_MAX, "all of the preface is kept");

static const char wrong_version[] = "HTTP/1.1 505 HTTP Version Not Supported\r\n"
                                    "Content-Type: text/plain; charset=utf-8\r\n"
                                    "Connection: close\r\n"
                                    "Content-Length: 43\r\n"
                                    "\r\n"
                                    "this port speaks gRPC over HTTP/2 (no TLS)\n";

/* ---- protocol ---- */

static bool starts_alike(struct slice first, struct slice with)
{
    size_t common = first.size < with.size ? first.size : with.size;
    return memcmp(first.data, with.data, common) == 0;
}

enum conn_protocol conn_protocol_detect(struct slice first)
{
    static const char *const methods[] = { "GET ",   "POST ",    "PUT ",   "HEAD ",   "DELETE ",
                                           "PATCH ", "OPTIONS ", "TRACE ", "CONNECT " };
    if (first.size == 0)
        return CONN_UNDECIDED;
    struct slice http2 = slice_of(preface, CONN_FIRST_BYTES_MAX);
    if (starts_alike(first, http2))
        return first.size < http2.size ? CONN_UNDECIDED : CONN_HTTP2;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        struct slice method = slice_of_text(methods[i]);
        if (starts_alike(first, method))
            return first.size < method.size ? CONN_UNDECIDED : CONN_HTTP1;
    }
    return CONN_FOREIGN;
}

/* ---- out buffers ---- */

static void out_release(struct conn *c)
{
    struct conn_set *set = c->set;
    ASSERT(!c->sending);
    if (c->out.capacity == CONN_SPARE_BYTES && set->spare_count < CONN_SPARE_COUNT_MAX) {
        struct conn_spare *spare = (struct conn_spare *)(void *)c->out.data;
        spare->next = set->spare;
        set->spare = spare;
        set->spare_count++;
    } else {
        free(c->out.data);
    }
    c->out = (struct conn_out){ 0 };
}

static bool out_take(struct conn *c)
{
    struct conn_set *set = c->set;
    struct conn_spare *spare = set->spare;
    if (spare) {
        set->spare = spare->next;
        set->spare_count--;
        c->out.data = (uint8_t *)spare;
    } else {
        c->out.data = malloc(CONN_SPARE_BYTES);
    }
    c->out.capacity = c->out.data ? CONN_SPARE_BYTES : 0;
    return c->out.data != NULL;
}

static bool out_grow(struct conn *c, size_t size)
{
    size_t capacity = c->out.capacity;
    while (capacity < size)
        capacity *= 2;
    uint8_t *data = realloc(c->out.data, capacity);
    if (!data)
        return false;
    c->out.data = data;
    c->out.capacity = capacity;
    return true;
}

uint8_t *conn_out_room(struct conn *c, size_t size)
{
    ASSERT(!c->sending);
    ASSERT(size <= CONN_OUT_BYTES_MAX - c->out.size);
    if (!c->out.data && !out_take(c))
        return NULL;
    if (size > c->out.capacity - c->out.size && !out_grow(c, c->out.size + size))
        return NULL;
    uint8_t *room = c->out.data + c->out.size;
    c->out.size += size;
    return room;
}

/* ---- end ---- */

static void conn_count(struct grpc_counters *counters, enum conn_end end)
{
    switch (end) {
    case CONN_END_CLOSED:
        break;
    case CONN_END_BROKEN:
        counters->connections_broken++;
        break;
    case CONN_END_STALLED:
        counters->connections_stalled++;
        break;
    case CONN_END_SILENT:
        counters->connections_silent++;
        break;
    case CONN_END_NOMEM:
        counters->connections_refused++;
        break;
    }
}

void conn_fail(struct conn *c, enum conn_end end)
{
    if (c->ending)
        return;
    c->ending = true;
    conn_count(c->set->options.counters, end);
    list_remove(&c->dirty_link);
    list_remove(&c->hold_link);
    list_remove(&c->link);
    list_push_back(&c->set->dead, &c->link);
}

static void conn_free(struct conn *c)
{
    struct conn_set *set = c->set;
    set->options.io->ops->close(set->options.io, c->fd);
    if (c->out.data)
        out_release(c);
    free(c);
    set->count--;
    set->options.counters->connections_open--;
}

/* Past its burial a connection waits for its operations alone; each completion asks here. */
static void conn_free_if_idle(struct conn *c)
{
    if (!c->reading && !c->sending)
        conn_free(c);
}

static void conn_bury(struct conn *c)
{
    struct io *io = c->set->options.io;
    if (c->session)
        c->set->options.events->close(c);
    c->session = NULL;
    io_timer_cancel(io, &c->timer);
    io->ops->shutdown(io, c->fd);
    if (c->reading)
        io_cancel(io, c->recv_ref);
    if (c->sending)
        io_cancel(io, c->send_ref);
    conn_free_if_idle(c);
}

/* ---- receiving ---- */

static void on_recv(void *owner, struct slice bytes, int32_t result);

static bool shall_read(const struct conn *c)
{
    return !c->paused && list_is_empty(&c->hold_link);
}

static bool conn_read(struct conn *c)
{
    struct io *io = c->set->options.io;
    int error = io->ops->recv(io, c->fd, on_recv, c, &c->recv_ref);
    c->reading = error == 0;
    return c->reading;
}

/* Whoever asks in HTTP/1 learns why it gets nothing. */
static void conn_answer_http1(struct conn *c)
{
    uint8_t *room = conn_out_room(c, sizeof wrong_version - 1);
    if (!room) {
        conn_fail(c, CONN_END_NOMEM);
        return;
    }
    memcpy(room, wrong_version, sizeof wrong_version - 1);
    c->set->options.counters->connections_broken++;
    conn_close_flushed(c);
}

static void conn_decide(struct conn *c, struct slice bytes)
{
    size_t room = sizeof c->first - c->first_size;
    size_t take = bytes.size < room ? bytes.size : room;
    memcpy(c->first + c->first_size, bytes.data, take);
    c->first_size = (uint8_t)(c->first_size + take);
    bytes = slice_of(bytes.data + take, bytes.size - take);
    struct slice first = slice_of(c->first, c->first_size);
    const struct conn_events *events = c->set->options.events;

    c->protocol = conn_protocol_detect(first);
    switch (c->protocol) {
    case CONN_UNDECIDED:
        break;
    case CONN_HTTP2:
        if (!events->open(c))
            conn_fail(c, CONN_END_NOMEM);
        else if (events->bytes(c, first) && bytes.size > 0)
            IGNORE(events->bytes(c, bytes), "it has marked the connection itself");
        break;
    case CONN_HTTP1:
        conn_answer_http1(c);
        break;
    case CONN_FOREIGN:
        conn_fail(c, CONN_END_BROKEN);
        break;
    }
}

static void conn_on_bytes(struct conn *c, struct slice bytes)
{
    if (c->ending)
        return;
    c->received_ms = conn_now_ms(c);
    c->set->options.counters->received_bytes += bytes.size;
    if (c->linger_ms != 0 || c->protocol == CONN_HTTP1)
        return;
    if (c->protocol == CONN_UNDECIDED)
        conn_decide(c, bytes);
    else
        IGNORE(c->set->options.events->bytes(c, bytes), "it has marked the connection itself");
    conn_mark(c);
}

static void on_recv(void *owner, struct slice bytes, int32_t result)
{
    struct conn *c = owner;
    if (bytes.size > 0) {
        conn_on_bytes(c, bytes);
        return;
    }
    c->reading = false;
    if (c->ending) {
        /* Still on the list of the dead: the burial has not happened and will free it. */
        if (list_is_empty(&c->link))
            conn_free_if_idle(c);
        return;
    }
    if (result == 0 && c->last_answer && c->linger_ms == 0) {
        c->read_all = true; /* it has asked, and reads on */
        return;
    }
    /* A cancellation was for a pause, which may be over by now. */
    if (result != -ECANCELED || (shall_read(c) && !conn_read(c)))
        conn_fail(c, CONN_END_CLOSED);
}

static void read_stop(struct conn *c)
{
    if (c->reading)
        io_cancel(c->set->options.io, c->recv_ref);
}

static void read_go_on(struct conn *c)
{
    if (shall_read(c) && !c->reading && !c->read_all && !conn_read(c))
        conn_fail(c, CONN_END_NOMEM);
}

/* The client takes nothing and yet causes more to be sent: it has to take some first. */
static void conn_pause(struct conn *c)
{
    c->paused = true;
    read_stop(c);
}

static void conn_resume(struct conn *c)
{
    c->paused = false;
    read_go_on(c);
}

void conn_hold(struct conn *c)
{
    if (c->ending || !list_is_empty(&c->hold_link))
        return;
    list_push_back(&c->set->held, &c->hold_link);
    c->held_ms = conn_now_ms(c);
    c->set->options.counters->connections_held++;
    read_stop(c);
    conn_wake_by(c, c->held_ms + CONN_HOLD_MS);
}

static void conn_release(struct conn *c)
{
    list_remove(&c->hold_link);
    read_go_on(c);
}

void conn_set_release(struct conn_set *set, size_t count)
{
    for (; count > 0 && !list_is_empty(&set->held); count--)
        conn_release(LIST_ENTRY(set->held.next, struct conn, hold_link));
}

static bool conn_is_held_past(const struct conn *c, uint64_t now_ms)
{
    return !list_is_empty(&c->hold_link) && now_ms >= c->held_ms + CONN_HOLD_MS;
}

/* ---- sending ---- */

static void on_sent(void *owner, int32_t result)
{
    struct conn *c = owner;
    ASSERT(c->sending);
    c->sending = false;
    if (result > 0)
        c->set->options.counters->sent_bytes += (uint64_t)result;
    if (c->ending) {
        if (list_is_empty(&c->link))
            conn_free_if_idle(c);
        return;
    }
    out_release(c);
    if (result < 0)
        conn_fail(c, CONN_END_CLOSED);
    else
        conn_mark(c);
}

static void conn_send(struct conn *c)
{
    struct io *io = c->set->options.io;
    struct slice bytes = slice_of(c->out.data, c->out.size);
    c->sending_ms = conn_now_ms(c);
    int error = io->ops->send(io, c->fd, bytes, on_sent, c, &c->send_ref);
    if (error != 0) {
        conn_fail(c, CONN_END_NOMEM);
        return;
    }
    c->sending = true;
    conn_wake_by(c, c->sending_ms + c->set->options.write_stall_ms);
}

/* The answer is out. Closing now could reset the connection before the client has read it, if
 * bytes of the client are still on their way: it gets a moment to close first. */
static void conn_linger(struct conn *c)
{
    if (c->linger_ms != 0)
        return;
    if (c->read_all) {
        conn_fail(c, CONN_END_CLOSED);
        return;
    }
    c->linger_ms = conn_now_ms(c) + CONN_LINGER_MS;
    if (c->paused)
        conn_resume(c);
    conn_wake_by(c, c->linger_ms);
}

static void conn_flush(struct conn *c)
{
    const struct conn_options *o = &c->set->options;
    if (c->sending) {
        if (!c->paused && c->session && o->events->waiting_bytes(c) > o->waiting_bytes_max)
            conn_pause(c);
        return;
    }
    /* It takes again: what opens its windows may be among what was not read meanwhile. */
    if (c->paused && c->session)
        conn_resume(c);
    if (c->ending || (c->session && !o->events->pump(c)))
        return;
    if (c->out.size > 0)
        conn_send(c);
    else if (c->last_answer)
        conn_linger(c);
}

void conn_mark(struct conn *c)
{
    if (!c->ending && list_is_empty(&c->dirty_link))
        list_push_back(&c->set->dirty, &c->dirty_link);
}

void conn_close_flushed(struct conn *c)
{
    if (c->last_answer)
        return; /* else each flush would cause the next */
    c->last_answer = true;
    conn_mark(c);
}

void conn_set_flush(struct conn_set *set)
{
    /* A burial may end calls of other connections, and so dirty them. */
    while (!list_is_empty(&set->dirty) || !list_is_empty(&set->dead)) {
        struct list *node = list_pop_front(&set->dirty);
        if (node)
            conn_flush(LIST_ENTRY(node, struct conn, dirty_link));
        node = list_pop_front(&set->dead);
        if (node)
            conn_bury(LIST_ENTRY(node, struct conn, link));
    }
}

/* ---- time ---- */

void conn_settle(struct conn *c)
{
    if (c->settled)
        return;
    c->settled = true;
    conn_wake_by(c, conn_now_ms(c)); /* the session's own time-outs begin */
}

void conn_wake_by(struct conn *c, uint64_t at_ms)
{
    if (c->ending || (c->timer.heap_i != 0 && c->timer.deadline_ms <= at_ms))
        return;
    if (!io_timer_set(c->set->options.io, &c->timer, at_ms))
        conn_fail(c, CONN_END_NOMEM);
}

/* Either it is past `at_ms`, and the connection ends, or *next_ms learns of it. */
static bool conn_is_late(struct conn *c, uint64_t now_ms, uint64_t at_ms, enum conn_end end,
                         uint64_t *next_ms)
{
    if (now_ms >= at_ms) {
        conn_fail(c, end);
        return true;
    }
    if (at_ms < *next_ms)
        *next_ms = at_ms;
    return false;
}

static void on_timer(void *owner)
{
    struct conn *c = owner;
    const struct conn_options *o = &c->set->options;
    uint64_t now_ms = conn_now_ms(c);
    uint64_t next_ms = UINT64_MAX;
    if (c->ending)
        return;
    uint64_t handshake_ms = c->accepted_ms + CONN_HANDSHAKE_MS;
    if (!c->settled && conn_is_late(c, now_ms, handshake_ms, CONN_END_SILENT, &next_ms))
        return;
    uint64_t stall_ms = c->sending_ms + o->write_stall_ms;
    if (c->sending && conn_is_late(c, now_ms, stall_ms, CONN_END_STALLED, &next_ms))
        return;
    if (c->linger_ms && conn_is_late(c, now_ms, c->linger_ms, CONN_END_CLOSED, &next_ms))
        return;
    if (conn_is_held_past(c, now_ms))
        conn_release(c);
    else if (!list_is_empty(&c->hold_link) && c->held_ms + CONN_HOLD_MS < next_ms)
        next_ms = c->held_ms + CONN_HOLD_MS;
    if (c->session) {
        uint64_t session_ms = o->events->time(c, now_ms);
        if (session_ms < next_ms)
            next_ms = session_ms;
    }
    if (next_ms != UINT64_MAX)
        conn_wake_by(c, next_ms);
}

/* ---- the set ---- */

void conn_set_init(struct conn_set *set, const struct conn_options *options)
{
    *set = (struct conn_set){ .options = *options };
    list_init(&set->all);
    list_init(&set->dirty);
    list_init(&set->dead);
    list_init(&set->held);
}

void conn_set_done(struct conn_set *set)
{
    ASSERT(set->count == 0);
    while (set->spare) {
        struct conn_spare *next = set->spare->next;
        free(set->spare);
        set->spare = next;
    }
    set->spare_count = 0;
}

static struct conn *conn_new(struct conn_set *set, int fd)
{
    struct conn *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->set = set;
    c->fd = fd;
    list_init(&c->link);
    list_init(&c->dirty_link);
    list_init(&c->hold_link);
    timer_init(&c->timer, on_timer, c);
    c->accepted_ms = conn_now_ms(c);
    c->received_ms = c->accepted_ms;
    return c;
}

void conn_set_accept(struct conn_set *set, int fd)
{
    struct grpc_counters *counters = set->options.counters;
    struct io *io = set->options.io;
    counters->connections_accepted++;
    struct conn *c = set->count < set->options.count_max ? conn_new(set, fd) : NULL;
    if (!c) {
        counters->connections_refused++;
        io->ops->close(io, fd);
        return;
    }
    set->count++;
    counters->connections_open++;
    list_push_back(&set->all, &c->link);
    conn_wake_by(c, c->accepted_ms + CONN_HANDSHAKE_MS);
    if (!conn_read(c))
        conn_fail(c, CONN_END_NOMEM);
}
