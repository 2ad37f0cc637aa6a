"""All raw results of a run in one file, and what is computed from them.

    {"about": {...}, "runs": [{"system", "pair", "workload", "figures": {...}, "raw": {...}}]}
"""

import json
import os
import statistics


class Results:
    def __init__(self, about, runs=None, path=None):
        self.about = about
        self.runs = runs if runs is not None else []
        self.path = path

    @staticmethod
    def read(path):
        with open(path, encoding="utf-8") as file:
            stored = json.load(file)
        return Results(stored["about"], stored["runs"])

    @staticmethod
    def merged(parts):
        """Of one thing measured in several calls: what they are about is told of the first."""
        whole = Results(parts[0].about)
        for part in parts:
            if part.about["versions"] != whole.about["versions"]:
                raise ValueError("these results are of different versions")
            # Pairs stay apart, as if the calls had been one.
            first = 1 + max((r["pair"] for r in whole.runs), default=-1)
            whole.runs += [{**r, "pair": first + r["pair"]} for r in part.runs]
        return whole

    def add(self, system, pair, workload, figures, raw=None):
        self.runs.append({"system": system, "pair": pair, "workload": workload,
                          "figures": figures, "raw": raw})
        self.save()

    def save(self):
        """After each run, so that a comparison that is interrupted still has what it did."""
        if self.path is None:
            return
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            json.dump({"about": self.about, "runs": self.runs}, file, indent=1)
            file.write("\n")
        os.replace(self.path + ".new", self.path)

    def workloads(self):
        """Names in the order of their first run."""
        return list(dict.fromkeys(r["workload"] for r in self.runs))

    def values(self, system, workload, figure):
        return [r["figures"][figure] for r in self.runs
                if r["system"] == system and r["workload"] == workload and figure in r["figures"]]

    def summary(self, system, workload, figure):
        """None, or median, lowest and highest."""
        found = self.values(system, workload, figure)
        return Summary(statistics.median(found), min(found), max(found)) if found else None

    def by_pair(self, system, workload, figure):
        """{pair: median}: a pair may have several runs."""
        pairs = {}
        for r in self.runs:
            if r["system"] == system and r["workload"] == workload and figure in r["figures"]:
                pairs.setdefault(r["pair"], []).append(r["figures"][figure])
        return {pair: statistics.median(found) for pair, found in pairs.items()}


class Summary:
    def __init__(self, median, low, high):
        self.median = median
        self.low = low
        self.high = high
