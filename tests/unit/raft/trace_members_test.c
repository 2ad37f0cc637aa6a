/* Changes of membership as golden traces (trace_test.c). */
#include <criterion/criterion.h>

#include "base/assert.h"
#include "tests/support/raft_golden.h"

static void propose(struct cluster *c, const char *text)
{
    struct raft_config config = cluster_config(text);
    cr_assert_eq(cluster_propose_config(c, cluster_leader(c), &config), RAFT_OK);
}

static const char trace_joint_change_with_a_failing_majority[] =
    "133ms n1 persist 2-2\n"
    "133ms n1 config index=2 45 B1 O23\n"
    "133ms n1 append term=1 prev=1.1 count=1 commit=1 to=n2\n"
    "133ms n1 append term=1 prev=1.1 count=1 commit=1 to=n3\n"
    "133ms n1 append term=1 prev=1.1 count=1 commit=1 to=n4\n"
    "133ms n1 append term=1 prev=1.1 count=1 commit=1 to=n5\n"
    "134ms n1 durable\n"
    "134ms n2 persist 2-2\n"
    "134ms n2 config index=2 45 B1 O23\n"
    "134ms n3 persist 2-2\n"
    "134ms n3 config index=2 45 B1 O23\n"
    "135ms n2 durable\n"
    "135ms n2 accept term=1 match=2 to=n1\n"
    "135ms n3 durable\n"
    "135ms n3 accept term=1 match=2 to=n1\n"
    "138ms n1 persist 3-3\n"
    "138ms n1 append term=1 prev=1.2 count=1 commit=1 to=n2\n"
    "138ms n1 append term=1 prev=1.2 count=1 commit=1 to=n3\n"
    "139ms n1 durable\n"
    "139ms n2 persist 3-3\n"
    "139ms n3 persist 3-3\n"
    "140ms n2 durable\n"
    "140ms n2 accept term=1 match=3 to=n1\n"
    "140ms n3 durable\n"
    "140ms n3 accept term=1 match=3 to=n1\n"
    "178ms n4 start term=0 last=0\n"
    "179ms n4 follower term=1 leader=n1\n"
    "179ms n4 persist term=1 vote=n0\n"
    "180ms n4 durable\n"
    "180ms n1 append term=1 prev=1.1 count=2 commit=1 to=n4\n"
    "181ms n4 reject term=1 prev=1 hint=0.0 to=n1\n"
    "182ms n1 append term=1 prev=0.0 count=3 commit=1 to=n4\n"
    "183ms n4 persist 1-3\n"
    "183ms n4 config index=2 45 B1 O23\n"
    "184ms n4 durable\n"
    "184ms n4 apply 1-1\n"
    "184ms n4 accept term=1 match=3 to=n1\n"
    "185ms n1 apply 2-3\n"
    "185ms n1 append term=1 prev=1.3 count=0 commit=3 to=n2\n"
    "185ms n1 append term=1 prev=1.3 count=0 commit=3 to=n3\n"
    "185ms n1 append term=1 prev=1.3 count=0 commit=3 to=n4\n"
    "185ms n1 persist 4-4\n"
    "185ms n1 config index=4 145\n"
    "185ms n1 append term=1 prev=1.3 count=1 commit=3 to=n4\n"
    "186ms n2 apply 2-3\n"
    "186ms n3 apply 2-3\n"
    "186ms n4 apply 2-3\n"
    "186ms n1 durable\n"
    "186ms n4 persist 4-4\n"
    "186ms n4 config index=4 145\n"
    "187ms n4 durable\n"
    "187ms n4 accept term=1 match=4 to=n1\n"
    "188ms n1 apply 4-4\n"
    "188ms n1 append term=1 prev=1.4 count=0 commit=4 to=n4\n"
    "189ms n4 apply 4-4\n";

/* Raft §6, thesis §4.3: {1,2,3} becomes {1,4,5}. While 4 and 5 are away the new half has no
 * majority, so the joint configuration is not committed, though all of the old half has it, and
 * nothing else is. 4 comes back: both halves have one. */
