"""A comparison as a table for the shell, and as a page, a figure and a JSON file."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from digits.lab.errors import LabError
from digits.model.table import text_table
from digits.storage.atomic_file import write_bytes
from digits.storage.json_file import json_bytes
from digits.train.evaluation import percent
from digits.train.figures import overlaid_curves, png
from digits.train.page import figure_tag, page, paragraph, table
from digits.train.run_folder import REPORT, UNFINISHED

if TYPE_CHECKING:
    from pathlib import Path

    from digits.lab.comparison import Comparison, Row

HEADER = (
    "run",
    "settings",
    "parameters",
    "epochs",
    "best val loss",
    "last val loss",
    "test loss",
    "test accuracy",
    "time",
)


NAMES = 2  # columns of text


def shown(comparison: Comparison) -> str:
    """The runs as a table of text."""
    return text_table(HEADER, map(_cells, comparison.rows), left=NAMES)


def write(comparison: Comparison, out: Path) -> Path:
    """Writes comparison.html, .png and .json into the folder, each beside and renamed; gives the page.

    Raises:
        LabError: the folder cannot be written.
    """
    figure = png(overlaid_curves(comparison.histories))
    files = {
        "comparison.png": figure,
        "comparison.json": json_bytes(_portable(comparison)),
        "comparison.html": page("Runs compared", _body(comparison, figure)).encode(),
    }
    if (out / REPORT).exists() or (out / UNFINISHED).exists():
        raise LabError(f"{out}: is a run folder; give another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_bytes(out / name, content)
    except OSError as error:
        raise LabError(f"{out}: cannot be written ({error.strerror or error})") from error
    return out / "comparison.html"


def _portable(comparison: Comparison) -> dict[str, Any]:
    """What says the same on another machine: the test set's hash instead of its path; the curves are in the runs."""
    return {
        "test": {"sha256": comparison.test_sha256, "images": comparison.test_images},
        "rows": [asdict(row) for row in comparison.rows],
        "words": comparison.words,
    }


def _cells(row: Row) -> tuple[str, ...]:
    best = "-" if row.best_validation_loss is None else f"{row.best_validation_loss:.4f} @ {row.best_epoch}"
    last = "-" if row.last_validation_loss is None else f"{row.last_validation_loss:.4f}"
    return (
        row.run,
        row.settings,
        f"{row.parameters:,}",
        f"{row.epochs}",
        best,
        last,
        f"{row.test_loss:.4f}",
        percent(row.test_accuracy),
        f"{row.training_seconds:.1f} s",
    )


def _body(comparison: Comparison, figure: bytes) -> str:
    test_set = f"Test loss and accuracy are of {comparison.test_images:,} images: {comparison.test_source}."
    return "\n".join(
        [
            table(HEADER, map(_cells, comparison.rows), names=NAMES),
            paragraph(test_set),
            figure_tag(
                figure,
                "Loss and accuracy of each run",
                "Where a solid loss rises while the dashed one falls, a run overfits.",
            ),
            "<h2>What the curves say</h2>",
            *map(paragraph, comparison.words),
        ]
    )
