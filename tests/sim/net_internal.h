/* net_internal.h: shared by net.c (listening, connecting, the process's side) and net_stream.c
 * (bytes between two ends).
 */
#ifndef TESTS_SIM_NET_INTERNAL_H
#define TESTS_SIM_NET_INTERNAL_H

#include "tests/sim/host.h"

enum sim_chunk_kind { CHUNK_DATA, CHUNK_FIN };

struct sim_chunk {
    struct sim_chunk *next;
    uint64_t arrives_us;
    enum sim_chunk_kind kind;
    size_t size;
    size_t taken;
    uint8_t data[];
};

struct sim_chunks {
    struct sim_chunk *head;
    struct sim_chunk *tail;
    size_t bytes;
};

/* One end, in its host's kernel. */
struct sim_sock {
    struct sim_conn *conn;
    int side;
    uint32_t host;
    struct sim_proc *proc; /* NULL: nobody has accepted it yet, or its process is gone */
    int fd;
    bool is_open; /* the kernel knows it */
    bool is_shut; /* by its process */
    bool has_end; /* the other side's FIN has come */
    int error;
    struct sim_op *recv;
    struct sim_op *send;
    struct sim_chunks rx;
    struct list backlog;
    struct event reset; /* a RST is on its way to it */
};

/* Bytes on their way from ends[side]. */
struct sim_way {
    struct sim_conn *conn;
    int side;
    struct sim_chunks chunks;
    uint64_t last_us; /* nothing arrives before what was sent before it */
    uint64_t stuck_us;
    uint32_t tries;
    bool fin_sent;
    struct event arrival;
};

enum sim_conn_phase { CONN_SYN, CONN_ANSWERED, CONN_REFUSED, CONN_UP };

struct sim_conn {
    struct list link;
    struct sim_net *net;
    struct sim_sock ends[2]; /* 0 has dialled */
    struct sim_way ways[2];
    enum sim_conn_phase phase;
    uint16_t port;
    uint32_t tries;
    struct sim_op *connect;
    struct event syn;
};

struct sim_listener {
    struct list link;
    struct sim_proc *proc;
    uint32_t host;
    uint16_t port;
    int fd;
    struct sim_op *accept;
    struct list backlog;
};

/* What a process's fd is. */
struct sim_fd {
    struct sim_listener *listener;
    struct sim_sock *sock;
};

/* How long a segment of so many bytes takes from now on. */
uint64_t sim_link_arrival(struct sim_net *net, struct sim_link *l, uint64_t now_us, size_t size);
bool sim_link_passes(const struct sim_net *net, uint32_t from, uint32_t to);

void sim_conn_init_ends(struct sim_conn *c, uint32_t from, uint32_t to);
void sim_conn_free_if_done(struct sim_conn *c);

/* net_stream.c */
void sim_chunks_free(struct sim_chunks *q);
void sim_way_arrive(void *owner);
void sim_way_fill(struct sim_way *w);
void sim_way_end(struct sim_way *w);
void sim_sock_break(struct sim_sock *s, int error);
void sim_sock_on_reset(void *owner);
void sim_sock_send_reset(struct sim_sock *from); /* to the other end */
void sim_sock_close(struct sim_sock *s);
void sim_sock_vanish(struct sim_sock *s);
void sim_sock_let_go(struct sim_sock *s);

#endif
