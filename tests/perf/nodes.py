"""Three nodes of either system, started and stopped alike: same flags, fixed loopback ports.

Whatever is started here is stopped here, by its pid, also when an exception or a signal ends the
comparison.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time

from machine import Refused

NODES = 3
START_S = 60  # for a cluster to have a leader, and for a node to end by itself
# Both get it: by default etcd takes 2 GiB, which the long rows would fill.
FLAGS = ["--quota-backend-bytes", str(8 << 30)]


class System:
    """A program that can be three nodes."""

    def __init__(self, name, program, first_port):
        self.name = name
        self.program = program
        self.first_port = first_port


class Node:
    def __init__(self, system, directory, slot):
        self.name = f"n{slot + 1}"
        self.program = system.program
        self.directory = directory
        self.client_port = system.first_port + 2 * slot
        self.peer_port = self.client_port + 1
        self.flags = []
        self.process = None

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.client_port}"

    @property
    def peer_url(self):
        return f"http://127.0.0.1:{self.peer_port}"

    @property
    def log_path(self):
        return os.path.join(self.directory, self.name + ".log")

    @property
    def pid(self):
        return self.process.pid

    def start(self):
        client_url = f"http://{self.endpoint}"
        command = [
            self.program, "--name", self.name,
            "--data-dir", os.path.join(self.directory, self.name),
            "--listen-client-urls", client_url, "--advertise-client-urls", client_url,
            "--listen-peer-urls", self.peer_url,
            "--initial-advertise-peer-urls", self.peer_url, *self.flags]
        with open(self.log_path, "ab") as log:
            # A session of its own: Ctrl-C reaches the comparison alone, which then stops the nodes.
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True)

    def end(self, number):
        """Sends the signal, and the process is gone when this returns."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(START_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def last_words(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-5:])


class Cluster:
    """`with Cluster(...) as cluster`: a fresh directory, and three nodes with a leader."""

    def __init__(self, system, directory, ctl):
        self.system = system
        self.directory = directory
        self.ctl = ctl
        self.nodes = [Node(system, directory, slot) for slot in range(NODES)]
        members = ",".join(f"{n.name}={n.peer_url}" for n in self.nodes)
        for node in self.nodes:
            node.flags = ["--initial-cluster", members, *FLAGS]

    def __enter__(self):
        shutil.rmtree(self.directory, ignore_errors=True)
        os.makedirs(self.directory)
        try:
            for node in self.nodes:
                self.check_ports(node)
                node.start()
            self.leader()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for node in self.nodes:
            node.end(signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    @staticmethod
    def check_ports(node):
        for port in (node.client_port, node.peer_port):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    raise Refused(f"port {port} of 127.0.0.1 is in use; BASE_PORT= names "
                                  "other ports") from None

    def statuses(self):
        """[(node, its Status)] of those that answer."""
        asked = subprocess.run(
            [self.ctl, "--endpoints", self.endpoints(), "--command-timeout", "2s",
             "endpoint", "status", "-w", "json"], capture_output=True, text=True, check=False,
            env={**os.environ, "ETCDCTL_API": "3"})
        by_endpoint = {n.endpoint: n for n in self.nodes}
        try:
            answers = json.loads(asked.stdout)
        except ValueError:
            return []
        return [(by_endpoint[a["Endpoint"].removeprefix("http://")], a["Status"]) for a in answers]

    def leader(self):
        """The node that all running nodes name as leader; asks until they agree."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            running = [n for n in self.nodes if n.process is not None]
            for node in running:
                if node.process.poll() is not None:
                    raise Refused(f"{self.system.program} ended by itself:\n{node.last_words()}")
            seen = self.statuses()
            leaders = {status.get("leader", 0) for _, status in seen}
            if len(seen) == len(running) and len(leaders) == 1 and 0 not in leaders:
                leader = leaders.pop()
                for node, status in seen:
                    if status["header"]["member_id"] == leader:
                        return node
            time.sleep(0.05)
        raise Refused(f"{self.system.name}: no leader within {START_S} s; see {self.directory}")

    def endpoints(self):
        return ",".join(n.endpoint for n in self.nodes)

    def target(self, which):
        """Where the load goes: `leader` or `all`."""
        return self.leader().endpoint if which == "leader" else self.endpoints()

    def pids(self):
        return [n.pid for n in self.nodes if n.process is not None]
