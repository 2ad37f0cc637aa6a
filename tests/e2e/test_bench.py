"""holdfast-bench against real nodes: what it counts, never how fast that was."""

import json
import os
import signal
import subprocess

import pytest

from cluster import BUILD, WAIT_S, Cluster, leader_of, run, status
from rpc import Client

BENCH = os.path.join(BUILD, "holdfast-bench")
KEYS = 300
TOTAL = 200


def bench(endpoints, *arguments):
    result = run([BENCH, f"--endpoints={endpoints}", "--json=-", "--warm-up=0", f"--keys={KEYS}",
                  "--connections=3", "--in-flight=5", *arguments])
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def node():
    with Cluster(1) as cluster:
        made = cluster.start().nodes[0]
        loaded = bench(made.endpoint, "load", "--key-prefix=b/")
        assert (loaded["operations"], loaded["errors"]) == (KEYS, {})
        yield made


@pytest.mark.sanitized
@pytest.mark.parametrize("workload", ["put", "put-random", "put-one", "txn", "get",
                                      "get-serializable", "range", "count", "mixed", "echo"])
def test_workload(node, workload):
    pid = str(node.process.pid)
    seen = bench(node.endpoint, workload, "--key-prefix=b/", f"--total={TOTAL}", "--limit=20",
                 f"--server-pids={pid}")
    assert seen["workload"] == workload
    assert seen["operations"] + sum(seen["errors"].values()) == TOTAL
    # Each key once: the bench did not write what is there.
    assert set(seen["errors"]) <= ({"compare-failed"} if workload == "txn" else set())
    assert seen["empty_answers"] == 0
    latency = seen["latency_us"]
    assert 0 < latency["min"] <= latency["p50"] <= latency["p99"] <= latency["p9999"]
    assert latency["p9999"] <= latency["max"]
    assert seen["bytes_sent"] > 0 and seen["bytes_received"] > 0
    assert seen["server_cpu_us_per_op"] is not None


def test_keys(node):
    with Client(node.endpoint) as client:
        assert client.prefix(b"b/").count == KEYS
        assert client.range(b"b/00000007").count == 1
    assert bench(node.endpoint, "get", "--key-prefix=nobody", "--total=50")["empty_answers"] == 50


def test_transactions_learn_revisions(node):
    """Two runs on the same keys: the second learns each revision from one failed compare."""
    first = bench(node.endpoint, "txn", "--key-prefix=t/", "--total=1000")
    assert (first["operations"], first["errors"]) == (1000, {})
    second = bench(node.endpoint, "txn", "--key-prefix=t/", "--total=3000")
    failed = second["errors"].pop("compare-failed")
    assert 0 < failed <= KEYS and second["errors"] == {}
    assert second["operations"] == 3000 - failed


def test_open_loop(node):
    seen = bench(node.endpoint, "get", "--key-prefix=b/", "--total=100", "--rate=1000")
    assert (seen["operations"], seen["rate"]) == (100, 1000)


def test_refused_calls_have_a_name(node):
    result = run([BENCH, f"--endpoints={node.endpoint}", "--json=-", "--warm-up=0", "--total=10",
                  "--value-bytes=1600000", "put"], check=False)
    assert result.returncode == 1
    assert json.loads(result.stdout)["errors"] == {
        "INVALID_ARGUMENT: etcdserver: request is too large": 10}


def test_limit(tmp_path):
    result = run([BENCH, "limit", "--dir", str(tmp_path), "--rounds=20", "--json=-"])
    seen = json.loads(result.stdout)
    for part in ["own_write_us", "round_us", "total_us", "echo_us"]:
        assert 0 < seen[part]["p50"] <= seen[part]["p99"]
    assert os.listdir(tmp_path) == []


def test_goes_on_when_the_leader_is_killed():
    with Cluster(3) as cluster:
        cluster.start()
        leader = leader_of(cluster)
        running = subprocess.Popen(
            [BENCH, f"--endpoints={cluster.endpoints}", "--json=-", "--warm-up=0",
             "--seconds=600", "put-one"], stdout=subprocess.PIPE)
        try:
            others = [n for n in cluster.nodes if n is not leader]
            with Client(others[0].endpoint) as client:
                wait_for_writes(client)
                leader.kill()
                leader_of(cluster)
                wait_for_writes(client)
            running.send_signal(signal.SIGINT)
            seen = json.loads(running.communicate(timeout=WAIT_S)[0])
        finally:
            running.kill()
            running.wait()
    assert running.returncode == 0
    assert seen["interrupted"] and seen["operations"] > 0
    assert any(kind.startswith("connection lost") for kind in seen["errors"])
    assert seen["longest_gap_ms"] > 0


def wait_for_writes(client):
    """Until there are a hundred revisions more."""
    until = client.revision() + 100
    while client.revision() < until:
        pass


@pytest.mark.parametrize("arguments", [["fly"], ["put", "--second=1"], ["put", "--total=x"], []])
def test_bad_flags(arguments):
    result = run([BENCH, *arguments], check=False)
    assert result.returncode == 2
    assert result.stderr.startswith(b"holdfast-bench: ") and result.stderr.count(b"\n") == 1


def test_nobody_there():
    result = run([BENCH, "--endpoints=127.0.0.1:1", "get"], check=False)
    assert result.returncode == 1
    assert b"Connection refused" in result.stderr


def test_more_than_can_be_done_at_once():
    """20,000 puts in flight on a leader that lets 8,192 wait: some are done and some refused, all
    are answered, and nobody takes the leader for dead."""
    with Cluster(3) as cluster:
        cluster.start()
        leader = leader_of(cluster)
        term = status(leader)["raftTerm"]
        seen = bench(leader.endpoint, "put-one", "--connections=50", "--in-flight=400",
                     "--total=60000", "--call-timeout=60000")
        assert seen["operations"] + sum(seen["errors"].values()) == 60000
        assert set(seen["errors"]) <= {"RESOURCE_EXHAUSTED: etcdserver: too many requests"}
        assert seen["operations"] > 20000
        assert status(leader)["raftTerm"] == term
