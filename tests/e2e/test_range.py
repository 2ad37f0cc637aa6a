"""Every option of Range, alone; test_against_etcd.py mixes them."""

import pytest

from rpc import DEADLINE_S, Put, Range, prefix_end, txn

KEY, VERSION, CREATE, MOD, VALUE = range(5)
NONE, ASCEND, DESCEND = range(3)
FUTURE = ("OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision")


@pytest.fixture(scope="module")
def base(cluster, client):
    """Five keys; returns the revision before them. Sorted by anything, the order differs:

        key      a  b  c  d  e
        value    5  3  4  1  2
        create  +1 +2 +3 +4 +5
        mod     +7 +2 +8 +4 +6
        version  2  1  3  1  1     (c is put twice more: +8 and, at first, +3; see below)
    """
    before = client.revision()
    for key, value in [(b"a", b"0"), (b"b", b"3"), (b"c", b"0"), (b"d", b"1"), (b"e", b"0")]:
        client.put(b"range/" + key, value)
    for key, value in [(b"e", b"2"), (b"a", b"5"), (b"c", b"0"), (b"c", b"4")]:
        client.put(b"range/" + key, value)
    return before


def keys(client, **options):
    return b"".join(client.keys(b"range/", **options))


@pytest.mark.sanitized
@pytest.mark.parametrize("target, ascending", [
    (KEY, b"abcde"), (VERSION, b"bdaec"), (CREATE, b"abcde"), (MOD, b"bdeac"),
    (VALUE, b"debca")])
def test_order(client, base, target, ascending):
    assert keys(client, sort_target=target, sort_order=ASCEND) == ascending
    assert keys(client, sort_target=target, sort_order=NONE) == ascending
    if target != VERSION:  # which has ties
        assert keys(client, sort_target=target, sort_order=DESCEND) == ascending[::-1]
    reply = client.prefix(b"range/", sort_target=target, sort_order=ASCEND, limit=2)
    assert [kv.key[-1:] for kv in reply.kvs] == [ascending[0:1], ascending[1:2]]
    assert reply.more and reply.count == 5


def test_ties_stay_in_key_order(client, base):
    assert keys(client, sort_target=VERSION, sort_order=DESCEND) == b"caebd"


@pytest.mark.parametrize("options, found", [
    ({"min_mod_revision": 6}, b"ace"), ({"max_mod_revision": 6}, b"bde"),
    ({"min_mod_revision": 5, "max_mod_revision": 7}, b"ae"),
    ({"min_create_revision": 3}, b"cde"), ({"max_create_revision": 2}, b"ab"),
    ({"min_create_revision": 2, "max_mod_revision": 6}, b"bde")])
def test_filters(client, base, options, found):
    options = {name: base + offset for name, offset in options.items()}
    reply = client.prefix(b"range/", **options)
    assert b"".join(kv.key[-1:] for kv in reply.kvs) == found
    assert reply.count == 5  # of all in the range, as etcd counts
    assert not reply.more


def test_limit_applies_after_filters(client, base):
    reply = client.prefix(b"range/", min_mod_revision=base + 6, limit=2)
    assert [kv.key[-1:] for kv in reply.kvs] == [b"a", b"c"]
    assert reply.more


@pytest.mark.parametrize("limit, count, more", [
    (0, 5, False), (1, 1, True), (4, 4, True), (5, 5, False), (6, 5, False), (2**63 - 1, 5, False),
    (-1, 5, False)])
def test_limit(client, base, limit, count, more):
    reply = client.prefix(b"range/", limit=limit)
    assert (len(reply.kvs), reply.more, reply.count) == (count, more, 5)


def test_keys_only(client, base):
    reply = client.prefix(b"range/", keys_only=True, sort_target=VALUE, sort_order=ASCEND)
    assert [(kv.key[-1:], kv.value) for kv in reply.kvs] == [(bytes([k]), b"") for k in b"debca"]
    assert all(kv.version and kv.mod_revision and kv.create_revision for kv in reply.kvs)


def test_count_only(client, base):
    reply = client.prefix(b"range/", count_only=True, limit=2)
    assert (list(reply.kvs), reply.count, reply.more) == ([], 5, False)


def test_which_keys(client, base):
    def found(key, range_end):
        reply = client.range(key, range_end=range_end)
        return b"".join(kv.key[-1:] for kv in reply.kvs if kv.key.startswith(b"range/"))
    assert found(b"range/b", b"") == b"b"
    assert found(b"range/b", b"range/d") == b"bc"
    assert found(b"range/b", b"range/b") == b""
    assert found(b"range/d", b"range/b") == b""
    assert found(b"range/d", b"\0") == b"de"  # to the very end
    assert found(b"\0", b"\0") == b"abcde"  # all there is
    assert found(b"range/", prefix_end(b"range/")) == b"abcde"
    assert found(b"range/bb", b"\0") == b"cde"


