"""The figures of a sweep."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import PercentFormatter

from digits.lab.study import Result
from digits.report.figure import BLUE, GREY, ORANGE

BAND = 0.5  # of the way from one value to the next is for the lines through it, the best on top


def parallel_coordinates(results: Sequence[Result], varied: Sequence[str]) -> Figure:
    """A line for each trial through its values to its validation accuracy; that of the best, the first, is orange."""
    accuracies = np.array([result.score.val_accuracy for result in results])
    low, high = _limits(accuracies)
    figure = Figure(figsize=(2.0 + 1.9 * len(varied), 5.2), layout="constrained")
    axes = figure.subplots()
    columns = [_column(axes, x, name, results) for x, name in enumerate(varied)]
    heights = np.stack([*columns, (accuracies - low) / (high - low)], axis=1)
    shades = colormaps["Blues"](np.linspace(0.95, 0.25, len(results)))
    for i in reversed(range(1, len(results))):  # the better on top
        axes.add_patch(_curve(heights[i], edgecolor=shades[i], linewidth=1.4))
    axes.add_patch(_curve(heights[0], edgecolor=ORANGE, linewidth=2.8))
    axes.set(xlim=(-0.3, len(varied)), ylim=(-0.02, 1.02), yticks=[])
    _accuracy_axis(axes, low, high)
    axes.set_xticks(range(len(varied) + 1), [*varied, "validation\naccuracy"], fontsize=11)
    axes.tick_params(length=0, pad=8)
    axes.spines[:].set_visible(False)
    return figure


def importances(shares: Mapping[str, float]) -> Figure:
    """A bar for each hyperparameter's share, the largest on top."""
    figure = Figure(figsize=(6.4, 0.9 + 0.55 * len(shares)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(list(shares), list(shares.values()), color=BLUE, height=0.6)
    axes.bar_label(bars, [f"{share * 100:.0f} %" for share in shares.values()], padding=5)
    axes.set(xlim=(0, 1.12 * max(shares.values())), xlabel="share of what the hyperparameters explain, one by one")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0, labelsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _column(axes: Axes, x: int, name: str, results: Sequence[Result]) -> Any:
    """Draws a hyperparameter's axis, and gives the height of each trial on it, from 0 to 1.

    Trials of the same value form a band, in the order of the results, so that none hides another.
    """
    given = [getattr(result.candidate, name) for result in results]
    values = sorted(set(given))
    step = 1 / len(values)
    half = BAND * step / 2
    heights = np.empty(len(results))
    for i, value in enumerate(values):
        centre = (i + 0.5) * step
        alike = [at for at, other in enumerate(given) if other == value]
        heights[alike] = centre + (np.linspace(half, -half, len(alike)) if len(alike) > 1 else 0)
        axes.vlines(x, centre - half - 0.012, centre + half + 0.012, color=GREY, linewidth=4)
        label = f"{value:,}" if isinstance(value, int) else value
        axes.text(x, centre + half + 0.025, label, ha="center", va="bottom", fontsize=10, parse_math=False)
    return heights


def _accuracy_axis(axes: Axes, low: float, high: float) -> None:
    """An axis at the right edge on which 0 and 1 of the other are the accuracies `low` and `high`."""
    twin = axes.twinx()
    twin.set_ylim(*(low + y * (high - low) for y in axes.get_ylim()))
    twin.yaxis.set_major_formatter(PercentFormatter(1.0))
    twin.tick_params(color=GREY, labelsize=10)
    twin.spines[:].set_visible(False)
    twin.spines["right"].set(visible=True, color=GREY)


def _limits(accuracies: Any) -> tuple[float, float]:
    """A range that contains all accuracies and is longer than zero."""
    low, high = float(accuracies.min()), float(accuracies.max())
    margin = 0.03 * (high - low) or 0.005
    return low - margin, high + margin


def _curve(heights: Any, **style: Any) -> PathPatch:
    """A smooth line through the heights at 0, 1, 2, ..., level at each."""
    points, codes = [(0.0, heights[0])], [Path.MOVETO]
    for x, (before, after) in enumerate(pairwise(heights)):
        points += [(x + 0.4, before), (x + 0.6, after), (x + 1.0, after)]
        codes += [Path.CURVE4] * 3
    return PathPatch(Path(points, codes), fill=False, capstyle="round", **style)
