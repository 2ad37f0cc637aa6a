/* The ring of receive buffers: fewer and smaller than what arrives, and always all given back. */
#include <criterion/criterion.h>
#include <errno.h>

#include "tests/support/loop_fixture.h"

enum { SENDERS = 20, EACH_BYTES = 20000 };

struct senders {
    struct loop *loop;
    unsigned left;
};

struct sender {
    struct senders *all;
    uint64_t received;
    uint8_t letter;
};

static void on_recv(void *owner, struct slice bytes, int32_t result)
{
    struct sender *s = owner;
    if (bytes.size == 0) {
        cr_assert_eq(result, -ECANCELED);
        return;
    }
    for (size_t i = 0; i < bytes.size; i++)
        cr_assert_eq(bytes.data[i], s->letter, "a buffer of another connection");
    s->received += bytes.size;
    if (s->received == EACH_BYTES && --s->all->left == 0)
        loop_stop(s->all->loop);
}

static void many_senders_share(uint32_t buffer_count, uint32_t buffer_bytes)
{
    struct loop_options options = loop_fixture_options();
    options.recv_buffer_count = buffer_count;
    options.recv_buffer_bytes = buffer_bytes;
    struct loop *l = loop_fixture_open(&options);
    struct io *io = loop_io(l);
    struct senders all = { .loop = l, .left = SENDERS };
    struct sender senders[SENDERS];
    struct loop_fixture_done sent = { 0 };
    static uint8_t out[SENDERS][EACH_BYTES];
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){ .all = &all, .letter = (uint8_t)('A' + i) };
        memset(out[i], 'A' + i, EACH_BYTES);
        int fds[2];
        loop_fixture_pair(l, fds);
        cr_assert_eq(io->ops->recv(io, fds[1], on_recv, &senders[i], NULL), 0);
        cr_assert_eq(io->ops->send(io, fds[0], slice_of(out[i], EACH_BYTES), loop_fixture_on_done,
                                   &sent, NULL),
                     0);
    }
    if (all.left > 0)
        loop_fixture_run(l);
    cr_expect_eq(sent.count, SENDERS);
    cr_expect_gt(loop_counters(l)->recv_without_buffer, 0, "the ring ran dry, as meant here");
    loop_close(l);
}

Test(loop_recv, many_senders_share_two_small_buffers, .timeout = 60)
{
    many_senders_share(2, 64);
}

Test(loop_recv, one_buffer_is_enough, .timeout = 60)
{
    many_senders_share(1, 256);
}

struct stopper {
    struct loop *loop;
    struct io_ref recv;
    unsigned calls;
    unsigned ended;
    int32_t result;
    uint64_t bytes;
};

static void stopper_on_recv(void *owner, struct slice bytes, int32_t result)
{
    struct stopper *s = owner;
    cr_assert_eq(s->ended, 0, "a callback after the last one");
    s->calls++;
    s->bytes += bytes.size;
    io_cancel(loop_io(s->loop), s->recv); /* each time: twice does no harm */
    if (bytes.size > 0)
        return;
    s->ended++;
    s->result = result;
}

Test(loop_recv, cancel_from_its_callback_ends_it_once)
{
    struct loop *l = loop_fixture_open(NULL);
    struct io *io = loop_io(l);
    int fds[2];
    loop_fixture_pair(l, fds);
    struct stopper s = { .loop = l };
    struct loop_fixture_done sent = { 0 };
    cr_assert_eq(io->ops->recv(io, fds[1], stopper_on_recv, &s, &s.recv), 0);
    cr_assert_eq(io->ops->send(io, fds[0], slice_of("abc", 3), loop_fixture_on_done, &sent, NULL),
                 0);
    loop_fixture_settle(l);
    cr_expect_eq(s.bytes, 3);
    cr_expect_eq(s.ended, 1);
    cr_expect_eq(s.result, -ECANCELED);
    cr_assert_eq(io->ops->send(io, fds[0], slice_of("de", 2), loop_fixture_on_done, &sent, NULL),
                 0);
    loop_fixture_settle(l);
    cr_expect_eq(s.calls, 2, "what comes later stays in the socket");
    struct loop_fixture_sink rest = { 0 };
    cr_assert_eq(io->ops->recv(io, fds[1], loop_fixture_on_recv, &rest, NULL), 0);
    loop_fixture_settle(l);
    cr_expect_eq(rest.bytes, 2);
    loop_close(l);
}

Test(loop_recv, cancel_at_the_end_of_the_stream_still_ends_it_once)
{
    struct loop *l = loop_fixture_open(NULL);
    struct io *io = loop_io(l);
    int fds[2];
    loop_fixture_pair(l, fds);
    struct loop_fixture_sink sink = { 0 };
    struct io_ref ref;
    cr_assert_eq(io->ops->recv(io, fds[1], loop_fixture_on_recv, &sink, &ref), 0);
    io->ops->close(io, fds[0]);
    io_cancel(io, ref);
    loop_fixture_settle(l);
    cr_expect_eq(sink.ended, 1);
    cr_expect(sink.result == 0 || sink.result == -ECANCELED);
    loop_close(l);
}
