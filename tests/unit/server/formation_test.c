#include <criterion/criterion.h>
#include <stdio.h>

#include "server/formation.h"

enum { DISK_BYTES = MEMBERSHIP_INCARNATION_BYTES };

static const uint8_t disk_a[DISK_BYTES] = { 0xa };
static const uint8_t disk_b[DISK_BYTES] = { 0xb };
static const uint8_t disk_c[DISK_BYTES] = { 0xc };
static const uint8_t disk_new[DISK_BYTES] = { 0xff };

/* Members 1 .. count, named n1 .. */
static void initial_fill(struct membership *m, uint32_t count)
{
    membership_init(m);
    for (uint32_t i = 1; i <= count; i++) {
        char name[8];
        snprintf(name, sizeof name, "n%u", i);
        struct membership_member member = { .id = i, .name = name, .roles = RAFT_VOTER };
        cr_assert_eq(membership_put(m, &member), MEMBERSHIP_OK);
    }
}

static struct formation_effects opened(struct formation *f, uint64_t own, const uint8_t *disk,
                                       uint32_t count, struct slice saved)
{
    struct membership initial;
    initial_fill(&initial, count);
    struct formation_effects effects;
    struct formation_options options = {
        .own_id = own,
        .incarnation = disk,
        .initial = &initial,
        .saved = saved,
    };
    cr_assert_eq(formation_open(f, &options, &effects), FORMATION_OK);
    membership_done(&initial);
    return effects;
}

static struct formation_effects meet(struct formation *f, uint64_t member, const uint8_t *disk)
{
    struct formation_effects effects;
    bool is_final = true;
    const char *why =
        formation_on_hello(f, member, disk, formation_hello_hash(f), &is_final, &effects);
    cr_assert_null(why, "%s", why);
    cr_assert_not(is_final);
    return effects;
}

static struct formation_effects saved(struct formation *f)
{
    struct formation_effects effects;
    formation_on_saved(f, &effects);
    return effects;
}

static struct formation_effects told(struct formation *f, uint64_t member, struct slice bytes)
{
    struct formation_effects effects;
    cr_assert(formation_on_announce(f, member, bytes, &effects));
    return effects;
}

/* What the three disks a, b, c announce, by a member that has met them all. */
static struct slice abc(uint8_t bytes[FORMATION_BYTES_MAX], bool formed)
{
    struct formation f;
    opened(&f, 1, disk_a, 3, (struct slice){ 0 });
    meet(&f, 2, disk_b);
    struct formation_effects e = meet(&f, 3, disk_c);
    cr_assert(e.save);
    memcpy(bytes, e.save_bytes.data, e.save_bytes.size);
    struct slice s = slice_of(bytes, e.save_bytes.size);
    if (!formed)
        return s;
    saved(&f);
    told(&f, 2, s);
    e = told(&f, 3, s);
    cr_assert(e.save_formed);
    memcpy(bytes, e.save_bytes.data, e.save_bytes.size);
    return slice_of(bytes, e.save_bytes.size);
}

Test(formation, golden_record)
{
    uint8_t bytes[FORMATION_BYTES_MAX];
    struct slice s = abc(bytes, true);
    static const uint8_t golden[] = {
        0x08, 1,                                                                       /* formed */
        0x12, 20, 0x08, 1, 0x2a, 16, 0xa, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* 1 */
        0x12, 20, 0x08, 2, 0x2a, 16, 0xb, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* 2 */
        0x12, 20, 0x08, 3, 0x2a, 16, 0xc, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* 3 */
    };
    cr_assert_eq(s.size, sizeof golden);
    cr_assert_arr_eq(s.data, golden, sizeof golden);
}

