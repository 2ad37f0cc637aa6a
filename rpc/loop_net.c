#include <netinet/tcp.h>
#include <unistd.h>

#include "base/assert.h"
#include "rpc/loop_internal.h"

/* The sockets stay in blocking mode: io_uring takes O_NONBLOCK for "fail with EAGAIN" where it
 * would else wait by itself, and nobody but the loop uses them. */
enum { SOCKET_TYPE = SOCK_STREAM | SOCK_CLOEXEC };

static int socket_open(const struct io_addr *addr)
{
    int family = addr->sa.ss_family;
    size_t size = family == AF_INET    ? sizeof(struct sockaddr_in)
                  : family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                       : 0;
    if (size == 0 || addr->sa_size < size)
        return -EAFNOSUPPORT;
    int fd = socket(family, SOCKET_TYPE, 0);
    if (fd < 0)
        return -errno;
    int on = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

static int socket_listen(int fd, const struct io_addr *addr, struct io_addr *ret_bound)
{
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(fd, (const struct sockaddr *)&addr->sa, addr->sa_size) < 0 ||
        listen(fd, SOMAXCONN) < 0)
        return -errno;
    if (!ret_bound)
        return 0;
    struct io_addr bound = { .sa_size = sizeof bound.sa };
    if (getsockname(fd, (struct sockaddr *)&bound.sa, &bound.sa_size) < 0)
        return -errno;
    *ret_bound = bound;
    return 0;
}

/* Accepted sockets inherit TCP_NODELAY from the listening one. */
int loop_listen(struct io *io, const struct io_addr *addr, struct io_addr *ret_bound)
{
    (void)io;
    int fd = socket_open(addr);
    if (fd < 0)
        return fd;
    int err = socket_listen(fd, addr, ret_bound);
    if (err < 0) {
        close(fd);
        return err;
    }
    return fd;
}

/* ---- accept ---- */

int loop_accept(struct io *io, int fd, io_accept_fn *fn, void *owner, struct io_ref *ret_ref)
{
    struct loop *l = loop_of(io);
    struct loop_op *op;
    int err = loop_op_take(l, LOOP_OP_ACCEPT, fd, owner, &op);
    if (err < 0)
        return err;
    op->fn.accept = fn;
    return loop_op_begin(l, op, ret_ref);
}

void loop_accept_prepare(struct loop_op *op, struct io_uring_sqe *sqe)
{
    io_uring_prep_multishot_accept(sqe, op->fd, NULL, NULL, SOCK_CLOEXEC);
}

/* What says that the listening socket itself is of no use, rather than that this moment is bad
 * (no descriptors, no memory) or the one client gone. */
static bool accept_is_over(int32_t result)
{
    return result == -EBADF || result == -EINVAL || result == -ENOTSOCK || result == -EOPNOTSUPP ||
           result == -EFAULT;
}

static void accept_on_rested(void *owner)
{
    struct loop_op *op = owner;
    loop_op_again(op->body.rest.loop, op);
}

static void accept_rest(struct loop *l, struct loop_op *op, int32_t result)
{
    struct loop_rest *rest = &op->body.rest;
    rest->loop = l;
    timer_init(&rest->timer, accept_on_rested, op);
    if (!timer_heap_set(&l->rests, &rest->timer, l->now_ms + LOOP_ACCEPT_REST_MS)) {
        loop_op_finish(l, op, result);
        return;
    }
    op->state = LOOP_OP_RESTING;
    l->counters.accept_rests++;
}

void loop_accept_on_cqe(struct loop *l, struct loop_op *op, int32_t result, uint32_t flags)
{
    bool more = flags & IORING_CQE_F_MORE;
    if (result >= 0) {
        if (!more)
            loop_op_again(l, op); /* before the callback, which may cancel it */
        op->fn.accept(op->owner, result);
        return;
    }
    if (more)
        return; /* the kernel goes on by itself */
    if (op->cancelled)
        loop_op_finish(l, op, -ECANCELED);
    else if (accept_is_over(result))
        loop_op_finish(l, op, result);
    else
        accept_rest(l, op, result);
}

