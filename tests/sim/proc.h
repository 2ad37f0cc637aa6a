/* proc.h: a simulated process: struct io over the world, in turns like those of rpc/loop.c.
 *
 * A turn takes the completions that are there, runs due timers, then turn_end. Its callbacks cost
 * virtual time; until that has passed the next turn waits. Paused, it has no turns.
 * Dead, everything it begins is refused and what is in flight fails at once: sim_proc_drain lets
 * its objects close themselves like that.
 *
 * Owner:  its host. Bounds: PROC_OPS_MAX, PROC_TIMERS_MAX, PROC_FDS_MAX.
 */
#ifndef TESTS_SIM_PROC_H
#define TESTS_SIM_PROC_H

#include "base/io.h"
#include "tests/sim/sim.h"
#include "tests/support/fake_disk.h"

enum {
    PROC_OPS_MAX = 1 << 16,
    PROC_TIMERS_MAX = 1 << 18,
    PROC_FDS_MAX = 1 << 14,
    PROC_JOBS = 4, /* at a time, as many as holdfastd has threads */
};

enum sim_op_kind { OP_FREE, OP_ACCEPT, OP_CONNECT, OP_RECV, OP_SEND, OP_WRITE, OP_SYNC };

struct sim_op {
    struct sim_proc *proc;
    uint32_t slot;
    uint32_t generation;
    uint32_t free_next; /* slot + 1 */
    enum sim_op_kind kind;
    bool is_cancelled;
    bool is_ready;
    int32_t result;
    struct list ready;
    union {
        io_done_fn *done;
        io_accept_fn *accept;
        io_recv_fn *recv;
    } fn;
    void *owner;
    int fd;
    /* Files, and what of a send is not on its way yet. */
    struct event due;
    struct slice bytes;
    uint64_t offset;
    bool is_durable;
    void *sock; /* net.c's */
};

/* A job: waits for a thread, runs at one moment, is done at a later one. */
struct sim_job {
    struct sim_proc *proc;
    struct io_job *job; /* NULL: the thread is idle */
    bool has_run;
    struct event due;
};

struct sim_proc {
    struct io io; /* first */
    struct sim *sim;
    struct sim_host *host;
    struct event wake;
    uint64_t busy_until_us;
    uint64_t now_ms; /* of the turn */
    uint64_t turn_us;
    uint64_t cost_us;  /* of the turn so far */
    uint64_t drain_us; /* how far a dead one's clock has been moved on */
    bool in_turn;
    bool is_paused;
    bool is_dead;
    bool is_draining;
    void (*turn_end)(void *owner);
    void *owner;
    struct timer_heap timers;
    struct sim_op **ops;
    uint32_t op_count;
    uint32_t ops_free; /* slot + 1 */
    uint32_t ops_live;
    struct list ready;
    struct list jobs_waiting;
    struct sim_job jobs[PROC_JOBS];
    void **fds; /* net.c's; NULL: free */
    uint32_t fd_count;
    struct prng random;
    uint64_t crash_after; /* so many blocking calls and commits; 0: not */
};

struct sim_proc *sim_proc_new(struct sim_host *host, void (*turn_end)(void *owner), void *owner);
/* What is in flight is forgotten, and its owners are told nothing: for the world's end. */
void sim_proc_abandon(struct sim_proc *p);

void sim_proc_free(struct sim_proc *p); /* nothing is in flight */

/* It runs a turn as soon as it may. */
void sim_proc_wake(struct sim_proc *p, uint64_t at_us);

/* The operation has its result, or something to hand over. */
void sim_op_ready(struct sim_op *op, int32_t result);

/* Ends it with this result, in a callback, now. */
void sim_op_finish(struct sim_op *op, int32_t result);

/* Gives the slot back. */
void sim_op_drop(struct sim_op *op);

/* The moment within the turn. */
uint64_t sim_proc_now_us(const struct sim_proc *p);

void sim_proc_pause(struct sim_proc *p);
void sim_proc_resume(struct sim_proc *p);

/* From now on it is dead: writes under way are torn. Its objects are still there. */
void sim_proc_kill(struct sim_proc *p);

/* Runs the dead process until is_gone says so. */
void sim_proc_drain(struct sim_proc *p, bool (*is_gone)(void *owner), void *owner);

/* The process whose code runs; NULL: the world's. */
struct sim_proc *sim_proc_current(void);
struct sim_proc *sim_proc_enter(struct sim_proc *p); /* returns who was it before */

/* A blocking call, or a commit of LMDB, is about to happen: false when the process is dead, or
 * dies in this very moment. */
bool sim_proc_may_go_on(struct sim_proc *p);

/* disk.c */
extern const struct io_ops sim_proc_ops;
int sim_disk_write(struct io *io, int fd, struct slice bytes, uint64_t offset,
                   enum io_write_flags flags, io_done_fn *fn, void *owner, struct io_ref *ret_ref);
int sim_disk_sync(struct io *io, int fd, io_done_fn *fn, void *owner, struct io_ref *ret_ref);
int sim_disk_open(struct io *io, int dir_fd, const char *name, enum io_open_flags flags);
void sim_disk_close(struct io *io, int fd);
int64_t sim_disk_size(struct io *io, int fd);
int64_t sim_disk_read(struct io *io, int fd, void *to, size_t size, uint64_t offset);
int sim_disk_write_now(struct io *io, int fd, struct slice bytes, uint64_t offset);
int sim_disk_sync_now(struct io *io, int fd);
int sim_disk_rename(struct io *io, int dir_fd, const char *from, const char *to);
int sim_disk_remove(struct io *io, int dir_fd, const char *name);
int sim_disk_lock(struct io *io, int dir_fd, const char *name);
int sim_disk_dir_open(struct io *io, int dir_fd, const char *name, enum io_open_flags flags);
int sim_disk_dir_sync(struct io *io, int dir_fd);
bool sim_disk_has_error(struct sim_host *h, uint32_t ppm);
bool sim_disk_is_full(struct sim_host *h);
void sim_disk_tear(struct sim_op *op); /* the process died while it was under way */

/* A free operation of this kind, or NULL past the cap. */
struct sim_op *sim_op_take(struct sim_proc *p, enum sim_op_kind kind, void *owner);

#endif
