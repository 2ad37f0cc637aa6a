/* A node that does not lead: what it takes, what it owes, and when it says so. */
#include <criterion/criterion.h>

#include "tests/support/raft_rig.h"

static const struct raft_pos none = { 0, 0 };

static struct rig open_rig(const char *terms, uint64_t term)
{
    struct rig rig = rig_defaults();
    rig.start.hard.term = term;
    rig_open(&rig, terms);
    return rig;
}

static const struct raft_msg_append_result *append_result(const struct rig *rig)
{
    const struct raft_msg *m = rig_message(rig, RAFT_MSG_APPEND_RESULT, 0);
    return m ? &m->append_result : NULL;
}

static enum raft_err receive_vote(struct rig *rig, uint64_t from, uint64_t term, bool pre_vote,
                                  bool dead)
{
    return rig_receive(
        rig, (struct raft_msg){ .type = RAFT_MSG_VOTE,
                                .from = from,
                                .term = term,
                                .vote = { .pre_vote = pre_vote, .leader_is_dead = dead } });
}

static enum raft_err receive_heartbeat(struct rig *rig, uint64_t from, uint64_t term)
{
    return rig_receive(rig, (struct raft_msg){ .type = RAFT_MSG_HEARTBEAT,
                                               .from = from,
                                               .term = term,
                                               .heartbeat = { .round = 3, .keep_index = 7 } });
}

static struct raft_event durable(uint64_t seq)
{
    return (struct raft_event){ .type = RAFT_EV_DURABLE, .persist_seq = seq };
}

/* I1: nothing says "accepted" before the write that holds it is done. */
Test(raft_follower, acknowledges_only_what_is_durable)
{
    struct rig rig = open_rig("", 0);
    cr_assert_eq(rig_append(&rig, 1, none, "11", 2, 10), RAFT_OK);
    uint64_t first = rig.seq;
    cr_assert_null(append_result(&rig));
    cr_assert(rig.ready.hard_changed);
    cr_assert(rig.ready.persist.first == 1 && rig.ready.persist.last == 2);
    cr_assert_gt(rig.ready.committed.first, rig.ready.committed.last, "not durable: not applied");
    cr_assert_eq(rig.ready.hard.commit, 0, "the disk does not hold it");
    cr_assert_eq(rig_append(&rig, 1, (struct raft_pos){ 1, 2 }, "1", 2, 10), RAFT_OK);
    cr_assert_null(append_result(&rig));
    rig_step(&rig, durable(first));
    cr_assert_eq(append_result(&rig)->match, 2, "as far as it goes");
    cr_assert(rig.ready.committed.first == 1 && rig.ready.committed.last == 2);
    rig_durable(&rig);
    cr_assert_eq(append_result(&rig)->match, 3);
    rig_close(&rig);
}

/* The write of an entry that was replaced says nothing of its replacement. */
Test(raft_follower, durable_write_of_a_replaced_entry_does_not_count)
{
    struct rig rig = open_rig("", 0);
    rig_append(&rig, 1, none, "111", 0, 10);
    uint64_t old = rig.seq;
    rig_append(&rig, 2, none, "122", 3, 10);
    cr_assert(rig.ready.persist.first == 2 && rig.ready.persist.last == 3);
    rig_step(&rig, durable(old));
    cr_assert_null(append_result(&rig), "the new term is not durable either");
    cr_assert(rig.ready.committed.first == 1 && rig.ready.committed.last == 1);
    rig_durable(&rig);
    cr_assert_eq(append_result(&rig)->match, 3);
    cr_assert(rig.ready.committed.first == 2 && rig.ready.committed.last == 3);
    cr_assert_eq(raft_entry_at(rig.raft, 2)->pos.term, 2);
    rig_close(&rig);
}

Test(raft_follower, grants_when_the_vote_is_durable_and_once_a_term)
{
    struct rig rig = open_rig("", 0);
    cr_assert_eq(receive_vote(&rig, 2, 4, false, false), RAFT_OK);
    cr_assert(rig.ready.hard_changed && rig.ready.hard.term == 4 && rig.ready.hard.vote == 2);
    cr_assert_eq(rig.ready.message_count, 0);
    cr_assert_eq(receive_vote(&rig, 3, 4, false, false), RAFT_OK);
    cr_assert_not(rig_message(&rig, RAFT_MSG_VOTE_RESULT, 3)->vote_result.granted);
    rig_durable(&rig);
    cr_assert(rig_message(&rig, RAFT_MSG_VOTE_RESULT, 2)->vote_result.granted);
    cr_assert_eq(receive_vote(&rig, 2, 4, false, false), RAFT_OK);
    cr_assert(rig_message(&rig, RAFT_MSG_VOTE_RESULT, 2)->vote_result.granted, "asked again");
    cr_assert_eq(rig.ready.persist_seq, 0);
    rig_close(&rig);
}

