"""What is run, and what is promised of it: the workloads, and the rows of the table.

A scene is a fresh cluster with its keys loaded; its workloads run one after the other on it.
A row takes one figure of a workload and says by how much Holdfast has to be better than etcd in the
same run, or which value it has to keep.
"""

from dataclasses import dataclass

KEY_BYTES = 8
MILLION = 1_000_000


@dataclass(frozen=True)
class Workload:
    name: str
    bench: str  # holdfast-bench's name for it
    connections: int
    in_flight: int  # on each connection
    keys: int = 100_000
    value_bytes: int = 256
    more: tuple = ()
    warm_up_s: int = 1

    def arguments(self):
        return ["--connections", self.connections, "--in-flight", self.in_flight,
                "--keys", self.keys, "--value-bytes", self.value_bytes, *self.more]


@dataclass(frozen=True)
class Scene:
    workloads: tuple
    load_keys: int = 0  # put before, in random order


LIMIT, LOAD, MEMORY, RESTART_TERM, RESTART_KILL, FAILOVER = (
    "limit", "load", "memory", "restart-term", "restart-kill", "failover")

# Of the long phase. Those with much data share a cluster, and --scale makes them smaller.
MUCH_DATA = (LOAD, MEMORY, RESTART_TERM, RESTART_KILL)
LONG = (*MUCH_DATA, FAILOVER)

SCENES = (
    Scene((Workload("put-1", "put", 1, 1), Workload("get-1", "get", 1, 1, keys=1000),
           Workload("echo-1", "echo", 1, 1)), load_keys=1000),
    Scene((Workload("put-64-one", "put-one", 16, 4),)),
    # Log files that are made and then used again count before, not in every run anew.
    Scene((Workload("written", "put-one", 16, 4, warm_up_s=10),)),
    Scene((Workload("put-64", "put-random", 16, 4, keys=MILLION),)),
    Scene((Workload("put-1000-one", "put-one", 100, 10),)),
    Scene((Workload("put-1000", "put-random", 100, 10, keys=MILLION),)),
    Scene((Workload("txn-64", "txn", 16, 4),)),
    Scene((Workload("get-1000", "get", 100, 10),
           Workload("get-1000-ser", "get-serializable", 100, 10),
           Workload("echo-1000", "echo", 100, 10)), load_keys=100_000),
    Scene((Workload("range-100", "range", 16, 1, keys=200_000, more=("--limit", 100, "--first")),
           Workload("count", "count", 16, 1, keys=200_000),
           Workload("range-10000", "range", 8, 1, keys=200_000, more=("--limit", 10_000, "--first"))),
          load_keys=200_000),
)

NAMES = (LIMIT, *(w.name for s in SCENES for w in s.workloads), *LONG)


@dataclass(frozen=True)
class Target:
    """One condition: `times` better than etcd, at most `times_limit` times the probed limit, or the
    median (`worst`: the highest value of all runs) at most so much."""
    times: float = 0
    times_limit: float = 0
    at_most: float = 0
    worst: float = 0


@dataclass(frozen=True)
class Row:
    title: str
    workload: str
    figure: str
    unit: str
    must: tuple = ()
    aim: tuple = ()
    higher_is_better: bool = False
    limit: tuple = ()  # (workload, figure, words): the physical limit, Holdfast's or the probe's


def rate(title, workload, must, aim, limit=()):
    return Row(title, workload, "ops_per_s", "/s", (Target(must),), (Target(aim),) if aim else (),
               higher_is_better=True, limit=limit)


def p99(title, workload, must, aim):
    return Row(title, workload, "p99_ms", "ms", (Target(must),), (Target(aim),) if aim else ())


def cpu(title, workload, must, aim, limit=()):
    return Row(title, workload, "cpu_us", "µs", (Target(must),), (Target(aim),), limit=limit)


ECHO_RATE = ("echo-1000", "ops_per_s", "echo")
ECHO_CPU = ("echo-1000", "cpu_us", "echo")

ROWS = (
    Row("put, one in flight: median", "put-1", "p50_ms", "ms",
        (Target(times=2.5), Target(times_limit=1.5)), (Target(times_limit=1.2),),
        limit=(LIMIT, "total_p50_ms", "probe")),
    rate("put, 64 in flight, one key", "put-64-one", 5, 7, ECHO_RATE),
    p99("– p99", "put-64-one", 6, 10),
    rate("put, 64 in flight, random over 1 M keys", "put-64", 5, 7, ECHO_RATE),
    p99("– p99", "put-64", 6, 10),
    rate("put, 1,000 in flight, one key", "put-1000-one", 4, 6, ECHO_RATE),
    p99("– p99", "put-1000-one", 5, 0),
    cpu("– server CPU a put", "put-1000-one", 4, 6, ECHO_CPU),
    rate("put, 1,000 in flight, random over 1 M keys", "put-1000", 4, 6, ECHO_RATE),
    p99("– p99", "put-1000", 5, 0),
    cpu("– server CPU a put", "put-1000", 4, 6, ECHO_CPU),
    rate("transaction (compare revision, put), 64 in flight", "txn-64", 5, 8, ECHO_RATE),
    rate("linearizable get, 1,000 in flight", "get-1000", 4, 5.5, ECHO_RATE),
    cpu("– server CPU", "get-1000", 6, 9, ECHO_CPU),
    rate("serializable get, 1,000 in flight", "get-1000-ser", 3.5, 4.5, ECHO_RATE),
    cpu("– server CPU", "get-1000-ser", 5, 8, ECHO_CPU),
    Row("linearizable get, one in flight: median", "get-1", "p50_ms", "ms", (Target(2),),
        (Target(3),), limit=("echo-1", "p50_ms", "echo")),
    rate("range, limit 100, over 200,000 keys", "range-100", 200, 1000, ECHO_RATE),
    rate("count of 200,000 keys", "count", 200, 1000, ECHO_RATE),
    rate("range, limit 10,000, over 200,000 keys in random order", "range-10000", 4, 8),
    rate("load of 1 M random keys, 1 KiB", LOAD, 5, 8),
    Row("anonymous memory after 1.7 M revisions of 1 KiB, a node", MEMORY, "anonymous_mb", "MB",
        (Target(at_most=256),), (Target(at_most=160),)),
    Row("restart with 1.8 M revisions of 1 KiB, after SIGTERM", RESTART_TERM, "first_get_ms", "ms",
        (Target(at_most=200),), (Target(at_most=50),)),
    Row("– after kill -9 under write load", RESTART_KILL, "first_get_ms", "ms",
        (Target(at_most=500),), (Target(at_most=200),)),
    Row("kill -9 of the leader to the next acknowledged write", FAILOVER, "gap_ms", "ms",
        (Target(at_most=80), Target(worst=300)), (Target(at_most=30),)),
    Row("written to disk a node, per byte of key and value", "written", "written_per_byte", "",
        (Target(at_most=3.2),), (Target(at_most=2.6),)),
)


class UnknownWorkload(Exception):
    pass


def chosen(names):
    """The set of those named, by words or commas; all of NAMES for none. `short`: all but LONG."""
    words = set(names.replace(",", " ").split())
    if not words:
        return set(NAMES)
    picked = set()
    for word in words:
        if word in ("short", "long"):
            picked |= {n for n in NAMES if (n in LONG) == (word == "long")}
        elif word in NAMES:
            picked.add(word)
        else:
            raise UnknownWorkload(f"no workload is called {word}: short long {' '.join(NAMES)}")
    return picked
