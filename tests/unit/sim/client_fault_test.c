#include <criterion/criterion.h>
#include <errno.h>

#include "tests/sim/client.h"
#include "tests/support/grpc_fixture.h"
#include "tests/support/loop_fixture.h"

/* An io that hands on to a real one and refuses the nth operation. */
struct refusing_io {
    struct io io; /* first */
    struct io_ops ops;
    struct io *real;
    unsigned refuse_at; /* 0: none */
    unsigned operations;
};

static struct refusing_io *refusing(struct io *io)
{
    return (struct refusing_io *)(void *)io;
}

static bool refuses(struct io *io)
{
    struct refusing_io *r = refusing(io);
    return ++r->operations == r->refuse_at;
}

static uint64_t now_ms(struct io *io)
{
    return io_now_ms(refusing(io)->real);
}

static bool timer_set(struct io *io, struct timer *t, uint64_t deadline_ms)
{
    return io_timer_set(refusing(io)->real, t, deadline_ms);
}

static void timer_cancel(struct io *io, struct timer *t)
{
    io_timer_cancel(refusing(io)->real, t);
}

static int connect_to(struct io *io, const struct io_addr *addr, io_done_fn *fn, void *owner,
                      struct io_ref *ret_ref)
{
    struct io *real = refusing(io)->real;
    return refuses(io) ? -EAGAIN : real->ops->connect(real, addr, fn, owner, ret_ref);
}

static int recv_on(struct io *io, int fd, io_recv_fn *fn, void *owner, struct io_ref *ret_ref)
{
    struct io *real = refusing(io)->real;
    return refuses(io) ? -EAGAIN : real->ops->recv(real, fd, fn, owner, ret_ref);
}

static int send_on(struct io *io, int fd, struct slice bytes, io_done_fn *fn, void *owner,
                   struct io_ref *ret_ref)
{
    struct io *real = refusing(io)->real;
    return refuses(io) ? -EAGAIN : real->ops->send(real, fd, bytes, fn, owner, ret_ref);
}

static void shutdown_of(struct io *io, int fd)
{
    refusing(io)->real->ops->shutdown(refusing(io)->real, fd);
}

static void close_of(struct io *io, int fd)
{
    refusing(io)->real->ops->close(refusing(io)->real, fd);
}

static void cancel(struct io *io, struct io_ref ref)
{
    io_cancel(refusing(io)->real, ref);
}

static void refusing_init(struct refusing_io *r, struct io *real, unsigned refuse_at)
{
    *r = (struct refusing_io){ .ops = { .now_ms = now_ms,
                                        .timer_set = timer_set,
                                        .timer_cancel = timer_cancel,
                                        .connect = connect_to,
                                        .recv = recv_on,
                                        .send = send_on,
                                        .shutdown = shutdown_of,
                                        .close = close_of,
                                        .cancel = cancel },
                               .real = real,
                               .refuse_at = refuse_at };
    r->io.ops = &r->ops;
}

/* ---- a server that does one thing to whoever comes ---- */

enum behaviour { CLOSES, TALKS_NONSENSE, SAYS_NOTHING, BEHAVIOURS };

struct server {
    struct io *io;
    enum behaviour behaviour;
    int fd;
    struct io_ref accept_ref;
    int accepted[64];
    unsigned accepted_count;
};

static void on_nonsense_sent(void *owner, int32_t result)
{
    (void)owner;
    (void)result;
}

static void on_accept(void *owner, int fd)
{
    static const char nonsense[] = "HTTP/1.1 400 no\r\n\r\nabcdefghijklmnopqrstuvwxyz0123456789";
    struct server *s = owner;
    if (fd < 0)
        return;
    s->accepted_count++;
    cr_assert_lt(s->accepted_count, sizeof s->accepted / sizeof s->accepted[0], "no pauses");
    s->accepted[s->accepted_count - 1] = fd;
    if (s->behaviour == CLOSES)
        s->io->ops->shutdown(s->io, fd);
    else if (s->behaviour == TALKS_NONSENSE)
        cr_assert_eq(s->io->ops->send(s->io, fd, slice_of(nonsense, sizeof nonsense),
                                      on_nonsense_sent, NULL, NULL),
                     0);
}

