#include "tests/support/raft_rig.h"

#include <stdlib.h>

#include "base/assert.h"

struct rig rig_defaults(void)
{
    struct rig rig = {
        .options = { .id = 1,
                     .seed = 7,
                     .election_timeout_ms = 100,
                     .heartbeat_ms = 20,
                     .window_entries_max = 16,
                     .window_bytes_max = 1000,
                     .window_bytes_keep = 100,
                     .uncommitted_bytes_max = 600,
                     .append_bytes_max = 100,
                     .inflight_max = 3,
                     .inflight_bytes_max = 1000,
                     .pre_vote = true },
        .start = { .config = { .member_count = 3,
                               .members = { { 1, RAFT_VOTER },
                                            { 2, RAFT_VOTER },
                                            { 3, RAFT_VOTER } } } },
        .now_ms = 1000,
    };
    rig.start.now_ms = rig.now_ms;
    return rig;
}

void rig_entries(struct raft_entry *entries, uint64_t first, const char *terms, uint32_t size_bytes)
{
    for (uint32_t i = 0; terms[i]; i++) {
        ASSERT(i < RIG_ENTRIES_MAX);
        struct block *b = block_new(size_bytes);
        ASSERT(b);
        memset(b->data, 0, size_bytes);
        entries[i] = (struct raft_entry){
            .pos = { .term = (uint64_t)(terms[i] - '0'), .index = first + i },
            .type = RAFT_ENTRY_COMMAND,
            .bytes = slice_of(b->data, size_bytes),
            .block = b,
        };
    }
}

void rig_entries_done(struct raft_entry *entries, const char *terms)
{
    for (uint32_t i = 0; terms[i]; i++)
        block_unref(entries[i].block);
}

void rig_open(struct rig *rig, const char *terms)
{
    struct raft_entry entries[RIG_ENTRIES_MAX];
    size_t bytes = raft_memory_bytes(&rig->options);
    ASSERT(bytes > 0);
    rig->memory = malloc(bytes);
    enum raft_err err = raft_open(&rig->raft, rig->memory, &rig->options, &rig->start);
    ASSERT(err == RAFT_OK);
    rig->commit_seen = rig->start.flushed.index;
    rig_entries(entries, rig->start.flushed.index + 1, terms, 10);
    for (uint32_t i = 0; terms[i]; i++) {
        err = raft_restore_entry(rig->raft, &entries[i], NULL);
        ASSERT(err == RAFT_OK);
    }
    rig_entries_done(entries, terms);
    raft_check_invariants(rig->raft);
    raft_set_voice(rig->raft, true);
}

void rig_close(struct rig *rig)
{
    raft_close(rig->raft);
    free(rig->memory);
}

enum raft_err rig_step(struct rig *rig, struct raft_event event)
{
    event.now_ms = rig->now_ms;
    enum raft_err err = raft_step(rig->raft, &event, &rig->ready);
    raft_check_invariants(rig->raft);
    if (rig->ready.persist_seq != 0)
        rig->seq = rig->ready.persist_seq;
    if (rig->ready.committed.first <= rig->ready.committed.last) {
        ASSERT(rig->ready.committed.first == rig->commit_seen + 1);
        rig->commit_seen = rig->ready.committed.last;
    }
    return err;
}

void rig_tick(struct rig *rig, uint64_t after_ms)
{
    rig->now_ms += after_ms;
    enum raft_err err = rig_step(rig, (struct raft_event){ .type = RAFT_EV_TICK });
    ASSERT(err == RAFT_OK);
}

void rig_durable(struct rig *rig)
{
    enum raft_err err =
        rig_step(rig, (struct raft_event){ .type = RAFT_EV_DURABLE, .persist_seq = rig->seq });
    ASSERT(err == RAFT_OK);
}

enum raft_err rig_receive(struct rig *rig, struct raft_msg msg)
{
    msg.to = rig->options.id;
    if (msg.from == 0)
        msg.from = 2;
    return rig_step(rig, (struct raft_event){ .type = RAFT_EV_MESSAGE, .message = msg });
}

enum raft_err rig_append(struct rig *rig, uint64_t term, struct raft_pos prev, const char *terms,
                         uint64_t commit, uint32_t size_bytes)
{
    struct raft_entry entries[RIG_ENTRIES_MAX];
    rig_entries(entries, prev.index + 1, terms, size_bytes);
    enum raft_err err =
        rig_receive(rig, (struct raft_msg){ .type = RAFT_MSG_APPEND,
                                            .term = term,
                                            .append = { .prev = prev,
                                                        .commit = commit,
                                                        .entries = entries,
                                                        .entry_count = (uint32_t)strlen(terms) } });
    rig_entries_done(entries, terms);
    return err;
}

void rig_apply(struct rig *rig)
{
    struct raft_event event = { .type = RAFT_EV_APPLIED,
                                .applied = { rig->commit_seen, rig->commit_seen * 11 } };
    enum raft_err err = rig_step(rig, event);
    ASSERT(err == RAFT_OK);
}

void rig_flush(struct rig *rig, uint64_t flushed_index)
{
    enum raft_err err = rig_step(
        rig, (struct raft_event){ .type = RAFT_EV_FLUSHED, .flushed_index = flushed_index });
    ASSERT(err == RAFT_OK);
}

