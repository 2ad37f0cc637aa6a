/* Leadership that goes from one to another, or stays, as golden traces (trace_test.c). */
#include <criterion/criterion.h>

#include "base/assert.h"
#include "tests/support/raft_golden.h"

static const char trace_transfer[] = "133ms n1 persist 2-2\n"
                                     "133ms n1 append term=1 prev=1.1 count=1 commit=1 to=n2\n"
                                     "133ms n1 append term=1 prev=1.1 count=1 commit=1 to=n3\n"
                                     "133ms n1 transfer to=n3\n"
                                     "134ms n1 durable\n"
                                     "134ms n2 persist 2-2\n"
                                     "134ms n3 persist 2-2\n"
                                     "135ms n2 durable\n"
                                     "135ms n2 accept term=1 match=2 to=n1\n"
                                     "135ms n3 durable\n"
                                     "135ms n3 accept term=1 match=2 to=n1\n"
                                     "136ms n1 apply 2-2\n"
                                     "136ms n1 append term=1 prev=1.2 count=0 commit=2 to=n2\n"
                                     "136ms n1 append term=1 prev=1.2 count=0 commit=2 to=n3\n"
                                     "136ms n1 timeoutnow term=1 to=n3\n"
                                     "137ms n2 apply 2-2\n"
                                     "137ms n3 apply 2-2\n"
                                     "137ms n3 candidate term=2 leader=n0\n"
                                     "137ms n3 persist term=2 vote=n3\n"
                                     "138ms n3 durable\n"
                                     "138ms n3 vote term=2 last=1.2 transfer to=n1\n"
                                     "138ms n3 vote term=2 last=1.2 transfer to=n2\n"
                                     "139ms n1 follower term=2 leader=n0\n"
                                     "139ms n1 persist term=2 vote=n3\n"
                                     "139ms n2 follower term=2 leader=n0\n"
                                     "139ms n2 persist term=2 vote=n3\n"
                                     "140ms n1 durable\n"
                                     "140ms n1 grant term=2 to=n3\n"
                                     "140ms n2 durable\n"
                                     "140ms n2 grant term=2 to=n3\n"
                                     "141ms n3 leader term=2 leader=n3\n"
                                     "141ms n3 persist 3-3\n"
                                     "141ms n3 append term=2 prev=1.2 count=1 commit=2 to=n1\n"
                                     "141ms n3 append term=2 prev=1.2 count=1 commit=2 to=n2\n"
                                     "142ms n1 follower term=2 leader=n3\n"
                                     "142ms n2 follower term=2 leader=n3\n"
                                     "142ms n3 durable\n"
                                     "142ms n1 persist 3-3\n"
                                     "142ms n1 accept term=2 match=2 to=n3\n"
                                     "142ms n2 persist 3-3\n"
                                     "142ms n2 accept term=2 match=2 to=n3\n"
                                     "143ms n1 durable\n"
                                     "143ms n1 accept term=2 match=3 to=n3\n"
                                     "143ms n2 durable\n"
                                     "143ms n2 accept term=2 match=3 to=n3\n"
                                     "144ms n3 apply 3-3\n"
                                     "144ms n3 append term=2 prev=2.3 count=0 commit=3 to=n1\n"
                                     "144ms n3 append term=2 prev=2.3 count=0 commit=3 to=n2\n"
                                     "145ms n1 apply 3-3\n"
                                     "145ms n2 apply 3-3\n";

/* Thesis §3.10: no more proposals, the target gets what it lacks, and campaigns at once; the others
 * vote for it though they have just heard from the leader. */
Test(raft_trace_handover, transfer)
{
    struct cluster *c = golden_started(cluster_defaults(3, 1));
    cr_assert_eq(cluster_leader(c), 1);
    cluster_trace_begin(c);
    IGNORE(cluster_propose(c, 1, 8), "accepted");
    cr_assert_eq(cluster_transfer(c, 1, 3), RAFT_OK);
    cr_assert_eq(cluster_propose(c, 1, 8), RAFT_E_FULL);
    cluster_run(c, 15);
    golden_expect(c, trace_transfer);
    cr_assert_eq(cluster_leader(c), 3);
    cluster_free(c);
}