static struct io_addr server_open(struct server *s, struct io *io, enum behaviour behaviour)
{
    struct io_addr any = loop_fixture_loopback(), bound;
    *s = (struct server){ .io = io, .behaviour = behaviour };
    s->fd = io->ops->listen(io, &any, &bound);
    cr_assert_geq(s->fd, 0);
    cr_assert_eq(io->ops->accept(io, s->fd, on_accept, s, &s->accept_ref), 0);
    return bound;
}

static void server_close(struct server *s)
{
    for (unsigned i = 0; i < s->accepted_count; i++)
        s->io->ops->close(s->io, s->accepted[i]);
    s->io->ops->close(s->io, s->fd);
}

/* ---- the tests ---- */

static struct loop *loop;
static unsigned told, told_until, closed;

static void on_done(void *owner, struct sim_call *call)
{
    (void)owner;
    (void)call;
    if (++told == told_until)
        loop_stop(loop);
}

static void on_closed(void *owner)
{
    (void)owner;
    closed++;
    loop_stop(loop);
}

static struct sim_client *client_open(struct io *io, const struct io_addr *addr)
{
    const struct sim_client_options options = {
        .io = io,
        .endpoints = addr,
        .endpoint_count = 1,
        .connect_timeout_ms = 200,
        .pause_min_ms = 2,
        .pause_max_ms = 16,
        .calls_max = 16,
        .response_bytes_max = 1 << 20,
    };
    struct sim_client *c = sim_client_open(&options);
    cr_assert(c);
    return c;
}

static void call_and_wait(struct sim_client *c, struct sim_call *call, const char *path,
                          uint32_t timeout_ms)
{
    call->path = path;
    call->request = slice_of_text("hello");
    call->timeout_ms = timeout_ms;
    call->done = on_done;
    told_until = told + 1;
    cr_assert(sim_client_call(c, call));
    loop_fixture_run(loop);
    cr_assert_eq(told, told_until);
}

static void client_close(struct sim_client *c)
{
    closed = 0;
    sim_client_close(c, on_closed, NULL);
    while (!closed)
        loop_fixture_run(loop);
}

Test(sim_client_fault, servers_that_are_none)
{
    for (enum behaviour behaviour = 0; behaviour < BEHAVIOURS; behaviour++) {
        struct server server;
        struct sim_call call = { 0 };
        loop = loop_fixture_open(NULL);
        struct io_addr addr = server_open(&server, loop_io(loop), behaviour);
        struct sim_client *c = client_open(loop_io(loop), &addr);
        for (int i = 0; i < 4; i++) {
            call_and_wait(c, &call, "/test.Echo/Unary", 30);
            cr_assert_neq(call.outcome, SIM_ANSWERED);
        }
        /* Silence for a whole call's time, and the connection is given up. */
        cr_assert_geq(server.accepted_count, 2, "behaviour %d", behaviour);
        client_close(c);
        sim_call_done(&call);
        io_cancel(loop_io(loop), server.accept_ref);
        loop_fixture_settle(loop);
        server_close(&server);
        loop_close(loop);
    }
}

/* Each operation refused in turn: all calls end, and it can be closed. */
Test(sim_client_fault, nth_operation_is_refused)
{
    struct grpc_fixture *server = grpc_fixture_open(NULL);
    unsigned answered_all = 0;
    for (unsigned nth = 1; nth <= 12; nth++) {
        struct refusing_io io;
        struct sim_call call = { 0 }, other = { 0 };
        unsigned answered = 0;
        loop = loop_fixture_open(NULL);
        refusing_init(&io, loop_io(loop), nth);
        struct sim_client *c = client_open(&io.io, grpc_fixture_addr(server));
        for (int i = 0; i < 4; i++) {
            call_and_wait(c, &call, "/test.Echo/Unary", 2000);
            answered += call.outcome == SIM_ANSWERED;
            if (call.outcome == SIM_ANSWERED)
                cr_assert(slice_equal(call.response, slice_of_text("hello")));
        }
        cr_assert_geq(answered, 3, "one refusal costs one call: nth %u", nth);
        answered_all += answered == 4;
        other =
            (struct sim_call){ .path = "/test.Echo/Hold", .timeout_ms = 60000, .done = on_done };
        cr_assert(sim_client_call(c, &other));
        client_close(c);
        cr_assert_neq(other.outcome, SIM_ANSWERED);
        cr_assert_gt(io.operations, 5);
        sim_call_done(&call);
        sim_call_done(&other);
        loop_close(loop);
    }
    cr_assert_gt(answered_all, 0, "12 is past the last operation");
    grpc_fixture_close(server, NULL);
}