Test(formation, the_steps_of_one_of_three)
{
    uint8_t bytes[FORMATION_BYTES_MAX];
    struct slice s = abc(bytes, false);
    struct formation f;
    struct formation_effects e = opened(&f, 1, disk_a, 3, (struct slice){ 0 });
    cr_assert_not(e.save || e.formed_now);
    e = meet(&f, 2, disk_b);
    cr_assert_not(e.save, "one is missing");
    formation_on_link_up(&f, 2, &e);
    cr_assert_eq(e.announce_to, 0, "nothing is durable yet");
    e = meet(&f, 3, disk_c);
    cr_assert(e.save && !e.save_formed && !e.announce_all, "durable before announced");
    formation_on_link_up(&f, 3, &e);
    cr_assert_eq(e.announce_to, 0, "still not durable");
    e = saved(&f);
    cr_assert(e.announce_all && !e.formed_now && !e.save);
    cr_assert(slice_equal(e.announce, s));
    formation_on_link_up(&f, 2, &e);
    cr_assert_eq(e.announce_to, 2);
    e = told(&f, 2, s);
    cr_assert_not(e.save, "one has not announced");
    e = told(&f, 3, s);
    cr_assert(e.save && e.save_formed && !e.formed_now, "no voice before it is durable");
    cr_assert_not(formation_is_formed(&f));
    e = saved(&f);
    cr_assert(e.formed_now && e.announce_all && formation_is_formed(&f));
    cr_assert_eq(formation_hello_hash(&f).size, 0);
}

Test(formation, announcements_before_the_own_save_count)
{
    uint8_t bytes[FORMATION_BYTES_MAX];
    struct slice s = abc(bytes, false);
    struct formation f;
    opened(&f, 1, disk_a, 3, (struct slice){ 0 });
    meet(&f, 2, disk_b);
    meet(&f, 3, disk_c);
    cr_assert_not(told(&f, 2, s).save);
    cr_assert_not(told(&f, 3, s).save);
    struct formation_effects e = saved(&f);
    cr_assert(e.announce_all && e.save && e.save_formed);
}

Test(formation, a_cluster_of_one_forms_at_once)
{
    struct formation f;
    struct formation_effects e = opened(&f, 1, disk_a, 1, (struct slice){ 0 });
    cr_assert(e.save && e.save_formed);
    cr_assert(saved(&f).formed_now);
}

Test(formation, a_restart_resumes)
{
    uint8_t bytes[FORMATION_BYTES_MAX];
    struct formation f;
    struct formation_effects e = opened(&f, 1, disk_a, 3, abc(bytes, false));
    cr_assert_not(e.formed_now || e.save);
    formation_on_link_up(&f, 2, &e);
    cr_assert_eq(e.announce_to, 2);
    told(&f, 2, abc(bytes, false));
    cr_assert(told(&f, 3, abc(bytes, false)).save_formed);
    e = opened(&f, 1, disk_a, 3, abc(bytes, true));
    cr_assert(e.formed_now && formation_is_formed(&f));
    e = opened(&f, 1, disk_a, 0, abc(bytes, true));
    cr_assert(e.formed_now, "once formed the flags are history");
}

Test(formation, a_new_disk_replaces_the_old_one_until_formed)
{
    uint8_t bytes[FORMATION_BYTES_MAX];
    struct slice s = abc(bytes, false);
    struct formation f;
    opened(&f, 1, disk_a, 3, s);
    told(&f, 2, s);
    struct formation_effects e = meet(&f, 3, disk_new);
    cr_assert(e.save && !e.save_formed);
    cr_assert_not(told(&f, 3, s).save, "the old disk's announcement counts no more");
    e = saved(&f);
    cr_assert(e.announce_all && !e.save);
    cr_assert_not(slice_equal(e.announce, s));
}

/* Step 4 of formation.c: 3 was c, announced s, was wiped; then a Hello that c had sent long ago
 * arrives. What c announced before the new disk's Hello counts no more. */
Test(formation, a_hello_from_the_past_brings_no_announcement_back)
{
    uint8_t bytes[FORMATION_BYTES_MAX];
    struct slice s = abc(bytes, false);
    struct formation f;
    opened(&f, 1, disk_a, 3, s);
    told(&f, 3, s);
    cr_assert(meet(&f, 3, disk_new).save);
    meet(&f, 3, disk_c);
    saved(&f);
    saved(&f);
    cr_assert_not(told(&f, 2, s).save);
}

Test(formation, a_disk_that_changes_while_a_save_is_out_is_saved_next)
{
    struct formation f;
    opened(&f, 1, disk_a, 3, (struct slice){ 0 });
    meet(&f, 2, disk_b);
    cr_assert(meet(&f, 3, disk_c).save);
    cr_assert_not(meet(&f, 3, disk_new).save, "one save at a time");
    struct formation_effects e = saved(&f);
    cr_assert(e.save && !e.announce_all);
    cr_assert(saved(&f).announce_all);
}

