#include <criterion/criterion.h>

#include "server/requests.h"
#include "tests/support/fake_io.h"

enum { COUNT_MAX = 8, TIMEOUT_MS = 1000 };

static struct fake_io *fake;
static struct requests set;
static struct request requests[COUNT_MAX + 1];
static struct request *ended[COUNT_MAX + 1];
static size_t ended_count;

static void on_done(struct request *request)
{
    ended[ended_count++] = request;
}

static void setup(void)
{
    fake = fake_io_new(1);
    requests_init(&set, fake_io_io(fake), COUNT_MAX, TIMEOUT_MS);
}

static void done(void)
{
    requests_fail_all(&set, ETCD_E_STOPPED);
    requests_done(&set);
    fake_io_free(fake);
}

TestSuite(requests, .init = setup, .fini = done);

static struct request *add(size_t i)
{
    requests[i].done = on_done;
    cr_assert(requests_add(&set, &requests[i]));
    return &requests[i];
}

static void add_and_send(size_t first, size_t end, uint64_t term)
{
    for (size_t i = first; i < end; i++)
        requests_sent(&set, add(i), term);
}

/* The queue is these, in this order. */
static void assert_queue(const size_t *order, size_t count)
{
    struct list *at = set.queued.next;
    for (size_t i = 0; i < count; i++, at = at->next)
        cr_assert_eq(LIST_ENTRY(at, struct request, link), &requests[order[i]], "place %zu", i);
    cr_assert_eq(at, &set.queued);
}

Test(requests, are_queued_sent_found_and_finished)
{
    cr_assert_null(requests_queued(&set));
    struct request *r = add(0);
    cr_assert_eq(requests_queued(&set), r);
    cr_assert_eq(requests_find(&set, r->id), r);
    requests_sent(&set, r, 3);
    cr_assert_null(requests_queued(&set));
    cr_assert_eq(requests_find(&set, r->id), r);
    requests_finish(&set, r);
    cr_assert_eq(ended_count, 1);
    cr_assert_null(requests_find(&set, r->id));
    fake_io_advance(fake, 10 * TIMEOUT_MS);
    cr_assert_eq(ended_count, 1, "its timer is gone");
}

Test(requests, nobody_waits_for_id_0)
{
    set.next_id = UINT64_MAX;
    cr_assert_eq(add(0)->id, UINT64_MAX);
    cr_assert_neq(add(1)->id, 0);
    cr_assert_neq(add(2)->id, requests[1].id);
    cr_assert_null(requests_find(&set, 0));
}

static uint64_t random_zero(struct io *io)
{
    (void)io;
    return 0;
}

Test(requests, ids_never_begin_at_0)
{
    struct io_ops ops = *fake_io_io(fake)->ops;
    ops.random = random_zero;
    struct io io = { .ops = &ops };
    struct requests other;
    requests_init(&other, &io, 1, TIMEOUT_MS);
    cr_assert_neq(other.next_id, 0);
    requests_done(&other);
}

Test(requests, have_a_cap)
{
    for (size_t i = 0; i < COUNT_MAX; i++)
        add(i);
    requests[COUNT_MAX].done = on_done;
    cr_assert_not(requests_add(&set, &requests[COUNT_MAX]));
    cr_assert_eq(set.refused, 1);
    requests_cancel(&set, &requests[3]);
    add(COUNT_MAX);
}

Test(requests, time_out_and_say_whether_a_leader_was_lost)
{
    add(0);
    fake_io_advance(fake, TIMEOUT_MS / 2);
    add_and_send(1, 2, 1);
    fake_io_advance(fake, TIMEOUT_MS / 2);
    cr_assert_eq(ended_count, 1);
    cr_assert_eq(requests[0].reply.error, ETCD_E_TIMEOUT);
    set.leader_was_lost = true;
    fake_io_advance(fake, TIMEOUT_MS / 2);
    cr_assert_eq(ended_count, 2);
    cr_assert_eq(requests[1].reply.error, ETCD_E_TIMEOUT_LEADER);
    cr_assert_eq(set.timed_out, 2);
}

