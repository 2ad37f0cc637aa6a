#include "tests/fuzz/core.h"

#include "base/assert.h"

/* ---- what it starts as ---- */

static const struct raft_config start_configs[CORE_START_CONFIGS] = {
    [CORE_START_VOTERS] = { 3, { { 1, RAFT_VOTER }, { 2, RAFT_VOTER }, { 3, RAFT_VOTER } } },
    [CORE_START_JOINT] = { 4,
                           { { 1, RAFT_VOTER | RAFT_VOTER_OUTGOING },
                             { 2, RAFT_VOTER | RAFT_VOTER_OUTGOING },
                             { 3, RAFT_VOTER_OUTGOING },
                             { 4, RAFT_VOTER } } },
    [CORE_START_LEARNERS] = { 4,
                              { { 1, RAFT_VOTER },
                                { 2, RAFT_VOTER },
                                { 3, RAFT_LEARNER },
                                { 4, RAFT_LEARNER } } },
    [CORE_START_LEARNS] = { 3, { { 1, RAFT_LEARNER }, { 2, RAFT_VOTER }, { 3, RAFT_VOTER } } },
    [CORE_START_REMOVED] = { 2, { { 2, RAFT_VOTER }, { 3, RAFT_VOTER } } },
    [CORE_START_ALONE] = { 1, { { 1, RAFT_VOTER } } },
    [CORE_START_KNOWS_NOBODY] = { 0 },
};

void core_open(struct core *c, uint8_t start)
{
    static const struct raft_term_start starts[] = { { 1, 3 } };
    *c = (struct core){ .rig = rig_defaults() };
    struct raft_start *s = &c->rig.start;
    s->hard = (struct raft_hard_state){ .term = 2 };
    s->config = start_configs[start % 8 % CORE_START_CONFIGS];
    s->awaits_repair = start & CORE_START_REPAIR;
    c->rig.options.pre_vote = !(start & CORE_START_NO_PRE_VOTE);
    if (start & CORE_START_CUT) {
        s->log_start = (struct raft_pos){ 1, 2 };
        s->flushed = (struct raft_pos){ 1, 3 };
        s->term_starts = starts;
        s->term_start_count = 1;
    }
    rig_open(&c->rig, start & CORE_START_CUT ? "2" : "1112");
    c->applied = c->flushed = c->rig.commit_seen;
}

void core_close(struct core *c)
{
    rig_close(&c->rig);
}

/* ---- configurations ---- */

static struct raft_member *member_of(struct raft_config *config, uint64_t id)
{
    for (uint32_t i = 0; i < config->member_count; i++)
        if (config->members[i].id == id)
            return &config->members[i];
    return NULL;
}

static void config_put(struct raft_config *config, uint64_t id, unsigned roles)
{
    struct raft_member *m = member_of(config, id);
    uint32_t at = config->member_count;
    if (m) {
        m->roles = roles;
        return;
    }
    if (config->member_count == RAFT_MEMBERS_MAX)
        return;
    for (; at > 0 && config->members[at - 1].id > id; at--)
        config->members[at] = config->members[at - 1];
    config->members[at] = (struct raft_member){ id, roles };
    config->member_count++;
}

static void config_remove(struct raft_config *config, uint64_t id)
{
    struct raft_member *m = member_of(config, id);
    if (!m)
        return;
    struct raft_member *end = config->members + config->member_count--;
    memmove(m, m + 1, (size_t)(end - m - 1) * sizeof *m);
}

/* All voters are outgoing ones too. */
static void config_join(struct raft_config *config)
{
    for (uint32_t i = 0; i < config->member_count; i++)
        if (config->members[i].roles & RAFT_VOTER)
            config->members[i].roles |= RAFT_VOTER_OUTGOING;
}

static void config_break(struct raft_config *config, uint8_t how)
{
    struct raft_member *first = &config->members[0];
    switch (how % 6) {
    case 0:
        config->member_count = RAFT_MEMBERS_MAX + 1;
        return;
    case 1:
        config->member_count = 0;
        return;
    case 2:
        *first = (struct raft_member){ 9, RAFT_VOTER };
        return;
    case 3:
        first->id = 0;
        return;
    case 4:
        first->roles = RAFT_VOTER | RAFT_LEARNER;
        return;
    default:
        first->roles = how & 8 ? 0 : 8;
        return;
    }
}

