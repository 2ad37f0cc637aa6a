/* Streams over loopback: both directions, many, slow ones, refused ones, and accept's bad days. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/prng.h"
#include "tests/support/loop_fixture.h"

enum { STREAM_BYTES = 4 << 20, MANY = 1000 };

/* ---- megabytes both ways at once ---- */

struct duplex {
    struct loop *loop;
    const uint8_t *out;
    const uint8_t *expected;
    uint64_t received;
    unsigned sends;
    unsigned *open; /* directions of both ends */
};

static void duplex_step(struct duplex *d)
{
    if (--*d->open == 0)
        loop_stop(d->loop);
}

static void duplex_on_recv(void *owner, struct slice bytes, int32_t result)
{
    struct duplex *d = owner;
    if (bytes.size == 0) {
        cr_assert_eq(result, -ECANCELED);
        return;
    }
    cr_assert_leq(bytes.size, STREAM_BYTES - d->received);
    cr_assert(memcmp(bytes.data, d->expected + d->received, bytes.size) == 0, "bytes out of place");
    d->received += bytes.size;
    if (d->received == STREAM_BYTES)
        duplex_step(d);
}

static void duplex_on_sent(void *owner, int32_t result)
{
    struct duplex *d = owner;
    cr_assert_eq(result, STREAM_BYTES);
    d->sends++;
    duplex_step(d);
}

static uint8_t *random_bytes(size_t size, uint64_t seed)
{
    struct prng p = prng_seeded(seed);
    uint8_t *bytes = malloc(size);
    cr_assert(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)prng_next(&p);
    return bytes;
}

Test(loop_net, megabytes_cross_in_both_directions, .timeout = 60)
{
    struct loop *l = loop_fixture_open(NULL);
    struct io *io = loop_io(l);
    int fds[2];
    loop_fixture_pair(l, fds);
    uint8_t *a = random_bytes(STREAM_BYTES, 1), *b = random_bytes(STREAM_BYTES, 2);
    unsigned open = 4;
    struct duplex ends[2] = {
        { .loop = l, .out = a, .expected = b, .open = &open },
        { .loop = l, .out = b, .expected = a, .open = &open },
    };
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(io->ops->recv(io, fds[i], duplex_on_recv, &ends[i], NULL), 0);
        cr_assert_eq(io->ops->send(io, fds[i], slice_of(ends[i].out, STREAM_BYTES), duplex_on_sent,
                                   &ends[i], NULL),
                     0);
    }
    loop_fixture_run(l);
    for (int i = 0; i < 2; i++)
        cr_expect_eq(ends[i].sends, 1);
    loop_close(l);
    free(a);
    free(b);
}

/* ---- a reader that stops and goes on: no byte is lost, none comes twice ---- */

struct slow {
    struct loop *loop;
    int fd;
    const uint8_t *expected;
    uint64_t received;
    struct io_ref recv;
    struct timer pause;
    unsigned pauses;
    unsigned sends;
};

static void slow_on_recv(void *owner, struct slice bytes, int32_t result)
{
    struct slow *s = owner;
    struct io *io = loop_io(s->loop);
    if (bytes.size > 0) {
        cr_assert_leq(bytes.size, STREAM_BYTES - s->received);
        cr_assert(memcmp(bytes.data, s->expected + s->received, bytes.size) == 0);
        s->received += bytes.size;
        io_cancel(io, s->recv);
        return;
    }
    cr_assert_eq(result, -ECANCELED);
    s->pauses++;
    cr_assert(io_timer_set(io, &s->pause, io_now_ms(io) + s->pauses % 2));
}

static void slow_on_pause(void *owner)
{
    struct slow *s = owner;
    if (s->received == STREAM_BYTES) {
        loop_stop(s->loop);
        return;
    }
    struct io *io = loop_io(s->loop);
    cr_assert_eq(io->ops->recv(io, s->fd, slow_on_recv, s, &s->recv), 0);
}

static void slow_on_sent(void *owner, int32_t result)
{
    struct slow *s = owner;
    cr_assert_eq(result, STREAM_BYTES);
    s->sends++;
}

