/* A leader: what it sends to whom, what it counts, and when it gives up. */
#include <criterion/criterion.h>
#include <signal.h>

#include "raft/raft_internal.h"
#include "tests/support/raft_rig.h"

static struct rig leader(const char *terms, uint64_t term)
{
    struct rig rig = rig_defaults();
    rig.start.hard.term = term;
    rig_open(&rig, terms);
    rig_elect(&rig);
    return rig;
}

static enum raft_err alive(struct rig *rig, uint64_t from, uint64_t round, uint64_t room_bytes)
{
    return rig_receive(
        rig, (struct raft_msg){ .type = RAFT_MSG_HEARTBEAT_RESULT,
                                .from = from,
                                .term = raft_status(rig->raft).term,
                                .heartbeat_result = { .round = round, .room_bytes = room_bytes } });
}

static uint64_t round_now(struct rig *rig)
{
    rig_tick(rig, rig->options.heartbeat_ms);
    return rig_message(rig, RAFT_MSG_HEARTBEAT, 2)->heartbeat.round;
}

Test(raft_leader, lone_voter_commits_by_its_own_disk)
{
    struct rig rig = rig_defaults();
    rig.start.config.member_count = 1;
    rig_open(&rig, "");
    rig_tick(&rig, 0);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_CANDIDATE);
    rig_durable(&rig);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_LEADER);
    rig_propose(&rig, RAFT_ENTRY_NOOP, 10);
    cr_assert_gt(rig.ready.committed.first, rig.ready.committed.last);
    rig_durable(&rig);
    cr_assert(rig.ready.committed.first == 1 && rig.ready.committed.last == 1);
    rig_close(&rig);
}

/* A single-voter cluster is one although learners follow. */
Test(raft_leader, lone_voter_with_learners)
{
    struct rig rig = rig_defaults();
    rig.start.config.members[1].roles = RAFT_LEARNER;
    rig.start.config.members[2].roles = RAFT_LEARNER;
    rig_open(&rig, "");
    rig_tick(&rig, 0);
    rig_durable(&rig);
    rig_propose(&rig, RAFT_ENTRY_NOOP, 10);
    cr_assert_not_null(rig_append_to(&rig, 2));
    rig_durable(&rig);
    cr_assert_eq(raft_commit_index(rig.raft), 1);
    rig_close(&rig);
}

/* I1: its own copy counts when it is durable; committed by two others it is, but not applied. */
Test(raft_leader, own_match_waits_for_the_disk)
{
    struct rig rig = leader("", 0);
    rig_accept(&rig, 2, 1);
    cr_assert_eq(raft_commit_index(rig.raft), 1);
    rig_propose(&rig, RAFT_ENTRY_COMMAND, 10);
    rig_accept(&rig, 2, 2);
    cr_assert_eq(raft_commit_index(rig.raft), 1, "one other, and a disk that is not done");
    rig_accept(&rig, 3, 2);
    cr_assert_eq(raft_commit_index(rig.raft), 2, "two others");
    cr_assert_gt(rig.ready.committed.first, rig.ready.committed.last, "I3");
    cr_assert_eq(rig.ready.hard.commit, 1);
    rig_durable(&rig);
    cr_assert(rig.ready.committed.first == 2 && rig.ready.committed.last == 2);
    rig_close(&rig);
}

/* Raft §5.4.2, figure 8. */
Test(raft_leader, does_not_count_entries_of_earlier_terms)
{
    struct rig rig = leader("12", 3);
    rig_accept(&rig, 2, 2);
    rig_accept(&rig, 3, 2);
    cr_assert_eq(raft_commit_index(rig.raft), 0);
    rig_accept(&rig, 2, 3);
    cr_assert_eq(raft_commit_index(rig.raft), 3);
    rig_close(&rig);
}

Test(raft_leader, votes_are_asked_for_when_the_own_is_durable)
{
    struct rig rig = rig_defaults();
    rig.options.pre_vote = false;
    rig_open(&rig, "");
    rig_tick(&rig, 0);
    rig_tick(&rig, 200);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_CANDIDATE);
    cr_assert_eq(rig.ready.message_count, 0);
    rig_durable(&rig);
    cr_assert_eq(rig_message_count(&rig, RAFT_MSG_VOTE), 2);
    rig_close(&rig);
}