Test(raft_follower, pending_vote_ends_with_its_term)
{
    struct rig rig = open_rig("", 0);
    receive_vote(&rig, 2, 4, false, false);
    uint64_t old = rig.seq;
    receive_vote(&rig, 3, 5, false, false);
    rig_step(&rig, durable(old));
    cr_assert_eq(rig.ready.message_count, 0);
    rig_durable(&rig);
    cr_assert_eq(rig.ready.message_count, 1);
    const struct raft_msg *m = rig_message(&rig, RAFT_MSG_VOTE_RESULT, 3);
    cr_assert(m && m->vote_result.granted && m->term == 5);
    rig_close(&rig);
}

/* Thesis §9.6: a pre-vote changes nothing; its refusal reaches a candidate of a later term. */
Test(raft_follower, pre_votes)
{
    struct rig rig = open_rig("2", 2);
    cr_assert_eq(receive_vote(&rig, 2, 7, true, false), RAFT_OK);
    const struct raft_msg *m = rig_message(&rig, RAFT_MSG_VOTE_RESULT, 2);
    cr_assert(!m->vote_result.granted && m->vote_result.pre_vote, "its log is stale");
    cr_assert_eq(m->term, 6, "the asker's own term");
    rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_VOTE,
                                         .term = 7,
                                         .vote = { .pre_vote = true, .last = { 2, 1 } } });
    m = rig_message(&rig, RAFT_MSG_VOTE_RESULT, 2);
    cr_assert(m->vote_result.granted && m->term == 7);
    cr_assert_eq(raft_status(rig.raft).term, 2);
    cr_assert_eq(rig.ready.persist_seq, 0);
    rig_close(&rig);
}

/* Raft §6: while it hears a leader it takes part in no election, unless that leader is dead. */
Test(raft_follower, sticks_to_its_leader)
{
    static const struct {
        const char *rule;
        uint64_t after_ms;
        bool pre_vote, dead, answered;
    } rows[] = {
        { "vote, leader heard", 99, false, false, false },
        { "pre-vote, leader heard", 99, true, false, false },
        { "vote, leader silent for a timeout", 100, false, false, true },
        { "pre-vote, leader silent for a timeout", 100, true, false, true },
        { "vote, leader known dead", 1, false, true, true },
        { "pre-vote, leader known dead", 1, true, true, true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig rig = open_rig("", 0);
        receive_heartbeat(&rig, 2, 1);
        rig_durable(&rig);
        rig.now_ms += rows[i].after_ms;
        receive_vote(&rig, 3, 2, rows[i].pre_vote, rows[i].dead);
        bool is_answered = rows[i].pre_vote ? rig.ready.message_count == 1 : rig.ready.hard_changed;
        cr_assert_eq(is_answered, rows[i].answered, "%s", rows[i].rule);
        bool moves_on = rows[i].answered && !rows[i].pre_vote;
        cr_assert_eq(raft_status(rig.raft).term, moves_on ? 2 : 1, "%s", rows[i].rule);
        rig_close(&rig);
    }
}

/* etcd: raft.go, Step: with pre-votes a node that is behind in term learns it from answers only. */
Test(raft_follower, answers_what_comes_from_an_earlier_term)
{
    struct rig rig = open_rig("", 5);
    rig_append(&rig, 3, none, "1", 0, 10);
    cr_assert_eq(rig_message(&rig, RAFT_MSG_APPEND_RESULT, 2)->term, 5);
    cr_assert(append_result(&rig)->rejected);
    receive_heartbeat(&rig, 2, 3);
    cr_assert_eq(rig_message(&rig, RAFT_MSG_HEARTBEAT_RESULT, 2)->term, 5);
    receive_vote(&rig, 2, 3, false, false);
    cr_assert_eq(rig_message(&rig, RAFT_MSG_VOTE_RESULT, 2)->term, 5);
    receive_vote(&rig, 2, 3, true, false);
    cr_assert_eq(rig_message(&rig, RAFT_MSG_VOTE_RESULT, 2)->term, 5);
    rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_READ_INDEX, .term = 3 });
    cr_assert(rig_message(&rig, RAFT_MSG_READ_INDEX_RESULT, 2)->read_index_result.refused);
    rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_APPEND_RESULT, .term = 3 });
    cr_assert_eq(rig.ready.message_count, 0);
    rig_close(&rig);
}

