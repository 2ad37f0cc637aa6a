/* Configurations: which may follow which, and which one counts when. */
#include <criterion/criterion.h>

#include "raft/raft_internal.h"
#include "tests/support/raft_cluster.h"
#include "tests/support/raft_rig.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* As cluster_config reads them. */
static const struct {
    const char *rule;
    const char *present;
    const char *next;
    bool may;
} changes[] = {
    { "the same again: URLs", "123", "123", true },
    { "one voter more", "123", "1234", true },
    { "one voter less", "123", "12", true },
    { "a learner", "123", "123 L4", true },
    { "several learners at once", "123 L4", "123 L567", true },
    { "a learner becomes a voter", "123 L4", "1234", true },
    { "a voter becomes a learner", "123", "12 L3", true },
    { "two voters more", "123", "12345", false },
    { "one for another", "123", "124", false },
    { "two promotions", "123 L45", "12345", false },
    { "no voter is left", "1", "L1", false },
    { "nobody is left", "1", "", false },
    { "joint: two more", "123", "45 B123", true },
    { "joint: one for another", "123", "4 B12 O3", true },
    { "joint: all others", "123", "456 O123", true },
    { "joint: demotion and promotion", "123 L4", "4 B12 D3", true },
    { "joint, though a simple one would do", "123", "4 B123", true },
    { "joint without a change", "123", "B123", true },
    { "joint: an old half without a voter", "123", "4 B12", false },
    { "joint: an old half with another", "123", "B1234", false },
    { "joint: an old half with a learner", "123 L4", "B123 D4", false },
    { "joint: no new half", "123", "O123", false },
    { "out of a joint one", "45 B12 O3", "1245", true },
    { "out of a joint one, with a learner to be", "4 B12 D3", "124 L3", true },
    { "out of a joint one, learners stay", "4 B12 O3 L5", "124 L5", true },
    { "a joint one stays", "45 B12 O3", "45 B12 O3", false },
    { "back out of a joint one", "45 B12 O3", "123", false },
    { "out of a joint one, and something else", "45 B12 O3", "1245 L6", false },
    { "out of a joint one, the demoted is gone", "4 B12 D3", "124", false },
};

Test(raft_membership, which_may_follow)
{
    for (size_t i = 0; i < COUNT(changes); i++) {
        struct raft_config present = cluster_config(changes[i].present);
        struct raft_config next = cluster_config(changes[i].next);
        cr_assert_eq(raft_config_may_follow(&present, &next),
                     changes[i].may ? RAFT_OK : RAFT_E_CONFIG, "%s", changes[i].rule);
    }
    struct raft_config present = cluster_config("123");
    struct raft_config bad = cluster_config("123");
    bad.members[2].id = 2;
    cr_assert_eq(raft_config_may_follow(&present, &bad), RAFT_E_CONFIG, "an id twice");
}

/* All configurations of four nodes that the rules let follow each other have quorums that meet. */
Test(raft_membership, quorums_of_neighbours_meet)
{
    enum { NODES = 4, KINDS = 6, ALL = 1296 };
    static const unsigned kinds[KINDS] = { 0,
                                           RAFT_VOTER,
                                           RAFT_VOTER_OUTGOING,
                                           RAFT_VOTER | RAFT_VOTER_OUTGOING,
                                           RAFT_LEARNER,
                                           RAFT_LEARNER | RAFT_VOTER_OUTGOING };
    static struct raft_config configs[ALL];
    for (unsigned i = 0; i < ALL; i++)
        for (unsigned id = 1, rest = i; id <= NODES; id++, rest /= KINDS)
            if (kinds[rest % KINDS] != 0)
                configs[i].members[configs[i].member_count++] =
                    (struct raft_member){ id, kinds[rest % KINDS] };
    unsigned pairs = 0;
    for (unsigned i = 0; i < ALL; i++) {
        if (!raft_config_is_valid(&configs[i]))
            continue;
        for (unsigned j = 0; j < ALL; j++) {
            if (raft_config_may_follow(&configs[i], &configs[j]) != RAFT_OK)
                continue;
            pairs++;
            for (unsigned nodes = 0; nodes < 1 << NODES; nodes++)
                cr_assert_not(cluster_is_quorum(&configs[i], nodes) &&
                                  cluster_is_quorum(&configs[j], 15 & ~nodes),
                              "%u, %u: %x", i, j, nodes);
        }
    }
    cr_assert_gt(pairs, 1000);
}

