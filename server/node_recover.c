/* What was durable is read back, and nothing is answered before all of it is synced again (I6).
 * Where some of it is damaged (I7), it is marked so and given up, and the others give it back:
 * raft_start.awaits_repair. Everything here blocks.
 */
#include <stdio.h>

#include "base/assert.h"
#include "base/log.h"
#include "server/node_internal.h"
#include "storage/store_switch.h"

enum { ENTRY_OVERHEAD_BYTES = 64 << 10 }; /* envelope, user and command around a request */

static enum exit_code exit_code_of_store(enum store_err err)
{
    switch (err) {
    case STORE_E_NOSPACE:
        return EXIT_CODE_NO_SPACE;
    case STORE_E_VERSION:
        return EXIT_CODE_VERSION;
    case STORE_E_FOREIGN:
        return EXIT_CODE_FOREIGN_DATA;
    case STORE_E_CORRUPT:
        return EXIT_CODE_CORRUPT;
    case STORE_E_IO:
        return EXIT_CODE_IO;
    case STORE_OK:
    case STORE_E_NOMEM:
    case STORE_E_GONE:
        break;
    }
    return EXIT_CODE_FAILURE;
}

struct store_options node_store_options(const struct node *node)
{
    return (struct store_options){
        .io = node->io,
        .path = node->options.store_path,
        .map_bytes = node->options.map_bytes,
        .dirty_bytes_max = node->options.store_dirty_bytes_max,
        .readers_max = node->options.views_max + 16,
        .cluster_id = node->identity.cluster_id,
    };
}

static struct journal_options journal_options_of(const struct node *node)
{
    return (struct journal_options){
        .io = node->io,
        .dir_fd = node->dir_fd,
        .segment_bytes = node->options.journal_segment_bytes,
        .segment_count_max = node->options.journal_segment_count_max,
        .cluster_id = node->identity.cluster_id,
        .incarnation = slice_of(node->identity.incarnation, INCARNATION_BYTES),
        /* Who has formed may have voted: 1. it votes in term 5, and the whole journal is lost; 2.
         * it would begin with term 0, and vote in term 5 again (I2). */
        .must_exist = node->identity.formed,
        .direct = true, /* half the CPU of buffered writes, and steadier (ARCHITECTURE.md) */
    };
}

/* ---- damage ---- */

/* The only voter: then nobody could give anything back; learners alone elect nobody. The record of
 * who the members are follows the log (formation_on_members), and is not in the store. */
static bool is_alone(const struct node *node)
{
    struct slice saved = slice_of(node->identity.formation, node->identity.formation_bytes);
    uint32_t count = formation_saved_count(saved, node->identity.member_id);
    if (count == 0 && !node->options.joins)
        count = node->options.initial->member_count;
    return count == 1;
}

static enum exit_code mark_unusable(const struct node *node, enum repair_mark_err err, char *detail)
{
    enum exit_code code = err == REPAIR_MARK_E_VERSION   ? EXIT_CODE_VERSION
                          : err == REPAIR_MARK_E_NOSPACE ? EXIT_CODE_NO_SPACE
                                                         : EXIT_CODE_IO;
    return node_detail_set(detail, code, "the data directory", node->options.data_dir,
                           repair_mark_strerror(err));
}

/* The store is marked as lost, durably, and gone. */
static enum exit_code store_give_up(struct node *node, enum repair_cause cause, char *detail)
{
    if (is_alone(node))
        return node_detail_set(detail, EXIT_CODE_CORRUPT, "the store in", node->options.data_dir,
                               "is damaged, and there is no other voter to repair it from; "
                               "restore a backup, or remove the file \"repair\" to try it as it "
                               "is");
    struct repair_mark mark = { REPAIR_STORE_LOST, cause };
    if (node->repair.state != REPAIR_STORE_LOST) {
        enum repair_mark_err err = repair_mark_save(node->io, node->dir_fd, &mark);
        if (err != REPAIR_MARK_OK)
            return mark_unusable(node, err, detail);
        node->repair = mark;
    }
    enum store_err err = store_discard(node->store_parent);
    return err == STORE_OK ? EXIT_CODE_OK
                           : node_detail_set(detail, exit_code_of_store(err),
                                             "cannot discard the damaged store in",
                                             node->options.data_dir, store_strerror(err));
}

