/* The start, top down: lock, identity, state (node_recover.c), members. Everything here blocks. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "server/node_internal.h"
#include "storage/store_switch.h"

enum exit_code node_detail_set(char *detail, enum exit_code code, const char *what,
                               const char *path, const char *why)
{
    snprintf(detail, NODE_DETAIL_BYTES, "%.80s %.150s: %.250s", what, path, why);
    return code;
}

/* ---- the directory and who it is ---- */

static enum exit_code open_directory(struct node *node, char *detail)
{
    const char *path = node->options.data_dir;
    node->dir_fd = identity_dir_open(node->io, path);
    if (node->dir_fd < 0)
        return node_detail_set(detail, node->dir_fd == -ENOSPC ? EXIT_CODE_NO_SPACE : EXIT_CODE_IO,
                               "cannot make or open the data directory", path,
                               strerror(-node->dir_fd));
    enum identity_err err = identity_lock(node->io, node->dir_fd, &node->lock_fd);
    if (err == IDENTITY_E_LOCKED)
        return node_detail_set(
            detail, EXIT_CODE_LOCKED_DATA, "the data directory", path,
            "is in use by another process; stop it, or choose another --data-dir");
    return err == IDENTITY_OK
               ? EXIT_CODE_OK
               : node_detail_set(detail, EXIT_CODE_IO, "cannot lock the data directory", path,
                                 identity_strerror(err));
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
    return node_detail_set(detail, err == IDENTITY_E_NOSPACE ? EXIT_CODE_NO_SPACE : EXIT_CODE_IO,
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
        return node_detail_set(detail, EXIT_CODE_CORRUPT, "the identity file in",
                               node->options.data_dir,
                               "is damaged; remove this member and add it again with a blank disk");
    case IDENTITY_E_VERSION:
        return node_detail_set(detail, EXIT_CODE_VERSION, "the data directory",
                               node->options.data_dir, identity_strerror(err));
    case IDENTITY_E_IO:
    case IDENTITY_E_NOSPACE:
    case IDENTITY_E_LOCKED:
        break;
    }
    return node_detail_set(detail, EXIT_CODE_IO, "the data directory", node->options.data_dir,
                           identity_strerror(err));
}

/* The store's directory has a fixed name in it (store_switch.h). */
static enum exit_code name_store_parent(struct node *node, char *detail)
{
    const char *path = node->options.store_path;
    const char *slash = strrchr(path, '/');
    size_t size = slash ? (size_t)(slash - path) : 0;
    if (!slash || strcmp(slash + 1, STORE_DIR) != 0 || size >= sizeof node->store_parent)
        return node_detail_set(detail, EXIT_CODE_USAGE, "the store", path,
                               "has to be in a directory \"" STORE_DIR "\" of its own");
    memcpy(node->store_parent, path, size);
    node->store_parent[size] = '\0';
    return EXIT_CODE_OK;
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
    list_init(&node->fetches);
    retention_init(&node->retention, options->log_retain_entries_max,
                   options->log_retain_bytes_max);
    node_send_open(node);
    timer_init(&node->news.timer, node_on_news_timer, node);
    timer_init(&node->receive_timer, node_on_receive_timer, node);
    timer_init(&node->removal_timer, node_on_removal_timer, node);
    membership_init(&node->membership);
    node_config_open(node);
    node_change_open(node);
    node_transfer_open(node);
    return node;
}

static enum exit_code node_start(struct node *node, char *detail)
{
    if (node_persist_open(node) != EXIT_CODE_OK || !node_propose_open(node))
        return node_detail_set(detail, EXIT_CODE_FAILURE, "cannot start", "", "out of memory");
    enum exit_code code = name_store_parent(node, detail);
    if (code == EXIT_CODE_OK)
        code = open_directory(node, detail);
    if (code == EXIT_CODE_OK)
        code = open_identity(node, detail);
    if (code == EXIT_CODE_OK)
        code = node_recover(node, detail);
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
        return node_detail_set(detail, EXIT_CODE_FAILURE, "cannot start", "", "out of memory");
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
    kv_close(node->retired.kv);
    store_close(node->retired.store);
    membership_done(&node->membership);
    node_config_done(node);
    requests_done(&node->requests);
    node_propose_done(node);
    node_persist_done(node);
    arena_done(&node->publish_arena);
    arena_done(&node->join.arena);
    io_timer_cancel(node->io, &node->raft_timer);
    io_timer_cancel(node->io, &node->turn_timer);
    io_timer_cancel(node->io, &node->start_timer);
    io_timer_cancel(node->io, &node->removal_timer);
    io_timer_cancel(node->io, &node->leave_timer);
    io_timer_cancel(node->io, &node->receive_timer);
    io_timer_cancel(node->io, &node->change.timer);
    if (node->lock_fd >= 0)
        node->io->ops->file_close(node->io, node->lock_fd);
    if (node->dir_fd >= 0)
        node->io->ops->file_close(node->io, node->dir_fd);
    free(node);
}
