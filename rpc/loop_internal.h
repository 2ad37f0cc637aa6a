/* loop_internal.h: what the files of the loop share.
 *
 * An operation is a slot. It is ARMED while the kernel has a request of it, WAITING on a list when
 * the loop owes it a request (the rest of a short send, a multishot that the kernel ended), and
 * RESTING while an accept sits out its back-off. The CQE without F_MORE is the last of a request,
 * so a slot is given back only when nothing of it is left in the kernel; user_data carries slot
 * and generation all the same, and a CQE of an older generation is counted and dropped.
 */
#ifndef RPC_LOOP_INTERNAL_H
#define RPC_LOOP_INTERNAL_H

#include <errno.h>
#include <liburing.h>
#include <pthread.h>

#include "rpc/loop.h"

enum {
    LOOP_OPS_MIN = 64,
    LOOP_OPS_MAX = 1 << 20,
    LOOP_BUFFERS_MAX = 1 << 15, /* the kernel's limit of a buffer ring */
    LOOP_BUFFER_BYTES_MIN = 16,
    LOOP_BUFFER_BYTES_MAX = 1 << 20,
    LOOP_THREADS_MAX = 64,
    LOOP_SQ_ENTRIES_MAX = 2048,
    LOOP_CQ_ENTRIES_MAX = 32768,
    LOOP_ACCEPT_REST_MS = 100,
};

enum loop_op_kind {
    LOOP_OP_FREE,
    LOOP_OP_ACCEPT,
    LOOP_OP_CONNECT,
    LOOP_OP_RECV,
    LOOP_OP_SEND,
    LOOP_OP_WRITE,
    LOOP_OP_SYNC,
    LOOP_OP_WATCH,
    LOOP_OP_WAKE, /* the read of the eventfd that finished jobs write to */
};

enum loop_op_state { LOOP_OP_ARMED, LOOP_OP_WAITING, LOOP_OP_RESTING };

struct loop_transfer {
    const uint8_t *data;
    uint32_t size;
    uint32_t done_bytes;
    uint64_t offset; /* of the file */
    enum io_write_flags flags;
};

struct loop_rest {
    struct loop *loop;
    struct timer timer;
};

/* The kernel reads it when the request is submitted, which is after the call that began it. */
union loop_peer {
    struct sockaddr base;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
};

struct loop_op {
    enum loop_op_kind kind;
    enum loop_op_state state;
    uint32_t generation; /* never 0 */
    uint32_t free_next;  /* slot + 1; 0: none */
    int fd;
    bool cancelled;
    void *owner;
    union {
        io_done_fn *done;
        io_accept_fn *accept;
        io_recv_fn *recv;
        void (*watch)(void *owner);
    } fn;
    union {
        struct loop_transfer transfer;
        struct loop_rest rest;
        union loop_peer peer;
    } body;
    struct list link; /* on loop.waiting, or on loop.cancels while ARMED */
};

struct loop_buffers {
    struct io_uring_buf_ring *ring;
    size_t ring_bytes;
    uint8_t *data;
    size_t data_bytes;
    uint32_t count;
    uint32_t each_bytes;
};

/* Jobs of one kind and the threads that run them. */
struct loop_lane {
    struct loop_jobs *jobs;
    pthread_cond_t wanted;
    struct list queued; /* under the lock of jobs */
    uint32_t thread_count;
    pthread_t threads[LOOP_THREADS_MAX];
};

struct loop_jobs {
    pthread_mutex_t lock; /* held for list operations alone (I10) */
    struct loop_lane lanes[IO_LANE_COUNT];
    struct list finished; /* under lock */
    bool stopping;        /* under lock */
    bool is_open;
    int wake_fd;
    uint64_t wake_count; /* where the read of wake_fd goes */
    uint32_t unfinished; /* the loop's: offloaded, done not yet called */
};

struct loop {
    struct io io; /* first: struct io * is struct loop * */
    struct loop_options options;
    struct io_uring ring;
    bool ring_is_open;
    bool stopping;
    bool closing;
    bool in_turn; /* now_ms is frozen */
    uint64_t now_ms;
    struct loop_op *ops;
    uint32_t ops_touched; /* slots ever used: the free list holds only these */
    uint32_t ops_free;    /* slot + 1; 0: none */
    uint32_t ops_live;
    struct list waiting;
    struct list cancels;
    struct timer_heap timers;
    struct timer_heap rests; /* of accepts: not from the users' timer_count_max */
    struct loop_buffers buffers;
    struct loop_jobs jobs;
    struct loop_counters counters;
};

static inline struct loop *loop_of(struct io *io)
{
    return (struct loop *)(void *)io;
}

/* ---- loop_ring.c: setting it up ---- */

enum loop_err loop_ring_open(struct loop *l, char *detail, size_t detail_bytes);
uint32_t loop_ring_sq_entries(const struct loop_options *options);
uint32_t loop_ring_cq_entries(const struct loop_options *options);

/* NULL when the kernel takes no more for now. */
struct io_uring_sqe *loop_ring_sqe(struct loop *l);

/* ---- loop_op.c: slots ---- */

