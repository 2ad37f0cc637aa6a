/* Snapshots: when a leader has one sent, and what is left of a log when one is installed. */
#include <criterion/criterion.h>

#include "raft/raft_internal.h"
#include "tests/support/raft_cluster.h"
#include "tests/support/raft_rig.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- the leader ---- */

/* Of term 4, with 4..9 of term 3 in the log store only from 8 on, and 10 its own. */
static struct rig leader(void)
{
    static const struct raft_term_start starts[] = { { 3, 8 } };
    struct rig rig = rig_defaults();
    rig.start.hard = (struct raft_hard_state){ .term = 3, .commit = 9 };
    rig.start.log_start = (struct raft_pos){ 3, 7 };
    rig.start.flushed = (struct raft_pos){ 3, 9 };
    rig.start.term_starts = starts;
    rig.start.term_start_count = 1;
    rig_open(&rig, "");
    rig_elect(&rig);
    return rig;
}

static void sent(struct rig *rig, struct raft_pos pos, bool ok)
{
    enum raft_err err = rig_step(
        rig, (struct raft_event){ .type = RAFT_EV_SNAPSHOT_SENT,
                                  .snapshot_sent = { .member = 2, .pos = pos, .ok = ok } });
    cr_assert_eq(err, RAFT_OK);
}

Test(raft_snapshot, a_member_before_the_log_start_needs_one)
{
    struct rig rig = leader();
    rig_accept(&rig, 3, 10);
    cr_assert_eq(raft_keep_index(rig.raft), 1, "2 is not heard of yet");
    rig_reject(&rig, 2, 9, (struct raft_pos){ 1, 2 });
    cr_assert(rig.ready.snapshot_count == 1 && rig.ready.snapshots[0].member == 2);
    cr_assert_null(rig_message(&rig, RAFT_MSG_APPEND, 2));
    cr_assert_eq(raft_keep_index(rig.raft), 11, "the log is not kept for it");
    struct raft_member_progress progress;
    cr_assert(raft_member_progress(rig.raft, 2, &progress) && progress.needs_snapshot);
    rig_reject(&rig, 2, 9, (struct raft_pos){ 1, 2 });
    cr_assert_eq(rig.ready.snapshot_count, 0, "asked for once");
    rig_apply(&rig);
    rig_alive(&rig, 2, 1);
    sent(&rig, (struct raft_pos){ 3, 9 }, true);
    const struct raft_msg *m = rig_message(&rig, RAFT_MSG_APPEND, 2);
    cr_assert(m && m->append.prev.index == 9 && m->append.entry_count == 1, "goes on behind it");
    rig_accept(&rig, 2, 10);
    cr_assert(raft_member_progress(rig.raft, 2, &progress) && !progress.needs_snapshot);
    rig_close(&rig);
}

Test(raft_snapshot, a_failure_is_tried_again_after_a_while)
{
    struct rig rig = leader();
    rig_accept(&rig, 3, 10);
    rig_reject(&rig, 2, 9, (struct raft_pos){ 1, 2 });
    uint64_t waits_ms[5];
    for (size_t i = 0; i < COUNT(waits_ms); i++) {
        sent(&rig, (struct raft_pos){ 0 }, false);
        uint64_t from_ms = rig.now_ms;
        while (rig.ready.snapshot_count == 0) {
            rig_tick(&rig, 10);
            uint64_t round = rig.raft->round;
            if (rig.ready.snapshot_count == 0)
                rig_alive(&rig, 2, round);
            if (rig.ready.snapshot_count == 0)
                rig_alive(&rig, 3, round);
        }
        waits_ms[i] = rig.now_ms - from_ms;
    }
    static const uint64_t expected_ms[] = { 100, 200, 400, 800, 800 };
    for (size_t i = 0; i < COUNT(waits_ms); i++)
        cr_assert_eq(waits_ms[i], expected_ms[i], "%zu: %lu", i, (unsigned long)waits_ms[i]);
    rig_close(&rig);
}