Test(raft_trace_members, joint_change_with_a_failing_majority)
{
    struct cluster_options options = cluster_defaults(5, 1);
    options.spare_count = 2;
    struct cluster *c = golden_started(options);
    cr_assert_eq(cluster_leader(c), 1);
    cluster_crash(c, 4);
    cluster_crash(c, 5);
    cluster_trace_begin(c);
    propose(c, "45 B1 O23");
    cluster_run(c, 5);
    IGNORE(cluster_propose(c, 1, 8), "accepted");
    cluster_run(c, 40);
    cr_assert_eq(raft_commit_index(cluster_node(c, 1)->raft), 1);
    cluster_start(c, 4);
    cluster_run(c, 40);
    golden_expect(c, trace_joint_change_with_a_failing_majority);
    cr_assert_eq(raft_commit_index(cluster_node(c, 1)->raft), 4);
    cluster_free(c);
}

static const char trace_joint_change_falls_back_with_its_leader[] =
    "133ms n1 persist 2-2\n"
    "133ms n1 config index=2 45 B1 O23\n"
    "133ms n1 append term=1 prev=1.1 count=1 commit=1 to=n2\n"
    "133ms n1 append term=1 prev=1.1 count=1 commit=1 to=n3\n"
    "133ms n1 append term=1 prev=1.1 count=1 commit=1 to=n4\n"
    "133ms n1 append term=1 prev=1.1 count=1 commit=1 to=n5\n"
    "134ms n1 durable\n"
    "135ms n1 crash\n"
    "135ms n2 precandidate term=1 leader=n0\n"
    "135ms n2 prevote term=2 last=1.1 dead to=n1\n"
    "135ms n2 prevote term=2 last=1.1 dead to=n3\n"
    "136ms n3 pregrant term=2 to=n2\n"
    "137ms n2 candidate term=2 leader=n0\n"
    "137ms n2 persist term=2 vote=n2\n"
    "138ms n2 durable\n"
    "138ms n2 vote term=2 last=1.1 dead to=n1\n"
    "138ms n2 vote term=2 last=1.1 dead to=n3\n"
    "139ms n3 follower term=2 leader=n0\n"
    "139ms n3 persist term=2 vote=n2\n"
    "140ms n3 durable\n"
    "140ms n3 grant term=2 to=n2\n"
    "141ms n2 leader term=2 leader=n2\n"
    "141ms n2 persist 2-2\n"
    "141ms n2 append term=2 prev=1.1 count=1 commit=1 to=n1\n"
    "141ms n2 append term=2 prev=1.1 count=1 commit=1 to=n3\n"
    "142ms n3 follower term=2 leader=n2\n"
    "142ms n2 durable\n"
    "142ms n3 persist 2-2\n"
    "142ms n3 accept term=2 match=1 to=n2\n"
    "143ms n3 durable\n"
    "143ms n3 accept term=2 match=2 to=n2\n"
    "144ms n2 apply 2-2\n"
    "144ms n2 append term=2 prev=2.2 count=0 commit=2 to=n3\n"
    "145ms n3 apply 2-2\n"
    "151ms n1 start term=1 last=2\n"
    "151ms n1 config index=2 45 B1 O23\n"
    "162ms n1 follower term=2 leader=n2\n"
    "162ms n1 persist term=2 vote=n0\n"
    "163ms n1 durable\n"
    "163ms n2 append term=2 prev=1.1 count=1 commit=2 to=n1\n"
    "164ms n1 persist 2-2\n"
    "164ms n1 config index=0 123\n"
    "164ms n1 accept term=2 match=1 to=n2\n"
    "165ms n1 durable\n"
    "165ms n1 apply 2-2\n"
    "165ms n1 accept term=2 match=2 to=n2\n";

/* Raft §6, §5.3: the leader dies with a joint configuration that only it has. Its successor goes by
 * the old one, and the entry, and the configuration with it, give way when it comes back. */