static const char trace_transfer_is_given_up[] =
    "133ms n1 persist 2-2\n"
    "133ms n1 append term=1 prev=1.1 count=1 commit=1 to=n2\n"
    "133ms n1 append term=1 prev=1.1 count=1 commit=1 to=n3\n"
    "133ms n1 transfer to=n3\n"
    "134ms n1 durable\n"
    "134ms n2 persist 2-2\n"
    "135ms n2 durable\n"
    "135ms n2 accept term=1 match=2 to=n1\n"
    "136ms n1 apply 2-2\n"
    "136ms n1 append term=1 prev=1.2 count=0 commit=2 to=n2\n"
    "136ms n1 append term=1 prev=1.2 count=0 commit=2 to=n3\n"
    "137ms n2 apply 2-2\n"
    "238ms n1 persist 3-3\n"
    "238ms n1 append term=1 prev=1.2 count=1 commit=2 to=n2\n"
    "238ms n1 append term=1 prev=1.2 count=1 commit=2 to=n3\n"
    "239ms n1 durable\n"
    "239ms n2 persist 3-3\n"
    "240ms n2 durable\n"
    "240ms n2 accept term=1 match=3 to=n1\n"
    "241ms n1 apply 3-3\n"
    "241ms n1 append term=1 prev=1.3 count=0 commit=3 to=n2\n"
    "241ms n1 append term=1 prev=1.3 count=0 commit=3 to=n3\n"
    "242ms n2 apply 3-3\n";

/* Thesis §3.10: the target is away; after an election timeout the leader goes on. */
Test(raft_trace_handover, transfer_is_given_up)
{
    struct cluster *c = golden_started(cluster_defaults(3, 1));
    cr_assert_eq(cluster_leader(c), 1);
    cluster_cut_off(c, 3, true);
    cluster_trace_begin(c);
    IGNORE(cluster_propose(c, 1, 8), "accepted");
    cr_assert_eq(cluster_transfer(c, 1, 3), RAFT_OK);
    cluster_run(c, 95);
    cr_assert_eq(cluster_propose(c, 1, 8), RAFT_E_FULL);
    cluster_run(c, 10);
    cr_assert_eq(cluster_propose(c, 1, 8), RAFT_OK);
    cluster_run(c, 5);
    golden_expect(c, trace_transfer_is_given_up);
    cr_assert_eq(cluster_leader(c), 1);
    cluster_free(c);
}

/* The times of a real cluster. */
static struct cluster *slow_cluster(void)
{
    struct cluster_options options = cluster_defaults(3, 1);
    options.core.election_timeout_ms = 1000;
    options.core.heartbeat_ms = 100;
    struct cluster *c = golden_started(options);
    cluster_run(c, 10);
    return c;
}

static const char trace_a_short_stall_of_a_disk[] =
    "1105ms n3 persist 2-2\n"
    "1105ms n3 append term=1 prev=1.1 count=1 commit=1 to=n1\n"
    "1105ms n3 append term=1 prev=1.1 count=1 commit=1 to=n2\n"
    "1106ms n1 persist 2-2\n"
    "1106ms n2 persist 2-2\n"
    "1107ms n1 durable\n"
    "1107ms n1 accept term=1 match=2 to=n3\n"
    "1107ms n2 durable\n"
    "1107ms n2 accept term=1 match=2 to=n3\n"
    "1108ms n3 append term=1 prev=1.2 count=0 commit=2 to=n1\n"
    "1108ms n3 append term=1 prev=1.2 count=0 commit=2 to=n2\n"
    "1109ms n1 apply 2-2\n"
    "1109ms n2 apply 2-2\n"
    "1306ms n3 durable\n"
    "1306ms n3 apply 2-2\n";

/* Thesis §10.2.1: the leader's own disk is one of a majority. When it stops for 200 ms the others
 * commit without it, and nothing else happens; its own state machine waits for its disk. */
Test(raft_trace_handover, a_short_stall_of_a_disk)
{
    struct cluster *c = slow_cluster();
    uint64_t leader = cluster_leader(c);
    uint64_t elections = c->elections;
    cluster_trace_begin(c);
    cluster_stall(c, leader, 200);
    IGNORE(cluster_propose(c, leader, 8), "accepted");
    cluster_run(c, 205);
    golden_expect(c, trace_a_short_stall_of_a_disk);
    for (uint64_t id = 1; id <= 3; id++) {
        cluster_stall(c, id, 200);
        IGNORE(cluster_propose(c, leader, 8), "accepted");
        cluster_run(c, 1500);
    }
    cr_assert_eq(c->elections, elections);
    cr_assert_eq(cluster_leader(c), leader);
    cluster_free(c);
}

