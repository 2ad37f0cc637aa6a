#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/prng.h"
#include "server/membership.h"

static struct membership parsed(const char *text, const char *token)
{
    struct membership m;
    membership_init(&m);
    char why[MEMBERSHIP_WHY_BYTES];
    cr_assert_eq(membership_parse_initial(&m, text, token, why), MEMBERSHIP_OK, "%s", why);
    return m;
}

Test(membership, initial_cluster_is_read)
{
    struct membership m =
        parsed("n2=http://b:2380, n1=http://a:2381 ,n1=http://a:2380,,n3=http://[::1]:9", "t");
    cr_assert_eq(m.member_count, 3);
    const struct membership_member *n1 = membership_by_name(&m, "n1");
    cr_assert_eq(n1->peer.count, 2);
    cr_assert_str_eq(n1->peer.urls[0], "http://a:2380", "sorted");
    cr_assert_str_eq(n1->peer.urls[1], "http://a:2381");
    cr_assert_eq(n1->roles, RAFT_VOTER);
    cr_assert_not(n1->has_incarnation);
    cr_assert_eq(membership_by_id(&m, n1->id), n1);
    cr_assert_null(membership_by_name(&m, "n4"));
    cr_assert_null(membership_by_id(&m, 1));
    cr_assert_lt(m.members[0].id, m.members[1].id);
    cr_assert_lt(m.members[1].id, m.members[2].id);
    membership_done(&m);
}

static const struct {
    const char *text;
    enum membership_err err;
    const char *why; /* how it begins */
} bad_texts[] = {
    { "", MEMBERSHIP_E_TEXT, "initial cluster unset" },
    { " , ,", MEMBERSHIP_E_TEXT, "initial cluster unset" },
    { "n1", MEMBERSHIP_E_TEXT, "empty URL given for \"n1\"" },
    { "n1=", MEMBERSHIP_E_TEXT, "empty URL given for \"n1\"" },
    { "n1=http://a:1,n2= ", MEMBERSHIP_E_TEXT, "empty URL given for \"n2\"" },
    { "=http://a:1", MEMBERSHIP_E_TEXT, "a member without a name" },
    { "n1=ftp://a:1", MEMBERSHIP_E_TEXT, "invalid URL ftp://a:1: " },
    { "n1=http://a", MEMBERSHIP_E_TEXT, "invalid URL http://a: " },
    { "n1=http://a:1,n2=http://a:1", MEMBERSHIP_E_TEXT,
      "initial cluster n1=http://a:1,n2=http://a:1 has duplicate url" },
    { "n1=http://a:1,n1=http://a:1", MEMBERSHIP_E_TEXT, "initial cluster n1=http://a:1," },
};

Test(membership, bad_initial_clusters_are_refused)
{
    for (size_t i = 0; i < sizeof bad_texts / sizeof bad_texts[0]; i++) {
        struct membership m;
        membership_init(&m);
        char why[MEMBERSHIP_WHY_BYTES];
        cr_assert_eq(membership_parse_initial(&m, bad_texts[i].text, "t", why), bad_texts[i].err,
                     "%s", bad_texts[i].text);
        cr_assert_eq(strncmp(why, bad_texts[i].why, strlen(bad_texts[i].why)), 0, "%s", why);
        cr_assert_eq(m.member_count, 0);
        membership_done(&m);
    }
}

/* count members "n0=http://h0:1,..." or count URLs of one. */
static enum membership_err parse_many(uint32_t count, bool one_name, char why[MEMBERSHIP_WHY_BYTES])
{
    char text[4096] = "";
    size_t size = 0;
    for (uint32_t i = 0; i < count; i++)
        size += (size_t)snprintf(text + size, sizeof text - size, "n%u=http://h%u:1,",
                                 one_name ? 0 : i, i);
    struct membership m;
    membership_init(&m);
    enum membership_err err = membership_parse_initial(&m, text, "t", why);
    membership_done(&m);
    return err;
}

