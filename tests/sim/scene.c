#include "tests/sim/scene.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "server/node_internal.h"
#include "tests/sim/check.h"
#include "tests/sim/run.h"
#include "tools/check_revision.h"

enum {
    STEP_US = 1000,
    PATIENCE_MS = 30000, /* of virtual time, for what must come */
    START_APART_US = 200000,
};

/* ---- life ---- */

void scene_open(struct scene *s, const struct scene_options *options)
{
    *s = (struct scene){ 0 };
    run_scratch_enter();
    list_init(&s->ops);
    s->sim = sim_new(&(struct sim_options){
        .seed = options->seed,
        .node_count = options->node_count,
        .client_host_count = 1,
        .is_traced = options->is_traced,
        .is_logged = options->is_logged,
        .scratch = ".",
        .heartbeat_ms = SCENE_HEARTBEAT_MS,
        .election_ms = SCENE_ELECTION_MS,
    });
    s->chance = sim_chance(s->sim, SIM_CHANCE_PLAN, 0, 0);
}

static void on_client_closed(void *owner)
{
    ((struct scene *)owner)->clients_open--;
}

static bool clients_are_closed(struct scene *s)
{
    return s->clients_open == 0;
}

static bool has_ended(struct scene *s)
{
    for (uint32_t i = 0; i < s->sim->options.node_count; i++) {
        if (s->sim->hosts[i].proc)
            return false;
    }
    return true;
}

static void wait_until(struct scene *s, bool (*is_so)(struct scene *s), const char *what);

static void world_free(struct scene *s)
{
    struct list *node;
    while ((node = list_pop_front(&s->ops)) != NULL) {
        struct scene_op *op = LIST_ENTRY(node, struct scene_op, link);
        sim_call_done(&op->call);
        free(op);
    }
    sim_free(s->sim);
}

bool scene_close(struct scene *s)
{
    for (size_t i = 0; i < SIM_NODES_MAX; i++) {
        if (s->clients[i] && !scene_has_failed(s))
            sim_client_close(s->clients[i], on_client_closed, s);
    }
    wait_until(s, clients_are_closed, "clients do not close");
    for (uint32_t i = 0; i < s->sim->options.node_count && !scene_has_failed(s); i++)
        sim_host_terminate(scene_host(s, i));
    wait_until(s, has_ended, "SIGTERM does not end all members");
    bool is_good = !scene_has_failed(s);
    if (is_good)
        world_free(s);
    run_scratch_remove(getpid());
    return is_good;
}

/* ---- time ---- */

bool scene_has_failed(const struct scene *s)
{
    return s->sim->has_failed;
}

void scene_run_us(struct scene *s, uint64_t for_us)
{
    sim_run_until(s->sim, s->sim->now_us + for_us);
}

void scene_run(struct scene *s, uint64_t for_ms)
{
    scene_run_us(s, for_ms * 1000);
}

static void wait_until(struct scene *s, bool (*is_so)(struct scene *s), const char *what)
{
    for (uint64_t ms = 0; !scene_has_failed(s) && !is_so(s); ms++) {
        if (ms == PATIENCE_MS)
            sim_fail(s->sim, "%s, %d s long", what, PATIENCE_MS / 1000);
        scene_run_us(s, STEP_US);
    }
}

bool scene_expect(struct scene *s, bool holds, const char *format, ...)
{
    if (holds || scene_has_failed(s))
        return holds;
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    sim_fail(s->sim, "%s", text);
    return false;
}

/* ---- the cluster ---- */

struct sim_host *scene_host(struct scene *s, uint32_t node)
{
    ASSERT(node < s->sim->options.node_count);
    return &s->sim->hosts[node];
}

static bool node_serves(struct scene *s, uint32_t i)
{
    const struct node *node = sim_host_node(scene_host(s, i));
    return node && node->closing_parts == 0 && node->is_serving && node->status.leader != 0;
}

static bool all_serve(struct scene *s)
{
    for (uint32_t i = 0; i < s->sim->options.node_count; i++) {
        if (!node_serves(s, i))
            return false;
    }
    return true;
}

