"""Finished runs compared: their numbers, their curves, what these say in words, and a page of it all."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from digits.lab.errors import LabError
from digits.report.figure import png
from digits.report.number_format import comma_list, percent
from digits.report.page import render
from digits.report.table import Table
from digits.storage.atomic_file import write_bytes
from digits.storage.json_file import json_bytes
from digits.storage.text import one_line
from digits.train import curves
from digits.train.evaluation import Evaluation, read_predictions
from digits.train.figures import overlaid_curves
from digits.train.recipes import RECIPES
from digits.train.run_folder import PREDICTIONS, REPORT, UNFINISHED, Run, read_run
from digits.train.settings import TrainSettings

TEMPLATE = Path(__file__).with_name("comparison.jinja")
HEAD = (
    *("run", "settings", "parameters", "epochs", "best val loss", "last val loss"),
    *("test loss", "test accuracy", "time"),
)
NOT_SHOWN = {"out", "overwrite", "resume", "finish", "recipe", "data", "gallery"}  # they do not change the network
SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two finished runs or more that were scored on the same test images."""

    rows: list[dict[str, Any]]  # each run in numbers, in the order given, as in comparison.json
    histories: dict[str, curves.History]  # the learning curves of each, by the row's name
    words: list[str]  # a sentence or two on each run, and one on each compared with the first
    test_source: str  # the name of the test set
    test_sha256: str  # SHA-256 of the bytes of the test images and labels
    test_images: int  # how many

    @property
    def table(self) -> Table:
        return Table(HEAD, [*map(_cells, self.rows)], names=2)

    def write(self, out: Path) -> Path:
        """Writes comparison.html, .png and .json into the folder, each atomically; gives the page.

        Raises:
            LabError: the folder cannot be written.
        """
        figure = png(overlaid_curves(self.histories))
        page = render(TEMPLATE, title="Runs compared", comparison=self, figure=figure)
        # The test set's checksum and not its path, so that the file says the same on another machine.
        test = {"sha256": self.test_sha256, "images": self.test_images}
        content = {"test": test, "rows": self.rows, "words": self.words}
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


def compare(folders: Sequence[Path]) -> Comparison:
    """Reads the runs and compares them.

    Raises:
        RunError: a folder does not hold a finished run.
        LabError: there are fewer than two runs, one is given twice, or their test sets differ.
    """
    if len(folders) < 2:  # noqa: PLR2004 a comparison takes two
        raise LabError(f"a comparison takes two runs or more, not {len(folders)}: digits compare RUN RUN...")
    runs = dict(zip(_names(folders), map(read_run, folders), strict=True))
    first = next(iter(runs.values())).report["data"]
    for run in runs.values():
        if run.report["data"]["test_sha256"] != first["test_sha256"]:
            raise LabError(f"{run.folder}: scored on another test set than {folders[0]}, so they cannot be compared")
    histories: dict[str, curves.History] = {name: run.history for name, run in runs.items()}
    each = (f"{name}: {curves.in_words(history)}" for name, history in histories.items())
    return Comparison(
        rows=[_row(name, run.report, histories[name]) for name, run in runs.items()],
        histories=histories,
        words=[*each, *_compared(runs)],
        test_source=first["source"],
        test_sha256=first["test_sha256"],
        test_images=first["images"]["test"],
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' own names, or as much of their paths as distinguishes them."""
    paths = [folder.resolve() for folder in folders]
    for folder, path in zip(folders, paths, strict=True):
        if paths.count(path) > 1:
            raise LabError(f"{folder}: given twice; a run cannot be compared with itself")
    parts, names = 1, [path.name for path in paths]
    while len(set(names)) < len(paths):
        parts += 1
        names = ["/".join(path.parts[-parts:]) for path in paths]
    return [one_line(name) for name in names]


def _row(name: str, report: Mapping[str, Any], history: curves.History) -> dict[str, Any]:
    """A run in numbers. Losses are mean cross-entropies; those of validation are None without a validation split."""
    losses, best = history.get("val_loss"), curves.best_epoch(history)
    reported = ("parameters", "training_seconds", "finished", "machine", "versions")
    return {
        "run": name,
        "settings": _settings_in_words(report["settings"]),
        "epochs": len(history["loss"]),
        "best_epoch": best,
        "best_validation_loss": losses[best - 1] if losses and best else None,
        "last_validation_loss": losses[-1] if losses else None,
        "test_loss": math.nan if report["test"]["loss"] is None else report["test"]["loss"],
        "test_accuracy": report["test"]["accuracy"],
        **{key: report[key] for key in reported},
    }


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    best, last = row["best_validation_loss"], row["last_validation_loss"]
    return (
        *(row["run"], row["settings"], f"{row['parameters']:,}", str(row["epochs"])),
        "-" if best is None else f"{best:.4f} @ {row['best_epoch']}",
        "-" if last is None else f"{last:.4f}",
        *(f"{row['test_loss']:.4f}", percent(row["test_accuracy"]), f"{row['training_seconds']:.1f} s"),
    )


def _settings_in_words(settings: Mapping[str, Any]) -> str:
    """The recipe and what differs from it: "defaults", "epochs 50", "best, seed 2", "layers 64,64, ..."."""
    recipe = settings.get("recipe", "lesson")
    defaults = asdict(TrainSettings()) | RECIPES.get(recipe, {})
    words = [] if recipe == "lesson" else [recipe]
    for name in (field.name for field in fields(TrainSettings) if field.name in settings.keys() - NOT_SHOWN):
        value = tuple(settings[name]) if isinstance(settings[name], list) else settings[name]
        if value != defaults[name]:
            words.append(f"{name.replace('_', ' ')} {comma_list(value) if isinstance(value, tuple) else value}")
    return ", ".join(words) or "defaults"


def _compared(runs: Mapping[str, Run]) -> Iterator[str]:
    """A sentence on each run compared with the first, after a warning if they were validated on different images."""
    settings = [run.report["settings"] for run in runs.values()]
    if len({(one["validation_split"], one["seed"]) for one in settings if one["validation_split"]}) > 1:
        yield "The runs were validated on different images (seed, validation split), which moves their losses too."
    (first, before), *others = ((name, read_predictions(run.folder / PREDICTIONS)) for name, run in runs.items())
    for name, after in others:
        yield f"{name} compared with {first}: {in_words(before, after)}"


def in_words(before: Evaluation, after: Evaluation) -> str:
    """A sentence on two models' answers to the same images: which is right more often, and whether that is chance."""
    was, now = before.digits == before.truth, after.digits == after.truth
    gained, lost = int((now & ~was).sum()), int((was & ~now).sum())
    counts = f"{gained:,} digits gained, {lost:,} lost"
    if gained == lost:
        return f"test accuracy is the same, {percent(after.accuracy)}; {counts}."
    course = "rose" if gained > lost else "fell"
    points = f"{abs(after.accuracy - before.accuracy) * 100:.2f} points"
    p = mcnemar(gained, lost)
    chance = f"{'more' if p < SIGNIFICANT else 'no more'} than chance explains (p = {p:.2g})"
    accuracies = f"from {percent(before.accuracy)} to {percent(after.accuracy)}"
    return f"test accuracy {course} by {points}, {accuracies}: {counts}, {chance}."


def mcnemar(gained: int, lost: int) -> float:
    """The probability, from 0 to 1, that `gained + lost` throws of a fair coin are as unequal as this or more.

    It is McNemar's exact test (Q. McNemar, "Note on the sampling error of the difference between correlated proportions
    or percentages", Psychometrika 12, 1947): of the images that only one of two equally good models reads right, each
    model gets half, but for chance.
    """
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