Test(membership, the_caps_are_kept)
{
    char why[MEMBERSHIP_WHY_BYTES];
    cr_assert_eq(parse_many(RAFT_MEMBERS_MAX, false, why), MEMBERSHIP_OK);
    cr_assert_eq(parse_many(RAFT_MEMBERS_MAX + 1, false, why), MEMBERSHIP_E_BOUNDS);
    cr_assert_str_eq(why, "more than 16 members in the initial cluster");
    cr_assert_eq(parse_many(MEMBERSHIP_URLS_MAX, true, why), MEMBERSHIP_OK);
    cr_assert_eq(parse_many(MEMBERSHIP_URLS_MAX + 1, true, why), MEMBERSHIP_E_BOUNDS);
    cr_assert_str_eq(why, "more than 16 URLs for one member");
    char name[MEMBERSHIP_NAME_BYTES_MAX + 2 + 16];
    memset(name, 'n', MEMBERSHIP_NAME_BYTES_MAX + 1);
    memcpy(name + MEMBERSHIP_NAME_BYTES_MAX + 1, "=http://a:1", 12);
    struct membership m;
    membership_init(&m);
    cr_assert_eq(membership_parse_initial(&m, name, "t", why), MEMBERSHIP_E_BOUNDS);
    membership_done(&m);
}

Test(membership, ids_depend_on_urls_and_token_alone)
{
    struct membership m = parsed("n1=http://a:1,n1=http://b:1,n2=http://c:1", "t");
    struct membership same = parsed("x=http://c:1,y=http://b:1,y=http://a:1", "t");
    struct membership other_token = parsed("n1=http://a:1,n1=http://b:1,n2=http://c:1", "u");
    struct membership other_url = parsed("n1=http://a:1,n1=http://b:1,n2=http://d:1", "t");
    cr_assert_eq(membership_by_name(&m, "n1")->id, membership_by_name(&same, "y")->id);
    cr_assert_eq(membership_cluster_id(&m), membership_cluster_id(&same));
    cr_assert_neq(membership_by_name(&m, "n1")->id, membership_by_name(&other_token, "n1")->id);
    cr_assert_neq(membership_cluster_id(&m), membership_cluster_id(&other_token));
    cr_assert_eq(membership_by_name(&m, "n1")->id, membership_by_name(&other_url, "n1")->id);
    cr_assert_neq(membership_cluster_id(&m), membership_cluster_id(&other_url));
    uint8_t hash[MEMBERSHIP_HASH_BYTES], hash_same[MEMBERSHIP_HASH_BYTES];
    membership_initial_hash(&m, hash);
    membership_initial_hash(&same, hash_same);
    cr_assert_arr_neq(hash, hash_same, sizeof hash, "names are part of it");
    membership_done(&m);
    membership_done(&same);
    membership_done(&other_token);
    membership_done(&other_url);
}

/* Ids are on disks: they never change for the same flags. */
Test(membership, golden_ids)
{
    struct membership m = parsed("n1=http://127.0.0.1:2380,n2=http://127.0.0.1:2382", "holdfast");
    cr_assert_eq(membership_by_name(&m, "n1")->id, 0x369e32e06aa282f3u, "%#lx",
                 membership_by_name(&m, "n1")->id);
    cr_assert_eq(membership_by_name(&m, "n2")->id, 0x6bac223d66dfffe1u, "%#lx",
                 membership_by_name(&m, "n2")->id);
    cr_assert_eq(membership_cluster_id(&m), 0x6d1d9930a29ea591u, "%#lx", membership_cluster_id(&m));
    membership_done(&m);
    struct membership_urls none = { 0 };
    cr_assert_neq(membership_member_id(&none, "t", 1), membership_member_id(&none, "t", 2));
}