enum raft_err rig_propose(struct rig *rig, enum raft_entry_type type, uint32_t size_bytes)
{
    struct raft_pos pos = raft_next_pos(rig->raft);
    struct block *b = block_new(size_bytes);
    ASSERT(b);
    struct raft_entry e = { pos, type, slice_of(b->data, size_bytes), b };
    enum raft_err err =
        rig_step(rig, (struct raft_event){ .type = RAFT_EV_PROPOSE,
                                           .propose = { .entries = &e, .entry_count = 1 } });
    block_unref(b);
    return err;
}

enum raft_err rig_propose_config(struct rig *rig, const struct raft_config *config)
{
    struct raft_pos pos = raft_next_pos(rig->raft);
    struct block *b = block_new(10);
    ASSERT(b);
    struct raft_entry e = { pos, RAFT_ENTRY_CONFIG, slice_of(b->data, 10), b };
    struct raft_config_at at = { .index = pos.index, .config = *config };
    enum raft_err err =
        rig_step(rig, (struct raft_event){ .type = RAFT_EV_PROPOSE, .propose = { &e, 1, &at, 1 } });
    block_unref(b);
    return err;
}

enum raft_err rig_append_configs(struct rig *rig, uint64_t term, struct raft_pos prev,
                                 const char *terms, const struct raft_config_at *configs,
                                 uint32_t config_count)
{
    struct raft_entry entries[RIG_ENTRIES_MAX];
    rig_entries(entries, prev.index + 1, terms, 10);
    for (uint32_t i = 0; i < config_count; i++)
        entries[configs[i].index - prev.index - 1].type = RAFT_ENTRY_CONFIG;
    enum raft_err err =
        rig_receive(rig, (struct raft_msg){ .type = RAFT_MSG_APPEND,
                                            .term = term,
                                            .append = { .prev = prev,
                                                        .entries = entries,
                                                        .entry_count = (uint32_t)strlen(terms),
                                                        .configs = configs,
                                                        .config_count = config_count } });
    rig_entries_done(entries, terms);
    return err;
}

enum raft_err rig_accept(struct rig *rig, uint64_t from, uint64_t match)
{
    return rig_receive(rig,
                       (struct raft_msg){ .type = RAFT_MSG_APPEND_RESULT,
                                          .from = from,
                                          .term = raft_status(rig->raft).term,
                                          .append_result = { .match = match, .room_bytes = 50 } });
}

enum raft_err rig_reject(struct rig *rig, uint64_t from, uint64_t prev, struct raft_pos hint)
{
    return rig_receive(
        rig, (struct raft_msg){
                 .type = RAFT_MSG_APPEND_RESULT,
                 .from = from,
                 .term = raft_status(rig->raft).term,
                 .append_result = { .rejected = true, .rejected_prev = prev, .hint = hint } });
}

enum raft_err rig_alive(struct rig *rig, uint64_t from, uint64_t round)
{
    return rig_receive(
        rig, (struct raft_msg){ .type = RAFT_MSG_HEARTBEAT_RESULT,
                                .from = from,
                                .term = raft_status(rig->raft).term,
                                .heartbeat_result = { .round = round, .room_bytes = 50 } });
}

static void answer_votes(struct rig *rig, bool pre_vote)
{
    uint64_t term = raft_status(rig->raft).term + pre_vote;
    for (uint64_t from = 2; from <= rig->start.config.member_count; from++) {
        enum raft_err err =
            rig_receive(rig, (struct raft_msg){ .type = RAFT_MSG_VOTE_RESULT,
                                                .from = from,
                                                .term = term,
                                                .vote_result = { pre_vote, true } });
        ASSERT(err == RAFT_OK);
        if (rig->ready.status_changed)
            return;
    }
}

void rig_elect(struct rig *rig)
{
    rig_tick(rig, 0);
    rig_tick(rig, 3ull * rig->options.election_timeout_ms);
    if (raft_status(rig->raft).role == RAFT_PRE_CANDIDATE)
        answer_votes(rig, true);
    rig_durable(rig);
    if (raft_status(rig->raft).role == RAFT_CANDIDATE)
        answer_votes(rig, false);
    ASSERT(raft_status(rig->raft).role == RAFT_LEADER);
    enum raft_err err = rig_propose(rig, RAFT_ENTRY_NOOP, 10);
    ASSERT(err == RAFT_OK);
    rig_durable(rig);
}

const struct raft_msg *rig_message(const struct rig *rig, enum raft_msg_type type, uint64_t to)
{
    for (uint32_t i = 0; i < rig->ready.message_count; i++)
        if (rig->ready.messages[i].type == type && (to == 0 || rig->ready.messages[i].to == to))
            return &rig->ready.messages[i];
    return NULL;
}

const struct raft_msg_append *rig_append_to(const struct rig *rig, uint64_t to)
{
    const struct raft_msg *m = rig_message(rig, RAFT_MSG_APPEND, to);
    return m ? &m->append : NULL;
}

uint32_t rig_message_count(const struct rig *rig, enum raft_msg_type type)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < rig->ready.message_count; i++)
        count += rig->ready.messages[i].type == type;
    return count;
}
