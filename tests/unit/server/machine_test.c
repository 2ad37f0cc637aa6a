#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>

#include "tests/support/machine_rig.h"

static struct machine_rig rig;

static void setup(void)
{
    machine_rig_init(&rig);
}

static void done(void)
{
    machine_rig_done(&rig);
}

TestSuite(machine, .init = setup, .fini = done);

static int64_t revision(void)
{
    return machine_state(rig.machine)->revision;
}

static uint64_t hash_of(const struct machine_rig *r)
{
    return machine_state(r->machine)->state_hash;
}

static enum etcd_error put(const char *key, const char *value)
{
    return machine_rig_put(&rig, make_put(&rig.arena, key, value));
}

static int64_t del(const char *key, const char *end)
{
    int64_t deleted = -1;
    cr_assert_eq(machine_rig_delete(&rig, make_delete(&rig.arena, key, end), &deleted), ETCD_OK);
    return deleted;
}

static const char *numbered_key(struct machine_rig *r, int i)
{
    char *key = arena_alloc(&r->arena, 32);
    snprintf(key, 32, "k%05d", i);
    return key;
}

static void fill(struct machine_rig *r, int count)
{
    for (int i = 0; i < count; i++)
        cr_assert_eq(machine_rig_put(r, make_put(&r->arena, numbered_key(r, i), "v")), ETCD_OK);
}

/* ---- puts ---- */

static struct kv_record record_of(const char *key)
{
    struct kv_view *view;
    struct kv_record record;
    bool found;
    cr_assert_eq(kv_view_open(rig.kv, &view), KV_OK);
    cr_assert_eq(
        kv_view_get(view, slice_of_text(key), revision(), false, &rig.arena, &record, &found),
        KV_OK);
    kv_view_close(view);
    cr_assert(found);
    return record;
}

Test(machine, puts_count_versions_and_keep_the_creation)
{
    cr_assert_eq(put("a", "1"), ETCD_OK);
    cr_assert_eq(put("b", "1"), ETCD_OK);
    cr_assert_eq(put("a", "2"), ETCD_OK);
    struct kv_record a = record_of("a");
    cr_assert_eq(a.create_revision, 2);
    cr_assert_eq(a.mod.main, 4);
    cr_assert_eq(a.version, 2);
    cr_assert_eq(del("a", NULL), 1);
    cr_assert_eq(put("a", "3"), ETCD_OK);
    a = record_of("a");
    cr_assert_eq(a.create_revision, 6, "a deleted key begins again");
    cr_assert_eq(a.version, 1);
}

Test(machine, a_put_may_keep_the_value)
{
    Etcdserverpb__PutRequest *r = make_put(&rig.arena, "a", NULL);
    r->ignore_value = true;
    cr_assert_eq(machine_rig_put(&rig, r), ETCD_E_KEY_NOT_FOUND);
    cr_assert_eq(revision(), 1);
    cr_assert_eq(put("a", "kept"), ETCD_OK);
    machine_rig_flush(&rig);
    cr_assert_eq(machine_rig_put(&rig, r), ETCD_OK);
    cr_assert_str_eq(machine_rig_value(&rig, "a"), "kept");
    cr_assert_eq(record_of("a").version, 2);
    r = make_put(&rig.arena, "a", "new");
    r->ignore_lease = true;
    cr_assert_eq(machine_rig_put(&rig, r), ETCD_OK);
    cr_assert_str_eq(machine_rig_value(&rig, "a"), "new");
}

Test(machine, a_lease_that_nobody_granted_is_refused)
{
    Etcdserverpb__PutRequest *r = make_put(&rig.arena, "a", "v");
    r->lease = 7;
    uint64_t before = hash_of(&rig);
    cr_assert_eq(machine_rig_put(&rig, r), ETCD_E_LEASE_NOT_FOUND);
    cr_assert_eq(revision(), 1);
    cr_assert_neq(hash_of(&rig), before, "each entry moves the hash");
}

/* ---- deletes ---- */

