"""Starts that cannot work: one line that says what is wrong and what to do, and an exit code of
its own (server/exit_code.h). Never a signal, whatever the disk holds.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile

import grpc
import pytest
from etcd3 import etcdrpc

from cluster import Cluster, HOLDFASTD, READY, WAIT_S
from faults import FAST, Rpc, Writers, text_lines

USAGE, ADDRESS, FOREIGN_DATA, LOCKED_DATA, NO_SPACE, CORRUPT, IO, BLANK_DISK = 2, 3, 4, 5, 6, 7, 8, 9


def expect_end(node, code, *texts):
    """It ends by itself with that code and one line for people that has all the texts."""
    assert node.wait_exit() == code, node.log
    lines = text_lines(node)
    assert len(lines) == 1 and lines[0].startswith("holdfastd: "), node.log
    for text in texts:
        assert text in lines[0], lines[0]


# ---- flags, environment, configuration file ----

def start_with(arguments, directory, env=None):
    """Code and text of a start that ends before it logs anything."""
    result = subprocess.run(
        [HOLDFASTD, *arguments], cwd=directory, stdin=subprocess.DEVNULL, capture_output=True,
        timeout=WAIT_S, env={**os.environ, **(env or {})})
    lines = [line for line in result.stderr.decode().splitlines() if not line.startswith("{")]
    assert len(lines) == 1, result.stderr.decode()
    assert result.stdout == b""
    return result.returncode, lines[0]


PEER = "http://127.0.0.1:1"

BAD_FLAGS = {
    "unknown flag": (["--dta-dir", "x"], "unknown flag --dta-dir; the nearest known one is "
                                         "--data-dir"),
    "no flag": (["serve"], '"serve" is not a flag'),
    "no value": (["--name"], "--name needs a value"),
    "no scheme": (["--listen-client-urls", "127.0.0.1:2379"],
                  "--listen-client-urls: \"127.0.0.1:2379\""),
    "no port": (["--listen-peer-urls", "http://127.0.0.1"], "must name a port"),
    "port too large": (["--listen-peer-urls", "http://127.0.0.1:70000"], "no number up to 65535"),
    "path": (["--listen-client-urls", "http://127.0.0.1:2379/x"], "no path"),
    "https": (["--listen-client-urls", "https://127.0.0.1:2379"], "TLS is not in this version"),
    "https peer": (["--listen-peer-urls", "https://127.0.0.1:2380"], "TLS is not in this version"),
    "no number": (["--election-timeout", "fast"], "\"fast\" is not a whole number"),
    "negative": (["--heartbeat-interval", "-5"], "\"-5\" is not a whole number"),
    "too large": (["--heartbeat-interval", "99999999999999999999999"], "--heartbeat-interval"),
    "out of range": (["--heartbeat-interval", "0"], "is not between 1 and 10000"),
    "timeout below heartbeats": (["--heartbeat-interval", "500", "--election-timeout", "1000"],
                                 "--election-timeout"),
    "no truth": (["--pre-vote=perhaps"], "is neither true nor false"),
    "no duration": (["--grpc-keepalive-min-time", "5"], "is not a duration"),
    "log level": (["--log-level", "loud"], "--log-level"),
    "own name missing": (["--name", "n9", "--initial-cluster", f"n1={PEER}",
                          "--initial-advertise-peer-urls", PEER],
                         'couldn\'t find local name "n9"'),
    "own URL differs": (["--name", "n1", "--initial-cluster", "n1=http://127.0.0.1:2",
                         "--initial-advertise-peer-urls", PEER], "--initial-advertise-peer-urls"),
    "name twice with one URL": (["--name", "n1", "--initial-cluster", f"n1={PEER},n2={PEER}",
                                 "--initial-advertise-peer-urls", PEER], "duplicate url"),
    "no URL in the cluster": (["--name", "n1", "--initial-cluster", "n1="], "--initial-cluster"),
    "TLS flag": (["--cert-file", "c.pem"], "TLS is not in this version"),
    "no fsync": (["--unsafe-no-fsync"], "does not acknowledge what it has not synced"),
    "file missing": (["--config-file", "absent.yaml"], "absent.yaml: No such file"),
}


@pytest.mark.parametrize("name", BAD_FLAGS)
def test_bad_flags(name, tmp_path):
    arguments, text = BAD_FLAGS[name]
    code, line = start_with(arguments, tmp_path)
    assert code == USAGE, line
    assert line.startswith("holdfastd: ") and text in line, line
    assert os.listdir(tmp_path) == [], "a start that was refused left something behind"


def test_bad_environment(tmp_path):
    code, line = start_with([], tmp_path, {"ETCD_ELECTION_TIMEOUT": "soon"})
    assert code == USAGE and "environment's election-timeout: \"soon\"" in line, line


BAD_FILES = {
    "unknown name": ("nmae: n1\n", "file.yaml:1: unknown name nmae; the nearest known one is name"),
    "section": ("name: n1\nclient-transport-security:\n  cert-file: c\n", "file.yaml:"),
    "no pair": ("# fine\n\nname\n", "file.yaml:3: not a"),
    "bad value": ("election-timeout: soon\n", "election-timeout: \"soon\" is not a whole number"),
    "binary": ("\x00\x01\x02\n", "file.yaml:1:"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_configuration_file(name, tmp_path):
    content, text = BAD_FILES[name]
    (tmp_path / "file.yaml").write_text(content)
    code, line = start_with(["--config-file", "file.yaml"], tmp_path)
    assert code == USAGE and text in line, line


def serves(node, command, env):
    """Starts this command in place of the node's own, until it serves."""
    node.command = lambda: command
    saved = dict(os.environ)
    os.environ.update(env)
    try:
        node.start()
    finally:
        os.environ.clear()
        os.environ.update(saved)
    node.wait_ready()
    with Rpc(node) as rpc:
        rpc.put(b"k", b"v")
    node.stop()


