"""The results of `digits bench engine`: images a second by batch size, and the roofline."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from digits.benchmarks.engine.roofline import CACHE, MEMORY, MULTIPLY, roof
from digits.benchmarks.figures import Line, chart, look, repeats_lines
from digits.benchmarks.section import Row, Section, section
from digits.model.manifest import FP32
from digits.report.table import Table

WIDTH, HEIGHT = 5.2, 5.0  # inches of a figure for one number of threads
ROOFS = {CACHE: "-", MEMORY: "--"}  # the style of each line
APART = 2.0  # times the intensity of a dot with a name, at least the next one's


def engine_section(result: dict[str, Any]) -> Section:
    findings = result["findings"]
    rejected, roofline = findings["not_served"], findings.get("roofline")
    marked = {name: f"{name} (not served on this host)" for name in rejected}
    threads: dict[int, list[Row]] = {}
    for row in result["measurements"]:
        if "batch" in row["load"]:
            named = row | {"system": marked.get(row["system"], row["system"])}
            threads.setdefault(row["load"]["threads"], []).append(named)
    points = roofline["points"] if roofline else []
    shares = {(point["batch"], point["threads"]): point["share"] for point in points if "share" in point}
    figures = {"throughput": lambda: _throughput(threads)}
    figures |= {"roofline": lambda: _roofline(roofline, marked)} if roofline else {}
    tables = [_table(threads[on], on, shares) for on in sorted(threads)]
    return section(result, figures, tables=tables, shares=shares)


def _table(rows: Sequence[Row], threads: int, shares: Mapping[tuple[int, int], float]) -> Table:
    batches = sorted({row["load"]["batch"] for row in rows})
    cells = {(row["system"], row["load"]["batch"]): _cell(row["repeats"]) for row in rows}
    names = dict.fromkeys(row["system"] for row in rows)
    shown = [[name, *(cells.get((name, batch), "") for batch in batches)] for name in names]
    if shares:
        shown.append(["fp32's share of the roof", *(f"{shares.get((batch, threads), 0):.0%}" for batch in batches)])
    return Table((f"{_in_threads(threads)}, batches of", *map("{:,}".format, batches)), shown)


def _cell(repeats: Sequence[Mapping[str, Any]]) -> str:
    rate = median(repeat["images_per_second"] for repeat in repeats)
    return f"{rate:,.0f} ({median(repeat['latency_us']['p50'] for repeat in repeats):,.0f})"


def _in_threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"


def _panels(panels: Mapping[str, Sequence[Line]], **axes: Any) -> Figure:
    width = len(panels)
    return chart(panels, (WIDTH * width, HEIGHT), {"xscale": "log", "yscale": "log"} | axes, columns=2 * width)


def _throughput(threads: Mapping[int, Sequence[Row]]) -> Figure:
    """A panel for the fewest threads and one for the most."""
    ends = sorted({min(threads), max(threads)})
    panels = {_in_threads(on): repeats_lines(threads[on], "batch", "images_per_second") for on in ends}
    ticks = sorted({row["load"]["batch"] for rows in threads.values() for row in rows})
    axes = {"xticks": ticks, "xticklabels": [f"{batch:,}" for batch in ticks], "xlabel": "images in a batch"}
    return _panels(panels, **axes, ylabel="images a second")


def _roofline(roofline: Mapping[str, Any], marked: Mapping[str, str]) -> Figure:
    """FLOP a second by FLOP for each byte, and the roofs, for the fewest and for the most threads."""
    points, panels = roofline["points"], dict[str, list[Line]]()
    intensities = [point["intensity"] for point in points]
    reach = np.geomspace(min(intensities) / 2, max(intensities) * 2, 200).tolist()
    threads = {point["threads"] for point in points}
    for on in sorted({min(threads), max(threads)}):
        peaks = roofline["roofs"][str(on)]
        numbers = f"{_in_threads(on)}: {peaks[MULTIPLY] / 1e9:,.0f} GFLOP/s, "
        numbers += ", ".join(f"{where} {peaks[where] / 1e9:,.0f} GB/s" for where in ROOFS)
        panels[numbers] = [_roof(where, reach, peaks) for where in ROOFS]
        for number, name in enumerate(dict.fromkeys(point["system"] for point in points)):
            own = [point for point in points if (point["system"], point["threads"]) == (name, on)]
            panels[numbers].append(_dots(marked.get(name, name), number, own, sizes=name == FP32))
    return _panels(panels, xlabel="FLOP for each byte read or written", ylabel="GFLOP a second")


def _roof(where: str, reach: list[float], peaks: Mapping[str, float]) -> Line:
    style = {"color": "black", "linestyle": ROOFS[where]}
    return Line(f"float32's roof, weights in {where}", reach, [roof(at, peaks, where) / 1e9 for at in reach], style)


def _dots(label: str, number: int, points: Sequence[Mapping[str, Any]], *, sizes: bool) -> Line:
    """A dot for each batch size, by default without the size."""
    names, last = [], 0.0
    for point in points:  # ascending
        apart = sizes and point["intensity"] >= last * APART
        names.append(f"{point['batch']:,}" if apart else "")
        last = point["intensity"] if apart else last
    x, y = [point["intensity"] for point in points], [point["flops"] / 1e9 for point in points]
    return Line(label, x, y, look(number) | {"linestyle": ""}, names=names)