Test(machine, a_delete_of_nothing_makes_no_revision)
{
    cr_assert_eq(del("a", NULL), 0);
    cr_assert_eq(del("a", "z"), 0);
    cr_assert_eq(del("z", "a"), 0);
    cr_assert_eq(revision(), 1);
    put("a", "v");
    cr_assert_eq(del("a", NULL), 1);
    cr_assert_eq(del("a", NULL), 0);
    cr_assert_eq(revision(), 3);
}

static Holdfastpb__Command *delete_command(struct machine_rig *r, bool prev_kv)
{
    Holdfastpb__Command *command = arena_alloc(&r->arena, sizeof *command);
    holdfastpb__command__init(command);
    command->command_case = HOLDFASTPB__COMMAND__COMMAND_DELETE_RANGE;
    command->delete_range = make_delete(&r->arena, "k", "l");
    command->delete_range->prev_kv = prev_kv;
    return command;
}

Test(machine, a_large_delete_comes_in_slices_and_shows_at_the_end)
{
    enum { KEYS = 1777 };
    fill(&rig, KEYS);
    machine_rig_flush(&rig);
    int64_t before = revision();
    Holdfastpb__Command *command = delete_command(&rig, true);
    struct machine_reply reply = { .arena = &rig.arena };
    int slices = 0;
    enum machine_err err;
    while ((err = machine_rig_slice(&rig, command, &reply)) == MACHINE_MORE) {
        slices++;
        cr_assert_eq(revision(), before);
        cr_assert_str_eq(machine_rig_value(&rig, "k00000"), "v", "not before all are gone");
    }
    cr_assert_eq(err, MACHINE_OK);
    cr_assert_geq(slices, 3);
    cr_assert_eq(reply.error, ETCD_OK);
    cr_assert_eq(reply.delete_range->deleted, KEYS);
    cr_assert_eq(reply.delete_range->n_prev_kvs, KEYS);
    for (int i = 0; i < KEYS; i++) {
        const Mvccpb__KeyValue *kv = reply.delete_range->prev_kvs[i];
        cr_assert(slice_equal(slice_of_pb(kv->key), slice_of_text(numbered_key(&rig, i))));
        cr_assert(slice_equal(slice_of_pb(kv->value), slice_of_text("v")));
        cr_assert_eq(kv->mod_revision, i + 2);
    }
    cr_assert_eq(revision(), before + 1);
    cr_assert_null(machine_rig_value(&rig, "k00000"));
    cr_assert_null(machine_rig_value(&rig, "k01776"));
}

/* The arena is full in the middle of the first slice: later slices must not go on filling in an
 * array that has not grown with them. */
Test(machine, previous_values_that_do_not_fit_cost_the_answer_alone)
{
    for (size_t bytes = 4096; bytes <= 1 << 20; bytes += 7000) {
        struct machine_rig other;
        machine_rig_init(&other);
        fill(&other, 1100);
        struct arena small;
        arena_init(&small, bytes);
        struct machine_reply reply = { .arena = &small };
        cr_assert_eq(machine_rig_apply(&other, delete_command(&other, true), &reply), MACHINE_OK);
        cr_assert(reply.error == ETCD_E_RESPONSE_TOO_LARGE || reply.error == ETCD_OK);
        if (reply.error == ETCD_OK)
            cr_assert_eq(reply.delete_range->n_prev_kvs, 1100);
        cr_assert_null(machine_rig_value(&other, "k01099"));
        bool was_answered = reply.error == ETCD_OK;
        arena_done(&small);
        machine_rig_done(&other);
        if (was_answered)
            return;
    }
    cr_assert(false, "a megabyte is enough for all of them");
}

Test(machine, whoever_waits_may_go_between_slices)
{
    fill(&rig, 1777);
    struct arena callers;
    arena_init(&callers, 1 << 20);
    struct machine_reply reply = { .arena = &callers };
    Holdfastpb__Command *command = delete_command(&rig, true);
    cr_assert_eq(machine_rig_slice(&rig, command, &reply), MACHINE_MORE);
    arena_done(&callers); /* cancelled: its memory is gone */
    cr_assert_eq(machine_rig_apply(&rig, command, NULL), MACHINE_OK);
    cr_assert_eq(del("k", "l"), 0);
    cr_assert_eq(put("k1", "v"), ETCD_OK);
    cr_assert_eq(del("k", "l"), 1, "nothing is left over of the slices");
}

