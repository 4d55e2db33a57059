"""The figures of a training run. Each is a Figure of its own, without pyplot, so they share no state."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from digits.images.digit import SIDE
from digits.report.figure import BLUE, GREY, ORANGE, RUNS, tidy
from digits.report.number_format import percent
from digits.report.tiles import labelled, tiles
from digits.train.curves import History, best_epoch
from digits.train.evaluation import Evaluation

FEW = 12  # epochs that get a marker each
NODES = 64  # whose weights are shown, in rows of 8
NAME = 60  # characters of a run's name
DARK = 0.55  # mean of a cell's colour below which its text is white


def sample(images: NDArray[np.uint8], labels: NDArray[np.uint8], seed: int) -> Figure:
    """Up to forty digits of images uint8 [n, 28, 28], chosen by the seed, each below its label."""
    chosen = np.random.default_rng(seed).permutation(len(images))[:40]
    return labelled(images[chosen], [str(label) for label in labels[chosen]], columns=10, inches=6.4)


def gallery(
    images: NDArray[np.uint8], evaluation: Evaluation, indices: NDArray[np.intp], kind: Literal["correctly", "wrongly"]
) -> Figure:
    """The images at the indices with predicted digit, its confidence and true digit; a line of text without images."""
    if not len(indices):
        figure = Figure(figsize=(5.2, 0.8))
        figure.text(0.5, 0.5, f"no digit was predicted {kind}", ha="center", va="center", fontsize=12, color=GREY)
        return figure
    columns = (evaluation.digits, evaluation.confidences, evaluation.truth)
    rows = zip(*(column[indices] for column in columns), strict=True)
    labels = [f"predicted {digit}, {percent(confidence)}\ntrue {truth}" for digit, confidence, truth in rows]
    return labelled(images[indices], labels, columns=3, inches=5.2)


def weights(kernel: NDArray[np.float32]) -> Figure:
    """The weights [784, nodes] of the first layer: an image of 28 x 28 for each of the first 64 nodes."""
    images = np.nan_to_num(kernel.T[:NODES].reshape(-1, SIDE, SIDE))
    limit = float(np.quantile(np.abs(images), 0.995)) or 1.0  # a few outliers would leave the rest pale
    columns = min(8, len(images))
    array = tiles(images, columns, gap=(2, 2))
    width = 5.4 if columns == 8 else 1.2 * columns  # noqa: PLR2004 - a full row
    height, whole = width * array.shape[0] / array.shape[1], width + 0.9
    figure = Figure(figsize=(whole, height))
    axes = figure.add_axes((0, 0, width / whole, 1))
    axes.axis("off")
    shown = axes.imshow(array, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    bar = figure.colorbar(shown, cax=figure.add_axes(((width + 0.1) / whole, 0.1, 0.15 / whole, 0.8)), extend="both")
    bar.ax.yaxis.set_major_locator(MaxNLocator(4))
    return figure


def learning_curves(history: History) -> Figure:
    """Loss and accuracy per epoch, for training and validation, and the epoch of the lowest validation loss."""
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    best, epochs = best_epoch(history), len(history["loss"])
    for axes, name in zip(panels, ("loss", "accuracy"), strict=True):
        _curve(axes, history[name], epochs, color=BLUE, label="training")
        if validation := history.get(f"val_{name}"):
            _curve(axes, validation, epochs, color=ORANGE, label="validation")
        if best:
            axes.axvline(best, color=GREY, linewidth=1, linestyle=":", zorder=1)
            lowest = history[f"val_{name}"][best - 1]
            label = f"lowest validation loss: epoch {best}"
            axes.scatter(best, lowest, s=90, facecolor="none", edgecolor=ORANGE, label=label, zorder=3)
        _epochs(axes, name, epochs)
    panels[0].set_xlabel("")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return figure


def overlaid_curves(histories: Mapping[str, History]) -> Figure:
    """Loss and accuracy per epoch of up to about ten runs by name, a colour each: training dashed, validation solid."""
    names = ["…" + name[1 - NAME :] if len(name) > NAME else name for name in histories]
    columns = max(1, min(4, 100 // (8 + max(map(len, names)))))
    figure = Figure(figsize=(9.6, 4.2 + 0.22 * math.ceil(len(names) / columns)), layout="constrained")
    epochs = max(len(history["loss"]) for history in histories.values())
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        # The shorter on top, since two runs may have the same course as far as the shorter goes.
        for i, history in sorted(enumerate(histories.values()), key=lambda run: -len(run[1]["loss"])):
            dashed = {"linestyle": "--", "markerfacecolor": "white"}
            for curve, style in ((history[name], dashed), (history.get(f"val_{name}", ()), {})):
                axes.plot(len(curve) or [], curve[-1:], "o", color=RUNS[i % len(RUNS)], zorder=3)
                _curve(axes, curve, epochs, color=RUNS[i % len(RUNS)], **style)
        _epochs(axes, name, epochs)
    styles = [Line2D([], [], color=GREY, linestyle=style) for style in ("--", "-")]
    figure.legend(styles, ["training", "validation"], loc="outside upper center", ncols=2, frameon=False)
    lines = [Line2D([], [], color=RUNS[i % len(RUNS)], linewidth=3) for i in range(len(names))]
    labels = [f"\u200b{name}" for name in names]  # an invisible space: matplotlib leaves out a label that begins with _
    legend = figure.legend(lines, labels, loc="outside lower center", ncols=columns, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def confusion(evaluation: Evaluation) -> Figure:
    """The confusion matrix: blue where right, orange where wrong, each the deeper the larger its share of the row."""
    matrix = evaluation.confusion
    right = np.eye(len(matrix), dtype=np.bool_)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    depth = np.where(right, share, share / (share[~right].max() or 1))
    ink = 1 - np.where(right[..., None], to_rgba(BLUE)[:3], to_rgba(ORANGE)[:3])
    colours = 1 - depth[..., None] * ink
    figure = Figure(figsize=(6.4, 6.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(colours)
    for (row, column), count in np.ndenumerate(matrix):
        color = "white" if colours[row, column].mean() < DARK else "black"
        axes.text(column, row, f"{count:,}" if count else "·", ha="center", va="center", fontsize=9, color=color)
    axes.set(xticks=range(len(matrix)), yticks=range(len(matrix)), xlabel="predicted digit", ylabel="true digit")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def precision_recall(evaluation: Evaluation) -> Figure:
    """Precision and recall of each digit, or a note where one is undefined."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    both = evaluation.precision_and_recall
    digits = np.arange(both.shape[1])
    lowest = both[np.isfinite(both)].min(initial=1.0)
    floor = max(0.0, min(0.98, lowest - 0.1 * (1 - lowest)))
    axes.vlines(digits, both.min(axis=0), both.max(axis=0), color="#C0C0C0", linewidth=2, zorder=1)
    axes.scatter(digits, both[0], s=64, color=BLUE, label="precision")
    axes.scatter(digits, both[1], s=64, marker="s", facecolor="none", edgecolor=ORANGE, linewidth=2, label="recall")
    note: dict[str, Any] = {"rotation": 90, "ha": "center", "va": "bottom", "color": GREY}
    for name, values, offset in zip(("precision", "recall"), both, (0.1, 0.55), strict=True):
        for digit in digits[np.isnan(values)]:
            axes.annotate(f"no {name}", (digit, offset), xycoords=("data", "axes fraction"), **note)
    axes.set(xticks=digits, xlabel="digit", ylim=(floor - 0.04 * (1 - floor), 1 + 0.04 * (1 - floor)))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    tidy(axes)
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    return figure


