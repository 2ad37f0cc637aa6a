#include "tests/fuzz/core.h"

#include "base/assert.h"

void core_open(struct core *c)
{
    *c = (struct core){ .rig = rig_defaults() };
    c->rig.start.hard = (struct raft_hard_state){ .term = 2 };
    rig_open(&c->rig, "1112");
    c->applied = c->flushed = c->rig.commit_seen;
}

void core_close(struct core *c)
{
    rig_close(&c->rig);
}

/* The effects that the next events answer. */
static enum raft_err core_step(struct core *c, struct raft_event event)
{
    enum raft_err err = rig_step(&c->rig, event);
    const struct raft_ready *ready = &c->rig.ready;
    for (uint32_t i = 0; i < ready->fetch_count; i++) {
        ASSERT(c->fetch_count < RAFT_MEMBERS_MAX);
        c->fetches[c->fetch_count++] = ready->fetches[i];
    }
    if (ready->status_changed)
        c->noop_is_due = ready->status.role == RAFT_LEADER;
    return err;
}

static void propose(struct core *c, enum raft_entry_type type, uint32_t size_bytes)
{
    if (raft_status(c->rig.raft).role != RAFT_LEADER)
        return;
    struct block *b = block_new(size_bytes);
    ASSERT(b);
    memset(b->data, 0, size_bytes);
    struct raft_entry e = { raft_next_pos(c->rig.raft), type, slice_of(b->data, size_bytes), b };
    struct raft_event event = { .type = RAFT_EV_PROPOSE, .propose = { &e, 1 } };
    enum raft_err err = core_step(c, event);
    if (err == RAFT_OK && type == RAFT_ENTRY_NOOP)
        c->noop_is_due = false;
    block_unref(b);
}

/* Entries that the log store no longer has: what a fetch may always be told. */
static void fetched_none(struct core *c)
{
    if (c->fetch_count == 0)
        return;
    struct raft_fetch fetch = c->fetches[--c->fetch_count];
    struct raft_event event = { .type = RAFT_EV_FETCHED,
                                .fetched = { fetch.member, fetch.first_index, NULL, 0 } };
    ASSERT(core_step(c, event) == RAFT_OK);
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

static void event_of(struct core *c, uint8_t kind, uint8_t argument)
{
    struct raft_event event = { .type = RAFT_EV_TICK };
    switch (kind % 10) {
    case 0:
        c->rig.now_ms += 4ull * argument;
        break;
    case 1:
        event = (struct raft_event){ .type = RAFT_EV_DURABLE, .persist_seq = c->rig.seq };
        break;
    case 2:
        applied(c);
        return;
    case 3:
        flushed(c, argument);
        return;
    case 4:
        propose(c, RAFT_ENTRY_COMMAND, 1 + argument);
        return;
    case 5:
        fetched_none(c);
        return;
    case 6:
        event = (struct raft_event){ .type = RAFT_EV_LINK,
                                     .link = { 2 + argument / 2 % 2, argument % 2 != 0 } };
        break;
    case 7:
        event.type = argument % 2 ? RAFT_EV_STARTED : RAFT_EV_LEADER_DEAD;
        break;
    case 8:
        event = (struct raft_event){ .type = RAFT_EV_READ, .read = { 1ull + argument } };
        break;
    default:
        break;
    }
    IGNORE(core_step(c, event) != RAFT_OK, "a read may be refused");
}

void core_event(struct core *c, uint8_t kind, uint8_t argument)
{
    event_of(c, kind, argument);
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
