"""Debian's etcdctl, in all its output formats, and holdfastctl beside it: scripts that read the
one can read the other."""

import base64
import json
import re

import pytest

from cluster import etcdctl, holdfastctl
from rpc import Client

FORMATS = ["simple", "json", "table", "fields"]


@pytest.fixture(scope="module")
def seeded(cluster):
    """A node's endpoint; keys put in a known order."""
    with Client(cluster.nodes[-1].endpoint) as client:
        for key, value in [(b"k/a", b"va"), (b"k/b", b"vb"), (b"k/c", b"1"), (b"k/a", b"va2"),
                           (b"bin\0\xff", b"\x01\xfe"), (b"q", b'say "x"\n')]:
            client.put(key, value)
    return cluster.nodes[-1].endpoint


def out(endpoint, *arguments, stdin=b""):
    return etcdctl(endpoint, *arguments, stdin=stdin).stdout.decode()


def decoded(endpoint, *arguments, stdin=b""):
    return json.loads(out(endpoint, *arguments, "-w", "json", stdin=stdin))


def refused(endpoint, *arguments):
    result = etcdctl(endpoint, *arguments, check=False)
    assert result.returncode != 0
    return result.stderr.decode().splitlines()[-1]


@pytest.mark.sanitized
def test_put_get_del(seeded):
    assert out(seeded, "put", "etcdctl/k", "v") == "OK\n"
    assert out(seeded, "put", "etcdctl/k", "w", "--prev-kv") == "OK\netcdctl/k\nv\n"
    assert out(seeded, "get", "etcdctl/k") == "etcdctl/k\nw\n"
    assert out(seeded, "get", "etcdctl/k", "--print-value-only") == "w\n"
    reply = decoded(seeded, "get", "etcdctl/k")
    assert reply["count"] == 1 and reply["kvs"][0]["version"] == 2
    assert base64.b64decode(reply["kvs"][0]["value"]) == b"w"
    fields = out(seeded, "get", "etcdctl/k", "-w", "fields").splitlines()
    assert '"Value" : "w"' in fields and '"Version" : 2' in fields and '"Count" : 1' in fields
    assert out(seeded, "put", "etcdctl/k", "--ignore-value") == "OK\n"
    assert out(seeded, "del", "etcdctl/k", "--prev-kv") == "1\netcdctl/k\nw\n"
    assert out(seeded, "del", "etcdctl/k") == "0\n"
    assert out(seeded, "get", "etcdctl/k") == ""


def test_range_flags(seeded):
    def keys(*flags):
        return out(seeded, "get", *flags, "--keys-only").split()
    assert keys("k/", "--prefix") == ["k/a", "k/b", "k/c"]
    assert keys("k/b", "--from-key") == ["k/b", "k/c", "q"]
    assert keys("k/a", "k/c") == ["k/a", "k/b"]
    assert keys("k/", "--prefix", "--limit=2") == ["k/a", "k/b"]
    assert keys("k/", "--prefix", "--order=descend", "--sort-by=key") == ["k/c", "k/b", "k/a"]
    assert keys("k/", "--prefix", "--sort-by=modify") == ["k/b", "k/c", "k/a"]
    assert keys("k/", "--prefix", "--sort-by=create") == ["k/a", "k/b", "k/c"]
    assert keys("k/", "--prefix", "--sort-by=value") == ["k/c", "k/a", "k/b"]
    assert keys("k/", "--prefix", "--sort-by=version") == ["k/b", "k/c", "k/a"]
    assert keys("k/", "--prefix", "--consistency=s") == ["k/a", "k/b", "k/c"]
    first = decoded(seeded, "get", "k/a")["kvs"][0]["create_revision"]
    assert out(seeded, "get", "k/a", f"--rev={first}") == "k/a\nva\n"
    assert refused(seeded, "get", "k/a", "--rev=99999") == (
        "Error: etcdserver: mvcc: required revision is a future revision")


@pytest.mark.sanitized
def test_txn(seeded):
    request = b'value("k/b") = "vb"\nversion("k/a") > "1"\n\nput etcdctl/t "1 2"\nget k/b\n\nget q\n\n'
    lines = out(seeded, "txn", stdin=request).split()
    assert lines == ["SUCCESS", "OK", "k/b", "vb"]
    reply = decoded(seeded, "txn", stdin=b'mod("k/b") = "0"\n\n\nget k/b\ndel etcdctl/t\n\n')
    assert not reply.get("succeeded") and len(reply["responses"]) == 2
    assert refused(seeded, "put", "etcdctl/t", "1", "--lease=12ab") == (
        "Error: etcdserver: requested lease not found")


