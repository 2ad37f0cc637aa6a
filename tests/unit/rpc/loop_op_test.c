/* Slots: caps, generations, cancelling, and what is in flight when the loop closes. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "rpc/loop_internal.h"
#include "tests/support/loop_fixture.h"

static void pipe_full(int fds[2])
{
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    cr_assert_gt(fcntl(fds[1], F_SETPIPE_SZ, 4096), 0);
    cr_assert_eq(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    static const uint8_t page[4096];
    while (write(fds[1], page, sizeof page) > 0)
        ;
    cr_assert_eq(fcntl(fds[1], F_SETFL, 0), 0);
}

Test(loop_op, refuses_one_more_than_its_cap_and_takes_it_when_there_is_room)
{
    struct loop_options options = loop_fixture_options();
    options.op_count_max = 64;
    struct loop *l = loop_fixture_open(&options);
    struct io *io = loop_io(l);
    int fds[2];
    loop_fixture_pair(l, fds);
    static struct loop_fixture_sink sinks[64];
    struct io_ref refs[64];
    unsigned begun = 0;
    while (begun < 64 &&
           io->ops->recv(io, fds[0], loop_fixture_on_recv, &sinks[begun], &refs[begun]) == 0)
        begun++;
    cr_expect_eq(begun, 63, "one is the loop's own");
    struct io_ref ref = { 7, 7 };
    cr_expect_eq(io->ops->recv(io, fds[0], loop_fixture_on_recv, &sinks[63], &ref), -EAGAIN);
    cr_expect_eq(ref.slot, 7, "untouched");
    struct loop_fixture_done done = { 0 };
    struct io_addr any = loop_fixture_loopback();
    cr_expect_eq(io->ops->connect(io, &any, loop_fixture_on_done, &done, NULL), -EAGAIN);
    cr_expect_eq(io->ops->accept(io, fds[0], NULL, NULL, NULL), -EAGAIN);
    cr_expect_eq(io->ops->send(io, fds[0], slice_of("x", 1), loop_fixture_on_done, &done, NULL),
                 -EAGAIN);
    cr_expect_eq(io->ops->file_sync(io, fds[0], loop_fixture_on_done, &done, NULL), -EAGAIN);
    cr_expect_eq(
        io->ops->file_write(io, fds[0], slice_of("x", 1), 0, 0, loop_fixture_on_done, &done, NULL),
        -EAGAIN);
    cr_expect_eq(loop_watch(l, fds[0], NULL, NULL), -EAGAIN);
    cr_expect_eq(loop_counters(l)->operations_refused, 8);
    io_cancel(io, refs[5]);
    loop_fixture_settle(l);
    cr_expect_eq(sinks[5].ended, 1);
    cr_expect_eq(io->ops->recv(io, fds[0], loop_fixture_on_recv, &sinks[63], NULL), 0);
    cr_expect_eq(done.count, 0);
    loop_close(l);
    cr_expect_eq(sinks[63].result, -ECANCELED);
}

Test(loop_op, a_stale_reference_names_nothing)
{
    struct loop *l = loop_fixture_open(NULL);
    struct io *io = loop_io(l);
    int fds[2];
    loop_fixture_pair(l, fds);
    struct loop_fixture_sink first = { 0 }, second = { 0 };
    struct io_ref old, new;
    cr_assert_eq(io->ops->recv(io, fds[0], loop_fixture_on_recv, &first, &old), 0);
    io_cancel(io, old);
    loop_fixture_settle(l);
    cr_assert_eq(first.ended, 1);
    cr_assert_eq(io->ops->recv(io, fds[0], loop_fixture_on_recv, &second, &new), 0);
    cr_expect_eq(new.slot, old.slot);
    cr_expect_neq(new.generation, old.generation);
    io_cancel(io, old);
    io_cancel(io, (struct io_ref){ 0 });
    io_cancel(io, (struct io_ref){ .slot = UINT32_MAX, .generation = 1 });
    loop_fixture_settle(l);
    cr_expect_eq(second.ended, 0);
    loop_close(l);
}

Test(loop_op, a_late_completion_is_dropped_and_counted)
{
    struct loop *l = loop_fixture_open(NULL);
    struct io *io = loop_io(l);
    int fds[2];
    loop_fixture_pair(l, fds);
    struct loop_fixture_sink sink = { 0 };
    struct io_ref ref;
    cr_assert_eq(io->ops->recv(io, fds[0], loop_fixture_on_recv, &sink, &ref), 0);
    struct io_uring_cqe late = {
        .user_data = (uint64_t)(ref.generation - 1) << 32 | ref.slot,
        .res = -EIO,
    };
    loop_op_on_cqe(l, &late);
    late.user_data = (uint64_t)1 << 32 | 250; /* a slot never used */
    loop_op_on_cqe(l, &late);
    cr_expect_eq(sink.ended, 0);
    cr_expect_eq(loop_counters(l)->completions_late, 2);
    loop_close(l);
    cr_expect_eq(sink.ended, 1);
}