static const char trace_a_long_stall_of_the_leaders_disk[] =
    "1105ms n3 persist 2-2\n"
    "1105ms n3 append term=1 prev=1.1 count=1 commit=1 to=n1\n"
    "1105ms n3 append term=1 prev=1.1 count=1 commit=1 to=n2\n"
    "1106ms n1 persist 2-2\n"
    "1106ms n2 persist 2-2\n"
    "1107ms n1 durable\n"
    "1107ms n1 accept term=1 match=2 to=n3\n"
    "1107ms n2 durable\n"
    "1107ms n2 accept term=1 match=2 to=n3\n"
    "1108ms n3 append term=1 prev=1.2 count=0 commit=2 to=n1\n"
    "1108ms n3 append term=1 prev=1.2 count=0 commit=2 to=n2\n"
    "1109ms n1 apply 2-2\n"
    "1109ms n2 apply 2-2\n"
    "2105ms n3 follower term=1 leader=n0\n"
    "2105ms n3 timeoutnow term=1 to=n1\n"
    "2106ms n1 candidate term=2 leader=n0\n"
    "2106ms n1 persist term=2 vote=n1\n"
    "2107ms n1 durable\n"
    "2107ms n1 vote term=2 last=1.2 transfer to=n2\n"
    "2107ms n1 vote term=2 last=1.2 transfer to=n3\n"
    "2108ms n2 follower term=2 leader=n0\n"
    "2108ms n2 persist term=2 vote=n1\n"
    "2108ms n3 follower term=2 leader=n0\n"
    "2108ms n3 persist term=2 vote=n1\n"
    "2109ms n2 durable\n"
    "2109ms n2 grant term=2 to=n1\n"
    "2110ms n1 leader term=2 leader=n1\n"
    "2110ms n1 persist 3-3\n"
    "2110ms n1 append term=2 prev=1.2 count=1 commit=2 to=n2\n"
    "2110ms n1 append term=2 prev=1.2 count=1 commit=2 to=n3\n"
    "2111ms n2 follower term=2 leader=n1\n"
    "2111ms n3 follower term=2 leader=n1\n"
    "2111ms n1 durable\n"
    "2111ms n2 persist 3-3\n"
    "2111ms n2 accept term=2 match=2 to=n1\n"
    "2111ms n3 persist 3-3\n"
    "2112ms n2 durable\n"
    "2112ms n2 accept term=2 match=3 to=n1\n"
    "2113ms n1 apply 3-3\n"
    "2113ms n1 append term=2 prev=2.3 count=0 commit=3 to=n2\n"
    "2114ms n2 apply 3-3\n"
    "2212ms n1 append term=2 prev=1.2 count=1 commit=3 to=n3\n"
    "2312ms n1 append term=2 prev=1.2 count=1 commit=3 to=n3\n"
    "2412ms n1 append term=2 prev=1.2 count=1 commit=3 to=n3\n"
    "2512ms n1 append term=2 prev=1.2 count=1 commit=3 to=n3\n"
    "2606ms n3 durable\n"
    "2606ms n3 apply 2-2\n"
    "2607ms n3 durable\n"
    "2607ms n3 apply 3-3\n"
    "2607ms n3 grant term=2 to=n1\n"
    "2607ms n3 accept term=2 match=3 to=n1\n";

/* Thesis §3.10: a leader that does not hear its disk for an election timeout hands over. With its
 * disk stalled it neither votes nor campaigns, and follows when it is back. */
Test(raft_trace_handover, a_long_stall_of_the_leaders_disk)
{
    struct cluster *c = slow_cluster();
    uint64_t leader = cluster_leader(c);
    cluster_trace_begin(c);
    cluster_stall(c, leader, 1500);
    IGNORE(cluster_propose(c, leader, 8), "accepted");
    cluster_run(c, 1510);
    golden_expect(c, trace_a_long_stall_of_the_leaders_disk);
    cr_assert_neq(cluster_leader(c), leader);
    cr_assert_eq(c->elections, 2);
    cluster_free(c);
}