def test_configuration_file_and_environment_are_read():
    with Cluster(1) as cluster:
        node = cluster.nodes[0]
        flags = dict(zip([f[2:] for f in node.command()[1::2]], node.command()[2::2]))
        path = os.path.join(cluster.directory, "node.yaml")
        with open(path, "w", encoding="ascii") as file:
            file.write("# a node\n---\n")
            for name, value in flags.items():
                file.write(f"{name}: '{value}'  # comment\n" if name == "name"
                           else f"{name}: \"{value}\"\n")
        # The file alone counts when it is given.
        serves(node, [HOLDFASTD, "--config-file", path], {"ETCD_NAME": "other"})
        env = {"ETCD_" + name.upper().replace("-", "_"): value for name, value in flags.items()}
        serves(node, [HOLDFASTD], env)
        serves(node, [HOLDFASTD, "--name", node.name], {**env, "ETCD_NAME": "other"})


# ---- addresses and directories of others ----

@pytest.fixture
def single():
    with Cluster(1, FAST) as cluster:
        yield cluster.nodes[0]


@pytest.mark.parametrize("port", ["client_port", "peer_port"])
def test_used_port(single, port):
    with socket.socket() as other:
        other.bind(("127.0.0.1", getattr(single, port)))
        other.listen()
        single.start()
        expect_end(single, ADDRESS, f"127.0.0.1:{getattr(single, port)}", "Address already in use",
                   "--listen-client-urls" if port == "client_port" else "--listen-peer-urls")
    single.start().wait_ready()


def test_locked_data_directory(single):
    single.start().wait_ready()
    with Cluster(1, FAST) as cluster:
        second = cluster.nodes[0]
        second.data_dir = single.data_dir
        second.start()
        expect_end(second, LOCKED_DATA, single.data_dir, "in use by another process")
    single.stop()


def test_data_directory_of_another_cluster():
    with Cluster(3, FAST, token="one") as cluster:
        cluster.start()
        node = cluster.nodes[0]
        node.stop()
        own = list(node.flags)
        node.flags[node.flags.index("one")] = "another"
        node.start()
        expect_end(node, FOREIGN_DATA, node.data_dir, "belongs to member")
        node.flags = own
        node.start().wait_ready()


