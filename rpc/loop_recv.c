#include <sys/mman.h>

#include "base/assert.h"
#include "rpc/loop_internal.h"

/* All receiving connections share one ring of buffers: an idle one holds none. */
enum { BUFFER_GROUP = 1 };

static size_t ring_size_bytes(const struct loop_options *options)
{
    return options->recv_buffer_count * sizeof(struct io_uring_buf);
}

uint64_t loop_buffers_memory_bytes(const struct loop_options *options)
{
    return ring_size_bytes(options) +
           (uint64_t)options->recv_buffer_count * options->recv_buffer_bytes;
}

static void *pages_new(size_t size)
{
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

static void buffer_put(struct loop_buffers *b, uint32_t id, int nth)
{
    io_uring_buf_ring_add(b->ring, b->data + (size_t)id * b->each_bytes, b->each_bytes,
                          (uint16_t)id, io_uring_buf_ring_mask(b->count), nth);
}

int loop_buffers_open(struct loop *l)
{
    struct loop_buffers *b = &l->buffers;
    b->count = l->options.recv_buffer_count;
    b->each_bytes = l->options.recv_buffer_bytes;
    b->ring_bytes = ring_size_bytes(&l->options);
    b->data_bytes = (size_t)b->count * b->each_bytes;
    b->ring = pages_new(b->ring_bytes);
    b->data = pages_new(b->data_bytes);
    if (!b->ring || !b->data)
        return -ENOMEM;
    struct io_uring_buf_reg reg = { .ring_addr = (uint64_t)(uintptr_t)b->ring,
                                    .ring_entries = b->count,
                                    .bgid = BUFFER_GROUP };
    int rc = io_uring_register_buf_ring(&l->ring, &reg, 0);
    if (rc < 0)
        return rc;
    io_uring_buf_ring_init(b->ring);
    for (uint32_t i = 0; i < b->count; i++)
        buffer_put(b, i, (int)i);
    io_uring_buf_ring_advance(b->ring, (int)b->count);
    return 0;
}

void loop_buffers_close(struct loop *l)
{
    struct loop_buffers *b = &l->buffers;
    if (b->ring)
        munmap(b->ring, b->ring_bytes);
    if (b->data)
        munmap(b->data, b->data_bytes);
    *b = (struct loop_buffers){ 0 };
}

void loop_buffers_return(struct loop *l, uint32_t cqe_flags)
{
    if (!(cqe_flags & IORING_CQE_F_BUFFER))
        return;
    uint32_t id = cqe_flags >> IORING_CQE_BUFFER_SHIFT;
    ASSERT(id < l->buffers.count);
    buffer_put(&l->buffers, id, 0);
    io_uring_buf_ring_advance(l->buffers.ring, 1);
}

int loop_recv(struct io *io, int fd, io_recv_fn *fn, void *owner, struct io_ref *ret_ref)
{
    struct loop *l = loop_of(io);
    struct loop_op *op;
    int err = loop_op_take(l, LOOP_OP_RECV, fd, owner, &op);
    if (err < 0)
        return err;
    op->fn.recv = fn;
    return loop_op_begin(l, op, ret_ref);
}

void loop_recv_prepare(struct loop_op *op, struct io_uring_sqe *sqe)
{
    io_uring_prep_recv_multishot(sqe, op->fd, NULL, 0, 0);
    io_uring_sqe_set_flags(sqe, IOSQE_BUFFER_SELECT);
    sqe->buf_group = BUFFER_GROUP;
}

static void recv_on_bytes(struct loop *l, struct loop_op *op, int32_t result, uint32_t flags)
{
    ASSERT(flags & IORING_CQE_F_BUFFER);
    uint32_t id = flags >> IORING_CQE_BUFFER_SHIFT;
    ASSERT(id < l->buffers.count && (uint32_t)result <= l->buffers.each_bytes);
    const uint8_t *data = l->buffers.data + (size_t)id * l->buffers.each_bytes;
    op->fn.recv(op->owner, slice_of(data, (size_t)result), result);
}

void loop_recv_on_cqe(struct loop *l, struct loop_op *op, int32_t result, uint32_t flags)
{
    bool more = flags & IORING_CQE_F_MORE;
    if (result > 0) {
        /* The kernel may end a multishot after any number of receives; before the callback, so
         * that a cancel from there finds the op waiting. Bytes that the kernel took off the
         * stream before a cancel are delivered all the same: nobody else can read them again. */
        if (!more)
            loop_op_again(l, op);
        recv_on_bytes(l, op, result, flags);
        loop_buffers_return(l, flags);
        return;
    }
    loop_buffers_return(l, flags);
    if (more)
        return;
    if (result == -ENOBUFS) {
        /* All buffers held completions that this turn delivers; they are back when it ends. */
        l->counters.recv_without_buffer++;
        loop_op_again(l, op);
    } else if (loop_is_transient(result)) {
        loop_op_again(l, op);
    } else {
        loop_op_finish(l, op, result);
    }
}