Test(raft_leader, counts_pre_votes_of_the_term_it_asked_for)
{
    struct rig rig = rig_defaults();
    rig.start.hard.term = 4;
    rig_open(&rig, "");
    rig_tick(&rig, 0);
    rig_tick(&rig, 200);
    cr_assert_eq(rig_message(&rig, RAFT_MSG_VOTE, 2)->term, 5);
    for (uint64_t term = 4; term <= 6; term += 2) {
        rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_VOTE_RESULT,
                                             .term = term,
                                             .vote_result = { true, true } });
        cr_assert_eq(raft_status(rig.raft).role, RAFT_PRE_CANDIDATE, "another term's");
    }
    rig_receive(&rig, (struct raft_msg){
                          .type = RAFT_MSG_VOTE_RESULT, .term = 5, .vote_result = { true, true } });
    cr_assert_eq(raft_status(rig.raft).role, RAFT_CANDIDATE);
    rig_close(&rig);
}

Test(raft_leader, steps_down_without_a_quorum)
{
    struct rig rig = leader("", 0);
    rig_tick(&rig, 60);
    alive(&rig, 3, 1, 0);
    rig_tick(&rig, 99);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_LEADER);
    struct raft_member_progress progress;
    cr_assert(raft_member_progress(rig.raft, 3, &progress) && progress.active);
    cr_assert(raft_member_progress(rig.raft, 2, &progress) && !progress.active);
    rig_tick(&rig, 1);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER);
    cr_assert_eq(raft_status(rig.raft).leader, 0);
    cr_assert_not(raft_member_progress(rig.raft, 3, &progress));
    rig_close(&rig);
}

/* A request from an earlier leader's victim does not depose one that has its quorum. */
Test(raft_leader, ignores_elections)
{
    struct rig rig = leader("", 0);
    for (int dead = 0; dead < 2; dead++) {
        rig_receive(&rig,
                    (struct raft_msg){ .type = RAFT_MSG_VOTE,
                                       .term = 9,
                                       .vote = { .leader_is_dead = dead, .last = { 8, 100 } } });
        cr_assert_eq(raft_status(rig.raft).role, RAFT_LEADER);
        cr_assert_eq(rig.ready.message_count, 0);
    }
    rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_HEARTBEAT_RESULT, .term = 9 });
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER, "but a later term does");
    cr_assert_eq(raft_status(rig.raft).term, 9);
    rig_close(&rig);
}

/* ---- proposals ---- */

Test(raft_leader, first_proposal_must_be_the_noop, .signal = SIGABRT)
{
    struct rig rig = rig_defaults();
    rig.start.config.member_count = 1;
    rig_open(&rig, "");
    rig_tick(&rig, 0);
    rig_durable(&rig);
    rig_propose(&rig, RAFT_ENTRY_COMMAND, 10);
}