Test(raft_trace_members, joint_change_falls_back_with_its_leader)
{
    struct cluster_options options = cluster_defaults(5, 1);
    options.spare_count = 2;
    struct cluster *c = golden_started(options);
    cr_assert_eq(cluster_leader(c), 1);
    cluster_cut_off(c, 1, true);
    cluster_trace_begin(c);
    propose(c, "45 B1 O23");
    cluster_run(c, 2);
    cluster_crash(c, 1);
    cluster_leader_dead(c, 2);
    golden_run_until_leader(c);
    cluster_run(c, 10);
    cluster_cut_off(c, 1, false);
    cluster_start(c, 1);
    cluster_run(c, 40);
    golden_expect(c, trace_joint_change_falls_back_with_its_leader);
    cr_assert_eq(raft_config_in_force(cluster_node(c, 1)->raft).index, 0);
    cluster_free(c);
}

static const char trace_a_configuration_is_in_force_when_it_is_in_the_log[] =
    "133ms n1 persist 2-2\n"
    "133ms n1 config index=2 1234\n"
    "133ms n1 append term=1 prev=1.1 count=1 commit=1 to=n2\n"
    "133ms n1 append term=1 prev=1.1 count=1 commit=1 to=n3\n"
    "133ms n1 append term=1 prev=1.1 count=1 commit=1 to=n4\n"
    "134ms n1 durable\n"
    "134ms n2 persist 2-2\n"
    "134ms n2 config index=2 1234\n"
    "134ms n4 follower term=1 leader=n1\n"
    "134ms n4 persist term=1 vote=n0\n"
    "134ms n4 reject term=1 prev=1 hint=0.0 to=n1\n"
    "135ms n2 durable\n"
    "135ms n2 accept term=1 match=2 to=n1\n"
    "135ms n4 durable\n"
    "135ms n1 append term=1 prev=0.0 count=2 commit=1 to=n4\n"
    "136ms n4 persist 1-2\n"
    "136ms n4 config index=2 1234\n"
    "137ms n4 durable\n"
    "137ms n4 apply 1-1\n"
    "137ms n4 accept term=1 match=2 to=n1\n"
    "138ms n1 apply 2-2\n"
    "138ms n1 append term=1 prev=1.2 count=0 commit=2 to=n2\n"
    "138ms n1 append term=1 prev=1.2 count=0 commit=2 to=n3\n"
    "138ms n1 append term=1 prev=1.2 count=0 commit=2 to=n4\n"
    "139ms n2 apply 2-2\n"
    "139ms n4 apply 2-2\n"
    "139ms n2 accept term=1 match=2 to=n1\n"
    "139ms n4 accept term=1 match=2 to=n1\n"
    "145ms n1 persist 3-3\n"
    "145ms n1 config index=3 12345\n"
    "145ms n1 append term=1 prev=1.2 count=1 commit=2 to=n2\n"
    "145ms n1 append term=1 prev=1.2 count=1 commit=2 to=n3\n"
    "145ms n1 append term=1 prev=1.2 count=1 commit=2 to=n4\n"
    "145ms n1 append term=1 prev=1.2 count=1 commit=2 to=n5\n"
    "146ms n1 durable\n"
    "146ms n2 persist 3-3\n"
    "146ms n2 config index=3 12345\n"
    "146ms n4 persist 3-3\n"
    "146ms n4 config index=3 12345\n"
    "146ms n5 follower term=1 leader=n1\n"
    "146ms n5 persist term=1 vote=n0\n"
    "146ms n5 reject term=1 prev=2 hint=0.0 to=n1\n"
    "146ms n1 crash\n"
    "146ms n2 precandidate term=1 leader=n0\n"
    "146ms n2 prevote term=2 last=1.3 dead to=n1\n"
    "146ms n2 prevote term=2 last=1.3 dead to=n3\n"
    "146ms n2 prevote term=2 last=1.3 dead to=n4\n"
    "146ms n2 prevote term=2 last=1.3 dead to=n5\n"
    "147ms n2 durable\n"
    "147ms n2 accept term=1 match=3 to=n1\n"
    "147ms n4 durable\n"
    "147ms n4 accept term=1 match=3 to=n1\n"
    "147ms n5 durable\n"
    "147ms n3 pregrant term=2 to=n2\n"
    "157ms n2 prevote term=2 last=1.3 dead to=n1\n"
    "157ms n2 prevote term=2 last=1.3 dead to=n4\n"
    "157ms n2 prevote term=2 last=1.3 dead to=n5\n"
    "169ms n2 prevote term=2 last=1.3 dead to=n1\n"
    "169ms n2 prevote term=2 last=1.3 dead to=n4\n"
    "169ms n2 prevote term=2 last=1.3 dead to=n5\n"
    "179ms n2 prevote term=2 last=1.3 dead to=n1\n"
    "179ms n2 prevote term=2 last=1.3 dead to=n4\n"
    "179ms n2 prevote term=2 last=1.3 dead to=n5\n"
    "190ms n2 prevote term=2 last=1.3 dead to=n1\n"
    "190ms n2 prevote term=2 last=1.3 dead to=n4\n"
    "190ms n2 prevote term=2 last=1.3 dead to=n5\n"
    "208ms n2 prevote term=2 last=1.3 dead to=n1\n"
    "208ms n2 prevote term=2 last=1.3 dead to=n4\n"
    "208ms n2 prevote term=2 last=1.3 dead to=n5\n"
    "209ms n4 pregrant term=2 to=n2\n"
    "210ms n2 candidate term=2 leader=n0\n"
    "210ms n2 persist term=2 vote=n2\n"
    "211ms n2 durable\n"
    "211ms n2 vote term=2 last=1.3 dead to=n1\n"
    "211ms n2 vote term=2 last=1.3 dead to=n3\n"
    "211ms n2 vote term=2 last=1.3 dead to=n4\n"
    "211ms n2 vote term=2 last=1.3 dead to=n5\n"
    "212ms n3 follower term=2 leader=n0\n"
    "212ms n3 persist term=2 vote=n2\n"
    "212ms n4 follower term=2 leader=n0\n"
    "212ms n4 persist term=2 vote=n2\n"
    "213ms n3 durable\n"
    "213ms n3 grant term=2 to=n2\n"
    "213ms n4 durable\n"
    "213ms n4 grant term=2 to=n2\n"
    "214ms n2 leader term=2 leader=n2\n"
    "214ms n2 persist 4-4\n"
    "214ms n2 append term=2 prev=1.3 count=1 commit=2 to=n1\n"
    "214ms n2 append term=2 prev=1.3 count=1 commit=2 to=n3\n"
    "214ms n2 append term=2 prev=1.3 count=1 commit=2 to=n4\n"
    "214ms n2 append term=2 prev=1.3 count=1 commit=2 to=n5\n"
    "215ms n3 follower term=2 leader=n2\n"
    "215ms n4 follower term=2 leader=n2\n"
    "215ms n2 durable\n"
    "215ms n3 reject term=2 prev=3 hint=1.1 to=n2\n"
    "215ms n4 persist 4-4\n"
    "215ms n4 accept term=2 match=3 to=n2\n"
    "216ms n2 append term=2 prev=1.1 count=1 commit=2 to=n3\n"
    "216ms n4 durable\n"
    "216ms n4 accept term=2 match=4 to=n2\n"
    "217ms n3 persist 2-2\n"
    "217ms n3 config index=2 1234\n"
    "217ms n3 accept term=2 match=1 to=n2\n"
    "218ms n3 durable\n"
    "218ms n3 apply 2-2\n"
    "218ms n3 accept term=2 match=2 to=n2\n"
    "218ms n2 append term=2 prev=1.2 count=2 commit=2 to=n3\n"
    "219ms n3 persist 3-4\n"
    "219ms n3 config index=3 12345\n"
    "220ms n3 durable\n"
    "220ms n3 accept term=2 match=4 to=n2\n"
    "221ms n2 apply 3-4\n"
    "221ms n2 append term=2 prev=2.4 count=0 commit=4 to=n3\n"
    "221ms n2 append term=2 prev=2.4 count=0 commit=4 to=n4\n"
    "222ms n3 apply 3-4\n"
    "222ms n4 apply 3-4\n";

