"""Keys and values of any bytes and of any size up to the limit."""

import random

import pytest

from rpc import Delete, Put, Range, op, txn
from rpc import Compare, Txn

EMPTY_KEY = ("INVALID_ARGUMENT", "etcdserver: key is not provided")
TOO_LARGE = ("INVALID_ARGUMENT", "etcdserver: request is too large")
MIB = 1 << 20
REQUEST_BYTES_MAX = MIB * 3 // 2


@pytest.mark.sanitized
def test_binary(client, prefix):
    pairs = {prefix + key: value for key, value in [
        (b"\0", b"\0\0"), (b"\0\0", b""), (b"", b"\xff"), (b"a\0b", b"\0a"), (b"a", b"\r\n"),
        (b"\xff", b"\xff\xfe"), (b"\xff\xff", bytes(range(256))), (b"\xc3\x28", b"not UTF-8")]}
    for key, value in pairs.items():
        client.put(key, value)
    assert [(kv.key, kv.value) for kv in client.prefix(prefix).kvs] == sorted(pairs.items())
    for key, value in pairs.items():
        assert client.get(key) == value
    assert client.delete(prefix + b"\0").deleted == 1
    assert client.get(prefix + b"\0\0") == b""


@pytest.mark.sanitized
def test_long_keys_in_order(client, prefix):
    """Around LMDB's 511 bytes and several times that, with the difference early, late, at the
    end, or only in the length."""
    rng = random.Random(7)
    keys = [prefix]
    for size in [100, 500, 510, 511, 512, 1022, 1023, 1024, 5000, 70000]:
        stem = prefix + b"s" * size
        keys += [stem, stem + b"\0", stem + b"\0\0", stem + b"a", stem[:-1] + b"t"]
        keys.append(stem[:size // 2] + b"r" + stem[size // 2 + 1:])
        keys.append(prefix + rng.randbytes(size))
    keys = list(dict.fromkeys(keys))
    rng.shuffle(keys)
    for key in keys:
        client.put(key, key[-20:])
    assert [kv.key for kv in client.prefix(prefix).kvs] == sorted(keys)
    for key in keys:
        assert client.get(key) == key[-20:]
        after = client.range(key, range_end=b"\0", limit=2)
        assert after.kvs[0].key == key
    middle = sorted(keys)[len(keys) // 3:-len(keys) // 3]
    deleted = client.delete(middle[0], range_end=middle[-1] + b"\0", prev_kv=True)
    assert [kv.key for kv in deleted.prev_kvs] == middle
    assert [kv.key for kv in client.prefix(prefix).kvs] == [
        k for k in sorted(keys) if k not in middle]


def test_huge_keys_in_order(client, prefix):
    stem = prefix + b"k" * (14 * MIB // 10)
    keys = [stem, stem + b"\0", stem + b"a", stem[:-1] + b"l", stem[:MIB] + b"j"]
    for key in reversed(keys):
        client.put(key, b"%d" % len(key))
    assert [kv.key for kv in client.prefix(prefix, keys_only=True).kvs] == sorted(keys)
    for key in keys:
        assert client.get(key) == b"%d" % len(key)
    assert client.delete(stem, range_end=prefix + b"l").deleted == 4
    assert [kv.key for kv in client.prefix(prefix).kvs] == [keys[-1]]


def test_values_to_the_limit(client, prefix):
    """The limit is the encoded request's: the largest that passes, and one byte more."""
    key = prefix + b"k"
    frame = Put(key=key, value=b"v" * MIB).ByteSize() - MIB
    for seed, size in enumerate([0, 1, 4095, 4096, 65536, MIB, REQUEST_BYTES_MAX - frame]):
        value = random.Random(seed).randbytes(size)
        client.put(key, value)
        assert client.get(key) == value
    before = client.revision()
    assert client.refused(Put(key=key, value=b"v" * (REQUEST_BYTES_MAX - frame + 1))) == TOO_LARGE
    assert client.refused(txn(success=[Put(key=key, value=b"v" * REQUEST_BYTES_MAX)])) == TOO_LARGE
    assert client.revision() == before
    assert client.get(key) == value


def test_a_reply_larger_than_a_request(client, prefix):
    value = b"v" * MIB
    for i in range(6):
        client.put(prefix + b"%d" % i, value)
    assert [kv.value for kv in client.prefix(prefix).kvs] == [value] * 6
    deleted = client.delete(prefix, range_end=prefix[:-1] + b"0", prev_kv=True)
    assert [kv.value for kv in deleted.prev_kvs] == [value] * 6


@pytest.mark.sanitized
@pytest.mark.parametrize("request_without_key", [
    Range(), Range(range_end=b"\0"), Put(value=b"v"), Delete(), Delete(range_end=b"z"),
    Txn(compare=[Compare()]), txn(success=[Put()]), txn(failure=[Delete()]),
    txn(success=[txn(failure=[Range()])])])
def test_empty_key(client, request_without_key):
    assert client.refused(request_without_key) == EMPTY_KEY


def test_operation_without_request(client):
    assert client.refused(Txn(success=[op(Put(key=b"k")), {}])) == (
        "INVALID_ARGUMENT", "etcdserver: key not found")
