#include "tests/sim/run.h"

#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "server/node_internal.h"
#include "tests/sim/check.h"
#include "tests/sim/history.h"
#include "tests/sim/workload.h"
#include "tools/check_judge.h"

enum {
    STEP_US = 100000,
    WARM_UP_US = 3000000,
    CONVERGE_US = 60000000, /* after the last fault */
    END_US = 20000000,
    OPS_AFTER_FAULTS = 20,
    VALUE_BYTES_MAX = 20000,
};

struct run {
    const struct run_options *options;
    struct sim *sim;
    struct workload *clients; /* NULL: none */
    struct sim_nemesis *nemesis;
    struct sim_plan plan;
};

static void start_all(struct run *r)
{
    struct prng chance = sim_chance(r->sim, SIM_CHANCE_CLOCK, 0, 1);
    for (uint32_t i = 0; i < r->options->node_count; i++) /* not the spare ones */
        sim_host_start_later(&r->sim->hosts[i], prng_below(&chance, 300000));
}

/* False: a checker spoke, or it took too long. */
static bool wait_until(struct run *r, bool (*is_so)(struct run *r), uint64_t for_us)
{
    uint64_t end_us = r->sim->now_us + for_us;
    while (!r->sim->has_failed && !is_so(r) && r->sim->now_us < end_us)
        sim_run_until(r->sim, r->sim->now_us + STEP_US);
    return !r->sim->has_failed && is_so(r);
}

/* It was removed, and has not been told. Nobody tells one that was never met: it knows nobody. */
static bool has_left(const struct sim_host *h)
{
    const struct node *node = sim_host_node(h);
    return h->is_used && h->member_id != 0 && sim_check_was_removed(h->sim, h->member_id) &&
           !(node && node->membership.member_count == 0);
}

/* NULL: it has ended, as it should, or serves and knows who leads. */
static const char *is_amiss(const struct sim_host *h)
{
    const struct node *node = sim_host_node(h);
    if (has_left(h))
        return "was removed and goes on";
    if (!sim_host_must_serve(h))
        return NULL;
    if (!node || !node->is_serving)
        return "does not serve";
    return node->status.leader == 0 ? "knows no leader" : NULL;
}

static bool is_serving(struct run *r)
{
    for (uint32_t i = 0; i < r->sim->options.node_count; i++) {
        if (is_amiss(&r->sim->hosts[i]))
            return false;
    }
    return true;
}

static void say_amiss(struct run *r)
{
    for (uint32_t i = 0; i < r->sim->options.node_count; i++) {
        const char *why = is_amiss(&r->sim->hosts[i]);
        if (why)
            sim_fail(r->sim, "liveness: %s %s, %d s after the last fault", r->sim->hosts[i].name,
                     why, CONVERGE_US / 1000000);
    }
}

static bool is_drained(struct run *r)
{
    return !r->clients || workload_is_drained(r->clients);
}

static bool is_equal(struct run *r)
{
    return sim_check_has_converged(r->sim);
}

/* But for damage that nobody would come across. */
static bool is_whole(struct run *r)
{
    for (uint32_t i = 0; i < r->sim->options.node_count; i++) {
        const struct sim_host *h = &r->sim->hosts[i];
        if (sim_host_must_serve(h) &&
            (h->hurt == HURT_JOURNAL || h->was_repairing || !sim_host_node(h)))
            return false;
    }
    return is_equal(r);
}

static bool is_ended(struct run *r)
{
    for (uint32_t i = 0; i < r->sim->options.node_count; i++) {
        if (r->sim->hosts[i].proc)
            return false;
    }
    return true;
}

/* ---- clients ---- */