/* It says that it has it, and refuses what follows: no faster than one that fails. */
Test(raft_snapshot, a_member_that_needs_another_waits)
{
    struct rig rig = leader();
    rig_accept(&rig, 3, 10);
    rig_reject(&rig, 2, 9, (struct raft_pos){ 1, 2 });
    rig_apply(&rig);
    sent(&rig, (struct raft_pos){ 3, 9 }, true);
    rig_reject(&rig, 2, 9, (struct raft_pos){ 1, 2 });
    cr_assert_eq(rig.ready.snapshot_count, 0);
    uint64_t from_ms = rig.now_ms;
    while (rig.ready.snapshot_count == 0) {
        rig_alive(&rig, 2, rig.raft->round);
        if (rig.ready.snapshot_count == 0)
            rig_alive(&rig, 3, rig.raft->round);
        if (rig.ready.snapshot_count == 0)
            rig_tick(&rig, 10);
        cr_assert_lt(rig.now_ms, from_ms + 1000);
    }
    cr_assert_eq(rig.now_ms - from_ms, 100);
    rig_close(&rig);
}

Test(raft_snapshot, a_member_that_is_not_heard_gets_none)
{
    struct rig rig = leader();
    rig_accept(&rig, 3, 10);
    rig_reject(&rig, 2, 9, (struct raft_pos){ 1, 2 });
    sent(&rig, (struct raft_pos){ 0 }, false);
    for (int i = 0; i < 30; i++) {
        rig_tick(&rig, 10);
        rig_alive(&rig, 3, rig.raft->round);
        cr_assert_eq(rig.ready.snapshot_count, 0);
    }
    rig_alive(&rig, 2, 1);
    cr_assert_eq(rig.ready.snapshot_count, 1);
    rig_close(&rig);
}

/* Its disk may have been restored: an empty append an election timeout shows it. What it says of
 * older appends moves nothing. */
Test(raft_snapshot, a_member_may_come_back_by_other_means)
{
    struct rig rig = leader();
    rig_accept(&rig, 3, 10);
    rig_reject(&rig, 2, 9, (struct raft_pos){ 1, 2 });
    rig_accept(&rig, 2, 3);
    cr_assert_eq(rig.ready.message_count, 0, "not within reach");
    rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_APPEND_RESULT,
                                         .term = 4,
                                         .append_result = { .rejected = true,
                                                            .no_room = true,
                                                            .rejected_prev = 4,
                                                            .hint = { 1, 4 } } });
    rig.now_ms += 100;
    rig_alive(&rig, 2, 1);
    const struct raft_msg *m = rig_message(&rig, RAFT_MSG_APPEND, 2);
    cr_assert(m && m->append.prev.index == 9 && m->append.entry_count == 0);
    rig_reject(&rig, 2, 9, (struct raft_pos){ 3, 8 });
    cr_assert_null(rig_message(&rig, RAFT_MSG_APPEND, 2), "no");
    rig.now_ms += 100;
    rig_alive(&rig, 2, 1);
    cr_assert_not_null(rig_message(&rig, RAFT_MSG_APPEND, 2));
    rig_accept(&rig, 2, 9);
    m = rig_message(&rig, RAFT_MSG_APPEND, 2);
    cr_assert(m && m->append.prev.index == 9 && m->append.entry_count == 1, "yes");
    sent(&rig, (struct raft_pos){ 3, 9 }, true);
    cr_assert_eq(rig.raft->members[1].state, RAFT_PROGRESS_REPLICATE, "it is past that");
    rig_close(&rig);
}

Test(raft_snapshot, answers_that_nobody_waits_for)
{
    struct rig rig = leader();
    sent(&rig, (struct raft_pos){ 3, 9 }, true);
    cr_assert_eq(rig.ready.message_count, 0);
    rig_step(&rig, (struct raft_event){ .type = RAFT_EV_SNAPSHOT_SENT,
                                        .snapshot_sent = { .member = 9, .ok = true } });
    cr_assert_eq(rig.ready.message_count, 0);
    rig_close(&rig);
    rig = rig_defaults();
    rig_open(&rig, "");
    sent(&rig, (struct raft_pos){ 0 }, true);
    rig_close(&rig);
}

/* ---- the receiver ---- */

static enum raft_err install(struct rig *rig, struct raft_pos pos, const char *config)
{
    enum raft_err err = rig_step(
        rig, (struct raft_event){
                 .type = RAFT_EV_SNAPSHOT_INSTALLED,
                 .snapshot_installed = { .pos = pos,
                                         .config = { .index = 2, .config = cluster_config(config) },
                                         .hash = 77 } });
    if (err == RAFT_OK && pos.index > rig->commit_seen)
        rig->commit_seen = pos.index;
    return err;
}

/* Log 1 1 2 2 2, committed up to `commit`, in term 5. */
static struct rig follower(uint64_t commit)
{
    struct rig rig = rig_defaults();
    rig.start.hard = (struct raft_hard_state){ .term = 5, .commit = commit };
    rig_open(&rig, "11222");
    rig_tick(&rig, 0);
    return rig;
}