@pytest.mark.sanitized
def test_history(client, base):
    def at(offset):
        return [(kv.key[-1:], kv.value) for kv in client.prefix(
            b"range/", revision=base + offset).kvs]
    assert at(1) == [(b"a", b"0")]
    assert at(6) == [(b"a", b"0"), (b"b", b"3"), (b"c", b"0"), (b"d", b"1"), (b"e", b"2")]
    assert at(9) == [(b"a", b"5"), (b"b", b"3"), (b"c", b"4"), (b"d", b"1"), (b"e", b"2")]
    old = client.range(b"range/c", revision=base + 8)
    assert old.kvs[0].version == 2 and old.kvs[0].mod_revision == base + 8
    assert old.header.revision >= base + 9  # the header tells the newest all the same
    assert client.get(b"range/c", revision=-1) == b"4"
    assert client.refused(Range(key=b"range/c", revision=old.header.revision + 100)) == FUTURE


def test_deleted_keys_stay_in_history(client, prefix):
    put = client.put(prefix + b"k", b"1").header.revision
    client.delete(prefix + b"k")
    assert client.get(prefix + b"k") is None
    assert client.get(prefix + b"k", revision=put) == b"1"
    again = client.put(prefix + b"k", b"2").header.revision
    kv = client.range(prefix + b"k").kvs[0]
    assert (kv.version, kv.create_revision, kv.mod_revision) == (1, again, again)


def test_serializable_reads_on_this_node(client, base):
    assert keys(client, serializable=True) == b"abcde"


@pytest.mark.parametrize("options", [{"sort_order": 3}, {"sort_target": 5}, {"sort_order": -1}])
def test_unknown_order(client, options):
    refusal = ("INVALID_ARGUMENT", "etcdserver: invalid sort option")
    assert client.refused(Range(key=b"k", **options)) == refusal
    assert client.refused(txn(success=[Put(key=b"k"), Range(key=b"k", **options)])) == refusal


def test_more_long_reads_than_run_at_once_wait(client, prefix):
    """Each walks 600 keys, so each is a job; none is refused, and a short read gets through."""
    for first in range(0, 600, 100):
        client.send(txn(success=[Put(key=prefix + b"%04d" % i, value=b"v")
                                 for i in range(first, first + 100)]))
    whole = Range(key=prefix, range_end=prefix_end(prefix))
    replies = [client.kv.Range.future(whole, timeout=DEADLINE_S) for _ in range(300)]
    assert client.get(prefix + b"0007") == b"v"
    assert all(len(reply.result().kvs) == 600 for reply in replies)


def test_large_answers_beside_short_ones_on_one_connection(client, prefix):
    value = bytes(range(256)) * 256
    for first in range(0, 120, 20):
        client.send(txn(success=[Put(key=prefix + b"%04d" % i, value=value)
                                 for i in range(first, first + 20)]))
    whole = Range(key=prefix, range_end=prefix_end(prefix))
    replies = [client.kv.Range.future(whole, timeout=DEADLINE_S) for _ in range(16)]
    assert all(client.get(prefix + b"0007") == value for _ in range(20))
    assert all(len(reply.result().kvs) == 120 for reply in replies)


def test_many_keys_in_pages(client, prefix):
    """More than one transaction or one piece of work holds."""
    for first in range(0, 1200, 100):
        client.send(txn(success=[Put(key=prefix + b"%05d" % i, value=b"%d" % i)
                                 for i in range(first, first + 100)]))
    everything = client.prefix(prefix)
    assert everything.count == 1200
    assert [kv.value for kv in everything.kvs] == [b"%d" % i for i in range(1200)]
    start, pages = prefix, []
    while True:
        page = client.range(start, range_end=prefix_end(prefix), limit=500,
                            revision=everything.header.revision)
        pages += page.kvs
        if not page.more:
            break
        start = page.kvs[-1].key + b"\0"
    assert pages == list(everything.kvs)
    deleted = client.delete(prefix, range_end=prefix_end(prefix), prev_kv=True)
    assert deleted.deleted == 1200
    assert list(deleted.prev_kvs) == pages
    assert client.prefix(prefix).count == 0
    assert client.prefix(prefix, revision=everything.header.revision).count == 1200