/* ---- the leader ---- */

static struct rig leader_of(const char *config)
{
    struct rig rig = rig_defaults();
    rig.start.config = cluster_config(config);
    rig_open(&rig, "");
    rig_elect(&rig);
    return rig;
}

static enum raft_err propose(struct rig *rig, const char *text)
{
    struct raft_config config = cluster_config(text);
    return rig_propose_config(rig, &config);
}

Test(raft_membership, a_change_waits_for_the_leaders_own_entry)
{
    struct rig rig = leader_of("123");
    cr_assert_eq(propose(&rig, "12"), RAFT_E_CONFIG, "the NOOP is not committed");
    rig_accept(&rig, 2, 1);
    cr_assert_eq(propose(&rig, "12"), RAFT_OK);
    cr_assert(rig.ready.config_changed && rig.ready.config.index == 2);
    cr_assert_eq(rig.ready.config.config.member_count, 2);
    cr_assert_eq(propose(&rig, "1"), RAFT_E_CONFIG, "one at a time");
    rig_durable(&rig);
    rig_accept(&rig, 2, 2);
    cr_assert_eq(raft_commit_index(rig.raft), 2);
    cr_assert_eq(propose(&rig, "1"), RAFT_OK);
    cr_assert_eq(raft_config_committed(rig.raft).index, 2);
    cr_assert_eq(raft_config_in_force(rig.raft).index, 3);
    rig_durable(&rig);
    cr_assert_eq(raft_commit_index(rig.raft), 3, "it is a quorum by itself from the append on");
    cr_assert_eq(raft_config_committed(rig.raft).index, 3);
    rig_close(&rig);
}

Test(raft_membership, two_configurations_in_one_proposal_are_refused)
{
    struct rig rig = leader_of("1");
    rig_durable(&rig);
    struct raft_entry entries[2];
    rig_entries(entries, 2, "11", 10);
    entries[0].type = RAFT_ENTRY_CONFIG;
    entries[1].type = RAFT_ENTRY_CONFIG;
    struct raft_config_at at[2] = { { 2, cluster_config("12") }, { 3, cluster_config("1") } };
    cr_assert_eq(rig_step(&rig, (struct raft_event){ .type = RAFT_EV_PROPOSE,
                                                     .propose = { entries, 2, at, 2 } }),
                 RAFT_E_CONFIG);
    rig_entries_done(entries, "11");
    rig_close(&rig);
}

Test(raft_membership, a_configuration_among_commands)
{
    struct rig rig = leader_of("1");
    rig_durable(&rig);
    struct raft_entry entries[3];
    rig_entries(entries, 2, "111", 10);
    entries[1].type = RAFT_ENTRY_CONFIG;
    struct raft_config_at at = { 3, cluster_config("1 L2") };
    cr_assert_eq(rig_step(&rig, (struct raft_event){ .type = RAFT_EV_PROPOSE,
                                                     .propose = { entries, 3, &at, 1 } }),
                 RAFT_OK);
    cr_assert_eq(rig.ready.config.index, 3);
    const struct raft_msg *m = rig_message(&rig, RAFT_MSG_APPEND, 2);
    cr_assert(m && m->append.entry_count == 1, "a probe with the newest entry");
    cr_assert_null(m->append.configs, "whoever receives it decodes it");
    rig_entries_done(entries, "111");
    rig_close(&rig);
}