Test(loop_op, generations_skip_zero_when_they_wrap)
{
    struct loop *l = loop_fixture_open(NULL);
    struct loop_op *op;
    cr_assert_eq(loop_op_take(l, LOOP_OP_SYNC, -1, NULL, &op), 0);
    op->generation = UINT32_MAX;
    loop_op_drop(l, op);
    cr_expect_eq(op->generation, 1);
    loop_close(l);
}

/* ---- cancel, once for each kind ---- */

struct stuck {
    struct loop *loop;
    int fds[2];
    uint8_t *bytes;
};

enum { STUCK_BYTES = 32 << 20 };

static void on_accept(void *owner, int fd)
{
    loop_fixture_on_done(owner, fd);
}

static void on_recv(void *owner, struct slice bytes, int32_t result)
{
    cr_assert_eq(bytes.size, 0);
    loop_fixture_on_done(owner, result);
}

static int begin_accept(struct stuck *s, struct loop_fixture_done *done, struct io_ref *ret_ref)
{
    struct io *io = loop_io(s->loop);
    struct io_addr any = loop_fixture_loopback();
    s->fds[0] = io->ops->listen(io, &any, NULL);
    return io->ops->accept(io, s->fds[0], on_accept, done, ret_ref);
}

/* Past a full backlog the kernel drops SYNs, so this connect waits. */
static int begin_connect(struct stuck *s, struct loop_fixture_done *done, struct io_ref *ret_ref)
{
    struct io *io = loop_io(s->loop);
    struct io_addr addr = loop_fixture_loopback();
    s->fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(s->fds[0], (struct sockaddr *)&addr.sa, addr.sa_size), 0);
    cr_assert_eq(listen(s->fds[0], 0), 0);
    cr_assert_eq(getsockname(s->fds[0], (struct sockaddr *)&addr.sa, &addr.sa_size), 0);
    s->fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(s->fds[1], (struct sockaddr *)&addr.sa, addr.sa_size), 0);
    return io->ops->connect(io, &addr, loop_fixture_on_done, done, ret_ref);
}

static int begin_recv(struct stuck *s, struct loop_fixture_done *done, struct io_ref *ret_ref)
{
    struct io *io = loop_io(s->loop);
    loop_fixture_pair(s->loop, s->fds);
    return io->ops->recv(io, s->fds[0], on_recv, done, ret_ref);
}

static int begin_send(struct stuck *s, struct loop_fixture_done *done, struct io_ref *ret_ref)
{
    struct io *io = loop_io(s->loop);
    loop_fixture_pair(s->loop, s->fds);
    s->bytes = calloc(1, STUCK_BYTES);
    struct slice bytes = slice_of(s->bytes, STUCK_BYTES);
    return io->ops->send(io, s->fds[0], bytes, loop_fixture_on_done, done, ret_ref);
}

