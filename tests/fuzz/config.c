/* What a configuration entry may hold: for the core, and for the state machine. */
#include "proto/config.h"
#include "base/assert.h"
#include "proto/entry.h"
#include "server/membership_change.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/machine_rig.h"

enum { ARENA_BYTES = 1 << 20 };

/* One machine for the life of the process: what it takes is its membership for the next. */
static struct machine_rig *machine_of_all(void)
{
    static struct machine_rig rig;
    static bool is_open;
    if (!is_open)
        machine_rig_init(&rig);
    is_open = true;
    return &rig;
}

static bool configs_equal(const struct raft_config *a, const struct raft_config *b)
{
    bool is_equal = a->member_count == b->member_count;
    for (uint32_t i = 0; is_equal && i < a->member_count; i++)
        is_equal =
            a->members[i].id == b->members[i].id && a->members[i].roles == b->members[i].roles;
    return is_equal;
}

static enum machine_err apply(struct machine_rig *rig, struct slice payload)
{
    const struct machine_state *state = machine_state(rig->machine);
    struct entry_header header = { .type = RAFT_ENTRY_CONFIG,
                                   .pos = { 1, state->applied.index + 1 },
                                   .payload_bytes = (uint32_t)payload.size };
    ASSERT(machine_batch_begin(rig->machine) == KV_OK);
    enum machine_err err = machine_apply(rig->machine, &header, payload, NULL);
    machine_batch_end(rig->machine);
    return err;
}

/* What the core may put in force and the machine takes is the same members to both. */
static void config_run(struct slice input)
{
    struct machine_rig *rig = machine_of_all();
    struct raft_config config = { 0 };
    bool is_config = config_of_payload(input, &config);
    enum machine_err err = apply(rig, input);
    ASSERT(err == MACHINE_OK || err == MACHINE_E_UNKNOWN);
    if (err != MACHINE_OK)
        return;
    struct raft_config applied = membership_to_raft_config(&rig->membership);
    if (is_config)
        ASSERT(configs_equal(&applied, &config));
    for (uint32_t i = 0; i < rig->membership.removed_count; i++)
        ASSERT(!membership_by_id(&rig->membership, rig->membership.removed_ids[i]));
    struct arena arena;
    struct slice bytes;
    arena_init(&arena, ARENA_BYTES);
    ASSERT(membership_encode(&rig->membership, &arena, &bytes));
    struct membership again;
    membership_init(&again);
    ASSERT(membership_decode(&again, bytes) == MEMBERSHIP_OK);
    ASSERT(again.removed_count == rig->membership.removed_count);
    membership_done(&again);
    arena_done(&arena);
}

static void add_membership(fuzz_seed_fn *add, void *owner, const char *name,
                           const struct membership *m)
{
    struct arena arena;
    struct slice bytes;
    arena_init(&arena, ARENA_BYTES);
    ASSERT(membership_encode(m, &arena, &bytes));
    add(owner, name, bytes);
    arena_done(&arena);
}

static void config_seeds(fuzz_seed_fn *add, void *owner)
{
    static const unsigned roles[] = { RAFT_VOTER | RAFT_VOTER_OUTGOING, RAFT_VOTER_OUTGOING,
                                      RAFT_VOTER, RAFT_LEARNER | RAFT_VOTER_OUTGOING };
    struct membership m;
    membership_init(&m);
    for (uint64_t id = 1; id <= 4; id++) {
        struct membership_member member = { .id = id,
                                            .name = "n",
                                            .peer = { 1, { "http://a:1" } },
                                            .client = { 1, { "http://a:2" } },
                                            .has_incarnation = id == 1,
                                            .incarnation = { 7 },
                                            .roles = roles[id - 1] };
        ASSERT(membership_put(&m, &member) == MEMBERSHIP_OK);
    }
    add_membership(add, owner, "joint", &m);
    ASSERT(membership_remove(&m, 2));
    m.config_index = 9;
    add_membership(add, owner, "removed", &m);
    membership_done(&m);
}

const struct fuzz_target fuzz_config = { "config", 20000, config_run, config_seeds };
