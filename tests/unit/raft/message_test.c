/* Impossible messages are refused and change nothing: not a byte of the core's memory. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "raft/raft_internal.h"
#include "tests/support/raft_rig.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What is wrong in a message to a follower of term 5 with log 1 1 4 5 5, committed up to 3, that
 * has taken 4 and 5 from its leader, member 2. */
static const struct {
    const char *what;
    struct raft_msg msg;
} for_follower[] = {
    { "unknown sender", { .type = RAFT_MSG_HEARTBEAT, .from = 9, .term = 5 } },
    { "from itself", { .type = RAFT_MSG_HEARTBEAT, .from = 1, .term = 5 } },
    { "no term", { .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 0 } },
    { "a term past all bounds",
      { .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = RAFT_TERM_MAX + 1 } },
    { "unknown type", { .type = (enum raft_msg_type)99, .from = 2, .term = 5 } },
    { "second leader's append",
      { .type = RAFT_MSG_APPEND, .from = 3, .term = 5, .append = { .prev = { 5, 5 } } } },
    { "second leader's heartbeat", { .type = RAFT_MSG_HEARTBEAT, .from = 3, .term = 5 } },
    { "commit past what it acknowledged",
      { .type = RAFT_MSG_HEARTBEAT, .from = 2, .term = 5, .heartbeat = { .commit = 6 } } },
    { "commit of a term that it never acknowledged anything in",
      { .type = RAFT_MSG_HEARTBEAT, .from = 3, .term = 6, .heartbeat = { .commit = 4 } } },
    { "prev with index and no term",
      { .type = RAFT_MSG_APPEND, .from = 2, .term = 5, .append = { .prev = { 0, 5 } } } },
    { "prev with term and no index",
      { .type = RAFT_MSG_APPEND, .from = 2, .term = 5, .append = { .prev = { 5, 0 } } } },
    { "prev of a later term",
      { .type = RAFT_MSG_APPEND, .from = 2, .term = 5, .append = { .prev = { 6, 5 } } } },
    { "prev contradicts what is committed",
      { .type = RAFT_MSG_APPEND, .from = 2, .term = 5, .append = { .prev = { 2, 3 } } } },
    { "prev contradicts what the same leader said",
      { .type = RAFT_MSG_APPEND, .from = 2, .term = 5, .append = { .prev = { 4, 5 } } } },
    { "prev contradicts what is committed, later term",
      { .type = RAFT_MSG_APPEND, .from = 3, .term = 6, .append = { .prev = { 2, 3 } } } },
    { "index overflow",
      { .type = RAFT_MSG_APPEND,
        .from = 2,
        .term = 5,
        .append = { .prev = { 5, RAFT_INDEX_MAX }, .entry_count = 1 } } },
    { "entries that are not there",
      { .type = RAFT_MSG_APPEND,
        .from = 2,
        .term = 5,
        .append = { .prev = { 5, 5 }, .entry_count = 1 } } },
    { "candidate whose log is as late as its term",
      { .type = RAFT_MSG_VOTE, .from = 3, .term = 6, .vote = { .last = { 6, 9 } } } },
    { "candidate with index and no term",
      { .type = RAFT_MSG_VOTE, .from = 3, .term = 6, .vote = { .last = { 0, 9 } } } },
};

static struct rig follower(void)
{
    struct rig rig = rig_defaults();
    rig.start.hard = (struct raft_hard_state){ .term = 4, .commit = 3 };
    rig_open(&rig, "114");
    cr_assert_eq(rig_append(&rig, 5, (struct raft_pos){ 4, 3 }, "55", 3, 10), RAFT_OK);
    rig_durable(&rig);
    cr_assert_eq(raft_commit_index(rig.raft), 3);
    return rig;
}

static void expect_refused(struct rig *rig, struct raft_msg msg, const char *what)
{
    size_t bytes = raft_memory_bytes(&rig->options);
    void *before = malloc(bytes);
    memcpy(before, rig->memory, bytes);
    rig->now_ms++;
    cr_assert_eq(rig_receive(rig, msg), RAFT_E_MESSAGE, "%s", what);
    cr_assert_eq(memcmp(before, rig->memory, bytes), 0, "%s: something changed", what);
    cr_assert(rig->ready.message_count == 0 && rig->ready.persist_seq == 0 &&
                  !rig->ready.status_changed && rig->ready.deadline_ms > 0,
              "%s", what);
    free(before);
}

