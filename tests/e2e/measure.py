#!/usr/bin/env python3
"""Prints what an idle node costs and how long a start takes with a million keys on disk.

    make measure                SECONDS=30 KEYS=1000000 by default
"""

import sys
import time

from etcd3 import etcdrpc

from cluster import Cluster
from faults import Rpc, cpu_seconds, resident_bytes


def idle(seconds):
    """Three nodes with default timing, nobody asks anything."""
    with Cluster(3) as cluster:
        cluster.start()
        before = [cpu_seconds(n) for n in cluster.nodes]
        time.sleep(seconds)
        for node, spent in zip(cluster.nodes, before):
            share = 100 * (cpu_seconds(node) - spent) / seconds
            print(f"idle {node.name}: {share:.2f} % of a core, "
                  f"{resident_bytes(node) / 1e6:.1f} MB resident")


def fill(node, keys):
    """In transactions of many puts, several under way."""
    with Rpc(node) as rpc:
        futures = []
        for first in range(0, keys, 100):
            ops = [etcdrpc.RequestOp(request_put=etcdrpc.PutRequest(
                key=b"key/%010d" % i, value=bytes(100))) for i in range(first, first + 100)]
            futures.append(rpc.kv.Txn.future(etcdrpc.TxnRequest(success=ops), timeout=60))
            if len(futures) == 64:
                for future in futures:
                    future.result()
                futures.clear()
        for future in futures:
            future.result()


def start_with_keys(keys, size):
    with Cluster(size) as cluster:
        cluster.start()
        fill(cluster.nodes[0], keys)
        for how in ("SIGTERM", "kill -9"):
            for node in cluster.nodes:
                node.stop() if how == "SIGTERM" else node.kill()
            began = {}
            for node in cluster.nodes:
                began[node.name] = time.monotonic()
                node.start()
            for node in cluster.nodes:
                node.wait_ready()
                took_ms = 1000 * (time.monotonic() - began[node.name])
                print(f"start of {node.name} of {size} with {keys} keys after {how}: "
                      f"{took_ms:.0f} ms, {resident_bytes(node) / 1e6:.1f} MB resident")


def main():
    idle(float(sys.argv[1]))
    for size in (1, 3):
        start_with_keys(int(sys.argv[2]), size)


if __name__ == "__main__":
    main()
