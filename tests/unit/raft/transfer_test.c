/* Leadership handed over: on request, and by a leader whose disk has stalled. */
#include <criterion/criterion.h>

#include "raft/raft_internal.h"
#include "tests/support/raft_cluster.h"
#include "tests/support/raft_rig.h"

static struct rig leader_of(const char *config)
{
    struct rig rig = rig_defaults();
    rig.start.config = cluster_config(config);
    rig_open(&rig, "");
    rig_elect(&rig);
    return rig;
}

/* 2 and 3 have all of the log. */
static struct rig leader(void)
{
    struct rig rig = leader_of("123");
    rig_accept(&rig, 2, 1);
    rig_accept(&rig, 3, 1);
    return rig;
}

static enum raft_err transfer(struct rig *rig, uint64_t to)
{
    return rig_step(rig, (struct raft_event){ .type = RAFT_EV_TRANSFER, .transfer = { to } });
}

static const struct raft_msg *told(const struct rig *rig, uint64_t to)
{
    return rig_message(rig, RAFT_MSG_TIMEOUT_NOW, to);
}

/* ---- the leader ---- */

Test(raft_transfer, to_one_that_has_everything)
{
    struct rig rig = leader();
    cr_assert_eq(transfer(&rig, 3), RAFT_OK);
    cr_assert(told(&rig, 3) && told(&rig, 3)->term == 1);
    cr_assert_eq(raft_transferee(rig.raft), 3);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_LEADER);
    rig_tick(&rig, 1);
    cr_assert_null(told(&rig, 3), "once");
    rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_VOTE,
                                         .from = 3,
                                         .term = 2,
                                         .vote = { .transfer = true, .last = { 1, 1 } } });
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER);
    cr_assert_eq(raft_transferee(rig.raft), 0);
    rig_durable(&rig);
    cr_assert(rig_message(&rig, RAFT_MSG_VOTE_RESULT, 3)->vote_result.granted);
    rig_close(&rig);
}

Test(raft_transfer, takes_no_proposals_until_its_target_has_everything)
{
    struct rig rig = leader();
    cr_assert_eq(rig_propose(&rig, RAFT_ENTRY_COMMAND, 10), RAFT_OK);
    cr_assert_eq(transfer(&rig, 2), RAFT_OK);
    cr_assert_null(told(&rig, 2));
    cr_assert_eq(rig_propose(&rig, RAFT_ENTRY_COMMAND, 10), RAFT_E_FULL);
    rig_durable(&rig);
    rig_accept(&rig, 3, 2);
    cr_assert_null(told(&rig, 0), "not to just anyone");
    rig_accept(&rig, 2, 2);
    cr_assert_not_null(told(&rig, 2));
    rig_close(&rig);
}

Test(raft_transfer, gives_up_after_an_election_timeout)
{
    struct rig rig = leader();
    rig_propose(&rig, RAFT_ENTRY_COMMAND, 10);
    transfer(&rig, 2);
    uint64_t round = 1;
    for (int i = 0; i < 4; i++) {
        rig_tick(&rig, 20);
        rig_alive(&rig, 3, ++round);
        rig_durable(&rig);
        cr_assert_eq(rig_propose(&rig, RAFT_ENTRY_COMMAND, 10), RAFT_E_FULL);
    }
    cr_assert_leq(rig.ready.deadline_ms, rig.now_ms + 20);
    rig_tick(&rig, 20);
    cr_assert_eq(raft_transferee(rig.raft), 0);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_LEADER);
    cr_assert_eq(rig_propose(&rig, RAFT_ENTRY_COMMAND, 10), RAFT_OK);
    rig_accept(&rig, 2, 3);
    cr_assert_null(told(&rig, 2), "too late");
    rig_close(&rig);
}

Test(raft_transfer, its_first_entry_may_still_be_proposed)
{
    struct rig rig = rig_defaults();
    rig_open(&rig, "");
    rig_tick(&rig, 0);
    rig_tick(&rig, 300);
    rig_receive(&rig, (struct raft_msg){
                          .type = RAFT_MSG_VOTE_RESULT, .term = 1, .vote_result = { true, true } });
    rig_durable(&rig);
    rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_VOTE_RESULT,
                                         .term = 1,
                                         .vote_result = { false, true } });
    cr_assert_eq(raft_status(rig.raft).role, RAFT_LEADER);
    cr_assert_eq(transfer(&rig, 0), RAFT_E_TRANSFEREE, "nobody was heard yet");
    cr_assert_eq(transfer(&rig, 2), RAFT_OK);
    cr_assert_eq(rig_propose(&rig, RAFT_ENTRY_NOOP, 10), RAFT_OK);
    rig_close(&rig);
}

