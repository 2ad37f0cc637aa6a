"""gRPC itself: deadlines, metadata, what does not exist, and clients with odd habits."""

import grpc
import pytest

from cluster import Cluster
from rpc import Client, Put, Range


def raw(client, path, payload=b"", timeout_s=30):
    """(code, text) of a call that no stub knows."""
    try:
        client.channel.unary_unary(path)(payload, timeout=timeout_s)
    except grpc.RpcError as e:
        return e.code().name, e.details()
    return "OK", ""


@pytest.mark.sanitized
def test_unknown_service_and_method(client):
    assert raw(client, "/no.Such/Method") == ("UNIMPLEMENTED", "unknown service no.Such")
    assert raw(client, "/etcdserverpb.KV/Nothing") == (
        "UNIMPLEMENTED", "unknown method Nothing for service etcdserverpb.KV")


@pytest.mark.sanitized
def test_garbage_for_a_message(client):
    code, _ = raw(client, "/etcdserverpb.KV/Put", b"\xff\xff\xff")
    assert code == "INTERNAL"
    assert client.put(b"k").header.revision > 1


def nested(levels):
    """A transaction that holds nothing but one, that many times; written inside out."""
    parts, size = [], 0
    for i in range(2 * levels):
        length, left = b"", size
        while left >= 0x80:
            length += bytes([left & 0x7f | 0x80])
            left >>= 7
        parts.append((b"\x22" if i % 2 == 0 else b"\x12") + length + bytes([left]))
        size += len(parts[-1])
    return b"".join(reversed(parts))


@pytest.mark.sanitized
def test_nothing_but_nesting(client):
    """No depth may run the server's stack over."""
    assert raw(client, "/etcdserverpb.KV/Txn", nested(100)) == ("OK", "")
    assert raw(client, "/etcdserverpb.KV/Txn", nested(140)) == (
        "INVALID_ARGUMENT", "etcdserver: too many operations in txn request")
    for levels in [200, 20000, 150000]:
        code, _ = raw(client, "/etcdserverpb.KV/Txn", nested(levels))
        assert code == "INTERNAL"
    assert client.put(b"k").header.revision > 1


def test_message_larger_than_any(client):
    """etcd's bound on a message: the request's limit and half a MiB more."""
    assert client.refused(Put(key=b"k", value=b"v" * (2 << 20)))[0] == "RESOURCE_EXHAUSTED"


def test_endpoint_as_authority(cluster):
    """etcd's clients up to 3.4 send the endpoint's whole URL as :authority."""
    node = cluster.nodes[0]
    with grpc.insecure_channel(node.endpoint, options=[
            ("grpc.default_authority", node.client_url)]) as channel:
        channel.unary_unary("/etcdserverpb.KV/Range")(Range(key=b"k").SerializeToString(),
                                                      timeout=30)


def test_has_leader_with_one(client):
    assert client.send(Put(key=b"k"), metadata=[("hasleader", "true")]).header.revision > 1


@pytest.mark.sanitized
def test_without_a_leader():
    """One of three alone: what needs the others ends at the client's deadline, or at once when
    the client asks for a leader; what does not, works."""
    with Cluster(3) as cluster:
        cluster.start()
        with Client(cluster.nodes[0].endpoint) as client:
            client.put(b"k", b"v")
            assert client.get(b"k") == b"v"
            cluster.nodes[1].kill()
            cluster.nodes[2].kill()
            code, _ = client.refused(Put(key=b"k", value=b"w"), timeout_s=0.3)
            assert code == "DEADLINE_EXCEEDED"
            code, _ = client.refused(Range(key=b"k"), timeout_s=0.3)
            assert code == "DEADLINE_EXCEEDED"
            assert client.get(b"k", serializable=True) == b"v"
            no_leader = ("UNAVAILABLE", "etcdserver: no leader")
            while client.refused(Range(key=b"k", serializable=False), timeout_s=0.3,
                                 metadata=[("hasleader", "true")]) != no_leader:
                pass  # until check-quorum made it step down
            assert client.refused(Put(key=b"k"), metadata=[("hasleader", "true")]) == no_leader
            cluster.nodes[1].start().wait_ready()
            client.put(b"k", b"x")
            assert client.get(b"k") == b"x"


def test_health(client):
    """grpc.health.v1.Health/Check of the whole server: status SERVING (1)."""
    check = client.channel.unary_unary("/grpc.health.v1.Health/Check")
    assert check(b"", timeout=30) == b"\x08\x01"