/* Raft §6 (etcd 7625): {1,2,3} gets 4 and then 5 while 3 is away, and the leader dies when the
 * second entry has just reached 2, who can apply it only much later. It goes by it all the same:
 * with 3 it would be two of three, but it needs three of five. */
Test(raft_trace_members, a_configuration_is_in_force_when_it_is_in_the_log)
{
    struct cluster_options options = cluster_defaults(5, 1);
    options.spare_count = 2;
    struct cluster *c = golden_started(options);
    cr_assert_eq(cluster_leader(c), 1);
    cluster_cut_off(c, 3, true);
    cluster_trace_begin(c);
    propose(c, "1234");
    cluster_run(c, 12);
    propose(c, "12345");
    cluster_run(c, 1);
    cluster_crash(c, 1);
    cluster_cut(c, 2, 4, true);
    cluster_cut(c, 2, 5, true);
    cluster_cut_off(c, 3, false);
    cluster_leader_dead(c, 2);
    cluster_run(c, 60);
    cr_assert_eq(cluster_leader(c), 0, "two are not enough");
    cluster_cut(c, 2, 4, false);
    cluster_run(c, 30);
    cr_assert_eq(cluster_leader(c), 2);
    golden_expect(c, trace_a_configuration_is_in_force_when_it_is_in_the_log);
    cluster_free(c);
}

