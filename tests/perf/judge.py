"""Says of each row of the table what both systems did and whether a promise is kept."""

import rows

US, THEM = "holdfast", "etcd"


class Verdict:
    """A row's figures. `must` and `aim` are True, False, or None where there is nothing to say."""

    def __init__(self, row, results):
        self.row = row
        self.ours = results.summary(US, row.workload, row.figure)
        self.theirs = results.summary(THEM, row.workload, row.figure)
        self.ratio = self.ratio_of(self.theirs and self.theirs.median,
                                   self.ours and self.ours.median)
        self.ratios = self.pair_ratios(results)
        self.limit = limit_of(row, results)
        self.must = self.judge(row.must)
        self.aim = self.judge(row.aim)

    def ratio_of(self, theirs, ours):
        """By how much Holdfast is better; None without both."""
        if not theirs or not ours:
            return None
        return ours / theirs if self.row.higher_is_better else theirs / ours

    def pair_ratios(self, results):
        ours = results.by_pair(US, self.row.workload, self.row.figure)
        theirs = results.by_pair(THEM, self.row.workload, self.row.figure)
        found = [self.ratio_of(theirs[pair], ours[pair]) for pair in ours if pair in theirs]
        return [r for r in found if r is not None]

    def judge(self, targets):
        kept = [self.is_kept(t) for t in targets]
        if False in kept:
            return False
        return True if kept and None not in kept else None

    def is_kept(self, target):
        if self.ours is None:
            return None
        if target.times:
            return None if self.ratio is None else self.ratio >= target.times
        if target.times_limit:
            return (None if self.limit is None else
                    self.ours.median <= target.times_limit * self.limit)
        if target.at_most:
            return self.ours.median <= target.at_most
        return self.ours.high <= target.worst


def limit_of(row, results):
    if not row.limit:
        return None
    workload, figure, _ = row.limit
    found = (results.summary("machine", workload, figure) or
             results.summary(US, workload, figure))
    return found.median if found else None


def verdicts(results):
    """Of the rows that any system has run."""
    made = [Verdict(row, results) for row in rows.ROWS]
    return [v for v in made if v.ours or v.theirs]
