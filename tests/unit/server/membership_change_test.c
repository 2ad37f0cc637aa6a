#include <criterion/criterion.h>
#include <stdio.h>

#include "server/membership_change.h"

enum { V = RAFT_VOTER, OUT = RAFT_VOTER_OUTGOING, L = RAFT_LEARNER, MEMBERS = 6, CHANGES = 5 };

/* Members 1 .. by role; 0: not a member. Started ones have a disk. */
struct roles {
    unsigned of[MEMBERS];
};

static struct membership_member member_of(uint64_t id, unsigned roles)
{
    static char names[16][8];
    static char urls[16][24];
    snprintf(names[id], sizeof names[id], "n%d", (int)id);
    snprintf(urls[id], sizeof urls[id], "http://h%d:1", (int)id);
    return (struct membership_member){
        .id = id,
        .name = names[id],
        .peer = { 1, { urls[id] } },
        .client = { 1, { "http://c:1" } },
        .has_incarnation = true,
        .incarnation = { (uint8_t)id },
        .roles = roles,
    };
}

static void fill(struct membership *m, struct roles roles)
{
    membership_init(m);
    for (uint64_t id = 1; id <= MEMBERS; id++) {
        struct membership_member member = member_of(id, roles.of[id - 1]);
        if (member.roles != 0)
            cr_assert_eq(membership_put(m, &member), MEMBERSHIP_OK);
    }
}

static void roles_equal(const struct membership *m, struct roles want, const char *rule)
{
    for (uint64_t id = 1; id <= MEMBERS; id++) {
        const struct membership_member *member = membership_by_id(m, id);
        cr_assert_eq(member ? member->roles : 0, want.of[id - 1], "%s: member %d", rule, (int)id);
    }
}

struct row {
    const char *rule;
    struct roles present;
    struct member_change changes[CHANGES]; /* up to the first with id 0 */
    enum etcd_error error;
    struct roles next;  /* the step to take */
    struct roles final; /* after a joint one is left */
};

#define PEER(url) \
    {             \
        1,        \
        {         \
            url   \
        }         \
    }