Test(raft_follower, heartbeat_brings_keep_index_and_takes_the_state_hash)
{
    struct rig rig = open_rig("", 0);
    rig_append(&rig, 1, none, "11", 2, 10);
    rig_durable(&rig);
    rig_apply(&rig);
    receive_heartbeat(&rig, 2, 1);
    const struct raft_msg_heartbeat_result *result =
        &rig_message(&rig, RAFT_MSG_HEARTBEAT_RESULT, 2)->heartbeat_result;
    cr_assert_eq(result->round, 3);
    cr_assert(result->state.index == 2 && result->state.hash == 22);
    cr_assert_eq(result->room_bytes, 980);
    cr_assert_eq(raft_keep_index(rig.raft), 7);
    rig_close(&rig);
}

/* ---- the window ---- */

Test(raft_follower, full_window_says_no_room_and_when_there_is_some)
{
    struct rig rig = open_rig("", 0);
    cr_assert_eq(rig_append(&rig, 1, none, "1111", 0, 400), RAFT_OK);
    const struct raft_msg_append_result *result = append_result(&rig);
    cr_assert(result && result->rejected && result->no_room);
    cr_assert(result->hint.index == 2 && result->hint.term == 1, "it took two");
    cr_assert_eq(result->room_bytes, 200);
    rig_durable(&rig);
    cr_assert_eq(append_result(&rig)->match, 2);
    rig_append(&rig, 1, (struct raft_pos){ 1, 2 }, "1", 2, 400);
    cr_assert(append_result(&rig)->no_room);
    rig_apply(&rig);
    rig_flush(&rig, 1);
    cr_assert_not(append_result(&rig)->rejected, "told at once");
    cr_assert_eq(append_result(&rig)->room_bytes, 600);
    rig_flush(&rig, 1);
    cr_assert_null(append_result(&rig), "once");
    rig_append(&rig, 1, (struct raft_pos){ 1, 2 }, "1", 2, 400);
    cr_assert_null(append_result(&rig));
    rig_durable(&rig);
    cr_assert_eq(append_result(&rig)->match, 3);
    rig_close(&rig);
}

Test(raft_follower, full_window_in_entries)
{
    struct rig rig = open_rig("", 0);
    rig_append(&rig, 1, none, "11111111111111111", 0, 10);
    cr_assert(append_result(&rig)->no_room);
    cr_assert_eq(append_result(&rig)->hint.index, 16);
    rig_flush(&rig, 0);
    cr_assert_null(append_result(&rig), "there is still none");
    rig_append(&rig, 1, (struct raft_pos){ 1, 16 }, "1", 0, 10);
    cr_assert_eq(append_result(&rig)->room_bytes, 0);
    rig_close(&rig);
}

/* A new leader's first entry must get through a window that is full of bytes, or nothing would be
 * committed any more, and so nothing leave the window. */
Test(raft_follower, noop_needs_no_bytes)
{
    struct rig rig = open_rig("", 0);
    rig_append(&rig, 1, none, "11", 0, 500);
    rig_durable(&rig);
    struct raft_entry e;
    rig_entries(&e, 3, "2", 100);
    struct raft_msg msg = { .type = RAFT_MSG_APPEND,
                            .term = 2,
                            .append = { .prev = { 1, 2 }, .entries = &e, .entry_count = 1 } };
    rig_receive(&rig, msg);
    cr_assert(append_result(&rig)->no_room);
    e.type = RAFT_ENTRY_NOOP;
    rig_receive(&rig, msg);
    rig_durable(&rig);
    cr_assert_eq(append_result(&rig)->match, 3);
    rig_entries_done(&e, "2");
    rig_close(&rig);
}

