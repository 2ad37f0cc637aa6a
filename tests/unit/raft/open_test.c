/* Options and persisted state: what is refused, and what a start brings back. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/support/raft_rig.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MAX          (UINT64_MAX / 2) /* of terms and indexes */

struct knob {
    const char *name;
    size_t offset;
    size_t size;
    uint64_t value;
};

#define KNOB(field, v)                                               \
    {                                                                \
#field " = " #v, offsetof(struct raft_options, field),       \
            sizeof(((struct raft_options *)0)->field), (uint64_t)(v) \
    }

static const struct knob bad_knobs[] = {
    KNOB(id, 0),
    KNOB(election_timeout_ms, 49),
    KNOB(election_timeout_ms, 50001),
    KNOB(heartbeat_ms, 0),
    KNOB(heartbeat_ms, 21),
    KNOB(window_entries_max, 0),
    KNOB(window_entries_max, 2),
    KNOB(window_entries_max, 24),
    KNOB(window_entries_max, 1u << 31),
    KNOB(window_bytes_max, 0),
    KNOB(window_bytes_keep, 1001),
    KNOB(uncommitted_bytes_max, 0),
    KNOB(uncommitted_bytes_max, 1001),
    KNOB(append_bytes_max, 0),
    KNOB(inflight_max, 0),
    KNOB(inflight_max, 1025),
    KNOB(inflight_bytes_max, 0),
};

Test(raft_open, refuses_options_out_of_bounds)
{
    for (size_t i = 0; i < COUNT(bad_knobs); i++) {
        struct rig rig = rig_defaults();
        cr_assert_gt(raft_memory_bytes(&rig.options), 0);
        memcpy((char *)&rig.options + bad_knobs[i].offset, &bad_knobs[i].value, bad_knobs[i].size);
        struct raft *r = NULL;
        cr_assert_eq(raft_memory_bytes(&rig.options), 0, "%s", bad_knobs[i].name);
        cr_assert_eq(raft_open(&r, NULL, &rig.options, &rig.start), RAFT_E_OPTIONS, "%s",
                     bad_knobs[i].name);
        cr_assert_null(r);
    }
}

static const struct raft_term_start starts_3_5[] = { { 2, 4 }, { 3, 6 } };
static const struct raft_term_start starts_fall[] = { { 3, 4 }, { 2, 6 } };
static const struct raft_term_start starts_twice[] = { { 2, 4 }, { 3, 4 } };
static const struct raft_term_start starts_late[] = { { 2, 5 }, { 3, 6 } };
static const struct raft_term_start starts_none[] = { { 0, 1 }, { 3, 2 } };
static const struct raft_term_start starts_past[] = { { 2, 4 }, { 3, 8 } };

#define STARTS(array) .term_starts = array, .term_start_count = COUNT(array)

