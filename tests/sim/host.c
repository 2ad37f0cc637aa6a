#include "tests/sim/host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "server/node_internal.h"
#include "tests/sim/check.h"

enum {
    START_US_MIN = 5000, /* exec, reading the journal, opening LMDB */
    START_US_MAX = 30000,
    ARGS_MAX = 32,
    ARG_BYTES = 1024,
    GRACE_MS = 1000,
    RESTART_US = 1000000,
};

/* ---- flags, as an operator would write them ---- */

struct args {
    char texts[ARGS_MAX][ARG_BYTES];
    char *argv[ARGS_MAX + 1];
    int argc;
};

static void arg_add(struct args *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void arg_add(struct args *a, const char *format, ...)
{
    ASSERT(a->argc < ARGS_MAX);
    va_list list;
    va_start(list, format);
    int n = vsnprintf(a->texts[a->argc], ARG_BYTES, format, list);
    va_end(list);
    ASSERT(n > 0 && n < ARG_BYTES);
    a->argv[a->argc] = a->texts[a->argc];
    a->argc++;
}

static void args_fill(struct args *a, const struct sim_host *h)
{
    const struct sim_options *o = &h->sim->options;
    char cluster[ARG_BYTES] = "";
    for (uint32_t i = 0, at = 0; i < o->node_count - o->spare_count; i++)
        at += (uint32_t)snprintf(cluster + at, sizeof cluster - at, "%sn%u=http://10.0.0.%u:%d",
                                 i ? "," : "", i + 1, i + 1, SIM_PEER_PORT);
    arg_add(a, "holdfastd");
    arg_add(a, "--name=%s", h->name);
    arg_add(a, "--data-dir=data");
    arg_add(a, "--listen-client-urls=http://10.0.0.%u:%d", h->index + 1, SIM_CLIENT_PORT);
    arg_add(a, "--advertise-client-urls=http://10.0.0.%u:%d", h->index + 1, SIM_CLIENT_PORT);
    arg_add(a, "--listen-peer-urls=%s,%s", h->peer_urls[0], h->peer_urls[1]);
    arg_add(a, "--initial-advertise-peer-urls=%s", h->peer_urls[0]);
    arg_add(a, "--initial-cluster=%s", cluster);
    arg_add(a, "--heartbeat-interval=%lu",
            (unsigned long)(o->heartbeat_ms ? o->heartbeat_ms : 100));
    arg_add(a, "--election-timeout=%lu", (unsigned long)(o->election_ms ? o->election_ms : 1000));
    arg_add(a, "--max-request-bytes=65536");
    uint32_t log_entries = o->log_entries ? o->log_entries : 500;
    arg_add(a, "--snapshot-count=%u", log_entries);
    arg_add(a, "--snapshot-catchup-entries=%u", log_entries);
}

static void flags_parse(struct sim_host *h)
{
    static struct args args;
    args.argc = 0;
    args_fill(&args, h);
    args.argv[args.argc] = NULL;
    char *environment[] = { NULL };
    char detail[OPTIONS_DETAIL_BYTES] = "";
    if (!options_parse(&h->flags, args.argc, args.argv, environment, detail))
        sim_fail(h->sim, "%s: flags: %s", h->name, detail);
}

/* ---- life of the host ---- */

static void host_on_burial(void *owner);
static void host_on_restart(void *owner);

static struct io_addr addr_of(uint32_t index, uint16_t port)
{
    struct sockaddr_in ipv4 = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(0x0a000000u + index + 1),
    };
    struct io_addr addr = { .sa_size = sizeof ipv4 };
    memcpy(&addr.sa, &ipv4, sizeof ipv4);
    return addr;
}

static void store_dir_make(const struct sim_host *h)
{
    char dir[SIM_PATH_BYTES];
    snprintf(dir, sizeof dir, "%s/%s", h->sim->options.scratch, h->name);
    ASSERT(mkdir(dir, 0700) == 0 || errno == EEXIST);
}

