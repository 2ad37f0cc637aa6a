/* net.h: the streams between hosts: latency, bandwidth, loss, partitions, and how TCP shows them.
 *
 * A host's kernel owns its sockets: it accepts connections while the process pauses, and when the
 * process dies it closes them at once; when the host loses power they are gone without a word, and
 * who sends to them gets a reset once the host is back. Lost segments are sent again after 200 ms,
 * doubled each time; what nobody takes for two minutes breaks the connection.
 *
 * Owner:  struct sim. Bounds: NET_SEND_BYTES_MAX on their way in one direction of a stream.
 */
#ifndef TESTS_SIM_NET_H
#define TESTS_SIM_NET_H

#include "base/io.h"
#include "base/prng.h"
#include "tests/sim/event.h"

struct sim;
struct sim_op;
struct sim_proc;

enum { NET_SEND_BYTES_MAX = 1 << 20 };

/* One direction between two hosts. */
struct sim_link {
    struct prng chance;
    uint32_t blocked; /* by how many faults */
    uint32_t base_us;
    uint32_t jitter_us;
    uint32_t slow_us;  /* more, by a fault */
    uint32_t loss_ppm; /* of segments, by a fault */
    uint32_t bytes_per_ms;
    uint64_t clogged_until_us; /* nothing passes; then all of it does */
    uint64_t free_us;          /* the wire */
};

struct sim_net {
    struct sim *sim;
    struct sim_link *links; /* host_count squared: from * host_count + to */
    struct list listeners;
    struct list conns;
};

void sim_net_init(struct sim_net *net, struct sim *sim);
void sim_net_done(struct sim_net *net); /* no process lives */

struct sim_link *sim_net_link(struct sim_net *net, uint32_t from, uint32_t to);

/* Breaks the established connections between the two: both ends see a reset. */
void sim_net_reset(struct sim_net *net, uint32_t a, uint32_t b);

/* ---- a process's side (proc.c) ---- */

struct sim_sock;

int sim_net_listen(struct sim_proc *p, const struct io_addr *addr, struct io_addr *ret_bound);
int sim_net_accept(struct sim_proc *p, int fd, struct sim_op *op);
int sim_net_connect(struct sim_proc *p, const struct io_addr *addr, struct sim_op *op);
int sim_net_recv(struct sim_proc *p, int fd, struct sim_op *op);
int sim_net_send(struct sim_proc *p, int fd, struct slice bytes, struct sim_op *op);
void sim_net_shutdown(struct sim_proc *p, int fd);
void sim_net_close(struct sim_proc *p, int fd);

/* A ready accept or receive hands over what there is, then rests or ends. */
void sim_net_run_accept(struct sim_op *op);
void sim_net_run_recv(struct sim_op *op);

/* The owner gives the operation up: what the network holds of it lets go. */
void sim_net_op_forget(struct sim_op *op);

/* The process is no more. With its kernel: resets and ends go out; else silence. */
void sim_net_proc_gone(struct sim_proc *p, bool kernel_lives);

#endif