/* 0, or what to return to who wants to begin: -EAGAIN at the cap, -ECANCELED while closing. */
int loop_op_take(struct loop *l, enum loop_op_kind kind, int fd, void *owner,
                 struct loop_op **ret_op);
void loop_op_drop(struct loop *l, struct loop_op *op);

/* Submits a taken op for the first time, or drops it with -EAGAIN. ret_ref may be NULL. */
int loop_op_begin(struct loop *l, struct loop_op *op, struct io_ref *ret_ref);

/* The kernel has nothing of it any more: submit it again later in this turn. */
void loop_op_again(struct loop *l, struct loop_op *op);

/* Gives the slot back, then calls the owner for the last time. */
void loop_op_finish(struct loop *l, struct loop_op *op, int32_t result);

void loop_op_cancel(struct loop *l, struct loop_op *op);
void loop_op_cancel_ref(struct io *io, struct io_ref ref);

/* What waits: submits or, where cancelled, finishes it. */
void loop_op_resume(struct loop *l);

void loop_op_on_cqe(struct loop *l, const struct io_uring_cqe *cqe);

static inline bool loop_is_transient(int32_t result)
{
    return result == -EINTR || result == -EAGAIN;
}

/* ---- loop_net.c, loop_recv.c, loop_file.c: requests and their completions ---- */

void loop_accept_prepare(struct loop_op *op, struct io_uring_sqe *sqe);
void loop_connect_prepare(struct loop_op *op, struct io_uring_sqe *sqe);
void loop_recv_prepare(struct loop_op *op, struct io_uring_sqe *sqe);
void loop_send_prepare(struct loop_op *op, struct io_uring_sqe *sqe);
void loop_write_prepare(struct loop_op *op, struct io_uring_sqe *sqe);
void loop_sync_prepare(struct loop_op *op, struct io_uring_sqe *sqe);

void loop_accept_on_cqe(struct loop *l, struct loop_op *op, int32_t result, uint32_t flags);
void loop_recv_on_cqe(struct loop *l, struct loop_op *op, int32_t result, uint32_t flags);

/* Of a send or a write: goes on until all bytes are out. */
void loop_transfer_on_cqe(struct loop *l, struct loop_op *op, int32_t result);

/* Of a connect or a sync, whose one request is all. */
void loop_single_on_cqe(struct loop *l, struct loop_op *op, int32_t result);

int loop_listen(struct io *io, const struct io_addr *addr, struct io_addr *ret_bound);
int loop_accept(struct io *io, int fd, io_accept_fn *fn, void *owner, struct io_ref *ret_ref);
int loop_connect(struct io *io, const struct io_addr *addr, io_done_fn *fn, void *owner,
                 struct io_ref *ret_ref);
int loop_recv(struct io *io, int fd, io_recv_fn *fn, void *owner, struct io_ref *ret_ref);
int loop_send(struct io *io, int fd, struct slice bytes, io_done_fn *fn, void *owner,
              struct io_ref *ret_ref);
void loop_shutdown(struct io *io, int fd);
void loop_fd_close(struct io *io, int fd);

int loop_buffers_open(struct loop *l);
void loop_buffers_close(struct loop *l);
uint64_t loop_buffers_memory_bytes(const struct loop_options *options);

/* Gives back what a CQE holds, if it holds one. */
void loop_buffers_return(struct loop *l, uint32_t cqe_flags);

int loop_file_write(struct io *io, int fd, struct slice bytes, uint64_t offset,
                    enum io_write_flags flags, io_done_fn *fn, void *owner, struct io_ref *ret_ref);
int loop_file_sync(struct io *io, int fd, io_done_fn *fn, void *owner, struct io_ref *ret_ref);

/* ---- loop_disk.c: the blocking ones, which touch nothing of the loop: any thread ---- */

int loop_file_open(struct io *io, int dir_fd, const char *name, enum io_open_flags flags);
int64_t loop_file_size(struct io *io, int fd);
int64_t loop_file_read(struct io *io, int fd, void *to, size_t size, uint64_t offset);
int loop_file_write_now(struct io *io, int fd, struct slice bytes, uint64_t offset);
int loop_file_sync_now(struct io *io, int fd);
int loop_file_rename(struct io *io, int dir_fd, const char *from, const char *to);
int loop_file_remove(struct io *io, int dir_fd, const char *name);
int loop_file_lock(struct io *io, int dir_fd, const char *name);
int loop_dir_open(struct io *io, int dir_fd, const char *name, enum io_open_flags flags);
int loop_dir_sync(struct io *io, int dir_fd);

/* ---- loop_jobs.c ---- */

/* 0 or -errno; *ret_call then says of which call. */
int loop_jobs_open(struct loop *l, const char **ret_call);
void loop_jobs_close(struct loop *l); /* also when half-built; no job is left by then */
void loop_jobs_offload(struct io *io, struct io_job *job);
void loop_jobs_pause(struct io *io, uint32_t us);
void loop_wake_prepare(struct loop *l, struct loop_op *op, struct io_uring_sqe *sqe);
void loop_wake_on_cqe(struct loop *l, struct loop_op *op, int32_t result);

#endif
