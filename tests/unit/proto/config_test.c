/* What a RAFT_ENTRY_CONFIG says to the core. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "proto/config.h"
#include "proto/entry.h"
#include "state.pb-c.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { MEMBERS_MAX = RAFT_MEMBERS_MAX + 1, BYTES_MAX = 1 << 16 };

static size_t pack(const struct raft_member *members, size_t count, uint8_t bytes[BYTES_MAX])
{
    static Holdfastpb__MemberRecord records[MEMBERS_MAX];
    Holdfastpb__MemberRecord *pointers[MEMBERS_MAX];
    Holdfastpb__Membership pb = HOLDFASTPB__MEMBERSHIP__INIT;
    for (size_t i = 0; i < count; i++) {
        holdfastpb__member_record__init(&records[i]);
        records[i].id = members[i].id;
        records[i].roles = members[i].roles;
        pointers[i] = &records[i];
    }
    pb.n_members = count;
    pb.members = pointers;
    cr_assert_leq(holdfastpb__membership__get_packed_size(&pb), (size_t)BYTES_MAX);
    return holdfastpb__membership__pack(&pb, bytes);
}

static const struct {
    const char *what;
    size_t count;
    struct raft_member members[4];
    bool ok;
} lists[] = {
    { "three voters", 3, { { 1, RAFT_VOTER }, { 5, RAFT_VOTER }, { 9, RAFT_VOTER } }, true },
    { "a learner", 2, { { 1, RAFT_VOTER }, { 2, RAFT_LEARNER } }, true },
    { "a joint one",
      4,
      { { 1, RAFT_VOTER | RAFT_VOTER_OUTGOING },
        { 2, RAFT_VOTER_OUTGOING },
        { 3, RAFT_VOTER_OUTGOING | RAFT_LEARNER },
        { UINT64_MAX, RAFT_VOTER } },
      true },
    { "nobody", 0, { { 0, 0 } }, false },
    { "no voter", 1, { { 1, RAFT_LEARNER } }, false },
    { "no voter in the new half", 1, { { 1, RAFT_VOTER_OUTGOING } }, false },
    { "member 0", 1, { { 0, RAFT_VOTER } }, false },
    { "ids that fall", 2, { { 2, RAFT_VOTER }, { 1, RAFT_VOTER } }, false },
    { "an id twice", 2, { { 2, RAFT_VOTER }, { 2, RAFT_LEARNER } }, false },
    { "no role", 2, { { 1, RAFT_VOTER }, { 2, 0 } }, false },
    { "an unknown role", 1, { { 1, RAFT_VOTER | 8 } }, false },
    { "voter and learner", 1, { { 1, RAFT_VOTER | RAFT_LEARNER } }, false },
};

Test(proto_config, what_a_payload_says)
{
    static uint8_t bytes[BYTES_MAX];
    for (size_t i = 0; i < COUNT(lists); i++) {
        struct raft_config config = { .member_count = 77 };
        size_t size = pack(lists[i].members, lists[i].count, bytes);
        cr_assert_eq(config_of_payload(slice_of(bytes, size), &config), lists[i].ok, "%s",
                     lists[i].what);
        if (!lists[i].ok) {
            cr_assert_eq(config.member_count, 77, "%s: touched", lists[i].what);
            continue;
        }
        cr_assert_eq(config.member_count, lists[i].count);
        for (size_t m = 0; m < lists[i].count; m++)
            cr_assert(config.members[m].id == lists[i].members[m].id &&
                          config.members[m].roles == lists[i].members[m].roles,
                      "%s", lists[i].what);
    }
}

Test(proto_config, as_many_members_as_there_may_be)
{
    static uint8_t bytes[BYTES_MAX];
    struct raft_member members[MEMBERS_MAX];
    struct raft_config config;
    for (uint32_t i = 0; i < MEMBERS_MAX; i++)
        members[i] = (struct raft_member){ i + 1, RAFT_VOTER };
    cr_assert(config_of_payload(slice_of(bytes, pack(members, RAFT_MEMBERS_MAX, bytes)), &config));
    cr_assert_not(config_of_payload(slice_of(bytes, pack(members, MEMBERS_MAX, bytes)), &config));
}

Test(proto_config, bytes_that_are_none)
{
    static uint8_t bytes[BYTES_MAX];
    struct raft_config config;
    size_t size = pack(lists[0].members, lists[0].count, bytes);
    cr_assert_not(config_of_payload(slice_of(bytes, size - 1), &config), "cut short");
    cr_assert_not(config_of_payload(slice_of_text("no membership"), &config));
}

static struct slice entry_of(uint8_t *buffer, enum raft_entry_type type, struct slice payload)
{
    struct entry_header header = {
        .type = type,
        .pos = { .term = 2, .index = 3 },
        .payload_bytes = (uint32_t)payload.size,
    };
    memcpy(buffer + entry_payload_offset(&header), payload.data, payload.size);
    entry_seal(buffer, &header);
    return slice_of(buffer, entry_size_bytes(&header));
}

Test(proto_config, out_of_an_entry)
{
    static uint8_t bytes[BYTES_MAX];
    static uint8_t buffer[2 * BYTES_MAX];
    struct raft_config config;
    struct slice payload = slice_of(bytes, pack(lists[0].members, lists[0].count, bytes));
    struct slice entry = entry_of(buffer, RAFT_ENTRY_CONFIG, payload);
    cr_assert(config_of_entry(entry, &config));
    cr_assert_eq(config.member_count, 3);
    cr_assert_not(config_of_entry(slice_of(entry.data, entry.size - 1), &config));
    cr_assert_not(config_of_entry(entry_of(buffer, RAFT_ENTRY_COMMAND, payload), &config));
}