static const struct {
    const char *what;
    uint64_t commit;
    struct raft_pos pos;
    uint64_t last;
} installs[] = {
    { "past the log", 1, { 4, 9 }, 9 },
    { "at the end of the log", 1, { 2, 5 }, 5 },
    { "in the log: the rest stays", 1, { 2, 3 }, 5 },
    { "in the log at another term: the rest goes", 1, { 4, 4 }, 4 },
    { "just past what is committed", 2, { 2, 3 }, 5 },
};

Test(raft_snapshot, what_stays_of_the_log)
{
    for (size_t i = 0; i < COUNT(installs); i++) {
        const char *what = installs[i].what;
        struct raft_pos pos = installs[i].pos;
        struct rig rig = follower(installs[i].commit);
        cr_assert_eq(install(&rig, pos, "12"), RAFT_OK, "%s", what);
        cr_assert_eq(raft_last_pos(rig.raft).index, installs[i].last, "%s", what);
        cr_assert_eq(raft_commit_index(rig.raft), pos.index, "%s", what);
        cr_assert_eq(raft_term_at(rig.raft, pos.index), pos.term, "%s", what);
        cr_assert_eq(raft_term_at(rig.raft, pos.index - 1), 0, "%s", what);
        cr_assert_null(raft_entry_at(rig.raft, pos.index), "%s", what);
        cr_assert(rig.ready.committed.first > rig.ready.committed.last, "%s", what);
        cr_assert(rig.ready.config_changed && rig.ready.config.index == 2, "%s", what);
        cr_assert_eq(rig.ready.config.config.member_count, 2, "%s", what);
        cr_assert_eq(rig.raft->state.hash, 77, "%s", what);
        struct raft_pos prev = { 5, installs[i].last };
        prev.term = raft_term_at(rig.raft, prev.index);
        cr_assert_eq(rig_append(&rig, 5, prev, "5", 99, 10), RAFT_OK, "%s", what);
        rig_durable(&rig);
        cr_assert_eq(rig.commit_seen, installs[i].last + 1, "%s: and it goes on", what);
        rig_close(&rig);
    }
}

Test(raft_snapshot, terms_behind_it_are_known)
{
    struct rig rig = follower(0);
    rig_append(&rig, 5, (struct raft_pos){ 2, 5 }, "355", 0, 10);
    rig_durable(&rig);
    install(&rig, (struct raft_pos){ 2, 4 }, "12");
    static const uint64_t terms[] = { 0, 0, 0, 0, 2, 2, 3, 5, 5, 0 };
    for (uint64_t i = 0; i < COUNT(terms); i++)
        cr_assert_eq(raft_term_at(rig.raft, i), terms[i], "%lu", (unsigned long)i);
    struct raft_term_start starts[4];
    cr_assert_eq(raft_term_starts(rig.raft, 9, starts, 4), 3);
    cr_assert(starts[0].term == 2 && starts[0].first_index == 5);
    rig_close(&rig);
}

/* 1. 2 is applied, 5 is committed. 2. A snapshot of 4 takes the place of the state at 2. 3. Only 5
 * is left to be applied. */
Test(raft_snapshot, what_is_committed_and_not_applied)
{
    struct rig rig = follower(2);
    rig_apply(&rig);
    cr_assert_eq(rig_append(&rig, 5, (struct raft_pos){ 2, 5 }, "", 5, 10), RAFT_OK);
    cr_assert_eq(rig.commit_seen, 5);
    cr_assert_eq(install(&rig, (struct raft_pos){ 2, 4 }, "12"), RAFT_OK);
    cr_assert_eq(raft_commit_index(rig.raft), 5);
    cr_assert_eq(rig.raft->log.applied, 4);
    rig_apply(&rig);
    cr_assert_eq(raft_last_pos(rig.raft).index, 5);
    rig_close(&rig);
}

/* It says another thing than a leader did: what is committed, or what this term's leader has. */
Test(raft_snapshot, what_contradicts_the_log_is_refused)
{
    struct rig rig = follower(3);
    cr_assert_eq(install(&rig, (struct raft_pos){ 4, 3 }, "12"), RAFT_E_STATE);
    cr_assert_eq(rig_append(&rig, 5, (struct raft_pos){ 2, 4 }, "5", 3, 10), RAFT_OK);
    cr_assert_eq(install(&rig, (struct raft_pos){ 4, 5 }, "12"), RAFT_E_STATE);
    cr_assert_eq(raft_last_pos(rig.raft).term, 5);
    cr_assert_eq(install(&rig, (struct raft_pos){ 4, 6 }, "12"), RAFT_OK, "it may be newer");
    rig_close(&rig);
}

