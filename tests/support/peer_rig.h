/* peer_rig.h: several members' peer nets on one loop, and what their handlers were told.
 *
 * Sockets are real (loopback, ephemeral ports); tests wait for events, never for time. A run that
 * waits in vain fails after PEER_RIG_PATIENCE_MS.
 */
#ifndef TESTS_SUPPORT_PEER_RIG_H
#define TESTS_SUPPORT_PEER_RIG_H

#include "rpc/loop.h"
#include "rpc/peer.h"

enum { PEER_RIG_NODES_MAX = 3, PEER_RIG_PATIENCE_MS = 15000, PEER_RIG_TEXT_BYTES = 600 };

struct peer_rig;

struct peer_rig_node {
    struct peer_rig *rig;
    uint64_t id;
    struct peer_net *net; /* NULL: closed */
    struct io_addr addr;  /* where it listens; kept over a restart */
    struct peer_options options;
    const char *refuse; /* what on_hello answers */
    enum peer_unwelcome refuse_why;

    uint32_t hellos;
    uint32_t links_up;
    uint32_t links_down;
    uint32_t deaths;
    uint32_t refusals;
    enum peer_unwelcome refused_as;
    char refused_why[PEER_RIG_TEXT_BYTES];
    uint32_t complaints;
    uint64_t complaint_member; /* of the last */
    char complaint_why[PEER_RIG_TEXT_BYTES];
    uint32_t raft_count;
    struct raft_msg raft; /* the last; entries are dead */
    struct block *kept;   /* of the last append with entries, referenced */
    struct slice kept_entry;
    uint64_t entry_bytes;
    uint32_t forwards;
    uint64_t forward_id;
    char forward_command[PEER_RIG_TEXT_BYTES];
    uint32_t forwards_refused;
    uint64_t forward_term;
    enum peer_refusal forward_why;
    uint32_t formations;
    char formation[PEER_RIG_TEXT_BYTES];
    size_t formation_bytes;
    uint32_t queries;
    struct peer_forward_query query;
    uint32_t reaches;
    struct peer_forward_reach reach;
    uint32_t chunks;
    uint64_t chunk_bytes;
    struct peer_snapshot_chunk chunk; /* the last; its bytes are dead */
    uint32_t acks;
    struct peer_snapshot_ack ack;
    uint32_t hello_urls;      /* of the last Hello */
    const char *add_on_hello; /* not NULL: adds the sender, to be dialled there */
    bool remove_in_handler;   /* on_raft removes the sender */
    bool close_in_handler;    /* on_raft closes the net */
    bool refuse_messages;     /* on_raft and on_formation find them impossible */
};

struct peer_rig {
    struct loop *loop;
    struct io *io;
    struct peer_rig_node nodes[PEER_RIG_NODES_MAX];
    bool (*until)(struct peer_rig *rig);
    struct timer patience;
    bool gave_up;
};

/* Nodes with ids 1 .. of cluster 7; none is open yet. */
void peer_rig_open(struct peer_rig *rig);
/* Closes all nets and the loop. */
void peer_rig_close(struct peer_rig *rig);

/* process: what its Hello says; another one stands for a restart. */
void peer_rig_node_open(struct peer_rig_node *n, uint8_t process);
void peer_rig_node_close(struct peer_rig_node *n);

/* Node a dials node b. */
void peer_rig_add(struct peer_rig_node *a, const struct peer_rig_node *b);

/* Runs the loop until the claim holds after a turn. */
void peer_rig_run(struct peer_rig *rig, bool (*until)(struct peer_rig *rig));

/* A connection of the test's own to a node, for bytes that no peer net would send. */
struct peer_rig_raw {
    struct peer_rig *rig;
    int fd; /* below 0: not connected */
    bool sending;
    struct io_ref recv_ref;
    bool ended;
    size_t size;
    uint8_t received[4096];
};

void peer_rig_raw_open(struct peer_rig_raw *raw, struct peer_rig_node *n);
void peer_rig_raw_send(struct peer_rig_raw *raw, struct slice bytes);
/* Runs until the node has closed it. */
void peer_rig_raw_wait_end(struct peer_rig_raw *raw);
/* Runs until so many bytes have come. */
void peer_rig_raw_wait_bytes(struct peer_rig_raw *raw, size_t size);
void peer_rig_raw_close(struct peer_rig_raw *raw);

#endif
