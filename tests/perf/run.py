"""The short phase: the scenes of rows.py, each on a fresh cluster; and the machine's limits."""

import os

import load
import rows
from nodes import NODES, Cluster

PROBE_ROUNDS = 2000


class Session:
    """What one call of the comparison has in common: programs, settings, and where results go."""

    def __init__(self, options, systems, results, say):
        self.options = options
        self.systems = systems
        self.results = results
        self.say = say
        self.pair = 0

    def bench(self):
        return load.Bench(self.options.bench, seed=self.pair + 1)

    def cluster(self, system):
        return Cluster(system, os.path.join(self.options.dir, "data"), self.options.ctl)

    def is_chosen(self, name):
        return name in self.options.workloads

    def loaded(self, raw):
        """What a run that only prepares has to say: nothing, unless calls failed."""
        failed = sum((raw.get("errors") or {}).values())
        if failed:
            self.say(f"pair {self.pair + 1}: {failed} of the calls that load data failed: "
                     f"{raw['errors']}")

    def record(self, system, workload, figures, raw=None):
        self.results.add(system, self.pair, workload, figures, raw)
        told = ", ".join(f"{name} {value:,.4g}" for name, value in figures.items()
                         if name in ("ops_per_s", "p50_ms", "p99_ms", "cpu_us", "anonymous_mb",
                                     "first_get_ms", "gap_ms", "total_p50_ms") or
                         name == "errors" and value)
        self.say(f"pair {self.pair + 1}: {system}: {workload}: {told}")


def probe(session):
    raw = session.bench().limit(session.options.dir, PROBE_ROUNDS)
    figures = {f"{name}_p50_ms": middle(raw[f"{name}_us"]) / 1000
               for name in ("own_write", "round", "total", "echo") if raw.get(f"{name}_us")}
    session.record("machine", rows.LIMIT, figures, raw)


def middle(value):
    return value["p50"] if isinstance(value, dict) else value


def load_keys(session, cluster, keys, value_bytes):
    """Each key once, in random order."""
    session.loaded(session.bench().run(
        cluster.target(session.options.target), cluster.pids(), "load",
        ["--connections", 16, "--in-flight", 4, "--keys", keys, "--value-bytes", value_bytes,
         "--warm-up", 0]))


def measure(session, cluster, workload):
    seconds = session.options.seconds
    raw = session.bench().run(
        cluster.target(session.options.target), cluster.pids(), workload.bench,
        [*workload.arguments(), "--seconds", seconds, "--warm-up", workload.warm_up_s],
        seconds + load.EXTRA_S)
    figures = load.figures(raw, NODES, rows.KEY_BYTES + workload.value_bytes)
    session.record(cluster.system.name, workload.name, figures, raw)


def run_scene(session, system, scene):
    wanted = [w for w in scene.workloads if session.is_chosen(w.name)]
    if not wanted:
        return
    with session.cluster(system) as cluster:
        if scene.load_keys:
            load_keys(session, cluster, scene.load_keys, wanted[0].value_bytes)
        for workload in wanted:
            measure(session, cluster, workload)


def run_short(session):
    """One pair: each scene on the one system and then on the other, so that both see the machine
    in the same state."""
    if session.is_chosen(rows.LIMIT):
        probe(session)
    for scene in rows.SCENES:
        for system in session.systems:
            run_scene(session, system, scene)