static const struct {
    const char *name, *advertised;
    enum membership_err err;
    const char *why;
} own_rows[] = {
    { "n1", "http://127.0.0.1:1,http://127.0.0.1:2", MEMBERSHIP_OK, "" },
    { "n1", "http://127.0.0.1:2, http://127.0.0.1:1", MEMBERSHIP_OK, "" },
    { "n1", "http://localhost:2,http://127.0.0.1:1", MEMBERSHIP_OK, "" },
    { "n9", "http://127.0.0.1:1", MEMBERSHIP_E_MISMATCH,
      "couldn't find local name \"n9\" in the initial cluster configuration" },
    { "n1", "http://127.0.0.1:1", MEMBERSHIP_E_MISMATCH,
      "--initial-cluster has n1=http://127.0.0.1:2 but missing from "
      "--initial-advertise-peer-urls=http://127.0.0.1:1" },
    { "n2", "http://127.0.0.1:3,http://127.0.0.1:4", MEMBERSHIP_E_MISMATCH,
      "--initial-advertise-peer-urls has http://127.0.0.1:4 but missing from "
      "--initial-cluster=n2=http://127.0.0.1:3" },
    { "n2", "http://127.0.0.1:3,", MEMBERSHIP_OK, "" },
    { "n2", "nonsense", MEMBERSHIP_E_TEXT, "invalid URL nonsense: " },
    { "n2", "https://127.0.0.1:3", MEMBERSHIP_E_MISMATCH, "--initial-cluster has n2=" },
};

Test(membership, our_own_urls_are_compared_as_etcd_does)
{
    struct membership m =
        parsed("n1=http://127.0.0.1:1,n1=http://127.0.0.1:2,n2=http://127.0.0.1:3", "t");
    for (size_t i = 0; i < sizeof own_rows / sizeof own_rows[0]; i++) {
        char why[MEMBERSHIP_WHY_BYTES];
        cr_assert_eq(membership_check_own(&m, own_rows[i].name, own_rows[i].advertised, why),
                     own_rows[i].err, "row %zu: %s", i, why);
        cr_assert_eq(strncmp(why, own_rows[i].why, strlen(own_rows[i].why)), 0, "%s", why);
    }
    membership_done(&m);
}

/* ---- changes ---- */

static struct membership_member member_sample(uint64_t id, const char *name)
{
    return (struct membership_member){ .id = id,
                                       .name = name,
                                       .peer = { 2, { "http://a:1", "http://b:1" } },
                                       .client = { 1, { "http://a:2" } },
                                       .has_incarnation = true,
                                       .incarnation = { 1, 2, 3 },
                                       .roles = RAFT_VOTER };
}

Test(membership, put_adds_replaces_and_keeps_the_order)
{
    struct membership m;
    membership_init(&m);
    static const uint64_t ids[] = { 5, 1, 9, 3 };
    for (size_t i = 0; i < 4; i++) {
        struct membership_member member = member_sample(ids[i], "n");
        cr_assert_eq(membership_put(&m, &member), MEMBERSHIP_OK);
    }
    cr_assert_eq(m.members[0].id, 1);
    cr_assert_eq(m.members[1].id, 3);
    cr_assert_eq(m.members[3].id, 9);
    struct membership_member own = *membership_by_id(&m, 3);
    own.name = "renamed";
    own.roles = RAFT_LEARNER;
    cr_assert_eq(membership_put(&m, &own), MEMBERSHIP_OK, "its URLs are m's own");
    cr_assert_eq(m.member_count, 4);
    cr_assert_str_eq(membership_by_id(&m, 3)->name, "renamed");
    cr_assert_str_eq(membership_by_id(&m, 3)->peer.urls[1], "http://b:1");
    struct raft_config config = membership_to_raft_config(&m);
    cr_assert_eq(config.member_count, 4);
    cr_assert_eq(config.members[1].id, 3);
    cr_assert_eq(config.members[1].roles, RAFT_LEARNER);
    cr_assert(membership_remove(&m, 5));
    cr_assert_not(membership_remove(&m, 5));
    cr_assert_eq(m.members[2].id, 9);
    membership_done(&m);
}

Test(membership, what_is_refused_changes_nothing)
{
    struct membership m;
    membership_init(&m);
    for (uint64_t id = 1; id <= RAFT_MEMBERS_MAX; id++) {
        struct membership_member member = member_sample(id, "n");
        cr_assert_eq(membership_put(&m, &member), MEMBERSHIP_OK);
    }
    struct membership_member extra = member_sample(99, "n");
    cr_assert_eq(membership_put(&m, &extra), MEMBERSHIP_E_BOUNDS);
    char url[MEMBERSHIP_URL_BYTES_MAX + 2];
    memset(url, 'u', sizeof url - 1);
    url[sizeof url - 1] = '\0';
    struct membership_member longer = member_sample(1, "n");
    longer.client.urls[0] = url;
    cr_assert_eq(membership_put(&m, &longer), MEMBERSHIP_E_BOUNDS);
    cr_assert_eq(m.member_count, RAFT_MEMBERS_MAX);
    cr_assert_str_eq(m.members[0].client.urls[0], "http://a:2");
    membership_done(&m);
}

