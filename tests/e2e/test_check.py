"""holdfast-check on files: what it says and the code it ends with."""

import os
import subprocess

from cluster import BUILD, WAIT_S

CHECK = os.path.join(BUILD, "holdfast-check")
HOLDS, VIOLATED, USAGE, UNDECIDED = 0, 1, 2, 3

WRITE = """{:type :invoke, :f :write, :value 1, :process 0, :time 0, :index 0}
{:type :ok, :f :write, :value 1, :process 0, :time 1, :index 1}
{:type :invoke, :f :read, :value nil, :process 1, :time 2, :index 2}
"""
GOOD = WRITE + "{:type :ok, :f :read, :value 1, :process 1, :time 3, :index 3}\n"
STALE = WRITE + "{:type :ok, :f :read, :value nil, :process 1, :time 3, :index 3}\n"


def check(*arguments, text=""):
    result = subprocess.run([CHECK, *arguments], input=text, capture_output=True, text=True,
                            timeout=WAIT_S)
    return result.returncode, result.stdout, result.stderr


def test_holds(tmp_path):
    path = tmp_path / "history.edn"
    path.write_text(GOOD)
    code, out, err = check("--model", "cas-register", str(path))
    assert (code, err) == (HOLDS, "")
    assert out == "2 operations, linearizable as cas-register\n"


def test_stale_read_from_standard_input():
    code, out, err = check("--model", "cas-register", "-", text=STALE)
    assert (code, err) == (VIOLATED, "")
    assert out.splitlines() == [
        "not linearizable as cas-register",
        "no place for: at 3 process 1 2..3 read nil",
        "the shortest run that fails has 2 operations:",
        "  at 1 process 0 0..1 write 1",
        "  at 3 process 1 2..3 read nil",
    ]


def test_not_decided():
    writes = "".join(f"{{:type :invoke :f :write :value {i} :process {i}}}\n" for i in range(50))
    text = writes + "{:type :invoke :f :read :process 99}{:type :ok :f :read :value 77 :process 99}"
    code, out, _ = check("--steps", "1000", "--model", "cas-register", "-", text=text)
    assert (code, out) == (UNDECIDED, "not decided: budget exceeded\n")


def test_bad_input_says_where():
    code, out, err = check("--model", "txn", "-", text="{:type :invoke, :process 0\n")
    assert (code, out) == (USAGE, "")
    assert err == "holdfast-check: -: line 1:1: the form does not end\n"
    code, _, err = check("--model", "txn", "/nonexistent")
    assert code == USAGE and err == "holdfast-check: /nonexistent: cannot be read\n"


def test_usage():
    for arguments in ([], ["-"], ["--model"], ["--model", "none", "-"], ["--model", "txn"],
                      ["--model", "txn", "-", "-"], ["--steps", "x", "--model", "txn", "-"]):
        code, out, err = check(*arguments)
        assert code == USAGE and out == "" and err.startswith("usage: holdfast-check"), arguments
    assert check("--help")[0] == HOLDS