Test(machine, somebody_who_comes_between_slices_gets_no_half_answer)
{
    fill(&rig, 1777);
    Holdfastpb__Command *command = delete_command(&rig, true);
    cr_assert_eq(machine_rig_slice(&rig, command, NULL), MACHINE_MORE);
    struct machine_reply reply = { .arena = &rig.arena };
    cr_assert_eq(machine_rig_apply(&rig, command, &reply), MACHINE_OK);
    cr_assert_eq(reply.error, ETCD_E_RESPONSE_TOO_LARGE);
}

/* ---- compaction ---- */

Test(machine, compaction_goes_forward_and_not_past_the_present)
{
    fill(&rig, 5); /* revision 6 */
    cr_assert_eq(machine_rig_compact(&rig, 7), ETCD_E_FUTURE_REVISION);
    cr_assert_eq(machine_rig_compact(&rig, 0), ETCD_OK, "compacts nothing, once, as in etcd");
    cr_assert_eq(machine_rig_compact(&rig, -3), ETCD_E_COMPACTED);
    cr_assert_eq(machine_rig_compact(&rig, 4), ETCD_OK);
    cr_assert_eq(machine_rig_compact(&rig, 4), ETCD_E_COMPACTED);
    cr_assert_eq(machine_rig_compact(&rig, 3), ETCD_E_COMPACTED);
    cr_assert_eq(machine_rig_compact(&rig, 6), ETCD_OK);
    cr_assert_eq(machine_state(rig.machine)->compact_revision, 6);
    cr_assert_eq(revision(), 6);
}

/* ---- other commands ---- */

Test(machine, members_say_who_they_are)
{
    char *url = "http://c:2379";
    Holdfastpb__MemberAttributes attributes = HOLDFASTPB__MEMBER_ATTRIBUTES__INIT;
    attributes.member_id = 1;
    attributes.name = "renamed";
    attributes.client_urls = &url;
    attributes.n_client_urls = 1;
    Holdfastpb__Command command = HOLDFASTPB__COMMAND__INIT;
    command.command_case = HOLDFASTPB__COMMAND__COMMAND_MEMBER_ATTRIBUTES;
    command.member_attributes = &attributes;
    cr_assert_eq(machine_rig_apply(&rig, &command, NULL), MACHINE_OK);
    const struct membership_member *member = membership_by_id(&rig.membership, 1);
    cr_assert_str_eq(member->name, "renamed");
    cr_assert_str_eq(member->client.urls[0], url);
    attributes.member_id = 2;
    cr_assert_eq(machine_rig_apply(&rig, &command, NULL), MACHINE_OK);
    cr_assert_null(membership_by_id(&rig.membership, 2));
    static char *urls[MEMBERSHIP_URLS_MAX + 1];
    for (size_t i = 0; i <= MEMBERSHIP_URLS_MAX; i++)
        urls[i] = "http://x:1";
    attributes.member_id = 1;
    attributes.client_urls = urls;
    attributes.n_client_urls = MEMBERSHIP_URLS_MAX + 1;
    cr_assert_eq(machine_rig_apply(&rig, &command, NULL), MACHINE_OK);
    cr_assert_eq(membership_by_id(&rig.membership, 1)->client.count, 1);
}

