"""The report of `digits bench parity`: how far each variant is from Keras, and what the server makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from digits.benchmarks.parity.figures import histograms
from digits.benchmarks.parity.table import HEAD, in_words, table_rows
from digits.benchmarks.report.section import Drawing, Section, drawn
from digits.report.figure import png
from digits.report.table import Table

if TYPE_CHECKING:
    from pathlib import Path

TESTS = (
    "The interval is the exact one (Clopper and Pearson) of the share with Keras's digit; p is McNemar's exact test on "
    "the images that only one of both gets right."
)
JUDGED = (
    "The whole test set has to meet the limits that the version was published with. A sample of it (`--quick`), or "
    "another test set, is not judged more strictly: it fails only if the one-sided exact binomial test (level 0.001) "
    "rejects that the whole meets its limit. A limit of 0 stays 0."
)
FLIPPED = "The images to which a variant gives another digit, or else those it is furthest off."


def parity_section(result: dict[str, Any], folder: Path) -> Section:
    measurements, reference = result["measurements"], result["findings"]["reference"]
    here = [one for one in measurements if one["load"]["where"] == "in process" and one["repeats"]]
    others = [in_words(one) for one in measurements if one not in here]
    variants = {one["subject"]: one["batch_invariant"] for one in here}
    invariant = ", ".join(f"{name} {'yes' if is_invariant else 'NO'}" for name, is_invariant in variants.items())
    origin = f"Keras is {reference['origin']}; its answers are within {reference['off']:.1e} of the export's record."
    text = [origin, TESTS, JUDGED, f"An image's answer is the same, bit for bit, whatever its batch: {invariant}."]
    tables = [Table(HEAD, table_rows(here), 2), Table(("Through the server",), [(line,) for line in others])]
    drawings = [
        Drawing(
            "parity-histogram.png", png(histograms(here)), "differences", "How far probabilities are from Keras's."
        ),
        *drawn(folder, "parity-flipped.png", "images", FLIPPED),
    ]
    return Section("Does it answer as Keras does?", result, text, tables, drawings)