/* The new voter has an election timeout's time; only then is it missed. */
Test(raft_membership, a_new_voter_is_not_missed_at_once)
{
    struct rig rig = leader_of("1 L2");
    rig_durable(&rig);
    rig_tick(&rig, 5000);
    cr_assert_eq(propose(&rig, "12"), RAFT_OK);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_LEADER);
    rig_tick(&rig, 99);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_LEADER);
    rig_tick(&rig, 1);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER);
    rig_close(&rig);
}

/* Commit, reads and check-quorum need both halves. */
Test(raft_membership, a_joint_configuration_counts_twice)
{
    struct rig rig = leader_of("123");
    rig_accept(&rig, 2, 1);
    cr_assert_eq(propose(&rig, "145 O23"), RAFT_E_CONFIG, "1 is in the old half, too");
    cr_assert_eq(propose(&rig, "45 B1 O23"), RAFT_OK);
    rig_durable(&rig);
    cr_assert_not(rig.ready.leave_joint_due);
    rig_accept(&rig, 4, 2);
    rig_accept(&rig, 5, 2);
    cr_assert_eq(raft_commit_index(rig.raft), 1, "the new half alone");
    rig_accept(&rig, 2, 2);
    cr_assert_eq(raft_commit_index(rig.raft), 2);
    cr_assert(rig.ready.leave_joint_due);
    rig_tick(&rig, 1);
    cr_assert(rig.ready.leave_joint_due, "until it is done");

    rig_step(&rig, (struct raft_event){ .type = RAFT_EV_READ, .read = { 7 } });
    uint64_t round = rig_message(&rig, RAFT_MSG_HEARTBEAT, 2)->heartbeat.round;
    rig_alive(&rig, 2, round);
    rig_alive(&rig, 3, round);
    cr_assert_eq(rig.ready.read_count, 0, "the old half alone");
    rig_alive(&rig, 5, round);
    cr_assert_eq(rig.ready.read_count, 1);
    rig_step(&rig, (struct raft_event){ .type = RAFT_EV_READ, .read = { 8 } });
    round = rig_message(&rig, RAFT_MSG_HEARTBEAT, 4)->heartbeat.round;
    rig_alive(&rig, 4, round);
    rig_alive(&rig, 5, round);
    cr_assert_eq(rig.ready.read_count, 0, "the new half alone");
    rig_alive(&rig, 3, round);
    cr_assert_eq(rig.ready.read_count, 1);

    for (int i = 0; i < 8; i++) {
        rig_tick(&rig, 20);
        rig_alive(&rig, 4, round);
        rig_alive(&rig, 5, round);
    }
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER, "without contact to the old half");
    cr_assert_not(rig.ready.leave_joint_due);
    rig_close(&rig);
}

/* Full of commands, and the change gets through. */
Test(raft_membership, no_limit_in_bytes_holds_up_a_configuration)
{
    struct rig rig = leader_of("123");
    rig_accept(&rig, 2, 1);
    while (rig_propose(&rig, RAFT_ENTRY_COMMAND, 200) == RAFT_OK)
        ;
    cr_assert_eq(rig_propose(&rig, RAFT_ENTRY_COMMAND, 200), RAFT_E_FULL);
    cr_assert_eq(propose(&rig, "12"), RAFT_OK);
    rig_close(&rig);
}

/* Thesis §4.2.2: it goes on without counting itself, then hands over and steps down. */
Test(raft_membership, a_leader_removes_itself)
{
    struct rig rig = leader_of("123");
    rig_accept(&rig, 2, 1);
    rig_accept(&rig, 3, 1);
    cr_assert_eq(propose(&rig, "23"), RAFT_OK);
    rig_durable(&rig);
    rig_accept(&rig, 2, 2);
    cr_assert_eq(raft_commit_index(rig.raft), 1, "1 and 2 are no quorum of {2,3}");
    cr_assert_eq(rig_propose(&rig, RAFT_ENTRY_COMMAND, 10), RAFT_OK, "it still leads");
    rig_durable(&rig);
    rig_accept(&rig, 3, 2);
    cr_assert_eq(raft_commit_index(rig.raft), 2);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_LEADER, "nobody has all of its log yet");
    cr_assert_null(rig_message(&rig, RAFT_MSG_TIMEOUT_NOW, 0));
    cr_assert_eq(rig_propose(&rig, RAFT_ENTRY_COMMAND, 10), RAFT_E_FULL);
    rig_accept(&rig, 2, 3);
    cr_assert_not_null(rig_message(&rig, RAFT_MSG_TIMEOUT_NOW, 2));
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER);
    rig_tick(&rig, 1000);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER, "and never campaigns again");
    cr_assert_eq(rig.ready.deadline_ms, UINT64_MAX);
    rig_close(&rig);
}

