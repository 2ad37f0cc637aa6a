/* demo_node.h: server processes on loopback, for the demo and the cluster in the foreground.
 *
 * Owner:    the nodes own their processes; a node that goes out of use is stopped first. The
 *           kernel kills them too, when this program dies without saying goodbye.
 * Thread:   the main one, which started them (PR_SET_PDEATHSIG looks at the thread).
 * Bounds:   DEMO_NODE_COUNT nodes.
 * Errors:   false, after a line on stderr that says what happened and where the log is.
 */
#ifndef TOOLS_DEMO_NODE_H
#define TOOLS_DEMO_NODE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { DEMO_NODE_COUNT = 3 };

struct demo_node {
    char name[8];
    uint16_t client_port;
    uint16_t peer_port;
    char endpoint[32]; /* 127.0.0.1:2379 */
    char data_dir[PATH_MAX];
    char log_path[PATH_MAX];
    pid_t pid; /* 0: not running */
};

struct demo_nodes {
    const char *server;    /* the program */
    const char *directory; /* of data and logs */
    char initial[256];     /* --initial-cluster */
    struct demo_node items[DEMO_NODE_COUNT];
};

/* Names, paths and free ports. `fixed_ports`: 2379, 22379 and 32379 and the peers' next to them;
 * where one is taken, the next free one. */
bool demo_nodes_init(struct demo_nodes *nodes, const char *server, const char *directory,
                     bool fixed_ports) __attribute__((warn_unused_result));

bool demo_node_start(struct demo_nodes *nodes, struct demo_node *node)
    __attribute__((warn_unused_result));

/* kill -9, and its body carried off. */
void demo_node_kill(struct demo_node *node);

/* SIGTERM to all, so that they leave in parallel; SIGKILL to who has not left in ten seconds. */
void demo_nodes_stop(struct demo_nodes *nodes);

/* False, with its log's last lines on stderr, when the process has ended by itself. */
bool demo_node_is_alive(struct demo_node *node) __attribute__((warn_unused_result));

struct demo_status {
    uint64_t member_id;
    uint64_t leader_id; /* 0: none known */
    uint64_t term;
    int64_t revision;
};

/* What the node says of itself, or false when it does not answer in time. */
bool demo_node_status(const struct demo_node *node, uint32_t timeout_ms,
                      struct demo_status *ret_status) __attribute__((warn_unused_result));

/* The node that a running node believes to lead, when that one says so too; else NULL. */
struct demo_node *demo_nodes_leader(struct demo_nodes *nodes, uint64_t *ret_term);

#endif