void sim_host_init(struct sim_host *h, struct sim *sim, uint32_t index, bool is_node)
{
    *h = (struct sim_host){ .sim = sim, .index = index, .is_node = is_node, .has_power = true };
    snprintf(h->name, sizeof h->name, "%c%u", is_node ? 'n' : 'c', index + 1);
    h->client_addr = addr_of(index, SIM_CLIENT_PORT);
    h->peer_addr = addr_of(index, SIM_PEER_PORT);
    h->disk_chance = sim_chance(sim, SIM_CHANCE_DISK, index, 0);
    h->crash_chance = sim_chance(sim, SIM_CHANCE_CRASH, index, 0);
    h->job_chance = sim_chance(sim, SIM_CHANCE_JOBS, index, 0);
    struct prng clock = sim_chance(sim, SIM_CHANCE_CLOCK, index, 0);
    uint32_t drift = sim->options.clock_drift_ppm;
    if (drift > 0)
        h->clock_drift_ppm = (int64_t)prng_below(&clock, 2 * drift + 1) - drift;
    h->is_used = index < sim->options.node_count - sim->options.spare_count;
    for (int i = 0; i < SIM_PEER_PORTS; i++) {
        snprintf(h->peer_urls[i], SIM_URL_BYTES, "http://10.0.0.%u:%d", index + 1,
                 SIM_PEER_PORT + i);
        h->peer_url_list[i] = h->peer_urls[i];
    }
    event_init(&h->burial, host_on_burial, h);
    event_init(&h->restart, host_on_restart, h);
    if (!is_node)
        return;
    h->disk = fake_disk_new();
    int n =
        snprintf(h->store_path, sizeof h->store_path, "%s/%s/store", sim->options.scratch, h->name);
    ASSERT(n > 0 && (size_t)n < sizeof h->store_path);
    store_dir_make(h);
    flags_parse(h);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    IGNORE(st == NULL || type < 0 || ftw == NULL, "everything goes");
    return remove(path);
}

static void store_remove(const struct sim_host *h)
{
    char dir[SIM_PATH_BYTES];
    snprintf(dir, sizeof dir, "%s/%s", h->sim->options.scratch, h->name);
    IGNORE(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), "it need not be there");
}

void sim_host_done(struct sim_host *h)
{
    if (h->proc && h->is_node) {
        sim_host_kill(h);
    } else if (h->proc) {
        sim_net_proc_gone(h->proc, false);
        sim_proc_abandon(h->proc);
        sim_proc_free(h->proc);
    }
    event_cancel(&h->sim->events, &h->burial);
    event_cancel(&h->sim->events, &h->restart);
    if (!h->is_node)
        return;
    fake_disk_free(h->disk);
    store_remove(h);
    options_done(&h->flags);
}

bool sim_host_is_up(const struct sim_host *h)
{
    return h->proc && !h->proc->is_dead;
}

struct node *sim_host_node(const struct sim_host *h)
{
    return h->daemon ? daemon_node(h->daemon) : NULL;
}

struct io *sim_host_io(struct sim_host *h)
{
    ASSERT(!h->is_node);
    if (!h->proc) {
        h->lives++;
        h->proc = sim_proc_new(h, NULL, NULL);
    }
    return &h->proc->io;
}

/* ---- a process of the daemon ---- */

static void on_turn_end(void *owner)
{
    struct sim_host *h = owner;
    if (h->daemon)
        daemon_turn_end(h->daemon);
}

static void on_fatal(void *owner, enum exit_code code, const char *text)
{
    struct sim_host *h = owner;
    if (h->proc->is_dead)
        return;
    h->exit_code = code;
    snprintf(h->exit_text, sizeof h->exit_text, "%s", text);
    sim_proc_kill(h->proc);
    if (!h->proc->in_turn)
        sim_host_on_death(h);
}