static const struct {
    const char *what;
    struct raft_start start; /* config: as in rig_defaults when it has no members */
    enum raft_err err;
} starts[] = {
    { "blank", { .hard = { 0 } }, RAFT_OK },
    { "a log in the store",
      { .hard = { 3, 1, 7 }, .log_start = { 1, 3 }, .flushed = { 3, 7 }, STARTS(starts_3_5) },
      RAFT_OK },
    { "vote without a term", { .hard = { 0, 2, 0 } }, RAFT_E_STATE },
    { "term below the log's",
      { .hard = { 2, 0, 0 }, .log_start = { 1, 3 }, .flushed = { 3, 7 }, STARTS(starts_3_5) },
      RAFT_E_STATE },
    { "index without a term", { .hard = { 3 }, .flushed = { 0, 7 } }, RAFT_E_STATE },
    { "term without an index", { .hard = { 3 }, .flushed = { 3, 0 } }, RAFT_E_STATE },
    { "an index past all bounds",
      { .hard = { 3 }, .log_start = { 3, MAX + 1 }, .flushed = { 3, MAX + 1 } },
      RAFT_E_STATE },
    { "a term past all bounds",
      { .hard = { MAX + 1 }, .log_start = { MAX + 1, 3 }, .flushed = { MAX + 1, 3 } },
      RAFT_E_STATE },
    { "a hard term past all bounds", { .hard = { MAX + 1 } }, RAFT_E_STATE },
    { "the start alone", { .hard = { 3 }, .log_start = { 3, 7 }, .flushed = { 3, 7 } }, RAFT_OK },
    { "the start, of two terms",
      { .hard = { 3 }, .log_start = { 2, 7 }, .flushed = { 3, 7 } },
      RAFT_E_STATE },
    { "the start, and term starts behind it",
      { .hard = { 3 }, .log_start = { 3, 3 }, .flushed = { 3, 3 }, STARTS(starts_3_5) },
      RAFT_E_STATE },
    { "a count of term starts that are not there",
      { .hard = { 3 }, .log_start = { 1, 3 }, .flushed = { 3, 7 }, .term_start_count = 2 },
      RAFT_E_STATE },
    { "term starts before the start's term",
      { .hard = { 3 }, .log_start = { 3, 3 }, .flushed = { 3, 7 }, STARTS(starts_3_5) },
      RAFT_E_STATE },
    { "a term start of no term",
      { .hard = { 3 }, .flushed = { 3, 7 }, STARTS(starts_none) },
      RAFT_E_STATE },
    { "a start without a flushed index",
      { .hard = { 3 }, .log_start = { 0, 3 }, .flushed = { 3, 7 }, STARTS(starts_3_5) },
      RAFT_E_STATE },
    { "flushed before the start",
      { .hard = { 3 }, .log_start = { 2, 3 }, .flushed = { 1, 2 } },
      RAFT_E_STATE },
    { "no term starts",
      { .hard = { 3 }, .log_start = { 1, 3 }, .flushed = { 3, 7 } },
      RAFT_E_STATE },
    { "term starts begin late",
      { .hard = { 3 }, .log_start = { 1, 3 }, .flushed = { 3, 7 }, STARTS(starts_late) },
      RAFT_E_STATE },
    { "term starts fall",
      { .hard = { 3 }, .log_start = { 1, 3 }, .flushed = { 2, 7 }, STARTS(starts_fall) },
      RAFT_E_STATE },
    { "two terms at one index",
      { .hard = { 3 }, .log_start = { 1, 3 }, .flushed = { 3, 7 }, STARTS(starts_twice) },
      RAFT_E_STATE },
    { "a term starts past the log",
      { .hard = { 3 }, .log_start = { 1, 3 }, .flushed = { 3, 7 }, STARTS(starts_past) },
      RAFT_E_STATE },
    { "the last term is another",
      { .hard = { 4 }, .log_start = { 1, 3 }, .flushed = { 4, 7 }, STARTS(starts_3_5) },
      RAFT_E_STATE },
    { "members out of order",
      { .config = { 2, { { 2, RAFT_VOTER }, { 1, RAFT_VOTER } } } },
      RAFT_E_STATE },
    { "a member twice",
      { .config = { 2, { { 1, RAFT_VOTER }, { 1, RAFT_VOTER } } } },
      RAFT_E_STATE },
    { "member 0", { .config = { 1, { { 0, RAFT_VOTER } } } }, RAFT_E_STATE },
    { "a member without a role", { .config = { 1, { { 1, 0 } } } }, RAFT_E_STATE },
    { "an unknown role", { .config = { 1, { { 1, RAFT_VOTER | 8 } } } }, RAFT_E_STATE },
    { "voter and learner at once",
      { .config = { 1, { { 1, RAFT_VOTER | RAFT_LEARNER } } } },
      RAFT_E_STATE },
    { "no voter", { .config = { 1, { { 1, RAFT_LEARNER } } } }, RAFT_E_STATE },
    { "too many members", { .config = { RAFT_MEMBERS_MAX + 1, { { 1, 1 } } } }, RAFT_E_STATE },
};

