"""The figure of images a second by batch size, from what the JSON of `digits bench engine` holds."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from digits.benchmarks.engine.panels import LOOKS, legend, look, panels

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Row = Mapping[str, Any]


def throughput(measurements: Sequence[Row], not_served: Collection[str]) -> Figure:
    """Images a second by batch size, a panel for each number of threads.

    Args:
        measurements: Of the JSON; a dot is the median of its repeats, a bar reaches from the least to the most.
        not_served: The subjects that no server would run on the host.
    """
    rows = [row for row in measurements if "batch" in row["load"]]
    figure, shown = panels({row["load"]["threads"] for row in rows})
    batches = sorted({row["load"]["batch"] for row in rows})
    for threads, axes in shown.items():
        for name in LOOKS:
            _curve(axes, name, [row for row in rows if (row["subject"], row["load"]["threads"]) == (name, threads)])
        axes.set(xlabel="images in a batch", ylabel="images a second")
        axes.set_xticks(batches, [f"{batch:,}" for batch in batches], rotation=45)
        axes.set_xticks([], minor=True)
    legend(figure, {row["subject"] for row in rows}, not_served)
    return figure


def _curve(axes: Axes, name: str, rows: Sequence[Row]) -> None:
    if not rows:
        return
    batches = [row["load"]["batch"] for row in rows]
    rates = [[each["images_per_second"] for each in row["repeats"]] for row in rows]
    middle = np.array([median(each) for each in rates])
    spread = (middle - [min(each) for each in rates], [max(each) for each in rates] - middle)
    axes.errorbar(batches, middle, spread, linewidth=1.2, capsize=2, **look(name))