Test(raft_membership, a_removed_leader_does_not_wait_for_ever)
{
    struct rig rig = leader_of("123");
    rig_accept(&rig, 2, 1);
    rig_accept(&rig, 3, 1);
    cr_assert_eq(propose(&rig, "23"), RAFT_OK);
    rig_propose(&rig, RAFT_ENTRY_COMMAND, 10);
    rig_durable(&rig);
    rig_accept(&rig, 2, 2);
    rig_accept(&rig, 3, 2);
    uint64_t round = 1;
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(raft_status(rig.raft).role, RAFT_LEADER);
        rig_tick(&rig, 20);
        rig_alive(&rig, 2, ++round);
        rig_alive(&rig, 3, round);
    }
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER, "an election timeout has passed");
    rig_close(&rig);
}

/* ---- the others ---- */

Test(raft_membership, in_force_on_append_and_back_on_truncation)
{
    struct rig rig = rig_defaults();
    rig_open(&rig, "");
    struct raft_config_at at[2] = { { 2, cluster_config("1234") }, { 3, cluster_config("12345") } };
    cr_assert_eq(rig_append_configs(&rig, 1, (struct raft_pos){ 0 }, "111", at, 2), RAFT_OK);
    cr_assert(rig.ready.config_changed && rig.ready.config.index == 3);
    cr_assert_eq(raft_config_in_force(rig.raft).config.member_count, 5);
    rig_tick(&rig, 1);
    cr_assert_not(rig.ready.config_changed);
    cr_assert_eq(rig_append(&rig, 2, (struct raft_pos){ 1, 2 }, "2", 0, 10), RAFT_OK);
    cr_assert(rig.ready.config_changed && rig.ready.config.index == 2, "the one before");
    cr_assert_eq(raft_config_in_force(rig.raft).config.member_count, 4);
    cr_assert_eq(rig_append(&rig, 3, (struct raft_pos){ 1, 1 }, "3", 0, 10), RAFT_E_MESSAGE,
                 "2 was committed, or 3 would not have followed it");
    cr_assert_eq(rig_append(&rig, 3, (struct raft_pos){ 3, 2 }, "", 0, 10), RAFT_E_MESSAGE);
    rig_close(&rig);
}

Test(raft_membership, an_entry_that_is_there_already_changes_nothing)
{
    struct rig rig = rig_defaults();
    rig_open(&rig, "");
    struct raft_config_at at[2] = { { 1, cluster_config("12") }, { 2, cluster_config("123") } };
    cr_assert_eq(rig_append_configs(&rig, 1, (struct raft_pos){ 0 }, "11", at, 2), RAFT_OK);
    cr_assert_eq(rig_append_configs(&rig, 1, (struct raft_pos){ 0 }, "1", at, 1), RAFT_OK);
    cr_assert_not(rig.ready.config_changed);
    cr_assert_eq(raft_config_in_force(rig.raft).index, 2);
    rig_close(&rig);
}

