#include <poll.h>
#include <unistd.h>

#include "base/assert.h"
#include "rpc/loop_internal.h"

/* Cancellations themselves; no op has generation 0. */
enum { USER_DATA_NONE = 0 };

static uint32_t op_slot(const struct loop *l, const struct loop_op *op)
{
    return (uint32_t)(op - l->ops);
}

static uint64_t op_user_data(const struct loop *l, const struct loop_op *op)
{
    return (uint64_t)op->generation << 32 | op_slot(l, op);
}

/* NULL when the generation has passed. */
static struct loop_op *op_find(struct loop *l, struct io_ref ref)
{
    if (ref.generation == 0 || ref.slot >= l->ops_touched)
        return NULL;
    struct loop_op *op = &l->ops[ref.slot];
    return op->kind != LOOP_OP_FREE && op->generation == ref.generation ? op : NULL;
}

int loop_op_take(struct loop *l, enum loop_op_kind kind, int fd, void *owner,
                 struct loop_op **ret_op)
{
    if (l->closing)
        return -ECANCELED;
    struct loop_op *op;
    if (l->ops_free != 0) {
        op = &l->ops[l->ops_free - 1];
        l->ops_free = op->free_next;
    } else if (l->ops_touched < l->options.op_count_max) {
        op = &l->ops[l->ops_touched++];
        op->generation = 1;
    } else {
        l->counters.operations_refused++;
        return -EAGAIN;
    }
    l->ops_live++;
    op->kind = kind;
    op->fd = fd;
    op->owner = owner;
    op->cancelled = false;
    list_init(&op->link);
    *ret_op = op;
    return 0;
}

void loop_op_drop(struct loop *l, struct loop_op *op)
{
    ASSERT(op->kind != LOOP_OP_FREE && l->ops_live > 0);
    list_remove(&op->link);
    op->kind = LOOP_OP_FREE;
    if (++op->generation == 0)
        op->generation = 1;
    op->free_next = l->ops_free;
    l->ops_free = op_slot(l, op) + 1;
    l->ops_live--;
}

static void op_prepare(struct loop *l, struct loop_op *op, struct io_uring_sqe *sqe)
{
    switch (op->kind) {
    case LOOP_OP_ACCEPT:
        loop_accept_prepare(op, sqe);
        break;
    case LOOP_OP_CONNECT:
        loop_connect_prepare(op, sqe);
        break;
    case LOOP_OP_RECV:
        loop_recv_prepare(op, sqe);
        break;
    case LOOP_OP_SEND:
        loop_send_prepare(op, sqe);
        break;
    case LOOP_OP_WRITE:
        loop_write_prepare(op, sqe);
        break;
    case LOOP_OP_SYNC:
        loop_sync_prepare(op, sqe);
        break;
    case LOOP_OP_WATCH:
        io_uring_prep_poll_multishot(sqe, op->fd, POLLIN);
        break;
    case LOOP_OP_WAKE:
        loop_wake_prepare(l, op, sqe);
        break;
    case LOOP_OP_FREE:
        ASSERT(op->kind != LOOP_OP_FREE);
    }
}

static bool op_arm(struct loop *l, struct loop_op *op)
{
    struct io_uring_sqe *sqe = loop_ring_sqe(l);
    if (!sqe)
        return false;
    op_prepare(l, op, sqe);
    io_uring_sqe_set_data64(sqe, op_user_data(l, op));
    op->state = LOOP_OP_ARMED;
    return true;
}

int loop_op_begin(struct loop *l, struct loop_op *op, struct io_ref *ret_ref)
{
    if (!op_arm(l, op)) {
        loop_op_drop(l, op);
        l->counters.operations_refused++;
        return -EAGAIN;
    }
    if (ret_ref)
        *ret_ref = (struct io_ref){ .slot = op_slot(l, op), .generation = op->generation };
    return 0;
}

void loop_op_again(struct loop *l, struct loop_op *op)
{
    /* It may be on the list of cancellations to submit, whose request is gone now. */
    list_remove(&op->link);
    op->state = LOOP_OP_WAITING;
    list_push_back(&l->waiting, &op->link);
}