Test(machine, a_member_has_one_disk)
{
    uint8_t disks[2][MEMBERSHIP_INCARNATION_BYTES] = { { 1 }, { 2 } };
    Holdfastpb__MemberAttributes attributes = HOLDFASTPB__MEMBER_ATTRIBUTES__INIT;
    attributes.member_id = 1;
    attributes.name = "not looked at";
    Holdfastpb__Command command = HOLDFASTPB__COMMAND__INIT;
    command.command_case = HOLDFASTPB__COMMAND__COMMAND_MEMBER_ATTRIBUTES;
    command.member_attributes = &attributes;
    const struct membership_member *member = membership_by_id(&rig.membership, 1);
    attributes.incarnation = (ProtobufCBinaryData){ 15, disks[1] };
    cr_assert_eq(machine_rig_apply(&rig, &command, NULL), MACHINE_OK);
    cr_assert_not(member->has_incarnation, "not one");
    for (int i = 0; i < 2; i++) {
        attributes.incarnation = (ProtobufCBinaryData){ sizeof disks[i], disks[i] };
        cr_assert_eq(machine_rig_apply(&rig, &command, NULL), MACHINE_OK);
        cr_assert(member->has_incarnation);
        cr_assert_eq(member->incarnation[0], 1, "the first counts");
        cr_assert_str_eq(member->name, "n1");
    }
}

static enum machine_err apply_config(struct slice payload)
{
    struct entry_header header = {
        .type = RAFT_ENTRY_CONFIG,
        .pos = { .term = 1, .index = machine_state(rig.machine)->applied.index + 1 },
    };
    cr_assert_eq(machine_batch_begin(rig.machine), KV_OK);
    enum machine_err err = machine_apply(rig.machine, &header, payload, NULL);
    machine_batch_end(rig.machine);
    return err;
}

Test(machine, a_configuration_takes_effect)
{
    struct membership next;
    membership_init(&next);
    struct membership_member members[] = {
        { .id = 1, .name = "n1", .roles = RAFT_VOTER },
        { .id = 9, .name = "", .peer = { 1, { "http://h:1" } }, .roles = RAFT_LEARNER },
    };
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(membership_put(&next, &members[i]), MEMBERSHIP_OK);
    struct slice payload;
    cr_assert(membership_encode(&next, &rig.arena, &payload));
    uint64_t hash = machine_state(rig.machine)->state_hash;
    cr_assert_eq(apply_config(payload), MACHINE_OK);
    cr_assert_eq(rig.membership.member_count, 2);
    cr_assert_eq(rig.membership.config_index, 1);
    cr_assert_neq(machine_state(rig.machine)->state_hash, hash);
    cr_assert_eq(apply_config(slice_of_text("not one")), MACHINE_E_UNKNOWN);
    membership_done(&next);
}

Test(machine, what_is_not_known_stops_it)
{
    Holdfastpb__Command command = HOLDFASTPB__COMMAND__INIT;
    cr_assert_eq(machine_rig_apply(&rig, &command, NULL), MACHINE_E_UNKNOWN);
    Holdfastpb__FeatureLevel level = HOLDFASTPB__FEATURE_LEVEL__INIT;
    level.level = MACHINE_FEATURE_LEVEL_MAX + 1;
    command.command_case = HOLDFASTPB__COMMAND__COMMAND_FEATURE_LEVEL;
    command.feature_level = &level;
    cr_assert_eq(machine_rig_apply(&rig, &command, NULL), MACHINE_E_UNKNOWN);
    level.level = 1;
    cr_assert_eq(machine_rig_apply(&rig, &command, NULL), MACHINE_OK);
    cr_assert_eq(machine_state(rig.machine)->feature_level, 1);
    level.level = 0;
    cr_assert_eq(machine_rig_apply(&rig, &command, NULL), MACHINE_OK);
    cr_assert_eq(machine_state(rig.machine)->feature_level, 1, "never lower");
}

Test(machine, entries_come_one_after_the_other, .signal = SIGABRT)
{
    struct entry_header header = { .type = RAFT_ENTRY_NOOP, .pos = { 1, 2 } };
    cr_assert_eq(machine_batch_begin(rig.machine), KV_OK);
    enum machine_err err = machine_apply(rig.machine, &header, (struct slice){ 0 }, NULL);
    cr_assert_eq(err, MACHINE_OK);
}

/* ---- I5: two replicas ---- */