#define ADD_L(n)                                          \
    {                                                     \
        MEMBER_ADD_LEARNER, n, PEER("http://new" #n ":1") \
    }
#define ADD_V(n)                                        \
    {                                                   \
        MEMBER_ADD_VOTER, n, PEER("http://new" #n ":1") \
    }
#define PROMOTE(n)                      \
    {                                   \
        .type = MEMBER_PROMOTE, .id = n \
    }
#define DEMOTE(n)                      \
    {                                  \
        .type = MEMBER_DEMOTE, .id = n \
    }
#define REMOVE(n)                      \
    {                                  \
        .type = MEMBER_REMOVE, .id = n \
    }
#define URLS(n, url)                       \
    {                                      \
        MEMBER_SET_PEER_URLS, n, PEER(url) \
    }

static const struct row rows[] = {
    { "a learner is one step", { { V, V, V } }, { ADD_L(4) }, 0, { { V, V, V, L } }, { { 0 } } },
    { "a voter is one step", { { V, V, V } }, { ADD_V(4) }, 0, { { V, V, V, V } }, { { 0 } } },
    { "promotion is one step", { { V, L } }, { PROMOTE(2) }, 0, { { V, V } }, { { 0 } } },
    { "demotion is one step", { { V, V } }, { DEMOTE(1) }, 0, { { L, V } }, { { 0 } } },
    { "a removal is one step", { { V, V, V } }, { REMOVE(3) }, 0, { { V, V } }, { { 0 } } },
    { "learners go at once", { { V, L, L } }, { REMOVE(2), REMOVE(3) }, 0, { { V } }, { { 0 } } },
    { "replacing one is joint",
      { { V, V, V } },
      { REMOVE(1), ADD_V(4) },
      0,
      { { OUT, V | OUT, V | OUT, V } },
      { { 0, V, V, V } } },
    { "two voters are joint",
      { { V } },
      { ADD_V(2), ADD_V(3) },
      0,
      { { V | OUT, V, V } },
      { { V, V, V } } },
    { "all replaced",
      { { V, V, L, L } },
      { REMOVE(1), DEMOTE(2), PROMOTE(3), PROMOTE(4) },
      0,
      { { OUT, L | OUT, V, V } },
      { { 0, L, V, V } } },
    { "a learner goes while voters change",
      { { V, V, V, L } },
      { REMOVE(4), REMOVE(3), REMOVE(2) },
      0,
      { { V | OUT, OUT, OUT } },
      { { V } } },
    { "URLs alone", { { V, V } }, { URLS(2, "http://other:1") }, 0, { { V, V } }, { { 0 } } },
    { "the own URLs again", { { V, V } }, { URLS(2, "http://h2:1") }, 0, { { V, V } }, { { 0 } } },

    { "known id", { { V } }, { ADD_V(1) }, ETCD_E_MEMBER_EXIST, { { 0 } }, { { 0 } } },
    { "out and in again", { { V, V } }, { REMOVE(2), ADD_V(2) }, ETCD_E_MEMBER_EXIST, {}, {} },
    { "no such member", { { V } }, { REMOVE(2) }, ETCD_E_MEMBER_NOT_FOUND, {}, {} },
    { "no such learner", { { V } }, { PROMOTE(2) }, ETCD_E_MEMBER_NOT_FOUND, {}, {} },
    { "URLs of nobody", { { V } }, { URLS(2, "http://x:1") }, ETCD_E_MEMBER_NOT_FOUND, {}, {} },
    { "promote a voter", { { V } }, { PROMOTE(1) }, ETCD_E_MEMBER_NOT_LEARNER, {}, {} },
    { "a URL of another", { { V, V } }, { URLS(2, "http://h1:1") }, ETCD_E_PEER_URL_EXIST, {}, {} },
    { "no URL", { { V } }, { { MEMBER_ADD_VOTER, 2, {} } }, ETCD_E_MEMBER_BAD_URLS, {}, {} },
    { "not a URL",
      { { V } },
      { { MEMBER_ADD_VOTER, 2, PEER("h:1") } },
      ETCD_E_MEMBER_BAD_URLS,
      {},
      {} },
    { "too many learners",
      { { V } },
      { ADD_L(2), ADD_L(3), ADD_L(4) },
      ETCD_E_TOO_MANY_LEARNERS,
      {},
      {} },
    { "the last voter", { { V, L } }, { REMOVE(1) }, ETCD_E_NOT_ENOUGH_STARTED, {}, {} },
};

Test(membership_change, steps)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *r = &rows[i];
        struct membership present, next;
        fill(&present, r->present);
        fill(&next, (struct roles){ { V } });
        size_t count = 0;
        while (count < CHANGES && r->changes[count].id != 0)
            count++;
        cr_assert_eq(membership_change(&present, r->changes, count, 2, &next), r->error, "%s",
                     r->rule);
        roles_equal(&present, r->present, r->rule);
        roles_equal(&next, r->error == ETCD_OK ? r->next : (struct roles){ { V } }, r->rule);
        bool is_joint = r->final.of[0] + r->final.of[1] + r->final.of[2] > 0;
        cr_assert_eq(membership_is_joint(&next), is_joint, "%s", r->rule);
        if (is_joint) {
            cr_assert_eq(next.removed_count, r->present.of[3] == L && r->next.of[3] == 0,
                         "%s: who still decides was not removed", r->rule);
            cr_assert_eq(membership_leave_joint(&next, &next), MEMBERSHIP_OK);
            roles_equal(&next, r->final, r->rule);
        }
        for (uint64_t id = 1; id <= MEMBERS && r->error == ETCD_OK; id++) {
            bool is_gone = r->present.of[id - 1] != 0 && !membership_by_id(&next, id);
            cr_assert_eq(membership_is_removed(&next, id), is_gone, "%s", r->rule);
        }
        membership_done(&next);
        membership_done(&present);
    }
}

Test(membership_change, both_halves_count_against_the_cap)
{
    struct membership m, next;
    membership_init(&m);
    membership_init(&next);
    for (uint64_t id = 1; id <= 15; id++) {
        struct membership_member member = member_of(id, RAFT_VOTER);
        cr_assert_eq(membership_put(&m, &member), MEMBERSHIP_OK);
    }
    struct member_change changes[] = { REMOVE(1), ADD_V(101), REMOVE(2), ADD_V(102) };
    cr_assert_eq(membership_change(&m, changes, 2, 1, &next), ETCD_OK);
    cr_assert_eq(membership_change(&m, changes, 4, 1, &next), ETCD_E_TOO_MANY_MEMBERS);
    membership_done(&next);
    membership_done(&m);
}

