"""The results of `digits bench engine`: images a second by batch size, and the roofline.

Colours: M. Okabe and K. Ito, "Color Universal Design", 2008.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from statistics import median
from typing import Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from digits.benchmarks.engine.roofline import CACHE, MEMORY, MULTIPLY, roof
from digits.benchmarks.engine.systems import CALL, FUNCTION, OPENVINO, PREDICT
from digits.benchmarks.section import Drawing, Row, Section
from digits.model.manifest import FP16, FP32, INT8
from digits.report.figure import BLUE, GREY, ORANGE, tidy
from digits.report.table import Table

Roofline = Mapping[str, Any]

LOOKS = {
    INT8: (ORANGE, "D"),
    FP32: (BLUE, "o"),
    FP16: ("#CC79A7", "v"),
    OPENVINO: ("#56B4E9", "P"),
    FUNCTION: ("#009E73", "s"),
    CALL: ("#E69F00", "^"),
    PREDICT: (GREY, "X"),
}
WIDTH, HEIGHT, ENTRY = 5.2, 4.6, 0.21  # inches of a figure for one number of threads, and of an entry of the legend
ROOFS: tuple[tuple[str, Literal["-", "--"], str], ...] = (
    (CACHE, "-", "float32's roof, weights in the cache"),
    (MEMORY, "--", "float32's roof, weights in memory"),
)
CAVEAT = "int8 has another roof, which is not measured"
APART = 2.0  # times the intensity of a dot with a name, at least the next one's
BELOW = (0, -12)  # points from a dot to its name


def engine_section(result: dict[str, Any]) -> Section:
    findings = result["findings"]
    rows = [row for row in result["measurements"] if "batch" in row["load"]]
    rejected, roofline = findings["not_served"], findings.get("roofline")
    points = roofline["points"] if roofline else []
    shares = {(point["batch"], point["threads"]): point["share"] for point in points if "share" in point}
    text = ["Images a second; in brackets the microseconds of the median run."]
    text += [f"{name} is not served on this CPU: {why}." for name, why in rejected.items()]
    if any(share > 1 for share in shares.values()):
        text.append("A share above 100 %: the machine was busy while its peaks were measured. Measure again.")
    caption = "Images a second by batch size; bars span the slowest and the fastest repeat."
    drawings = [Drawing("throughput", lambda: _throughput(rows, rejected), "images a second by batch size", caption)]
    if roofline:
        caption = (
            "The roofline (S. Williams, A. Waterman and D. Patterson, 2009): what the machine's measured peaks of "
            "matrix multiplication and of memory allow, by the arithmetic that a batch does for each byte."
        )
        drawings.append(Drawing("roofline", lambda: _roofline(roofline, rejected), "roofline", caption))
    threads = sorted({row["load"]["threads"] for row in rows})
    tables = [_table([row for row in rows if row["load"]["threads"] == on], on, rejected, shares) for on in threads]
    return Section("How fast is the model itself?", result, text, tables, drawings)


def _table(rows: Sequence[Row], threads: int, rejected: Collection[str], shares: Mapping[Any, float]) -> Table:
    batches = sorted({row["load"]["batch"] for row in rows})
    cells = {(row["system"], row["load"]["batch"]): _cell(row) for row in rows}
    names = dict.fromkeys(row["system"] for row in rows)
    shown = [[_named(name, rejected), *(cells.get((name, batch), "") for batch in batches)] for name in names]
    if shares:
        shown.append(["fp32's share of the roof", *(f"{shares.get((batch, threads), 0):.0%}" for batch in batches)])
    return Table((f"{_in_threads(threads)}, batches of", *map("{:,}".format, batches)), shown)


def _cell(row: Row) -> str:
    rate = median(repeat["images_per_second"] for repeat in row["repeats"])
    return f"{rate:,.0f} ({median(repeat['latency_us']['p50'] for repeat in row['repeats']):,.0f})"


def _in_threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"


def _named(system: str, rejected: Collection[str]) -> str:
    """The system, marked if no server would run it on the host."""
    return f"{system} (not served on this host)" if system in rejected else system


def _axes_by_threads(threads: Iterable[int]) -> tuple[Figure, dict[int, Axes]]:
    """Axes for the fewest and for the most threads."""
    numbers = sorted(threads)
    shown = sorted({numbers[0], numbers[-1]})
    figure = Figure(figsize=(WIDTH * len(shown), HEIGHT), layout="constrained")
    row = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, number in zip(row, shown, strict=True):
        axes.set(title=_in_threads(number), xscale="log", yscale="log")
        tidy(axes)
    return figure, dict(zip(shown, row, strict=True))


def _look(system: str) -> dict[str, Any]:
    color, marker = LOOKS[system]
    return {"color": color, "marker": marker, "markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.5}


def _legend(
    figure: Figure, systems: Collection[str], rejected: Collection[str], first: Sequence[Artist] = (), **style: Any
) -> None:
    """Below the axes, which keep their height: `first`, then the systems."""
    shown = [name for name in LOOKS if name in systems]
    handles = [*first, *(Line2D([], [], label=_named(name, rejected), **_look(name) | style) for name in shown)]
    columns = len(figure.axes)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + ENTRY * -(-len(handles) // columns))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def _throughput(rows: Sequence[Row], rejected: Collection[str]) -> Figure:
    """Images a second by batch size; a dot is the median of the repeats, a bar spans all of them."""
    figure, by_threads = _axes_by_threads({row["load"]["threads"] for row in rows})
    batches = sorted({row["load"]["batch"] for row in rows})
    for threads, axes in by_threads.items():
        for name in LOOKS:
            own = [row for row in rows if (row["system"], row["load"]["threads"]) == (name, threads)]
            if own:
                rates = [[repeat["images_per_second"] for repeat in row["repeats"]] for row in own]
                middle = np.array([median(each) for each in rates])
                spread = (middle - [min(each) for each in rates], [max(each) for each in rates] - middle)
                at = [row["load"]["batch"] for row in own]
                axes.errorbar(at, middle, spread, linewidth=1.2, capsize=2, **_look(name))
        axes.set(xlabel="images in a batch", ylabel="images a second")
        axes.set_xticks(batches, [f"{batch:,}" for batch in batches], rotation=45)
        axes.set_xticks([], minor=True)
    _legend(figure, {row["system"] for row in rows}, rejected)
    return figure


def _roofline(roofline: Roofline, rejected: Collection[str]) -> Figure:
    """FLOP a second by FLOP for each byte, and the roofs; fp32's dots have their batch sizes."""
    points = roofline["points"]
    figure, by_threads = _axes_by_threads({point["threads"] for point in points})
    intensities = [point["intensity"] for point in points]
    reach = np.geomspace(min(intensities) / 2, max(intensities) * 2, 200).tolist()
    for threads, axes in by_threads.items():
        peaks = roofline["roofs"][str(threads)]
        for memory, style, _ in ROOFS:
            axes.plot(reach, [roof(at, peaks, memory) / 1e9 for at in reach], style, color="black", linewidth=1.2)
        numbers = f"matrix multiplication {peaks[MULTIPLY] / 1e9:,.0f} GFLOP/s"
        numbers += "".join(f"\n{memory} {peaks[memory] / 1e9:,.0f} GB/s" for memory in (CACHE, MEMORY))
        axes.text(0.97, 0.04, numbers, transform=axes.transAxes, ha="right", va="bottom", fontsize=9)
        _dots(axes, [point for point in points if point["threads"] == threads])
        axes.set(xlabel="FLOP for each byte read or written", ylabel="GFLOP a second")
    systems = {point["system"] for point in points}
    lines = [Line2D([], [], color="black", linestyle=style, label=label) for _, style, label in ROOFS]
    if INT8 in systems:
        lines.append(Line2D([], [], linestyle="", label=CAVEAT))
    _legend(figure, systems, rejected, lines, linestyle="")
    return figure


def _dots(axes: Axes, points: Sequence[Row]) -> None:
    named = 0.0
    name: dict[str, Any] = {"ha": "center", "fontsize": 7, "color": BLUE, "zorder": 4}
    name["path_effects"] = [withStroke(linewidth=2, foreground="white")]  # readable on other dots
    for point in sorted(points, key=lambda point: float(point["intensity"])):
        at = (point["intensity"], point["flops"] / 1e9)
        axes.plot(*at, linestyle="", zorder=3, **_look(point["system"]))
        if point["system"] == FP32 and point["intensity"] >= named * APART:
            named = point["intensity"]
            axes.annotate(f"{point['batch']:,}", at, BELOW, textcoords="offset points", **name)
