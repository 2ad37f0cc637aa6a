"""What is counted of a profile, the baseline's file, and what counts as a change."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import count as counting


PROFILE = """\
events: Ir
fl=(1) a.c
fn=(1) round
10 20
cfi=(2) b.c
cfn=(2) ours
calls=3 7
12 300
cfn=(3) the_tests
calls=1 9
+1 50
+2 5

fn=(2)
7 250
cfn=(3)
calls=1 9
* 60

fn=(3)
9 110
totals: 385
"""


@pytest.mark.parametrize("without, instructions", [
    ([], 385),
    (["the_tests"], 275),
    (["ours"], 85),
    (["not_there"], 385),
])
def test_what_is_the_tests_own_does_not_count(without, instructions):
    assert counting.instructions_of(PROFILE, without) == instructions


def test_a_profile_without_a_total_is_none():
    with pytest.raises(ValueError):
        counting.instructions_of("events: Ir\n", [])


def test_a_baseline_is_read_as_it_was_written():
    counts = {"raft-commit-1": 9335, "page-of-100-in-10000": 8930489}
    text = counting.format_baseline("gcc 12.2.0 x86_64-linux-gnu", counts)
    assert counting.parse_baseline(text) == ("gcc 12.2.0 x86_64-linux-gnu", counts)


@pytest.mark.parametrize("text", [
    "raft-commit-1 9335\n",
    "made by: gcc\nraft-commit-1\n",
    "made by: gcc\nraft-commit-1 many\n",
    "made by: gcc\nraft-commit-1 0\n",
    "made by: gcc\nraft-commit-1 9335 9336\n",
])
def test_anything_else_is_no_baseline(text):
    with pytest.raises(ValueError):
        counting.parse_baseline(text)


@pytest.mark.parametrize("count, base, verdict", [
    (1000, 1000, ""),
    (1050, 1000, ""),
    (1051, 1000, "WORSE"),
    (950, 1000, ""),
    (949, 1000, "BETTER"),
    (1000, None, "NEW"),
    (None, 1000, "GONE"),
])
def test_five_percent_either_way_is_no_change(count, base, verdict):
    assert counting.verdict_of(count, base) == verdict


def test_the_table_has_every_operation_of_either_side():
    lines, verdicts = counting.compare({"a": 100, "b": 200, "new": 1}, {"a": 100, "b": 100, "old": 1})
    assert [line.split()[0] for line in lines] == ["operation", "a", "b", "new", "old"]
    assert lines[2].split() == ["b", "200", "100", "+100.0", "%", "WORSE"]
    assert verdicts == {"": 1, "WORSE": 1, "NEW": 1, "GONE": 1}


@pytest.mark.parametrize("verdicts, code, words", [
    ({"": 3}, 0, "3 of 3"),
    ({"": 2, "WORSE": 1}, 1, "1 cost more"),
    ({"": 2, "BETTER": 1}, 1, "UPDATE=1"),
    ({"": 2, "NEW": 1}, 1, "1 are new"),
    ({"": 2, "GONE": 2}, 1, "2 are gone"),
    ({"WORSE": 1, "BETTER": 1}, 1, "find out why"),
])
def test_every_change_ends_with_one(verdicts, code, words):
    text, ended = counting.summary_of(verdicts)
    assert ended == code
    assert words in text