/* ---- encoding ---- */

static void member_equal(const struct membership_member *a, const struct membership_member *b)
{
    cr_assert_eq(a->id, b->id);
    cr_assert_str_eq(a->name, b->name);
    cr_assert_eq(a->roles, b->roles);
    cr_assert_eq(a->has_incarnation, b->has_incarnation);
    cr_assert_arr_eq(a->incarnation, b->incarnation, MEMBERSHIP_INCARNATION_BYTES);
    cr_assert_eq(a->peer.count, b->peer.count);
    cr_assert_eq(a->client.count, b->client.count);
    for (uint32_t i = 0; i < a->peer.count; i++)
        cr_assert_str_eq(a->peer.urls[i], b->peer.urls[i]);
    for (uint32_t i = 0; i < a->client.count; i++)
        cr_assert_str_eq(a->client.urls[i], b->client.urls[i]);
}

static struct membership membership_sample(void)
{
    struct membership m;
    membership_init(&m);
    struct membership_member one = member_sample(3, "n1");
    struct membership_member two = { .id = 4, .name = "", .roles = RAFT_VOTER | RAFT_LEARNER };
    cr_assert_eq(membership_put(&m, &one), MEMBERSHIP_OK);
    cr_assert_eq(membership_put(&m, &two), MEMBERSHIP_OK);
    m.config_index = 77;
    return m;
}

Test(membership, encoding_comes_back)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    struct membership m = membership_sample(), back, copy;
    membership_init(&back);
    membership_init(&copy);
    struct slice bytes;
    cr_assert(membership_encode(&m, &a, &bytes));
    cr_assert_eq(membership_decode(&back, bytes), MEMBERSHIP_OK);
    cr_assert_eq(membership_copy(&copy, &back), MEMBERSHIP_OK);
    membership_done(&back);
    cr_assert_eq(copy.config_index, 77);
    cr_assert_eq(copy.member_count, 2);
    member_equal(&m.members[0], &copy.members[0]);
    member_equal(&m.members[1], &copy.members[1]);
    membership_done(&copy);
    membership_done(&m);
    arena_done(&a);
}

Test(membership, golden_encoding)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    struct membership m;
    membership_init(&m);
    struct membership_member one = { .id = 3,
                                     .name = "n1",
                                     .peer = { 1, { "u" } },
                                     .client = { 1, { "v" } },
                                     .has_incarnation = true,
                                     .incarnation = { 9 },
                                     .roles = RAFT_LEARNER };
    cr_assert_eq(membership_put(&m, &one), MEMBERSHIP_OK);
    m.config_index = 77;
    struct slice bytes;
    cr_assert(membership_encode(&m, &a, &bytes));
    static const uint8_t golden[] = { 0x08, 77,   0x12, 32,  0x08, 3,  0x12, 2, 'n', '1', 0x1a, 1,
                                      'u',  0x22, 1,    'v', 0x2a, 16, 9,    0, 0,   0,   0,    0,
                                      0,    0,    0,    0,   0,    0,  0,    0, 0,   0,   0x30, 4 };
    cr_assert_eq(bytes.size, sizeof golden, "%zu", bytes.size);
    cr_assert_arr_eq(bytes.data, golden, sizeof golden);
    membership_done(&m);
    arena_done(&a);
}

/* One changed byte of the golden encoding above: offset, new value. */
static const struct {
    const char *rule;
    size_t at;
    uint8_t value;
} bad_bytes[] = {
    { "member id 0", 5, 0 },
    { "no role", 35, 0 },
    { "an unknown role", 35, 8 },
    { "an incarnation of 15 bytes", 17, 15 },
};