Test(raft_transfer, to_the_voter_that_is_furthest)
{
    struct rig rig = leader_of("1234 L5");
    for (uint64_t id = 2; id <= 5; id++)
        rig_accept(&rig, id, 1);
    rig_propose(&rig, RAFT_ENTRY_COMMAND, 10);
    rig_propose(&rig, RAFT_ENTRY_COMMAND, 10);
    rig_durable(&rig);
    rig_accept(&rig, 5, 3);
    rig_accept(&rig, 3, 2);
    cr_assert_eq(transfer(&rig, 0), RAFT_OK);
    cr_assert_eq(raft_transferee(rig.raft), 3);
    rig_accept(&rig, 4, 3);
    cr_assert_eq(transfer(&rig, 0), RAFT_OK);
    cr_assert_eq(raft_transferee(rig.raft), 3, "one is under way");
    cr_assert_eq(transfer(&rig, 2), RAFT_OK);
    cr_assert_eq(raft_transferee(rig.raft), 2, "another is wanted");
    rig_close(&rig);
}

Test(raft_transfer, to_nobody)
{
    struct rig rig = leader_of("12 L3");
    cr_assert_eq(transfer(&rig, 1), RAFT_E_TRANSFEREE, "itself");
    cr_assert_eq(transfer(&rig, 3), RAFT_E_TRANSFEREE, "a learner");
    cr_assert_eq(transfer(&rig, 9), RAFT_E_TRANSFEREE, "a stranger");
    cr_assert_eq(transfer(&rig, 0), RAFT_E_TRANSFEREE, "2 has not answered yet");
    cr_assert_eq(raft_transferee(rig.raft), 0);
    rig_accept(&rig, 2, 1);
    rig.now_ms += 90;
    rig_alive(&rig, 2, 1);
    cr_assert_eq(transfer(&rig, 0), RAFT_OK);
    rig_close(&rig);
    rig = rig_defaults();
    rig_open(&rig, "");
    cr_assert_eq(transfer(&rig, 2), RAFT_E_NOT_LEADER);
    rig_close(&rig);
}

/* The leader gives way to whom it told, and to nobody else. */
Test(raft_transfer, others_do_not_profit)
{
    struct rig rig = leader();
    struct raft_msg vote = {
        .type = RAFT_MSG_VOTE, .from = 2, .term = 2, .vote = { .transfer = true, .last = { 1, 1 } }
    };
    rig_receive(&rig, vote);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_LEADER, "nobody was told");
    transfer(&rig, 3);
    rig_receive(&rig, vote);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_LEADER, "another was told");
    vote.from = 3;
    rig_receive(&rig, vote);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER);
    rig_close(&rig);
}

/* ---- the target, and who votes for it ---- */

static struct rig follower_of(const char *config)
{
    struct rig rig = rig_defaults();
    rig.start.config = cluster_config(config);
    rig_open(&rig, "");
    rig_append(&rig, 1, (struct raft_pos){ 0 }, "1", 0, 10);
    rig_durable(&rig);
    return rig;
}

Test(raft_transfer, the_target_campaigns_at_once)
{
    struct rig rig = follower_of("123");
    rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_TIMEOUT_NOW, .term = 1 });
    cr_assert_eq(raft_status(rig.raft).role, RAFT_CANDIDATE);
    rig_durable(&rig);
    const struct raft_msg *m = rig_message(&rig, RAFT_MSG_VOTE, 3);
    cr_assert(m && m->vote.transfer && !m->vote.pre_vote && m->term == 2);
    rig_tick(&rig, 200);
    m = rig_message(&rig, RAFT_MSG_VOTE, 3);
    cr_assert(m && m->vote.pre_vote && !m->vote.transfer, "later ones are its own");
    rig_receive(&rig, (struct raft_msg){
                          .type = RAFT_MSG_VOTE_RESULT, .term = 3, .vote_result = { true, true } });
    rig_durable(&rig);
    m = rig_message(&rig, RAFT_MSG_VOTE, 3);
    cr_assert(m && !m->vote.pre_vote && !m->vote.transfer, "to the last step");
    rig_close(&rig);
}

Test(raft_transfer, stale_or_misdirected_orders_are_ignored)
{
    struct rig rig = follower_of("23 L1");
    struct raft_msg order = { .type = RAFT_MSG_TIMEOUT_NOW, .term = 1 };
    rig_receive(&rig, order);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER, "a learner");
    rig_close(&rig);
    rig = follower_of("123");
    order.from = 3;
    cr_assert_eq(rig_receive(&rig, order), RAFT_E_MESSAGE, "2 leads term 1");
    order.term = 2;
    rig_receive(&rig, order);
    cr_assert_eq(raft_status(rig.raft).term, 1, "of a term that we do not know");
    rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_HEARTBEAT, .from = 3, .term = 3 });
    order.from = 2;
    order.term = 1;
    cr_assert_eq(rig_receive(&rig, order), RAFT_OK);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER, "of an old one");
    rig_durable(&rig);
    rig_tick(&rig, 300);
    rig_receive(&rig, (struct raft_msg){
                          .type = RAFT_MSG_VOTE_RESULT, .term = 4, .vote_result = { true, true } });
    cr_assert_eq(raft_status(rig.raft).role, RAFT_CANDIDATE);
    order.term = 4;
    rig_receive(&rig, order);
    cr_assert_eq(raft_status(rig.raft).term, 4, "a candidate does not begin again");
    rig_close(&rig);
}

