/* Hosts that die without a word. The nets' timers run twenty times faster here, so that what
 * takes seconds takes no time; nothing is asserted about how long anything took. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "rpc/peer_codec.h"
#include "tests/support/peer_rig.h"

enum { FASTER = 20 };

static struct peer_rig rig;
static struct peer_rig_node *const a = &rig.nodes[0];
static struct peer_rig_node *const b = &rig.nodes[1];

static const struct io_ops *real_ops;
static struct io_ops fast_ops;

static bool fast_timer_set(struct io *io, struct timer *t, uint64_t deadline_ms)
{
    uint64_t now_ms = io_now_ms(io);
    bool is_patience = t == &rig.patience;
    uint64_t after_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;
    return real_ops->timer_set(io, t, now_ms + (is_patience ? after_ms : after_ms / FASTER));
}

static void fast_open(void)
{
    peer_rig_open(&rig);
    real_ops = rig.io->ops;
    fast_ops = *real_ops;
    fast_ops.timer_set = fast_timer_set;
    rig.io->ops = &fast_ops;
    for (size_t i = 0; i < 2; i++) {
        rig.nodes[i].options.handshake_timeout_ms = 500 * FASTER;
        rig.nodes[i].options.backoff_min_ms = FASTER;
        rig.nodes[i].options.backoff_max_ms = 10 * FASTER;
    }
}

static void fast_done(void)
{
    rig.io->ops = real_ops;
    peer_rig_close(&rig);
}

static uint64_t silent(const struct peer_rig_node *n)
{
    return peer_net_counters(n->net)->connections_silent;
}

static bool b_noticed(struct peer_rig *r)
{
    (void)r;
    return silent(b) > 0;
}

Test(peer_silence, an_accepted_connection_without_a_byte, .init = fast_open, .fini = fast_done)
{
    peer_rig_node_open(b, 2);
    const char *nowhere = "http://127.0.0.1:1";
    cr_assert_eq(peer_net_add(b->net, a->id, &nowhere, 1), PEER_OK);
    struct peer_rig_raw raw;
    peer_rig_raw_open(&raw, b);
    struct peer_hello hello = a->options.self;
    hello.to_member_id = b->id;
    struct peer_out *out = peer_encode_hello(&hello, NULL, PEER_UNWELCOME_NOW);
    peer_rig_raw_send(&raw, slice_of(out->bytes, out->size));
    free(out);
    peer_rig_run(&rig, b_noticed);
    peer_rig_raw_wait_end(&raw);
    peer_rig_raw_close(&raw);
}

/* A member that accepts, says Hello, and then nothing. */
struct mute {
    int listen_fd;
    struct io_ref accept_ref;
    bool accepting;
    int fd;
    struct io_ref recv_ref;
    bool receiving;
    bool sending;
    size_t received_bytes;
    struct peer_out *hello;
};

static struct mute mute;

static void mute_on_sent(void *owner, int32_t result)
{
    (void)owner;
    (void)result;
    mute.sending = false;
}

static void mute_on_recv(void *owner, struct slice bytes, int32_t result)
{
    (void)owner;
    (void)result;
    if (bytes.size == 0)
        mute.receiving = false;
    mute.received_bytes += bytes.size;
}

static void mute_on_accept(void *owner, int fd)
{
    struct io *io = owner;
    if (fd < 0) {
        mute.accepting = false;
        return;
    }
    if (mute.fd >= 0) { /* once is enough */
        io->ops->close(io, fd);
        return;
    }
    mute.fd = fd;
    mute.receiving = true;
    mute.sending = true;
    cr_assert_eq(io->ops->recv(io, fd, mute_on_recv, NULL, &mute.recv_ref), 0);
    cr_assert_eq(io->ops->send(io, fd, slice_of(mute.hello->bytes, mute.hello->size), mute_on_sent,
                               NULL, NULL),
                 0);
}

static bool mute_is_done(struct peer_rig *r)
{
    (void)r;
    return !mute.accepting && !mute.receiving && !mute.sending;
}

static bool a_noticed(struct peer_rig *r)
{
    (void)r;
    return silent(a) > 0;
}

Test(peer_silence, a_dialled_connection_without_an_answer, .init = fast_open, .fini = fast_done)
{
    struct io *io = rig.io;
    struct peer_hello hello = b->options.self;
    hello.to_member_id = a->id;
    mute = (struct mute){ .fd = -1, .hello = peer_encode_hello(&hello, NULL, PEER_UNWELCOME_NOW) };
    mute.listen_fd = io->ops->listen(io, &b->addr, &b->addr);
    cr_assert_geq(mute.listen_fd, 0);
    mute.accepting = true;
    cr_assert_eq(io->ops->accept(io, mute.listen_fd, mute_on_accept, io, &mute.accept_ref), 0);
    peer_rig_node_open(a, 1);
    peer_rig_add(a, b);
    peer_rig_run(&rig, a_noticed);
    cr_assert_eq(a->links_up, 1);
    cr_assert_eq(a->links_down, 1, "the link does not stay up");
    cr_assert_eq(a->deaths, 0, "silence proves no death");
    io_cancel(io, mute.accept_ref);
    peer_rig_node_close(a);
    peer_rig_run(&rig, mute_is_done);
    io->ops->close(io, mute.fd);
    io->ops->close(io, mute.listen_fd);
    free(mute.hello);
}

static uint64_t frames_wanted;

static bool pings_went(struct peer_rig *r)
{
    (void)r;
    return peer_net_is_up(a->net, b->id) && peer_net_is_up(b->net, a->id) &&
           peer_net_counters(a->net)->frames_sent >= frames_wanted;
}

Test(peer_silence, members_that_have_nothing_to_say_stay_connected, .init = fast_open,
     .fini = fast_done)
{
    peer_rig_node_open(a, 1);
    peer_rig_node_open(b, 2);
    peer_rig_add(a, b);
    peer_rig_add(b, a);
    frames_wanted = 24; /* pings and answers, long past all the limits */
    peer_rig_run(&rig, pings_went);
    cr_assert_eq(a->links_down + b->links_down, 0);
    cr_assert_eq(silent(a) + silent(b), 0);
}