static void on_serving(void *owner)
{
    struct sim_host *h = owner;
    h->is_serving = true;
    sim_trace_line(h->sim, "%s serves", h->name);
}

static void on_closed(void *owner)
{
    struct sim_host *h = owner;
    h->daemon = NULL;
    if (!h->proc->is_dead)
        event_set(&h->sim->events, &h->burial, h->sim->now_us);
}

/* One of these, by the seed and the life: the same data under other limits. */
static uint64_t pick(struct prng *chance, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t all[] = { a, b, c };
    return all[prng_below(chance, 3)];
}

static struct daemon_sizes sizes_small(const struct sim_host *h)
{
    struct prng chance = sim_chance(h->sim, SIM_CHANCE_SIZES, h->index, h->lives);
    uint64_t keep = pick(&chance, 4 << 10, 64 << 10, 1 << 20);
    uint64_t dirty = pick(&chance, 64 << 10, 256 << 10, 64 << 20);
    uint64_t rows = pick(&chance, 20, 200, 10000);
    uint64_t memtable = pick(&chance, 32 << 10, 256 << 10, 1 << 20);
    uint64_t per_s = pick(&chance, 512 << 10, 2 << 20, 16 << 20);
    uint64_t chunk = pick(&chance, 1 << 10, 4 << 10, 16 << 10);
    bool is_slow = h->sim->options.is_snapshot_slow;
    return (struct daemon_sizes){
        .window_bytes_keep = keep,
        .store_dirty_bytes_max = dirty,
        .compact_rows_max = (uint32_t)rows,
        .connections_max = 1024,
        .requests_max = 4096,
        .window_entries_max = 8192,
        .views_max = 16,
        .read_jobs_max = 8,
        .learners_max = SIM_NODES_MAX,
        .log_retain_factor = 1,
        .log_retain_bytes_max = 4 << 20,
        .snapshot_bytes_per_s = is_slow ? per_s : 16 << 20,
        .snapshot_chunk_bytes = is_slow ? (uint32_t)chunk : 16 << 10,
        .journal_segment_count_max = 8,
        .journal_segment_bytes = 256 << 10,
        .memtable_bytes_max = memtable,
        .map_bytes = (uint64_t)1 << 30,
        .requests_bytes_max = 16 << 20,
        .responses_bytes_max = 64 << 20,
    };
}

static bool is_gone(void *owner)
{
    return ((struct sim_host *)owner)->daemon == NULL;
}

/* Whether it might end like that, and whether a supervisor starts it again. */
static void judge_end(struct sim_host *h)
{
    if (h->starts_again)
        sim_host_start_later(h, RESTART_US);
    h->starts_again = false;
    if (h->exit_code == EXIT_CODE_OK || h->exit_code == h->excused_code)
        return;
    if (!sim_host_may_end_so(h))
        sim_fail(h->sim, "%s ends with code %d, for no reason: %s", h->name, (int)h->exit_code,
                 h->exit_text);
    else if (h->exit_code == EXIT_CODE_REMOVED)
        sim_host_retire(h);
    else if (h->exit_code == EXIT_CODE_REPAIR)
        sim_host_start_later(h, START_US_MIN);
    else if (h->hurt != HURT_VOTE && h->hurt != HURT_BLANK) /* nobody has replaced it yet */
        sim_host_start_later(h, RESTART_US);
}

/* The process has ended, in whatever way: its kernel and disk see to what it leaves. */
static void bury(struct sim_host *h)
{
    struct sim_proc *p = h->proc;
    event_cancel(&h->sim->events, &h->burial);
    sim_proc_kill(p);
    sim_net_proc_gone(p, !h->wants_power_cut);
    enum fake_crash kind = h->wants_power_cut ? FAKE_CRASH_POWER : FAKE_CRASH_PROCESS;
    fake_disk_crash(h->disk, kind, &h->crash_chance);
    if (h->wants_power_cut) {
        h->has_power = false;
        h->epoch++;
    }
    if (h->daemon) {
        daemon_halt(h->daemon);
        if (!h->is_stopping)
            daemon_close(h->daemon, 0, on_closed, h);
        sim_proc_drain(p, is_gone, h);
    }
    sim_proc_free(p);
    h->proc = NULL;
    h->wants_power_cut = false;
    h->is_serving = false;
    h->is_stopping = false;
    sim_check_on_end(h);
    judge_end(h);
}