Test(raft_leader, proposals_wait_past_the_limits)
{
    static const struct {
        const char *limit;
        uint32_t size_bytes, accepted;
    } rows[] = {
        { "uncommitted_bytes_max", 100, 5 },    /* with the NOOP's 10 */
        { "half the window's entries", 10, 7 }, /* beside the NOOP */
        { "larger than all, not alone", 700, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig rig = leader("", 0);
        uint32_t accepted = 0;
        while (rig_propose(&rig, RAFT_ENTRY_COMMAND, rows[i].size_bytes) == RAFT_OK)
            accepted++;
        cr_assert_eq(accepted, rows[i].accepted, "%s", rows[i].limit);
        rig_durable(&rig);
        rig_accept(&rig, 2, raft_last_pos(rig.raft).index);
        cr_assert_eq(rig_propose(&rig, RAFT_ENTRY_COMMAND, 20), RAFT_OK, "%s", rows[i].limit);
        rig_close(&rig);
    }
}

/* Committed entries that nobody flushes hold proposals back too. */
Test(raft_leader, proposals_wait_for_the_window)
{
    struct rig rig = leader("", 0);
    uint32_t accepted = 0;
    while (rig_propose(&rig, RAFT_ENTRY_COMMAND, 100) == RAFT_OK) {
        accepted++;
        rig_durable(&rig);
        rig_accept(&rig, 2, raft_last_pos(rig.raft).index);
    }
    cr_assert_eq(accepted, 9, "1000 bytes with the NOOP's 10");
    rig_apply(&rig);
    rig_flush(&rig, 2);
    cr_assert_eq(rig_propose(&rig, RAFT_ENTRY_COMMAND, 100), RAFT_OK);
    rig_close(&rig);
}

Test(raft_leader, oversized_proposal_passes_alone)
{
    struct rig rig = leader("", 0);
    rig_accept(&rig, 2, 1);
    cr_assert_eq(rig_propose(&rig, RAFT_ENTRY_COMMAND, 5000), RAFT_E_FULL);
    rig_apply(&rig);
    rig_flush(&rig, 1);
    cr_assert_eq(rig_propose(&rig, RAFT_ENTRY_COMMAND, 5000), RAFT_OK);
    cr_assert_eq(rig_append_to(&rig, 2)->entry_count, 1);
    rig_close(&rig);
}

/* ---- appends ---- */

Test(raft_leader, probes_then_pipelines_within_the_limits)
{
    struct rig rig = leader("", 0);
    for (int i = 0; i < 5; i++) {
        rig_propose(&rig, RAFT_ENTRY_COMMAND, 60);
        cr_assert_null(rig_append_to(&rig, 2), "the NOOP probes");
    }
    rig_accept(&rig, 2, 1);
    cr_assert_eq(rig_message_count(&rig, RAFT_MSG_APPEND), 3, "inflight_max");
    cr_assert_eq(rig_append_to(&rig, 2)->prev.index, 1);
    cr_assert_eq(rig_append_to(&rig, 2)->entry_count, 1, "append_bytes_max");
    rig_accept(&rig, 2, 3);
    cr_assert_eq(rig_message_count(&rig, RAFT_MSG_APPEND), 2, "two are out of the way");
    cr_assert_eq(rig_append_to(&rig, 2)->prev.index, 4);
    rig_close(&rig);
}

/* After one lost append everything behind it is refused: the first refusal starts the probe. */
Test(raft_leader, pipelines_within_the_limit_in_bytes)
{
    struct rig rig = rig_defaults();
    rig.options.inflight_bytes_max = 120;
    rig_open(&rig, "");
    rig_elect(&rig);
    rig_accept(&rig, 2, 1);
    for (int i = 0; i < 3; i++)
        rig_propose(&rig, RAFT_ENTRY_COMMAND, 60);
    cr_assert_eq(rig.raft->members[1].inflight_count, 2, "and no third");
    rig_accept(&rig, 2, 2);
    cr_assert_eq(rig_append_to(&rig, 2)->prev.index, 3);
    rig_close(&rig);
}

/* A rejection for want of room that names more than was sent since is of an earlier pipeline. */
Test(raft_leader, no_room_below_what_it_holds)
{
    struct rig rig = leader("", 0);
    rig_accept(&rig, 2, 1);
    rig_propose(&rig, RAFT_ENTRY_COMMAND, 10);
    rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_APPEND_RESULT,
                                         .term = 1,
                                         .append_result = { .rejected = true,
                                                            .no_room = true,
                                                            .rejected_prev = 2,
                                                            .hint = { 1, 0 } } });
    cr_assert_eq(rig.raft->members[1].next, 2, "never at or below what is acknowledged");
    rig_close(&rig);
}

Test(raft_leader, sends_so_many_appends_a_step)
{
    struct rig rig = rig_defaults();
    rig.options.window_entries_max = 64;
    rig.options.inflight_max = 32;
    rig.options.append_bytes_max = 1;
    rig_open(&rig, "");
    rig_elect(&rig);
    for (int i = 0; i < 20; i++)
        rig_propose(&rig, RAFT_ENTRY_COMMAND, 10);
    rig_accept(&rig, 2, 1);
    cr_assert_eq(rig_message_count(&rig, RAFT_MSG_APPEND), RAFT_APPENDS_PER_STEP_MAX);
    rig_tick(&rig, 1);
    cr_assert_eq(rig_message_count(&rig, RAFT_MSG_APPEND), 4);
    rig_close(&rig);
}

/* One entry may exceed a limit alone; several may not, alone or not. */
Test(raft_leader, an_oversized_batch_waits)
{
    struct rig rig = leader("", 0);
    rig_accept(&rig, 2, 1);
    rig_apply(&rig);
    rig_flush(&rig, 1);
    struct raft_entry entries[RIG_ENTRIES_MAX];
    rig_entries(entries, 2, "11", 400);
    struct raft_event event = { .type = RAFT_EV_PROPOSE,
                                .propose = { .entries = entries, .entry_count = 2 } };
    cr_assert_eq(rig_step(&rig, event), RAFT_E_FULL);
    event.propose.entry_count = 1;
    cr_assert_eq(rig_step(&rig, event), RAFT_OK);
    rig_entries_done(entries, "11");
    rig_close(&rig);
}