Test(loop_net, a_slow_reader_gets_every_byte_in_order, .timeout = 60)
{
    struct loop_options options = loop_fixture_options();
    options.recv_buffer_bytes = 32768;
    struct loop *l = loop_fixture_open(&options);
    struct io *io = loop_io(l);
    int fds[2];
    loop_fixture_pair(l, fds);
    uint8_t *bytes = random_bytes(STREAM_BYTES, 3);
    struct slow s = { .loop = l, .fd = fds[1], .expected = bytes };
    timer_init(&s.pause, slow_on_pause, &s);
    cr_assert_eq(io->ops->send(io, fds[0], slice_of(bytes, STREAM_BYTES), slow_on_sent, &s, NULL),
                 0);
    cr_assert(io_timer_set(io, &s.pause, io_now_ms(io) + 5));
    loop_fixture_run(l);
    cr_expect_eq(s.sends, 1);
    cr_expect_gt(s.pauses, 2);
    loop_close(l);
    free(bytes);
}

/* ---- echo on a thousand connections ---- */

struct crowd;

struct crowd_end {
    struct crowd *crowd;
    int fd;
    uint32_t token;
    uint8_t echo[4];
    size_t received;
};

struct crowd {
    struct loop *loop;
    struct crowd_end clients[MANY];
    struct crowd_end servers[MANY];
    unsigned accepted;
    unsigned answered;
};

static void crowd_on_sent(void *owner, int32_t result)
{
    (void)owner;
    cr_assert_eq(result, 4);
}

static void crowd_send(struct crowd_end *e, const void *bytes)
{
    struct io *io = loop_io(e->crowd->loop);
    cr_assert_eq(io->ops->send(io, e->fd, slice_of(bytes, 4), crowd_on_sent, e, NULL), 0);
}

static bool crowd_gather(struct crowd_end *e, struct slice bytes, int32_t result)
{
    if (bytes.size == 0) {
        cr_assert_eq(result, -ECANCELED, "%d", result);
        return false;
    }
    cr_assert_leq(e->received + bytes.size, 4);
    memcpy(e->echo + e->received, bytes.data, bytes.size);
    e->received += bytes.size;
    return e->received == 4;
}

static void crowd_on_request(void *owner, struct slice bytes, int32_t result)
{
    struct crowd_end *e = owner;
    if (crowd_gather(e, bytes, result))
        crowd_send(e, e->echo);
}

static void crowd_on_answer(void *owner, struct slice bytes, int32_t result)
{
    struct crowd_end *e = owner;
    if (!crowd_gather(e, bytes, result))
        return;
    cr_assert(memcmp(e->echo, &e->token, 4) == 0, "an answer of another connection");
    if (++e->crowd->answered == MANY)
        loop_stop(e->crowd->loop);
}

static void crowd_on_accept(void *owner, int fd)
{
    struct crowd *c = owner;
    if (fd == -ECANCELED)
        return;
    cr_assert_geq(fd, 0, "%s", strerror(-fd));
    struct crowd_end *e = &c->servers[c->accepted++];
    *e = (struct crowd_end){ .crowd = c, .fd = fd };
    struct io *io = loop_io(c->loop);
    cr_assert_eq(io->ops->recv(io, fd, crowd_on_request, e, NULL), 0);
}

static void crowd_on_connect(void *owner, int32_t result)
{
    struct crowd_end *e = owner;
    cr_assert_geq(result, 0, "%s", strerror(-result));
    e->fd = result;
    struct io *io = loop_io(e->crowd->loop);
    cr_assert_eq(io->ops->recv(io, e->fd, crowd_on_answer, e, NULL), 0);
    crowd_send(e, &e->token);
}

static void descriptors_raise(rlim_t need)
{
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max < need)
        cr_skip_test("too few descriptors allowed here");
    limit.rlim_cur = limit.rlim_max;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

Test(loop_net, a_thousand_connections_echo, .timeout = 60)
{
    descriptors_raise(2 * MANY + 64);
    struct loop_options options = loop_fixture_options();
    options.op_count_max = 4 * MANY + 64;
    struct crowd *c = calloc(1, sizeof *c);
    cr_assert(c);
    c->loop = loop_fixture_open(&options);
    struct io *io = loop_io(c->loop);
    struct io_addr any = loop_fixture_loopback(), bound;
    int fd = io->ops->listen(io, &any, &bound);
    cr_assert_geq(fd, 0);
    cr_assert_eq(io->ops->accept(io, fd, crowd_on_accept, c, NULL), 0);
    for (uint32_t i = 0; i < MANY; i++) {
        c->clients[i] = (struct crowd_end){ .crowd = c, .token = i * 2654435761u };
        cr_assert_eq(io->ops->connect(io, &bound, crowd_on_connect, &c->clients[i], NULL), 0);
    }
    loop_fixture_run(c->loop);
    cr_expect_eq(c->accepted, MANY);
    loop_close(c->loop);
    free(c);
}