/* An entry larger than the window passes when it is alone there. */
Test(raft_follower, oversized_entry_passes_alone)
{
    struct rig rig = open_rig("", 0);
    rig_append(&rig, 1, none, "1", 1, 10);
    rig_append(&rig, 1, (struct raft_pos){ 1, 1 }, "1", 1, 5000);
    cr_assert(append_result(&rig)->no_room);
    rig_durable(&rig);
    rig_apply(&rig);
    rig_flush(&rig, 1);
    rig_append(&rig, 1, (struct raft_pos){ 1, 1 }, "1", 1, 5000);
    rig_durable(&rig);
    cr_assert_eq(append_result(&rig)->match, 2);
    rig_close(&rig);
}

Test(raft_follower, flushed_entries_leave_memory_down_to_what_is_kept)
{
    struct rig rig = open_rig("", 0);
    rig_append(&rig, 1, none, "11111111", 8, 40);
    struct block *first = raft_entry_at(rig.raft, 1)->block;
    block_ref(first);
    rig_durable(&rig);
    rig_apply(&rig);
    rig_flush(&rig, 6);
    rig_tick(&rig, 1);
    cr_assert_null(raft_entry_at(rig.raft, 4));
    cr_assert_not_null(raft_entry_at(rig.raft, 5), "100 bytes are kept: 5 and 6");
    cr_assert_eq(first->refs, 1);
    block_unref(first);
    for (uint64_t i = 1; i <= 8; i++)
        cr_assert_eq(raft_term_at(rig.raft, i), 1);
    rig_close(&rig);
}

/* What a large flush makes free is not freed in one step, which would take long. */
Test(raft_follower, flushed_entries_leave_memory_little_by_little)
{
    enum { COUNT = 600, BYTES = 40, A_STEP = 256 };
    struct rig rig = rig_defaults();
    rig.options.window_entries_max = 1024;
    rig.options.window_bytes_max = COUNT * BYTES;
    rig_open(&rig, "");
    for (uint64_t i = 0; i < COUNT; i += 6)
        rig_append(&rig, 1, (struct raft_pos){ i > 0, i }, "111111", COUNT, BYTES);
    rig_durable(&rig);
    rig_apply(&rig);
    rig_flush(&rig, COUNT);
    cr_assert_not_null(raft_entry_at(rig.raft, 1), "not before the next step");
    for (uint64_t gone = A_STEP; gone < COUNT; gone += A_STEP) {
        rig_tick(&rig, 1);
        cr_assert_null(raft_entry_at(rig.raft, gone));
        cr_assert_not_null(raft_entry_at(rig.raft, gone + 1));
    }
    rig_tick(&rig, 1);
    cr_assert_null(raft_entry_at(rig.raft, COUNT - 2));
    cr_assert_not_null(raft_entry_at(rig.raft, COUNT - 1), "100 bytes are kept");
    rig_close(&rig);
}

/* ---- voice ---- */

Test(raft_follower, without_a_voice_it_is_silent)
{
    struct rig rig = open_rig("", 0);
    receive_vote(&rig, 2, 4, false, false);
    raft_set_voice(rig.raft, false);
    rig_durable(&rig);
    cr_assert_eq(rig.ready.message_count, 0, "not even what it owed");
    rig_append(&rig, 9, none, "9", 0, 10);
    cr_assert_eq(rig.ready.persist_seq, 0);
    cr_assert_eq(raft_status(rig.raft).term, 4);
    cr_assert_eq(rig.ready.deadline_ms, UINT64_MAX);
    rig_tick(&rig, 10000);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER);
    raft_set_voice(rig.raft, true);
    rig_tick(&rig, 0);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER, "its timer begins now");
    rig_tick(&rig, 200);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_PRE_CANDIDATE);
    rig_close(&rig);
}

Test(raft_follower, learner_never_campaigns)
{
    struct rig rig = rig_defaults();
    rig.start.config.members[0].roles = RAFT_LEARNER;
    rig_open(&rig, "");
    rig_append(&rig, 1, none, "1", 0, 10);
    rig_durable(&rig);
    cr_assert_eq(append_result(&rig)->match, 1);
    rig_step(&rig, (struct raft_event){ .type = RAFT_EV_LEADER_DEAD });
    rig_tick(&rig, 10000);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER);
    cr_assert_eq(raft_status(rig.raft).leader, 0);
    cr_assert_eq(rig.ready.message_count, 0);
    rig_close(&rig);
}

