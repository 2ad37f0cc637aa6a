/* A node whose disk has lost something: what it must not say, and when it is whole again (I7). */
#include <criterion/criterion.h>

#include "raft/raft_internal.h"
#include "tests/support/raft_cluster.h"
#include "tests/support/raft_rig.h"

/* ---- the node ---- */

/* Term 3; of its log 1 1 1 is left. */
static struct rig damaged(void)
{
    struct rig rig = rig_defaults();
    rig.start.hard = (struct raft_hard_state){ .term = 3, .vote = 2, .commit = 9 };
    rig.start.awaits_repair = true;
    rig_open(&rig, "111");
    rig_tick(&rig, 0);
    return rig;
}

static enum raft_err heartbeat(struct rig *rig, uint64_t term, uint64_t last_index,
                               uint64_t repair_id)
{
    return rig_receive(rig, (struct raft_msg){ .type = RAFT_MSG_HEARTBEAT,
                                               .term = term,
                                               .heartbeat = { .last_index = last_index,
                                                              .repair_id = repair_id } });
}

static uint64_t repair_id_of(const struct rig *rig)
{
    return rig_message(rig, RAFT_MSG_HEARTBEAT_RESULT, 2)->heartbeat_result.repair_id;
}

Test(raft_repair, it_has_no_say)
{
    struct rig rig = damaged();
    cr_assert(raft_awaits_repair(rig.raft));
    cr_assert_eq(raft_commit_index(rig.raft), 0, "the commit index may be another log's");
    rig_tick(&rig, 1000);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER, "no campaign");
    for (int pre = 0; pre < 2; pre++) {
        rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_VOTE,
                                             .term = 4,
                                             .vote = { .pre_vote = pre, .last = { 3, 99 } } });
        cr_assert_eq(rig.ready.message_count, 0, "no vote, and no refusal");
    }
    cr_assert_eq(raft_status(rig.raft).term, 4, "but the term counts");
    rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_TIMEOUT_NOW, .term = 4 });
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER);
    rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_HEARTBEAT, .term = 3 });
    cr_assert_neq(repair_id_of(&rig), 0, "not even to a leader of old");
    rig_append(&rig, 3, (struct raft_pos){ 1, 3 }, "", 0, 10);
    cr_assert_neq(rig_message(&rig, RAFT_MSG_APPEND_RESULT, 2)->append_result.repair_id, 0);
    rig_append(&rig, 4, (struct raft_pos){ 3, 8 }, "", 0, 10);
    cr_assert_neq(rig_message(&rig, RAFT_MSG_APPEND_RESULT, 2)->append_result.repair_id, 0);
    rig_close(&rig);
}

/* In the term of its start only a heartbeat that echoes its number is new enough. */
Test(raft_repair, an_old_heartbeat_sets_no_target)
{
    struct rig rig = damaged();
    cr_assert_eq(heartbeat(&rig, 3, 3, 0), RAFT_OK);
    uint64_t id = repair_id_of(&rig);
    cr_assert_neq(id, 0);
    rig_append(&rig, 3, (struct raft_pos){ 1, 3 }, "", 0, 10);
    cr_assert(raft_awaits_repair(rig.raft));
    heartbeat(&rig, 3, 3, id + 1);
    cr_assert(raft_awaits_repair(rig.raft), "another start's");
    heartbeat(&rig, 3, 5, id);
    cr_assert(raft_awaits_repair(rig.raft), "4 and 5 are missing");
    heartbeat(&rig, 3, 7, id);
    rig_append(&rig, 3, (struct raft_pos){ 1, 3 }, "22", 0, 10);
    cr_assert(raft_awaits_repair(rig.raft), "and not durable yet");
    rig_durable(&rig);
    cr_assert(rig.ready.repaired, "the first target counts");
    cr_assert_not(raft_awaits_repair(rig.raft));
    rig_tick(&rig, 1);
    cr_assert_not(rig.ready.repaired, "once");
    cr_assert_eq(heartbeat(&rig, 3, 7, id), RAFT_OK);
    cr_assert_eq(repair_id_of(&rig), 0);
    rig_tick(&rig, 300);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_PRE_CANDIDATE);
    rig_close(&rig);
}

