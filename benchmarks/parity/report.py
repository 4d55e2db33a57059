"""The results of `digits bench parity`: how much each variant differs from Keras, and the server from the process."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from digits.benchmarks.parity.images import TEST
from digits.benchmarks.parity.variant import EDGES, Asked
from digits.benchmarks.section import Drawing, Row, Section
from digits.model.acceptance import Measured
from digits.report.figure import BLUE, GREY, ORANGE, tidy
from digits.report.number_format import percent
from digits.report.table import Table

HEAD = ("variant", "images", "max |dp|", "mean |dp|", "Keras's digit", "95 % interval", "right", "Keras", "McNemar p")
TESTS = (
    "The interval is the exact one (Clopper and Pearson) of the share with Keras's digit; p is McNemar's exact test on "
    "the images that only one of both gets right."
)
JUDGED = (
    "The whole test set must meet the limits that the version was published with. A sample of it (`--quick`), or "
    "another test set, fails only if the one-sided exact binomial test (level 0.001) rejects that the whole meets its "
    "limit. A limit of 0 stays 0."
)
FLIPPED = "The images to which a variant gives another digit, or else those for which it differs most."
STYLES = {TEST: (BLUE, "-"), "noise": (ORANGE, "--"), "one pixel": (GREY, ":")}
COLUMNS, MOST = 6, 12  # images in a row, and of a variant
WIDTH, TILE, TITLE = 8.6, 1.9, 0.35  # inches


def parity_section(result: dict[str, Any]) -> Section:
    rows, reference = result["measurements"], result["findings"]["reference"]
    here = [row for row in rows if row["load"]["where"] == "in process" and row["repeats"]]
    others = [row_text(row) for row in rows if row not in here]
    invariant = {row["system"]: row["batch_invariant"] for row in here}
    words = ", ".join(f"{name} {'yes' if is_invariant else 'NO'}" for name, is_invariant in invariant.items())
    origin = f"Keras is {reference['origin']}; its answers differ from the export's record by {reference['off']:.1e}."
    text = [origin, TESTS, JUDGED, f"The answer to an image is the same bits in every batch: {words}."]
    tables = [
        Table(HEAD, [_cells(row) for row in here], 2),
        Table(("Through the server",), [(line,) for line in others]),
    ]
    drawing = Drawing(
        "histogram", lambda: histograms(here), "differences", "Differences of probabilities from Keras's."
    )
    return Section("Does it answer as Keras does?", result, text, tables, [drawing], {"flipped": ("images", FLIPPED)})


def row_text(row: Row) -> str:
    """A measurement in a line."""
    load = row["load"]
    if why := row.get("not_served"):
        return f"{row['system']} is not served on this CPU: {why}"
    if load["where"] == "server":
        what = f"{row['system']} over {load['transport']}, {load['call']} of {load['count']:,} images"
        return f"{what}: {row['disagrees'] or 'the same bytes as in process'}"
    numbers = row["repeats"][0]
    found = (
        f"max |dp| {numbers['max_abs_diff']:.1e}, Keras's digit {numbers['same_digit']:,} of {load['count']:,} times"
    )
    return f"{row['system']}, {load['images']}: {row['disagrees'] or found}"


def _cells(row: Row) -> list[str]:
    load, numbers = row["load"], row["repeats"][0]
    low, high = map(percent, row["agreement_95"])
    right = ["", "", ""]
    if "mcnemar" in row:
        right = [f"{numbers['correct']:,}", f"{numbers['keras_correct']:,}", f"{row['mcnemar']['p']:.2g}"]
    return [
        row["system"],
        load["images"],
        f"{numbers['max_abs_diff']:.1e}",
        f"{numbers['mean_abs_diff']:.1e}",
        f"{numbers['same_digit']:,} of {load['count']:,}",
        f"{low} to {high}",
        *right,
    ]


def histograms(rows: Sequence[Row]) -> Figure:
    """|difference of a probability| from Keras's, for each variant and kind of images, on logarithmic axes.

    All 0 and all 255 are too few images for a curve.
    """
    found = [row for row in rows if row["load"]["images"] in STYLES]
    names = list(dict.fromkeys(row["system"] for row in found))
    figure = Figure(figsize=(7.2, 2.5 * len(names) + 0.6), layout="constrained")
    column = figure.subplots(len(names), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, name in zip(column, names, strict=True):
        for row in found:
            if row["system"] == name:
                _curve(axes, row)
        axes.set(xscale="log", yscale="log", xlim=(EDGES[0], 1), ylim=(5e-6, 1), ylabel="share of probabilities")
        axes.minorticks_off()
        tidy(axes)
    column[-1].set_xlabel("|probability - Keras's|")
    figure.legend(*column[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return figure


def _curve(axes: Axes, row: Row) -> None:
    drawn, kind = row["histogram"], row["load"]["images"]
    color, line = STYLES[kind]
    whole = sum(drawn["counts"]) + drawn["below"] + drawn["equal"]
    axes.stairs(
        np.array(drawn["counts"]) / whole, drawn["edges"], color=color, linestyle=line, linewidth=1.8, label=kind
    )
    if kind == TEST:  # in the title: what a logarithmic axis cannot show
        title = f"{row['system']}, {kind}: at most {row['repeats'][0]['max_abs_diff']:.1e}, "
        title += f"{percent(drawn['equal'] / whole)} equal, {percent(drawn['below'] / whole)} below {EDGES[0]:.0e}"
        axes.set_title(title, loc="left", fontsize=10)


def flipped(asked: Asked, variants: Mapping[str, Measured]) -> Figure:
    """The test images to which a variant gives another digit than Keras; if there are none, those that differ most.

    Args:
        asked: The test images.
        variants: The answers of each variant to them.
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