/* ---- writes in parts ---- */

Test(raft_follower, a_part_of_what_it_was_given_counts_when_it_is_durable)
{
    struct rig rig = open_rig("", 0);
    rig_append(&rig, 1, none, "11", 0, 10);
    rig_append(&rig, 1, (struct raft_pos){ 1, 2 }, "11", 4, 10);
    uint64_t third = raft_persist_seq_at(rig.raft, 3);
    cr_assert_gt(third, raft_persist_seq_at(rig.raft, 2));
    cr_assert_eq(third, raft_persist_seq_at(rig.raft, 4));
    rig_step(&rig, (struct raft_event){ .type = RAFT_EV_DURABLE, .persist_seq = third - 1 });
    cr_assert_eq(append_result(&rig)->match, 2);
    cr_assert_eq(rig.ready.committed.last, 2);
    rig_close(&rig);
}

/* ---- the start ---- */

Test(raft_follower, started_asks_at_once_unless_it_heard_of_a_leader)
{
    struct rig rig = open_rig("", 0);
    rig_step(&rig, (struct raft_event){ .type = RAFT_EV_STARTED });
    cr_assert_eq(raft_status(rig.raft).role, RAFT_PRE_CANDIDATE);
    cr_assert_not(rig_message(&rig, RAFT_MSG_VOTE, 3)->vote.leader_is_dead);
    rig_close(&rig);

    rig = open_rig("", 0);
    receive_heartbeat(&rig, 2, 1);
    rig_step(&rig, (struct raft_event){ .type = RAFT_EV_STARTED });
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER);
    cr_assert_eq(raft_status(rig.raft).leader, 2);
    rig_durable(&rig);
    rig_tick(&rig, 200);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_PRE_CANDIDATE);
    rig_step(&rig, (struct raft_event){ .type = RAFT_EV_STARTED });
    cr_assert_eq(rig.ready.message_count, 0, "it asks already");
    for (uint64_t from = 2; from <= 3; from++)
        rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_VOTE_RESULT,
                                             .from = from,
                                             .term = 1,
                                             .vote_result = { .pre_vote = true } });
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER);
    rig_step(&rig, (struct raft_event){ .type = RAFT_EV_STARTED });
    cr_assert_eq(rig.ready.message_count, 0, "it has heard of a leader once");
    rig_close(&rig);
}

Test(raft_follower, started_without_pre_vote_or_without_a_vote)
{
    struct rig rig = rig_defaults();
    rig.options.pre_vote = false;
    rig_open(&rig, "");
    rig_step(&rig, (struct raft_event){ .type = RAFT_EV_STARTED });
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER);
    rig_close(&rig);
    rig = rig_defaults();
    rig.start.config.members[0].roles = RAFT_LEARNER;
    rig_open(&rig, "");
    rig_step(&rig, (struct raft_event){ .type = RAFT_EV_STARTED });
    cr_assert_eq(raft_status(rig.raft).role, RAFT_FOLLOWER);
    rig_close(&rig);
}

/* Told of a commit index that its own disk does not hold yet, twice. */
Test(raft_follower, commit_ahead_of_its_disk)
{
    struct rig rig = open_rig("", 0);
    rig_append(&rig, 1, none, "1", 1, 10);
    cr_assert_eq(raft_commit_index(rig.raft), 1);
    cr_assert_eq(rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_HEARTBEAT,
                                                      .term = 1,
                                                      .heartbeat = { .commit = 1 } }),
                 RAFT_OK);
    cr_assert_gt(rig.ready.committed.first, rig.ready.committed.last);
    rig_close(&rig);
}

/* ---- the leader is dead ---- */

