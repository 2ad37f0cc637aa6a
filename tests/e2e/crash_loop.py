#!/usr/bin/env python3
"""kill -9 of all nodes at once under load, restart, check everything ever acknowledged: again and
again. `make crash-loop ROUNDS=100 NODES=3`, or from the test suite with few rounds.
"""

import random
import signal
import sys
import time

from cluster import Cluster
from faults import FAST, Writers, verify_all


def kill_all(cluster):
    for node in cluster.nodes:
        node.signal(signal.SIGKILL)
    for node in cluster.nodes:
        node.wait_exit()


def loop(size, rounds, seed=1, says=lambda *_: None):
    """Kills at a seeded number of acknowledged writes, so at any point of a batch or a flush."""
    points = random.Random(seed)
    with Cluster(size, FAST) as cluster:
        cluster.start()
        with Writers(cluster.nodes, count=16) as writers:
            for number in range(1, rounds + 1):
                writers.run().wait(points.randrange(1, 3000))
                kill_all(cluster)
                counts = writers.stop()
                before = time.monotonic()
                cluster.start()
                ready_s = time.monotonic() - before
                found = verify_all(cluster, writers)
                says(f"round {number}: {counts['acknowledged']} acknowledged, none lost; "
                     f"{found[0]['unacknowledged']} of {counts['unknown']} others are there; "
                     f"serving again after {ready_s:.2f} s")
            return counts


def main():
    rounds, size = int(sys.argv[1]), int(sys.argv[2])
    counts = loop(size, rounds, seed=int(sys.argv[3]) if len(sys.argv) > 3 else 1,
                  says=lambda line: print(line, flush=True))
    print(f"{rounds} rounds of kill -9 of all {size}: {counts['acknowledged']} acknowledged writes, "
          "none lost")


if __name__ == "__main__":
    main()
