"""Compaction: what is refused, and what can be read below, at and above it."""

import pytest

from rpc import Compaction, Put, Range, Txn, op, prefix_end, txn

COMPACTED = ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted")
FUTURE = ("OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision")


@pytest.mark.sanitized
@pytest.mark.parametrize("physical", [False, True])
def test_reads_around_it(client, prefix, physical):
    revisions = [client.put(prefix + b"k", b"%d" % i).header.revision for i in range(5)]
    gone = client.put(prefix + b"gone", b"x").header.revision
    client.delete(prefix + b"gone")
    assert client.compact(revisions[2], physical).header.revision == gone + 1
    for revision in revisions[:2]:
        assert client.refused(Range(key=prefix + b"k", revision=revision)) == COMPACTED
        assert client.refused(Range(key=b"\0", range_end=b"\0", revision=revision)) == COMPACTED
        assert client.refused(txn(success=[Range(key=b"x", revision=revision)])) == COMPACTED
    for i in range(2, 5):  # what it was at the compacted revision itself is still known
        assert client.get(prefix + b"k", revision=revisions[i]) == b"%d" % i
    client.compact(gone + 1, physical)
    assert client.keys(prefix) == [b"k"]
    assert client.get(prefix + b"k", revision=gone + 1) == b"4"
    assert client.range(prefix + b"k").kvs[0].version == 5
    assert client.prefix(prefix, revision=gone + 1).count == 1


def test_refusals(client, prefix):
    newest = client.put(prefix, b"1").header.revision
    assert client.refused(Compaction(revision=newest + 1)) == FUTURE
    assert client.refused(Compaction(revision=-1)) == COMPACTED
    client.compact(newest)
    assert client.refused(Compaction(revision=newest)) == COMPACTED
    assert client.refused(Compaction(revision=newest - 1, physical=True)) == COMPACTED
    assert client.refused(Compaction()) == COMPACTED
    assert client.get(prefix) == b"1"
    assert client.revision() == newest


def test_the_newest_of_many(client, prefix):
    for i in range(0, 300, 100):
        client.send(Txn(success=[op(Put(key=prefix + b"%03d" % j)) for j in range(i, i + 100)]))
    client.delete(prefix + b"1", range_end=prefix + b"2")
    newest = client.revision()
    client.compact(newest, physical=True)
    assert client.keys(prefix) == [b"%03d" % i for i in [*range(100), *range(200, 300)]]
    deleted = client.delete(prefix, range_end=prefix_end(prefix))
    assert deleted.deleted == 200