def test_compaction(seeded):
    newest = decoded(seeded, "put", "etcdctl/c", "1")["header"]["revision"]
    assert out(seeded, "compaction", str(newest)) == f"compacted revision {newest}\n"
    assert refused(seeded, "compaction", str(newest)) == (
        "Error: etcdserver: mvcc: required revision has been compacted")
    assert refused(seeded, "get", "k/a", f"--rev={newest - 1}") == (
        "Error: etcdserver: mvcc: required revision has been compacted")
    later = decoded(seeded, "put", "etcdctl/c", "2")["header"]["revision"]
    assert out(seeded, "compaction", "--physical", str(later)) == f"compacted revision {later}\n"


@pytest.mark.parametrize("form", FORMATS)
def test_endpoints_and_members(cluster, seeded, form):
    every = cluster.endpoints
    for node in cluster.nodes:
        assert node.endpoint in out(every, "endpoint", "status", "-w", form)
        health = etcdctl(every, "endpoint", "health", "-w", form)  # "simple" goes to stderr
        assert node.endpoint in (health.stdout + health.stderr).decode()
        assert node.endpoint in out(every, "endpoint", "hashkv", "-w", form)
        assert node.client_url in out(seeded, "endpoint", "status", "--cluster", "-w", form)
        listed = out(seeded, "member", "list", "-w", form)
        assert node.name in listed and node.peer_url in listed and node.client_url in listed


@pytest.mark.sanitized
def test_status_in_json(cluster, seeded):
    rows = json.loads(out(cluster.endpoints, "endpoint", "status", "-w", "json"))
    assert len({row["Status"]["leader"] for row in rows}) == 1
    for row in rows:
        status = row["Status"]
        assert status["version"].startswith("3.") and status["dbSize"] > 0
        assert status["raftAppliedIndex"] <= status["raftIndex"]
    members = decoded(seeded, "member", "list")["members"]
    assert {m["ID"] for m in members} == {r["Status"]["header"]["member_id"] for r in rows}


# ---- holdfastctl prints the same ----

READS = [
    ["get", "k/a"], ["get", "k/", "--prefix"], ["get", "k/", "--prefix", "--keys-only"],
    ["get", "", "--prefix", "--limit=2"], ["get", "nothing"], ["get", "bin", "--prefix"],
    ["get", "k/", "--prefix", "--sort-by=value", "--order=descend"], ["get", "q"],
    ["get", "k/b", "--from-key"], ["get", "k/a", "k/c"], ["member", "list"], ["del", "nothing"],
    ["endpoint", "hashkv"], ["endpoint", "status"],
]
WRITES = [
    (["put", "w/k", "2"], b""), (["put", "w/k", "2", "--prev-kv"], b""),
    (["put", "w/k", "--ignore-value"], b""), (["del", "w/", "--prefix", "--prev-kv"], b""),
    (["del", "w/k"], b""),
    (["txn"], b'ver("w/k") > "0"\n\nput w/t "x y"\nget w/k\ndel w/k --prev-kv\n\nget k/b\n\n'),
    (["txn"], b'val("w/k") = "no"\n\nput w/t 1\n\nget k/ --prefix\nput w/t 2\n\n'),
]
REFUSED = [
    ["get", "k/a", "--rev=99999"], ["get", ""], ["put", "w/k", "1", "--lease=12ab"],
    ["put", "", "1"], ["compaction", "99999"], ["compaction", "x"], ["put"], ["get"], ["del"],
    ["get", "k/a", "--sort-by=nonsense"], ["put", "w/none", "--ignore-value"],
]
# Of later versions than Debian's etcdctl, which leaves them out.
NEWER = re.compile(r'"(StorageVersion|DBSizeInUse|DBSizeQuota|HashRevision)" : .*\n|'
                   r',"(storageVersion|hash_revision)":("[^"]*"|\d+)')
REVISION = re.compile(r'([Rr]evision" ?: ?)\d+')


def printed(tool, *command, stdin=b""):
    result = tool(*command, check=False, stdin=stdin)
    return result.returncode, NEWER.sub("", result.stdout.decode(errors="backslashreplace"))


@pytest.mark.parametrize("form", FORMATS)
def test_holdfastctl_reads_alike(seeded, form):
    for command in READS:
        expected = printed(etcdctl, seeded, *command, "-w", form)
        assert printed(holdfastctl, seeded, *command, "-w", form) == expected, command


@pytest.mark.parametrize("form", FORMATS)
def test_holdfastctl_writes_alike(seeded, form):
    for command, stdin in WRITES:
        seen = []
        for tool in [etcdctl, holdfastctl]:
            out(seeded, "del", "w/", "--prefix")
            out(seeded, "put", "w/k", "1")
            code, text = printed(tool, seeded, *command, "-w", form, stdin=stdin)
            seen.append((code, REVISION.sub(r"\1N", text)))
        assert seen[1] == seen[0], command


@pytest.mark.sanitized
def test_holdfastctl_is_refused_alike(seeded):
    def error(tool, command):
        result = tool(seeded, *command, check=False)
        lines = [line for line in result.stderr.decode().splitlines() if line.startswith("Error:")]
        return result.returncode, result.stdout, lines
    for command in REFUSED:
        assert error(holdfastctl, command) == error(etcdctl, command), command
