"""Random requests of etcd's KV service, from a seed: mostly sensible ones over few keys, so that
they meet each other, and every kind of bad one now and then."""

import random

from rpc import Compaction, Compare, Delete, Op, Put, Range, Txn, op

# Short, binary, with NULs, and longer than LMDB's own keys can be, with the difference at the end.
KEYS = [b"a", b"a\0", b"a\0\0", b"a\0b", b"aa", b"ab", b"b", b"b\xff", b"b\xff\xff", b"c", b"\0",
        b"\0\0", b"\xff", b"\xff\xff", b"l" * 511, b"l" * 511 + b"\0", b"l" * 512,
        b"l" * 700 + b"x", b"l" * 700 + b"y", b"l" * 3000, b"m"]
VALUES = [b"", b"1", b"2", b"2\0", b"\0", b"\xff" * 3, b"v" * 100]
OUTSIDE_ENUM = 9


def changes_of(ops, nested):
    """(is a put, key, range_end) of each change in a list of operations, or of those inside its
    nested transactions."""
    found = []
    for each in ops:
        kind = each.WhichOneof("request")
        if kind == "request_txn" and nested:
            for branch in [each.request_txn.success, each.request_txn.failure]:
                found += changes_of(branch, False) + changes_of(branch, True)
        elif kind == "request_put" and not nested:
            found.append((True, each.request_put.key, b""))
        elif kind == "request_delete_range" and not nested:
            delete = each.request_delete_range
            found.append((False, delete.key, delete.range_end))
    return found


def delete_meets(delete, changes):
    _, start, end = delete
    return any(is_put and (key == start or start < key and (end == b"\0" or key < end))
               for is_put, key, _ in changes)


def escapes_etcd(ops):
    """Whether a key is changed twice, but etcd's check may not see it: a delete to the very end,
    or one in a nested transaction behind another that puts. Holdfast refuses these."""
    every = changes_of(ops, False) + changes_of(ops, True)
    if any(c[2] == b"\0" and delete_meets(c, every) for c in every if not c[0]):
        return True
    before = []
    for each in ops:
        inside = changes_of([each], True)
        if any(delete_meets(c, before) for c in inside if not c[0]):
            return True
        before += inside
    return False


class Workload:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.revision = 1  # the newest one that a reply named
        self.compacted = 0

    def chance(self, share):
        return self.rng.random() < share

    def key(self):
        return b"" if self.chance(0.01) else self.rng.choice(KEYS)

    def range_end(self):
        kind = self.rng.random()
        if kind < 0.25:
            return b""
        if kind < 0.45:
            return b"\0"
        return self.rng.choice(KEYS) + self.rng.choice([b"", b"", b"\0", b"\xff"])

    def any_revision(self):
        """Mostly one that exists."""
        if self.chance(0.1):
            return self.rng.choice([-1, self.compacted - 1, self.revision + 1, self.revision + 99,
                                    2**63 - 1])
        return self.rng.randint(self.compacted, self.revision)

    def range(self):
        request = Range(key=self.key(), range_end=self.range_end())
        if self.chance(0.4):
            request.limit = self.rng.choice([1, 2, 3, 5, 12, 100, -1, 2**63 - 1])
        if self.chance(0.3):
            request.revision = self.any_revision()
        if self.chance(0.5):
            request.sort_order = self.rng.randint(0, 2)
            request.sort_target = self.rng.randint(0, 4)
        request.serializable = self.chance(0.2)
        request.keys_only = self.chance(0.2)
        request.count_only = self.chance(0.1)
        for field in ["min_mod_revision", "max_mod_revision", "min_create_revision",
                      "max_create_revision"]:
            if self.chance(0.08):
                setattr(request, field, self.rng.randint(-1, self.revision + 1))
        return request

    def put(self):
        request = Put(key=self.key(), value=self.rng.choice(VALUES), prev_kv=self.chance(0.4))
        if self.chance(0.1):
            request.ignore_value = True
            if self.chance(0.8):
                request.value = b""
        request.ignore_lease = self.chance(0.1)
        if self.chance(0.02):
            request.lease = self.rng.choice([1, -1, 2**62])
        return request

    def delete(self):
        request = Delete(key=self.key(), prev_kv=self.chance(0.5))
        if self.chance(0.3):
            request.range_end = self.range_end()
        return request

    def compare(self):
        compare = Compare(key=self.key(), result=self.rng.randint(0, 3),
                          target=self.rng.randint(0, 4))
        if self.chance(0.3):
            compare.range_end = self.range_end()
        operand = compare.target if self.chance(0.9) else self.rng.randint(0, 4)
        if operand == Compare.VALUE:
            compare.value = self.rng.choice(VALUES)
        elif operand == Compare.VERSION:
            compare.version = self.rng.randint(-1, 3)
        elif operand == Compare.CREATE:
            compare.create_revision = self.rng.randint(-1, self.revision)
        elif operand == Compare.MOD:
            compare.mod_revision = self.rng.randint(-1, self.revision)
        else:
            compare.lease = self.rng.randint(-1, 1)
        if self.chance(0.02):
            compare.result = OUTSIDE_ENUM
        if self.chance(0.02):
            compare.target = OUTSIDE_ENUM
        return compare

    def branch(self, depth):
        ops = []
        for _ in range(self.rng.randint(0, 3)):
            if self.chance(0.005):
                ops.append(Op())
            elif depth < 3 and self.chance(0.2):
                ops.append(op(self.txn(depth + 1)))
            else:
                ops.append(op(self.rng.choice([self.range, self.put, self.put, self.delete])()))
        return ops

    def txn(self, depth=0):
        if self.chance(0.01):
            return Txn(success=[op(self.range()) for _ in range(129)])
        while True:
            request = Txn(compare=[self.compare() for _ in range(self.rng.choice([0, 1, 1, 2]))],
                          success=self.branch(depth), failure=self.branch(depth))
            if not any(escapes_etcd(ops) for ops in [request.success, request.failure]):
                return request

    def compaction(self):
        revision = self.any_revision()
        if not self.chance(0.3):
            revision = min(revision, self.compacted + 10)
        revision = revision or 1  # at 0, etcd remembers that nothing was compacted
        return Compaction(revision=revision, physical=self.chance(0.5))

    def next(self):
        kind = self.rng.choices(["range", "put", "delete", "txn", "compaction"],
                                [30, 30, 7, 30, 3])[0]
        return getattr(self, kind)()

    def on_reply(self, request, reply):
        """What the next requests can aim at."""
        self.revision = reply.header.revision
        if isinstance(request, Compaction):
            self.compacted = request.revision