Test(raft_follower, last_words_do_not_bring_a_dead_leader_back)
{
    struct rig rig = open_rig("", 0);
    rig_append(&rig, 1, none, "1", 0, 10);
    rig_durable(&rig);
    rig_step(&rig, (struct raft_event){ .type = RAFT_EV_LEADER_DEAD });
    cr_assert_eq(raft_status(rig.raft).leader, 0);
    rig_tick(&rig, 5);
    cr_assert_eq(raft_status(rig.raft).role, RAFT_PRE_CANDIDATE);
    cr_assert(rig_message(&rig, RAFT_MSG_VOTE, 3)->vote.leader_is_dead);
    rig.now_ms += 34;
    rig_append(&rig, 1, (struct raft_pos){ 1, 1 }, "1", 0, 10);
    cr_assert_eq(raft_last_pos(rig.raft).index, 2, "what it had sent is welcome");
    cr_assert_eq(raft_status(rig.raft).role, RAFT_PRE_CANDIDATE);
    rig.now_ms += 1;
    receive_heartbeat(&rig, 2, 1);
    cr_assert_eq(raft_status(rig.raft).leader, 2, "it lives after all");
    rig_close(&rig);
}

/* All notice at the same moment. Of the two that are left one asks at once, and the other lets it
 * have the votes; in the next term it is the other way round. */
Test(raft_follower, of_two_that_lose_a_leader_one_asks_first)
{
    for (uint64_t term = 1; term <= 4; term++) {
        uint64_t first = 0;
        for (uint64_t id = 1; id <= 3; id += 2) {
            struct rig rig = rig_defaults();
            rig.options.id = id;
            rig.start.hard.term = term;
            rig_open(&rig, "");
            receive_heartbeat(&rig, 2, term);
            rig_step(&rig, (struct raft_event){ .type = RAFT_EV_LEADER_DEAD });
            if (raft_status(rig.raft).role == RAFT_PRE_CANDIDATE) {
                cr_assert_eq(first, 0, "both ask at once in term %lu", (unsigned long)term);
                first = id;
            } else {
                cr_assert_eq(rig.ready.deadline_ms, rig.now_ms + 5);
            }
            rig_close(&rig);
        }
        cr_assert_eq(first, term % 2 ? 3 : 1);
    }
}

/* Nor do election timeouts of two members ever run out together, whatever the seeds. */
Test(raft_follower, each_member_waits_in_a_slot_of_its_own)
{
    for (uint64_t term = 1; term <= 3; term++) {
        for (uint64_t id = 1; id <= 3; id++) {
            for (uint64_t seed = 0; seed < 200; seed++) {
                struct rig rig = rig_defaults();
                rig.options.id = id;
                rig.options.seed = seed;
                rig.start.hard.term = term;
                rig_open(&rig, "");
                receive_heartbeat(&rig, id % 3 + 1, term);
                uint64_t wait_ms = rig.ready.deadline_ms - rig.now_ms - 100;
                uint64_t slot = (id - 1 + term) % 3;
                cr_assert(wait_ms >= slot * 16 + 4 && wait_ms <= slot * 16 + 12,
                          "member %lu waits %lu ms more", (unsigned long)id,
                          (unsigned long)wait_ms);
                rig_close(&rig);
            }
        }
    }
}

Test(raft_follower, asks_again_soon_while_the_leader_is_dead)
{
    struct rig rig = open_rig("", 0);
    receive_heartbeat(&rig, 2, 1);
    rig_durable(&rig);
    rig_step(&rig, (struct raft_event){ .type = RAFT_EV_LEADER_DEAD });
    for (int i = 0; i < 20; i++) {
        uint64_t wait_ms = rig.ready.deadline_ms - rig.now_ms;
        if (i > 0)
            cr_assert(wait_ms >= 10 && wait_ms < 20);
        rig_tick(&rig, wait_ms);
        cr_assert_not_null(rig_message(&rig, RAFT_MSG_VOTE, 3));
    }
    receive_heartbeat(&rig, 3, 2);
    cr_assert_geq(rig.ready.deadline_ms, rig.now_ms + 100);
    rig_close(&rig);
}

/* ---- reads ---- */

static enum raft_err ask_read(struct rig *rig, uint64_t context)
{
    return rig_step(rig, (struct raft_event){ .type = RAFT_EV_READ, .read = { context } });
}

static uint64_t asked(const struct rig *rig)
{
    return rig_message(rig, RAFT_MSG_READ_INDEX, 2)->read_index.context;
}

static enum raft_err answer(struct rig *rig, uint64_t context, uint64_t index, bool refused)
{
    return rig_receive(rig, (struct raft_msg){ .type = RAFT_MSG_READ_INDEX_RESULT,
                                               .term = raft_status(rig->raft).term,
                                               .read_index_result = { context, index, refused } });
}