void loop_op_finish(struct loop *l, struct loop_op *op, int32_t result)
{
    struct loop_op ended = *op;
    loop_op_drop(l, op);
    switch (ended.kind) {
    case LOOP_OP_ACCEPT:
        ended.fn.accept(ended.owner, result);
        break;
    case LOOP_OP_RECV:
        ended.fn.recv(ended.owner, (struct slice){ 0 }, result);
        break;
    case LOOP_OP_CONNECT:
        if (result < 0)
            close(ended.fd);
        ended.fn.done(ended.owner, result < 0 ? result : ended.fd);
        break;
    case LOOP_OP_SEND:
    case LOOP_OP_WRITE:
    case LOOP_OP_SYNC:
        ended.fn.done(ended.owner, result);
        break;
    case LOOP_OP_WATCH:
    case LOOP_OP_WAKE:
        break;
    case LOOP_OP_FREE:
        ASSERT(ended.kind != LOOP_OP_FREE);
    }
}

static bool op_submit_cancel(struct loop *l, struct loop_op *op)
{
    struct io_uring_sqe *sqe = loop_ring_sqe(l);
    if (!sqe)
        return false;
    io_uring_prep_cancel64(sqe, op_user_data(l, op), 0);
    io_uring_sqe_set_flags(sqe, IOSQE_CQE_SKIP_SUCCESS);
    io_uring_sqe_set_data64(sqe, USER_DATA_NONE);
    return true;
}

void loop_op_cancel(struct loop *l, struct loop_op *op)
{
    if (op->cancelled)
        return;
    op->cancelled = true;
    switch (op->state) {
    case LOOP_OP_ARMED:
        if (!op_submit_cancel(l, op))
            list_push_back(&l->cancels, &op->link);
        break;
    case LOOP_OP_WAITING:
        break; /* loop_op_resume sees the flag */
    case LOOP_OP_RESTING:
        timer_heap_cancel(&l->rests, &op->body.rest.timer);
        loop_op_again(l, op);
        break;
    }
}

void loop_op_cancel_ref(struct io *io, struct io_ref ref)
{
    struct loop *l = loop_of(io);
    struct loop_op *op = op_find(l, ref);
    if (op)
        loop_op_cancel(l, op);
}

void loop_op_resume(struct loop *l)
{
    while (!list_is_empty(&l->cancels)) {
        struct loop_op *op = LIST_ENTRY(l->cancels.next, struct loop_op, link);
        if (!op_submit_cancel(l, op))
            break;
        list_remove(&op->link);
    }
    while (!list_is_empty(&l->waiting)) {
        struct loop_op *op = LIST_ENTRY(l->waiting.next, struct loop_op, link);
        if (op->cancelled) {
            loop_op_finish(l, op, -ECANCELED);
            continue;
        }
        if (!op_arm(l, op))
            break;
        list_remove(&op->link);
    }
}

static void watch_on_cqe(struct loop *l, struct loop_op *op, int32_t result, bool more)
{
    if (result < 0 && !more) {
        loop_op_finish(l, op, result);
        return;
    }
    if (!more)
        loop_op_again(l, op);
    if (result >= 0)
        op->fn.watch(op->owner);
}

void loop_op_on_cqe(struct loop *l, const struct io_uring_cqe *cqe)
{
    if (cqe->user_data == USER_DATA_NONE)
        return;
    struct io_ref ref = { .slot = (uint32_t)cqe->user_data,
                          .generation = (uint32_t)(cqe->user_data >> 32) };
    struct loop_op *op = op_find(l, ref);
    if (!op) {
        l->counters.completions_late++;
        loop_buffers_return(l, cqe->flags);
        return;
    }
    switch (op->kind) {
    case LOOP_OP_ACCEPT:
        loop_accept_on_cqe(l, op, cqe->res, cqe->flags);
        break;
    case LOOP_OP_RECV:
        loop_recv_on_cqe(l, op, cqe->res, cqe->flags);
        break;
    case LOOP_OP_SEND:
    case LOOP_OP_WRITE:
        loop_transfer_on_cqe(l, op, cqe->res);
        break;
    case LOOP_OP_CONNECT:
    case LOOP_OP_SYNC:
        loop_single_on_cqe(l, op, cqe->res);
        break;
    case LOOP_OP_WATCH:
        watch_on_cqe(l, op, cqe->res, cqe->flags & IORING_CQE_F_MORE);
        break;
    case LOOP_OP_WAKE:
        loop_wake_on_cqe(l, op, cqe->res);
        break;
    case LOOP_OP_FREE:
        ASSERT(op->kind != LOOP_OP_FREE);
    }
}
