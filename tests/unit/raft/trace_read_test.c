/* Reads as golden traces (trace_test.c). */
#include <criterion/criterion.h>

#include "base/assert.h"
#include "tests/support/raft_golden.h"

static const char trace_read_index_at_a_new_leader[] =
    "118ms n1 heartbeat term=1 round=2 commit=0 to=n2\n"
    "118ms n1 heartbeat term=1 round=2 commit=0 to=n3\n"
    "119ms n2 follower term=1 leader=n1\n"
    "119ms n2 alive term=1 round=1 to=n1\n"
    "119ms n3 follower term=1 leader=n1\n"
    "119ms n3 alive term=1 round=1 to=n1\n"
    "119ms n1 durable\n"
    "119ms n2 persist 1-1\n"
    "119ms n3 persist 1-1\n"
    "119ms n2 alive term=1 round=2 to=n1\n"
    "119ms n3 alive term=1 round=2 to=n1\n"
    "119ms n2 readindex term=1 to=n1\n"
    "120ms n2 durable\n"
    "120ms n2 accept term=1 match=1 to=n1\n"
    "120ms n3 durable\n"
    "120ms n3 accept term=1 match=1 to=n1\n"
    "120ms n1 heartbeat term=1 round=3 commit=0 to=n2\n"
    "120ms n1 heartbeat term=1 round=3 commit=0 to=n3\n"
    "121ms n1 apply 1-1\n"
    "121ms n1 append term=1 prev=1.1 count=0 commit=1 to=n2\n"
    "121ms n1 read index=1\n"
    "121ms n1 append term=1 prev=1.1 count=0 commit=1 to=n3\n"
    "121ms n2 alive term=1 round=3 to=n1\n"
    "121ms n3 alive term=1 round=3 to=n1\n"
    "122ms n2 apply 1-1\n"
    "122ms n3 apply 1-1\n"
    "122ms n1 readindex-answer term=1 index=1 to=n2\n"
    "123ms n2 read index=1\n";

/* Reads asked of a leader before it has committed an entry of its own term wait for that (thesis
 * §6.4; etcd 7331), its own and a follower's. */
Test(raft_trace_read, read_index_at_a_new_leader)
{
    struct cluster_options options = cluster_defaults(3, 1);
    options.traces_heartbeats = true;
    struct cluster *c = cluster_new(&options);
    cluster_start_all(c);
    golden_run_until_leader(c);
    uint64_t leader = cluster_leader(c);
    cluster_trace_begin(c);
    cluster_read(c, leader);
    cluster_run(c, 1);
    cluster_read(c, leader == 1 ? 2 : 1);
    cluster_run(c, 7);
    golden_expect(c, trace_read_index_at_a_new_leader);
    cluster_free(c);
}

static const char trace_stale_reads_at_a_deposed_leader[] =
    "253ms n1 persist 3-3\n"
    "253ms n1 append term=3 prev=3.2 count=1 commit=2 to=n2\n"
    "254ms n1 durable\n"
    "254ms n2 persist 3-3\n"
    "255ms n2 durable\n"
    "255ms n2 accept term=3 match=3 to=n1\n"
    "256ms n1 apply 3-3\n"
    "256ms n1 append term=3 prev=3.3 count=0 commit=3 to=n2\n"
    "257ms n2 apply 3-3\n"
    "260ms n1 read index=3\n"
    "409ms n3 follower term=1 leader=n0\n"
    "409ms n3 read refused\n"
    "479ms n3 follower term=3 leader=n1\n"
    "479ms n3 persist term=3 vote=n0\n"
    "480ms n3 durable\n"
    "480ms n1 append term=3 prev=1.1 count=2 commit=3 to=n3\n"
    "481ms n3 persist 2-3\n"
    "481ms n3 accept term=3 match=1 to=n1\n"
    "482ms n3 durable\n"
    "482ms n3 apply 2-3\n"
    "482ms n3 accept term=3 match=3 to=n1\n";

/* Raft §8, thesis §6.4 (etcd 741): a leader that is cut off still takes itself for one, while the
 * others elect another and go on. A read that it is asked then gets no quorum for its round: it is
 * refused when the leader steps down, and not answered with what it has. */
Test(raft_trace_read, stale_reads_at_a_deposed_leader)
{
    struct cluster_options options = cluster_defaults(3, 5);
    options.core.election_timeout_ms = 200; /* of the old leader: it gives up late */
    struct cluster *c = golden_started(options);
    uint64_t old = cluster_leader(c);
    cluster_cut_off(c, old, true);
    for (uint64_t id = 1; id <= 3; id++)
        if (id != old)
            cluster_leader_dead(c, id); /* so they are quick */
    while (cluster_leader(c) == old)
        cluster_step(c, c->now_ms + 100);
    cluster_run(c, 5);
    uint64_t new = cluster_leader(c);
    cr_assert_neq(new, old);
    cr_assert_eq(raft_status(cluster_node(c, old)->raft).role, RAFT_LEADER);
    cluster_trace_begin(c);
    IGNORE(cluster_propose(c, new, 8), "accepted");
    cluster_run(c, 5);
    cluster_read(c, old);
    cluster_read(c, new);
    cluster_run(c, 200);
    cluster_cut_off(c, old, false);
    cluster_run(c, 45);
    golden_expect(c, trace_stale_reads_at_a_deposed_leader);
    cluster_free(c);
}