/* What does not fit in the window is not in the log, and not in force. */
Test(raft_membership, a_configuration_that_found_no_room)
{
    struct rig rig = rig_defaults();
    rig.options.window_entries_max = 4;
    rig_open(&rig, "");
    struct raft_config_at at[2] = { { 4, cluster_config("1234") }, { 5, cluster_config("12345") } };
    cr_assert_eq(rig_append_configs(&rig, 1, (struct raft_pos){ 0 }, "11111", at, 2), RAFT_OK);
    cr_assert_eq(raft_config_in_force(rig.raft).index, 4);
    rig_close(&rig);
}

Test(raft_membership, entries_without_their_configurations_are_refused)
{
    struct rig rig = rig_defaults();
    rig_open(&rig, "");
    struct raft_entry entries[2];
    rig_entries(entries, 1, "11", 10);
    entries[1].type = RAFT_ENTRY_CONFIG;
    struct raft_config_at at[2] = { { 2, cluster_config("12") }, { 3, cluster_config("12") } };
    struct raft_msg msg = { .type = RAFT_MSG_APPEND,
                            .term = 1,
                            .append = { .entries = entries, .entry_count = 2 } };
    cr_assert_eq(rig_receive(&rig, msg), RAFT_E_MESSAGE, "none");
    msg.append.configs = at;
    msg.append.config_count = 2;
    cr_assert_eq(rig_receive(&rig, msg), RAFT_E_MESSAGE, "one too many");
    msg.append.config_count = 1;
    at[0].index = 1;
    cr_assert_eq(rig_receive(&rig, msg), RAFT_E_MESSAGE, "of another entry");
    at[0].index = 2;
    at[0].config.members[0].roles = 8;
    cr_assert_eq(rig_receive(&rig, msg), RAFT_E_MESSAGE, "with an unknown role");
    at[0].config.members[0].roles = RAFT_VOTER;
    cr_assert_eq(rig_receive(&rig, msg), RAFT_OK);
    rig_entries_done(entries, "11");
    rig_close(&rig);
}

Test(raft_membership, restored_configurations_are_in_force)
{
    struct rig rig = rig_defaults();
    rig.start.hard = (struct raft_hard_state){ .term = 1, .commit = 1 };
    rig_open(&rig, "1");
    struct block *b = block_new(8);
    struct raft_entry e = { { 1, 2 }, RAFT_ENTRY_CONFIG, slice_of(b->data, 8), b };
    struct raft_config config = cluster_config("12");
    cr_assert_eq(raft_restore_entry(rig.raft, &e, NULL), RAFT_E_STATE, "not decoded");
    struct raft_config bad = { .member_count = RAFT_MEMBERS_MAX + 1 };
    cr_assert_eq(raft_restore_entry(rig.raft, &e, &bad), RAFT_E_STATE);
    cr_assert_eq(raft_restore_entry(rig.raft, &e, &config), RAFT_OK);
    rig_tick(&rig, 0);
    cr_assert(rig.ready.config_changed && rig.ready.config.index == 2);
    cr_assert_eq(raft_config_committed(rig.raft).index, 0);
    cr_assert_eq(raft_config_committed(rig.raft).config.member_count, 3);
    block_unref(b);
    rig_close(&rig);
}

/* Thesis §4.2.2, figure 4.6: {1,2}; 1 has appended {2}, alone, and is still needed. */
Test(raft_membership, who_is_removed_campaigns_until_that_is_committed)
{
    struct rig rig = rig_defaults();
    rig.start.config = cluster_config("12");
    rig.start.hard.term = 1;
    rig_open(&rig, "1");
    struct block *b = block_new(8);
    struct raft_entry e = { { 1, 2 }, RAFT_ENTRY_CONFIG, slice_of(b->data, 8), b };
    struct raft_config config = cluster_config("2");
    cr_assert_eq(raft_restore_entry(rig.raft, &e, &config), RAFT_OK);
    block_unref(b);
    rig_tick(&rig, 0);
    rig_tick(&rig, 300);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_PRE_CANDIDATE);
    cr_assert_eq(rig_message_count(&rig, RAFT_MSG_VOTE), 1);
    rig_receive(&rig, (struct raft_msg){
                          .type = RAFT_MSG_VOTE_RESULT, .term = 2, .vote_result = { true, true } });
    rig_durable(&rig);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_CANDIDATE, "its own vote does not count");
    rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_VOTE_RESULT,
                                         .term = 2,
                                         .vote_result = { false, true } });
    cr_assert_eq(raft_status(rig.raft).role, RAFT_LEADER);
    rig_propose(&rig, RAFT_ENTRY_NOOP, 10);
    rig_durable(&rig);
    rig_accept(&rig, 2, 3);
    cr_assert_eq(raft_commit_index(rig.raft), 3);
    cr_assert_not_null(rig_message(&rig, RAFT_MSG_TIMEOUT_NOW, 2));
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER);
    rig_close(&rig);
}

