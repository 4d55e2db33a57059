"""A comparison as a table for the shell, and as a page, a figure and a JSON file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from digits.lab.errors import LabError
from digits.report.figure import png
from digits.report.number_format import percent
from digits.report.page import render
from digits.report.table import Table
from digits.storage.atomic_file import write_bytes
from digits.storage.json_file import json_bytes
from digits.train.figures import overlaid_curves
from digits.train.run_folder import REPORT, UNFINISHED

if TYPE_CHECKING:
    from digits.lab.comparison import Comparison, Row

TEMPLATE = Path(__file__).with_name("comparison.jinja")
HEAD = (
    *("run", "settings", "parameters", "epochs", "best val loss", "last val loss"),
    *("test loss", "test accuracy", "time"),
)


def table(comparison: Comparison) -> Table:
    return Table(HEAD, [_cells(row) for row in comparison.rows], names=2)


def write(comparison: Comparison, out: Path) -> Path:
    """Writes comparison.html, .png and .json into the folder, each atomically; gives the page.

    Raises:
        LabError: the folder cannot be written.
    """
    figure = png(overlaid_curves(comparison.histories))
    page = render(TEMPLATE, title="Runs compared", table=table(comparison), comparison=comparison, figure=figure)
    # The test set's checksum and not its path, so that the file says the same on another machine.
    test = {"sha256": comparison.test_sha256, "images": comparison.test_images}
    content = {"test": test, "rows": [asdict(row) for row in comparison.rows], "words": comparison.words}
    files = {"comparison.png": figure, "comparison.json": json_bytes(content), "comparison.html": page.encode()}
    if (out / REPORT).exists() or (out / UNFINISHED).exists():
        raise LabError(f"{out}: is a run folder; give another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, file in files.items():
            write_bytes(out / name, file)
    except OSError as error:
        raise LabError(f"{out}: cannot be written ({error.strerror or error})") from error
    return out / "comparison.html"


def _cells(row: Row) -> tuple[str, ...]:
    best, last = row.best_validation_loss, row.last_validation_loss
    return (
        *(row.run, row.settings, f"{row.parameters:,}", str(row.epochs)),
        "-" if best is None else f"{best:.4f} @ {row.best_epoch}",
        "-" if last is None else f"{last:.4f}",
        *(f"{row.test_loss:.4f}", percent(row.test_accuracy), f"{row.training_seconds:.1f} s"),
    )
