"""A sweep as a table for the shell, and as a page, figures and a CSV file."""

from __future__ import annotations

import io
import shlex
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

from digits.images.text import csv_writer
from digits.lab import sweep_figures
from digits.lab.errors import LabError
from digits.lab.plan import Candidate
from digits.lab.sweep_study import Score
from digits.report.figure import png
from digits.report.number_format import percent
from digits.report.page import render
from digits.report.table import Table
from digits.storage.atomic_file import write_bytes
from digits.train.settings import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from digits.lab.sweep import Sweep
    from digits.lab.sweep_settings import SweepSettings
    from digits.lab.sweep_study import Result

SHOWN = 20  # trials in the shell
HEAD = (
    *("trial", "layers", "nodes", "activation", "epochs"),
    *("val accuracy", "val loss", "accuracy", "loss", "parameters", "time"),
)
CSV_HEAD = ("trial", *(field.name for field in (*fields(Candidate), *fields(Score))))
CSV, PAGE, COORDINATES, IMPORTANCE = "sweep.csv", "sweep.html", "parallel_coordinates.png", "importance.png"
TEMPLATE = Path(__file__).with_name("sweep.jinja")


def shown(sweep: Sweep) -> str:
    """The best trials as lines of text, and of what their accuracies are."""
    more = len(sweep.results) - SHOWN
    rest = [f"... and {more:,} more in {CSV}"] if more > 0 else []
    return "\n".join([_table(sweep.results[:SHOWN]).text(), *rest, _held_out(sweep)])


def best(sweep: Sweep) -> str:
    first = sweep.results[0]
    return f"{first.candidate}, validation accuracy {percent(first.score.val_accuracy)}"


def training_command(sweep: Sweep, settings: SweepSettings) -> list[str]:
    """What trains the best network again, as a run of its own."""
    candidate, default = sweep.results[0].candidate, TrainSettings()
    training = candidate.training(settings)
    words = ["digits", "train", "--layers", ",".join(map(str, training.layers))]
    words += ["--activation", training.activation, "--epochs", str(training.epochs)]
    for name in ("data", "validation_split", "seed"):
        if (value := getattr(training, name)) != getattr(default, name):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def write(sweep: Sweep, settings: SweepSettings) -> Path:
    """Writes CSV, figures and page into the sweep's folder, each beside and renamed; gives the page.

    Raises:
        LabError: the folder cannot be written.
    """
    figures = _figures(sweep)
    page = render(
        TEMPLATE,
        title="Sweep of hyperparameters",
        results=sweep.results,
        held_out=_held_out(sweep),
        command=shlex.join(training_command(sweep, settings)),
        coordinates=figures.get(COORDINATES),
        importance=figures.get(IMPORTANCE),
        missing=remarks(sweep),
        table=_table(sweep.results),
        failures=sweep.failures,
    )
    files = {CSV: _csv(sweep).encode(), **figures, PAGE: page.encode()}
    try:
        for name, content in files.items():
            write_bytes(settings.out / name, content)
    except OSError as error:
        raise LabError(f"{settings.out}: cannot be written ({error.strerror or error})") from error
    return settings.out / PAGE


def remarks(sweep: Sweep) -> dict[str, str]:
    """Why a figure is not drawn, for each that is not."""
    if len(sweep.results) == 1:
        why = "not drawn, since one trial alone has nothing to be held against"
        return {COORDINATES: why, IMPORTANCE: why}
    if not sweep.importances:
        return {IMPORTANCE: "not drawn, since all trials have the same validation accuracy"}
    return {}


def _figures(sweep: Sweep) -> dict[str, bytes]:
    missing, drawn = remarks(sweep), {}
    if COORDINATES not in missing:
        drawn[COORDINATES] = png(sweep_figures.parallel_coordinates(sweep.results, sweep.varied))
    if IMPORTANCE not in missing:
        drawn[IMPORTANCE] = png(sweep_figures.importances(sweep.importances))
    return drawn


def _held_out(sweep: Sweep) -> str:
    images = sweep.results[0].score.validation_images
    return (
        f"Validation accuracy is of {images:,} training images held out ({sweep.source}); "
        "no test image has been looked at."
    )


def _table(results: Sequence[Result]) -> Table:
    return Table(HEAD, [_cells(result) for result in results])


def _cells(result: Result) -> tuple[str, ...]:
    candidate, score = result.candidate, result.score
    return (
        f"{result.number}",
        f"{candidate.layers}",
        f"{candidate.nodes:,}",
        candidate.activation,
        f"{candidate.epochs:,}",
        percent(score.val_accuracy),
        f"{score.val_loss:.4f}",
        percent(score.accuracy),
        f"{score.loss:.4f}",
        f"{score.parameters:,}",
        f"{score.seconds:.1f} s",
    )


def _csv(sweep: Sweep) -> str:
    text = io.StringIO()
    writer = csv_writer(text)
    writer.writerow(CSV_HEAD)
    for done in sweep.results:
        score = {name: round(value, 6) for name, value in asdict(done.score).items()}  # float32 says no more
        writer.writerow([done.number, *asdict(done.candidate).values(), *score.values()])
    return text.getvalue()
