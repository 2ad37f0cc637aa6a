"""Put, DeleteRange and Txn, and the revisions that their headers tell."""

import random

import pytest

from cluster import Cluster
from rpc import Client, Compare, Delete, Put, Range, Txn, op, prefix_end, txn

EQUAL, GREATER, LESS, NOT_EQUAL = range(4)
NO_KEY = ("INVALID_ARGUMENT", "etcdserver: key not found")
NO_LEASE = ("NOT_FOUND", "etcdserver: requested lease not found")
DUPLICATE = ("INVALID_ARGUMENT", "etcdserver: duplicate key given in txn request")
TOO_MANY = ("INVALID_ARGUMENT", "etcdserver: too many operations in txn request")


def test_prev_kv(client, prefix):
    assert not client.put(prefix + b"k", b"1", prev_kv=True).HasField("prev_kv")
    reply = client.put(prefix + b"k", b"2", prev_kv=True)
    assert (reply.prev_kv.value, reply.prev_kv.version) == (b"1", 1)
    assert not client.put(prefix + b"k", b"3").HasField("prev_kv")
    reply = client.delete(prefix + b"k", prev_kv=True)
    assert (reply.deleted, reply.prev_kvs[0].value, reply.prev_kvs[0].version) == (1, b"3", 3)
    reply = client.delete(prefix + b"k", prev_kv=True)
    assert (reply.deleted, list(reply.prev_kvs)) == (0, [])


def test_ignore_value(client, prefix):
    assert client.refused(Put(key=prefix + b"k", ignore_value=True)) == NO_KEY
    client.put(prefix + b"k", b"1")
    client.put(prefix + b"k", ignore_value=True)
    kv = client.range(prefix + b"k").kvs[0]
    assert (kv.value, kv.version) == (b"1", 2)
    assert client.refused(Put(key=prefix + b"k", value=b"2", ignore_value=True)) == (
        "INVALID_ARGUMENT", "etcdserver: value is provided")


def test_ignore_lease(client, prefix):
    assert client.refused(Put(key=prefix + b"k", value=b"1", ignore_lease=True)) == NO_KEY
    client.put(prefix + b"k", b"1")
    client.put(prefix + b"k", b"2", ignore_lease=True)
    kv = client.range(prefix + b"k").kvs[0]
    assert (kv.value, kv.version, kv.lease) == (b"2", 2, 0)
    assert client.refused(Put(key=prefix + b"k", lease=1, ignore_lease=True)) == (
        "INVALID_ARGUMENT", "etcdserver: lease is provided")


@pytest.mark.parametrize("lease", [1, 2**63 - 1, -1])
def test_lease_not_found(client, prefix, lease):
    before = client.revision()
    assert client.refused(Put(key=prefix + b"k", lease=lease)) == NO_LEASE
    assert client.refused(txn(success=[Put(key=prefix + b"j"),
                                       Put(key=prefix + b"k", lease=lease)])) == NO_LEASE
    assert client.revision() == before
    assert client.prefix(prefix).count == 0


@pytest.mark.sanitized
def test_revisions(client, prefix):
    at = client.revision()
    assert client.put(prefix + b"a").header.revision == at + 1
    assert client.put(prefix + b"a").header.revision == at + 2  # the same value counts too
    assert client.delete(prefix + b"none").header.revision == at + 2  # nothing happened
    assert client.send(txn()).header.revision == at + 2
    assert client.send(txn(success=[Delete(key=prefix + b"none")])).header.revision == at + 2
    reply = client.send(txn(success=[Put(key=prefix + b"b"), Put(key=prefix + b"c"),
                                     Delete(key=prefix + b"a"), Range(key=prefix + b"b")]))
    assert reply.header.revision == at + 3
    assert reply.responses[3].response_range.kvs[0].mod_revision == at + 3
    assert {kv.mod_revision for kv in client.prefix(prefix).kvs} == {at + 3}
    assert client.delete(prefix, range_end=prefix_end(prefix)).header.revision == at + 4
    header = client.range(prefix).header
    assert header.cluster_id and header.member_id and header.raft_term


def holds(client, **compare):
    return client.send(Txn(compare=[Compare(**compare)])).succeeded


