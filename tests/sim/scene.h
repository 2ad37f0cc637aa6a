/* scene.h: a cluster and a few clients for a story that is told step by step (scenario*.c).
 *
 * Each function lets virtual time pass until what it says has happened, and speaks up (sim_fail)
 * when it does not within a bound; from then on none does anything, and the story may run on to
 * its end. Nodes are counted from 0.
 *
 * Owner:  scene_open .. scene_close, one at a time. An op lives until scene_close. Thread: one.
 * Bounds: SCENE_CALLS_MAX calls in flight to one node.
 */
#ifndef TESTS_SIM_SCENE_H
#define TESTS_SIM_SCENE_H

#include "tests/sim/client.h"
#include "tests/sim/host.h"
#include "tests/sim/workload.h"

enum {
    SCENE_CALLS_MAX = 4096,
    SCENE_VALUE_BYTES = 64,
    SCENE_HEARTBEAT_MS = 100,
    SCENE_ELECTION_MS = 1000,
    SCENE_NOBODY = SIM_NODES_MAX, /* no node */
};

struct scene {
    struct sim *sim;
    struct prng chance; /* for what the story leaves to the seed */
    struct sim_client *clients[SIM_NODES_MAX];
    uint32_t clients_open;
    struct list ops;
    uint64_t blocked[SIM_HOSTS_MAX]; /* links: bits of the receivers, a word a sender */
    struct workload *workload;
};

struct scene_options {
    uint64_t seed;
    uint32_t node_count;
    bool is_traced;
    bool is_logged;
};

/* The nodes have not started. */
void scene_open(struct scene *s, const struct scene_options *options);

/* False: something was wrong. Then the world stays as it is: the process is to end. */
bool scene_close(struct scene *s);

/* ---- time and what holds ---- */

bool scene_has_failed(const struct scene *s);
void scene_run(struct scene *s, uint64_t for_ms);
void scene_run_us(struct scene *s, uint64_t for_us);

/* holds, or the story ends here with these words. Returns holds. */
bool scene_expect(struct scene *s, bool holds, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- the cluster ---- */

struct sim_host *scene_host(struct scene *s, uint32_t node);

/* All nodes, within a few hundred milliseconds, until all serve. */
void scene_start(struct scene *s);

/* Every node that is off or down is started, every link works, nothing is paused: until all are
 * equal and follow one leader. */
void scene_heal(struct scene *s);

/* The leader of the highest term, once a majority follows it. 0 after a failure. */
uint32_t scene_leader(struct scene *s);
/* Waits until another than `node` leads. */
uint32_t scene_leader_but(struct scene *s, uint32_t node);
/* Some node that is neither. */
uint32_t scene_other(struct scene *s, uint32_t a, uint32_t b);
/* The highest that any node knows: it rises with every election, and never without one. */
uint64_t scene_term(struct scene *s);
void scene_wait_serving(struct scene *s, uint32_t node);
/* Until the process has ended with this code, which is to be expected of it now. */
void scene_wait_exit(struct scene *s, uint32_t node, enum exit_code code);
/* Until the node has applied what any node has. */
void scene_wait_caught_up(struct scene *s, uint32_t node);

/* ---- faults ---- */

void scene_block(struct scene *s, uint32_t from, uint32_t to);
/* From all other nodes, both ways; clients still reach it. */
void scene_isolate(struct scene *s, uint32_t node);
void scene_join(struct scene *s);
void scene_start_node(struct scene *s, uint32_t node); /* with power; it need not serve yet */
void scene_stall_disk(struct scene *s, uint32_t node, uint64_t for_ms);

/* ---- clients: one connection a node ---- */

struct scene_answer {
    bool is_ok;
    bool is_unknown; /* neither done nor refused, as far as the client can know */
    enum grpc_status status;
    char text[SIM_CALL_TEXT_BYTES];
    int64_t revision; /* the header's */
    int64_t count;    /* of keys read */
    int64_t mod_revision;
    int64_t version; /* of the one key */
    char value[SCENE_VALUE_BYTES];
};

struct scene_op {
    struct scene *scene;
    struct list link;
    struct sim_call call;
    uint32_t node;
    bool is_done;
    uint64_t began_us;
    uint64_t ended_us;
    void (*done)(struct scene_op *op); /* NULL, or set by the beginner */
    void *owner;
    struct scene_answer answer;
    uint8_t request[]; /* encoded */
};

struct scene_op *scene_begin_put(struct scene *s, uint32_t node, const char *key,
                                 const char *value);
struct scene_op *scene_begin_get(struct scene *s, uint32_t node, const char *key);
/* Reads `get_key` as of that revision, then puts: one transaction without compares. */
struct scene_op *scene_begin_txn(struct scene *s, uint32_t node, const char *get_key,
                                 int64_t get_revision, const char *put_key, const char *value);
struct scene_op *scene_begin_compact(struct scene *s, uint32_t node, int64_t revision,
                                     bool physical);

/* New connections to all nodes, which are up: after faults, lest a request meet a dead one. */
void scene_reconnect(struct scene *s);

/* Until it is answered or its time is over. */
const struct scene_answer *scene_end(struct scene *s, struct scene_op *op);

/* Begun and ended, and expected to go well. */
int64_t scene_put(struct scene *s, uint32_t node, const char *key, const char *value);
int64_t scene_delete(struct scene *s, uint32_t node, const char *key);
struct scene_answer scene_get(struct scene *s, uint32_t node, const char *key);
struct scene_answer scene_get_at(struct scene *s, uint32_t node, const char *key, int64_t revision);
struct scene_answer scene_get_serializable(struct scene *s, uint32_t node, const char *key);
void scene_compact(struct scene *s, uint32_t node, int64_t revision);

/* ---- many clients at once ---- */

/* The usual workload begins. Nobody else may write then: its history knows all there is. */
void scene_load(struct scene *s);
/* It stops, ends and is judged. */
void scene_load_end(struct scene *s);

#endif
