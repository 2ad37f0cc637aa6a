"""The long phase: much data, restarts with it, and the leader's sudden death."""

import math
import signal
import time

import load
import rows
from first_get import wait_for_get
from nodes import NODES

VALUE_BYTES = 1024
KEYS = 1_000_000
REVISIONS_MEMORY = 1_700_000
REVISIONS_RESTART = 1_800_000
KILLS = 20  # of the leader, over all pairs
LOADED_S = 3  # how long writes go on before a kill
GAP_S = 10  # of writes around a kill of the leader
# Writes a second then, of an open loop: etcd's members lose what they pass on to a leader that died,
# and a closed loop would soon have nothing but such calls, and measure its own timeout.
GAP_RATE = 1000
MB = 1_000_000


def scaled(count, scale):
    """Never so few that calls in flight run out of keys."""
    return max(round(count * scale), 1000)


def put_more(session, cluster, revisions, watch=None):
    """Over the keys that are there, at random."""
    scale = session.options.scale
    session.loaded(session.bench().run(
        cluster.target(session.options.target), (), "put-random",
        ["--connections", 16, "--in-flight", 4, "--keys", scaled(KEYS, scale),
         "--value-bytes", VALUE_BYTES, "--total", scaled(revisions, scale),
         "--warm-up", 0], watch=watch))


def load_and_memory(session, cluster):
    name = cluster.system.name
    memory = load.MemoryWatch(cluster.pids())
    raw = session.bench().run(
        cluster.target(session.options.target), cluster.pids(), "load",
        ["--connections", 16, "--in-flight", 4,
         "--keys", scaled(KEYS, session.options.scale), "--value-bytes", VALUE_BYTES,
         "--warm-up", 0], watch=memory)
    session.record(name, rows.LOAD,
                   load.figures(raw, NODES, rows.KEY_BYTES + VALUE_BYTES), raw)
    put_more(session, cluster, REVISIONS_MEMORY - KEYS, memory)
    session.record(name, rows.MEMORY, {"anonymous_mb": memory.now() / MB,
                                       "peak_mb": max(memory.peak, memory.now()) / MB})


def a_follower(cluster):
    leader = cluster.leader()
    return next(n for n in cluster.nodes if n is not leader)


def start_and_ask(node):
    """Milliseconds from exec to the first serializable get answered."""
    began = time.monotonic()
    node.start()
    wait_for_get(node.client_port)
    return 1000 * (time.monotonic() - began)


def restart_after_term(session, cluster):
    node = a_follower(cluster)
    node.end(signal.SIGTERM)
    session.record(cluster.system.name, rows.RESTART_TERM, {"first_get_ms": start_and_ask(node)})
    cluster.leader()


def restart_after_kill(session, cluster):
    node = a_follower(cluster)
    writes = session.bench().start(
        cluster.target("leader"), (), "put-random",
        ["--connections", 16, "--in-flight", 4,
         "--keys", scaled(KEYS, session.options.scale), "--value-bytes", VALUE_BYTES,
         "--seconds", load.EXTRA_S])
    try:
        time.sleep(LOADED_S)
        node.end(signal.SIGKILL)
    finally:
        load.stop(writes)
    session.record(cluster.system.name, rows.RESTART_KILL, {"first_get_ms": start_and_ask(node)})
    cluster.leader()


def run_data(session, system):
    wanted = [n for n in rows.MUCH_DATA if session.is_chosen(n)]
    if not wanted:
        return
    with session.cluster(system) as cluster:
        load_and_memory(session, cluster)
        if not {rows.RESTART_TERM, rows.RESTART_KILL} & set(wanted):
            return
        put_more(session, cluster, REVISIONS_RESTART - REVISIONS_MEMORY)
        if rows.RESTART_TERM in wanted:
            restart_after_term(session, cluster)
        if rows.RESTART_KILL in wanted:
            restart_after_kill(session, cluster)


def kill_leader(session, cluster):
    """Writes through all members; the leader dies; it starts again when they have ended."""
    writes = session.bench().start(
        cluster.endpoints(), (), "put",
        ["--rate", GAP_RATE, "--connections", 15, "--in-flight", 400, "--seconds", GAP_S,
         "--call-timeout", 5000])
    try:
        time.sleep(LOADED_S)
        leader = cluster.leader()
        leader.end(signal.SIGKILL)
        raw = load.finish(writes, GAP_S + load.EXTRA_S)
    except BaseException:
        if writes.poll() is None:
            load.stop(writes)
        raise
    session.record(cluster.system.name, rows.FAILOVER,
                   {"gap_ms": raw["longest_gap_ms"],
                    "errors": sum((raw.get("errors") or {}).values())}, raw)
    leader.start()
    cluster.leader()


def run_failover(session, system):
    if not session.is_chosen(rows.FAILOVER):
        return
    share = math.ceil(KILLS * min(session.options.scale, 1) / session.options.pairs)
    with session.cluster(system) as cluster:
        for _ in range(share):
            kill_leader(session, cluster)


def run_long(session):
    for part in (run_data, run_failover):
        for system in session.systems:
            part(session, system)