def test_data_directory_of_another_member():
    with Cluster(3, FAST) as cluster:
        cluster.start()
        first, second, _ = cluster.nodes
        first.stop()
        second.stop()
        first.data_dir, second.data_dir = second.data_dir, first.data_dir
        first.start()
        expect_end(first, FOREIGN_DATA, "belongs to member")


def test_wiped_disk_under_its_old_name():
    """I7a: it may not vote again under that name; the rest of the cluster goes on."""
    with Cluster(3, FAST) as cluster:
        cluster.start()
        node, *others = cluster.nodes
        with Writers(others, timeout_ms=10000) as writers:
            writers.run().wait(100)
            node.kill()
            shutil.rmtree(node.data_dir)
            node.start()
            expect_end(node, BLANK_DISK)
            node.start()  # what the first try left behind changes nothing
            expect_end(node, BLANK_DISK)
            writers.wait(100)
            writers.stop()
            for other in others:
                writers.verify(other)


def test_unusable_data_directory(single):
    with open(single.data_dir, "w", encoding="ascii") as file:
        file.write("a file\n")
    single.start()
    expect_end(single, IO, single.data_dir, "Not a directory")


def test_data_directory_without_permission(single):
    if os.geteuid() != 0:
        os.mkdir(single.data_dir, 0)
        single.start()
    else:
        os.chmod(single.directory, 0o755)
        os.mkdir(single.data_dir, 0o700)
        command = single.command()
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        if subprocess.run([*nobody, HOLDFASTD, "--version"], capture_output=True).returncode != 0:
            pytest.skip("another user cannot run the binary where it is")
        single.command = lambda: [*nobody, *command]
        single.start()
    expect_end(single, IO, single.data_dir, "Permission denied")


# ---- full disks ----