/* What an earlier life left to be done. */
static enum exit_code open_marks(struct node *node, char *detail)
{
    enum repair_mark_err err = repair_mark_load(node->io, node->dir_fd, &node->repair);
    if (err != REPAIR_MARK_OK)
        return mark_unusable(node, err, detail);
    if (node->repair.state == REPAIR_STORE_LOST)
        return store_give_up(node, node->repair.cause, detail);
    struct store_options store = node_store_options(node);
    struct journal_options journal = journal_options_of(node);
    enum store_switch_outcome outcome = STORE_SWITCH_NONE;
    enum store_err switched = store_switch_recover(node->store_parent, &store, &journal, &outcome);
    if (switched != STORE_OK)
        return node_detail_set(detail, exit_code_of_store(switched),
                               "cannot go on with a snapshot in", node->options.data_dir,
                               store_strerror(switched));
    if (outcome == STORE_SWITCH_FINISHED)
        LOG_INFOF("a snapshot that was installed is the store now");
    return EXIT_CODE_OK;
}

/* The journal is let go of what the store lost: from here on it is about catching up. */
static enum exit_code mark_advance(struct node *node, char *detail)
{
    if (node->repair.state == REPAIR_NONE)
        return EXIT_CODE_OK;
    LOG_WARNF("what was durable here is damaged; the other members give it back, and until then "
              "this one votes for nobody and confirms nothing",
              log_text("cause", repair_cause_text(node->repair.cause)));
    node->counters.repairs_started++;
    if (node->repair.state == REPAIR_CATCH_UP)
        return EXIT_CODE_OK;
    node->repair.state = REPAIR_CATCH_UP;
    enum repair_mark_err err = repair_mark_save(node->io, node->dir_fd, &node->repair);
    return err == REPAIR_MARK_OK ? EXIT_CODE_OK : mark_unusable(node, err, detail);
}

/* ---- the parts ---- */

static enum exit_code open_store(struct node *node, struct store_state *state, char *detail)
{
    const char *path = node->options.store_path;
    struct store_options options = node_store_options(node);
    char why[NODE_DETAIL_BYTES / 2] = "";
    enum store_err err = store_open(&node->store, &options, state, why, sizeof why);
    if (err == STORE_E_CORRUPT && node->repair.state != REPAIR_STORE_LOST) {
        LOG_WARNF("the store is damaged", log_text("path", path), log_text("why", why));
        enum exit_code code = store_give_up(node, REPAIR_CAUSE_OPEN, detail);
        return code == EXIT_CODE_OK ? open_store(node, state, detail) : code;
    }
    if (err != STORE_OK)
        return node_detail_set(detail, exit_code_of_store(err), "cannot open the store", path,
                               why[0] ? why : store_strerror(err));
    if (store_format_found(node->store) != store_format_newest())
        LOG_INFOF("the store has been brought to the newest format", log_text("path", path),
                  log_number("from", store_format_found(node->store)),
                  log_number("to", store_format_newest()));
    if (kv_open(&node->kv, node->store, node->options.views_max) != KV_OK)
        return node_detail_set(detail, EXIT_CODE_FAILURE, "cannot open the store", path,
                               "out of memory");
    return EXIT_CODE_OK;
}

static enum exit_code exit_code_of_journal(enum journal_err err)
{
    switch (err) {
    case JOURNAL_E_NOSPACE:
        return EXIT_CODE_NO_SPACE;
    case JOURNAL_E_VERSION:
        return EXIT_CODE_VERSION;
    case JOURNAL_E_FOREIGN:
        return EXIT_CODE_FOREIGN_DATA;
    case JOURNAL_E_CORRUPT:
        return EXIT_CODE_CORRUPT;
    case JOURNAL_E_IO:
        return EXIT_CODE_IO;
    case JOURNAL_OK:
    case JOURNAL_E_NOMEM:
    case JOURNAL_E_FULL:
    case JOURNAL_E_TOO_LARGE:
        break;
    }
    return EXIT_CODE_FAILURE;
}

/* Marked before anything is let go of. */
static enum journal_err salvage(struct node *node, struct journal_options *options,
                                struct raft_pos flushed, struct journal_recovery *recovery)
{
    struct repair_mark mark = { REPAIR_CATCH_UP, REPAIR_CAUSE_JOURNAL };
    LOG_WARNF("the journal is damaged", log_text("why", recovery->detail));
    if (repair_mark_save(node->io, node->dir_fd, &mark) != REPAIR_MARK_OK)
        return JOURNAL_E_IO;
    node->repair = mark;
    options->salvage = true;
    journal_recovery_done(recovery);
    return journal_open(&node->journal, options, flushed, recovery);
}