/* An older one than the state: the caller should have dropped it. */
Test(raft_snapshot, nothing_goes_back)
{
    struct rig rig = follower(3);
    rig_apply(&rig);
    cr_assert_eq(install(&rig, (struct raft_pos){ 2, 3 }, "12"), RAFT_OK);
    cr_assert_not(rig.ready.config_changed);
    cr_assert_eq(raft_term_at(rig.raft, 1), 1);
    rig_close(&rig);
}

static const struct {
    const char *what;
    struct raft_pos pos;
    const char *config;
} bad[] = {
    { "of a later term than ours", { 6, 9 }, "12" },
    { "of no term", { 0, 9 }, "12" },
    { "of nothing", { 0, 0 }, "12" },
    { "past all bounds", { 5, RAFT_INDEX_MAX + 1 }, "12" },
    { "nobody votes", { 5, 9 }, "L1" },
    { "before its configuration", { 1, 1 }, "12" },
};

Test(raft_snapshot, impossible_ones_are_refused)
{
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct rig rig = follower(0);
        cr_assert_eq(install(&rig, bad[i].pos, bad[i].config), RAFT_E_STATE, "%s", bad[i].what);
        cr_assert_eq(raft_last_pos(rig.raft).index, 5, "%s", bad[i].what);
        rig_close(&rig);
    }
}

/* The configuration of an entry that stays is still in force; the one before it now is the
 * snapshot's. */
Test(raft_snapshot, a_newer_configuration_stays)
{
    struct rig rig = rig_defaults();
    rig_open(&rig, "");
    struct raft_config_at at[2] = { { 2, cluster_config("1234") }, { 4, cluster_config("12345") } };
    rig_append_configs(&rig, 1, (struct raft_pos){ 0 }, "11111", at, 2);
    rig_durable(&rig);
    cr_assert_eq(install(&rig, (struct raft_pos){ 1, 3 }, "1234"), RAFT_OK);
    cr_assert_eq(raft_config_in_force(rig.raft).index, 4);
    cr_assert_eq(raft_config_committed(rig.raft).index, 2);
    cr_assert_eq(rig_append(&rig, 2, (struct raft_pos){ 1, 3 }, "2", 0, 10), RAFT_OK);
    cr_assert_eq(raft_config_in_force(rig.raft).index, 2);
    rig_close(&rig);
}

Test(raft_snapshot, the_one_before_the_newest_stays_too)
{
    struct rig rig = rig_defaults();
    rig_open(&rig, "");
    struct raft_config_at at[2] = { { 4, cluster_config("1234") }, { 5, cluster_config("12345") } };
    rig_append_configs(&rig, 1, (struct raft_pos){ 0 }, "11111", at, 2);
    rig_durable(&rig);
    cr_assert_eq(install(&rig, (struct raft_pos){ 1, 3 }, "12"), RAFT_OK);
    cr_assert_eq(raft_config_in_force(rig.raft).index, 5);
    cr_assert_eq(raft_config_committed(rig.raft).index, 4);
    rig_close(&rig);
}

Test(raft_snapshot, a_leader_and_a_candidate_step_down)
{
    struct rig rig = rig_defaults();
    rig_open(&rig, "");
    rig_elect(&rig);
    rig_propose(&rig, RAFT_ENTRY_COMMAND, 10);
    rig_durable(&rig);
    cr_assert_eq(install(&rig, (struct raft_pos){ 1, 2 }, "12"), RAFT_OK);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER);
    rig_tick(&rig, 300);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_PRE_CANDIDATE);
    cr_assert_eq(install(&rig, (struct raft_pos){ 1, 9 }, "12"), RAFT_OK);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER);
    rig_close(&rig);
}

/* What was owed for entries that are now part of the snapshot is answered. */
Test(raft_snapshot, an_owed_answer_goes_out)
{
    struct rig rig = follower(0);
    rig_append(&rig, 5, (struct raft_pos){ 2, 5 }, "5", 0, 10);
    cr_assert_eq(rig_message(&rig, RAFT_MSG_APPEND_RESULT, 2)->append_result.match, 5);
    install(&rig, (struct raft_pos){ 5, 6 }, "12");
    cr_assert_eq(rig_message(&rig, RAFT_MSG_APPEND_RESULT, 2)->append_result.match, 6);
    rig_close(&rig);
}