/* ---- ends ---- */

Test(loop_net, the_end_of_the_stream_is_the_last_call)
{
    struct loop *l = loop_fixture_open(NULL);
    struct io *io = loop_io(l);
    int fds[2];
    loop_fixture_pair(l, fds);
    struct loop_fixture_sink sink = { .stop = l };
    struct loop_fixture_done sent = { 0 };
    cr_assert_eq(io->ops->recv(io, fds[1], loop_fixture_on_recv, &sink, NULL), 0);
    cr_assert_eq(io->ops->send(io, fds[0], slice_of("last", 4), loop_fixture_on_done, &sent, NULL),
                 0);
    loop_fixture_settle(l);
    io->ops->close(io, fds[0]);
    loop_fixture_run(l);
    cr_expect_eq(sink.bytes, 4);
    cr_expect_eq(sink.ended, 1);
    cr_expect_eq(sink.result, 0);
    loop_fixture_settle(l);
    loop_close(l);
}

Test(loop_net, shutdown_ends_both_directions_at_once)
{
    struct loop *l = loop_fixture_open(NULL);
    struct io *io = loop_io(l);
    int fds[2];
    loop_fixture_pair(l, fds);
    struct loop_fixture_sink sinks[2] = { 0 };
    for (int i = 0; i < 2; i++)
        cr_assert_eq(io->ops->recv(io, fds[i], loop_fixture_on_recv, &sinks[i], NULL), 0);
    io->ops->shutdown(io, fds[0]);
    loop_fixture_settle(l);
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(sinks[i].ended, 1);
        cr_expect_eq(sinks[i].result, 0);
    }
    struct loop_fixture_done sent = { .stop = l };
    cr_assert_eq(io->ops->send(io, fds[0], slice_of("x", 1), loop_fixture_on_done, &sent, NULL), 0);
    loop_fixture_run(l);
    cr_expect_eq(sent.result, -EPIPE, "no SIGPIPE either");
    loop_close(l);
}

Test(loop_net, a_reset_is_an_error)
{
    struct loop *l = loop_fixture_open(NULL);
    struct io *io = loop_io(l);
    int fds[2];
    loop_fixture_pair(l, fds);
    struct loop_fixture_sink sink = { .stop = l };
    cr_assert_eq(io->ops->recv(io, fds[1], loop_fixture_on_recv, &sink, NULL), 0);
    struct linger hard = { .l_onoff = 1 };
    cr_assert_eq(setsockopt(fds[0], SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    io->ops->close(io, fds[0]);
    loop_fixture_run(l);
    cr_expect_eq(sink.result, -ECONNRESET);
    loop_close(l);
}

Test(loop_net, a_closed_port_refuses)
{
    struct loop *l = loop_fixture_open(NULL);
    struct io *io = loop_io(l);
    struct io_addr any = loop_fixture_loopback(), bound;
    int fd = io->ops->listen(io, &any, &bound);
    cr_assert_geq(fd, 0);
    io->ops->close(io, fd);
    struct loop_fixture_done done = { .stop = l };
    cr_assert_eq(io->ops->connect(io, &bound, loop_fixture_on_done, &done, NULL), 0);
    cr_assert_eq(done.count, 0, "never inside the call");
    loop_fixture_run(l);
    cr_expect_eq(done.result, -ECONNREFUSED);
    loop_close(l);
}

Test(loop_net, what_cannot_begin_says_why)
{
    struct loop *l = loop_fixture_open(NULL);
    struct io *io = loop_io(l);
    struct io_addr any = loop_fixture_loopback(), bound, other = { .sa.ss_family = AF_UNIX };
    int fd = io->ops->listen(io, &any, &bound);
    cr_assert_geq(fd, 0);
    cr_expect_eq(io->ops->listen(io, &bound, NULL), -EADDRINUSE);
    cr_expect_eq(io->ops->listen(io, &other, NULL), -EAFNOSUPPORT);
    cr_expect_eq(io->ops->connect(io, &other, loop_fixture_on_done, NULL, NULL), -EAFNOSUPPORT);
    struct io_addr cut = any;
    cut.sa_size = 4;
    cr_expect_eq(io->ops->connect(io, &cut, loop_fixture_on_done, NULL, NULL), -EAFNOSUPPORT);
    struct slice huge = slice_of("", (size_t)INT32_MAX + 1);
    cr_expect_eq(io->ops->send(io, fd, huge, loop_fixture_on_done, NULL, NULL), -EINVAL);
    loop_close(l);
}

Test(loop_net, sockets_are_prompt_and_private)
{
    struct loop *l = loop_fixture_open(NULL);
    int fds[2];
    loop_fixture_pair(l, fds);
    for (int i = 0; i < 2; i++) {
        int on = 0;
        socklen_t size = sizeof on;
        cr_assert_eq(getsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
        cr_expect_eq(on, 1, "TCP_NODELAY");
        cr_expect(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
    }
    loop_close(l);
}

/* ---- accept ---- */

struct accepts {
    struct loop *loop;
    unsigned fds;
    unsigned ended;
    int32_t result;
    struct rlimit plenty;
};

static void accepts_on_accept(void *owner, int fd)
{
    struct accepts *a = owner;
    cr_assert_eq(a->ended, 0);
    a->fds += fd >= 0;
    a->ended += fd < 0;
    a->result = fd;
    loop_stop(a->loop);
}

static void accepts_on_turn_end(void *owner)
{
    struct accepts *a = owner;
    if (a->loop && loop_counters(a->loop)->accept_rests > 0)
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &a->plenty), 0);
}

/* One client waits to be accepted, and there is no descriptor for it. */
static void accepts_starve(struct accepts *a, struct loop *l, struct io_ref *ret_ref)
{
    struct io *io = loop_io(l);
    struct io_addr any = loop_fixture_loopback(), bound;
    int fd = io->ops->listen(io, &any, &bound);
    cr_assert_geq(fd, 0);
    cr_assert_eq(io->ops->accept(io, fd, accepts_on_accept, a, ret_ref), 0);
    static struct loop_fixture_done connected;
    cr_assert_eq(io->ops->connect(io, &bound, loop_fixture_on_done, &connected, NULL), 0);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &a->plenty), 0);
    int next = dup(fd);
    close(next);
    struct rlimit none = { .rlim_cur = (rlim_t)next, .rlim_max = a->plenty.rlim_max };
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    a->loop = l;
}