Test(raft_transfer, stickiness_yields_to_it)
{
    struct rig rig = follower_of("123");
    struct raft_msg vote = { .type = RAFT_MSG_VOTE, .from = 3, .term = 2, .vote.last = { 1, 1 } };
    rig_receive(&rig, vote);
    cr_assert_eq(raft_status(rig.raft).term, 1);
    vote.vote.transfer = true;
    rig_receive(&rig, vote);
    cr_assert_eq(raft_status(rig.raft).term, 2);
    rig_durable(&rig);
    cr_assert(rig_message(&rig, RAFT_MSG_VOTE_RESULT, 3)->vote_result.granted);
    rig_close(&rig);
}

/* ---- disks that stall ---- */

static void keep_in_touch(struct rig *rig, uint64_t for_ms)
{
    for (uint64_t ms = 0; ms < for_ms; ms += 10) {
        rig_tick(rig, 10);
        const struct raft_msg *m = rig_message(rig, RAFT_MSG_HEARTBEAT, 2);
        if (!m || raft_status(rig->raft).role != RAFT_LEADER)
            continue;
        uint64_t round = m->heartbeat.round;
        rig_alive(rig, 2, round);
        rig_alive(rig, 3, round);
    }
}

Test(raft_transfer, a_leader_whose_disk_stalls_hands_over)
{
    struct rig rig = leader();
    rig_propose(&rig, RAFT_ENTRY_COMMAND, 10);
    rig_accept(&rig, 2, 2);
    keep_in_touch(&rig, 90);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_LEADER);
    cr_assert_eq(raft_transferee(rig.raft), 0);
    cr_assert_leq(rig.ready.deadline_ms, rig.now_ms + 10);
    rig_tick(&rig, 10);
    cr_assert_not_null(told(&rig, 2), "it has the entry that the disk does not");
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER);
    rig_tick(&rig, 500);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER, "and it does not campaign");
    cr_assert_eq(rig.ready.message_count, 0);
    rig_durable(&rig);
    rig_tick(&rig, 0);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_PRE_CANDIDATE, "until its disk is back");
    rig_close(&rig);
}

Test(raft_transfer, a_stalled_leader_with_nobody_to_hand_over_to)
{
    struct rig rig = leader_of("12");
    rig_propose(&rig, RAFT_ENTRY_COMMAND, 10);
    for (int i = 0; i < 9; i++) {
        rig_tick(&rig, 10);
        rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_HEARTBEAT_RESULT, .term = 1 });
    }
    rig_tick(&rig, 10);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER);
    rig_close(&rig);
}

/* A write that is done in parts takes its time, and is no stall. */
Test(raft_transfer, progress_of_the_disk_is_no_stall)
{
    struct rig rig = leader();
    rig_propose(&rig, RAFT_ENTRY_COMMAND, 10);
    for (int i = 0; i < 4; i++) {
        keep_in_touch(&rig, 80);
        rig_step(&rig, (struct raft_event){ .type = RAFT_EV_DURABLE, .persist_seq = rig.seq - 1 });
    }
    cr_assert_eq(raft_status(rig.raft).role, RAFT_LEADER);
    rig_close(&rig);
}

Test(raft_transfer, a_lone_voter_waits_for_its_disk)
{
    struct rig rig = leader_of("1");
    rig_propose(&rig, RAFT_ENTRY_COMMAND, 10);
    rig_tick(&rig, 5000);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_LEADER);
    cr_assert_gt(rig.ready.deadline_ms, rig.now_ms);
    rig_close(&rig);
}

/* A candidate whose vote does not become durable lets go of its candidacy. */
Test(raft_transfer, a_candidate_whose_disk_stalls)
{
    struct rig rig = follower_of("123");
    rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_TIMEOUT_NOW, .term = 1 });
    rig_tick(&rig, 300);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER);
    cr_assert_eq(rig.ready.deadline_ms, UINT64_MAX);
    rig_durable(&rig);
    rig_tick(&rig, 0);
    rig_tick(&rig, 300);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_PRE_CANDIDATE);
    rig_close(&rig);
}
