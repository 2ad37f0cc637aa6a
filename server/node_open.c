/* Recovery, top down: lock, identity, store, journal, Raft. Everything here blocks, and nothing
 * is answered before all of it is synced again (I6).
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "server/node_internal.h"

enum { ENTRY_OVERHEAD_BYTES = 64 << 10 }; /* envelope, user and command around a request */

static enum exit_code detail_set(char *detail, enum exit_code code, const char *what,
                                 const char *path, const char *why)
{
    snprintf(detail, NODE_DETAIL_BYTES, "%.80s %.150s: %.250s", what, path, why);
    return code;
}

/* ---- the directory and who it is ---- */

/* The name of a directory that was just made is durable when its parent is synced; without that a
 * power cut leaves a blank member, whose journal and store were safe in vain (I7a). */
static int sync_parent(struct io *io, const char *path)
{
    char *copy = strdup(path);
    if (!copy)
        return -ENOMEM;
    int parent_fd = io->ops->dir_open(io, AT_FDCWD, dirname(copy), 0);
    free(copy);
    if (parent_fd == -EACCES)
        return 0; /* not ours to read, so whoever owns it made the directory for us */
    if (parent_fd < 0)
        return parent_fd;
    int err = io->ops->dir_sync(io, parent_fd);
    io->ops->file_close(io, parent_fd);
    return err;
}

static enum exit_code open_directory(struct node *node, char *detail)
{
    const char *path = node->options.data_dir;
    struct io *io = node->io;
    node->dir_fd = io->ops->dir_open(io, AT_FDCWD, path, IO_OPEN_CREATE);
    int failed = node->dir_fd < 0 ? node->dir_fd : sync_parent(io, path);
    if (failed < 0)
        return detail_set(detail, failed == -ENOSPC ? EXIT_CODE_NO_SPACE : EXIT_CODE_IO,
                          "cannot make or open the data directory", path, strerror(-failed));
    enum identity_err err = identity_lock(io, node->dir_fd, &node->lock_fd);
    if (err == IDENTITY_E_LOCKED)
        return detail_set(detail, EXIT_CODE_LOCKED_DATA, "the data directory", path,
                          "is in use by another process; stop it, or choose another --data-dir");
    return err == IDENTITY_OK ? EXIT_CODE_OK
                              : detail_set(detail, EXIT_CODE_IO, "cannot lock the data directory",
                                           path, identity_strerror(err));
}

void node_random_fill(struct io *io, uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
        uint64_t random = io->ops->random(io);
        memcpy(bytes + i, &random, size - i < sizeof random ? size - i : sizeof random);
    }
}

static enum exit_code save_identity(struct node *node, char *detail)
{
    enum identity_err err = identity_save(node->io, node->dir_fd, &node->identity);
    if (err == IDENTITY_OK)
        return EXIT_CODE_OK;
    return detail_set(detail, err == IDENTITY_E_NOSPACE ? EXIT_CODE_NO_SPACE : EXIT_CODE_IO,
                      "cannot write to the data directory", node->options.data_dir,
                      identity_strerror(err));
}

static enum exit_code make_identity(struct node *node, char *detail)
{
    node->identity.cluster_id = node->options.initial_cluster_id;
    node->identity.member_id = node->options.initial_member_id;
    node_random_fill(node->io, node->identity.incarnation, INCARNATION_BYTES);
    return save_identity(node, detail);
}

static enum exit_code check_identity(struct node *node, char *detail)
{
    const struct identity *is = &node->identity;
    const struct node_options *wanted = &node->options;
    if (!wanted->must_match_initial || (is->cluster_id == wanted->initial_cluster_id &&
                                        is->member_id == wanted->initial_member_id))
        return EXIT_CODE_OK;
    snprintf(detail, NODE_DETAIL_BYTES,
             "the data directory %s belongs to member %llx of cluster %llx, but the flags describe "
             "member %llx of cluster %llx; correct --data-dir or --initial-cluster, or, if members "
             "have changed since, start with --initial-cluster-state=existing",
             wanted->data_dir, (unsigned long long)is->member_id,
             (unsigned long long)is->cluster_id, (unsigned long long)wanted->initial_member_id,
             (unsigned long long)wanted->initial_cluster_id);
    return EXIT_CODE_FOREIGN_DATA;
}