Test(raft_open, refuses_contradicting_state)
{
    for (size_t i = 0; i < COUNT(starts); i++) {
        struct rig rig = rig_defaults();
        struct raft_start start = starts[i].start;
        if (start.config.member_count == 0)
            start.config = rig.start.config;
        void *memory = malloc(raft_memory_bytes(&rig.options));
        struct raft *r = NULL;
        cr_assert_eq(raft_open(&r, memory, &rig.options, &start), starts[i].err, "%s",
                     starts[i].what);
        raft_close(r);
        free(memory);
    }
}

Test(raft_open, restore_refuses_what_does_not_follow)
{
    static const struct {
        const char *what;
        struct raft_pos pos;
        enum raft_err err;
    } rows[] = {
        { "a gap", { 2, 4 }, RAFT_E_STATE },
        { "the same index", { 2, 2 }, RAFT_E_STATE },
        { "an earlier term", { 1, 3 }, RAFT_E_STATE },
        { "no term", { 0, 3 }, RAFT_E_STATE },
        { "past the hard state", { 4, 3 }, RAFT_E_STATE },
        { "the next", { 3, 3 }, RAFT_OK },
    };
    struct rig rig = rig_defaults();
    rig.start.hard.term = 3;
    rig_open(&rig, "12");
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct block *b = block_new(8);
        struct raft_entry e = { rows[i].pos, RAFT_ENTRY_COMMAND, slice_of(b->data, 8), b };
        cr_assert_eq(raft_restore_entry(rig.raft, &e, NULL), rows[i].err, "%s", rows[i].what);
        block_unref(b);
    }
    rig_close(&rig);
}

Test(raft_open, restore_refuses_an_entry_of_no_term)
{
    struct rig rig = rig_defaults();
    rig_open(&rig, "");
    struct raft_entry e = { .pos = { 0, 1 }, .type = RAFT_ENTRY_COMMAND };
    cr_assert_eq(raft_restore_entry(rig.raft, &e, NULL), RAFT_E_STATE);
    rig_close(&rig);
}

Test(raft_open, restore_refuses_what_is_past_all_bounds)
{
    struct rig rig = rig_defaults();
    rig.start.hard.term = 1;
    rig.start.log_start = (struct raft_pos){ 1, MAX };
    rig.start.flushed = rig.start.log_start;
    rig_open(&rig, "");
    struct raft_entry e = { .pos = { 1, MAX + 1 }, .type = RAFT_ENTRY_COMMAND };
    cr_assert_eq(raft_restore_entry(rig.raft, &e, NULL), RAFT_E_STATE);
    rig_close(&rig);
}

Test(raft_open, restore_refuses_more_than_the_window)
{
    struct rig rig = rig_defaults();
    rig.start.hard.term = 1;
    rig_open(&rig, "1111111111111111");
    struct block *b = block_new(8);
    struct raft_entry e = { { 1, 17 }, RAFT_ENTRY_COMMAND, slice_of(b->data, 8), b };
    cr_assert_eq(raft_restore_entry(rig.raft, &e, NULL), RAFT_E_FULL);
    cr_assert_eq(b->refs, 1, "no reference is kept");
    block_unref(b);
    rig_close(&rig);
}

/* The commit index on the disk may be ahead of a tail that a crash took. */
Test(raft_open, hands_out_what_was_committed)
{
    static const struct {
        uint64_t commit, first, last;
    } rows[] = { { 0, 1, 0 }, { 9, 8, 9 }, { 99, 8, 10 }, { 3, 1, 0 } };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct rig rig = rig_defaults();
        rig.start = (struct raft_start){ .hard = { 3, 1, rows[i].commit },
                                         .config = rig.start.config,
                                         .log_start = { 1, 3 },
                                         .flushed = { 3, 7 },
                                         STARTS(starts_3_5),
                                         .now_ms = rig.now_ms };
        rig_open(&rig, "333");
        rig_tick(&rig, 0);
        cr_assert_eq(rig.ready.committed.first, rows[i].first);
        cr_assert_eq(rig.ready.committed.last, rows[i].last);
        rig_close(&rig);
    }
}