struct raft_config core_config(const struct core *c, uint8_t pick)
{
    struct raft_config config = raft_config_in_force(c->rig.raft).config;
    uint64_t id = 1 + (pick >> 3) % 5;
    switch (pick % 8) {
    case 0:
        return raft_config_left(&config);
    case 1:
        config_put(&config, id, RAFT_VOTER);
        return config;
    case 2:
        config_put(&config, id, RAFT_LEARNER);
        return config;
    case 3:
        config_remove(&config, id);
        return config;
    case 4:
        config_join(&config);
        config_put(&config, id, RAFT_VOTER);
        return config;
    case 5:
        config_join(&config);
        config_put(&config, id, RAFT_VOTER_OUTGOING);
        return config;
    case 6:
        return start_configs[(pick >> 3) % CORE_START_CONFIGS];
    default:
        config_break(&config, pick >> 3);
        return config;
    }
}

/* ---- steps ---- */

/* A member that was removed and is one again may be fetched for again: the answer to the fetch
 * before is of no use then. */
static void fetch_note(struct core *c, const struct raft_fetch *fetch)
{
    for (uint32_t i = 0; i < c->fetch_count; i++) {
        if (c->fetches[i].member == fetch->member) {
            c->fetches[i] = *fetch;
            return;
        }
    }
    ASSERT(c->fetch_count < RAFT_MEMBERS_MAX);
    c->fetches[c->fetch_count++] = *fetch;
}

/* The effects that the next events answer. */
static enum raft_err core_step(struct core *c, struct raft_event event)
{
    enum raft_err err = rig_step(&c->rig, event);
    const struct raft_ready *ready = &c->rig.ready;
    for (uint32_t i = 0; i < ready->fetch_count; i++)
        fetch_note(c, &ready->fetches[i]);
    if (ready->status_changed)
        c->noop_is_due = ready->status.role == RAFT_LEADER;
    return err;
}

/* config: what a RAFT_ENTRY_CONFIG says; else NULL. */
static void propose_entry(struct core *c, enum raft_entry_type type, uint32_t size_bytes,
                          const struct raft_config *config)
{
    if (raft_status(c->rig.raft).role != RAFT_LEADER)
        return;
    struct block *b = block_new(size_bytes);
    ASSERT(b);
    memset(b->data, 0, size_bytes);
    struct raft_entry e = { raft_next_pos(c->rig.raft), type, slice_of(b->data, size_bytes), b };
    struct raft_event event = { .type = RAFT_EV_PROPOSE, .propose = { &e, 1, NULL, 0 } };
    struct raft_config_at at = { .index = e.pos.index };
    if (config) {
        at.config = *config;
        event.propose.configs = &at;
        event.propose.config_count = 1;
    }
    enum raft_err err = core_step(c, event);
    ASSERT(err == RAFT_OK || err == RAFT_E_FULL || err == RAFT_E_CONFIG);
    if (err == RAFT_OK && type == RAFT_ENTRY_NOOP)
        c->noop_is_due = false;
    block_unref(b);
}

static void propose(struct core *c, enum raft_entry_type type, uint32_t size_bytes)
{
    propose_entry(c, type, size_bytes, NULL);
}

static void propose_config(struct core *c, uint8_t pick)
{
    struct raft_config config = core_config(c, pick);
    if (!c->noop_is_due) /* that is the first of a term */
        propose_entry(c, RAFT_ENTRY_CONFIG, 10, &config);
}

/* Entries as they were, or that the log store no longer has them: that may always be. */
static void fetched(struct core *c, uint8_t argument)
{
    enum { ENTRIES_MAX = 3 };
    if (c->fetch_count == 0)
        return;
    struct raft_fetch fetch = c->fetches[--c->fetch_count];
    struct raft_entry entries[ENTRIES_MAX];
    char terms[ENTRIES_MAX + 1] = "";
    uint32_t count = 0;
    while (count < argument % (ENTRIES_MAX + 1u) && fetch.first_index + count <= c->flushed) {
        uint64_t term = raft_term_at(c->rig.raft, fetch.first_index + count);
        if (term == 0 || term > 70)
            break;
        terms[count++] = (char)('0' + term);
    }
    rig_entries(entries, fetch.first_index, terms, 10);
    struct raft_event event = { .type = RAFT_EV_FETCHED,
                                .fetched = { fetch.member, fetch.first_index,
                                             count > 0 ? entries : NULL, count } };
    ASSERT(core_step(c, event) == RAFT_OK);
    rig_entries_done(entries, terms);
}

static void applied(struct core *c)
{
    c->applied = c->rig.commit_seen;
    struct raft_event event = { .type = RAFT_EV_APPLIED,
                                .applied = { c->applied, c->applied * 11 } };
    ASSERT(core_step(c, event) == RAFT_OK);
}

