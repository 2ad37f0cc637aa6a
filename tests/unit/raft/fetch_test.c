/* A leader and members that need what has left its memory, or its log store. */
#include <criterion/criterion.h>

#include "tests/support/raft_rig.h"

static struct rig leader_of_flushed_log(void)
{
    static const struct raft_term_start starts[] = { { 1, 4 }, { 2, 6 } };
    struct rig rig = rig_defaults();
    rig.start.hard = (struct raft_hard_state){ 3, 1, 9 };
    rig.start.log_start = (struct raft_pos){ 1, 3 };
    rig.start.flushed = (struct raft_pos){ 2, 9 };
    rig.start.term_starts = starts;
    rig.start.term_start_count = 2;
    rig_open(&rig, "");
    rig_elect(&rig);
    return rig;
}

static enum raft_err fetched(struct rig *rig, uint64_t first, const char *terms)
{
    static struct raft_entry entries[RIG_ENTRIES_MAX];
    rig_entries(entries, first, terms, 30);
    struct raft_event event = {
        .type = RAFT_EV_FETCHED,
        .fetched = { 2, first, *terms ? entries : NULL, (uint32_t)strlen(terms) },
    };
    enum raft_err err = rig_step(rig, event);
    rig_entries_done(entries, terms);
    return err;
}

Test(raft_fetch, fetches_entries_for_a_slow_member)
{
    struct rig rig = leader_of_flushed_log();
    rig_reject(&rig, 2, 9, (struct raft_pos){ 1, 5 });
    cr_assert_eq(rig_append_to(&rig, 2)->prev.index, 5);
    cr_assert_eq(rig_append_to(&rig, 2)->entry_count, 0, "probes need no entries");
    cr_assert_eq(rig.ready.fetch_count, 0);
    rig_accept(&rig, 2, 5);
    cr_assert_eq(rig.ready.fetch_count, 1);
    cr_assert(rig.ready.fetches[0].member == 2 && rig.ready.fetches[0].first_index == 6);
    cr_assert_eq(rig.ready.fetches[0].bytes_max, 100);
    rig_tick(&rig, 1);
    cr_assert_eq(rig.ready.fetch_count, 0, "one at a time");
    cr_assert_eq(fetched(&rig, 6, "33"), RAFT_E_MESSAGE, "not our terms");
    cr_assert_eq(fetched(&rig, 6, "22222"), RAFT_E_MESSAGE, "past the store");
    struct raft_entry stray = { { 2, 8 }, RAFT_ENTRY_COMMAND, { 0 }, NULL };
    struct raft_event event = { .type = RAFT_EV_FETCHED, .fetched = { 2, 6, &stray, 1 } };
    cr_assert_eq(rig_step(&rig, event), RAFT_E_MESSAGE, "another index");
    event.fetched.first_index = 8;
    cr_assert_eq(rig_step(&rig, event), RAFT_OK, "not what was asked for");
    event.fetched.member = 9;
    cr_assert_eq(rig_step(&rig, event), RAFT_OK);
    cr_assert_eq(rig.ready.message_count, 0);
    cr_assert_eq(fetched(&rig, 6, "222"), RAFT_OK);
    cr_assert(rig_append_to(&rig, 2)->prev.index == 5 && rig_append_to(&rig, 2)->entry_count == 3);
    cr_assert_eq(rig.ready.fetches[0].first_index, 9);
    cr_assert_eq(fetched(&rig, 9, "2"), RAFT_OK);
    cr_assert_eq(rig_message_count(&rig, RAFT_MSG_APPEND), 2, "and on with what is in memory");
    rig_close(&rig);
}

Test(raft_fetch, a_member_past_the_log_store_needs_a_snapshot)
{
    struct rig rig = leader_of_flushed_log();
    rig_reject(&rig, 2, 9, (struct raft_pos){ 1, 5 });
    rig_accept(&rig, 2, 5);
    cr_assert_eq(rig.ready.fetch_count, 1);
    cr_assert_eq(fetched(&rig, 6, ""), RAFT_OK);
    cr_assert_eq(rig.ready.fetch_count, 0);
    cr_assert_null(rig_append_to(&rig, 2));
    cr_assert(rig.ready.snapshot_count == 1 && rig.ready.snapshots[0].member == 2);
    rig.now_ms += 99;
    rig_alive(&rig, 2, 1);
    cr_assert_null(rig_append_to(&rig, 2));
    cr_assert_eq(rig.ready.snapshot_count, 0, "asked for once");
    rig.now_ms += 1;
    rig_alive(&rig, 2, 1);
    cr_assert_eq(rig_append_to(&rig, 2)->prev.index, 9, "restored meanwhile?");
    rig_accept(&rig, 2, 9);
    cr_assert_eq(rig_append_to(&rig, 2)->prev.index, 9, "it is: what follows goes out");
    cr_assert_eq(rig_append_to(&rig, 2)->entry_count, 1);
    rig_close(&rig);
}

Test(raft_fetch, a_member_before_the_log_start_is_stranded)
{
    struct rig rig = leader_of_flushed_log();
    rig_reject(&rig, 2, 9, (struct raft_pos){ 0, 0 });
    cr_assert_null(rig_append_to(&rig, 2));
    cr_assert_eq(rig.ready.fetch_count, 0);
    rig_close(&rig);
}

/* The log store may hold more than the terms that are known of it. */
Test(raft_fetch, entries_before_the_known_terms)
{
    struct rig rig = leader_of_flushed_log();
    cr_assert_eq(fetched(&rig, 2, "1"), RAFT_OK);
    cr_assert_eq(rig.ready.message_count, 0, "nobody asked");
    rig_close(&rig);
}

/* While the entries are read, the member turns out to be somewhere else. */
Test(raft_fetch, an_answer_that_comes_too_late)
{
    struct rig rig = leader_of_flushed_log();
    rig_reject(&rig, 2, 9, (struct raft_pos){ 1, 5 });
    rig_accept(&rig, 2, 5);
    cr_assert_eq(rig.ready.fetch_count, 1);
    rig_accept(&rig, 2, 7);
    cr_assert_eq(rig.ready.fetch_count, 0, "one at a time");
    cr_assert_eq(fetched(&rig, 6, "2"), RAFT_OK);
    cr_assert_null(rig_append_to(&rig, 2));
    cr_assert_eq(rig.ready.fetches[0].first_index, 8);
    rig_step(&rig, (struct raft_event){ .type = RAFT_EV_LINK, .link = { 2, false } });
    cr_assert_eq(fetched(&rig, 8, "2"), RAFT_OK);
    cr_assert_null(rig_append_to(&rig, 2), "its link is down");
    rig_close(&rig);
}
