#include "tests/sim/trace.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/checksum.h"
#include "server/node_internal.h"
#include "tests/sim/host.h"

void sim_trace(struct sim *sim, enum sim_trace_kind kind, uint64_t host, uint64_t a, uint64_t b)
{
    struct sim_trace *t = &sim->trace;
    t->count++;
    uint64_t hash = t->hash;
    hash = checksum_u64(hash, sim->now_us);
    hash = checksum_u64(hash, (uint64_t)kind << 32 | host);
    hash = checksum_u64(hash, a);
    t->hash = checksum_u64(hash, b);
}

static void print_column(const struct sim_host *h)
{
    const struct node *node = sim_host_node(h);
    if (!node || !node->machine || !node->raft) {
        printf(" %-18s", h->has_power ? "-" : "--");
        return;
    }
    static const char roles[] = { [RAFT_FOLLOWER] = 'F',
                                  [RAFT_PRE_CANDIDATE] = 'p',
                                  [RAFT_CANDIDATE] = 'C',
                                  [RAFT_LEADER] = 'L' };
    char text[64];
    snprintf(text, sizeof text, "%c%s%" PRIu64 " %" PRIu64 "/%" PRIu64, roles[node->status.role],
             h->proc->is_paused ? "z" : "", node->status.term, raft_commit_index(node->raft),
             machine_state(node->machine)->applied.index);
    printf(" %-18s", text);
}

void sim_trace_line(struct sim *sim, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    sim->trace.count++;
    sim->trace.hash = checksum(slice_of_text(text), sim->trace.hash ^ sim->now_us);
    if (!sim->trace.is_shown)
        return;
    printf("%5" PRIu64 ".%06" PRIu64 " |", sim->now_us / 1000000, sim->now_us % 1000000);
    for (uint32_t i = 0; i < sim->options.node_count; i++)
        print_column(&sim->hosts[i]);
    printf(" | %s\n", text);
}