static enum exit_code open_journal(struct node *node, struct raft_pos flushed,
                                   struct journal_recovery *recovery, char *detail)
{
    struct journal_options options = journal_options_of(node);
    options.salvage = node->repair.state != REPAIR_NONE;
    enum journal_err err = journal_open(&node->journal, &options, flushed, recovery);
    if (err == JOURNAL_E_CORRUPT && !options.salvage && !is_alone(node))
        err = salvage(node, &options, flushed, recovery);
    if (err != JOURNAL_OK) {
        const char *why = recovery->detail[0] ? recovery->detail : journal_strerror(err);
        return node_detail_set(detail, exit_code_of_journal(err), "cannot open the journal in",
                               node->options.data_dir, why);
    }
    if (recovery->salvaged)
        LOG_WARNF("a part of the journal was let go", log_text("what", recovery->detail));
    uint64_t batch_bytes = journal_batch_bytes_max(node->journal);
    if (batch_bytes < node->options.request_bytes_max + ENTRY_OVERHEAD_BYTES) {
        snprintf(
            detail, NODE_DETAIL_BYTES,
            "--max-request-bytes=%u does not fit this data directory, whose journal takes %llu "
            "bytes a request since its first start; lower it, or replace the member",
            node->options.request_bytes_max,
            (unsigned long long)batch_bytes - ENTRY_OVERHEAD_BYTES);
        return EXIT_CODE_USAGE;
    }
    if (recovery->torn_bytes > 0)
        LOG_INFOF("dropped a torn end of the journal: it was never acknowledged",
                  log_number("bytes", recovery->torn_bytes));
    return EXIT_CODE_OK;
}

/* The store's membership once it has one; before the first flush the formed one, and nobody for
 * a member that joins. */
static enum exit_code open_membership(struct node *node, const struct store_state *state,
                                      char *detail)
{
    enum membership_err err = MEMBERSHIP_OK;
    if (state->membership.size > 0)
        err = membership_decode(&node->membership, state->membership);
    else if (!node->options.joins)
        err = membership_copy(&node->membership, node->options.initial);
    if (err == MEMBERSHIP_OK && membership_is_removed(&node->membership, node->identity.member_id))
        return node_detail_set(detail, EXIT_CODE_REMOVED, "the data directory",
                               node->options.data_dir,
                               NODE_REMOVED_TEXT "; a new member needs a blank one");
    if (err == MEMBERSHIP_OK)
        return EXIT_CODE_OK;
    return node_detail_set(detail,
                           err == MEMBERSHIP_E_NOMEM ? EXIT_CODE_FAILURE : EXIT_CODE_CORRUPT,
                           "the membership in", node->options.data_dir, membership_strerror(err));
}

static enum exit_code open_machine(struct node *node, const struct store_state *state, char *detail)
{
    struct machine_state machine = {
        .applied = state->applied,
        .revision = state->revision,
        .compact_revision = state->compact_revision,
        .state_hash = state->state_hash,
        .feature_level = state->feature_level,
    };
    if (state->feature_level > MACHINE_FEATURE_LEVEL_MAX)
        return node_detail_set(detail, EXIT_CODE_VERSION, "the data directory",
                               node->options.data_dir,
                               "is of a newer feature level; install the version that wrote it");
    node->apply_to_index = state->applied.index;
    node->applied_term = state->applied.term;
    enum machine_err err = machine_open(&node->machine, node->kv, &node->membership, &machine);
    return err == MACHINE_OK ? EXIT_CODE_OK
                             : node_detail_set(detail, EXIT_CODE_FAILURE, "cannot start", "",
                                               machine_strerror(err));
}

enum exit_code node_recover(struct node *node, char *detail)
{
    struct store_state state;
    enum exit_code code = open_marks(node, detail);
    if (code == EXIT_CODE_OK)
        code = open_store(node, &state, detail);
    if (code == EXIT_CODE_OK)
        code = open_membership(node, &state, detail);
    if (code == EXIT_CODE_OK)
        code = open_machine(node, &state, detail);
    if (code != EXIT_CODE_OK)
        return code;
    struct journal_recovery recovery = { 0 };
    code = open_journal(node, state.applied, &recovery, detail);
    if (code == EXIT_CODE_OK)
        code = mark_advance(node, detail);
    if (code == EXIT_CODE_OK)
        code = node_raft_open(node, &state, &recovery, detail);
    if (code == EXIT_CODE_OK)
        LOG_INFOF("recovered", log_number("applied-index", state.applied.index),
                  log_number("journal-entries", recovery.entry_count),
                  log_number("revision", (uint64_t)state.revision),
                  log_number("term", recovery.hard.term));
    journal_recovery_done(&recovery);
    return code;
}
