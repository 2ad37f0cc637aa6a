"""Leadership handed over: when the leader is stopped, and when somebody asks for it."""

import pytest

from cluster import Cluster, etcdctl, holdfastctl, leader_of, status
from rpc import Client


@pytest.fixture(scope="module")
def trio():
    with Cluster(3) as made:
        yield made.start()


def member_id(node):
    return status(node)["header"]["member_id"]


def test_move_leader(trio):
    leader = leader_of(trio)
    for target in [n for n in trio.nodes if n is not leader]:
        before = leader_of(trio)
        old, new = format(member_id(before), "x"), format(member_id(target), "x")
        ctl = etcdctl if before is leader else holdfastctl
        said = ctl(trio.endpoints, "move-leader", new).stdout.decode()
        assert said == f"Leadership transferred from {old} to {new}\n"
        assert leader_of(trio) is target
    Client(leader.endpoint).put(b"moved", b"1")


def test_move_leader_refuses_as_etcd_does(trio):
    leader = leader_of(trio)
    other = next(n for n in trio.nodes if n is not leader)

    def refused(node, target):
        result = etcdctl(node.endpoint, "move-leader", target, check=False)
        assert result.returncode != 0
        return result.stderr.decode()
    assert b"no leader endpoint given" in holdfastctl(
        other.endpoint, "move-leader", "1234", check=False).stderr
    assert b"bad leader transferee" in holdfastctl(
        trio.endpoints, "move-leader", "1234", check=False).stderr
    assert b"bad member ID" in holdfastctl(
        trio.endpoints, "move-leader", "x", check=False).stderr
    # This etcdctl looks for the leader itself before it asks.
    assert "no leader endpoint given" in refused(other, format(member_id(leader), "x"))
    assert "bad leader transferee" in refused(leader, "1234")
    assert leader_of(trio) is leader
    etcdctl(leader.endpoint, "move-leader", format(member_id(leader), "x"))
    assert leader_of(trio) is leader


@pytest.mark.sanitized
def test_sigterm_of_the_leader_hands_over():
    """Another member leads before the old leader's port is closed: nobody has to notice a death,
    or to wait for a time-out."""
    with Cluster(3) as trio:
        trio.start()
        leader = leader_of(trio)
        rest = [n for n in trio.nodes if n is not leader]
        Client(leader.endpoint).put(b"k", b"1")
        leader.stop()
        assert "handing leadership over" in leader.log
        new = leader_of(trio)
        said = new.log[:new.log.index('"role":"leader"')]
        assert "process has died" not in said
        assert Client(rest[0].endpoint).put(b"k", b"2").header.revision == 3
        leader.start().wait_ready()
        assert Client(leader.endpoint).get(b"k") == b"2"
