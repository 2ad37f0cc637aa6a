#include "rpc/loop_internal.h"

int loop_file_write(struct io *io, int fd, struct slice bytes, uint64_t offset,
                    enum io_write_flags flags, io_done_fn *fn, void *owner, struct io_ref *ret_ref)
{
    struct loop *l = loop_of(io);
    if (bytes.size > INT32_MAX || offset > (uint64_t)INT64_MAX - bytes.size)
        return -EINVAL;
    struct loop_op *op;
    int err = loop_op_take(l, LOOP_OP_WRITE, fd, owner, &op);
    if (err < 0)
        return err;
    op->fn.done = fn;
    op->body.transfer = (struct loop_transfer){
        .data = bytes.data,
        .size = (uint32_t)bytes.size,
        .offset = offset,
        .flags = flags,
    };
    return loop_op_begin(l, op, ret_ref);
}

/* Each part of a write that came out short is durable by itself, so the whole is. */
void loop_write_prepare(struct loop_op *op, struct io_uring_sqe *sqe)
{
    const struct loop_transfer *t = &op->body.transfer;
    io_uring_prep_write(sqe, op->fd, t->data + t->done_bytes, t->size - t->done_bytes,
                        t->offset + t->done_bytes);
    if (t->flags & IO_WRITE_DURABLE)
        sqe->rw_flags = RWF_DSYNC;
}

int loop_file_sync(struct io *io, int fd, io_done_fn *fn, void *owner, struct io_ref *ret_ref)
{
    struct loop *l = loop_of(io);
    struct loop_op *op;
    int err = loop_op_take(l, LOOP_OP_SYNC, fd, owner, &op);
    if (err < 0)
        return err;
    op->fn.done = fn;
    return loop_op_begin(l, op, ret_ref);
}

/* The size is synced too where it changed; only times of day are not (fdatasync(2)). */
void loop_sync_prepare(struct loop_op *op, struct io_uring_sqe *sqe)
{
    io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC);
}
