/* io.h: everything a node does to the world, behind one table of functions.
 *
 * Two implementations: rpc/loop.h (io_uring and a few threads) for the world, and a simulated
 * one with virtual time for the tests. Nothing in storage/, rpc/ and server/ reaches a clock, a
 * socket, a file or a thread but through here (LMDB, which runs inside jobs, excepted).
 *
 * Thread:      all calls and all callbacks are on the loop's thread; io_job.run alone is not.
 * Completions: each operation that began (the call returned 0) completes exactly once, from the
 *              loop and never inside the call that began it. io_cancel only hastens that.
 * Lifetime:    owner and buffers of an operation stay valid until it completed; so an object
 *              cancels its operations, waits for their completions and only then dies.
 *              A callback may begin, cancel and close whatever it likes.
 * Bounds:      operations in flight, timers and jobs are capped; past a cap the call that would
 *              begin one returns -EAGAIN and begins nothing.
 * Errors:      0 or a positive result, or -errno; also at once, from the call itself, where
 *              nothing can begin: no descriptor for connect, an address of another family.
 */
#ifndef BASE_IO_H
#define BASE_IO_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/list.h"
#include "base/slice.h"
#include "base/timer.h"

struct io;

/* Names one operation in flight: a stale one names nothing, whatever its slot does now. */
struct io_ref {
    uint32_t slot;
    uint32_t generation; /* 0: names nothing */
};

struct io_addr {
    struct sockaddr_storage sa;
    socklen_t sa_size;
};

/* result >= 0, or -errno (-ECANCELED after io_cancel). */
typedef void io_done_fn(void *owner, int32_t result);

/* fd >= 0: a new connection, now the owner's. fd < 0: -errno, and accepting has ended. */
typedef void io_accept_fn(void *owner, int fd);

/* bytes.size > 0: received, valid during the call alone. Else it is the last call:
 * result 0 is end of stream, below 0 is -errno. */
typedef void io_recv_fn(void *owner, struct slice bytes, int32_t result);

/* Who waits for whom: a flush never stands behind long reads, nor they behind a flush. */
enum io_lane { IO_LANE_WORK, IO_LANE_READ, IO_LANE_COUNT };

/* Work that blocks or takes long. `run` runs on another thread and touches only what the job
 * owns or what is made for it; then `done` runs on the loop. The owner embeds the job and keeps
 * it until done. */
struct io_job {
    void (*run)(struct io_job *job);
    void (*done)(struct io_job *job);
    enum io_lane lane;
    struct list link;
};

enum io_open_flags {
    IO_OPEN_CREATE = 1, /* make it when missing */
    IO_OPEN_DIRECT = 2, /* bypass the page cache, where the file system can: buffers, offsets and
                           sizes in IO_ALIGN_BYTES */
};

enum io_write_flags {
    IO_WRITE_DURABLE = 1, /* completes when the bytes and what finds them are on stable storage */
};

enum { IO_ALIGN_BYTES = 4096 };

struct io_ops {
    /* Time. now_ms never goes back and is constant within a callback. wall_ms is Unix time and
     * may jump: for people and logs alone. */
    uint64_t (*now_ms)(struct io *io);
    uint64_t (*now_us)(struct io *io); /* read afresh at each call: for measuring */
    uint64_t (*wall_ms)(struct io *io);
    uint64_t (*random)(struct io *io); /* from the system, or from the seed of a simulated run */

    bool (*timer_set)(struct io *io, struct timer *t, uint64_t deadline_ms);
    void (*timer_cancel)(struct io *io, struct timer *t);