@pytest.mark.sanitized
@pytest.mark.parametrize("target, field", [
    (Compare.VERSION, "version"), (Compare.CREATE, "create_revision"),
    (Compare.MOD, "mod_revision"), (Compare.LEASE, "lease"), (Compare.VALUE, "value")])
def test_compare(client, prefix, target, field):
    client.put(prefix + b"k", b"m")
    client.put(prefix + b"k", b"m")
    exact = getattr(client.range(prefix + b"k").kvs[0], field)
    below, above = (b"l", b"n") if field == "value" else (exact - 1, exact + 1)
    for operand, true_for in [(below, {GREATER, NOT_EQUAL}), (exact, {EQUAL}),
                              (above, {LESS, NOT_EQUAL})]:
        for result in [EQUAL, GREATER, LESS, NOT_EQUAL]:
            assert holds(client, key=prefix + b"k", target=target, result=result,
                         **{field: operand}) == (result in true_for)


def test_compare_absent(client, prefix):
    for target, field in [(Compare.VERSION, "version"), (Compare.CREATE, "create_revision"),
                          (Compare.MOD, "mod_revision"), (Compare.LEASE, "lease")]:
        assert holds(client, key=prefix, target=target, result=EQUAL, **{field: 0})
        assert not holds(client, key=prefix, target=target, result=GREATER, **{field: 0})
    for result in [EQUAL, GREATER, LESS, NOT_EQUAL]:  # a missing value compares with nothing
        assert not holds(client, key=prefix, target=Compare.VALUE, result=result, value=b"")


@pytest.mark.sanitized
def test_compare_range(client, prefix):
    for key, value in [(b"a", b"x"), (b"b", b"x"), (b"c", b"y")]:
        client.put(prefix + key, value)

    def all_equal(start, end, value):
        return holds(client, key=prefix + start, range_end=end, target=Compare.VALUE,
                     result=EQUAL, value=value)
    assert all_equal(b"a", prefix + b"c", b"x")
    assert not all_equal(b"a", prefix_end(prefix), b"x")
    assert all_equal(b"c", prefix_end(prefix), b"y")
    assert not all_equal(b"d", prefix_end(prefix), b"y")  # no key, no value
    assert holds(client, key=prefix + b"a", range_end=prefix_end(prefix), target=Compare.VERSION,
                 result=EQUAL, version=1)
    assert holds(client, key=prefix + b"d", range_end=prefix_end(prefix), target=Compare.VERSION,
                 result=EQUAL, version=0)


def test_both_branches(client, prefix):
    missing = [Compare(key=prefix + b"k", target=Compare.VERSION, result=EQUAL, version=0)]
    request = txn(missing, [Put(key=prefix + b"k", value=b"then")], [Range(key=prefix + b"k")])
    first, second = client.send(request), client.send(request)
    assert first.succeeded and first.responses[0].HasField("response_put")
    assert not second.succeeded
    assert second.responses[0].response_range.kvs[0].value == b"then"


@pytest.mark.sanitized
def test_nested(client, prefix):
    """The inner comparison sees the state before the whole, the inner range what it did."""
    absent = [Compare(key=prefix + b"a", target=Compare.VERSION, result=EQUAL, version=0)]
    inner = txn(absent, [Put(key=prefix + b"b", value=b"2")], [Put(key=prefix + b"c")])
    reply = client.send(txn([], [Put(key=prefix + b"a", value=b"1"), inner,
                                 txn([], [txn([], [Range(key=prefix + b"a"),
                                                   Range(key=prefix + b"b")])])]))
    assert reply.responses[1].response_txn.succeeded
    deepest = reply.responses[2].response_txn.responses[0].response_txn.responses
    assert [r.response_range.kvs[0].value for r in deepest] == [b"1", b"2"]
    assert {kv.mod_revision for kv in client.prefix(prefix).kvs} == {reply.header.revision}
    assert client.keys(prefix) == [b"a", b"b"]


def put(name):
    return Put(key=b"dup/" + name)


def delete(start, end=None):
    return Delete(key=b"dup/" + start, range_end=b"dup/" + end if end else b"")