Test(loop_net, accepting_survives_a_lack_of_descriptors, .timeout = 60)
{
    struct accepts a = { 0 };
    struct loop_options options = loop_fixture_options();
    options.turn_end = accepts_on_turn_end;
    options.owner = &a;
    struct loop *l = loop_fixture_open(&options);
    accepts_starve(&a, l, NULL);
    loop_fixture_run(l);
    cr_expect_eq(a.fds, 1);
    cr_expect_eq(a.ended, 0);
    cr_expect_eq(loop_counters(l)->accept_rests, 1);
    loop_close(l);
    cr_expect_eq(a.ended, 1);
    cr_expect_eq(a.result, -ECANCELED);
}

static void accepts_on_turn_end_stop(void *owner)
{
    struct accepts *a = owner;
    if (a->loop && loop_counters(a->loop)->accept_rests > 0)
        loop_stop(a->loop);
}

Test(loop_net, accepting_can_be_cancelled_while_it_rests, .timeout = 60)
{
    for (int by_close = 0; by_close < 2; by_close++) {
        struct accepts a = { 0 };
        struct loop_options options = loop_fixture_options();
        options.turn_end = accepts_on_turn_end_stop;
        options.owner = &a;
        struct loop *l = loop_fixture_open(&options);
        struct io_ref accept;
        accepts_starve(&a, l, &accept);
        loop_fixture_run(l);
        cr_assert_eq(loop_counters(l)->accept_rests, 1);
        if (!by_close) {
            io_cancel(loop_io(l), accept);
            cr_expect_eq(a.ended, 0, "never inside io_cancel");
            loop_fixture_run(l);
            cr_expect_eq(a.ended, 1);
        }
        loop_close(l);
        cr_expect_eq(a.ended, 1);
        cr_expect_eq(a.result, -ECANCELED);
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &a.plenty), 0);
    }
}

Test(loop_net, accepting_ends_with_its_socket)
{
    struct loop *l = loop_fixture_open(NULL);
    struct io *io = loop_io(l);
    struct accepts a = { .loop = l };
    struct io_addr any = loop_fixture_loopback();
    int fd = io->ops->listen(io, &any, NULL);
    cr_assert_geq(fd, 0);
    cr_assert_eq(io->ops->accept(io, fd, accepts_on_accept, &a, NULL), 0);
    loop_fixture_settle(l);
    io->ops->shutdown(io, fd);
    loop_fixture_run(l);
    cr_expect_eq(a.ended, 1);
    cr_expect_eq(a.result, -EINVAL);
    loop_close(l);
}