static const char trace_a_promotion_is_persisted[] =
    "133ms n1 persist 2-2\n"
    "133ms n1 config index=2 123\n"
    "133ms n1 append term=1 prev=1.1 count=1 commit=1 to=n2\n"
    "133ms n1 append term=1 prev=1.1 count=1 commit=1 to=n3\n"
    "134ms n1 durable\n"
    "134ms n2 persist 2-2\n"
    "134ms n2 config index=2 123\n"
    "134ms n3 persist 2-2\n"
    "134ms n3 config index=2 123\n"
    "135ms n2 durable\n"
    "135ms n2 accept term=1 match=2 to=n1\n"
    "135ms n3 durable\n"
    "135ms n3 accept term=1 match=2 to=n1\n"
    "136ms n1 apply 2-2\n"
    "136ms n1 append term=1 prev=1.2 count=0 commit=2 to=n2\n"
    "136ms n1 append term=1 prev=1.2 count=0 commit=2 to=n3\n"
    "137ms n2 apply 2-2\n"
    "137ms n3 apply 2-2\n"
    "143ms n1 crash\n"
    "143ms n2 crash\n"
    "143ms n3 crash\n"
    "143ms n2 start term=1 last=2\n"
    "143ms n3 start term=1 last=2\n"
    "260ms n2 precandidate term=1 leader=n0\n"
    "260ms n2 prevote term=2 last=1.2 to=n1\n"
    "260ms n2 prevote term=2 last=1.2 to=n3\n"
    "261ms n3 pregrant term=2 to=n2\n"
    "262ms n2 candidate term=2 leader=n0\n"
    "262ms n2 persist term=2 vote=n2\n"
    "263ms n2 durable\n"
    "263ms n2 vote term=2 last=1.2 to=n1\n"
    "263ms n2 vote term=2 last=1.2 to=n3\n"
    "264ms n3 follower term=2 leader=n0\n"
    "264ms n3 persist term=2 vote=n2\n"
    "265ms n3 durable\n"
    "265ms n3 grant term=2 to=n2\n"
    "266ms n2 leader term=2 leader=n2\n"
    "266ms n2 persist 3-3\n"
    "266ms n2 append term=2 prev=1.2 count=1 commit=2 to=n1\n"
    "266ms n2 append term=2 prev=1.2 count=1 commit=2 to=n3\n"
    "267ms n3 follower term=2 leader=n2\n"
    "267ms n2 durable\n"
    "267ms n3 persist 3-3\n"
    "267ms n3 accept term=2 match=2 to=n2\n"
    "268ms n3 durable\n"
    "268ms n3 accept term=2 match=3 to=n2\n"
    "269ms n2 apply 3-3\n"
    "269ms n2 append term=2 prev=2.3 count=0 commit=3 to=n3\n"
    "270ms n3 apply 3-3\n";