static Holdfastpb__Command *any_command(struct arena *a, struct prng *prng)
{
    static const char *const keys[] = { "a", "b", "c", "d", "e", "f" };
    const char *key = keys[prng_below(prng, 6)];
    const char *end = keys[prng_below(prng, 6)];
    Holdfastpb__Command *c = arena_alloc(a, sizeof *c);
    holdfastpb__command__init(c);
    switch (prng_below(prng, 6)) {
    case 0:
        c->command_case = HOLDFASTPB__COMMAND__COMMAND_DELETE_RANGE;
        c->delete_range = make_delete(a, key, end);
        c->delete_range->prev_kv = true;
        break;
    case 1:
        c->command_case = HOLDFASTPB__COMMAND__COMMAND_TXN;
        c->txn = make_txn_empty(a);
        make_if(a, c->txn, key, ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE, 0)->range_end =
            make_bytes(end);
        make_then(a, c->txn, make_op_put(a, key, "then"));
        make_then(a, c->txn, make_op_range(a, "a", MAKE_OPEN));
        make_else(a, c->txn, make_op_delete(a, "b", "e"));
        make_else(a, c->txn, make_op_delete(a, "a", MAKE_OPEN));
        break;
    case 2:
        c->command_case = HOLDFASTPB__COMMAND__COMMAND_COMPACTION;
        c->compaction = arena_alloc(a, sizeof *c->compaction);
        etcdserverpb__compaction_request__init(c->compaction);
        c->compaction->revision = (int64_t)prng_below(prng, 60);
        break;
    default:
        c->command_case = HOLDFASTPB__COMMAND__COMMAND_PUT;
        c->put = make_put(a, key, prng_below(prng, 2) ? "v" : "");
        c->put->ignore_value = c->put->value.len == 0;
    }
    return c;
}

Test(machine, replicas_agree_whatever_they_flush_and_whoever_waits)
{
    struct machine_rig other;
    machine_rig_init(&other);
    struct prng prng = prng_seeded(11);
    struct arena small;
    arena_init(&small, 300);
    for (int i = 0; i < 600; i++) {
        arena_reset(&rig.arena);
        arena_reset(&other.arena);
        arena_reset(&small);
        Holdfastpb__Command *command = any_command(&rig.arena, &prng);
        struct machine_reply reply = { .arena = &rig.arena };
        cr_assert_eq(machine_rig_apply(&rig, command, &reply), MACHINE_OK);
        struct machine_reply cramped = { .arena = &small };
        bool waits = prng_below(&prng, 2) == 0;
        cr_assert_eq(machine_rig_apply(&other, command, waits ? &cramped : NULL), MACHINE_OK);
        cr_assert_eq(hash_of(&rig), hash_of(&other), "after %d", i);
        cr_assert_eq(revision(), machine_state(other.machine)->revision);
        if (prng_below(&prng, 20) == 0)
            machine_rig_flush(&rig);
        if (prng_below(&prng, 50) == 0)
            machine_rig_flush(&other);
    }
    uint64_t hashes[2];
    struct machine_rig *rigs[] = { &rig, &other };
    for (size_t i = 0; i < 2; i++) {
        struct kv_view *view;
        cr_assert_eq(kv_view_open(rigs[i]->kv, &view), KV_OK);
        cr_assert_eq(kv_view_hash(view, machine_state(rig.machine)->compact_revision, revision(),
                                  &hashes[i]),
                     KV_OK);
        kv_view_close(view);
    }
    cr_assert_eq(hashes[0], hashes[1]);
    arena_done(&small);
    machine_rig_done(&other);
}

Test(machine, a_prefetch_takes_any_payload)
{
    static const char *const payloads[] = {
        "",
        "\x0a",
        "\x0a\x05",
        "\x0a\x05\x0a\x03"
        "abc",
        "\x0a\x05\x0a\x04"
        "abc",
        "\x0a\x7f\x0a\x01"
        "a",
        "\x12\x03\x0a\x01"
        "a",
        "\x0a\x03\x12\x01"
        "a",
        "\x0a\xff\xff\xff\xff",
    };
    struct slice slices[KV_PREFETCH_MAX];
    size_t count = sizeof payloads / sizeof payloads[0];
    for (size_t i = 0; i < count; i++)
        slices[i] = slice_of_text(payloads[i]);
    machine_prefetch(rig.machine, slices, count);
    machine_prefetch(rig.machine, slices, 0);
}
