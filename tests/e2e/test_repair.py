"""A member whose durable data was damaged gets it back from the others, by itself; and one that was
away for longer than the log is kept gets a snapshot."""

import os
import re

import pytest

from cluster import Cluster, leader_of
from faults import FAST, Rpc, Writers, verify_all
from test_bad_start import damage_store, flip, reads_everything

REPAIRED = "repaired: what was lost here is back"
DAMAGED = "what was durable here is damaged"
INSTALLED = "a snapshot was installed"


def loaded(cluster, writes=4000):
    """Of 16 KiB each; a flush takes 2,000 of them."""
    cluster.start()
    writers = Writers(cluster.nodes, count=16, value_bytes=16384)
    writers.run().wait(writes)
    return writers


def victim_of(cluster):
    leader = leader_of(cluster)
    return next(n for n in cluster.nodes if n is not leader)


def damage_journal(node):
    """The newest batch but two: what is older may be in the store already, and needed no more."""
    batches = []
    journal = os.path.join(node.data_dir, "journal")
    for name in os.listdir(journal):
        path = os.path.join(journal, name)
        with open(path, "rb") as file:
            content = file.read()
        for match in re.finditer(b"HFJBATCH", content):
            at = match.start() - 16
            if at % 4096 == 0:
                batches.append((int.from_bytes(content[at + 32:at + 40], "little"), path, at))
    _, path, at = sorted(batches)[-3]
    flip(path, at + 200)


@pytest.mark.parametrize("place", ["meta pages", "everything", "truncated", "empty", "journal"])
def test_what_shows_at_the_start(place):
    with Cluster(3, FAST) as cluster, loaded(cluster) as writers:
        node = victim_of(cluster)
        node.kill()
        writers.wait(300)
        if place == "journal":
            damage_journal(node)
        else:
            damage_store(os.path.join(node.data_dir, "store", "data.mdb"), place)
        node.start().wait_for(REPAIRED).wait_ready()
        assert node.log.count(DAMAGED) >= 1, node.log
        writers.wait(300)
        writers.stop()
        verify_all(cluster, writers)
        for name in ("repair", "store.lost"):
            assert not os.path.exists(os.path.join(node.data_dir, name))
        node.stop()
        node.start().wait_ready()
        assert DAMAGED not in node.log
        verify_all(cluster, writers)


@pytest.mark.parametrize("place", ["first half", "second half"])
def test_what_shows_when_it_is_read(place):
    """The process starts itself anew: its pid stays. What an interrupted flush left at the end of
    the store nobody reads, so several come before that."""
    with Cluster(3, FAST) as cluster, loaded(cluster, writes=12000) as writers:
        node = victim_of(cluster)
        node.kill()
        damage_store(os.path.join(node.data_dir, "store", "data.mdb"), place)
        node.start().wait_ready()
        pid = node.process.pid
        for _ in range(20):
            if REPAIRED in node.log or reads_everything(node):
                break
        node.wait_for(REPAIRED)
        assert node.process.pid == pid and node.process.poll() is None
        writers.wait(300)
        writers.stop()
        verify_all(cluster, writers)


def test_a_member_that_was_away_for_long_gets_a_snapshot():
    """100 entries are kept, and 1,000 for who is away. Writes of the others go on meanwhile."""
    with Cluster(3, [*FAST, "--snapshot-count", "100",
                     "--snapshot-catchup-entries", "100"]) as cluster, loaded(cluster) as writers:
        node = victim_of(cluster)
        node.stop()
        writers.wait(4000)
        node.start().wait_for(INSTALLED).wait_ready()
        writers.wait(300)
        writers.stop()
        verify_all(cluster, writers)
        with Rpc(node) as rpc:
            rpc.put(b"after", b"1")
        node.kill()
        node.start().wait_ready()
        verify_all(cluster, writers)
