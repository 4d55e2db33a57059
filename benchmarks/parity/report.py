"""The results of `digits bench parity`: how much each variant differs from Keras, and the server from the process."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from digits.benchmarks.figures import Line, chart
from digits.benchmarks.parity.variant import EDGES, TEST, Asked
from digits.benchmarks.section import Row, Section, section
from digits.model.acceptance import Measured
from digits.report.figure import BLUE, GREY, ORANGE
from digits.report.number_format import percent
from digits.report.tiles import labelled

STYLES = {TEST: (BLUE, "-"), "noise": (ORANGE, "--"), "one pixel": (GREY, ":")}
COLUMNS, MOST = 6, 12  # images in a row, and of a variant


def parity_section(result: dict[str, Any]) -> Section:
    rows = result["measurements"]
    here = [row for row in rows if row["load"]["where"] == "in process" and row["repeats"]]
    others = [row for row in rows if row not in here]
    return section(result, {"histogram": lambda: histograms(here)}, here=here, others=others, row_text=row_text)


def row_text(row: Row) -> str:
    """A measurement in a line."""
    load = row["load"]
    if why := row.get("not_served"):
        return f"{row['system']} is not served on this CPU: {why}"
    if load["where"] == "server":
        what = f"{row['system']} over {load['transport']}, {load['call']} of {load['count']:,} images"
        return f"{what}: {row['disagrees'] or 'the same bytes as in process'}"
    (numbers,) = row["repeats"]
    same = f"Keras's digit {numbers['same_digit']:,} of {load['count']:,} times"
    found = f"max |dp| {numbers['max_abs_diff']:.1e}, {same}"
    return f"{row['system']}, {load['images']}: {row['disagrees'] or found}"


def histograms(rows: Sequence[Row]) -> Figure:
    """A panel for each variant; its title says of the test images what a logarithmic axis cannot show."""
    panels: dict[str, list[Line]] = {}
    for name in dict.fromkeys(row["system"] for row in rows):
        own = {row["load"]["images"]: row for row in rows if row["system"] == name}
        drawn = own[TEST]["histogram"]
        whole = sum(drawn["counts"]) + drawn["below"] + drawn["equal"]
        title = f"{name}, {TEST}: at most {own[TEST]['repeats'][0]['max_abs_diff']:.1e}, "
        title += f"{percent(drawn['equal'] / whole)} equal, {percent(drawn['below'] / whole)} below {EDGES[0]:.0e}"
        panels[title] = [_steps(kind, own[kind]["histogram"]) for kind in STYLES if kind in own]
    axes = {"xscale": "log", "yscale": "log", "xlim": (EDGES[0], 1), "ylim": (5e-6, 1)}
    labels = {"xlabel": "|probability - Keras's|", "ylabel": "share of probabilities"}
    return chart(panels, (7.2, 2.6 * len(panels) + 0.6), axes | labels, down=True, columns=3)


def _steps(kind: str, drawn: Mapping[str, Any]) -> Line:
    whole = sum(drawn["counts"]) + drawn["below"] + drawn["equal"]
    color, style = STYLES[kind]
    shares = [count / whole for count in drawn["counts"]]
    look = {"color": color, "linestyle": style, "linewidth": 1.8, "drawstyle": "steps-post"}
    return Line(kind, drawn["edges"], [*shares, shares[-1]], look)


def flipped(asked: Asked, variants: Mapping[str, Measured]) -> Figure:
    """Of the test images those to which a variant gives another digit than Keras, or else those that differ most."""
    chosen: list[int] = []
    labels: list[str] = []
    for name, measured in variants.items():
        off = np.abs(measured.answers - asked.keras).max(axis=1)
        found = measured.parity.flipped
        for index in found[:MOST] if len(found) else np.argsort(-off, kind="stable")[:COLUMNS]:
            shown = "" if asked.images.labels is None else f", a {asked.images.labels[index]}"
            both = {"Keras": asked.keras[index], name: measured.answers[index]}
            digits = [f"{who}: {row.argmax()}, {percent(row.max())}" for who, row in both.items()]
            chosen.append(int(index))
            labels.append("\n".join([f"image {index}{shown}", *digits]))
    return labelled(asked.images.pixels[chosen], labels, columns=COLUMNS, inches=10)
