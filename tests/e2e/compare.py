"""Whether two servers gave the same reply to the same request, field by field."""

from rpc import Range, Txn

# Go's sort keeps the order of equal elements up to this many; past it, ties may come in any order.
STABLE_SORT_MAX = 12
SORTED_BY = {1: "version", 2: "create_revision", 3: "mod_revision", 4: "value"}
# What refuses a transaction when several of these do: etcd 3.4 looks at all puts before all ranges
# and at the lease last, 3.7 and Holdfast go in order.
CHECKED_BY_STATE = ["etcdserver: key not found", "etcdserver: requested lease not found",
                    "etcdserver: mvcc: required revision has been compacted",
                    "etcdserver: mvcc: required revision is a future revision"]
NOT_COMPARED = ["cluster_id", "member_id", "raft_term"]


def headers_cleared(message):
    """A copy without what names the server, in nested replies too."""
    copy = type(message)()
    copy.CopyFrom(message)
    clear_headers(copy)
    return copy


def clear_headers(message):
    for field, value in message.ListFields():
        if field.name == "header":
            for name in NOT_COMPARED:
                value.ClearField(name)
        elif field.type == field.TYPE_MESSAGE:
            for part in value if field.label == field.LABEL_REPEATED else [value]:
                clear_headers(part)


def ties_may_differ(request, reply):
    return request.sort_target in SORTED_BY and reply.count > STABLE_SORT_MAX


def settle_ties(request, reply):
    """Puts the ties of a sorted range into one order; cut off ones cannot be told apart."""
    if isinstance(request, Range):
        if not ties_may_differ(request, reply):
            return
        field = SORTED_BY[request.sort_target]
        if reply.more:
            values = [getattr(kv, field) for kv in reply.kvs]
            for kv, value in zip(reply.kvs, values):
                if request.keys_only and field == "value":
                    value = b""
                kv.Clear()
                setattr(kv, field, value)
            return
        kvs = sorted(reply.kvs, key=lambda kv: kv.key)
        del reply.kvs[:]
        reply.kvs.extend(kvs)
    elif hasattr(reply, "responses"):
        ops = request.success if reply.succeeded else request.failure
        for inner, answer in zip(ops, reply.responses):
            settle_ties(getattr(inner, inner.WhichOneof("request")),
                        getattr(answer, answer.WhichOneof("response")))


def settled(request, outcome):
    """A reply, or an error as (code, text), in the form in which it must be equal."""
    if isinstance(outcome, tuple):
        if isinstance(request, Txn) and outcome[1] in CHECKED_BY_STATE:
            return "refused for what its operations meet"
        return outcome
    copy = headers_cleared(outcome)
    settle_ties(request, copy)
    return copy
