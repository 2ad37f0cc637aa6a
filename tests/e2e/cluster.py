"""Real holdfastd processes on loopback: start, wait for what they say, kill, restart, stop.

Ports are ephemeral. Nothing sleeps: a node is waited for by its log, which a thread of its own
reads all the time (a node that says much must never stand still on a full pipe), a process by its
exit.
"""

import codecs
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

BUILD = os.path.abspath(os.environ.get("HOLDFAST_BUILD", "build"))
HOLDFASTD = os.path.join(BUILD, "holdfastd")
HOLDFASTCTL = os.path.join(BUILD, "holdfastctl")
READY = "ready to serve client requests"
WAIT_S = 60  # for an event that must come; no test asserts on how soon


def free_ports(count):
    """Ports that were free a moment ago, kept apart by holding all of them at once."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


class Node:
    program = HOLDFASTD

    def __init__(self, name, directory, client_port, peer_port, flags):
        self.name = name
        self.directory = directory
        self.data_dir = os.path.join(directory, name)
        self.client_port = client_port
        self.peer_port = peer_port
        self.flags = flags
        self.process = None
        self.log = ""  # of the process started last; grows while it runs
        self.log_grew = threading.Condition()
        self.log_ended = False
        self.reader = None

    @property
    def client_url(self):
        return f"http://127.0.0.1:{self.client_port}"

    @property
    def peer_url(self):
        return f"http://127.0.0.1:{self.peer_port}"

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.client_port}"

    def command(self):
        return [
            self.program,
            "--name", self.name,
            "--data-dir", self.data_dir,
            "--listen-client-urls", self.client_url,
            "--advertise-client-urls", self.client_url,
            "--listen-peer-urls", self.peer_url,
            "--initial-advertise-peer-urls", self.peer_url,
            *self.flags,
        ]

    def start(self):
        assert self.process is None
        self.process = subprocess.Popen(
            self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE)
        self.log = ""
        self.log_ended = False
        self.reader = threading.Thread(target=self.drain, args=(self.process.stderr,), daemon=True)
        self.reader.start()
        return self

    def drain(self, pipe):
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        while True:
            piece = os.read(pipe.fileno(), 1 << 16)
            with self.log_grew:
                self.log += decoder.decode(piece, final=not piece)
                self.log_ended = not piece
                self.log_grew.notify_all()
            if not piece:
                return

    def wait_for(self, text, timeout_s=WAIT_S, count=1):
        """Until the log has the text that many times."""
        with self.log_grew:
            said = self.log_grew.wait_for(
                lambda: self.log.count(text) >= count or self.log_ended, timeout_s)
            assert said, f"{self.name} did not say {text!r} in time:\n{self.log}"
            if self.log.count(text) >= count:
                return self
        code = self.process.wait()
        raise AssertionError(f"{self.name} ended ({code}) before {text!r}:\n{self.log}")

    def wait_ready(self):
        return self.wait_for(READY)

    def wait_exit(self, timeout_s=WAIT_S):
        """The exit code; the whole log is in self.log then."""
        try:
            code = self.process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} goes on:\n{self.log}") from None
        self.reader.join()
        self.process.stderr.close()
        self.process = None
        return code

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """kill -9, and gone when this returns."""
        if self.process is None:
            return
        self.signal(signal.SIGKILL)
        self.wait_exit()

    def stop(self):
        """SIGTERM; must end by itself with 0."""
        self.signal(signal.SIGTERM)
        code = self.wait_exit()
        assert code == 0, f"{self.name} ended with {code}:\n{self.log}"

    def log_lines(self):
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]


class Etcd(Node):
    """Debian's etcd, which has the same flags and says the same when it is ready."""
    program = "/usr/bin/etcd"


class Cluster:
    def __init__(self, size=3, flags=(), directory=None, token="test", node_class=Node):
        self.directory = directory or tempfile.mkdtemp(prefix="holdfast-")
        ports = free_ports(2 * size)
        self.nodes = [
            node_class(f"n{i + 1}", self.directory, ports[2 * i], ports[2 * i + 1], [])
            for i in range(size)
        ]
        members = ",".join(f"{n.name}={n.peer_url}" for n in self.nodes)
        for n in self.nodes:
            n.flags = ["--initial-cluster", members, "--initial-cluster-token", token, *flags]

    def start(self):
        for n in self.nodes:
            n.start()
        for n in self.nodes:
            n.wait_ready()
        return self

    @property
    def endpoints(self):
        return ",".join(n.endpoint for n in self.nodes)

    def close(self):
        for n in self.nodes:
            n.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def run(command, check=True, stdin=b"", env=None, timeout_s=WAIT_S):
    result = subprocess.run(
        command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout_s,
        env={**os.environ, **(env or {})})
    if check and result.returncode != 0:
        raise AssertionError(f"{command} ended with {result.returncode}:\n"
                             f"{result.stdout.decode(errors='replace')}\n"
                             f"{result.stderr.decode(errors='replace')}")
    return result


def etcdctl(endpoints, *arguments, check=True, stdin=b""):
    """Debian's etcdctl."""
    return run(["etcdctl", f"--endpoints={endpoints}", *arguments], check=check, stdin=stdin,
               env={"ETCDCTL_API": "3"})


def holdfastctl(endpoints, *arguments, check=True, stdin=b""):
    return run([HOLDFASTCTL, f"--endpoints={endpoints}", *arguments], check=check, stdin=stdin)


def status(node):
    """One node's Status, by etcdctl."""
    out = etcdctl(node.endpoint, "endpoint", "status", "-w", "json")
    return json.loads(out.stdout)[0]["Status"]


def leader_of(cluster):
    """The node that all running nodes name as leader; asks until they agree."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        running = [n for n in cluster.nodes if n.process is not None]
        seen = [status(n) for n in running]
        leaders = {s.get("leader", 0) for s in seen}
        if len(leaders) == 1 and 0 not in leaders:
            leader = leaders.pop()
            for n, s in zip(running, seen):
                if s["header"]["member_id"] == leader:
                    return n
    raise AssertionError("no leader that all nodes agree on")