/* Thesis §4.2.1 (etcd 19557, 20793): a learner is made a voter, and every node restarts. It is one
 * still, by the log; here it is the vote that decides. */
Test(raft_trace_members, a_promotion_is_persisted)
{
    struct cluster_options options = cluster_defaults(3, 1);
    options.learner_count = 1;
    struct cluster *c = golden_started(options);
    cluster_trace_begin(c);
    propose(c, "123");
    cluster_run(c, 10);
    for (uint64_t id = 1; id <= 3; id++) {
        if (id != 2)
            cluster_flush(c, id); /* 2 has it from its journal, the others from their stores */
        cluster_crash(c, id);
    }
    for (uint64_t id = 2; id <= 3; id++)
        cluster_start(c, id);
    golden_run_until_leader(c);
    cluster_run(c, 5);
    golden_expect(c, trace_a_promotion_is_persisted);
    cluster_free(c);
}

static const char trace_a_leader_removes_itself[] =
    "133ms n1 persist 2-2\n"
    "133ms n1 config index=2 23\n"
    "133ms n1 append term=1 prev=1.1 count=1 commit=1 to=n2\n"
    "133ms n1 append term=1 prev=1.1 count=1 commit=1 to=n3\n"
    "134ms n1 durable\n"
    "134ms n2 persist 2-2\n"
    "134ms n2 config index=2 23\n"
    "134ms n3 persist 2-2\n"
    "134ms n3 config index=2 23\n"
    "135ms n2 durable\n"
    "135ms n2 accept term=1 match=2 to=n1\n"
    "135ms n3 durable\n"
    "135ms n3 accept term=1 match=2 to=n1\n"
    "136ms n1 follower term=1 leader=n0\n"
    "136ms n1 apply 2-2\n"
    "136ms n1 append term=1 prev=1.2 count=0 commit=2 to=n2\n"
    "136ms n1 append term=1 prev=1.2 count=0 commit=2 to=n3\n"
    "136ms n1 timeoutnow term=1 to=n2\n"
    "137ms n2 apply 2-2\n"
    "137ms n3 apply 2-2\n"
    "137ms n2 candidate term=2 leader=n0\n"
    "137ms n2 persist term=2 vote=n2\n"
    "138ms n2 durable\n"
    "138ms n2 vote term=2 last=1.2 transfer to=n3\n"
    "139ms n3 follower term=2 leader=n0\n"
    "139ms n3 persist term=2 vote=n2\n"
    "140ms n3 durable\n"
    "140ms n3 grant term=2 to=n2\n"
    "141ms n2 leader term=2 leader=n2\n"
    "141ms n2 persist 3-3\n"
    "141ms n2 append term=2 prev=1.2 count=1 commit=2 to=n3\n"
    "142ms n3 follower term=2 leader=n2\n"
    "142ms n2 durable\n"
    "142ms n3 persist 3-3\n"
    "142ms n3 accept term=2 match=2 to=n2\n"
    "143ms n3 durable\n"
    "143ms n3 accept term=2 match=3 to=n2\n"
    "144ms n2 apply 3-3\n"
    "144ms n2 append term=2 prev=2.3 count=0 commit=3 to=n3\n"
    "145ms n3 apply 3-3\n";

/* Thesis §4.2.2: it leads on without counting itself until its removal is committed, hands over to
 * the one that is furthest, and steps down. Nobody waits for an election timeout, and what it does
 * later disturbs nobody. */