bool sim_host_is_excused(const struct sim_host *h)
{
    return !h->is_used || (!h->proc && (h->hurt == HURT_VOTE || h->hurt == HURT_BLANK));
}

bool sim_host_must_serve(const struct sim_host *h)
{
    return !sim_host_is_excused(h) &&
           (h->member_id == 0 || sim_check_is_member(h->sim, h->member_id));
}

bool sim_host_may_end_so(const struct sim_host *h)
{
    switch (h->exit_code) {
    case EXIT_CODE_OK:
        return true;
    case EXIT_CODE_REPAIR:
        return h->hurt == HURT_STORE;
    case EXIT_CODE_IO:
        return h->disk_faults.has_failed;
    case EXIT_CODE_NO_SPACE:
        return h->disk_faults.was_full;
    case EXIT_CODE_CORRUPT:
        return h->hurt == HURT_VOTE;
    case EXIT_CODE_BLANK_DISK:
        return h->hurt == HURT_BLANK;
    case EXIT_CODE_REMOVED:
        return sim_check_was_removed(h->sim, h->member_id);
    case EXIT_CODE_FAILURE:
    case EXIT_CODE_USAGE:
    case EXIT_CODE_ADDRESS:
    case EXIT_CODE_FOREIGN_DATA:
    case EXIT_CODE_LOCKED_DATA:
    case EXIT_CODE_KERNEL:
    case EXIT_CODE_VERSION:
        break;
    }
    return false;
}

static void host_on_burial(void *owner)
{
    struct sim_host *h = owner;
    if (h->exit_code != EXIT_CODE_OK)
        sim_trace_line(h->sim, "%s stops with code %d: %s", h->name, (int)h->exit_code,
                       h->exit_text);
    else if (h->is_stopping && !h->daemon)
        sim_trace_line(h->sim, "%s has ended", h->name);
    else
        sim_trace_line(h->sim, "%s dies%s", h->name, h->wants_power_cut ? " with its host" : "");
    bury(h);
}

void sim_host_on_death(struct sim_host *h)
{
    event_set(&h->sim->events, &h->burial, h->sim->now_us);
}

bool sim_host_start(struct sim_host *h)
{
    ASSERT(!h->proc && h->has_power && h->is_used);
    event_cancel(&h->sim->events, &h->restart);
    h->lives++;
    h->exit_code = EXIT_CODE_OK;
    h->exit_text[0] = '\0';
    h->proc = sim_proc_new(h, on_turn_end, h);
    struct daemon_options options = {
        .io = &h->proc->io,
        .flags = &h->flags,
        .store_path = h->store_path,
        .join = h->join.cluster_id != 0 ? &h->join : NULL,
        .sizes = sizes_small(h),
        .on_fatal = on_fatal,
        .on_serving = on_serving,
        .owner = h,
    };
    struct sim_proc *before = sim_proc_enter(h->proc);
    enum exit_code code = daemon_open(&h->daemon, &options, h->exit_text);
    sim_proc_enter(before);
    if (h->proc->is_dead) {
        sim_trace_line(h->sim, "%s dies while it starts", h->name);
        bury(h);
        return false;
    }
    h->exit_code = code;
    if (code != EXIT_CODE_OK) {
        sim_trace_line(h->sim, "%s cannot start, code %d: %s", h->name, (int)code, h->exit_text);
        bury(h);
        return false;
    }
    h->proc->busy_until_us =
        h->sim->now_us + START_US_MIN + prng_below(&h->job_chance, START_US_MAX - START_US_MIN);
    sim_proc_wake(h->proc, h->proc->busy_until_us);
    h->member_id = sim_host_node(h)->identity.member_id;
    sim_trace_line(h->sim, "%s starts", h->name);
    sim_check_on_start(h);
    return true;
}

