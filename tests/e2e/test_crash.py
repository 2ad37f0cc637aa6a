"""kill -9, SIGTERM and SIGSTOP under load: what was acknowledged is there afterwards, once."""

import signal

import pytest

import crash_loop
from cluster import Cluster, leader_of
from faults import FAST, Rpc, Writers, error_of, verify_all
from rpc import Client, Put, Range, txn

PIECE = 300  # acknowledged writes between two faults


def test_each_node_killed_in_turn_under_load():
    with Cluster(3, FAST) as cluster:
        cluster.start()
        with Writers(cluster.nodes) as writers:
            writers.run().wait(PIECE)
            for node in cluster.nodes:
                node.kill()
                writers.wait(PIECE)
                node.start().wait_ready()
                writers.wait(PIECE)
            writers.stop()
            verify_all(cluster, writers)


@pytest.mark.parametrize("size", [1, 3])
def test_all_nodes_killed_at_once_under_load(size):
    crash_loop.loop(size, rounds=5)


@pytest.mark.parametrize("size", [1, 3])
def test_restart_by_sigterm_under_load(size):
    with Cluster(size, FAST) as cluster:
        cluster.start()
        with Writers(cluster.nodes) as writers:
            for _ in range(2):
                writers.run().wait(PIECE)
                for node in cluster.nodes:
                    node.signal(signal.SIGTERM)
                for node in cluster.nodes:
                    assert node.wait_exit() == 0, node.log
                writers.stop()
                cluster.start()
                verify_all(cluster, writers)


def test_follower_restarted_by_sigterm_costs_no_write():
    """Clients of the other two notice nothing."""
    with Cluster(3, FAST) as cluster:
        cluster.start()
        leader = leader_of(cluster)
        follower = next(n for n in cluster.nodes if n is not leader)
        others = [n for n in cluster.nodes if n is not follower]
        with Writers(others, timeout_ms=10000) as writers:
            writers.run().wait(PIECE)
            follower.stop()
            writers.wait(PIECE)
            follower.start().wait_ready()
            writers.wait(PIECE)
            assert writers.stop()["unknown"] == 0
            verify_all(cluster, writers)


@pytest.mark.parametrize("mode", ["put", "create"])
def test_writes_through_followers_survive_the_leader(mode):
    """What was on its way to the dead leader is sent again to the next one, and runs once."""
    with Cluster(3, FAST) as cluster:
        cluster.start()
        leader = leader_of(cluster)
        followers = [n for n in cluster.nodes if n is not leader]
        with Writers(followers, count=16, timeout_ms=15000, mode=mode) as writers:
            writers.run().wait(PIECE)
            leader.kill()
            writers.wait(PIECE)
            leader.start().wait_ready()
            writers.wait(PIECE)
            counts = writers.stop()
            assert (counts["unknown"], counts["duplicates"]) == (0, 0), counts
            verify_all(cluster, writers)


def test_stopped_leader_comes_back_as_follower():
    with Cluster(3, FAST) as cluster:
        cluster.start()
        old = leader_of(cluster)
        others = [n for n in cluster.nodes if n is not old]
        with Rpc(old) as rpc:
            rpc.put(b"k", b"before")
            with Writers(others, timeout_ms=15000) as writers:
                writers.run().wait(PIECE)
                old.signal(signal.SIGSTOP)
                # Asked while it stands still: answered from what it knows afterwards, or not.
                stale = rpc.kv.Range.future(_get(b"k"), timeout=30)
                writers.wait(PIECE)
                with Rpc(others[0]) as other:
                    other.put(b"k", b"after")
                old.signal(signal.SIGCONT)
                assert stale.result().kvs[0].value == b"after"
                assert rpc.get(b"k").kvs[0].value == b"after"
                assert leader_of(cluster) is not old
                writers.wait(PIECE)
                assert writers.stop()["unknown"] == 0
                verify_all(cluster, writers)


def _get(key):
    from etcd3 import etcdrpc
    return etcdrpc.RangeRequest(key=key)


def test_follower_catches_up_from_the_log_store():
    """More than the leader keeps in memory, written while the follower was down."""
    with Cluster(3, FAST) as cluster:
        cluster.start()
        leader = leader_of(cluster)
        follower = next(n for n in cluster.nodes if n is not leader)
        follower.kill()
        with Writers([n for n in cluster.nodes if n is not follower], count=16, value_bytes=65536,
                     timeout_ms=20000) as writers:
            writers.run().wait(2500)  # 164 MB
            writers.stop()
            follower.start().wait_ready()
            verify_all(cluster, writers)


def test_no_leader():
    with Cluster(3, ["--heartbeat-interval", "20", "--election-timeout", "100"]) as cluster:
        cluster.start()
        last, *others = cluster.nodes
        with Rpc(last) as rpc:
            rpc.put(b"k", b"v")
            for node in others:
                node.kill()
            check_without_leader(rpc)
            others[0].start().wait_ready()
            assert rpc.put(b"k", b"w").header.revision > 2
            assert rpc.get(b"k").kvs[0].value == b"w"


def check_without_leader(rpc):
    import grpc
    from etcd3 import etcdrpc
    writes = rpc.kv.Put.future(etcdrpc.PutRequest(key=b"k", value=b"x"), timeout=60)
    reads = rpc.kv.Range.future(_get(b"k"), timeout=60)
    assert rpc.get(b"k", serializable=True).kvs[0].value == b"v"
    for future in (writes, reads):
        error = future.exception()
        assert error.code() == grpc.StatusCode.UNAVAILABLE, error
        assert error.details() in (
            "etcdserver: request timed out",
            "etcdserver: request timed out, possibly due to previous leader failure"), error
    code, text = error_of(rpc.put, b"k", b"x", metadata=[("hasleader", "true")])
    assert (code, text) == (grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader")


def test_sigterm_while_a_long_read_runs():
    """A read as a job goes on when its client is gone: the store stays until it is done."""
    with Cluster(1) as cluster:
        node = cluster.start().nodes[0]
        with Client(node.endpoint) as client:
            for i in range(1000):
                client.send(txn(success=[Put(key=b"%d/%d" % (i, j)) for j in range(128)]))
        node.stop()
        node.start().wait_ready()  # and nothing is left to flush at the next end
        with Client(node.endpoint) as client:
            # None is so new: all are looked at, and nothing is answered.
            look_at_all = Range(key=b"\0", range_end=b"\0", min_mod_revision=1 << 40)
            long_read = txn(success=[look_at_all] * 128)
            reads = [client.kv.Txn.future(long_read) for _ in range(8)]
            client.send(Range(key=b"later", range_end=b"m"))
            node.stop()
            assert any(read.exception() for read in reads)


def test_signals_that_come_together_all_count():
    """The node that is asked for its counters and told to end while it does not run does both."""
    with Cluster(size=1) as cluster:
        node = cluster.start().nodes[0]
        node.signal(signal.SIGSTOP)
        node.signal(signal.SIGUSR1)
        node.signal(signal.SIGTERM)
        node.signal(signal.SIGCONT)
        assert node.wait_exit() == 0
        assert any(line["msg"] == "counters of the loop" for line in node.log_lines())