void scene_start(struct scene *s)
{
    for (uint32_t i = 0; i < s->sim->options.node_count; i++)
        sim_host_start_later(scene_host(s, i), prng_below(&s->chance, START_APART_US));
    wait_until(s, all_serve, "the members have no leader");
}

/* Starts whatever has ended meanwhile, too. */
static bool has_converged(struct scene *s)
{
    for (uint32_t i = 0; i < s->sim->options.node_count; i++) {
        if (!scene_host(s, i)->proc && !event_is_set(&scene_host(s, i)->restart))
            scene_start_node(s, i);
    }
    return sim_check_has_converged(s->sim);
}

void scene_heal(struct scene *s)
{
    if (scene_has_failed(s))
        return;
    scene_join(s);
    for (uint32_t i = 0; i < s->sim->options.node_count; i++) {
        struct sim_host *h = scene_host(s, i);
        h->disk_faults.stalled_until_us = 0;
        sim_host_resume(h);
        sim_host_spare(h);
    }
    wait_until(s, has_converged, "the members do not become equal");
}

/* SCENE_NOBODY: none whom a majority follows. */
static uint32_t leader_now(struct scene *s)
{
    uint32_t leader = SCENE_NOBODY;
    uint64_t term = 0;
    for (uint32_t i = 0; i < s->sim->options.node_count; i++) {
        const struct node *node = sim_host_node(scene_host(s, i));
        if (node && node->status.role == RAFT_LEADER && node->status.term > term) {
            leader = i;
            term = node->status.term;
        }
    }
    uint32_t followers = 0;
    for (uint32_t i = 0; i < s->sim->options.node_count; i++) {
        const struct node *node = sim_host_node(scene_host(s, i));
        followers += node && node->status.term == term && node->status.leader != 0;
    }
    return 2 * followers > s->sim->options.node_count ? leader : SCENE_NOBODY;
}

uint32_t scene_leader_but(struct scene *s, uint32_t but)
{
    for (uint64_t ms = 0; !scene_has_failed(s); ms++) {
        uint32_t leader = leader_now(s);
        if (leader != SCENE_NOBODY && leader != but)
            return leader;
        if (ms == PATIENCE_MS)
            sim_fail(s->sim, "no leader, %d s long", PATIENCE_MS / 1000);
        scene_run_us(s, STEP_US);
    }
    return 0;
}

uint32_t scene_leader(struct scene *s)
{
    return scene_leader_but(s, SCENE_NOBODY);
}

uint32_t scene_other(struct scene *s, uint32_t a, uint32_t b)
{
    uint32_t n = s->sim->options.node_count;
    uint32_t i = (uint32_t)prng_below(&s->chance, n);
    while (i == a || i == b)
        i = (i + 1) % n;
    return i;
}

uint64_t scene_term(struct scene *s)
{
    uint64_t term = 0;
    for (uint32_t i = 0; i < s->sim->options.node_count; i++) {
        const struct node *node = sim_host_node(scene_host(s, i));
        if (node && node->status.term > term)
            term = node->status.term;
    }
    return term;
}

void scene_wait_serving(struct scene *s, uint32_t node)
{
    for (uint64_t ms = 0; !scene_has_failed(s) && !node_serves(s, node); ms++) {
        if (ms == PATIENCE_MS)
            sim_fail(s->sim, "%s does not serve, %d s long", scene_host(s, node)->name,
                     PATIENCE_MS / 1000);
        scene_run_us(s, STEP_US);
    }
}

void scene_wait_exit(struct scene *s, uint32_t node, enum exit_code code)
{
    struct sim_host *h = scene_host(s, node);
    h->excused_code = code;
    for (uint64_t ms = 0; !scene_has_failed(s) && (h->proc || h->exit_code != code); ms++) {
        if (ms == PATIENCE_MS)
            sim_fail(s->sim, "%s does not end with code %d, %d s long", h->name, (int)code,
                     PATIENCE_MS / 1000);
        scene_run_us(s, STEP_US);
    }
}