static void host_on_restart(void *owner)
{
    struct sim_host *h = owner;
    if (!h->proc && h->has_power && h->is_used && !h->sim->is_ending)
        IGNORE(sim_host_start(h), "the trace says why not");
}

void sim_host_start_later(struct sim_host *h, uint64_t after_us)
{
    event_set(&h->sim->events, &h->restart, h->sim->now_us + after_us);
}

void sim_host_terminate(struct sim_host *h)
{
    if (!sim_host_is_up(h) || h->is_stopping)
        return;
    sim_trace_line(h->sim, "%s gets SIGTERM", h->name);
    h->is_stopping = true;
    struct sim_proc *before = sim_proc_enter(h->proc);
    daemon_close(h->daemon, GRACE_MS, on_closed, h);
    sim_proc_enter(before);
    sim_proc_wake(h->proc, h->sim->now_us);
}

void sim_host_kill(struct sim_host *h)
{
    if (!h->proc || event_is_set(&h->burial))
        return;
    sim_trace_line(h->sim, "%s is killed", h->name);
    bury(h);
}

void sim_host_cut_power(struct sim_host *h)
{
    if (!h->has_power)
        return;
    sim_trace_line(h->sim, "%s loses power", h->name);
    if (h->proc) {
        h->exit_code = EXIT_CODE_OK;
        h->wants_power_cut = true;
        bury(h);
        return;
    }
    h->has_power = false;
    h->epoch++;
    fake_disk_crash(h->disk, FAKE_CRASH_POWER, &h->crash_chance);
}

void sim_host_give_power(struct sim_host *h)
{
    h->has_power = true;
}

void sim_host_pause(struct sim_host *h)
{
    if (!sim_host_is_up(h) || h->proc->is_paused)
        return;
    sim_trace_line(h->sim, "%s pauses", h->name);
    sim_proc_pause(h->proc);
}

void sim_host_resume(struct sim_host *h)
{
    if (!sim_host_is_up(h) || !h->proc->is_paused)
        return;
    sim_trace_line(h->sim, "%s goes on", h->name);
    sim_proc_resume(h->proc);
}

void sim_host_wipe(struct sim_host *h)
{
    ASSERT(!h->proc);
    sim_trace_line(h->sim, "%s gets a blank disk", h->name);
    fake_disk_free(h->disk);
    h->disk = fake_disk_new();
    store_remove(h);
    store_dir_make(h);
}

void sim_host_adopt(struct sim_host *h, uint64_t cluster_id, uint64_t member_id)
{
    ASSERT(!h->proc);
    sim_host_wipe(h);
    h->hurt = HURT_NOT;
    h->was_repairing = false;
    h->had_voice = false;
    h->is_used = true;
    h->member_id = member_id;
    h->join = (struct daemon_join){
        .cluster_id = cluster_id,
        .member_id = member_id,
        .peer_urls = h->peer_url_list,
        .peer_url_count = 1,
    };
}

void sim_host_retire(struct sim_host *h)
{
    sim_trace_line(h->sim, "%s is no member any more", h->name);
    event_cancel(&h->sim->events, &h->restart);
    h->is_used = false;
    h->member_id = 0;
    h->hurt = HURT_NOT;
}

void sim_host_kill_within(struct sim_host *h, uint64_t nth, bool with_power)
{
    if (!sim_host_is_up(h))
        return;
    h->proc->crash_after = nth;
    h->wants_power_cut = with_power;
}

void sim_host_spare(struct sim_host *h)
{
    if (!sim_host_is_up(h))
        return;
    h->proc->crash_after = 0;
    h->wants_power_cut = false;
}
