"""Waits for the first serializable Get that a starting node answers, without a gRPC library.

The request is always the same, so its bytes are written out here once: HTTP/2's preface, SETTINGS,
HEADERS and one DATA frame. A DATA frame in return is the answer; an error would come as headers
alone, and then it is asked again.
"""

import socket
import struct
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6
END_STREAM, END_HEADERS, ACK = 1, 4, 1
RETRY_S = 0.0005


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(
        ">I", stream) + payload


def text(value):
    return bytes([len(value)]) + value


def request(authority, key):
    """All that the client sends of its own accord (HPACK literals without indexing, no Huffman)."""
    headers = b"\x83\x86"  # :method POST, :scheme http
    headers += b"\x04" + text(b"/etcdserverpb.KV/Range")
    headers += b"\x01" + text(authority.encode())
    headers += b"\x0f\x10" + text(b"application/grpc")
    headers += b"\x00" + text(b"te") + text(b"trailers")
    message = b"\x0a" + text(key) + b"\x38\x01"  # RangeRequest: key, serializable
    body = b"\0" + struct.pack(">I", len(message)) + message
    return (PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, END_HEADERS, 1, headers) +
            frame(DATA, END_STREAM, 1, body))


def read_exactly(connection, count):
    got = b""
    while len(got) < count:
        piece = connection.recv(count - len(got))
        if not piece:
            raise ConnectionError("closed")
        got += piece
    return got


def is_answered(connection):
    """True at the first DATA; False when the stream ends without."""
    while True:
        head = read_exactly(connection, 9)
        payload = read_exactly(connection, int.from_bytes(head[:3], "big"))
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
        if kind == SETTINGS and not flags & ACK:
            connection.sendall(frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            connection.sendall(frame(PING, ACK, 0, payload))
        elif kind == DATA and stream == 1 and payload:
            return True
        elif kind not in (HEADERS, DATA, SETTINGS, PING, 8):
            return False  # RST_STREAM, GOAWAY
        elif kind in (HEADERS, DATA) and flags & END_STREAM:
            return False


def wait_for_get(port, key=b"none", timeout_s=300):
    """Returns once the node at this port of loopback has answered one."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(request(f"127.0.0.1:{port}", key))
                if is_answered(connection):
                    return
        except OSError:
            pass
        time.sleep(RETRY_S)
    raise TimeoutError(f"no serializable get from port {port} within {timeout_s} s")
