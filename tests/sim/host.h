/* host.h: a machine of the world: an address, a disk, and one process or none.
 *
 * Nodes' hosts run holdfastd's daemon (server/daemon.h). Clients' hosts have no disk, and a
 * process for each life of the clients on it.
 */
#ifndef TESTS_SIM_HOST_H
#define TESTS_SIM_HOST_H

#include "server/daemon.h"
#include "tests/sim/proc.h"

enum { SIM_CLIENT_PORT = 2379, SIM_PEER_PORT = 2380, SIM_PEER_PORTS = 2, SIM_URL_BYTES = 32 };

/* What is the matter with its durable data. */
enum sim_hurt {
    HURT_NOT,
    HURT_JOURNAL, /* the next start finds it */
    HURT_STORE,   /* whoever reads the row finds it */
    HURT_VOTE,    /* nothing but another member in its place helps */
    HURT_BLANK,
};

/* What the disk does wrong, for as long as a fault lasts. */
struct sim_disk_faults {
    uint64_t stalled_until_us;
    uint32_t slow_us;          /* more, each operation */
    uint32_t write_errors_ppm; /* EIO */
    uint32_t read_errors_ppm;
    bool is_full;    /* ENOSPC */
    bool has_failed; /* ever: what of its exit codes that explains */
    bool was_full;
};

struct sim_host {
    struct sim *sim;
    uint32_t index;
    bool is_node;
    char name[16];
    struct io_addr client_addr;
    struct io_addr peer_addr;
    struct fake_disk *disk;
    struct sim_disk_faults disk_faults;
    char store_path[SIM_PATH_BYTES];
    struct prng disk_chance;
    struct prng crash_chance;
    struct prng job_chance;
    int64_t clock_offset_ms; /* of the wall clock */
    int64_t clock_drift_ppm; /* of both clocks */

    bool has_power;
    uint32_t epoch; /* of the kernel: a new one after each power loss */
    uint32_t lives; /* processes so far */
    struct sim_proc *proc;
    struct daemon *daemon; /* NULL: none, or closed */
    struct options flags;
    bool is_serving;
    bool is_stopping; /* SIGTERM was sent */
    enum sim_hurt hurt;
    bool was_repairing;      /* since it was hurt */
    bool is_used;            /* is, or is to be, a member; not spare, not removed */
    uint64_t member_id;      /* 0: not known yet */
    bool had_voice;          /* as this member */
    struct daemon_join join; /* cluster_id 0: it is of the initial cluster */
    char peer_urls[SIM_PEER_PORTS][SIM_URL_BYTES]; /* it listens on all of them */
    const char *peer_url_list[SIM_PEER_PORTS];
    bool starts_again;        /* once it has ended */
    bool wants_power_cut;     /* the death that is under way takes the power, too */
    enum exit_code exit_code; /* of the last life that ended by itself */
    char exit_text[DAEMON_DETAIL_BYTES];
    enum exit_code excused_code; /* a story expects this end of it: then it is not started again */
    struct event burial;         /* the process has died in its own turn */
    struct event restart;        /* a supervisor starts it again */
};

void sim_host_init(struct sim_host *h, struct sim *sim, uint32_t index, bool is_node);
void sim_host_done(struct sim_host *h);

bool sim_host_is_up(const struct sim_host *h); /* has a process that lives */
struct node *sim_host_node(const struct sim_host *h);

/* Starts the daemon. False: it could not, and says why in exit_text. */
bool sim_host_start(struct sim_host *h);
void sim_host_start_later(struct sim_host *h, uint64_t after_us);

void sim_host_terminate(struct sim_host *h); /* SIGTERM */
void sim_host_kill(struct sim_host *h);      /* kill -9 */
void sim_host_cut_power(struct sim_host *h);
void sim_host_give_power(struct sim_host *h);
void sim_host_pause(struct sim_host *h);
void sim_host_resume(struct sim_host *h);
void sim_host_wipe(struct sim_host *h); /* a blank disk; no process runs */

/* A spare host, or one whose member is no more: from its next start on it joins as this member. */
void sim_host_adopt(struct sim_host *h, uint64_t cluster_id, uint64_t member_id);

/* The world no longer counts on it. */
void sim_host_retire(struct sim_host *h);

/* Down for good, and with reason: it waits for another member in its place. */
bool sim_host_is_excused(const struct sim_host *h);

/* A member, and not one that is excused: in the end it serves. */
bool sim_host_must_serve(const struct sim_host *h);

/* Whether faults explain that its last process ended as it did. */
bool sim_host_may_end_so(const struct sim_host *h);

/* The process dies in the midst of its nth blocking call or LMDB commit from now. */
void sim_host_kill_within(struct sim_host *h, uint64_t nth, bool with_power);
/* It does not after all. */
void sim_host_spare(struct sim_host *h);

/* proc.c: it died where it stands. */
void sim_host_on_death(struct sim_host *h);

/* A clients' host: its process, on which any number of clients live. */
struct io *sim_host_io(struct sim_host *h);

#endif