/* ---- is it wise? ---- */

struct safe_row {
    const char *rule;
    struct roles present;
    struct roles next;
    uint32_t new_ids; /* bit id: not started */
    uint32_t active;  /* bit id */
    enum etcd_error error;
};

static const struct safe_row safe_rows[] = {
    { "a fourth, all well", { { V, V, V } }, { { V, V, V, V } }, 0x10, 0xe, ETCD_OK },
    { "a fourth, one down", { { V, V, V } }, { { V, V, V, V } }, 0x10, 0x6, ETCD_E_UNHEALTHY },
    { "two new beside three", { { V, V, V } }, { { V, V, V, V, V } }, 0x30, 0xe, ETCD_OK },
    { "two new beside two",
      { { V, V } },
      { { V, V, V, V } },
      0x18,
      0x6,
      ETCD_E_NOT_ENOUGH_STARTED },
    { "a second beside one", { { V } }, { { V, V } }, 0x4, 0x2, ETCD_E_NOT_ENOUGH_STARTED },
    { "a learner that runs beside one", { { V, L } }, { { V, V } }, 0, 0x6, ETCD_OK },
    { "two beside one", { { V } }, { { V, V, V } }, 0xc, 0x2, ETCD_E_NOT_ENOUGH_STARTED },
    { "the dead one goes", { { V, V, V } }, { { V, V } }, 0, 0x6, ETCD_OK },
    { "a living one goes while one is down",
      { { V, V, V } },
      { { V, 0, V } },
      0,
      0x6,
      ETCD_E_UNHEALTHY },
    { "a learner, whatever is down", { { V, V, V } }, { { V, V, V, L } }, 0x10, 0x2, ETCD_OK },
};

static bool is_in_bits(void *owner, uint64_t id)
{
    return *(const uint32_t *)owner >> id & 1;
}

Test(membership_change, a_majority_has_to_remain)
{
    for (size_t i = 0; i < sizeof safe_rows / sizeof safe_rows[0]; i++) {
        const struct safe_row *r = &safe_rows[i];
        struct membership present, next;
        fill(&present, r->present);
        fill(&next, r->next);
        for (uint32_t k = 0; k < next.member_count; k++)
            next.members[k].has_incarnation = !(r->new_ids >> next.members[k].id & 1);
        uint32_t active = r->active;
        cr_assert_eq(membership_change_is_safe(&present, &next, is_in_bits, &active), r->error,
                     "%s", r->rule);
        membership_done(&next);
        membership_done(&present);
    }
}

/* ---- taking effect ---- */

Test(membership_change, what_members_said_of_themselves_stays)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    struct membership said, m;
    fill(&said, (struct roles){ { V, V, L } });
    said.members[0].name = "older";
    said.members[0].client.count = 0;
    said.members[0].has_incarnation = false;
    said.members[0].peer.urls[0] = "http://moved:1";
    struct slice payload;
    cr_assert(membership_encode(&said, &a, &payload));
    fill(&m, (struct roles){ { V, V, 0, V } });
    m.members[1].name = "";
    m.members[1].client.count = 0;
    m.members[1].has_incarnation = false;
    cr_assert_eq(membership_apply(&m, payload, 42), MEMBERSHIP_OK);
    cr_assert_eq(m.config_index, 42);
    roles_equal(&m, (struct roles){ { V, V, L } }, "the entry decides who is a member");
    cr_assert_str_eq(m.members[0].name, "n1");
    cr_assert_str_eq(m.members[0].peer.urls[0], "http://moved:1");
    cr_assert_eq(m.members[0].client.count, 1);
    cr_assert(m.members[0].has_incarnation);
    cr_assert_str_eq(m.members[1].name, "n2", "unknown here, so as the entry has it");
    cr_assert_eq(m.members[1].client.count, 1);
    cr_assert_eq(m.members[1].incarnation[0], 2);
    cr_assert_str_eq(m.members[2].name, "n3");
    static const uint8_t bad[] = { 0xff };
    cr_assert_eq(membership_apply(&m, slice_of(bad, 1), 43), MEMBERSHIP_E_MALFORMED);
    cr_assert_eq(m.config_index, 42);
    membership_done(&m);
    membership_done(&said);
    arena_done(&a);
}
