"""What the fault tests share: writers that remember, RPCs to one node, starts that must fail."""

import json
import os
import subprocess

import grpc
from etcd3 import etcdrpc

from cluster import BUILD, WAIT_S

WRITERS = os.path.join(BUILD, "tests", "e2e", "writers")

# Elections in a tenth of the usual time; requests give up after 5 s and twice this.
FAST = ["--heartbeat-interval", "20", "--election-timeout", "200"]


class Writers:
    """tests/e2e/writers: puts unique keys and knows which of them must be there."""

    def __init__(self, nodes, count=8, value_bytes=100, timeout_ms=400, mode="put"):
        self.process = subprocess.Popen(
            [WRITERS, ",".join(n.endpoint for n in nodes), str(count), str(value_bytes),
             str(timeout_ms), mode],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, command):
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"writers ended at {command!r} with {self.process.wait()}"
        return json.loads(answer)

    def run(self):
        self.ask("run")
        return self

    def wait(self, more):
        return self.ask(f"wait {more}")

    def stop(self):
        return self.ask("stop")

    def verify(self, node, command="verify"):
        """All that was acknowledged is on that node, as it was written, once."""
        found = self.ask(f"{command} {node.endpoint}")
        assert not found.get("failed"), f"{node.name} cannot be read:\n{node.log[-4000:]}"
        assert (found["missing"], found["strange"], found["again"]) == (0, 0, 0), (node.name, found)
        return found

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Rpc:
    """One node's services, on a connection of their own."""

    def __init__(self, node, options=()):
        self.channel = grpc.insecure_channel(node.endpoint, options=[
            ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
            ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0), *options])
        self.kv = etcdrpc.KVStub(self.channel)
        self.maintenance = etcdrpc.MaintenanceStub(self.channel)
        self.cluster = etcdrpc.ClusterStub(self.channel)

    def put(self, key, value, **call):
        return self.kv.Put(etcdrpc.PutRequest(key=key, value=value), timeout=WAIT_S, **call)

    def get(self, key, serializable=False, **call):
        return self.kv.Range(etcdrpc.RangeRequest(key=key, serializable=serializable),
                             timeout=WAIT_S, **call)

    def hash_kv(self, revision):
        return self.maintenance.HashKV(etcdrpc.HashKVRequest(revision=revision), timeout=WAIT_S)

    def status(self):
        return self.maintenance.Status(etcdrpc.StatusRequest(), timeout=WAIT_S)

    def close(self):
        self.channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def error_of(call, *arguments, **options):
    """Code and text of a call that must fail."""
    try:
        call(*arguments, **options)
    except grpc.RpcError as error:
        return error.code(), error.details()
    raise AssertionError("the call did not fail")


def verify_all(cluster, writers):
    """Every acknowledged write on every node, and one hash."""
    found = [writers.verify(n) for n in cluster.nodes]
    revision = max(f["revision"] for f in found)
    hashes = set()
    for n in cluster.nodes:
        with Rpc(n) as rpc:
            rpc.get(b"x")  # up to what a quorum has: not behind that revision
            hashes.add(rpc.hash_kv(revision).hash)
    assert len(hashes) == 1, hashes
    return found


def text_lines(node):
    """What the node said for people: its log on stderr without the log's JSON lines."""
    return [line for line in node.log.splitlines() if not line.startswith("{")]


def resident_bytes(node):
    with open(f"/proc/{node.process.pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(node):
    with open(f"/proc/{node.process.pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