Test(raft_leader, an_empty_proposal_is_nothing)
{
    struct rig rig = leader("", 0);
    cr_assert_eq(rig_step(&rig, (struct raft_event){ .type = RAFT_EV_PROPOSE }), RAFT_OK);
    cr_assert_eq(rig.ready.persist_seq, 0);
    rig_close(&rig);
}

Test(raft_leader, indexes_end_somewhere)
{
    struct rig rig = rig_defaults();
    rig.start.hard.term = 1;
    rig.start.log_start = (struct raft_pos){ 1, RAFT_INDEX_MAX - 1 };
    rig.start.flushed = rig.start.log_start;
    rig_open(&rig, "");
    rig_elect(&rig);
    cr_assert_eq(rig_propose(&rig, RAFT_ENTRY_COMMAND, 10), RAFT_E_FULL);
    rig_close(&rig);
}

Test(raft_leader, how_far_members_are)
{
    struct rig rig = leader("", 0);
    struct raft_member_progress progress;
    cr_assert(raft_member_progress(rig.raft, 1, &progress));
    cr_assert(progress.match == 1 && progress.active && progress.room_bytes > 0);
    cr_assert(raft_member_progress(rig.raft, 2, &progress));
    cr_assert(progress.match == 0 && !progress.active && !progress.needs_snapshot);
    cr_assert_not(raft_member_progress(rig.raft, 9, &progress));
    rig_tick(&rig, 100);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER);
    cr_assert_not(raft_member_progress(rig.raft, 1, &progress));
    rig_close(&rig);
}

Test(raft_leader, without_a_voice_it_hands_nothing_over)
{
    struct rig rig = leader("", 0);
    rig_accept(&rig, 2, 1);
    raft_set_voice(rig.raft, false);
    cr_assert_eq(rig_step(&rig, (struct raft_event){ .type = RAFT_EV_TRANSFER }),
                 RAFT_E_NOT_LEADER);
    rig_close(&rig);
}

Test(raft_leader, goes_back_once_for_one_gap)
{
    struct rig rig = leader("", 0);
    rig_accept(&rig, 2, 1);
    for (int i = 0; i < 3; i++)
        rig_propose(&rig, RAFT_ENTRY_COMMAND, 60);
    rig_reject(&rig, 2, 2, (struct raft_pos){ 1, 1 });
    cr_assert_eq(rig_append_to(&rig, 2)->prev.index, 1);
    rig_reject(&rig, 2, 3, (struct raft_pos){ 1, 1 });
    cr_assert_null(rig_append_to(&rig, 2));
    rig_accept(&rig, 2, 2);
    cr_assert_eq(rig_append_to(&rig, 2)->prev.index, 2);
    rig_reject(&rig, 2, 1, (struct raft_pos){ 1, 0 });
    cr_assert_null(rig_append_to(&rig, 2), "stale: below match");
    rig_close(&rig);
}

/* The last append was lost and nothing follows that would show it. */
Test(raft_leader, notices_a_lost_tail_by_heartbeats)
{
    struct rig rig = leader("", 0);
    rig_accept(&rig, 2, 1);
    rig_propose(&rig, RAFT_ENTRY_COMMAND, 60);
    uint64_t round = round_now(&rig);
    alive(&rig, 2, round, 900);
    const struct raft_msg_append *check = rig_append_to(&rig, 2);
    cr_assert(check && check->prev.index == 2 && check->entry_count == 0, "is there a gap?");
    alive(&rig, 2, round, 900);
    cr_assert_null(rig_append_to(&rig, 2), "once an interval");
    rig_reject(&rig, 2, 2, (struct raft_pos){ 1, 1 });
    cr_assert(rig_append_to(&rig, 2)->prev.index == 1 && rig_append_to(&rig, 2)->entry_count == 1);
    round = round_now(&rig);
    alive(&rig, 2, round, 900);
    cr_assert_eq(rig_append_to(&rig, 2)->prev.index, 1, "the probe was lost too");
    rig_close(&rig);
}