Test(raft_repair, any_heartbeat_of_a_later_term_will_do)
{
    struct rig rig = damaged();
    heartbeat(&rig, 4, 4, 0);
    rig_append(&rig, 4, (struct raft_pos){ 1, 3 }, "4", 0, 10);
    rig_durable(&rig);
    cr_assert(rig.ready.repaired);
    rig_close(&rig);
}

Test(raft_repair, a_new_term_sets_it_anew)
{
    struct rig rig = damaged();
    heartbeat(&rig, 4, 50, 0);
    rig_append(&rig, 4, (struct raft_pos){ 1, 3 }, "4", 0, 10);
    rig_durable(&rig);
    cr_assert(raft_awaits_repair(rig.raft));
    heartbeat(&rig, 5, 4, 0);
    cr_assert(raft_awaits_repair(rig.raft), "not verified in that term");
    rig_append(&rig, 5, (struct raft_pos){ 1, 3 }, "", 0, 10);
    cr_assert(raft_awaits_repair(rig.raft));
    rig_append(&rig, 5, (struct raft_pos){ 4, 4 }, "", 0, 10);
    cr_assert(rig.ready.repaired);
    rig_close(&rig);
}

/* The leader has heard it acknowledge more than it still has, or something else. */
Test(raft_repair, a_commit_index_of_what_is_lost)
{
    struct rig rig = damaged();
    struct raft_msg m = { .type = RAFT_MSG_HEARTBEAT,
                          .term = 3,
                          .heartbeat = { .commit = 7, .last_index = 9 } };
    cr_assert_eq(rig_receive(&rig, m), RAFT_OK);
    cr_assert_eq(raft_commit_index(rig.raft), 0, "1 to 3 may be a past that was overwritten");
    rig_append(&rig, 3, (struct raft_pos){ 1, 1 }, "2", 0, 10);
    cr_assert_eq(rig_receive(&rig, m), RAFT_OK);
    cr_assert_eq(raft_commit_index(rig.raft), 2);
    m.term = 4;
    cr_assert_eq(rig_receive(&rig, m), RAFT_OK);
    rig_close(&rig);
}

Test(raft_repair, a_snapshot_repairs_too)
{
    struct rig rig = damaged();
    heartbeat(&rig, 4, 9, 0);
    struct raft_event event = { .type = RAFT_EV_SNAPSHOT_INSTALLED,
                                .snapshot_installed = { .pos = { 3, 9 },
                                                        .config = { 0, cluster_config("123") } } };
    cr_assert_eq(rig_step(&rig, event), RAFT_OK);
    cr_assert(rig.ready.repaired);
    rig_close(&rig);
}

Test(raft_repair, it_reads_like_the_others)
{
    struct rig rig = damaged();
    heartbeat(&rig, 3, 9, 0);
    rig_step(&rig, (struct raft_event){ .type = RAFT_EV_READ, .read = { 5 } });
    cr_assert_not_null(rig_message(&rig, RAFT_MSG_READ_INDEX, 2));
    rig_close(&rig);
}

/* ---- its leader ---- */

static struct rig leader(void)
{
    struct rig rig = rig_defaults();
    rig_open(&rig, "");
    rig_elect(&rig);
    rig_propose(&rig, RAFT_ENTRY_COMMAND, 10);
    rig_propose(&rig, RAFT_ENTRY_COMMAND, 10);
    return rig;
}

static void accept_repairing(struct rig *rig, uint64_t match, uint64_t repair_id)
{
    rig_receive(
        rig, (struct raft_msg){
                 .type = RAFT_MSG_APPEND_RESULT,
                 .term = 1,
                 .append_result = { .match = match, .room_bytes = 50, .repair_id = repair_id } });
}