static void clients_open(struct run *r)
{
    const struct run_options *o = r->options;
    struct sim *sim = r->sim;
    struct io_addr endpoints[SIM_NODES_MAX];
    for (uint32_t i = 0; i < sim->options.node_count; i++)
        endpoints[i] = sim->hosts[i].client_addr;
    struct workload_options options = workload_options_usual();
    options.io = sim_host_io(&sim->hosts[sim->options.node_count]);
    options.endpoints = endpoints;
    options.endpoint_count = sim->options.node_count;
    options.seed = o->seed;
    options.process_count = o->client_count;
    options.think_max_ms = o->think_ms;
    struct prng chance = sim_chance(sim, SIM_CHANCE_LOAD, 0, 0);
    if (prng_below(&chance, 4) == 0)
        options.value_bytes = (uint32_t)prng_below(&chance, VALUE_BYTES_MAX);
    if (o->client_count == 0)
        return;
    r->clients = workload_open(&options);
    ASSERT(r->clients);
    workload_start(r->clients);
}

static uint64_t ops_done(const struct run *r)
{
    return r->clients ? workload_counters(r->clients)->ok : 0;
}

static void on_clients_closed(void *owner)
{
    ((struct run *)owner)->clients = NULL;
}

static bool are_clients_closed(struct run *r)
{
    return r->clients == NULL;
}

/* What they saw: all of it as if one thing had happened after another. */
static void clients_judge(struct run *r)
{
    if (!r->clients)
        return;
    struct check_report report;
    const struct check_wgl_budget budget = check_wgl_budget_usual();
    enum check_verdict verdict = check_judge(workload_history(r->clients), 1, &budget, &report);
    if (verdict == CHECK_INVALID)
        sim_fail(r->sim, "clients: %s: %s", report.rule, report.text);
    if (workload_counters(r->clients)->malformed > 0)
        sim_fail(r->sim, "clients: an answer does not decode");
}

/* Of a failed run, too: then some operations have no end. */
static void history_save(struct run *r)
{
    const char *path = r->options->history_path;
    if (!path || !r->clients)
        return;
    FILE *to = fopen(path, "w");
    bool is_written =
        to && history_write_edn(workload_history(r->clients), workload_classes(r->clients), to);
    if ((to && fclose(to) != 0) || !is_written)
        fprintf(stderr, "the history cannot be written to %s\n", path);
}

/* ---- phases ---- */

static void phase_faults(struct run *r)
{
    r->nemesis = sim_nemesis_new(r->sim, &r->plan);
    uint64_t end_us = r->sim->now_us + (uint64_t)r->options->seconds * 1000000;
    uint64_t steps = r->options->steps;
    while (!r->sim->has_failed && r->sim->now_us < end_us &&
           (steps == 0 || r->sim->event_count < steps))
        sim_run_until(r->sim, r->sim->now_us + STEP_US);
    if (!r->sim->has_failed)
        sim_nemesis_heal(r->nemesis);
}

static void phase_liveness(struct run *r)
{
    struct sim *sim = r->sim;
    if (!wait_until(r, is_serving, CONVERGE_US)) {
        say_amiss(r);
        return;
    }
    uint64_t applied = sim_check_applied(sim);
    uint64_t ops = ops_done(r);
    uint64_t end_us = sim->now_us + CONVERGE_US;
    while (!sim->has_failed && sim->now_us < end_us && r->clients &&
           (sim_check_applied(sim) == applied || ops_done(r) < ops + OPS_AFTER_FAULTS))
        sim_run_until(sim, sim->now_us + STEP_US);
    if (r->clients && ops_done(r) < ops + OPS_AFTER_FAULTS)
        sim_fail(sim, "liveness: nothing was committed for clients, %d s after the last fault",
                 CONVERGE_US / 1000000);
    if (r->clients)
        workload_stop(r->clients);
    if (!wait_until(r, is_drained, CONVERGE_US))
        sim_fail(sim, "liveness: clients' requests do not end");
    if (!wait_until(r, is_equal, CONVERGE_US))
        sim_fail(sim, "liveness: the members do not converge");
    sim_check_find_damage(sim);
    if (!wait_until(r, is_whole, CONVERGE_US))
        sim_fail(sim, "liveness: a damaged store is not repaired");
    if (!sim->has_failed)
        sim_check_stores(sim);
}

