"""Clusters that a module's tests share. A test that breaks a node makes its own."""

import pytest

from cluster import Cluster
from rpc import Client


@pytest.fixture(scope="module", params=[1, 3], ids=["one", "three"])
def cluster(request):
    with Cluster(request.param) as made:
        yield made.start()


@pytest.fixture(scope="module")
def client(cluster):
    """Talks to the node that was started last: in a cluster, not always the leader."""
    with Client(cluster.nodes[-1].endpoint) as made:
        yield made


@pytest.fixture
def prefix(request):
    """Keys of this test alone, so that tests can share a cluster."""
    return request.node.name.encode() + b"/"