static enum exit_code open_identity(struct node *node, char *detail)
{
    enum identity_err err = identity_load(node->io, node->dir_fd, &node->identity);
    switch (err) {
    case IDENTITY_OK:
        return check_identity(node, detail);
    case IDENTITY_E_ABSENT:
        return make_identity(node, detail);
    case IDENTITY_E_CORRUPT:
        return detail_set(detail, EXIT_CODE_CORRUPT, "the identity file in", node->options.data_dir,
                          "is damaged; remove this member and add it again with a blank disk");
    case IDENTITY_E_VERSION:
        return detail_set(detail, EXIT_CODE_VERSION, "the data directory", node->options.data_dir,
                          identity_strerror(err));
    case IDENTITY_E_IO:
    case IDENTITY_E_NOSPACE:
    case IDENTITY_E_LOCKED:
        break;
    }
    return detail_set(detail, EXIT_CODE_IO, "the data directory", node->options.data_dir,
                      identity_strerror(err));
}

/* ---- state ---- */

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

static enum exit_code open_store(struct node *node, struct store_state *state, char *detail)
{
    const char *path = node->options.store_path;
    struct store_options options = {
        .io = node->io,
        .path = path,
        .map_bytes = node->options.map_bytes,
        .dirty_bytes_max = node->options.store_dirty_bytes_max,
        .readers_max = node->options.views_max + 16,
        .cluster_id = node->identity.cluster_id,
    };
    char why[NODE_DETAIL_BYTES / 2] = "";
    enum store_err err = store_open(&node->store, &options, state, why, sizeof why);
    if (err != STORE_OK)
        return detail_set(detail, exit_code_of_store(err), "cannot open the store", path,
                          why[0] ? why : store_strerror(err));
    if (kv_open(&node->kv, node->store, node->options.views_max) != KV_OK)
        return detail_set(detail, EXIT_CODE_FAILURE, "cannot open the store", path,
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

static enum exit_code open_journal(struct node *node, struct raft_pos flushed,
                                   struct journal_recovery *recovery, char *detail)
{
    struct journal_options options = {
        .io = node->io,
        .dir_fd = node->dir_fd,
        .segment_bytes = node->options.journal_segment_bytes,
        .segment_count_max = node->options.journal_segment_count_max,
        .cluster_id = node->identity.cluster_id,
        .incarnation = slice_of(node->identity.incarnation, INCARNATION_BYTES),
        .direct = true, /* half the CPU of buffered writes, and steadier (ARCHITECTURE.md) */
    };
    enum journal_err err = journal_open(&node->journal, &options, flushed, recovery);
    if (err != JOURNAL_OK) {
        const char *why = recovery->detail[0] ? recovery->detail : journal_strerror(err);
        return detail_set(detail, exit_code_of_journal(err), "cannot open the journal in",
                          node->options.data_dir, why);
    }
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

/* The store's membership once it has one; before the first flush the formed one. */
static enum exit_code open_membership(struct node *node, const struct store_state *state,
                                      char *detail)
{
    membership_init(&node->membership);
    enum membership_err err = state->membership.size > 0
                                  ? membership_decode(&node->membership, state->membership)
                                  : membership_copy(&node->membership, node->options.initial);
    if (err == MEMBERSHIP_OK)
        return EXIT_CODE_OK;
    return detail_set(detail, err == MEMBERSHIP_E_NOMEM ? EXIT_CODE_FAILURE : EXIT_CODE_CORRUPT,
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
        return detail_set(detail, EXIT_CODE_VERSION, "the data directory", node->options.data_dir,
                          "is of a newer feature level; install the version that wrote it");
    node->apply_to_index = state->applied.index;
    node->applied_term = state->applied.term;
    enum machine_err err = machine_open(&node->machine, node->kv, &node->membership, &machine);
    return err == MACHINE_OK
               ? EXIT_CODE_OK
               : detail_set(detail, EXIT_CODE_FAILURE, "cannot start", "", machine_strerror(err));
}

static enum exit_code recover(struct node *node, char *detail)
{
    struct store_state state;
    enum exit_code code = open_store(node, &state, detail);
    if (code != EXIT_CODE_OK)
        return code;
    code = open_membership(node, &state, detail);
    if (code != EXIT_CODE_OK)
        return code;
    code = open_machine(node, &state, detail);
    if (code != EXIT_CODE_OK)
        return code;
    struct journal_recovery recovery = { 0 };
    code = open_journal(node, state.applied, &recovery, detail);
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

/* ---- the node ---- */

static void on_turn_timer(void *owner)
{
    /* The turn's end does the work; the timer only makes a turn. */
    IGNORE(owner == NULL, "nothing to do here");
}

static struct node *node_new(const struct node_options *options)
{
    struct node *node = calloc(1, sizeof *node);
    if (!node)
        return NULL;
    node->options = *options;
    node->io = options->io;
    node->dir_fd = -1;
    node->lock_fd = -1;
    uint32_t timeout_ms = 5000 + 2 * options->election_timeout_ms; /* etcd: ReqTimeout */
    requests_init(&node->requests, node->io, options->requests_max, timeout_ms);
    reads_init(&node->reads, node->io, options->requests_max, timeout_ms);
    list_init(&node->forwarded);
    list_init(&node->compaction_waits);
    timer_init(&node->raft_timer, node_on_raft_timer, node);
    timer_init(&node->start_timer, node_on_start_timer, node);
    timer_init(&node->turn_timer, on_turn_timer, node);
    return node;
}

static enum exit_code node_start(struct node *node, char *detail)
{
    if (node_persist_open(node) != EXIT_CODE_OK || !node_propose_open(node))
        return detail_set(detail, EXIT_CODE_FAILURE, "cannot start", "", "out of memory");
    enum exit_code code = open_directory(node, detail);
    if (code == EXIT_CODE_OK)
        code = open_identity(node, detail);
    if (code == EXIT_CODE_OK)
        code = recover(node, detail);
    if (code == EXIT_CODE_OK)
        code = node_members_open(node, detail);
    return code;
}

enum exit_code node_open(struct node **ret_node, const struct node_options *options,
                         char detail[NODE_DETAIL_BYTES])
{
    struct node *node = node_new(options);
    *ret_node = node;
    if (!node)
        return detail_set(detail, EXIT_CODE_FAILURE, "cannot start", "", "out of memory");
    enum exit_code code = node_start(node, detail);
    if (code != EXIT_CODE_OK) {
        node_halt(node);
        return code;
    }
    struct raft_event tick = { .type = RAFT_EV_TICK };
    node_step(node, &tick);
    return EXIT_CODE_OK;
}

void node_free(struct node *node)
{
    raft_close(node->raft);
    free(node->raft_memory);
    machine_close(node->machine);
    kv_close(node->kv);
    store_close(node->store);
    membership_done(&node->membership);
    requests_done(&node->requests);
    node_propose_done(node);
    node_persist_done(node);
    arena_done(&node->publish_arena);
    io_timer_cancel(node->io, &node->raft_timer);
    io_timer_cancel(node->io, &node->turn_timer);
    io_timer_cancel(node->io, &node->start_timer);
    if (node->lock_fd >= 0)
        node->io->ops->file_close(node->io, node->lock_fd);
    if (node->dir_fd >= 0)
        node->io->ops->file_close(node->io, node->dir_fd);
    free(node);
}
