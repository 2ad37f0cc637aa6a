"""What of perf-check is arithmetic and text: callgrind's profile, the baseline, the comparison."""
import re

WITHIN_PERCENT = 5.0
INTRODUCTION = """\
# Instructions per operation, by callgrind; with -64 in its name, per call or entry of a batch of 64.
# Written by `make perf-check UPDATE=1`; the difference is reviewed like code.
"""


def instructions_of(profile, without):
    """All of a profile (the text of callgrind's file) but what ran below the functions `without`,
    none of which calls another. ValueError: it has no total."""
    total = re.search(r"^(?:totals|summary): (\d+)", profile, re.MULTILINE)
    if not total:
        raise ValueError("the profile has no total")
    names, callee, left_out, is_call = {}, None, 0, False
    for line in profile.splitlines():
        named = re.match(r"(c?fn)=(\(\d+\))(?: (.*))?$", line)
        if named:
            if named[3]:
                names[named[2]] = named[3]
            if named[1] == "cfn":
                callee = names[named[2]]
        elif is_call and callee in without:
            left_out += int(line.split()[1])
        is_call = line.startswith("calls=")
    return int(total[1]) - left_out


def format_baseline(made_by, counts):
    lines = [f"{name:32} {count}" for name, count in counts.items()]
    return INTRODUCTION + f"made by: {made_by}\n" + "".join(line + "\n" for line in lines)


def parse_baseline(text):
    """(made by, {name: count}); ValueError names the line that is neither."""
    made_by, counts = None, {}
    for i, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("made by: "):
            made_by = line.removeprefix("made by: ")
            continue
        words = line.split()
        if len(words) != 2 or not words[1].isdigit() or int(words[1]) == 0:
            raise ValueError(f"line {i}: not a name and a count: {line}")
        counts[words[0]] = int(words[1])
    if made_by is None:
        raise ValueError("it does not say what made it")
    return made_by, counts


def verdict_of(count, base):
    """One of "", "WORSE", "BETTER", "NEW", "GONE", for counts of which one may be None."""
    if base is None:
        return "NEW"
    if count is None:
        return "GONE"
    change = percent_of(count, base)
    if change > WITHIN_PERCENT:
        return "WORSE"
    return "BETTER" if change < -WITHIN_PERCENT else ""


def percent_of(count, base):
    return 100.0 * (count - base) / base


def compare(counts, baseline):
    """(lines of the table, {verdict: how many})."""
    lines = [f"{'operation':32} {'instructions':>12} {'baseline':>12} {'change':>9}"]
    verdicts = {}
    for name in list(counts) + [n for n in baseline if n not in counts]:
        count, base = counts.get(name), baseline.get(name)
        verdict = verdict_of(count, base)
        verdicts[verdict] = verdicts.get(verdict, 0) + 1
        change = "" if count is None or base is None else f"{percent_of(count, base):+.1f} %"
        shown = ["-" if n is None else f"{n:,}" for n in (count, base)]
        lines.append(f"{name:32} {shown[0]:>12} {shown[1]:>12} {change:>9} {verdict}".rstrip())
    return lines, verdicts


def summary_of(verdicts):
    """(a line for people, the exit code)."""
    bad = {v: n for v, n in verdicts.items() if v}
    text = f"perf-check: {verdicts.get('', 0)} of {sum(verdicts.values())} operations within " \
           f"{WITHIN_PERCENT:.0f} % of the baseline"
    words = {"WORSE": "cost more", "BETTER": "cost less", "NEW": "are new", "GONE": "are gone"}
    text += "".join(f", {bad[v]} {words[v]}" for v in words if v in bad)
    if "WORSE" in bad:
        text += "; find out why (callgrind_annotate on build/tests/perf/NAME.callgrind)"
    elif bad:
        text += "; when it is meant so: make perf-check UPDATE=1"
    return text, 1 if bad else 0