Test(raft_leader, waits_for_a_member_without_room)
{
    struct rig rig = leader("", 0);
    rig_accept(&rig, 2, 1);
    rig_propose(&rig, RAFT_ENTRY_COMMAND, 60);
    struct raft_msg full = {
        .type = RAFT_MSG_APPEND_RESULT,
        .term = 1,
        .append_result = { .rejected = true, .no_room = true, .rejected_prev = 1, .hint = { 1, 1 } }
    };
    rig_receive(&rig, full);
    cr_assert_null(rig_append_to(&rig, 2));
    rig_propose(&rig, RAFT_ENTRY_COMMAND, 60);
    cr_assert_null(rig_append_to(&rig, 2));
    rig_tick(&rig, 19);
    cr_assert_null(rig_append_to(&rig, 2));
    rig_tick(&rig, 1);
    cr_assert_eq(rig_append_to(&rig, 2)->prev.index, 1, "after a heartbeat interval");
    rig_receive(&rig, full);
    alive(&rig, 2, 1, 500);
    cr_assert_eq(rig_append_to(&rig, 2)->prev.index, 1, "or when it has room");
    rig_receive(&rig, full);
    rig_accept(&rig, 2, 1);
    cr_assert_eq(rig_append_to(&rig, 2)->prev.index, 1);
    struct raft_member_progress progress;
    cr_assert(raft_member_progress(rig.raft, 2, &progress));
    cr_assert(progress.match == 1 && progress.room_bytes == 50);
    rig_close(&rig);
}

Test(raft_leader, probes_again_when_the_link_is_back)
{
    struct rig rig = leader("", 0);
    rig_accept(&rig, 2, 1);
    rig_propose(&rig, RAFT_ENTRY_COMMAND, 60);
    rig_step(&rig, (struct raft_event){ .type = RAFT_EV_LINK, .link = { 2, false } });
    rig_propose(&rig, RAFT_ENTRY_COMMAND, 10);
    cr_assert_null(rig_append_to(&rig, 2));
    rig_step(&rig, (struct raft_event){ .type = RAFT_EV_LINK, .link = { 2, true } });
    cr_assert_eq(rig_append_to(&rig, 2)->prev.index, 1);
    cr_assert_not_null(rig_message(&rig, RAFT_MSG_HEARTBEAT, 2));
    rig_close(&rig);
}

/* ---- reads ---- */

static uint64_t ask_read(struct rig *rig, uint64_t context)
{
    rig_step(rig, (struct raft_event){ .type = RAFT_EV_READ, .read = { context } });
    const struct raft_msg *m = rig_message(rig, RAFT_MSG_HEARTBEAT, 2);
    return m ? m->heartbeat.round : 0;
}

Test(raft_leader, reads_wait_for_an_entry_of_its_term)
{
    struct rig rig = leader("12", 2);
    uint64_t round = ask_read(&rig, 7);
    alive(&rig, 2, round, 0);
    cr_assert_eq(rig.ready.read_count, 0);
    rig_accept(&rig, 2, 3);
    cr_assert(rig.ready.read_count == 1 && rig.ready.reads[0].index == 3);
    rig_close(&rig);
}

/* An answer to a heartbeat sent before the read was asked proves nothing. */
Test(raft_leader, reads_need_a_later_round)
{
    struct rig rig = leader("", 0);
    rig_accept(&rig, 2, 1);
    uint64_t before = round_now(&rig);
    uint64_t round = ask_read(&rig, 7);
    cr_assert_gt(round, before);
    alive(&rig, 2, before, 0);
    cr_assert_eq(rig.ready.read_count, 0);
    alive(&rig, 2, round, 0);
    cr_assert(rig.ready.read_count == 1 && rig.ready.reads[0].index == 1);
    cr_assert_not(rig.ready.reads[0].refused);
    rig_close(&rig);
}

/* Rounds are pipelined up to a few; further reads share the next one, which begins with the next
 * answer or heartbeat. */
Test(raft_leader, reads_share_rounds)
{
    struct rig rig = leader("", 0);
    rig_accept(&rig, 2, 1);
    uint64_t first = raft_status(rig.raft).term; /* round 1 went out with the election */
    alive(&rig, 2, first, 0);
    uint64_t last = 0;
    uint32_t rounds = 0;
    for (uint64_t context = 0; context < 20; context++) {
        uint64_t round = ask_read(&rig, context);
        rounds += round != 0;
        last = round != 0 ? round : last;
    }
    cr_assert_eq(rounds, 4);
    alive(&rig, 2, last, 0);
    cr_assert_eq(rig.ready.read_count, 4);
    alive(&rig, 3, rig_message(&rig, RAFT_MSG_HEARTBEAT, 3)->heartbeat.round, 0);
    cr_assert_eq(rig.ready.read_count, 16, "all the others by one");
    rig_close(&rig);
}

