"""gRPC with python3-etcd3's generated stubs: what etcd's API can say, not only what a client
library makes of it."""

import grpc
from etcd3 import etcdrpc as pb

DEADLINE_S = 30  # for a reply that must come
Range, Put, Delete = pb.RangeRequest, pb.PutRequest, pb.DeleteRangeRequest
Txn, Compaction, Compare, Op = pb.TxnRequest, pb.CompactionRequest, pb.Compare, pb.RequestOp
METHODS = {Range: "Range", Put: "Put", Delete: "DeleteRange", Txn: "Txn", Compaction: "Compact"}


def prefix_end(prefix):
    """The range_end that makes a prefix of a key."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else b"\0"


def op(request):
    """A request as one operation of a transaction."""
    if isinstance(request, Range):
        return Op(request_range=request)
    if isinstance(request, Put):
        return Op(request_put=request)
    if isinstance(request, Delete):
        return Op(request_delete_range=request)
    return Op(request_txn=request)


def txn(compare=(), success=(), failure=()):
    return Txn(compare=compare, success=[op(r) for r in success], failure=[op(r) for r in failure])


class Client:
    def __init__(self, endpoint):
        self.channel = grpc.insecure_channel(endpoint, options=[
            ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
        self.kv = pb.KVStub(self.channel)
        self.maintenance = pb.MaintenanceStub(self.channel)
        self.cluster = pb.ClusterStub(self.channel)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def send(self, request, timeout_s=DEADLINE_S, metadata=None):
        method = getattr(self.kv, METHODS[type(request)])
        return method(request, timeout=timeout_s, metadata=metadata)

    def refused(self, request, **how):
        """(code, text) of the error that the request must get."""
        try:
            reply = self.send(request, **how)
        except grpc.RpcError as e:
            return e.code().name, e.details()
        raise AssertionError(f"not refused: {request}\n{reply}")

    def put(self, key, value=b"", **options):
        return self.send(Put(key=key, value=value, **options))

    def range(self, key, **options):
        return self.send(Range(key=key, **options))

    def get(self, key, **options):
        """The value, None without one."""
        kvs = self.range(key, **options).kvs
        return kvs[0].value if kvs else None

    def prefix(self, prefix, **options):
        return self.range(prefix, range_end=prefix_end(prefix), **options)

    def keys(self, prefix, **options):
        """What follows the prefix, of each key found, as it is ordered."""
        return [kv.key[len(prefix):] for kv in self.prefix(prefix, **options).kvs]

    def delete(self, key, **options):
        return self.send(Delete(key=key, **options))

    def compact(self, revision, physical=False):
        return self.send(Compaction(revision=revision, physical=physical))

    def revision(self):
        return self.range(b"\0").header.revision
