#include "tests/support/loop_fixture.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>

struct loop_options loop_fixture_options(void)
{
    return (struct loop_options){
        .op_count_max = 256,
        .timer_count_max = 64,
        .recv_buffer_count = 64,
        .recv_buffer_bytes = 4096,
        .thread_counts = { 2, 1 },
    };
}

struct loop *loop_fixture_open(const struct loop_options *options)
{
    struct loop_options usual = loop_fixture_options();
    struct loop *l = NULL;
    char detail[256];
    enum loop_err err = loop_open(&l, options ? options : &usual, detail, sizeof detail);
    cr_assert_eq(err, LOOP_OK, "%s: %s", loop_strerror(err), detail);
    return l;
}

void loop_fixture_run(struct loop *l)
{
    enum loop_err err = loop_run(l);
    cr_assert_eq(err, LOOP_OK, "%s", loop_strerror(err));
}

struct settle {
    struct loop *loop;
    struct timer timer;
    uint64_t completions;
    bool is_quiet;
};

/* A quiet while is not proof, but what is tested for is there long before. */
enum { QUIET_MS = 20 };

static void settle_on_timer(void *owner)
{
    struct settle *s = owner;
    struct io *io = loop_io(s->loop);
    uint64_t now = loop_counters(s->loop)->completions;
    if (now == s->completions) {
        s->is_quiet = true;
        loop_stop(s->loop);
        return;
    }
    s->completions = now;
    cr_assert(io_timer_set(io, &s->timer, io_now_ms(io) + QUIET_MS));
}

void loop_fixture_settle(struct loop *l)
{
    struct settle s = { .loop = l, .completions = UINT64_MAX };
    timer_init(&s.timer, settle_on_timer, &s);
    cr_assert(io_timer_set(loop_io(l), &s.timer, io_now_ms(loop_io(l))));
    while (!s.is_quiet) /* others may stop the loop meanwhile */
        loop_fixture_run(l);
}

struct io_addr loop_fixture_loopback(void)
{
    struct sockaddr_in ipv4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct io_addr addr = { .sa_size = sizeof ipv4 };
    memcpy(&addr.sa, &ipv4, sizeof ipv4);
    return addr;
}

struct pair {
    struct loop *loop;
    int connected;
    int accepted;
};

static void pair_on_connect(void *owner, int32_t result)
{
    struct pair *p = owner;
    cr_assert_geq(result, 0, "connect: %s", strerror(-result));
    p->connected = result;
    if (p->accepted >= 0)
        loop_stop(p->loop);
}

static void pair_on_accept(void *owner, int fd)
{
    struct pair *p = owner;
    if (p->accepted >= 0) {
        cr_assert_eq(fd, -ECANCELED);
        loop_stop(p->loop);
        return;
    }
    cr_assert_geq(fd, 0, "accept: %s", strerror(-fd));
    p->accepted = fd;
    if (p->connected >= 0)
        loop_stop(p->loop);
}

void loop_fixture_pair(struct loop *l, int ret_fds[2])
{
    struct io *io = loop_io(l);
    struct pair p = { .loop = l, .connected = -1, .accepted = -1 };
    struct io_addr any = loop_fixture_loopback(), bound;
    int fd = io->ops->listen(io, &any, &bound);
    cr_assert_geq(fd, 0);
    struct io_ref accept;
    cr_assert_eq(io->ops->accept(io, fd, pair_on_accept, &p, &accept), 0);
    cr_assert_eq(io->ops->connect(io, &bound, pair_on_connect, &p, NULL), 0);
    loop_fixture_run(l);
    io_cancel(io, accept);
    loop_fixture_run(l);
    io->ops->close(io, fd);
    ret_fds[0] = p.connected;
    ret_fds[1] = p.accepted;
}

void loop_fixture_on_done(void *done, int32_t result)
{
    struct loop_fixture_done *d = done;
    d->count++;
    d->result = result;
    if (d->stop)
        loop_stop(d->stop);
}

void loop_fixture_on_recv(void *sink, struct slice bytes, int32_t result)
{
    struct loop_fixture_sink *s = sink;
    cr_assert_eq(s->ended, 0, "a callback after the last one");
    s->bytes += bytes.size;
    if (bytes.size > 0)
        return;
    s->ended++;
    s->result = result;
    if (s->stop)
        loop_stop(s->stop);
}