/* ---- connect ---- */

int loop_connect(struct io *io, const struct io_addr *addr, io_done_fn *fn, void *owner,
                 struct io_ref *ret_ref)
{
    struct loop *l = loop_of(io);
    int fd = socket_open(addr);
    if (fd < 0)
        return fd;
    struct loop_op *op;
    int err = loop_op_take(l, LOOP_OP_CONNECT, fd, owner, &op);
    if (err == 0) {
        op->fn.done = fn;
        if (addr->sa.ss_family == AF_INET)
            memcpy(&op->body.peer.ipv4, &addr->sa, sizeof op->body.peer.ipv4);
        else
            memcpy(&op->body.peer.ipv6, &addr->sa, sizeof op->body.peer.ipv6);
        err = loop_op_begin(l, op, ret_ref);
    }
    if (err < 0)
        close(fd);
    return err;
}

void loop_connect_prepare(struct loop_op *op, struct io_uring_sqe *sqe)
{
    union loop_peer *peer = &op->body.peer;
    io_uring_prep_connect(sqe, op->fd, &peer->base,
                          peer->base.sa_family == AF_INET ? sizeof peer->ipv4 : sizeof peer->ipv6);
}

void loop_single_on_cqe(struct loop *l, struct loop_op *op, int32_t result)
{
    /* A connect is never asked for twice: the second answer would be about the first (EALREADY). */
    if (op->kind == LOOP_OP_SYNC && loop_is_transient(result))
        loop_op_again(l, op);
    else
        loop_op_finish(l, op, result);
}

/* ---- send, and what it shares with a file's write ---- */

int loop_send(struct io *io, int fd, struct slice bytes, io_done_fn *fn, void *owner,
              struct io_ref *ret_ref)
{
    struct loop *l = loop_of(io);
    if (bytes.size > INT32_MAX)
        return -EINVAL;
    struct loop_op *op;
    int err = loop_op_take(l, LOOP_OP_SEND, fd, owner, &op);
    if (err < 0)
        return err;
    op->fn.done = fn;
    op->body.transfer = (struct loop_transfer){ .data = bytes.data, .size = (uint32_t)bytes.size };
    return loop_op_begin(l, op, ret_ref);
}

void loop_send_prepare(struct loop_op *op, struct io_uring_sqe *sqe)
{
    const struct loop_transfer *t = &op->body.transfer;
    io_uring_prep_send(sqe, op->fd, t->data + t->done_bytes, t->size - t->done_bytes,
                       MSG_NOSIGNAL | MSG_WAITALL);
}

void loop_transfer_on_cqe(struct loop *l, struct loop_op *op, int32_t result)
{
    struct loop_transfer *t = &op->body.transfer;
    if (loop_is_transient(result)) {
        loop_op_again(l, op);
        return;
    }
    if (result < 0) {
        loop_op_finish(l, op, result);
        return;
    }
    ASSERT((uint32_t)result <= t->size - t->done_bytes);
    t->done_bytes += (uint32_t)result;
    if (t->done_bytes == t->size) {
        loop_op_finish(l, op, (int32_t)t->size);
    } else if (result == 0) {
        loop_op_finish(l, op, -EIO); /* no progress, and no error to wait for */
    } else {
        l->counters.transfers_short++;
        loop_op_again(l, op);
    }
}

/* ---- the end ---- */

void loop_shutdown(struct io *io, int fd)
{
    (void)io;
    IGNORE(shutdown(fd, SHUT_RDWR) < 0, "a peer that is gone already is as good");
}

void loop_fd_close(struct io *io, int fd)
{
    (void)io;
    IGNORE(close(fd) < 0, "Linux gives the descriptor back whatever it says");
}
