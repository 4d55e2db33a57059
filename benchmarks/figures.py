"""The figures of the results from data: lines and marks in panels that share their axes and one legend."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from digits.benchmarks.section import Row
from digits.report.figure import RUNS, tidy

MARKERS = "osD^vPX"


class Line(NamedTuple):
    """A line through points, or only their marks."""

    label: str  # in the legend, unless it is empty
    x: Sequence[float]
    y: Sequence[float]
    look: Mapping[str, Any]  # properties of matplotlib's Line2D
    spread: tuple[Sequence[float], Sequence[float]] | None = None  # from each point down to the end of its bar, and up
    names: Sequence[str] = ()  # of the points, written below them


def look(number: int) -> dict[str, Any]:
    """The colour and the mark of one of several systems."""
    return {"color": RUNS[number % len(RUNS)], "marker": MARKERS[number % len(MARKERS)]}


def repeats_lines(rows: Sequence[Row], x: str, measure: str) -> list[Line]:
    """A line for each system: at each value `x` of a load the median of its repeats, and a bar that spans them."""
    lines = []
    for number, name in enumerate(dict.fromkeys(row["system"] for row in rows)):
        own = sorted((row for row in rows if row["system"] == name), key=lambda row: float(row["load"][x]))
        values = [[repeat[measure] for repeat in row["repeats"]] for row in own]
        middle = [median(each) for each in values]
        down = [at - min(each) for at, each in zip(middle, values, strict=True)]
        up = [max(each) - at for at, each in zip(middle, values, strict=True)]
        lines.append(Line(name, [row["load"][x] for row in own], middle, look(number), (down, up)))
    return lines


def chart(
    panels: Mapping[str, Sequence[Line]],
    size: tuple[float, float],
    axes: Mapping[str, Any],
    *,
    down: bool = False,
    columns: int = 2,
) -> Figure:
    """Draws the lines of each panel, by title, side by side or one below the other.

    The figure's size is in inches; `axes` are properties of matplotlib's Axes, for all of them; the legend has columns.
    """
    figure, handles = Figure(figsize=size, layout="constrained"), dict[str, Any]()
    shape = (len(panels), 1) if down else (1, len(panels))
    grid = figure.subplots(*shape, sharex=True, sharey=True, squeeze=False).ravel()
    for place, (title, lines) in zip(grid, panels.items(), strict=True):
        place.set_title(title, loc="left", fontsize=10)
        for line in lines:
            drawn = place.errorbar(line.x, line.y, line.spread, capsize=2, **line.look)
            for at in zip(line.names, line.x, line.y, strict=False):
                place.annotate(at[0], at[1:], (0, -12), textcoords="offset points", ha="center", fontsize=7)
            if line.label:
                handles.setdefault(line.label, drawn)
        place.set(**axes)
        for axis in {"x", "y"} - {name[0] for name in axes if name.endswith("ticklabels")}:
            getattr(place, f"{axis}axis").set_major_formatter("{x:,g}")
        place.minorticks_off()
        place.label_outer()
        tidy(place)
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=columns, frameon=False)
    return figure