Test(formation, a_member_left_behind_adopts_what_formed)
{
    uint8_t bytes[FORMATION_BYTES_MAX];
    struct slice s = abc(bytes, true);
    struct formation f;
    opened(&f, 1, disk_a, 3, (struct slice){ 0 });
    cr_assert_not(told(&f, 2, s).save, "nothing from whom we have not met");
    meet(&f, 2, disk_b);
    struct formation_effects e = told(&f, 2, s);
    cr_assert(e.save && e.save_formed && !e.fatal);
    cr_assert(slice_equal(e.save_bytes, s));
    cr_assert(saved(&f).formed_now);
}

Test(formation, a_wiped_disk_under_an_old_name_is_fatal)
{
    uint8_t bytes[FORMATION_BYTES_MAX];
    struct formation f;
    opened(&f, 1, disk_new, 3, (struct slice){ 0 });
    meet(&f, 2, disk_b);
    struct formation_effects e = told(&f, 2, abc(bytes, true));
    cr_assert_str_eq(e.fatal,
                     "member n1 (1): this data directory is blank, but the cluster formed with "
                     "another disk for this member; remove the member and add it again "
                     "(holdfastctl member remove/add), or restore the old data directory");
    cr_assert_not(e.save);
    formation_on_refused(&f, 2, false, &e);
    cr_assert_null(e.fatal, "a refusal that may pass");
    formation_on_refused(&f, 9, true, &e);
    cr_assert_null(e.fatal, "from somebody who cannot know");
    formation_on_refused(&f, 2, true, &e);
    cr_assert_not_null(e.fatal);
}

Test(formation, a_formed_member_refuses_another_disk_and_stays)
{
    uint8_t bytes[FORMATION_BYTES_MAX];
    struct formation f;
    opened(&f, 1, disk_a, 3, abc(bytes, true));
    struct formation_effects e;
    bool is_final = false;
    const char *why = formation_on_hello(&f, 3, disk_new, (struct slice){ 0 }, &is_final, &e);
    cr_assert_not_null(strstr(why, "member n3 (3): this data directory is blank"));
    cr_assert(is_final && !e.save);
    cr_assert_null(formation_on_hello(&f, 3, disk_c, (struct slice){ 0 }, &is_final, &e));
    cr_assert_null(formation_on_hello(&f, 7, disk_c, (struct slice){ 0 }, &is_final, &e),
                   "later members are judged by the membership");
    formation_on_refused(&f, 2, true, &e);
    cr_assert_null(e.fatal);
    cr_assert_not(told(&f, 2, abc(bytes, false)).save);
}

Test(formation, a_blank_member_meets_its_initial_cluster_alone)
{
    struct formation f;
    opened(&f, 1, disk_a, 3, (struct slice){ 0 });
    struct formation_effects e;
    bool is_final = true;
    cr_assert_not_null(formation_on_hello(&f, 7, disk_b, formation_hello_hash(&f), &is_final, &e),
                       "a stranger");
    cr_assert_not(is_final);
    cr_assert_not_null(formation_on_hello(&f, 2, disk_b, slice_of_text("otherone"), &is_final, &e));
    cr_assert_null(formation_on_hello(&f, 2, disk_b, (struct slice){ 0 }, &is_final, &e),
                   "formed members send none");
}

Test(formation, bad_records_are_refused)
{
    uint8_t bytes[FORMATION_BYTES_MAX];
    struct slice s = abc(bytes, false);
    struct membership initial;
    initial_fill(&initial, 3);
    struct formation f;
    struct formation_effects e;
    struct formation_options o = { 1, disk_a, &initial, false, slice_of(s.data, s.size - 1) };
    cr_assert_eq(formation_open(&f, &o, &e), FORMATION_E_RECORD);
    o.saved = s;
    o.incarnation = disk_new;
    cr_assert_eq(formation_open(&f, &o, &e), FORMATION_E_DISK);
    o.incarnation = disk_a;
    o.own_id = 9;
    cr_assert_eq(formation_open(&f, &o, &e), FORMATION_E_DISK);
    o.saved = (struct slice){ 0 };
    cr_assert_eq(formation_open(&f, &o, &e), FORMATION_E_OWN);
    membership_done(&initial);
    initial_fill(&initial, 2);
    o.own_id = 1;
    o.saved = s;
    cr_assert_eq(formation_open(&f, &o, &e), FORMATION_E_MEMBERS);
    membership_done(&initial);
}

