/* Traces: one line an event, in stable tokens, for golden comparisons. */
#include "tests/support/raft_cluster.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/assert.h"

#define LU(x) ((unsigned long)(x))

void cluster_trace_begin(struct cluster *c)
{
    if (c->trace_file)
        free(cluster_take_trace(c));
    c->trace_file = open_memstream(&c->trace, &c->trace_size);
    ASSERT(c->trace_file);
}

char *cluster_take_trace(struct cluster *c)
{
    ASSERT(c->trace_file);
    IGNORE(fclose(c->trace_file), "a memory stream");
    c->trace_file = NULL;
    return c->trace;
}

void cluster_trace(struct cluster *c, uint64_t id, const char *format, ...)
{
    if (!c->trace_file)
        return;
    fprintf(c->trace_file, "%lums n%lu ", LU(c->now_ms), LU(id));
    va_list arguments;
    va_start(arguments, format);
    vfprintf(c->trace_file, format, arguments);
    va_end(arguments);
    fputc('\n', c->trace_file);
}

static void trace_result(struct cluster *c, const struct raft_msg *m)
{
    const struct raft_msg_append_result *result = &m->append_result;
    if (!result->rejected)
        cluster_trace(c, m->from, "accept term=%lu match=%lu to=n%lu", LU(m->term),
                      LU(result->match), LU(m->to));
    else
        cluster_trace(c, m->from, "%s term=%lu prev=%lu hint=%lu.%lu to=n%lu",
                      result->no_room ? "noroom" : "reject", LU(m->term), LU(result->rejected_prev),
                      LU(result->hint.term), LU(result->hint.index), LU(m->to));
}

static void trace_vote(struct cluster *c, const struct raft_msg *m)
{
    if (m->type == RAFT_MSG_VOTE)
        cluster_trace(c, m->from, "%s term=%lu last=%lu.%lu%s to=n%lu",
                      m->vote.pre_vote ? "prevote" : "vote", LU(m->term), LU(m->vote.last.term),
                      LU(m->vote.last.index),
                      m->vote.leader_is_dead ? " dead"
                      : m->vote.transfer     ? " transfer"
                                             : "",
                      LU(m->to));
    else
        cluster_trace(c, m->from, "%s%s term=%lu to=n%lu", m->vote_result.pre_vote ? "pre" : "",
                      m->vote_result.granted ? "grant" : "refuse", LU(m->term), LU(m->to));
}

static void trace_heartbeat(struct cluster *c, const struct raft_msg *m)
{
    if (!c->options.traces_heartbeats)
        return;
    if (m->type == RAFT_MSG_HEARTBEAT)
        cluster_trace(c, m->from, "heartbeat term=%lu round=%lu commit=%lu to=n%lu", LU(m->term),
                      LU(m->heartbeat.round), LU(m->heartbeat.commit), LU(m->to));
    else
        cluster_trace(c, m->from, "alive term=%lu round=%lu to=n%lu", LU(m->term),
                      LU(m->heartbeat_result.round), LU(m->to));
}

void cluster_trace_message(struct cluster *c, const struct raft_msg *m)
{
    switch (m->type) {
    case RAFT_MSG_VOTE:
    case RAFT_MSG_VOTE_RESULT:
        trace_vote(c, m);
        return;
    case RAFT_MSG_APPEND:
        cluster_trace(c, m->from, "append term=%lu prev=%lu.%lu count=%u commit=%lu to=n%lu",
                      LU(m->term), LU(m->append.prev.term), LU(m->append.prev.index),
                      m->append.entry_count, LU(m->append.commit), LU(m->to));
        return;
    case RAFT_MSG_APPEND_RESULT:
        trace_result(c, m);
        return;
    case RAFT_MSG_HEARTBEAT:
    case RAFT_MSG_HEARTBEAT_RESULT:
        trace_heartbeat(c, m);
        return;
    case RAFT_MSG_READ_INDEX:
        cluster_trace(c, m->from, "readindex term=%lu to=n%lu", LU(m->term), LU(m->to));
        return;
    case RAFT_MSG_READ_INDEX_RESULT:
        cluster_trace(c, m->from, "readindex-%s term=%lu index=%lu to=n%lu",
                      m->read_index_result.refused ? "refused" : "answer", LU(m->term),
                      LU(m->read_index_result.index), LU(m->to));
        return;
    case RAFT_MSG_TIMEOUT_NOW:
        cluster_trace(c, m->from, "timeoutnow term=%lu to=n%lu", LU(m->term), LU(m->to));
        return;
    }
}

/* As cluster_config reads it. */
static void trace_config(struct cluster *c, uint64_t id, const struct raft_config_at *config)
{
    static const struct {
        char letter;
        unsigned roles;
    } kinds[] = { { ' ', RAFT_VOTER },
                  { 'B', RAFT_VOTER | RAFT_VOTER_OUTGOING },
                  { 'O', RAFT_VOTER_OUTGOING },
                  { 'D', RAFT_VOTER_OUTGOING | RAFT_LEARNER },
                  { 'L', RAFT_LEARNER } };
    char text[4 * CLUSTER_NODES_MAX];
    size_t size = 0;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        bool is_first = true;
        for (uint32_t i = 0; i < config->config.member_count; i++) {
            if (config->config.members[i].roles != kinds[k].roles)
                continue;
            if (is_first && size > 0)
                text[size++] = ' ';
            if (is_first && k > 0)
                text[size++] = kinds[k].letter;
            text[size++] = (char)('0' + config->config.members[i].id);
            is_first = false;
        }
    }
    text[size] = '\0';
    cluster_trace(c, id, "config index=%lu %s", LU(config->index), text);
}

void cluster_trace_ready(struct cluster *c, const struct cluster_node *n,
                         const struct raft_ready *ready)
{
    static const char *const roles[] = { "follower", "precandidate", "candidate", "leader" };
    if (!c->trace_file)
        return;
    if (ready->status_changed)
        cluster_trace(c, n->id, "%s term=%lu leader=n%lu", roles[ready->status.role],
                      LU(ready->status.term), LU(ready->status.leader));
    if (ready->hard_changed)
        cluster_trace(c, n->id, "persist term=%lu vote=n%lu", LU(ready->hard.term),
                      LU(ready->hard.vote));
    if (ready->persist.first <= ready->persist.last)
        cluster_trace(c, n->id, "persist %lu-%lu", LU(ready->persist.first),
                      LU(ready->persist.last));
    if (ready->config_changed)
        trace_config(c, n->id, &ready->config);
    if (ready->repaired)
        cluster_trace(c, n->id, "repaired");
    if (ready->committed.first <= ready->committed.last)
        cluster_trace(c, n->id, "apply %lu-%lu", LU(ready->committed.first),
                      LU(ready->committed.last));
    for (uint32_t i = 0; i < ready->message_count; i++)
        cluster_trace_message(c, &ready->messages[i]);
    for (uint32_t i = 0; i < ready->read_count; i++)
        if (ready->reads[i].refused)
            cluster_trace(c, n->id, "read refused");
        else
            cluster_trace(c, n->id, "read index=%lu", LU(ready->reads[i].index));
}
