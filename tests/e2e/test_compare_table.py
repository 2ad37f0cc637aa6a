"""The table of make bench-compare, made of results that are written down here."""

import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "perf"))

import judge
import plot
import render
import rows
from results import Results

ABOUT = {
    "machine": {"processor": "a processor", "cores": [0, 1], "kernel": "6.1",
                "file_system": "ext4"},
    "settings": {"pairs": 2, "seconds": 3, "scale": 1, "target": "leader", "date": "2026-01-02",
                 "load_average": 0.25},
    "versions": {"holdfast": "holdfastd 0.1.0", "etcd": "etcd 3.7.1"},
    "commit": "abc1234",
}


def results(*runs):
    made = Results(ABOUT)
    for system, pair, workload, figures in runs:
        made.add(system, pair, workload, figures)
    return made


def verdict(title, workload, *runs):
    found = [v for v in judge.verdicts(results(*runs))
             if v.row.title == title and v.row.workload == workload]
    assert len(found) == 1
    return found[0]


def test_every_row_and_every_limit_names_what_is_run():
    for row in rows.ROWS:
        assert row.workload in rows.NAMES
        assert not row.limit or row.limit[0] in rows.NAMES
        assert row.must


@pytest.mark.parametrize("ours, must, aim", [(4999, False, False), (5000, True, False),
                                             (7000, True, True)])
def test_a_rate_is_better_when_higher(ours, must, aim):
    v = verdict("put, 64 in flight, one key", "put-64-one",
                ("etcd", 0, "put-64-one", {"ops_per_s": 1000}),
                ("holdfast", 0, "put-64-one", {"ops_per_s": ours}))
    assert (v.ratio, v.must, v.aim) == (ours / 1000, must, aim)


@pytest.mark.parametrize("ours, must, aim", [(20, False, False), (16, True, False),
                                             (10, True, True)])
def test_a_latency_is_better_when_lower(ours, must, aim):
    v = verdict("– p99", "put-64", ("etcd", 0, "put-64", {"p99_ms": 100}),
                ("holdfast", 0, "put-64", {"p99_ms": ours}))
    assert (v.ratio, v.must, v.aim) == (100 / ours, must, aim)


@pytest.mark.parametrize("limit, must, aim", [(0.3, True, True), (0.21, True, False),
                                              (0.1, False, False), (None, None, None)])
def test_a_put_is_held_against_the_probe_too(limit, must, aim):
    probe = [("machine", 0, "limit", {"total_p50_ms": limit})] if limit else []
    v = verdict("put, one in flight: median", "put-1", *probe,
                ("etcd", 0, "put-1", {"p50_ms": 0.9}), ("holdfast", 0, "put-1", {"p50_ms": 0.3}))
    assert (v.must, v.aim) == (must, aim)


@pytest.mark.parametrize("gaps, must", [((20, 70, 290), True), ((20, 70, 310), False),
                                        ((20, 90, 100), False)])
def test_fail_over_has_a_median_and_a_worst(gaps, must):
    v = verdict("kill -9 of the leader to the next acknowledged write", "failover",
                *(("holdfast", 0, "failover", {"gap_ms": gap}) for gap in gaps))
    assert (v.must, v.ratio) == (must, None)


def test_without_the_reference_a_ratio_is_not_judged():
    v = verdict("count of 200,000 keys", "count", ("holdfast", 0, "count", {"ops_per_s": 1}))
    assert (v.must, v.aim) == (None, None)


def test_medians_and_spreads_are_over_all_pairs():
    v = verdict("count of 200,000 keys", "count",
                *(("etcd", p, "count", {"ops_per_s": value}) for p, value in enumerate([1, 2, 9])),
                *(("holdfast", p, "count", {"ops_per_s": value})
                  for p, value in enumerate([300, 200, 900])))
    assert (v.theirs.median, v.theirs.low, v.theirs.high) == (2, 1, 9)
    assert (v.ratio, sorted(v.ratios)) == (150, [100, 100, 300])


@pytest.mark.parametrize("value, text", [(12345.6, "12,346"), (123.4, "123"), (12.34, "12.3"),
                                         (0.01234, "0.0123"), (0, "0"), (None, "")])
def test_numbers_have_three_digits_that_count(value, text):
    assert render.number(value) == text


def test_the_report_says_what_was_measured_and_what_is_missed():
    made = render.report(results(
        ("machine", 0, "limit", {"total_p50_ms": 0.2}),
        ("etcd", 0, "put-1", {"ops_per_s": 1000, "p50_ms": 0.9, "cpu_us": 100.0, "errors": 0}),
        ("holdfast", 0, "put-1", {"ops_per_s": 3000, "p50_ms": 0.4, "cpu_us": 20.0, "errors": 2})))
    assert "holdfastd 0.1.0 beside etcd 3.7.1 (Holdfast at abc1234), 2026-01-02" in made
    assert "not a final one" in made
    row = next(line for line in made.splitlines() if line.startswith("| put, one in flight"))
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        "put, one in flight: median", "0.900 ms", "0.400 ms", "2.2 ×", "0.200 ms (probe)",
        "2.5 ×, ≤ 1.5 × limit: **no**", "≤ 1.2 × limit: **no**"]
    assert "Musts not reached: put, one in flight: median." in made
    assert ["put-1", "holdfast", "3,000", "0.400", "", "", "20", "", "", "2"] in [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in made.splitlines()]


def test_results_of_several_calls_are_one_table():
    calls = [results(("etcd", 0, "count", {"ops_per_s": 1}),
                     ("holdfast", 0, "count", {"ops_per_s": value})) for value in (300, 500)]
    whole = Results.merged(calls)
    assert judge.verdicts(whole)[0].ratios == [300, 500]


def test_a_row_says_when_it_ran_with_less_data():
    smaller = Results({**ABOUT, "settings": {**ABOUT["settings"], "scale": 0.1}})
    smaller.add("holdfast", 0, "load", {"ops_per_s": 1})
    smaller.add("holdfast", 0, "count", {"ops_per_s": 1})
    made = render.report(smaller)
    assert "| load of 1 M random keys, 1 KiB × 0.1 |" in made
    assert "| count of 200,000 keys " in made and "keys × 0.1" not in made


def test_plots_have_the_medians_of_what_both_ran():
    both = results(*((system, 0, "put-64", {"ops_per_s": rate, "p50_ms": 5, "p99_ms": 17})
                     for system, rate in (("etcd", 900), ("holdfast", 4500))))
    assert '"put-64" 900 4500' in plot.throughput_script(both, "a.svg")
    assert "2 5\n100 17\n" in plot.latency_script(both, "a.svg")
    alone = results(("machine", 0, "limit", {"total_p50_ms": 0.2}))
    assert plot.throughput_script(alone, "a.svg") is None
    assert plot.latency_script(alone, "a.svg") is None


def test_only_what_is_between_the_markers_is_replaced():
    document = f"before\n{render.BEGIN}\nold\n{render.END}\nafter\n"
    once = render.replaced(document, "new\n")
    assert once == f"before\n{render.BEGIN}\n\nnew\n\n{render.END}\nafter\n"
    assert render.replaced(once, "new\n") == once
    with pytest.raises(ValueError):
        render.replaced("no markers", "new")


def test_workloads_are_chosen_by_name_or_phase():
    assert rows.chosen("") == set(rows.NAMES)
    assert rows.chosen("put-1, count") == {"put-1", "count"}
    assert rows.chosen("long") == set(rows.LONG)
    with pytest.raises(rows.UnknownWorkload):
        rows.chosen("put-2")
