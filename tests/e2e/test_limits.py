"""Clients that send garbage, never read or never speak, and ten thousand of them: each costs its own
connection and nothing else."""

import contextlib
import resource
import socket
import struct

import grpc
import pytest
from etcd3 import etcdrpc

from cluster import Cluster, WAIT_S
from faults import FAST, Rpc, error_of, resident_bytes

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 4, 6, 7


def frame(kind, payload=b"", flags=0, stream=0):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(
        ">I", stream) + payload


@pytest.fixture(scope="module")
def node():
    with Cluster(1, FAST) as cluster:
        cluster.start()
        yield cluster.nodes[0]


@pytest.fixture
def witness(node):
    """Another client, that must not notice."""
    with Rpc(node) as rpc:
        rpc.put(b"witness", b"before")
        yield rpc
        rpc.put(b"witness", b"after")
        assert rpc.get(b"witness").kvs[0].value == b"after"
    assert node.process.poll() is None, node.log


@contextlib.contextmanager
def raw(node):
    with socket.create_connection(("127.0.0.1", node.client_port), timeout=WAIT_S) as s:
        yield s


def read_all(s):
    """Until the node closes; a reset counts as a close."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := s.recv(65536):
            data += piece
    return data


def read_exactly(s, size):
    data = b""
    while len(data) < size:
        piece = s.recv(size - len(data))
        assert piece, "closed early"
        data += piece
    return data


def read_frame(s):
    head = read_exactly(s, 9)
    return head[3], read_exactly(s, int.from_bytes(head[:3], "big"))


GARBAGE = {
    "zeros": bytes(1000),
    "text": b"hello, is there anybody?\r\n\r\n",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "spoiled preface": PREFACE[:12] + b"3" + PREFACE[13:],
    "garbage after the preface": PREFACE + b"\xff" * 1000,
    "no settings first": PREFACE + frame(PING, bytes(8)),
    "frame too large": PREFACE + frame(SETTINGS) + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
    "data on no stream": PREFACE + frame(SETTINGS) + frame(0, b"x", stream=1),
    "settings of a wrong size": PREFACE + frame(SETTINGS, b"abc"),
    "headers that do not unpack": PREFACE + frame(SETTINGS) + frame(1, b"\xff" * 100, 5, 1),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_ends_its_connection(node, witness, name):
    with raw(node) as s:
        s.sendall(GARBAGE[name])
        answer = read_all(s)
    if GARBAGE[name].startswith(PREFACE) and answer:
        kinds = []
        while len(answer) >= 9:
            size = int.from_bytes(answer[:3], "big")
            kinds.append(answer[3])
            answer = answer[9 + size:]
        assert GOAWAY in kinds


@pytest.mark.parametrize("start", [b"", PREFACE[:10], PREFACE + frame(SETTINGS)[:5]],
                         ids=["nothing", "half a preface", "half a frame"])
def test_half_a_message_then_silence(node, witness, start):
    with raw(node) as s:
        s.sendall(start)
        witness.put(b"k", b"v")
        s.shutdown(socket.SHUT_WR)
        read_all(s)


def test_http_1_gets_an_answer(node, witness):
    with raw(node) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_all(s).startswith(b"HTTP/1.1 ")


def test_too_many_pings_get_goaway(node, witness):
    with raw(node) as s:
        s.sendall(PREFACE + frame(SETTINGS))
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                s.sendall(frame(PING, bytes(8)))
        goaways = []
        with contextlib.suppress(ConnectionError, AssertionError):
            while True:
                kind, payload = read_frame(s)
                if kind == GOAWAY:
                    goaways.append(payload)
        assert any(b"too_many_pings" in g and g[4:8] == struct.pack(">I", 11) for g in goaways)


def test_oversized_messages(node, witness):
    code, text = error_of(witness.put, b"k", bytes(1572864 + 1))
    assert (code, text) == (grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: request is too large")
    code, text = error_of(witness.put, b"k", bytes(3 << 20))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in text, text
    assert witness.put(b"k", bytes(1572864 - 100)).header.revision > 0


def test_clients_that_never_read(node, witness):
    """Each asks for far more than it takes; what waits for them is bounded."""
    for i in range(30):
        witness.put(b"big/%d" % i, bytes(1 << 20))
    before = resident_bytes(node)
    request = etcdrpc.RangeRequest(key=b"big/", range_end=b"big0").SerializeToString()
    message = b"\0" + struct.pack(">I", len(request)) + request
    path = b"/etcdserverpb.KV/Range"
    headers = (b"\x83\x86\x01\x01x\x04" + bytes([len(path)]) + path + b"\x00\x0ccontent-type\x10"
               b"application/grpc\x00\x02te\x08trailers")
    window = frame(SETTINGS, struct.pack(">HI", 4, 0x7FFFFFFF)) + frame(
        8, struct.pack(">I", 0x7FFF0000 - 65535))
    with raw(node) as s:  # the same question from one that reads: it is a good one
        s.sendall(PREFACE + window + frame(1, headers, 4, 1) + frame(0, message, 1, 1))
        read = 0
        while read < 30 << 20:
            kind, payload = read_frame(s)
            read += len(payload) if kind == 0 else 0
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            s = stack.enter_context(socket.socket())
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.connect(("127.0.0.1", node.client_port))
            s.sendall(PREFACE + window + frame(1, headers, 4, 1) + frame(0, message, 1, 1))
        for _ in range(50):
            witness.put(b"k", b"v")
            assert len(witness.get(b"witness").kvs) == 1
        grown = resident_bytes(node) - before
        print(f"20 clients that never read 30 MiB each: {grown / 1e6:.0f} MB more")
        assert grown < 20 * 40e6, grown


def test_ten_thousand_connections(node, witness):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 10000
    if hard < wanted + 500:
        pytest.skip(f"only {hard} file descriptors are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    before = resident_bytes(node)
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(wanted):
            s = stack.enter_context(raw(node))
            s.sendall(PREFACE + frame(SETTINGS))
            clients.append(s)
        for s in clients:  # each has its session: the node's own settings came
            assert read_frame(s)[0] == SETTINGS
        for i in range(100):
            witness.put(b"many", b"%d" % i)
        grown = resident_bytes(node) - before
        print(f"{wanted} connections: {grown / 1e6:.0f} MB more, {grown / wanted / 1e3:.1f} kB each")
        for s in clients[::100]:  # and they still live
            s.sendall(frame(PING, b"12345678"))
            while True:
                kind, payload = read_frame(s)
                if kind == PING:
                    assert payload == b"12345678"
                    break
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
