"""Runs holdfast-bench and takes the figures out of its result."""

import json
import subprocess
import time

import machine
from machine import Refused

EXTRA_S = 300  # beside its own time, until a run counts as hanging
UNTIL_DONE_S = 7200  # for a run that is as long as its work
SAMPLE_S = 0.5


class Bench:
    """How every run of the load generator is called; one `--seed` a pair, the same for both."""

    def __init__(self, program, seed):
        self.program = program
        self.seed = seed

    def command(self, endpoints, pids, workload, arguments):
        return [self.program, "--endpoints", endpoints, "--seed", str(self.seed),
                *(("--server-pids", ",".join(map(str, pids))) if pids else ()),
                "--json", "-", "--quiet", *map(str, arguments), workload]

    def start(self, endpoints, pids, workload, arguments):
        return subprocess.Popen(self.command(endpoints, pids, workload, arguments),
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, start_new_session=True)

    def run(self, endpoints, pids, workload, arguments, limit_s=UNTIL_DONE_S, watch=None):
        """Its JSON; `watch` is called now and then meanwhile."""
        return finish(self.start(endpoints, pids, workload, arguments), limit_s, watch)

    def limit(self, directory, rounds):
        command = [self.program, "--dir", directory, "--rounds", str(rounds), "--json", "-",
                   "--quiet", "limit"]
        return finish(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True, start_new_session=True),
                      EXTRA_S)


def finish(process, limit_s, watch=None):
    """Waits for a started holdfast-bench; it is gone when this returns or raises."""
    deadline = time.monotonic() + limit_s
    try:
        while True:
            if watch:
                watch()
            try:
                out, err = process.communicate(timeout=SAMPLE_S)
                break
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    raise Refused(f"{process.args} does not end") from None
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode != 0 or not out.strip():
        raise Refused(f"{' '.join(process.args)} ended with {process.returncode}: {err.strip()}")
    return json.loads(out)


def stop(process):
    """Ends a run whose result nobody wants any more."""
    process.terminate()
    try:
        process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def figures(raw, nodes, entry_bytes):
    """The figures of a workload's run, in the table's units. `entry_bytes` is key and value."""
    latency = raw.get("latency_us") or {}
    found = {
        "ops_per_s": raw.get("ops_per_s"),
        "cpu_us": raw.get("server_cpu_us_per_op"),
        "client_cpu_us": raw.get("client_cpu_us_per_op"),
        "written_bytes": raw.get("server_written_bytes_per_op"),
        # A read that found no key is one as well: it was not the work that the row is about.
        "errors": sum((raw.get("errors") or {}).values()) + raw.get("empty_answers", 0),
    }
    for name in ("p50", "p90", "p99", "p999", "p9999", "max"):
        if latency.get(name) is not None:
            found[f"{name}_ms"] = latency[name] / 1000
    if found["written_bytes"] is not None:
        found["written_per_byte"] = found["written_bytes"] / nodes / entry_bytes
    return {name: value for name, value in found.items() if value is not None}


class MemoryWatch:
    """The most anonymous memory that a node of the cluster has had."""

    def __init__(self, pids):
        self.pids = pids
        self.peak = 0

    def __call__(self):
        self.peak = max(self.peak, self.now())

    def now(self):
        return max(machine.anonymous_bytes(pid) for pid in self.pids)
