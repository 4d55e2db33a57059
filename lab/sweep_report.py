"""A sweep as a table for the shell, and as a page, figures and a CSV file."""

import io
import shlex
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from digits.lab import sweep_figures
from digits.lab.errors import LabError
from digits.lab.settings import SweepSettings
from digits.lab.study import Candidate, Result, Score
from digits.lab.sweep import Sweep
from digits.report.figure import png
from digits.report.number_format import comma_list, percent
from digits.report.page import render
from digits.report.table import Table
from digits.storage.atomic_file import write_bytes
from digits.storage.text import csv_writer
from digits.train.settings import TrainSettings

TEMPLATE = Path(__file__).with_name("sweep.jinja")
SHOWN = 20  # trials in the shell
HEAD = (
    *("trial", "layers", "nodes", "activation", "epochs"),
    *("val accuracy", "val loss", "accuracy", "loss", "parameters", "time"),
)
CSV, PAGE, COORDINATES, IMPORTANCE = "sweep.csv", "sweep.html", "parallel_coordinates.png", "importance.png"


def shown(sweep: Sweep) -> str:
    """The best trials as lines of text, and the images that their accuracies are of."""
    more = len(sweep.results) - SHOWN
    rest = [f"... and {more:,} more in {CSV}"] if more > 0 else []
    return "\n".join([_table(sweep.results[:SHOWN]).text(), *rest, _held_out(sweep)])


def best(sweep: Sweep) -> str:
    first = sweep.results[0]
    return f"{first.candidate}, validation accuracy {percent(first.score.val_accuracy)}"


def training_command(sweep: Sweep, settings: SweepSettings) -> str:
    """The command that trains the best network again, as a run of its own."""
    training, default = sweep.results[0].candidate.training(settings), TrainSettings()
    words = ["digits", "train", "--layers", comma_list(training.layers)]
    words += ["--activation", training.activation, "--epochs", str(training.epochs)]
    for name in ("data", "validation_split", "seed"):
        if (value := getattr(training, name)) != getattr(default, name):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


def write(sweep: Sweep, settings: SweepSettings) -> Path:
    """Writes CSV, figures and page into the sweep's folder, each atomically; gives the page.

    Raises:
        LabError: the folder cannot be written.
    """
    missing, figures = not_drawn(sweep), {}
    if COORDINATES not in missing:
        figures[COORDINATES] = png(sweep_figures.parallel_coordinates(sweep.results, sweep.varied))
    if IMPORTANCE not in missing:
        figures[IMPORTANCE] = png(sweep_figures.importances(sweep.importances))
    page = render(
        TEMPLATE,
        title="Sweep of hyperparameters",
        sweep=sweep,
        held_out=_held_out(sweep),
        command=training_command(sweep, settings),
        figures=figures,
        not_drawn=missing,
        table=_table(sweep.results),
    )
    try:
        for name, content in {CSV: _csv(sweep), **figures, PAGE: page.encode()}.items():
            write_bytes(settings.out / name, content)
    except OSError as error:
        raise LabError(f"{settings.out}: cannot be written ({error.strerror or error})") from error
    return settings.out / PAGE


def not_drawn(sweep: Sweep) -> dict[str, str]:
    """Why a figure is not drawn, by its name, for each that is not."""
    if len(sweep.results) == 1:
        return dict.fromkeys((COORDINATES, IMPORTANCE), "not drawn, since a single trial cannot be compared")
    if not sweep.importances:
        return {IMPORTANCE: "not drawn, since all trials have the same validation accuracy"}
    return {}


def _held_out(sweep: Sweep) -> str:
    images = f"{sweep.results[0].score.validation_images:,} training images held out ({sweep.source})"
    return f"Validation accuracy is of {images}; the test images were not used."


def _table(results: Sequence[Result]) -> Table:
    rows = []
    for done in results:
        tried, score = done.candidate, done.score
        row = [str(done.number), f"{tried.layers}", f"{tried.nodes:,}", tried.activation, f"{tried.epochs:,}"]
        row += [percent(score.val_accuracy), f"{score.val_loss:.4f}", percent(score.accuracy), f"{score.loss:.4f}"]
        rows.append([*row, f"{score.parameters:,}", f"{score.seconds:.1f} s"])
    return Table(HEAD, rows)


def _csv(sweep: Sweep) -> bytes:
    text = io.StringIO()
    writer = csv_writer(text)
    writer.writerow(["trial", *(field.name for kind in (Candidate, Score) for field in fields(kind))])
    for done in sweep.results:
        score = [round(value, 6) for value in asdict(done.score).values()]  # float32 has no more digits
        writer.writerow([done.number, *asdict(done.candidate).values(), *score])
    return text.getvalue().encode()