Test(raft_leader, answers_members_reads_once)
{
    struct rig rig = leader("", 0);
    rig_accept(&rig, 2, 1);
    struct raft_msg question = {
        .type = RAFT_MSG_READ_INDEX, .from = 3, .term = 1, .read_index = { .context = 77 }
    };
    rig_receive(&rig, question);
    uint64_t round = rig_message(&rig, RAFT_MSG_HEARTBEAT, 2)->heartbeat.round;
    rig_receive(&rig, question);
    cr_assert_eq(rig.ready.message_count, 0, "it is queued already");
    alive(&rig, 2, round, 0);
    cr_assert_eq(rig_message_count(&rig, RAFT_MSG_READ_INDEX_RESULT), 1);
    const struct raft_msg *m = rig_message(&rig, RAFT_MSG_READ_INDEX_RESULT, 3);
    cr_assert(m->read_index_result.context == 77 && m->read_index_result.index == 1);
    cr_assert_not(m->read_index_result.refused);
    rig_close(&rig);
}

Test(raft_leader, refuses_all_reads_when_deposed)
{
    struct rig rig = leader("", 0);
    ask_read(&rig, 7);
    rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_READ_INDEX,
                                         .from = 3,
                                         .term = 1,
                                         .read_index = { .context = 77 } });
    rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 2 });
    cr_assert(rig.ready.read_count == 1 && rig.ready.reads[0].refused);
    cr_assert(rig_message(&rig, RAFT_MSG_READ_INDEX_RESULT, 3)->read_index_result.refused);
    rig_close(&rig);
}

/* Asked while there was no leader, and then this node becomes it. */
Test(raft_leader, answers_reads_asked_before_its_election)
{
    struct rig rig = rig_defaults();
    rig.options.pre_vote = false;
    rig_open(&rig, "");
    rig_tick(&rig, 0);
    rig_tick(&rig, 200);
    ask_read(&rig, 7);
    rig_durable(&rig);
    rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_VOTE_RESULT,
                                         .term = 1,
                                         .vote_result = { false, true } });
    cr_assert_eq(raft_status(rig.raft).role, RAFT_LEADER);
    rig_propose(&rig, RAFT_ENTRY_NOOP, 10);
    rig_durable(&rig);
    rig_accept(&rig, 2, 1);
    cr_assert_eq(rig.ready.read_count, 0, "no answer to a heartbeat yet");
    alive(&rig, 2, 1, 0);
    cr_assert(rig.ready.read_count == 1 && rig.ready.reads[0].index == 1);
    rig_close(&rig);
}

Test(raft_leader, loses_its_voice)
{
    struct rig rig = leader("", 0);
    ask_read(&rig, 7);
    rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_READ_INDEX,
                                         .from = 3,
                                         .term = 1,
                                         .read_index = { .context = 77 } });
    raft_set_voice(rig.raft, false);
    cr_assert_eq(rig_propose(&rig, RAFT_ENTRY_COMMAND, 10), RAFT_E_NOT_LEADER);
    rig_tick(&rig, 1);
    cr_assert(rig.ready.status_changed && rig.ready.status.role == RAFT_FOLLOWER);
    cr_assert(rig.ready.read_count == 1 && rig.ready.reads[0].refused);
    cr_assert_eq(rig.ready.message_count, 0);
    rig_close(&rig);
}

/* ---- what heartbeats carry ---- */

Test(raft_leader, heartbeats_carry_commit_keep_and_state)
{
    struct rig rig = leader("", 0);
    rig_propose(&rig, RAFT_ENTRY_COMMAND, 10);
    rig_durable(&rig);
    rig_accept(&rig, 2, 2);
    rig_accept(&rig, 3, 1);
    rig_apply(&rig);
    rig_tick(&rig, 20);
    const struct raft_msg_heartbeat *two = &rig_message(&rig, RAFT_MSG_HEARTBEAT, 2)->heartbeat;
    const struct raft_msg_heartbeat *three = &rig_message(&rig, RAFT_MSG_HEARTBEAT, 3)->heartbeat;
    cr_assert_eq(two->commit, 2);
    cr_assert_eq(three->commit, 1, "only what it is known to hold");
    cr_assert_eq(two->keep_index, 2, "the least match, and one");
    cr_assert(two->state.index == 2 && two->state.hash == 22);
    cr_assert_eq(raft_keep_index(rig.raft), 2);
    rig_close(&rig);
}
