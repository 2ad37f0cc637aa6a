"""Three nodes: what is written through any of them is seen through every one of them."""

import threading

import pytest

from cluster import Cluster, etcdctl, leader_of
from rpc import Client, Compare, Put, Range, pb, prefix_end, txn


@pytest.fixture(scope="module")
def trio():
    with Cluster(3) as made:
        yield made.start()


@pytest.fixture(scope="module")
def clients(trio):
    made = [Client(n.endpoint) for n in trio.nodes]
    yield made
    for client in made:
        client.channel.close()


@pytest.mark.sanitized
def test_every_member_sees_the_last_write(clients):
    """Linearizable: a read that begins after the write was acknowledged, on any member."""
    for i in range(60):
        written = clients[i % 3].put(b"last/k", b"%d" % i).header.revision
        for reader in clients:
            reply = reader.range(b"last/k")
            assert reply.kvs[0].value == b"%d" % i
            assert reply.header.revision >= written


def test_every_kind_of_write_on_every_member(clients):
    for i, writer in enumerate(clients):
        key = b"kind/%d" % i
        writer.put(key, b"1")
        reply = writer.send(txn([Compare(key=key, target=Compare.VALUE, value=b"1")],
                                [Put(key=key, value=b"2"), Range(key=key)]))
        assert reply.succeeded and reply.responses[1].response_range.kvs[0].value == b"2"
        assert [c.get(key) for c in clients] == [b"2"] * 3
        assert writer.delete(key, prev_kv=True).prev_kvs[0].value == b"2"
        assert [c.get(key) for c in clients] == [None] * 3
        writer.compact(writer.revision())


@pytest.mark.sanitized
def test_counter_with_writers_on_every_member(clients):
    """Compare and put from all members at once: no increment is lost, none counts twice."""
    each = 25
    clients[0].put(b"counter", b"0")

    def increment(client):
        done = 0
        while done < each:
            kv = client.range(b"counter").kvs[0]
            guard = Compare(key=b"counter", target=Compare.MOD, mod_revision=kv.mod_revision)
            new = Put(key=b"counter", value=b"%d" % (int(kv.value) + 1))
            done += client.send(txn([guard], [new])).succeeded

    threads = [threading.Thread(target=increment, args=(c,)) for c in clients]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [c.get(b"counter") for c in clients] == [b"%d" % (3 * each)] * 3
    assert clients[0].range(b"counter").kvs[0].version == 3 * each + 1


def test_serializable_reads_do_not_go_back(clients):
    seen = 0
    for i in range(30):
        clients[0].put(b"serial/k", b"%d" % i)
        kvs = clients[2].range(b"serial/k", serializable=True).kvs
        value = int(kvs[0].value) if kvs else 0
        assert value >= seen
        seen = value


def test_headers_name_the_member(trio, clients):
    headers = [c.range(b"k").header for c in clients]
    assert len({h.member_id for h in headers}) == 3
    assert len({h.cluster_id for h in headers}) == 1
    assert len({h.raft_term for h in headers}) == 1
    listed = clients[0].cluster.MemberList(pb.MemberListRequest()).members
    assert {m.ID for m in listed} == {h.member_id for h in headers}
    assert {(m.name, *m.clientURLs) for m in listed} == {
        (n.name, n.client_url) for n in trio.nodes}


def test_hashes_equal_at_a_revision(clients):
    for i in range(50):
        clients[i % 3].put(b"hash/%d" % (i % 7), b"%d" % i)
    clients[0].delete(b"hash/1")
    revision = clients[1].delete(b"hash/", range_end=prefix_end(b"hash/")).header.revision

    def hashes():
        # A linearizable read first: a member may still have to apply the last write.
        for c in clients:
            c.range(b"k")
        return {(r.hash, r.compact_revision) for r in
                (c.maintenance.HashKV(pb.HashKVRequest(revision=revision)) for c in clients)}
    before = hashes()
    assert len(before) == 1
    clients[2].put(b"hash/later", b"x")
    assert hashes() == before
    clients[0].compact(revision, physical=True)
    assert len(hashes()) == 1


def test_status_names_one_leader(trio, clients):
    leader = leader_of(trio)
    replies = [c.maintenance.Status(pb.StatusRequest()) for c in clients]
    assert {r.leader for r in replies} == {replies[trio.nodes.index(leader)].header.member_id}
    rows = etcdctl(trio.endpoints, "endpoint", "status").stdout.decode().splitlines()
    assert [r.split(", ")[4] for r in rows] == [str(n is leader).lower() for n in trio.nodes]