/* ---- who is no member ---- */

Test(raft_membership, requests_of_strangers_count_and_answers_do_not)
{
    struct rig rig = rig_defaults();
    rig_open(&rig, "");
    cr_assert_eq(rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_VOTE,
                                                      .from = 9,
                                                      .term = 1,
                                                      .vote = { .pre_vote = true } }),
                 RAFT_OK);
    cr_assert(rig_message(&rig, RAFT_MSG_VOTE_RESULT, 9)->vote_result.granted);
    static const enum raft_msg_type answers[] = { RAFT_MSG_VOTE_RESULT, RAFT_MSG_APPEND_RESULT,
                                                  RAFT_MSG_HEARTBEAT_RESULT, RAFT_MSG_READ_INDEX,
                                                  RAFT_MSG_READ_INDEX_RESULT };
    for (size_t i = 0; i < COUNT(answers); i++) {
        cr_assert_eq(
            rig_receive(&rig, (struct raft_msg){ .type = answers[i], .from = 9, .term = 7 }),
            RAFT_OK);
        cr_assert_eq(raft_status(rig.raft).term, 0, "its term deposes nobody");
        cr_assert_eq(rig.ready.message_count, 0);
    }
    cr_assert_eq(
        rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_HEARTBEAT, .from = 9, .term = 2 }),
        RAFT_OK);
    cr_assert_eq(raft_status(rig.raft).leader, 9, "our configuration is old");
    rig_step(&rig, (struct raft_event){ .type = RAFT_EV_READ, .read = { 5 } });
    uint64_t context = rig_message(&rig, RAFT_MSG_READ_INDEX, 9)->read_index.context;
    cr_assert_eq(
        rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_READ_INDEX_RESULT,
                                             .from = 9,
                                             .term = 2,
                                             .read_index_result = { .context = context } }),
        RAFT_OK);
    cr_assert_eq(rig.ready.read_count, 1, "it was asked");
    rig_close(&rig);
}

Test(raft_membership, a_leader_refuses_the_reads_of_strangers)
{
    struct rig rig = leader_of("123");
    cr_assert_eq(rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_READ_INDEX,
                                                      .from = 9,
                                                      .term = 1,
                                                      .read_index = { 4 } }),
                 RAFT_OK);
    cr_assert(rig_message(&rig, RAFT_MSG_READ_INDEX_RESULT, 9)->read_index_result.refused);
    rig_close(&rig);
}

/* A learner that loses its leader lets go of it, and its reads are refused. */
Test(raft_membership, a_learner_forgets_a_leader_that_is_gone)
{
    struct rig rig = rig_defaults();
    rig.start.config = cluster_config("23 L1");
    rig_open(&rig, "");
    rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_HEARTBEAT, .term = 1 });
    cr_assert_eq(raft_status(rig.raft).leader, 2);
    rig_step(&rig, (struct raft_event){ .type = RAFT_EV_READ, .read = { 5 } });
    rig_tick(&rig, 200);
    cr_assert_eq(raft_status(rig.raft).leader, 0);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER);
    cr_assert(rig.ready.read_count == 1 && rig.ready.reads[0].refused);
    cr_assert_eq(rig.ready.deadline_ms, UINT64_MAX);
    rig_close(&rig);
}