Test(formation, no_bytes_of_a_member_can_hurt)
{
    uint8_t bytes[FORMATION_BYTES_MAX];
    struct slice s = abc(bytes, true);
    for (size_t size = 0; size < s.size; size++) {
        struct formation f;
        opened(&f, 1, disk_a, 3, (struct slice){ 0 });
        meet(&f, 2, disk_b);
        struct formation_effects e;
        bool is_shorter = size > 2 && (size - 2) % 22 == 0; /* a record of fewer members */
        cr_assert_eq(formation_on_announce(&f, 2, slice_of(s.data, size), &e), is_shorter, "%zu",
                     size);
    }
    size_t formed = 0;
    for (size_t bit = 0; bit < s.size * 8; bit++) {
        uint8_t copy[FORMATION_BYTES_MAX];
        memcpy(copy, s.data, s.size);
        copy[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        struct formation f;
        opened(&f, 1, disk_a, 3, (struct slice){ 0 });
        meet(&f, 2, disk_b);
        struct formation_effects e;
        formed += formation_on_announce(&f, 2, slice_of(copy, s.size), &e) && e.save_formed;
    }
    /* Flips in the third disk alone leave a record that is one; frames have checksums. */
    cr_assert_lt(formed, s.size * 8 / 2);
}

/* ---- members that are added later ---- */

static struct formation_effects joined(struct formation *f, const uint8_t *disk, struct slice saved)
{
    struct membership nobody;
    membership_init(&nobody);
    struct formation_effects effects;
    struct formation_options options = {
        .own_id = 4,
        .incarnation = disk,
        .initial = &nobody,
        .joins = true,
        .saved = saved,
    };
    cr_assert_eq(formation_open(f, &options, &effects), FORMATION_OK);
    return effects;
}

/* A restart of member 1 of the three that have formed. */
static void formed_open(struct formation *f)
{
    uint8_t bytes[FORMATION_BYTES_MAX];
    struct slice s = abc(bytes, true);
    cr_assert_eq(formation_saved_count(s, 1), 3);
    cr_assert(opened(f, 1, disk_a, 3, s).formed_now);
}

/* As the log has it: the initial three, and member 4 with its disk. */
static struct membership members_of_log(const uint8_t *disk)
{
    static const uint8_t *const disks[] = { disk_a, disk_b, disk_c };
    struct membership m;
    initial_fill(&m, 4);
    for (uint32_t i = 0; i < 4; i++) {
        const uint8_t *from = i < 3 ? disks[i] : disk;
        m.members[i].has_incarnation = from != NULL;
        if (from)
            memcpy(m.members[i].incarnation, from, DISK_BYTES);
    }
    return m;
}

static struct formation_effects log_says(struct formation *f, const uint8_t *disk, uint64_t index)
{
    struct membership m = members_of_log(disk);
    struct formation_effects e;
    formation_on_members(f, &m, index, &e);
    membership_done(&m);
    return e;
}

Test(formation, a_member_that_joins_waits_to_be_told)
{
    struct formation f, g;
    struct formation_effects e = joined(&f, disk_new, (struct slice){ 0 });
    cr_assert_not(e.save || e.formed_now, "it is no cluster of one");
    cr_assert_eq(formation_hello_hash(&f).size, 0);
    cr_assert_not(meet(&f, 1, disk_a).save);
    formation_on_link_up(&f, 1, &e);
    cr_assert_eq(e.announce_to, 0);
    formed_open(&g);
    cr_assert_null(log_says(&g, NULL, 7).save_bytes.data, "its disk is not known yet");
    formation_on_link_up(&g, 4, &e);
    cr_assert_eq(e.announce_to, 0);
    e = log_says(&g, disk_new, 8);
    cr_assert(e.save && e.save_formed && !e.announce_all, "durable before announced");
    e = saved(&g);
    cr_assert(e.announce_all);
    e = told(&f, 1, e.announce);
    cr_assert(e.save && e.save_formed && !e.formed_now);
    uint8_t bytes[FORMATION_BYTES_MAX];
    size_t size = e.save_bytes.size;
    memcpy(bytes, e.save_bytes.data, size);
    cr_assert(saved(&f).formed_now);
    cr_assert_eq(formation_saved_count(slice_of(bytes, size), 4), 4);
    cr_assert(joined(&f, disk_new, slice_of(bytes, size)).formed_now, "and after a restart");
    formation_on_link_up(&g, 4, &e);
    cr_assert_eq(e.announce_to, 4);
}

/* 1. a cluster of one adds a learner; 2. its store is damaged; 3. a start that took the learner for
 * somebody who can give it back would discard the store, and then nobody can be elected. */
Test(formation, learners_do_not_count_as_voters_after_a_restart)
{
    struct formation f;
    formed_open(&f);
    struct membership m = members_of_log(disk_new);
    struct formation_effects e;
    formation_on_members(&f, &m, 8, &e);
    cr_assert(e.save);
    saved(&f);
    for (uint32_t i = 1; i < 4; i++)
        m.members[i].roles = i == 3 ? RAFT_LEARNER | RAFT_VOTER_OUTGOING : RAFT_LEARNER;
    formation_on_members(&f, &m, 9, &e);
    cr_assert(e.save, "no disk has changed, but roles have");
    cr_assert_eq(formation_saved_count(e.save_bytes, 1), 2, "who leaves a joint one votes still");
    cr_assert_eq(formation_saved_count(e.save_bytes, 2), 3, "a learner, and the voters beside it");
    saved(&f);
    m.members[3].roles = RAFT_LEARNER;
    formation_on_members(&f, &m, 10, &e);
    cr_assert_eq(formation_saved_count(e.save_bytes, 1), 1);
    cr_assert(saved(&f).formed_now);
    formation_on_members(&f, &m, 11, &e);
    cr_assert_not(e.save);
    membership_done(&m);
}

Test(formation, what_does_not_name_a_joining_disk_gives_no_voice)
{
    uint8_t bytes[FORMATION_BYTES_MAX];
    struct formation f;
    joined(&f, disk_new, (struct slice){ 0 });
    cr_assert_not(told(&f, 1, abc(bytes, true)).save, "not named at all");
    cr_assert_not(told(&f, 1, abc(bytes, false)).save);
    struct formation g;
    formed_open(&g);
    log_says(&g, disk_b, 8);
    struct formation_effects e = saved(&g);
    cr_assert_not(told(&f, 5, e.announce).fatal, "a sender that is no member itself");
    e = told(&f, 1, e.announce);
    cr_assert_not_null(e.fatal, "another disk is named");
    cr_assert_not(e.save);
    formation_on_refused(&f, 9, true, &e);
    cr_assert_not_null(e.fatal);
}

Test(formation, an_older_state_of_the_log_changes_nothing)
{
    struct formation f;
    formed_open(&f);
    cr_assert(log_says(&f, disk_new, 8).save);
    saved(&f);
    cr_assert_not(log_says(&f, NULL, 7).save);
    cr_assert_not(log_says(&f, disk_new, 9).save, "the same");
    cr_assert(log_says(&f, NULL, 10).save);
    saved(&f);
    bool is_final = false;
    struct formation_effects e;
    cr_assert_null(formation_on_hello(&f, 4, disk_b, (struct slice){ 0 }, &is_final, &e));
    log_says(&f, disk_new, 11);
    cr_assert_not_null(formation_on_hello(&f, 4, disk_b, (struct slice){ 0 }, &is_final, &e));
    cr_assert(is_final, "also while the record is on its way to the disk");
}

/* The others have formed and added a member before this one heard of it. */
Test(formation, an_initial_member_adopts_a_later_record)
{
    struct formation f, g;
    opened(&f, 2, disk_b, 3, (struct slice){ 0 });
    meet(&f, 1, disk_a);
    formed_open(&g);
    log_says(&g, disk_new, 8);
    struct formation_effects e = saved(&g);
    e = told(&f, 1, e.announce);
    cr_assert(e.save && e.save_formed);
    cr_assert(saved(&f).formed_now);
}
