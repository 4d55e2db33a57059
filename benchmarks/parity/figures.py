"""The figures of `digits bench parity`: how far the variants are from Keras, and the images they read otherwise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from digits.benchmarks.parity.images import TEST
from digits.benchmarks.parity.statistics import EDGES
from digits.report.figure import BLUE, GREY, ORANGE, tidy
from digits.report.number_format import percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from digits.benchmarks.parity.variant import Asked
    from digits.model.acceptance import Measured

STYLES = {TEST: (BLUE, "-"), "noise": (ORANGE, "--"), "one pixel": (GREY, ":")}
COLUMNS, MOST = 6, 12  # images in a row, and of a variant
WIDTH, TILE, TITLE = 8.6, 1.9, 0.35  # inches


def histograms(measurements: Sequence[dict[str, Any]]) -> Figure:
    """|difference of a probability| from Keras's: a panel a variant, a curve a kind of images, both axes logarithmic.

    Args:
        measurements: The JSON's, of which those with a histogram are drawn. All 0 and all 255 are too few for a curve.
    """
    found = [one for one in measurements if one["load"].get("images") in STYLES]
    names = list(dict.fromkeys(one["subject"] for one in found))
    figure = Figure(figsize=(7.2, 2.5 * len(names) + 0.6), layout="constrained")
    panels = figure.subplots(len(names), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, name in zip(panels, names, strict=True):
        for one in found:
            if one["subject"] == name:
                _curve(axes, one)
        _axes(axes)
    panels[-1].set_xlabel("|probability - Keras's|")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return figure


def _curve(axes: Axes, one: dict[str, Any]) -> None:
    drawn, kind = one["histogram"], one["load"]["images"]
    color, line = STYLES[kind]
    whole = sum(drawn["counts"]) + drawn["below"] + drawn["equal"]
    share = np.array(drawn["counts"]) / whole
    axes.stairs(share, drawn["edges"], color=color, linestyle=line, linewidth=1.8, label=kind)
    if kind == TEST:  # what a logarithmic axis has no room for
        title = f"{one['subject']}, {kind}: at most {one['repeats'][0]['max_abs_diff']:.1e}, "
        title += f"{percent(drawn['equal'] / whole)} equal, {percent(drawn['below'] / whole)} below {EDGES[0]:.0e}"
        axes.set_title(title, loc="left", fontsize=10)


def _axes(axes: Axes) -> None:
    axes.set(xscale="log", yscale="log", xlim=(EDGES[0], 1), ylim=(5e-6, 1), ylabel="share of probabilities")
    axes.minorticks_off()
    tidy(axes)


def flipped(asked: Asked, variants: Mapping[str, Measured]) -> Figure:
    """The test images to which a variant gives another digit than Keras; where there is none, those it is furthest off.

    Args:
        asked: The test images.
        variants: What each variant answers to them.
    """
    chosen = {name: _chosen(asked.keras, measured) for name, measured in variants.items()}
    rows = {name: math.ceil(len(indices) / COLUMNS) for name, indices in chosen.items()}
    heights = [TITLE + TILE * count for count in rows.values()]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(variants), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, (name, indices) in zip(parts, chosen.items(), strict=True):
        part.suptitle(_title(name, variants[name]), x=0.01, ha="left", fontsize=10)
        tiles = part.subplots(rows[name], COLUMNS, squeeze=False).ravel()
        for axes in tiles[len(indices) :]:
            axes.axis("off")
        for axes, index in zip(tiles, indices, strict=False):
            axes.imshow(asked.images.pixels[index], cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_color("#C0C0C0")
            axes.set_title(_label(name, asked, variants[name].answers, index), fontsize=8, linespacing=1.15)
    return figure


def _chosen(keras: NDArray[np.float32], measured: Measured) -> NDArray[np.intp]:
    if len(measured.parity.flipped):
        return measured.parity.flipped[:MOST]
    off = np.abs(measured.answers - keras).max(axis=1)
    return np.argsort(-off, kind="stable")[:COLUMNS]


def _title(name: str, measured: Measured) -> str:
    flips, images = len(measured.parity.flipped), measured.parity.images
    if not flips:
        return f"{name}: none of {images:,} test images gets another digit; these differ most"
    first = f"; the first {MOST}" if flips > MOST else ""
    return f"{name}: {flips:,} of {images:,} test images get another digit{first}"


def _label(name: str, asked: Asked, answers: NDArray[np.float32], index: int) -> str:
    labels = asked.images.labels
    lines = [f"image {index}" if labels is None else f"image {index}, a {labels[index]}"]
    for who, row in (("Keras", asked.keras[index]), (name, answers[index])):
        lines.append(f"{who}: {row.argmax()}, {percent(row.max())}")
    return "\n".join(lines)
