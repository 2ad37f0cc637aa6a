#include "tests/support/fake_net.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

enum { LISTENER = 1000, REF_RECV = 0, REF_SEND = 1, REF_ACCEPT = 2, REF_KINDS = 3 };

static struct fake_net *net_of(struct io *io)
{
    return (struct fake_net *)io;
}

static bool is_refused(struct fake_net *n)
{
    n->operations++;
    return n->fail_at != 0 && --n->fail_at == 0;
}

static struct io_ref ref_of(int fd, uint32_t kind)
{
    return (struct io_ref){ .slot = (uint32_t)fd * REF_KINDS + kind, .generation = 1 };
}

static uint64_t now_ms(struct io *io)
{
    return net_of(io)->now_ms;
}

static bool timer_set(struct io *io, struct timer *t, uint64_t deadline_ms)
{
    struct fake_net *n = net_of(io);
    return !is_refused(n) && timer_heap_set(&n->timers, t, deadline_ms);
}

static void timer_cancel(struct io *io, struct timer *t)
{
    timer_heap_cancel(&net_of(io)->timers, t);
}

static uint64_t now_us(struct io *io)
{
    return 1000 * net_of(io)->now_ms;
}

static uint64_t random_none(struct io *io)
{
    (void)io;
    return 4; /* as good as any, and the same in each run */
}

static int net_connect(struct io *io, const struct io_addr *addr, io_done_fn *fn, void *owner,
                       struct io_ref *ret_ref)
{
    (void)io, (void)addr, (void)fn, (void)owner, (void)ret_ref;
    return -ECONNREFUSED;
}

static void job_pause(struct io *io, uint32_t us)
{
    (void)io;
    (void)us;
}

static void offload(struct io *io, struct io_job *job)
{
    (void)io;
    job->run(job);
    job->done(job);
}

static int net_listen(struct io *io, const struct io_addr *addr, struct io_addr *ret_bound)
{
    (void)io;
    *ret_bound = *addr;
    return LISTENER;
}

static int net_accept(struct io *io, int fd, io_accept_fn *fn, void *owner, struct io_ref *ret_ref)
{
    struct fake_net *n = net_of(io);
    if (is_refused(n))
        return -EAGAIN;
    n->accept = fn;
    n->accept_owner = owner;
    *ret_ref = ref_of(fd, REF_ACCEPT);
    return 0;
}

static int net_recv(struct io *io, int fd, io_recv_fn *fn, void *owner, struct io_ref *ret_ref)
{
    struct fake_net *n = net_of(io);
    struct fake_stream *s = &n->streams[fd];
    cr_assert(s->open && !s->recv, "one receive on an open stream");
    if (is_refused(n))
        return -EAGAIN;
    s->recv = fn;
    s->recv_owner = owner;
    s->recv_cancelled = false;
    *ret_ref = ref_of(fd, REF_RECV);
    return 0;
}

static int net_send(struct io *io, int fd, struct slice bytes, io_done_fn *fn, void *owner,
                    struct io_ref *ret_ref)
{
    struct fake_net *n = net_of(io);
    struct fake_stream *s = &n->streams[fd];
    cr_assert(s->open && !s->sent, "one send on an open stream");
    if (is_refused(n))
        return -EAGAIN;
    s->sending = bytes;
    s->sent = fn;
    s->sent_owner = owner;
    s->send_cancelled = false;
    *ret_ref = ref_of(fd, REF_SEND);
    return 0;
}

static void net_shutdown(struct io *io, int fd)
{
    net_of(io)->streams[fd].shut = true;
}

static void net_close(struct io *io, int fd)
{
    if (fd == LISTENER)
        return;
    struct fake_stream *s = &net_of(io)->streams[fd];
    cr_assert(s->open && !s->recv && !s->sent, "closed once, with nothing in flight");
    s->open = false;
}

static void net_cancel(struct io *io, struct io_ref ref)
{
    struct fake_net *n = net_of(io);
    struct fake_stream *s = &n->streams[ref.slot / REF_KINDS % FAKE_NET_STREAMS];
    if (ref.slot % REF_KINDS == REF_ACCEPT)
        n->accept_cancelled = true;
    else if (ref.slot % REF_KINDS == REF_RECV)
        s->recv_cancelled = true;
    else
        s->send_cancelled = true;
}