Test(membership, no_bytes_can_hurt_the_decoder)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    struct membership m = membership_sample(), back;
    struct slice bytes;
    cr_assert(membership_encode(&m, &a, &bytes));
    membership_init(&back);
    for (size_t size = 0; size < bytes.size; size++) {
        uint8_t *copy = malloc(size + 1);
        memcpy(copy + 1, bytes.data, size);
        enum membership_err err = membership_decode(&back, slice_of(copy + 1, size));
        cr_assert(err == MEMBERSHIP_OK || err == MEMBERSHIP_E_MALFORMED);
        cr_assert(err == MEMBERSHIP_E_MALFORMED || back.member_count < 2, "%zu", size);
        free(copy);
    }
    struct prng prng = prng_seeded(5);
    for (int i = 0; i < 5000; i++) {
        uint8_t *copy = malloc(bytes.size);
        memcpy(copy, bytes.data, bytes.size);
        copy[prng_below(&prng, bytes.size)] = (uint8_t)prng_next(&prng);
        enum membership_err err = membership_decode(&back, slice_of(copy, bytes.size));
        cr_assert(err == MEMBERSHIP_OK || err == MEMBERSHIP_E_MALFORMED);
        free(copy);
    }
    membership_done(&back);
    membership_done(&m);
    arena_done(&a);
}

Test(membership, contradictions_are_malformed)
{
    static const uint8_t golden[] = { 0x08, 77,   0x12, 32,  0x08, 3,  0x12, 2, 'n', '1', 0x1a, 1,
                                      'u',  0x22, 1,    'v', 0x2a, 16, 9,    0, 0,   0,   0,    0,
                                      0,    0,    0,    0,   0,    0,  0,    0, 0,   0,   0x30, 4 };
    struct membership m;
    membership_init(&m);
    cr_assert_eq(membership_decode(&m, slice_of(golden, sizeof golden)), MEMBERSHIP_OK);
    for (size_t i = 0; i < sizeof bad_bytes / sizeof bad_bytes[0]; i++) {
        uint8_t bytes[sizeof golden];
        memcpy(bytes, golden, sizeof golden);
        bytes[bad_bytes[i].at] = bad_bytes[i].value;
        cr_assert_eq(membership_decode(&m, slice_of(bytes, sizeof bytes)), MEMBERSHIP_E_MALFORMED,
                     "%s", bad_bytes[i].rule);
        cr_assert_eq(m.member_count, 1, "unchanged on error");
    }
    uint8_t twice[2 + 2 * 34];
    memcpy(twice, golden, 36);
    memcpy(twice + 36, golden + 2, 34);
    cr_assert_eq(membership_decode(&m, slice_of(twice, sizeof twice)), MEMBERSHIP_E_MALFORMED,
                 "ids that do not ascend");
    membership_done(&m);
}

Test(membership, who_was_removed_is_remembered)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    struct membership m, back, copy;
    membership_init(&m);
    membership_init(&back);
    membership_init(&copy);
    for (uint64_t id = 1; id <= MEMBERSHIP_REMOVED_MAX + 2; id++) {
        struct membership_member member = member_sample(id, "n");
        cr_assert_eq(membership_put(&m, &member), MEMBERSHIP_OK);
        cr_assert(membership_remove(&m, id));
    }
    struct membership_member stays = member_sample(99, "n");
    cr_assert_eq(membership_put(&m, &stays), MEMBERSHIP_OK);
    cr_assert_not(membership_is_removed(&m, 2), "the oldest are forgotten");
    cr_assert(membership_is_removed(&m, 3));
    struct slice bytes;
    cr_assert(membership_encode(&m, &a, &bytes));
    cr_assert_eq(membership_decode(&back, bytes), MEMBERSHIP_OK);
    cr_assert_eq(membership_copy(&copy, &back), MEMBERSHIP_OK);
    cr_assert_eq(copy.removed_count, MEMBERSHIP_REMOVED_MAX);
    cr_assert_arr_eq(copy.removed_ids, m.removed_ids, sizeof m.removed_ids);
    copy.removed_ids[5] = 99;
    cr_assert(membership_encode(&copy, &a, &bytes));
    cr_assert_eq(membership_decode(&back, bytes), MEMBERSHIP_E_MALFORMED, "a removed member");
    membership_done(&copy);
    membership_done(&back);
    membership_done(&m);
    arena_done(&a);
}