    /* Streams. A listening or connected fd is close-on-exec and TCP_NODELAY, and of use only here:
     * an implementation may leave it in blocking mode, or not be a descriptor at all.
     * ret_ref may be NULL in all that begin something.
     * listen returns the fd at once, and ret_bound (or NULL) says which port 0 became.
     * accept goes on over passing errors (no descriptors left, a client that gave up).
     * connect completes with the new fd, which is then the owner's.
     * recv goes on until cancelled, end of stream or error; bytes that had been taken off the
     * stream before a cancel took effect still come, then -ECANCELED.
     * send completes with the size when all bytes are out, or with an error; one at a time on a
     * fd, or their bytes mix. Up to INT32_MAX bytes, as in file_write.
     * close needs no operation in flight on fd; shutdown ends both directions at once. */
    int (*listen)(struct io *io, const struct io_addr *addr, struct io_addr *ret_bound);
    int (*accept)(struct io *io, int fd, io_accept_fn *fn, void *owner, struct io_ref *ret_ref);
    int (*connect)(struct io *io, const struct io_addr *addr, io_done_fn *fn, void *owner,
                   struct io_ref *ret_ref);
    int (*recv)(struct io *io, int fd, io_recv_fn *fn, void *owner, struct io_ref *ret_ref);
    int (*send)(struct io *io, int fd, struct slice bytes, io_done_fn *fn, void *owner,
                struct io_ref *ret_ref);
    void (*shutdown)(struct io *io, int fd);
    void (*close)(struct io *io, int fd);

    /* Asynchronous file writes. A write completes with its size or an error, never short. */
    int (*file_write)(struct io *io, int fd, struct slice bytes, uint64_t offset,
                      enum io_write_flags flags, io_done_fn *fn, void *owner,
                      struct io_ref *ret_ref);
    int (*file_sync)(struct io *io, int fd, io_done_fn *fn, void *owner, struct io_ref *ret_ref);

    /* Blocking, so only before the loop runs or inside a job. dir_fd and names as openat's:
     * AT_FDCWD with a path is where a data directory begins.
     * file_read returns the number of bytes, short at the end of the file alone. */
    int (*file_open)(struct io *io, int dir_fd, const char *name, enum io_open_flags flags);
    void (*file_close)(struct io *io, int fd);
    int64_t (*file_size)(struct io *io, int fd);
    int64_t (*file_read)(struct io *io, int fd, void *to, size_t size, uint64_t offset);
    int (*file_write_now)(struct io *io, int fd, struct slice bytes, uint64_t offset);
    int (*file_sync_now)(struct io *io, int fd);
    int (*file_rename)(struct io *io, int dir_fd, const char *from, const char *to);
    int (*file_remove)(struct io *io, int dir_fd, const char *name);
    /* Takes the file, made when missing, for this process alone: until its fd is closed, or the
     * process ends however it may. -EWOULDBLOCK: another one has it. */
    int (*file_lock)(struct io *io, int dir_fd, const char *name);
    int (*dir_open)(struct io *io, int dir_fd, const char *name, enum io_open_flags flags);
    int (*dir_sync)(struct io *io, int dir_fd);

    /* Jobs queue in order and run a few at a time. The cap is the owners': each embeds its own. */
    void (*offload)(struct io *io, struct io_job *job);
    /* Inside a job: its thread rests for so long. Where time is simulated none passes. */
    void (*pause)(struct io *io, uint32_t us);

    /* The operation still completes: with -ECANCELED, or with its result if that came first. */
    void (*cancel)(struct io *io, struct io_ref ref);
};

/* The first member of each implementation. */
struct io {
    const struct io_ops *ops;
};

static inline uint64_t io_now_ms(struct io *io)
{
    return io->ops->now_ms(io);
}

static inline bool io_timer_set(struct io *io, struct timer *t, uint64_t deadline_ms)
{
    return io->ops->timer_set(io, t, deadline_ms);
}

static inline void io_timer_cancel(struct io *io, struct timer *t)
{
    io->ops->timer_cancel(io, t);
}

static inline void io_offload(struct io *io, struct io_job *job)
{
    io->ops->offload(io, job);
}

static inline void io_cancel(struct io *io, struct io_ref ref)
{
    io->ops->cancel(io, ref);
}

#endif
