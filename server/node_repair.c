/* Damage that shows while the node runs, and the end of a repair (I7; node_recover.c begins it).
 */
#include <stdio.h>

#include "base/assert.h"
#include "base/log.h"
#include "server/node_internal.h"
#include "storage/store_switch.h"

/* The only voter: nobody could give anything back. */
static bool is_alone(const struct node *node)
{
    const struct membership *m = &node->config.in_force;
    uint32_t others = 0;
    for (uint32_t i = 0; i < m->member_count; i++)
        others += m->members[i].id != node->identity.member_id &&
                  (m->members[i].roles & (RAFT_VOTER | RAFT_VOTER_OUTGOING));
    return others == 0;
}

static void job_begin(struct node *node, void (*run)(struct io_job *),
                      void (*done)(struct io_job *))
{
    ASSERT(!node->repair_is_saving);
    node->repair_is_saving = true;
    node->repair_job = (struct io_job){ .run = run, .done = done };
    list_init(&node->repair_job.link);
    io_offload(node->io, &node->repair_job);
}

/* ---- damaged ---- */

static void mark_run(struct io_job *job)
{
    struct node *node = LIST_ENTRY(job, struct node, repair_job);
    node->repair_err = repair_mark_save(node->io, node->dir_fd, &node->repair);
}

static void mark_done(struct io_job *job)
{
    struct node *node = LIST_ENTRY(job, struct node, repair_job);
    node->repair_is_saving = false;
    bool is_marked = node->repair_err == REPAIR_MARK_OK;
    node->options.on_fatal(node->options.owner, is_marked ? EXIT_CODE_REPAIR : EXIT_CODE_CORRUPT,
                           node->repair_text);
}

void node_fail_damaged(struct node *node, const char *what, const char *why)
{
    if (node->has_failed)
        return;
    if (is_alone(node)) {
        node_fail(node, EXIT_CODE_CORRUPT, what, why);
        return;
    }
    node->has_failed = true; /* nothing leaves it any more, also while the mark is written */
    snprintf(node->repair_text, sizeof node->repair_text,
             "%s: %s; this node starts again and gets its data from the others", what, why);
    node->repair = (struct repair_mark){ REPAIR_STORE_LOST, REPAIR_CAUSE_ROW };
    if (!node->repair_is_saving)
        job_begin(node, mark_run, mark_done); /* else when the mark before is removed */
}

/* ---- repaired ---- */

/* What was set aside first: without the mark nobody would look for it. */
static void clear_run(struct io_job *job)
{
    struct node *node = LIST_ENTRY(job, struct node, repair_job);
    node->repair_err = store_lost_remove(node->store_parent) == STORE_OK
                           ? repair_mark_clear(node->io, node->dir_fd)
                           : REPAIR_MARK_E_IO;
}

static void clear_done(struct io_job *job)
{
    struct node *node = LIST_ENTRY(job, struct node, repair_job);
    node->repair_is_saving = false;
    if (node->has_failed && node->repair.state == REPAIR_STORE_LOST) {
        job_begin(node, mark_run, mark_done); /* damage was met meanwhile */
        return;
    }
    if (node->repair_err != REPAIR_MARK_OK) {
        node_fail(node, EXIT_CODE_IO, "the repair mark cannot be removed",
                  repair_mark_strerror(node->repair_err));
        return;
    }
    node->repair.state = REPAIR_NONE;
}

void node_repair_on_repaired(struct node *node)
{
    node->counters.repairs_finished++;
    LOG_INFOF("repaired: what was lost here is back from the other members",
              log_text("cause", repair_cause_text(node->repair.cause)),
              log_number("last-index", raft_last_pos(node->raft).index));
    job_begin(node, clear_run, clear_done);
}
