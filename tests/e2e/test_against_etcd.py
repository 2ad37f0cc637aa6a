"""The same requests to Holdfast and to Debian's etcd get the same replies."""

import grpc
import pytest

from cluster import Cluster, Etcd
from compare import settled
from rpc import Client, Range, Txn
from workload import Workload

REQUESTS = 400


def outcome(client, request):
    try:
        return client.send(request)
    except grpc.RpcError as e:
        return e.code().name, e.details()


def is_local_read(request):
    """What a follower may answer from its own, older state."""
    if isinstance(request, Txn):
        return all(each.request_range.serializable for each in [*request.success, *request.failure])
    return isinstance(request, Range) and request.serializable


def differences(seed, ours, etcd, count):
    """Sends the seed's requests to both, ours in turn; yields what is not the same."""
    workload = Workload(seed)
    for i in range(count):
        request = workload.next()
        if len(ours) > 1 and is_local_read(request):
            continue
        expected = outcome(etcd, request)
        got = outcome(ours[i % len(ours)], request)
        if settled(request, got) != settled(request, expected):
            yield f"seed {seed}, request {i}\n{request}\netcd: {expected}\nours: {got}"
        if not isinstance(expected, tuple):
            workload.on_reply(request, expected)


@pytest.mark.parametrize("size, seed", [
    pytest.param(1, 1, marks=pytest.mark.sanitized), (1, 2), (1, 3), (1, 4), (3, 5), (3, 6)])
def test_random_requests(size, seed):
    with Cluster(1, node_class=Etcd) as reference, Cluster(size) as cluster:
        reference.start()
        cluster.start()
        with Client(reference.nodes[0].endpoint) as etcd:
            ours = [Client(n.endpoint) for n in cluster.nodes]
            for difference in differences(seed, ours, etcd, REQUESTS):
                pytest.fail(difference)