Test(raft_trace_members, a_leader_removes_itself)
{
    struct cluster *c = golden_started(cluster_defaults(3, 1));
    cr_assert_eq(cluster_leader(c), 1);
    cluster_trace_begin(c);
    propose(c, "23");
    cluster_run(c, 300);
    golden_expect(c, trace_a_leader_removes_itself);
    cr_assert_neq(cluster_leader(c), 1);
    cr_assert_neq(cluster_leader(c), 0);
    cluster_free(c);
}

static const char trace_who_is_removed_may_still_be_needed[] =
    "163ms n2 persist 2-2\n"
    "163ms n2 config index=2 1\n"
    "163ms n2 append term=1 prev=1.1 count=1 commit=1 to=n1\n"
    "164ms n2 durable\n"
    "166ms n2 crash\n"
    "166ms n2 start term=1 last=2\n"
    "166ms n2 config index=2 1\n"
    "270ms n1 precandidate term=1 leader=n0\n"
    "270ms n1 prevote term=2 last=1.1 to=n2\n"
    "271ms n2 prerefuse term=1 to=n1\n"
    "272ms n1 follower term=1 leader=n0\n"
    "307ms n2 precandidate term=1 leader=n0\n"
    "307ms n2 prevote term=2 last=1.2 to=n1\n"
    "308ms n1 pregrant term=2 to=n2\n"
    "309ms n2 candidate term=2 leader=n0\n"
    "309ms n2 persist term=2 vote=n2\n"
    "310ms n2 durable\n"
    "310ms n2 vote term=2 last=1.2 to=n1\n"
    "311ms n1 follower term=2 leader=n0\n"
    "311ms n1 persist term=2 vote=n2\n"
    "312ms n1 durable\n"
    "312ms n1 grant term=2 to=n2\n"
    "313ms n2 leader term=2 leader=n2\n"
    "313ms n2 persist 3-3\n"
    "313ms n2 append term=2 prev=1.2 count=1 commit=1 to=n1\n"
    "314ms n1 follower term=2 leader=n2\n"
    "314ms n2 durable\n"
    "314ms n1 reject term=2 prev=2 hint=1.1 to=n2\n"
    "315ms n2 append term=2 prev=1.1 count=2 commit=1 to=n1\n"
    "316ms n1 persist 2-3\n"
    "316ms n1 config index=2 1\n"
    "316ms n1 accept term=2 match=1 to=n2\n"
    "317ms n1 durable\n"
    "317ms n1 accept term=2 match=3 to=n2\n"
    "318ms n2 follower term=2 leader=n0\n"
    "318ms n2 apply 2-3\n"
    "318ms n2 append term=2 prev=2.3 count=0 commit=3 to=n1\n"
    "318ms n2 timeoutnow term=2 to=n1\n"
    "319ms n1 apply 2-3\n"
    "319ms n1 candidate term=3 leader=n0\n"
    "319ms n1 persist term=3 vote=n1\n"
    "320ms n1 durable\n"
    "320ms n1 leader term=3 leader=n1\n"
    "320ms n1 persist 4-4\n"
    "321ms n1 durable\n"
    "321ms n1 apply 4-4\n";

/* Thesis §4.2.2, figure 4.6: {1,2}; the leader removes itself and restarts before 2 has that entry.
 * 2 needs its vote and cannot get it, so 1 campaigns once more, for 2's vote alone. */
Test(raft_trace_members, who_is_removed_may_still_be_needed)
{
    struct cluster *c = golden_started(cluster_defaults(2, 3));
    uint64_t leader = cluster_leader(c);
    cluster_cut_off(c, leader, true);
    cluster_trace_begin(c);
    propose(c, leader == 1 ? "2" : "1");
    cluster_run(c, 3);
    cluster_crash(c, leader);
    cluster_cut_off(c, leader, false);
    cluster_start(c, leader);
    cluster_run(c, 300);
    golden_expect(c, trace_who_is_removed_may_still_be_needed);
    cr_assert_eq(cluster_leader(c), 3 - leader);
    cluster_free(c);
}