Test(raft_message, impossible_for_a_follower)
{
    struct rig rig = follower();
    for (size_t i = 0; i < COUNT(for_follower); i++)
        expect_refused(&rig, for_follower[i].msg, for_follower[i].what);
    rig_close(&rig);
}

static const struct {
    const char *what;
    uint64_t term;
    struct raft_pos prev;
    const char *terms;
} bad_entries[] = {
    { "terms fall", 5, { 5, 5 }, "54" },
    { "below the term before them", 5, { 5, 5 }, "4" },
    { "above the message's term", 5, { 5, 5 }, "56" },
    { "replace what is committed", 5, { 1, 1 }, "24" },
    { "replace what is committed, later term", 6, { 1, 1 }, "26" },
    { "replace what the same leader sent", 5, { 4, 3 }, "45" },
    { "without a term", 5, { 0, 0 }, "0" },
};

Test(raft_message, impossible_entries)
{
    struct rig rig = follower();
    struct raft_entry entries[RIG_ENTRIES_MAX];
    for (size_t i = 0; i < COUNT(bad_entries); i++) {
        rig_entries(entries, bad_entries[i].prev.index + 1, bad_entries[i].terms, 10);
        struct raft_msg msg = { .type = RAFT_MSG_APPEND,
                                .term = bad_entries[i].term,
                                .append = { .prev = bad_entries[i].prev,
                                            .entries = entries,
                                            .entry_count =
                                                (uint32_t)strlen(bad_entries[i].terms) } };
        expect_refused(&rig, msg, bad_entries[i].what);
        rig_entries_done(entries, bad_entries[i].terms);
    }
    struct raft_entry bare = { .pos = { 5, 6 }, .type = RAFT_ENTRY_COMMAND };
    expect_refused(
        &rig,
        (struct raft_msg){ .type = RAFT_MSG_APPEND,
                           .term = 5,
                           .append = { .prev = { 5, 5 }, .entries = &bare, .entry_count = 1 } },
        "without bytes");
    rig_entries(entries, 7, "5", 10);
    expect_refused(&rig,
                   (struct raft_msg){
                       .type = RAFT_MSG_APPEND, .term = 5, .append = { { 5, 5 }, 0, entries, 1 } },
                   "not consecutive");
    rig_entries_done(entries, "5");
    rig_close(&rig);
}

/* To the leader of term 1 whose log ends at 1. */
static const struct {
    const char *what;
    struct raft_msg msg;
} for_leader[] = {
    { "match past our last",
      { .type = RAFT_MSG_APPEND_RESULT, .term = 1, .append_result = { .match = 2 } } },
    { "rejected what we never sent",
      { .type = RAFT_MSG_APPEND_RESULT,
        .term = 1,
        .append_result = { .rejected = true, .rejected_prev = 2 } } },
    { "hint above what it rejects",
      { .type = RAFT_MSG_APPEND_RESULT,
        .term = 1,
        .append_result = { .rejected = true, .rejected_prev = 1, .hint = { 1, 2 } } } },
    { "hint of a later term",
      { .type = RAFT_MSG_APPEND_RESULT,
        .term = 1,
        .append_result = { .rejected = true, .rejected_prev = 1, .hint = { 2, 1 } } } },
    { "a round that never began",
      { .type = RAFT_MSG_HEARTBEAT_RESULT, .term = 1, .heartbeat_result = { .round = 99 } } },
    { "another leader in our term",
      { .type = RAFT_MSG_APPEND, .term = 1, .append = { .prev = { 1, 1 } } } },
    { "another leader's heartbeat in our term", { .type = RAFT_MSG_HEARTBEAT, .term = 1 } },
};

Test(raft_message, impossible_for_a_leader)
{
    struct rig rig = rig_defaults();
    rig_open(&rig, "");
    rig_elect(&rig);
    for (size_t i = 0; i < COUNT(for_leader); i++) {
        struct raft_msg msg = for_leader[i].msg;
        msg.from = 2;
        expect_refused(&rig, msg, for_leader[i].what);
    }
    rig_close(&rig);
}

Test(raft_message, misdirected)
{
    struct rig rig = follower();
    struct raft_msg msg = { .type = RAFT_MSG_HEARTBEAT, .from = 2, .to = 3, .term = 5 };
    struct raft_event event = { .type = RAFT_EV_MESSAGE, .message = msg };
    cr_assert_eq(rig_step(&rig, event), RAFT_E_MESSAGE, "to another");
    event.message.to = 1;
    event.message.from = 0;
    cr_assert_eq(rig_step(&rig, event), RAFT_E_MESSAGE, "from nobody");
    rig_close(&rig);
}
