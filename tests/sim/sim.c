#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "base/log.h"
#include "tests/sim/check.h"
#include "tests/sim/host.h"

struct prng sim_chance(const struct sim *sim, enum sim_chance purpose, uint64_t a, uint64_t b)
{
    uint64_t seed = checksum_u64(sim->options.seed, (uint64_t)purpose);
    seed = checksum_u64(seed, a);
    return prng_seeded(checksum_u64(seed, b));
}

/* The log's lines bear the time of whoever writes them. */
static uint64_t log_wall_ms(void *owner)
{
    struct sim *sim = owner;
    struct sim_proc *p = sim_proc_current();
    return p ? p->io.ops->wall_ms(&p->io) : sim->now_us / 1000;
}

static void log_open(struct sim *sim)
{
    log_setup(&(struct log_options){
        .level_min = sim->options.is_logged ? LOG_INFO : LOG_FATAL,
        .format = LOG_CONSOLE,
        .fd = fileno(stderr),
        .wall_ms = log_wall_ms,
        .wall_owner = sim,
    });
}

struct sim *sim_new(const struct sim_options *options)
{
    struct sim *sim = calloc(1, sizeof *sim);
    ASSERT(sim);
    ASSERT(options->node_count > 0 && options->node_count <= SIM_NODES_MAX);
    sim->options = *options;
    sim->trace.is_shown = options->is_traced;
    sim->host_count = options->node_count + options->client_host_count;
    ASSERT(sim->host_count <= SIM_HOSTS_MAX);
    sim->hosts = calloc(sim->host_count, sizeof *sim->hosts);
    ASSERT(sim->hosts);
    log_open(sim);
    sim->now_us = SIM_START_US;
    sim_net_init(&sim->net, sim);
    sim->check = sim_check_new(sim);
    for (uint32_t i = 0; i < sim->host_count; i++)
        sim_host_init(&sim->hosts[i], sim, i, i < options->node_count);
    return sim;
}

void sim_free(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->host_count; i++)
        sim_host_done(&sim->hosts[i]);
    sim_net_done(&sim->net);
    sim_check_free(sim->check);
    events_done(&sim->events);
    free(sim->hosts);
    free(sim);
}

void sim_run_until(struct sim *sim, uint64_t until_us)
{
    struct event *event;
    while (!sim->has_failed && (event = events_pop(&sim->events, until_us)) != NULL) {
        if (event->at_us > sim->now_us)
            sim->now_us = event->at_us;
        sim->event_count++;
        event->fn(event->owner);
    }
    if (!sim->has_failed)
        sim->now_us = until_us;
}

void sim_fail(struct sim *sim, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    sim_trace_line(sim, "FAILED: %s", text);
    if (!sim->has_failed)
        fprintf(stderr, "seed %lu: at %lu.%06lu: %s\n", (unsigned long)sim->options.seed,
                (unsigned long)(sim->now_us / 1000000), (unsigned long)(sim->now_us % 1000000),
                text);
    sim->has_failed = true;
}