@pytest.mark.sanitized
@pytest.mark.parametrize("ops", [
    [put(b"a"), put(b"a")],
    [put(b"a"), put(b"b"), put(b"c"), put(b"a")],
    [put(b"b"), delete(b"b")],
    [delete(b"a", b"c"), put(b"b")],
    [put(b"b"), delete(b"a", b"c")],
    [put(b"a"), txn(success=[put(b"a")])],
    [txn(success=[put(b"a")]), put(b"a")],
    [txn(failure=[put(b"a")]), put(b"a")],
    [txn(success=[put(b"a")]), txn(failure=[put(b"a")])],
    [txn(success=[delete(b"a", b"c")]), put(b"b")],
    [put(b"b"), txn(success=[delete(b"a", b"c")])],
    [delete(b"a", b"c"), txn(success=[txn(failure=[put(b"b")])])],
    [txn(success=[txn(success=[put(b"b")]), put(b"b")])],
    # etcd lets these pass; the store holds one change of a key a revision.
    [txn(success=[put(b"b")]), txn(success=[delete(b"a", b"c")])],
    [Delete(key=b"dup/a", range_end=b"\0"), put(b"b")],
])
def test_key_changed_twice(client, ops):
    before = client.revision()
    assert client.refused(txn(success=ops)) == DUPLICATE
    assert client.refused(txn(failure=ops)) == DUPLICATE
    assert client.revision() == before


@pytest.mark.parametrize("success, failure", [
    ([put(b"a")], [put(b"a")]),
    ([txn(success=[put(b"a")], failure=[put(b"a")])], []),
    ([delete(b"a", b"b"), put(b"b")], []),
    ([delete(b"a", b"c"), delete(b"b", b"d"), delete(b"a")], []),
    ([delete(b"b", b"a"), put(b"b")], []),
    ([put(b"a"), put(b"a\0")], []),
])
def test_key_changed_once(client, success, failure):
    client.send(txn(success=success, failure=failure))


@pytest.mark.parametrize("field", ["success", "failure", "compare"])
def test_too_many_operations(client, prefix, field):
    def request(count):
        if field == "compare":
            return Txn(compare=[Compare(key=prefix, version=0)] * count)
        return Txn(**{field: [op(Range(key=prefix + b"%d" % i)) for i in range(count)]})
    client.send(request(128))
    assert client.refused(request(129)) == TOO_MANY


def test_nesting_counts_as_operations(client, prefix):
    request = Txn(success=[op(Range(key=prefix))])
    for _ in range(40):  # the reply is as deep, and Python's decoder stops at 100 messages
        request = Txn(success=[op(request)])
    client.send(request)
    for _ in range(90):
        request = Txn(success=[op(request)])
    assert client.refused(request) == TOO_MANY


@pytest.mark.sanitized
@pytest.mark.parametrize("value_bytes", [3, 1 << 20])
def test_replies_from_the_store(value_bytes):
    """What a write tells about older records must be theirs when those are on disk already, and a
    large one there is in pieces."""
    value = random.Random(1).randbytes(value_bytes)
    keys = [b"k" * size for size in [1, 300, 800]]
    with Cluster(1) as cluster:
        cluster.start()
        with Client(cluster.nodes[0].endpoint) as client:
            for key in keys:
                client.put(key, value)
        cluster.nodes[0].stop()
        cluster.start()
        with Client(cluster.nodes[0].endpoint) as client:
            for key in keys:
                reply = client.send(txn(success=[
                    Put(key=b"other"), Range(key=key, keys_only=True), Range(key=key),
                    Put(key=key, value=b"new", prev_kv=True)]))
                ranges = [reply.responses[i].response_range.kvs[0] for i in [1, 2]]
                previous = reply.responses[3].response_put.prev_kv
                assert [kv.key for kv in ranges] == [key] * 2
                assert [kv.value for kv in ranges] == [b"", value]
                assert (previous.key, previous.value) == (key, value)
                assert client.put(key, ignore_value=True, prev_kv=True).prev_kv.value == b"new"


def test_commands_that_change_nothing_do_not_fill_the_log():
    """Their weight alone has to bring a flush about: memtable and journal still have room."""
    with Cluster(1, ["--max-request-bytes", str(9 << 20)]) as cluster:
        with Client(cluster.start().nodes[0].endpoint) as client:
            never = Compare(key=b"k", target=Compare.VERSION, result=EQUAL, version=9)
            command = txn([never], [Put(key=b"k", value=bytes(8 << 20))])
            for _ in range(50):  # 400 MiB, more than Raft keeps in memory
                assert not client.send(command).succeeded