Test(raft_open, terms_of_indexes_that_are_not_in_memory)
{
    static const uint64_t terms[] = { 0, 0, 0, 1, 2, 2, 3, 3, 3, 4, 0 };
    struct rig rig = rig_defaults();
    rig.start = (struct raft_start){ .hard = { 4, 1, 7 },
                                     .config = rig.start.config,
                                     .log_start = { 1, 3 },
                                     .flushed = { 3, 7 },
                                     STARTS(starts_3_5),
                                     .now_ms = rig.now_ms };
    rig_open(&rig, "34");
    for (uint64_t i = 0; i < COUNT(terms); i++)
        cr_assert_eq(raft_term_at(rig.raft, i), terms[i], "index %lu", (unsigned long)i);
    struct raft_term_start out[4];
    cr_assert_eq(raft_term_starts(rig.raft, 8, out, 4), 2);
    cr_assert(out[0].term == 2 && out[0].first_index == 4);
    cr_assert(out[1].term == 3 && out[1].first_index == 6);
    cr_assert_eq(raft_term_starts(rig.raft, 9, out, 4), 3);
    cr_assert_eq(raft_term_starts(rig.raft, 9, out, 1), 1);
    cr_assert(out[0].term == 4 && out[0].first_index == 9, "the newest ones");
    cr_assert_eq(raft_term_starts(rig.raft, 3, out, 4), 0);
    cr_assert_null(raft_entry_at(rig.raft, 7));
    cr_assert_not_null(raft_entry_at(rig.raft, 8));
    rig_close(&rig);
}

/* More terms than there is room for: the oldest are forgotten, and the log begins later. */
Test(raft_open, forgets_the_oldest_terms)
{
    enum { TERMS = 3000 };
    static struct raft_term_start many[TERMS];
    for (uint64_t i = 0; i < TERMS; i++)
        many[i] = (struct raft_term_start){ .term = i + 1, .first_index = i + 1 };
    struct rig rig = rig_defaults();
    rig.start.hard.term = TERMS;
    rig.start.flushed = (struct raft_pos){ TERMS, TERMS };
    rig.start.term_starts = many;
    rig.start.term_start_count = TERMS;
    rig_open(&rig, "");
    cr_assert_eq(raft_term_at(rig.raft, TERMS), TERMS);
    cr_assert_eq(raft_term_at(rig.raft, TERMS - 500), TERMS - 500);
    cr_assert_eq(raft_term_at(rig.raft, 1), 0);
    rig_close(&rig);
}

Test(raft_open, close_takes_null)
{
    raft_close(NULL);
}

Test(raft_open, errors_have_texts)
{
    cr_assert_str_eq(raft_strerror(RAFT_OK), "ok");
    cr_assert_str_eq(raft_strerror(RAFT_E_NOT_LEADER), "not the leader");
    for (int err = RAFT_OK; err <= RAFT_E_TRANSFEREE; err++)
        cr_assert_str_neq(raft_strerror((enum raft_err)err), "unknown error");
    cr_assert_str_eq(raft_strerror((enum raft_err)99), "unknown error");
}

/* A member that was added begins with nothing, and learns from the log who the others are. */
Test(raft_open, a_member_that_joins_knows_nobody)
{
    struct rig rig = rig_defaults();
    rig.start.config.member_count = 0;
    rig_open(&rig, "");
    rig_tick(&rig, 10000);
    cr_assert_eq(rig.ready.status.role, RAFT_FOLLOWER);
    cr_assert_eq(rig.ready.message_count, 0, "it does not campaign");
    struct raft_msg heartbeat = { .type = RAFT_MSG_HEARTBEAT, .term = 4 };
    cr_assert_eq(rig_receive(&rig, heartbeat), RAFT_OK);
    rig_tick(&rig, 1);
    cr_assert_eq(raft_status(rig.raft).leader, 2, "a stranger may lead it");
    rig_durable(&rig);
    cr_assert_eq(rig_append(&rig, 4, (struct raft_pos){ 0 }, "44", 0, 10), RAFT_OK);
    rig_durable(&rig);
    const struct raft_msg *answer = rig_message(&rig, RAFT_MSG_APPEND_RESULT, 2);
    cr_assert_not_null(answer);
    cr_assert_eq(answer->append_result.match, 2);
    rig_close(&rig);
}
