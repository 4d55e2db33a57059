"""What the figures of `digits bench engine` share: a look for each subject, a panel for each number of threads.

Colours: M. Okabe and K. Ito, "Color Universal Design", 2008.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from digits.benchmarks.engine.subjects import CALL, FUNCTION, OPENVINO, PREDICT
from digits.model.manifest import FP16, FP32, INT8
from digits.report.figure import BLUE, GREY, ORANGE, tidy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

LOOKS = {
    INT8: (ORANGE, "D"),
    FP32: (BLUE, "o"),
    FP16: ("#CC79A7", "v"),
    OPENVINO: ("#56B4E9", "P"),
    FUNCTION: ("#009E73", "s"),
    CALL: ("#E69F00", "^"),
    PREDICT: (GREY, "X"),
}
WIDTH, HEIGHT, ENTRY = 5.2, 4.6, 0.21  # inches of a panel, and of an entry of the legend


def panels(threads: Iterable[int]) -> tuple[Figure, dict[int, Axes]]:
    """A panel for the least and one for the most threads: more of them would tell no more."""
    numbers = sorted(threads)
    shown = sorted({numbers[0], numbers[-1]})
    figure = Figure(figsize=(WIDTH * len(shown), HEIGHT), layout="constrained")
    row = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, number in zip(row, shown, strict=True):
        axes.set(title=in_threads(number), xscale="log", yscale="log")
        tidy(axes)
    return figure, dict(zip(shown, row, strict=True))


def look(subject: str) -> dict[str, Any]:
    """Colour and marker."""
    color, marker = LOOKS[subject]
    return {"color": color, "marker": marker, "markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.5}


def legend(
    figure: Figure, subjects: Collection[str], not_served: Collection[str], first: Sequence[Artist] = (), **of_mark: Any
) -> None:
    """Below the panels, which keep their height: `first`, then the subjects, those not served on the host marked."""
    shown = [name for name in LOOKS if name in subjects]
    marks = [Line2D([], [], label=named(name, not_served), **look(name) | of_mark) for name in shown]
    handles = [*first, *marks]
    columns = len(figure.axes)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + ENTRY * -(-len(handles) // columns))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def named(subject: str, not_served: Collection[str]) -> str:
    """The subject, marked if no server would run it on the host."""
    return f"{subject} (not served on this host)" if subject in not_served else subject


def in_threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"
