"""The tables of docs/performance.md, made of a run's results alone."""

import rows
from judge import THEM, US, verdicts

BEGIN = "<!-- made by make bench-compare; do not edit -->"
END = "<!-- end of what is made -->"


def number(value, digits=3):
    """With so many digits that count, and commas: 12,345 or 0.0123."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    decimals = 0
    while decimals < 6 and abs(value) * 10 ** decimals < 10 ** (digits - 1):
        decimals += 1
    return f"{value:,.{decimals}f}"


def count(value):
    """Small whole numbers as they are."""
    return f"{value:g}" if value == int(value) and value < 1000 else number(value)


def with_unit(text, unit):
    if not text or not unit:
        return text
    return text + unit if unit.startswith("/") else f"{text} {unit}"


def measured(summary, unit):
    """median (lowest..highest)"""
    if summary is None:
        return ""
    text = with_unit(number(summary.median), unit)
    if summary.low == summary.high:
        return text
    return f"{text} ({number(summary.low)}..{number(summary.high)})"


def factor(verdict):
    if verdict.ratio is None:
        return ""
    low, high = min(verdict.ratios, default=0), max(verdict.ratios, default=0)
    spread = f" ({number(low, 2)}..{number(high, 2)})" if len(verdict.ratios) > 1 else ""
    return f"{number(verdict.ratio, 2)} ×{spread}"


def condition(target, unit):
    if target.times:
        return f"{target.times:,g} ×"
    if target.times_limit:
        return f"≤ {target.times_limit:g} × limit"
    if target.at_most:
        return "≤ " + with_unit(f"{target.at_most:g}", unit)
    return "worst ≤ " + with_unit(f"{target.worst:g}", unit)


def promise(targets, kept, unit):
    if not targets:
        return ""
    mark = {True: "yes", False: "**no**", None: "?"}[kept]
    return f"{', '.join(condition(t, unit) for t in targets)}: {mark}"


def limit_text(verdict):
    if verdict.limit is None:
        return ""
    return f"{with_unit(number(verdict.limit), verdict.row.unit)} ({verdict.row.limit[2]})"


def markdown(heads, lines):
    """A table whose columns also stand below each other as plain text."""
    widths = [max(len(row[i]) for row in [heads, *lines]) for i in range(len(heads))]

    def line(cells):
        return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths)) + " |"

    return "\n".join([line(heads), "|" + "|".join("-" * (w + 2) for w in widths) + "|",
                      *map(line, lines)])


def title(row, settings):
    """Its own, unless it ran with another amount of data."""
    if settings["scale"] == 1 or row.workload not in rows.MUCH_DATA:
        return row.title
    return f"{row.title} × {settings['scale']:g}"


def targets_table(found, settings):
    return markdown(
        ["", "etcd", "Holdfast", "better by", "limit", "must", "aim"],
        [[title(v.row, settings), measured(v.theirs, v.row.unit),
          measured(v.ours, v.row.unit), factor(v), limit_text(v), promise(v.row.must, v.must, v.row.unit),
          promise(v.row.aim, v.aim, v.row.unit)] for v in found])


COSTS = (("ops_per_s", "/s"), ("p50_ms", "p50 ms"), ("p99_ms", "p99 ms"), ("p999_ms", "p99.9 ms"),
         ("cpu_us", "server CPU µs"), ("client_cpu_us", "client CPU µs"),
         ("written_bytes", "written B"), ("errors", "errors"))


def costs_table(results):
    """Every workload's medians an operation; CPU and bytes written are of the three nodes."""
    lines = []
    for workload in results.workloads():
        for system in (THEM, US):
            cells = [results.summary(system, workload, figure) for figure, _ in COSTS]
            if cells[0] is None:
                continue
            lines.append([workload, system, *(count(c.median) if c else "" for c in cells)])
    return markdown(["workload", "system", *(head for _, head in COSTS)], lines) if lines else ""


def probe_lines(results):
    words = (("own_write", "a durable write"), ("round", "a TCP round trip"),
             ("total", "a durable write beside a round trip with one on the quicker of two others"),
             ("echo", "an echo through our own rpc"))
    told = []
    for name, what in words:
        found = results.summary("machine", "limit", f"{name}_p50_ms")
        if found:
            told.append(f"{what} {measured(found, 'ms')}")
    return f"Probed in the same run, medians: {'; '.join(told)}." if told else ""


def about_lines(about):
    settings = about["settings"]
    versions = [about["versions"][s] for s in (US, THEM) if s in about["versions"]]
    tree = f" (Holdfast at {about['commit']})" if about["commit"] else ""
    lines = [
        f"{' beside '.join(versions)}{tree}, {settings['date']}. "
        f"{about['machine']['processor']}, cores {', '.join(map(str, about['machine']['cores']))} "
        "for the three nodes and the load generator together; "
        f"kernel {about['machine']['kernel']}, {about['machine']['file_system']}.",
        f"Pairs: {settings['pairs']}; {settings['seconds']} s a run; load to "
        f"{'the leader' if settings['target'] == 'leader' else 'all members'}; "
        f"long rows × {settings['scale']:g}; load average {settings['load_average']:.1f} when "
        "it began.",
    ]
    if settings["pairs"] < 5 or settings["scale"] != 1 or settings["seconds"] < 10:
        lines.append("**A short run, not a final one.**")
    return "\n".join(lines)


def missed_lines(found):
    missed = [v.row.title.replace("–", v.row.workload) for v in found if v.must is False]
    open_ones = " Those with a ? could not be judged." if None in {v.must for v in found} else ""
    told = f"Musts not reached: {'; '.join(missed)}." if missed else "No must is missed."
    return told + open_ones


def report(results):
    found = verdicts(results)
    parts = [about_lines(results.about),
             targets_table(found, results.about["settings"]) if found else "",
             missed_lines(found) if found else "", probe_lines(results), costs_table(results)]
    return "\n\n".join(p for p in parts if p) + "\n"


def replaced(document, made):
    """The document with what stands between the two markers made anew."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document has no lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{made}\n{END}{after}"