void scene_wait_caught_up(struct scene *s, uint32_t i)
{
    for (uint64_t ms = 0; !scene_has_failed(s); ms++) {
        const struct node *node = sim_host_node(scene_host(s, i));
        if (node && machine_state(node->machine)->applied.index == sim_check_applied(s->sim))
            return;
        if (ms == PATIENCE_MS)
            sim_fail(s->sim, "%s does not catch up, %d s long", scene_host(s, i)->name,
                     PATIENCE_MS / 1000);
        scene_run_us(s, STEP_US);
    }
}

/* ---- faults ---- */

void scene_block(struct scene *s, uint32_t from, uint32_t to)
{
    uint64_t bit = (uint64_t)1 << to;
    if (from == to || (s->blocked[from] & bit))
        return;
    s->blocked[from] |= bit;
    sim_net_link(&s->sim->net, from, to)->blocked++;
    sim_trace_line(s->sim, "%s no longer reaches %s", s->sim->hosts[from].name,
                   s->sim->hosts[to].name);
}

void scene_isolate(struct scene *s, uint32_t node)
{
    for (uint32_t i = 0; i < s->sim->options.node_count; i++) {
        scene_block(s, node, i);
        scene_block(s, i, node);
    }
}

void scene_join(struct scene *s)
{
    for (uint32_t from = 0; from < s->sim->host_count; from++) {
        for (uint32_t to = 0; to < s->sim->host_count; to++) {
            if (s->blocked[from] & (uint64_t)1 << to)
                sim_net_link(&s->sim->net, from, to)->blocked--;
        }
        s->blocked[from] = 0;
    }
    sim_trace_line(s->sim, "all links work");
}

void scene_start_node(struct scene *s, uint32_t node)
{
    if (scene_has_failed(s))
        return;
    sim_host_give_power(scene_host(s, node));
    sim_host_start_later(scene_host(s, node), 1000);
}

void scene_stall_disk(struct scene *s, uint32_t node, uint64_t for_ms)
{
    sim_trace_line(s->sim, "the disk of %s stalls", scene_host(s, node)->name);
    scene_host(s, node)->disk_faults.stalled_until_us = s->sim->now_us + for_ms * 1000;
}

/* ---- many clients ---- */

void scene_load(struct scene *s)
{
    if (scene_has_failed(s))
        return;
    struct workload_options o = workload_options_usual();
    struct io_addr addrs[SIM_NODES_MAX];
    for (uint32_t i = 0; i < s->sim->options.node_count; i++)
        addrs[i] = scene_host(s, i)->client_addr;
    o.io = sim_host_io(&s->sim->hosts[s->sim->options.node_count]);
    o.endpoints = addrs;
    o.endpoint_count = s->sim->options.node_count;
    o.seed = prng_next(&s->chance);
    s->workload = workload_open(&o);
    ASSERT(s->workload);
    workload_start(s->workload);
}

static bool load_is_over(struct scene *s)
{
    return workload_is_drained(s->workload);
}

static void on_load_closed(void *owner)
{
    ((struct scene *)owner)->workload = NULL;
}

static bool load_is_closed(struct scene *s)
{
    return !s->workload;
}

void scene_load_end(struct scene *s)
{
    if (scene_has_failed(s))
        return;
    workload_stop(s->workload);
    wait_until(s, load_is_over, "clients' requests do not end");
    if (scene_has_failed(s))
        return;
    struct check_report report;
    enum check_verdict verdict = check_revision(workload_history(s->workload), 1, &report);
    scene_expect(s, verdict == CHECK_VALID, "the history is not valid: %s: %s",
                 report.rule ? report.rule : "?", report.text);
    const struct workload_counters *counters = workload_counters(s->workload);
    scene_expect(s, counters->malformed == 0, "%" PRIu64 " malformed answers", counters->malformed);
    scene_expect(s, counters->ok > 0, "no operation went well");
    if (scene_has_failed(s))
        return;
    workload_close(s->workload, on_load_closed, s);
    wait_until(s, load_is_closed, "clients do not close");
}