/* Who has just ended by a fault stays so, as with whoever would start it. */
static void phase_end(struct run *r)
{
    r->sim->is_ending = true;
    for (uint32_t i = 0; i < r->sim->options.node_count; i++)
        sim_host_terminate(&r->sim->hosts[i]);
    if (!wait_until(r, is_ended, END_US))
        sim_fail(r->sim, "SIGTERM does not end all members");
}

void run_plan(const struct run_options *o, struct sim_plan *ret_plan)
{
    uint64_t from_us = SIM_START_US + WARM_UP_US;
    sim_plan_make(ret_plan, o->profile, o->seed, o->node_count, from_us,
                  from_us + (uint64_t)o->seconds * 1000000);
    for (uint32_t i = 0; i < o->left_out_count; i++) {
        if (o->left_out[i] < ret_plan->count)
            ret_plan->faults[o->left_out[i]].is_left_out = true;
    }
}

static void scratch_name(char *to, pid_t pid)
{
    const char *dir = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(to, SIM_PATH_BYTES, "%s/holdfast-sim-%d", dir, (int)pid);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    IGNORE(st == NULL || type < 0 || ftw == NULL, "everything goes");
    return remove(path);
}

void run_scratch_remove(pid_t pid)
{
    char scratch[SIM_PATH_BYTES];
    scratch_name(scratch, pid);
    IGNORE(nftw(scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS), "it need not be there");
}

void run_scratch_enter(void)
{
    char scratch[SIM_PATH_BYTES];
    run_scratch_remove(getpid());
    scratch_name(scratch, getpid());
    ASSERT(mkdir(scratch, 0700) == 0 && chdir(scratch) == 0);
}

static void open_world(struct run *r)
{
    const struct run_options *o = r->options;
    uint32_t spare = o->profile->spare_count;
    if (o->node_count + spare > SIM_NODES_MAX)
        spare = SIM_NODES_MAX - o->node_count;
    run_scratch_enter();
    r->sim = sim_new(&(struct sim_options){
        .seed = o->seed,
        .node_count = o->node_count + spare,
        .spare_count = spare,
        .log_entries = o->profile->log_entries,
        .is_snapshot_slow = o->profile->is_snapshot_slow,
        .client_host_count = 1,
        .is_wide = o->profile->is_wide,
        .clock_drift_ppm = o->profile->drift_ppm,
        .is_traced = o->is_traced,
        .is_logged = o->is_logged,
        .scratch = ".",
    });
    run_plan(o, &r->plan);
    if (o->prints_plan)
        sim_plan_print(&r->plan, stdout);
}

struct run_result run(const struct run_options *options)
{
    struct run r = { .options = options };
    open_world(&r);
    start_all(&r);
    clients_open(&r);
    sim_run_until(r.sim, r.sim->now_us + WARM_UP_US);
    phase_faults(&r);
    if (!r.sim->has_failed)
        phase_liveness(&r);
    if (!r.sim->has_failed)
        phase_end(&r);
    uint64_t op_count = ops_done(&r);
    if (!r.sim->has_failed)
        clients_judge(&r);
    history_save(&r);
    if (!r.sim->has_failed && r.clients) {
        workload_close(r.clients, on_clients_closed, &r);
        if (!wait_until(&r, are_clients_closed, END_US))
            sim_fail(r.sim, "the clients do not end");
    }
    struct run_result result = {
        .is_good = !r.sim->has_failed,
        .hash = r.sim->trace.hash,
        .op_count = op_count,
        .event_count = r.sim->event_count,
        .virtual_us = r.sim->now_us,
        .applied_count = sim_check_applied(r.sim),
        .fault_count = r.plan.count,
    };
    /* A world that failed stays as it stands, and ends with the process. */
    if (result.is_good) {
        sim_nemesis_free(r.nemesis);
        sim_free(r.sim);
    }
    run_scratch_remove(getpid());
    return result;
}