static void flushed(struct core *c, uint8_t argument)
{
    c->flushed += argument % (c->applied - c->flushed + 1);
    struct raft_event event = { .type = RAFT_EV_FLUSHED, .flushed_index = c->flushed };
    ASSERT(core_step(c, event) == RAFT_OK);
}

static void snapshot_sent(struct core *c, uint8_t argument)
{
    struct raft_pos pos = { raft_term_at(c->rig.raft, c->applied), c->applied };
    struct raft_event event = { .type = RAFT_EV_SNAPSHOT_SENT,
                                .snapshot_sent = { .member = 2u + argument / 2 % 4,
                                                   .pos = pos,
                                                   .ok = argument % 2 && pos.term > 0 } };
    ASSERT(core_step(c, event) == RAFT_OK);
}

/* Of the log's own term there, or of any. */
static void snapshot_installed(struct core *c, uint8_t argument)
{
    struct raft_pos pos = { .index = c->applied + argument % 16 };
    pos.term = raft_term_at(c->rig.raft, pos.index);
    if (argument & 16 || pos.term == 0)
        pos.term = raft_status(c->rig.raft).term + 1 - argument / 32 % 3;
    struct raft_event event = {
        .type = RAFT_EV_SNAPSHOT_INSTALLED,
        .snapshot_installed = {
            .pos = pos,
            .config = { .index = pos.index > 2 ? pos.index - 2 : 0,
                        .config = core_config(c, argument) },
            .hash = pos.index * 11,
        },
    };
    uint64_t seen = c->rig.commit_seen;
    if (pos.index > seen)
        c->rig.commit_seen = pos.index;
    enum raft_err err = core_step(c, event);
    if (err != RAFT_OK) {
        ASSERT(err == RAFT_E_STATE);
        c->rig.commit_seen = seen;
    } else {
        c->applied = c->flushed = pos.index > c->applied ? pos.index : c->applied;
    }
}

static struct raft_event plain_event(struct core *c, uint8_t kind, uint8_t argument)
{
    switch (kind) {
    case CORE_DURABLE:
        return (struct raft_event){ .type = RAFT_EV_DURABLE,
                                    .persist_seq =
                                        c->rig.seq - (argument < c->rig.seq ? argument : 0) };
    case CORE_LINK:
        return (struct raft_event){ .type = RAFT_EV_LINK,
                                    .link = { 2u + argument / 2 % 4, argument % 2 != 0 } };
    case CORE_STARTED:
        return (struct raft_event){ .type = argument % 2 ? RAFT_EV_STARTED : RAFT_EV_LEADER_DEAD };
    case CORE_READ:
        return (struct raft_event){ .type = RAFT_EV_READ, .read = { 1ull + argument } };
    case CORE_TRANSFER:
        return (struct raft_event){ .type = RAFT_EV_TRANSFER, .transfer = { argument % 6 } };
    case CORE_TIME:
        c->rig.now_ms += 4ull * argument;
        break;
    default:
        break;
    }
    return (struct raft_event){ .type = RAFT_EV_TICK };
}

static void event_of(struct core *c, uint8_t kind, uint8_t argument)
{
    switch (kind) {
    case CORE_APPLIED:
        applied(c);
        return;
    case CORE_FLUSHED:
        flushed(c, argument);
        return;
    case CORE_PROPOSE:
        propose(c, RAFT_ENTRY_COMMAND, 1 + argument);
        return;
    case CORE_FETCHED:
        fetched(c, argument);
        return;
    case CORE_SNAPSHOT_SENT:
        snapshot_sent(c, argument);
        return;
    case CORE_SNAPSHOT_INSTALLED:
        snapshot_installed(c, argument);
        return;
    case CORE_PROPOSE_CONFIG:
        propose_config(c, argument);
        return;
    default:
        IGNORE(core_step(c, plain_event(c, kind, argument)) != RAFT_OK, "it may be refused");
        return;
    }
}

void core_event(struct core *c, uint8_t kind, uint8_t argument)
{
    event_of(c, kind % CORE_EVENTS, argument);
    if (c->noop_is_due)
        propose(c, RAFT_ENTRY_NOOP, 8);
}

bool core_message(struct core *c, const struct raft_msg *msg)
{
    struct raft_event event = { .type = RAFT_EV_MESSAGE, .message = *msg };
    enum raft_err err = core_step(c, event);
    ASSERT(err == RAFT_OK || err == RAFT_E_MESSAGE);
    if (c->noop_is_due)
        propose(c, RAFT_ENTRY_NOOP, 8);
    return err == RAFT_OK;
}