Test(requests, of_an_earlier_term_are_sent_again_in_their_order)
{
    add_and_send(0, 2, 3);
    add_and_send(2, 3, 4);
    add_and_send(3, 4, 5);
    add(4);
    requests_on_term_applied(&set, 5);
    assert_queue((const size_t[]){ 0, 1, 2, 4 }, 4);
    requests_on_term_applied(&set, 5);
    assert_queue((const size_t[]){ 0, 1, 2, 4 }, 4);
    cr_assert_eq(requests[3].state, REQUEST_SENT);
    requests_on_term_applied(&set, 6);
    assert_queue((const size_t[]){ 3, 0, 1, 2, 4 }, 5);
}

Test(requests, refused_in_their_term_go_to_the_head)
{
    add_and_send(0, 1, 3);
    add(1);
    requests_on_refused(&set, requests[0].id, 3);
    assert_queue((const size_t[]){ 0, 1 }, 2);
    requests_on_refused(&set, requests[0].id, 3);
    requests_on_refused(&set, requests[1].id, 3);
    requests_on_refused(&set, 12345, 3);
    assert_queue((const size_t[]){ 0, 1 }, 2);
}

/* 1. sent in term 3, refused; 2. the refusal is slow, term 4 is applied, sent again; 3. the
 * refusal arrives while the second try is in the new leader's log. */
Test(requests, a_late_refusal_does_not_send_a_third_time)
{
    add_and_send(0, 1, 3);
    requests_on_term_applied(&set, 4);
    requests_sent(&set, &requests[0], 4);
    requests_on_refused(&set, requests[0].id, 3);
    cr_assert_null(requests_queued(&set));
    cr_assert_eq(requests[0].state, REQUEST_SENT);
}

Test(requests, cancelled_ones_are_told_nothing)
{
    add(0);
    add_and_send(1, 2, 1);
    requests_cancel(&set, &requests[0]);
    requests_cancel(&set, &requests[1]);
    requests_cancel(&set, &requests[1]);
    cr_assert_null(requests_find(&set, requests[1].id));
    requests_on_term_applied(&set, 9);
    requests_fail_all(&set, ETCD_E_STOPPED);
    fake_io_advance(fake, 2 * TIMEOUT_MS);
    cr_assert_eq(ended_count, 0);
}

Test(requests, all_fail_together)
{
    add(0);
    add_and_send(1, 3, 1);
    requests_fail_all(&set, ETCD_E_STOPPED);
    cr_assert_eq(ended_count, 3);
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(requests[i].reply.error, ETCD_E_STOPPED);
}

Test(requests, what_a_snapshot_passed_ends_and_is_not_sent_again)
{
    add_and_send(0, 2, 3);
    add_and_send(2, 4, 5);
    add(4);
    requests_on_skipped(&set, 3);
    cr_assert_eq(ended_count, 2);
    cr_assert_eq(ended[0], &requests[0]);
    cr_assert_eq(ended[1]->reply.error, ETCD_E_TIMEOUT);
    cr_assert_null(requests_find(&set, requests[0].id));
    requests_on_term_applied(&set, 6);
    assert_queue((size_t[]){ 2, 3, 4 }, 3);
}

Test(requests, what_a_lost_link_took_is_sent_again)
{
    cr_assert_not(requests_on_link_lost(&set, 3), "nothing was under way");
    add_and_send(0, 1, 2);
    add_and_send(1, 3, 3);
    cr_assert(requests_on_link_lost(&set, 3));
    add_and_send(3, 4, 3);
    requests_on_reach(&set, 3, 1, 50);
    requests_on_applied(&set, 60);
    assert_queue(NULL, 0); /* that answer was to an earlier loss */
    requests_on_reach(&set, 3, 2, 70);
    requests_on_applied(&set, 69);
    assert_queue(NULL, 0);
    requests_on_applied(&set, 70);
    assert_queue((size_t[]){ 1, 2 }, 2);
    requests_sent(&set, &requests[1], 3);
    requests_on_applied(&set, 80);
    assert_queue((size_t[]){ 2 }, 1);
}
