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


def differences(workload, ours, etcd, count):
    """Sends the workload's requests to both, ours in turn; yields what is not the same."""
    for i in range(count):
        request = workload.next()
        if len(ours) > 1 and is_local_read(request):
            continue
        expected = outcome(etcd, request)
        got = outcome(ours[i % len(ours)], request)
        if settled(request, got) != settled(request, expected):
            yield f"request {i}\n{request}\netcd: {expected}\nours: {got}"
        if not isinstance(expected, tuple):
            workload.on_reply(request, expected)


def history_differences(workload, ours, etcd):
    """Every revision that can still be read, all keys of it, on each of ours; and below."""
    for revision in range(max(1, workload.compacted - 1), workload.revision + 2):
        request = Range(key=b"\0", range_end=b"\0", revision=revision)
        expected = settled(request, outcome(etcd, request))
        for client in ours:
            got = settled(request, outcome(client, request))
            if got != expected:
                yield f"revision {revision}\netcd: {expected}\nours: {got}"


@pytest.mark.parametrize("size, seed", [
    pytest.param(1, 1, marks=pytest.mark.sanitized), (1, 2), (1, 3), (1, 4), (3, 5), (3, 6)])
def test_random_requests(size, seed):
    workload = Workload(seed)
    with Cluster(1, node_class=Etcd) as reference, Cluster(size) as cluster:
        reference.start()
        cluster.start()
        with Client(reference.nodes[0].endpoint) as etcd:
            ours = [Client(n.endpoint) for n in cluster.nodes]
            for difference in differences(workload, ours, etcd, REQUESTS):
                pytest.fail(difference)
            for difference in history_differences(workload, ours, etcd):
                pytest.fail(difference)
            for node in cluster.nodes:
                node.kill()
            cluster.start()
            ours = [Client(n.endpoint) for n in cluster.nodes]  # without the old ones' back-off
            for difference in history_differences(workload, ours, etcd):
                pytest.fail("after kill -9: " + difference)
            for difference in differences(workload, ours, etcd, REQUESTS // 4):
                pytest.fail("after kill -9: " + difference)