Test(raft_follower, an_answer_answers_all_reads_before_it)
{
    struct rig rig = open_rig("", 0);
    receive_heartbeat(&rig, 2, 1);
    ask_read(&rig, 10);
    uint64_t first = asked(&rig);
    ask_read(&rig, 11);
    uint64_t second = asked(&rig);
    ask_read(&rig, 12);
    uint64_t third = asked(&rig);
    answer(&rig, third + 1, 9, false);
    cr_assert_eq(rig.ready.read_count, 0, "never asked");
    answer(&rig, second, 5, false);
    cr_assert_eq(rig.ready.read_count, 2);
    cr_assert(rig.ready.reads[0].context == 10 && rig.ready.reads[0].index == 5);
    cr_assert(rig.ready.reads[1].context == 11 && rig.ready.reads[1].index == 5);
    answer(&rig, first, 4, false);
    cr_assert_eq(rig.ready.read_count, 0, "late");
    answer(&rig, third, 0, true);
    cr_assert(rig.ready.read_count == 1 && rig.ready.reads[0].refused);
    rig_close(&rig);
}

Test(raft_follower, repeats_a_question_that_was_lost)
{
    struct rig rig = open_rig("", 0);
    receive_heartbeat(&rig, 2, 1);
    ask_read(&rig, 10);
    uint64_t first = asked(&rig);
    rig_tick(&rig, 19);
    cr_assert_null(rig_message(&rig, RAFT_MSG_READ_INDEX, 0));
    cr_assert_eq(rig.ready.deadline_ms, rig.now_ms + 1);
    rig_tick(&rig, 1);
    cr_assert_eq(asked(&rig), first);
    rig_close(&rig);
}

Test(raft_follower, refuses_reads_without_a_leader_after_a_timeout)
{
    struct rig rig = open_rig("", 0);
    ask_read(&rig, 10);
    cr_assert_eq(rig.ready.message_count, 0);
    rig_tick(&rig, 99);
    cr_assert_eq(rig.ready.read_count, 0);
    rig_tick(&rig, 1);
    cr_assert(rig.ready.read_count == 1 && rig.ready.reads[0].refused);
    rig_close(&rig);
}

Test(raft_follower, refuses_reads_when_the_leader_changes)
{
    struct rig rig = open_rig("", 0);
    receive_heartbeat(&rig, 3, 1);
    ask_read(&rig, 10);
    rig_step(&rig, (struct raft_event){ .type = RAFT_EV_LEADER_DEAD });
    ask_read(&rig, 11);
    cr_assert_eq(rig.ready.read_count, 0);
    receive_heartbeat(&rig, 2, 2);
    cr_assert_eq(rig.ready.read_count, 1, "asked of the dead leader");
    cr_assert(rig.ready.reads[0].context == 10 && rig.ready.reads[0].refused);
    answer(&rig, asked(&rig), 6, false);
    cr_assert(rig.ready.read_count == 1 && rig.ready.reads[0].context == 11);
    rig_close(&rig);
}

Test(raft_follower, refuses_reads_past_the_cap)
{
    struct rig rig = open_rig("", 0);
    for (uint64_t i = 0; i < RAFT_READS_WAITING_MAX; i++) {
        ask_read(&rig, i);
        cr_assert_eq(rig.ready.read_count, 0);
    }
    ask_read(&rig, 5000);
    cr_assert(rig.ready.read_count == 1 && rig.ready.reads[0].context == 5000);
    cr_assert(rig.ready.reads[0].refused);
    rig_tick(&rig, 100);
    cr_assert_eq(rig.ready.read_count, RAFT_READS_WAITING_MAX, "all at once");
    rig_close(&rig);
}

Test(raft_follower, does_not_confirm_reads_of_others)
{
    struct rig rig = open_rig("", 1);
    rig_receive(&rig, (struct raft_msg){ .type = RAFT_MSG_READ_INDEX, .term = 1 });
    cr_assert(rig_message(&rig, RAFT_MSG_READ_INDEX_RESULT, 2)->read_index_result.refused);
    rig_close(&rig);
}

Test(raft_follower, takes_no_proposals)
{
    struct rig rig = open_rig("", 1);
    cr_assert_eq(rig_propose(&rig, RAFT_ENTRY_COMMAND, 10), RAFT_E_NOT_LEADER);
    rig_close(&rig);
}
