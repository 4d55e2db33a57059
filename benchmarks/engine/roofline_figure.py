"""The figure of the roofline, from what the JSON of `digits bench engine` holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from digits.benchmarks.engine.panels import legend, look, panels
from digits.benchmarks.engine.peaks import CACHE, MEMORY, PRODUCT
from digits.benchmarks.engine.roofline import roof
from digits.model.manifest import FP32, INT8

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Row = Mapping[str, Any]

ROOFS: tuple[tuple[str, Literal["-", "--"], str], ...] = (
    (CACHE, "-", "float32's roof, weights in the cache"),
    (MEMORY, "--", "float32's roof, weights in memory"),
)
CAVEAT = "int8 has another roof, which is not measured"
APART = 2.0  # times the intensity of one dot with a name, at least the next one's
BELOW = (0, -12)  # points from a dot to its name


def roofs(roofline: Row, not_served: Collection[str]) -> Figure:
    """The roofline of the JSON's findings, a panel for each number of threads; fp32's dots have their batch sizes."""
    points = roofline["points"]
    figure, shown = panels({point["threads"] for point in points})
    intensities = [point["intensity"] for point in points]
    reach = np.geomspace(min(intensities) / 2, max(intensities) * 2, 200)
    for threads, axes in shown.items():
        _roof(axes, roofline["roofs"][str(threads)], reach.tolist())
        _dots(axes, [point for point in points if point["threads"] == threads])
        axes.set(xlabel="FLOP for each byte to and fro", ylabel="GFLOP a second")
    subjects = {point["subject"] for point in points}
    lines = [Line2D([], [], color="black", linestyle=style, label=label) for _, style, label in ROOFS]
    if INT8 in subjects:
        lines.append(Line2D([], [], linestyle="", label=CAVEAT))
    legend(figure, subjects, not_served, lines, linestyle="")
    return figure


def _roof(axes: Axes, peaks: Mapping[str, float], reach: Sequence[float]) -> None:
    for of, style, _ in ROOFS:
        axes.plot(reach, [roof(at, peaks, of) / 1e9 for at in reach], style, color="black", linewidth=1.2)
    numbers = f"products {peaks[PRODUCT] / 1e9:,.0f} GFLOP/s"
    for of in (CACHE, MEMORY):
        numbers += f"\n{of} {peaks[of] / 1e9:,.0f} GB/s"
    axes.text(0.97, 0.04, numbers, transform=axes.transAxes, ha="right", va="bottom", fontsize=9)


def _dots(axes: Axes, points: Sequence[Row]) -> None:
    named = 0.0
    for point in sorted(points, key=lambda point: float(point["intensity"])):
        at = (point["intensity"], point["flops"] / 1e9)
        axes.plot(*at, linestyle="", zorder=3, **look(point["subject"]))
        if point["subject"] == FP32 and point["intensity"] >= named * APART:
            named = point["intensity"]
            _name(axes, f"{point['batch']:,}", at)


def _name(axes: Axes, name: str, at: tuple[float, float]) -> None:
    """Below a dot, and readable on others."""
    style: dict[str, Any] = {"ha": "center", "fontsize": 7, "color": look(FP32)["color"], "zorder": 4}
    style["path_effects"] = [withStroke(linewidth=2, foreground="white")]
    axes.annotate(name, at, BELOW, textcoords="offset points", **style)
