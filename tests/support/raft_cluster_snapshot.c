/* Snapshots on their way, and disks that lose what they held. A snapshot is its position: its
 * contents are what is known to be committed. */
#include <stdlib.h>

#include "base/assert.h"
#include "tests/support/raft_cluster.h"
#include "tests/support/raft_cluster_net.h"

#define LU(x) ((unsigned long)(x))

uint64_t cluster_hash_at(const struct cluster *c, uint64_t index)
{
    uint64_t hash = 0;
    ASSERT(index <= c->truth_count);
    for (uint64_t i = 1; i <= index; i++)
        hash = cluster_extend_hash(hash, &c->truth[i]);
    return hash;
}

/* ---- the sender ---- */

void cluster_snapshot_begin(struct cluster *c, struct cluster_node *n, uint64_t to)
{
    struct cluster_snapshot snapshot = {
        .from = n->id,
        .from_life = n->life,
        .to = to,
        .term = raft_status(n->raft).term,
        .pos = c->truth[n->applied].pos,
    };
    if (n->hold_index == 0 || n->hold_index > n->applied)
        n->hold_index = n->applied;
    cluster_trace(c, n->id, "snapshot %lu.%lu to=n%lu", LU(snapshot.pos.term),
                  LU(snapshot.pos.index), LU(to));
    cluster_later(c, (struct cluster_event){
                         .due_ms = c->now_ms + c->options.link_max_ms + prng_below(&c->prng, 20),
                         .kind = CLUSTER_SNAPSHOT,
                         .node = (uint32_t)to - 1,
                         .snapshot = snapshot,
                     });
}

void cluster_on_snapshot_sent(struct cluster *c, struct cluster_node *n,
                              const struct cluster_snapshot *snapshot)
{
    n->hold_index = 0;
    cluster_trace(c, n->id, "snapshot %lu.%lu %s to=n%lu", LU(snapshot->pos.term),
                  LU(snapshot->pos.index), snapshot->ok ? "sent" : "failed", LU(snapshot->to));
    IGNORE(cluster_feed(c, n->id,
                        (struct raft_event){ .type = RAFT_EV_SNAPSHOT_SENT,
                                             .snapshot_sent = { .member = snapshot->to,
                                                                .pos = snapshot->pos,
                                                                .ok = snapshot->ok } }),
           "cannot fail");
}

/* ---- the receiver ---- */

/* The entries behind the snapshot that the core keeps, for the disk. */
static void disk_reset(struct cluster *c, struct cluster_node *n, uint64_t index)
{
    struct cluster_disk *disk = &n->disk;
    bool is_kept = raft_term_at(n->raft, index) == c->truth[index].pos.term;
    uint64_t last = is_kept ? raft_last_pos(n->raft).index : index;
    cluster_disk_forget_past(disk);
    cluster_disk_truncate(disk, 0);
    disk->flushed = 0;
    for (uint64_t i = 1; i <= last; i++)
        cluster_disk_append(disk, i <= index ? &c->truth[i] : raft_entry_at(n->raft, i));
    disk->flushed = index;
    disk->log_start = index;
}

static void install(struct cluster *c, struct cluster_node *n, struct raft_pos pos)
{
    uint64_t seq = cluster_writes_finish(n);
    disk_reset(c, n, pos.index);
    n->applied = pos.index;
    n->state_hash = cluster_hash_at(c, pos.index);
    n->snapshot_count++;
    cluster_trace(c, n->id, "install %lu.%lu", LU(pos.term), LU(pos.index));
    enum raft_err err =
        cluster_feed(c, n->id,
                     (struct raft_event){ .type = RAFT_EV_SNAPSHOT_INSTALLED,
                                          .snapshot_installed = {
                                              .pos = pos,
                                              .config = cluster_config_at(c, c->truth, pos.index),
                                              .hash = n->state_hash } });
    ASSERT(err == RAFT_OK);
    if (seq != 0)
        IGNORE(cluster_feed(c, n->id,
                            (struct raft_event){ .type = RAFT_EV_DURABLE, .persist_seq = seq }),
               "cannot fail");
}

/* A careful receiver takes it only from the leader that it follows; the core need not rely on it.
 */
static bool is_taken(struct cluster *c, const struct cluster_snapshot *snapshot)
{
    struct cluster_node *n = cluster_node(c, snapshot->to);
    if (!n->is_up || c->cut[snapshot->from - 1][snapshot->to - 1] ||
        cluster_happens(c, c->options.snapshot_fail_permille))
        return false;
    return raft_status(n->raft).term >= snapshot->term;
}

void cluster_on_snapshot(struct cluster *c, const struct cluster_snapshot *snapshot)
{
    struct cluster_node *n = cluster_node(c, snapshot->to);
    struct cluster_snapshot sent = *snapshot;
    sent.ok = is_taken(c, snapshot);
    if (sent.ok && snapshot->pos.index > n->applied)
        install(c, n, snapshot->pos);
    cluster_later(c, (struct cluster_event){ .due_ms = c->now_ms + c->options.link_max_ms,
                                             .kind = CLUSTER_SNAPSHOT_SENT,
                                             .node = (uint32_t)snapshot->from - 1,
                                             .life = snapshot->from_life,
                                             .snapshot = sent });
}

/* ---- damage ---- */

static void remember_lost(struct cluster_disk *disk)
{
    disk->lost = realloc(disk->lost, (disk->lost_count + disk->last) * sizeof disk->lost[0]);
    for (uint64_t i = 1; i <= disk->last; i++)
        disk->lost[disk->lost_count++] = disk->log[i].pos;
}

static void bring_back_past(struct cluster_disk *disk)
{
    struct raft_entry *past = disk->past;
    uint64_t count = disk->past_count;
    disk->past = NULL;
    disk->past_count = 0;
    cluster_disk_truncate(disk, past[0].pos.index - 1);
    for (uint64_t i = 0; i < count; i++) {
        cluster_disk_append(disk, &past[i]);
        block_unref(past[i].block);
    }
    free(past);
}

void cluster_lose(struct cluster *c, uint64_t id, uint64_t kept, bool past)
{
    struct cluster_node *n = cluster_node(c, id);
    struct cluster_disk *disk = &n->disk;
    ASSERT(!n->is_up);
    if (disk->last > 0)
        remember_lost(disk);
    bool has_past = disk->past_count > 0 && disk->past[0].pos.index > disk->flushed;
    if (past && has_past)
        bring_back_past(disk);
    cluster_disk_forget_past(disk);
    if (past && has_past) {
        disk->awaits_repair = true;
    } else if (kept >= disk->flushed) {
        cluster_disk_truncate(disk, kept);
    } else {
        cluster_disk_truncate(disk, 0);
        disk->flushed = 0;
        disk->log_start = 0;
    }
    disk->awaits_repair = true;
    cluster_trace(c, id, "loses all after %lu", LU(disk->last));
}
