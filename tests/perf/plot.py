"""The plots of docs/performance.md, by gnuplot."""

import shutil
import subprocess

from judge import THEM, US

PERCENTILES = (("p50_ms", 50), ("p90_ms", 90), ("p99_ms", 99), ("p999_ms", 99.9),
               ("p9999_ms", 99.99))
CURVES = ("put-64", "put-1000", "get-1000")
BARS = ("put-64-one", "put-64", "put-1000-one", "put-1000", "txn-64", "get-1000", "get-1000-ser")
CANVAS = "set terminal svg size 720,400 background 'white'"
COLOURS = {THEM: "#b0b0b0", US: "#2060a0"}


def is_there():
    return shutil.which("gnuplot") is not None


def latency_script(results, path):
    """Percentiles to the right by their nines, so that the tail has room."""
    blocks, curves = [], []
    for workload in CURVES:
        for system in (THEM, US):
            points = [(p, results.summary(system, workload, f)) for f, p in PERCENTILES]
            points = [(p, s.median) for p, s in points if s]
            if not points:
                continue
            name = f"$d{len(blocks)}"
            lines = "\n".join(f"{100 / (100 - p):g} {ms:g}" for p, ms in points)
            blocks.append(f"{name} << EOD\n{lines}\nEOD")
            dash = 1 + CURVES.index(workload)
            curves.append(f"{name} with linespoints dt {dash} lc rgb '{COLOURS[system]}' lw 2 "
                          f"title '{system} {workload}'")
    if not curves:
        return None
    return "\n".join([
        *blocks, f"{CANVAS}; set output '{path}'",
        "set logscale xy; set grid; set key outside right",
        "set ylabel 'ms'; set xlabel 'percentile'",
        "set xtics ('50' 2, '90' 10, '99' 100, '99.9' 1000, '99.99' 10000)",
        "plot " + ", \\\n  ".join(curves)]) + "\n"


def throughput_script(results, path):
    lines = []
    for workload in BARS:
        both = [results.summary(system, workload, "ops_per_s") for system in (THEM, US)]
        if all(both):
            lines.append(f'"{workload}" {both[0].median:.0f} {both[1].median:.0f}')
    if not lines:
        return None
    data = "\n".join(lines)
    return "\n".join([
        f"$d << EOD\n{data}\nEOD", f"{CANVAS}; set output '{path}'",
        "set style data histograms; set style fill solid; set boxwidth 0.9; set grid y\n"
        "set xtics rotate by -25",
        "set key left top; set ylabel 'operations a second'; set yrange [0:*]",
        f"plot $d using 2:xtic(1) lc rgb '{COLOURS[THEM]}' title '{THEM}', "
        f"'' using 3 lc rgb '{COLOURS[US]}' title '{US}'"]) + "\n"


def draw(results, directory):
    """Writes the plots that the results suffice for; returns their names."""
    made = []
    for name, script_of in (("performance-latency.svg", latency_script),
                            ("performance-throughput.svg", throughput_script)):
        script = script_of(results, f"{directory}/{name}")
        if script:
            subprocess.run(["gnuplot"], input=script, text=True, check=True)
            made.append(name)
    return made
