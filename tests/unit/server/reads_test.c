#include <criterion/criterion.h>

#include "server/reads.h"
#include "tests/support/fake_io.h"

enum { COUNT_MAX = 12, TIMEOUT_MS = 1000 };

static struct fake_io *fake;
static struct reads set;
static struct read reads[COUNT_MAX + 1];
static struct {
    size_t read;
    enum etcd_error error;
} ended[COUNT_MAX + 1];
static size_t ended_count;

static void on_done(struct read *read, enum etcd_error error)
{
    ended[ended_count].read = (size_t)(read - reads);
    ended[ended_count++].error = error;
}

static void setup(void)
{
    fake = fake_io_new(1);
    reads_init(&set, fake_io_io(fake), COUNT_MAX, TIMEOUT_MS);
}

static void done(void)
{
    reads_fail_all(&set, ETCD_E_STOPPED);
    cr_assert_eq(set.count, 0);
    fake_io_free(fake);
}

TestSuite(reads, .init = setup, .fini = done);

static void add(size_t i)
{
    reads[i].done = on_done;
    cr_assert(reads_add(&set, &reads[i]));
}

static void assert_ended(const size_t *order, size_t count)
{
    cr_assert_eq(ended_count, count);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(ended[i].read, order[i], "place %zu", i);
        cr_assert_eq(ended[i].error, ETCD_OK);
    }
}

Test(reads, wait_for_a_confirmation_and_then_for_its_index)
{
    cr_assert_eq(reads_next_context(&set), 0, "nothing gathered");
    add(0);
    reads_on_applied(&set, 100);
    cr_assert_eq(ended_count, 0, "not confirmed");
    uint64_t context = reads_next_context(&set);
    cr_assert_neq(context, 0);
    add(1); /* after the question: it has to ask itself */
    reads_on_confirmed(&set, context, 7);
    reads_on_applied(&set, 6);
    cr_assert_eq(ended_count, 0);
    reads_on_applied(&set, 7);
    assert_ended((const size_t[]){ 0 }, 1);
}

Test(reads, an_answer_holds_for_all_that_were_asked_before)
{
    uint64_t contexts[3];
    for (size_t i = 0; i < 3; i++) {
        add(i);
        contexts[i] = reads_next_context(&set);
    }
    reads_on_confirmed(&set, contexts[1], 5);
    reads_on_applied(&set, 5);
    assert_ended((const size_t[]){ 0, 1 }, 2);
    reads_on_confirmed(&set, contexts[0], 5);
    reads_on_confirmed(&set, contexts[2], 4);
    reads_on_applied(&set, 5);
    assert_ended((const size_t[]){ 0, 1, 2 }, 3);
}

Test(reads, end_in_the_order_of_their_indexes)
{
    uint64_t contexts[3];
    static const uint64_t indexes[] = { 9, 5, 7 };
    for (size_t i = 0; i < 3; i++) {
        add(i);
        contexts[i] = reads_next_context(&set);
    }
    for (size_t i = 0; i < 3; i++)
        reads_on_confirmed(&set, contexts[i], indexes[i]);
    reads_on_applied(&set, 7);
    assert_ended((const size_t[]){ 1, 2 }, 2);
    reads_on_applied(&set, 9);
    assert_ended((const size_t[]){ 1, 2, 0 }, 3);
}

Test(reads, a_few_questions_are_under_way_and_further_reads_share_the_next)
{
    uint64_t first = 0;
    for (size_t i = 0; i < READS_CONTEXTS_MAX; i++) {
        add(i);
        uint64_t context = reads_next_context(&set);
        cr_assert_neq(context, 0);
        first = first ? first : context;
    }
    add(READS_CONTEXTS_MAX);
    add(READS_CONTEXTS_MAX + 1);
    cr_assert_eq(reads_next_context(&set), 0);
    reads_on_confirmed(&set, first, 1);
    uint64_t shared = reads_next_context(&set);
    cr_assert_neq(shared, 0);
    cr_assert_eq(reads_next_context(&set), 0);
    reads_on_confirmed(&set, shared, 1);
    reads_on_applied(&set, 1);
    cr_assert_eq(ended_count, READS_CONTEXTS_MAX + 2);
}

Test(reads, refused_ones_ask_again)
{
    add(0);
    uint64_t first = reads_next_context(&set);
    add(1);
    reads_on_refused(&set, first);
    uint64_t second = reads_next_context(&set);
    cr_assert_gt(second, first);
    reads_on_confirmed(&set, first, 1);
    reads_on_applied(&set, 1);
    cr_assert_eq(ended_count, 0, "the first question's answer is nobody's now");
    reads_on_confirmed(&set, second, 1);
    reads_on_applied(&set, 1);
    cr_assert_eq(ended_count, 2);
}

Test(reads, cancelled_ones_do_not_block_the_contexts)
{
    for (size_t i = 0; i < READS_CONTEXTS_MAX; i++) {
        add(i);
        uint64_t context = reads_next_context(&set);
        reads_cancel(&set, &reads[i]);
        reads_cancel(&set, &reads[i]);
        reads_on_confirmed(&set, context, 1);
    }
    reads_on_applied(&set, 1);
    cr_assert_eq(ended_count, 0);
    add(0);
    cr_assert_neq(reads_next_context(&set), 0);
}

Test(reads, have_a_cap_and_a_time_out)
{
    for (size_t i = 0; i < COUNT_MAX; i++)
        add(i);
    reads[COUNT_MAX].done = on_done;
    cr_assert_not(reads_add(&set, &reads[COUNT_MAX]));
    cr_assert_eq(set.refused, 1);
    uint64_t context = reads_next_context(&set);
    fake_io_advance(fake, TIMEOUT_MS);
    cr_assert_eq(ended_count, COUNT_MAX);
    cr_assert_eq(ended[0].error, ETCD_E_TIMEOUT);
    cr_assert_eq(set.timed_out, COUNT_MAX);
    reads_on_confirmed(&set, context, 1);
    reads_on_applied(&set, 1);
    cr_assert_eq(ended_count, COUNT_MAX);
    set.leader_was_lost = true;
    add(0);
    ended_count = 0;
    fake_io_advance(fake, TIMEOUT_MS);
    cr_assert_eq(ended[0].error, ETCD_E_TIMEOUT_LEADER);
}

Test(reads, all_fail_together)
{
    add(0);
    uint64_t context = reads_next_context(&set);
    add(1);
    reads_on_confirmed(&set, context, 50);
    add(2);
    reads_next_context(&set);
    reads_fail_all(&set, ETCD_E_STOPPED);
    cr_assert_eq(ended_count, 3);
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(ended[i].error, ETCD_E_STOPPED);
}