@contextlib.contextmanager
def small_disk(size_mib):
    path = tempfile.mkdtemp(prefix="holdfast-disk-")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", path],
                             capture_output=True)
    if mounted.returncode != 0:
        os.rmdir(path)
        pytest.skip("mounting is not permitted here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)
        os.rmdir(path)


def test_full_disk_at_the_start():
    with small_disk(4) as path, Cluster(1, FAST) as cluster:
        node = cluster.nodes[0]
        node.data_dir = os.path.join(path, "n1")
        node.start()
        expect_end(node, NO_SPACE, path)


def test_disk_without_room_for_the_directory():
    with small_disk(1) as path, Cluster(1, FAST) as cluster:
        fill(path)
        node = cluster.nodes[0]
        node.data_dir = os.path.join(path, "n1")
        node.start()
        expect_end(node, NO_SPACE, path)


def fill(path):
    with open(os.path.join(path, "filler"), "wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))


@pytest.mark.parametrize("room_mib", [70, 100, 130])
def test_disk_fills_up_under_load(room_mib):
    """The node stops rather than lie; with room again all that was acknowledged is there."""
    with small_disk(room_mib) as path, Cluster(1, FAST) as cluster:
        node = cluster.nodes[0]
        node.data_dir = os.path.join(path, "n1")
        cluster.start()
        with Writers([node], count=16, value_bytes=16384) as writers:
            writers.run()
            expect_end(node, NO_SPACE)
            counts = writers.stop()
            assert counts["acknowledged"] > 0
            node.start()
            if READY not in node.log and node.process.poll() is not None:
                assert node.wait_exit() == NO_SPACE, node.log
            else:
                node.kill()
            subprocess.run(["mount", "-o", f"remount,size={4 * room_mib}m", path], check=True)
            node.start().wait_ready()
            writers.verify(node)
            node.stop()


# ---- damage ----

def flip(path, offset, size=64):
    with open(path, "r+b") as file:
        file.seek(offset)
        old = file.read(size)
        file.seek(offset)
        file.write(bytes(b ^ 0x5A for b in old))


def written_segment(node):
    """The first segment that holds batches, and where its second batch begins."""
    journal = os.path.join(node.data_dir, "journal")
    for name in sorted(os.listdir(journal)):
        path = os.path.join(journal, name)
        with open(path, "rb") as file:
            content = file.read()
        starts = [m.start() for m in re.finditer(b"HFJBATCH", content) if m.start() % 4096 == 16]
        if len(starts) >= 8:
            return path, [s - 16 for s in starts]
    raise AssertionError("no segment holds batches")


def loaded(cluster, writes=300):
    cluster.start()
    writers = Writers(cluster.nodes)
    writers.run().wait(writes)
    writers.stop()
    return writers


def test_journal_damaged_below_the_durable_mark():
    with Cluster(1, FAST) as cluster:
        node = cluster.nodes[0]
        with loaded(cluster):
            node.kill()
            path, batches = written_segment(node)
            flip(path, batches[len(batches) // 2] + 200)
            before = open(path, "rb").read()
            for _ in range(2):
                node.start()
                expect_end(node, CORRUPT, os.path.basename(path))
            assert open(path, "rb").read() == before, "a refused start changed the evidence"


def test_torn_end_of_the_journal_is_dropped():
    with Cluster(1, FAST) as cluster:
        node = cluster.nodes[0]
        with loaded(cluster) as writers:
            node.kill()
            path, batches = written_segment(node)
            with open(path, "rb") as file:  # a batch that never reached the disk as a whole
                content = file.read()
            torn = content[batches[-1]:batches[-1] + 4096]
            end = batches[-1] + 4096
            with open(path, "r+b") as file:
                file.seek(end)
                file.write(torn[:100] + bytes(b ^ 0xFF for b in torn[100:]))
            node.start().wait_ready()
            writers.verify(node)


STORE_PLACES = ["meta pages", "first half", "second half", "everything", "truncated", "empty"]


@pytest.mark.parametrize("place", STORE_PLACES)
def test_store_damaged(place):
    """It serves what verifies, or ends with a line; never by a signal."""
    with Cluster(1, FAST) as cluster:
        node = cluster.nodes[0]
        cluster.start()
        with Writers(cluster.nodes, count=16, value_bytes=16384) as writers:
            writers.run().wait(4000)  # 65 MB: flushed once at least
            writers.stop()
            node.kill()
            damage_store(os.path.join(node.data_dir, "store", "data.mdb"), place)
            node.start()
            with node.log_grew:
                node.log_grew.wait_for(lambda: READY in node.log or node.log_ended, WAIT_S)
            if not node.log_ended and reads_everything(node):
                verify_unless_it_ends(writers, node)
            try:
                node.process.wait(timeout=1)
            except subprocess.TimeoutExpired:
                node.kill()
                return
            assert node.wait_exit() == CORRUPT, node.log
            assert len(text_lines(node)) == 1, node.log


def verify_unless_it_ends(writers, node):
    """What it serves is right. Its first flush may meet damage that no read has met."""
    found = writers.ask(f"verify {node.endpoint}")
    if found.get("failed"):
        node.wait_exit()
    else:
        assert (found["missing"], found["strange"], found["again"]) == (0, 0, 0), found


def reads_everything(node):
    """False: it refused, as it should when it cannot vouch for what it has."""
    with Rpc(node) as rpc:
        key = b"w/"
        try:
            while True:
                page = rpc.kv.Range(etcdrpc.RangeRequest(
                    key=key, range_end=b"w0", limit=100, serializable=True), timeout=20)
                if not page.more:
                    return True
                key = page.kvs[-1].key + b"\0"
        except grpc.RpcError as error:
            assert error.code() != grpc.StatusCode.DEADLINE_EXCEEDED, node.log
            return False


def damage_store(path, place):
    size = os.path.getsize(path)
    assert size > 1 << 20, "nothing was flushed yet"
    if place == "meta pages":
        flip(path, 0, 8192)
    elif place == "first half":
        for offset in range(8192, size // 2, 40960):
            flip(path, offset + 1000, 16)
    elif place == "second half":
        for offset in range(size // 2, size, 40960):
            flip(path, offset + 1000, 16)
    elif place == "everything":
        for offset in range(8192, size, 4096):
            flip(path, offset, 4096)
    elif place == "truncated":
        os.truncate(path, size // 2)
    else:
        os.truncate(path, 0)