static int begin_write(struct stuck *s, struct loop_fixture_done *done, struct io_ref *ret_ref)
{
    struct io *io = loop_io(s->loop);
    pipe_full(s->fds);
    return io->ops->file_write(io, s->fds[1], slice_of("x", 1), 0, 0, loop_fixture_on_done, done,
                               ret_ref);
}

typedef int begin_fn(struct stuck *s, struct loop_fixture_done *done, struct io_ref *ret_ref);

static const struct {
    const char *kind;
    begin_fn *begin;
} kinds[] = {
    { "accept", begin_accept }, { "connect", begin_connect }, { "recv", begin_recv },
    { "send", begin_send },     { "write", begin_write },
};

enum { KINDS = sizeof kinds / sizeof *kinds };

static void stuck_free(struct stuck *s)
{
    close(s->fds[0]);
    close(s->fds[1]);
    free(s->bytes);
}

Test(loop_op, every_kind_can_be_cancelled, .timeout = 60)
{
    for (size_t i = 0; i < KINDS; i++) {
        struct stuck s = { .loop = loop_fixture_open(NULL), .fds = { -1, -1 } };
        struct loop_fixture_done done = { 0 };
        struct io_ref ref;
        cr_assert_eq(kinds[i].begin(&s, &done, &ref), 0, "%s", kinds[i].kind);
        loop_fixture_settle(s.loop);
        cr_expect_eq(done.count, 0, "%s is not stuck: %d", kinds[i].kind, done.result);
        io_cancel(loop_io(s.loop), ref);
        cr_expect_eq(done.count, 0, "%s completed inside io_cancel", kinds[i].kind);
        io_cancel(loop_io(s.loop), ref);
        loop_fixture_settle(s.loop);
        cr_expect_eq(done.count, 1, "%s", kinds[i].kind);
        cr_expect_eq(done.result, -ECANCELED, "%s", kinds[i].kind);
        loop_close(s.loop);
        stuck_free(&s);
    }
}

Test(loop_op, every_kind_can_be_cancelled_in_the_turn_that_began_it, .timeout = 60)
{
    for (size_t i = 0; i < KINDS; i++) {
        struct stuck s = { .loop = loop_fixture_open(NULL), .fds = { -1, -1 } };
        struct loop_fixture_done done = { 0 };
        struct io_ref ref;
        cr_assert_eq(kinds[i].begin(&s, &done, &ref), 0, "%s", kinds[i].kind);
        io_cancel(loop_io(s.loop), ref);
        cr_expect_eq(done.count, 0, "%s completed inside io_cancel", kinds[i].kind);
        loop_fixture_settle(s.loop);
        cr_expect_eq(done.count, 1, "%s", kinds[i].kind);
        cr_expect_eq(done.result, -ECANCELED, "%s", kinds[i].kind);
        loop_close(s.loop);
        stuck_free(&s);
    }
}

Test(loop_op, close_ends_whatever_is_in_flight, .timeout = 60)
{
    struct loop *l = loop_fixture_open(NULL);
    struct stuck s[KINDS];
    struct loop_fixture_done done[KINDS] = { 0 };
    for (size_t i = 0; i < KINDS; i++) {
        s[i] = (struct stuck){ .loop = l, .fds = { -1, -1 } };
        cr_assert_eq(kinds[i].begin(&s[i], &done[i], NULL), 0, "%s", kinds[i].kind);
    }
    loop_fixture_settle(l);
    loop_close(l);
    for (size_t i = 0; i < KINDS; i++) {
        cr_expect_eq(done[i].count, 1, "%s", kinds[i].kind);
        cr_expect_eq(done[i].result, -ECANCELED, "%s", kinds[i].kind);
        stuck_free(&s[i]);
    }
}