static const struct io_ops ops = {
    .now_ms = now_ms,
    .now_us = now_us,
    .random = random_none,
    .timer_set = timer_set,
    .timer_cancel = timer_cancel,
    .listen = net_listen,
    .accept = net_accept,
    .connect = net_connect,
    .recv = net_recv,
    .send = net_send,
    .shutdown = net_shutdown,
    .close = net_close,
    .offload = offload,
    .pause = job_pause,
    .cancel = net_cancel,
};

void fake_net_init(struct fake_net *n)
{
    *n = (struct fake_net){ .io = { &ops }, .now_ms = 1000 };
    timer_heap_init(&n->timers, FAKE_NET_TIMERS_MAX);
}

void fake_net_done(struct fake_net *n)
{
    for (size_t i = 0; i < FAKE_NET_STREAMS; i++) {
        cr_assert_not(n->streams[i].open, "stream %zu is open", i);
        free(n->streams[i].out);
    }
    cr_assert_eq(timer_heap_next_ms(&n->timers), UINT64_MAX, "a timer is set");
    timer_heap_done(&n->timers);
}

int fake_net_connect(struct fake_net *n)
{
    int fd = 0;
    while (fd < FAKE_NET_STREAMS && n->streams[fd].open)
        fd++;
    if (!n->accept || fd == FAKE_NET_STREAMS)
        return -1;
    free(n->streams[fd].out);
    n->streams[fd] = (struct fake_stream){ .open = true };
    n->accept(n->accept_owner, fd);
    return n->streams[fd].open ? fd : -1;
}

bool fake_net_bytes(struct fake_net *n, int fd, struct slice bytes)
{
    struct fake_stream *s = &n->streams[fd];
    if (!s->recv || s->shut)
        return false;
    /* Of its own size, so that a sanitizer sees who reads past it, and gone afterwards. */
    uint8_t *copy = malloc(bytes.size);
    cr_assert(copy);
    memcpy(copy, bytes.data, bytes.size);
    s->recv(s->recv_owner, slice_of(copy, bytes.size), 0);
    explicit_bzero(copy, bytes.size);
    free(copy);
    return true;
}

static void recv_complete(struct fake_stream *s, int32_t result)
{
    io_recv_fn *fn = s->recv;
    s->recv = NULL;
    fn(s->recv_owner, slice_of(NULL, 0), result);
}

void fake_net_end(struct fake_net *n, int fd)
{
    if (n->streams[fd].recv)
        recv_complete(&n->streams[fd], 0);
}

static void send_complete(struct fake_net *n, struct fake_stream *s)
{
    io_done_fn *fn = s->sent;
    int32_t result = -ECANCELED;
    if (!n->holds_sends && !s->shut) {
        s->out = realloc(s->out, s->out_size + s->sending.size);
        cr_assert(s->out);
        memcpy(s->out + s->out_size, s->sending.data, s->sending.size);
        s->out_size += s->sending.size;
        result = (int32_t)s->sending.size;
    }
    s->sent = NULL;
    fn(s->sent_owner, result);
}

void fake_net_turn(struct fake_net *n)
{
    for (size_t i = 0; i < FAKE_NET_STREAMS; i++) {
        struct fake_stream *s = &n->streams[i];
        if (s->sent && (s->send_cancelled || s->shut || !n->holds_sends))
            send_complete(n, s);
        if (s->recv && (s->recv_cancelled || s->shut))
            recv_complete(s, s->recv_cancelled ? -ECANCELED : 0);
    }
    if (n->accept && n->accept_cancelled) {
        io_accept_fn *fn = n->accept;
        n->accept = NULL;
        fn(n->accept_owner, -ECANCELED);
    }
}

void fake_net_advance(struct fake_net *n, uint64_t ms)
{
    n->now_ms += ms;
    timer_heap_run(&n->timers, n->now_ms);
}
