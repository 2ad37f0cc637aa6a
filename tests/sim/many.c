#include "tests/sim/many.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"

enum { RUN_WALL_S_MAX = 600 }; /* a run that takes longer hangs */

/* What a mixed set goes through. */
static const struct {
    const char *profile;
    uint32_t node_count;
} mix[] = {
    { "usual", 3 },  { "crash", 3 },    { "members", 3 }, { "net", 3 },      { "disk", 3 },
    { "repair", 3 }, { "snapshot", 3 }, { "usual", 5 },   { "crash", 5 },    { "members", 5 },
    { "wan", 3 },    { "damage", 3 },   { "zones", 5 },   { "snapshot", 5 }, { "members", 3 },
    { "net", 5 },    { "repair", 5 },   { "disk", 5 },    { "usual", 7 },    { "damage", 5 },
    { "zones", 7 },  { "calm", 3 },
};

struct slot {
    pid_t pid; /* 0: idle */
    struct run_options options;
    struct run_result *result; /* shared with the child */
};

struct many {
    const struct many_options *options;
    struct slot slots[MANY_JOBS_MAX];
    FILE *report;
    double began_s;
    uint64_t seed_next;
    uint64_t good;
    uint64_t bad;
    uint64_t op_count;
    uint64_t virtual_us;
    uint64_t fault_count;
};

static double wall_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void many_print_command(const struct run_options *o, FILE *to)
{
    fprintf(to, "make sim SEED=%" PRIu64 " NODES=%u PROFILE=%s SECONDS=%u", o->seed, o->node_count,
            o->profile->name, o->seconds);
    if (o->client_count != RUN_CLIENTS)
        fprintf(to, " CLIENTS=%u", o->client_count);
    if (o->left_out_count > 0)
        fprintf(to, " WITHOUT=");
    for (uint32_t i = 0; i < o->left_out_count; i++)
        fprintf(to, "%s%u", i ? "," : "", o->left_out[i]);
    fputc('\n', to);
}

/* ---- one process ---- */

static struct run_result *shared_new(void)
{
    void *memory = mmap(NULL, sizeof(struct run_result), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT(memory != MAP_FAILED);
    return memory;
}

static void be_quiet(void)
{
    int fd = open("/dev/null", O_WRONLY);
    IGNORE(dup2(fd, STDOUT_FILENO) < 0, "then it is not quiet");
    IGNORE(dup2(fd, STDERR_FILENO) < 0, "then it is not quiet");
}

static pid_t run_begin(const struct run_options *options, bool is_quiet, struct run_result *result)
{
    *result = (struct run_result){ 0 };
    fflush(NULL);
    pid_t pid = fork();
    ASSERT(pid >= 0);
    if (pid > 0)
        return pid;
    if (is_quiet)
        be_quiet();
    alarm(RUN_WALL_S_MAX);
    *result = run(options);
    fflush(NULL);
    _exit(result->is_good ? 0 : 1);
}

static bool run_ended_well(int status, const struct run_result *result)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 && result->is_good;
}

bool many_run_one(const struct run_options *options, bool is_quiet, struct run_result *ret_result)
{
    struct run_result *result = shared_new();
    pid_t pid = run_begin(options, is_quiet, result);
    int status;
    ASSERT(waitpid(pid, &status, 0) == pid);
    *ret_result = *result;
    munmap(result, sizeof *result);
    run_scratch_remove(pid);
    return run_ended_well(status, ret_result);
}

/* ---- many ---- */

static bool is_over(const struct many *m)
{
    const struct many_options *o = m->options;
    return m->seed_next > o->seed_last || (o->ends_at_bad && m->bad > 0) ||
           (o->minutes > 0 && wall_s() - m->began_s > 60.0 * o->minutes);
}

static void slot_begin(struct many *m, struct slot *slot)
{
    slot->options = m->options->run;
    slot->options.seed = m->seed_next++;
    if (m->options->is_mixed) {
        size_t i = slot->options.seed % (sizeof mix / sizeof mix[0]);
        slot->options.profile = sim_profile_find(mix[i].profile);
        slot->options.node_count = mix[i].node_count;
    }
    slot->pid = run_begin(&slot->options, false, slot->result);
}

static void slot_end(struct many *m, struct slot *slot, int status)
{
    run_scratch_remove(slot->pid);
    slot->pid = 0;
    m->op_count += slot->result->op_count;
    m->virtual_us += slot->result->virtual_us;
    m->fault_count += slot->result->fault_count;
    if (run_ended_well(status, slot->result)) {
        m->good++;
        return;
    }
    m->bad++;
    FILE *both[] = { stdout, m->report };
    for (int i = 0; i < 2 && both[i]; i++) {
        if (WIFSIGNALED(status))
            fprintf(both[i], "FAILED, signal %d: ", WTERMSIG(status));
        else
            fprintf(both[i], "FAILED: ");
        many_print_command(&slot->options, both[i]);
        fflush(both[i]);
    }
}

static void wait_for_one(struct many *m)
{
    int status;
    pid_t pid = waitpid(-1, &status, 0);
    ASSERT(pid > 0);
    for (uint32_t i = 0; i < m->options->jobs; i++) {
        if (m->slots[i].pid == pid)
            slot_end(m, &m->slots[i], status);
    }
}

static bool any_runs(const struct many *m)
{
    for (uint32_t i = 0; i < m->options->jobs; i++) {
        if (m->slots[i].pid != 0)
            return true;
    }
    return false;
}

static void print_summary(const struct many *m, FILE *to)
{
    double took_s = wall_s() - m->began_s;
    double hours = (double)m->virtual_us / 3.6e9;
    fprintf(to,
            "seeds %" PRIu64 "-%" PRIu64 ": %.1f virtual hours in %.0f s, %" PRIu64
            " operations, %" PRIu64 " faults\n",
            m->options->seed_first, m->seed_next - 1, hours, took_s, m->op_count, m->fault_count);
    fprintf(to, "%" PRIu64 " passed, %" PRIu64 " failed\n", m->good, m->bad);
}

uint64_t many_run(const struct many_options *options)
{
    ASSERT(options->jobs > 0 && options->jobs <= MANY_JOBS_MAX);
    struct many m = { .options = options, .began_s = wall_s(), .seed_next = options->seed_first };
    if (options->report_path)
        m.report = fopen(options->report_path, "w");
    for (uint32_t i = 0; i < options->jobs; i++)
        m.slots[i].result = shared_new();
    while (!is_over(&m) || any_runs(&m)) {
        for (uint32_t i = 0; i < options->jobs && !is_over(&m); i++) {
            if (m.slots[i].pid == 0)
                slot_begin(&m, &m.slots[i]);
        }
        wait_for_one(&m);
    }
    print_summary(&m, stdout);
    if (m.report) {
        print_summary(&m, m.report);
        fclose(m.report);
    }
    for (uint32_t i = 0; i < options->jobs; i++)
        munmap(m.slots[i].result, sizeof(struct run_result));
    return m.bad;
}