static void alive_repairing(struct rig *rig, uint64_t round, uint64_t repair_id)
{
    rig_receive(
        rig, (struct raft_msg){ .type = RAFT_MSG_HEARTBEAT_RESULT,
                                .term = 1,
                                .heartbeat_result = { .round = round, .repair_id = repair_id } });
}

Test(raft_repair, it_counts_for_no_commit)
{
    struct rig rig = leader();
    rig_accept(&rig, 2, 1);
    cr_assert_eq(raft_commit_index(rig.raft), 1);
    alive_repairing(&rig, 0, 5);
    cr_assert_eq(rig.raft->members[1].match, 0, "what it had acknowledged may be lost");
    const struct raft_msg *m = rig_message(&rig, RAFT_MSG_APPEND, 2);
    cr_assert(m && m->append.prev.index == 2, "a probe");
    struct raft_member_progress progress;
    cr_assert(raft_member_progress(rig.raft, 2, &progress) && progress.repairing);
    cr_assert(progress.active);
    rig_durable(&rig);
    accept_repairing(&rig, 3, 5);
    cr_assert_eq(raft_commit_index(rig.raft), 1);
    rig_tick(&rig, 20);
    m = rig_message(&rig, RAFT_MSG_HEARTBEAT, 2);
    cr_assert(m->heartbeat.repair_id == 5 && m->heartbeat.last_index == 3, "the echo");
    rig_accept(&rig, 2, 3);
    cr_assert_eq(raft_commit_index(rig.raft), 3, "it is whole");
    rig_close(&rig);
}

Test(raft_repair, another_start_forgets_again)
{
    struct rig rig = leader();
    accept_repairing(&rig, 3, 5);
    cr_assert_eq(rig.raft->members[1].match, 3);
    accept_repairing(&rig, 2, 6);
    cr_assert_eq(rig.raft->members[1].match, 2);
    rig_close(&rig);
}

Test(raft_repair, it_confirms_no_read)
{
    struct rig rig = leader();
    rig_durable(&rig);
    rig_accept(&rig, 3, 3);
    rig_step(&rig, (struct raft_event){ .type = RAFT_EV_READ, .read = { 7 } });
    uint64_t round = rig_message(&rig, RAFT_MSG_HEARTBEAT, 2)->heartbeat.round;
    alive_repairing(&rig, round, 5);
    cr_assert_eq(rig.ready.read_count, 0);
    rig_alive(&rig, 2, round);
    cr_assert_eq(rig.ready.read_count, 1);
    rig_close(&rig);
}

/* Neither answers nor questions are contact. */
Test(raft_repair, it_keeps_no_leader_in_place)
{
    struct rig rig = leader();
    rig_durable(&rig);
    for (int i = 0; i < 9; i++) {
        rig_tick(&rig, 10);
        alive_repairing(&rig, 0, 5);
        rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_READ_INDEX,
                                             .term = 1,
                                             .read_index = { (uint64_t)i } });
    }
    cr_assert_eq(raft_status(rig.raft).role, RAFT_LEADER);
    rig_tick(&rig, 10);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER);
    rig_close(&rig);
}

Test(raft_repair, leadership_is_not_handed_to_it)
{
    struct rig rig = leader();
    rig_durable(&rig);
    rig_accept(&rig, 3, 3);
    accept_repairing(&rig, 3, 5);
    struct raft_event to_2 = { .type = RAFT_EV_TRANSFER, .transfer = { 2 } };
    cr_assert_eq(rig_step(&rig, to_2), RAFT_OK);
    cr_assert_null(rig_message(&rig, RAFT_MSG_TIMEOUT_NOW, 0), "not while it awaits repair");
    rig_accept(&rig, 2, 3);
    cr_assert_not_null(rig_message(&rig, RAFT_MSG_TIMEOUT_NOW, 2));
    rig_close(&rig);
}