/* Owners answer the end of one operation with the next. */
struct stubborn {
    struct loop *loop;
    int fd;
    struct timer timer;
    unsigned count;
    int refused;
    bool timer_refused;
};

static void stubborn_on_recv(void *owner, struct slice bytes, int32_t result)
{
    struct stubborn *s = owner;
    struct io *io = loop_io(s->loop);
    cr_assert(bytes.size == 0 && result == -ECANCELED);
    s->count++;
    s->refused = io->ops->recv(io, s->fd, stubborn_on_recv, s, NULL);
    s->timer_refused = !io_timer_set(io, &s->timer, 0);
}

static void stubborn_on_timer(void *owner)
{
    (void)owner;
    cr_assert_fail("timers do not run while the loop closes");
}

Test(loop_op, nothing_begins_while_the_loop_closes)
{
    struct loop *l = loop_fixture_open(NULL);
    int fds[2];
    loop_fixture_pair(l, fds);
    struct stubborn s = { .loop = l, .fd = fds[0] };
    struct io *io = loop_io(l);
    timer_init(&s.timer, stubborn_on_timer, &s);
    cr_assert_eq(io->ops->recv(io, fds[0], stubborn_on_recv, &s, NULL), 0);
    cr_assert(io_timer_set(io, &s.timer, 0));
    loop_close(l);
    cr_expect_eq(s.count, 1);
    cr_expect_eq(s.refused, -ECANCELED);
    cr_expect(s.timer_refused);
}

/* ---- more in one turn than the submission queue holds ---- */

Test(loop_op, a_full_submission_queue_is_submitted_and_goes_on, .timeout = 60)
{
    struct loop_options options = loop_fixture_options();
    options.op_count_max = LOOP_SQ_ENTRIES_MAX * 2;
    struct loop *l = loop_fixture_open(&options);
    struct io *io = loop_io(l);
    int fds[2];
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    struct loop_fixture_done done = { 0 };
    for (unsigned i = 0; i < options.op_count_max - 1; i++)
        cr_assert_eq(io->ops->file_sync(io, fds[0], loop_fixture_on_done, &done, NULL), 0);
    cr_expect_gt(loop_counters(l)->submissions_full, 0);
    cr_expect_eq(done.count, 0);
    loop_fixture_settle(l);
    cr_expect_eq(done.count, options.op_count_max - 1);
    cr_expect_eq(done.result, -EINVAL, "a pipe cannot be synced");
    loop_close(l);
}

/* ---- more completions at once than the completion queue holds ---- */

Test(loop_op, an_overflowing_completion_queue_loses_nothing, .timeout = 60)
{
    struct loop *l = loop_fixture_open(NULL);
    struct io *io = loop_io(l);
    int fds[2];
    loop_fixture_pair(l, fds);
    unsigned more_than_fit = 4 * loop_ring_cq_entries(&l->options);
    struct loop_fixture_sink sink = { .stop = l };
    cr_assert_eq(io->ops->recv(io, fds[1], loop_fixture_on_recv, &sink, NULL), 0);
    struct loop_fixture_done sent = { .stop = l };
    for (unsigned i = 0; i < more_than_fit; i++) {
        struct io_uring_sqe *sqe = loop_ring_sqe(l);
        cr_assert(sqe);
        io_uring_prep_nop(sqe);
        io_uring_sqe_set_data64(sqe, 0);
    }
    cr_assert_eq(io->ops->send(io, fds[0], slice_of("abc", 3), loop_fixture_on_done, &sent, NULL),
                 0);
    loop_fixture_run(l);
    loop_fixture_settle(l);
    cr_expect_geq(loop_counters(l)->completions, more_than_fit);
    cr_expect_eq(sent.result, 3);
    cr_expect_eq(sink.bytes, 3);
    io->ops->close(io, fds[0]);
    loop_fixture_run(l);
    cr_expect_eq(sink.ended, 1);
    loop_close(l);
}