def reliability(evaluation: Evaluation) -> Figure:
    """The reliability diagram: accuracy by confidence, above the number of images in each bin."""
    calibration = evaluation.calibration()
    bins, error, dots = len(calibration.counts), calibration.expected_calibration_error, calibration.confidences
    centres, bar = (np.arange(bins) + 0.5) / bins, {"width": 1 / bins, "edgecolor": "white"}
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.bar(centres, np.nan_to_num(calibration.accuracies), color=BLUE, label="accuracy", **bar)
    upper.plot(dots, dots, "o", color=ORANGE, label="mean confidence", zorder=3)
    upper.plot([0, 1], [0, 1], color="black", linestyle=":", label="perfectly calibrated")
    value = "undefined" if math.isnan(error) else percent(error)
    upper.set(ylabel="accuracy", ylim=(0, 1.03), xlim=(0, 1), title=f"expected calibration error {value}")
    upper.yaxis.set_major_formatter(PercentFormatter(1.0))
    figure.legend(*upper.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    lower.bar(centres, calibration.counts, color=GREY, **bar)
    scale = "log" if calibration.counts.any() else "linear"
    lower.set(yscale=scale, ylim=(0.7, None), ylabel="images", xlabel="confidence")
    lower.yaxis.set_major_locator(LogLocator(numticks=6))
    lower.yaxis.set_major_formatter("{x:,.0f}")
    lower.yaxis.set_minor_formatter("")
    lower.xaxis.set_major_formatter(PercentFormatter(1.0))
    for axes in (upper, lower):
        tidy(axes)
    return figure


def _curve(axes: Axes, values: Sequence[float], epochs: int, **style: Any) -> None:
    """Draws a curve into a panel of so many epochs."""
    axes.plot(range(1, len(values) + 1), values, marker="o" if epochs <= FEW else None, markersize=4, **style)


def _epochs(axes: Axes, name: str, epochs: int) -> None:
    axes.set(xlabel="epoch", ylabel=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=(1, 2, 5, 10), min_n_ticks=1))
    axes.set_xlim(0.5, epochs + max(0.5, 0.02 * epochs))
    if name == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    else:
        highest = axes.dataLim.y1
        axes.set_ylim(0, 1.06 * highest if 0 < highest < math.inf else 1)
    tidy(axes)
