"""Finished runs beside each other: their numbers, their curves, and what these say in words."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from scipy.stats import binomtest

from digits.images.text import one_line
from digits.lab.errors import LabError
from digits.report.number_format import percent
from digits.train import curves
from digits.train.evaluation import Evaluation, read_predictions
from digits.train.recipes import RECIPES
from digits.train.run_folder import PREDICTIONS, Run, read_run
from digits.train.settings import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

# Settings that are not of the network and its training.
NOT_TOLD = {"out", "overwrite", "resume", "finish", "recipe", "data", "gallery"}


@dataclass(frozen=True, slots=True)
class Row:
    """A run in numbers, with what its settings are besides the defaults.

    Losses are mean cross-entropies; those of validation are None without a validation split.
    """

    run: str
    settings: str
    parameters: int
    epochs: int
    best_epoch: int | None
    best_validation_loss: float | None
    last_validation_loss: float | None
    test_loss: float
    test_accuracy: float
    training_seconds: float
    finished: str
    machine: dict[str, Any]
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two finished runs or more that were scored on the same test images.

    Attributes:
        rows: A run each, in the order given.
        histories: The learning curves of each, by the row's name.
        words: What they say: a sentence or two for each run, and one for each against the first.
        test_source: What the test accuracies are of.
        test_sha256: SHA-256 of the test images' and labels' bytes.
        test_images: How many.
    """

    rows: list[Row]
    histories: dict[str, curves.History]
    words: list[str]
    test_source: str
    test_sha256: str
    test_images: int


def compare(folders: Sequence[Path]) -> Comparison:
    """Reads the runs and holds them against each other.

    Raises:
        RunError: a folder is not a finished run's.
        LabError: there are fewer than two runs, one is given twice, or their test sets differ.
    """
    if len(folders) < 2:  # noqa: PLR2004 a comparison takes two
        raise LabError(f"a comparison takes two runs or more, not {len(folders)}: digits compare RUN RUN...")
    runs = [read_run(folder) for folder in folders]
    names = _names(folders)
    first = runs[0].report["data"]
    for folder, run in zip(folders, runs, strict=True):
        if run.report["data"]["test_sha256"] != first["test_sha256"]:
            raise LabError(f"{folder}: scored on another test set than {folders[0]}, so they cannot be compared")
    histories: dict[str, curves.History] = {name: run.history for name, run in zip(names, runs, strict=True)}
    rows = [_row(name, run, histories[name]) for name, run in zip(names, runs, strict=True)]
    return Comparison(
        rows=rows,
        histories=histories,
        words=[*_each(rows, histories), *_of_validation(runs), *_against_the_first(rows, runs)],
        test_source=first["source"],
        test_sha256=first["test_sha256"],
        test_images=first["images"]["test"],
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' own names, or as much of their paths as tells them apart."""
    paths = [folder.resolve() for folder in folders]
    if len(set(paths)) < len(paths):
        twice = next(folder for folder, path in zip(folders, paths, strict=True) if paths.count(path) > 1)
        raise LabError(f"{twice}: given twice; a run cannot be compared with itself")
    names = next(
        names
        for parts in range(1, max(len(path.parts) for path in paths) + 1)
        if len(set(names := ["/".join(path.parts[-parts:]) for path in paths])) == len(paths)
    )
    return [one_line(name) for name in names]


def _row(name: str, run: Run, history: curves.History) -> Row:
    report, losses, best = run.report, history.get("val_loss"), curves.best_epoch(history)
    return Row(
        run=name,
        settings=_settings_in_words(report["settings"]),
        parameters=report["parameters"],
        epochs=len(history["loss"]),
        best_epoch=best,
        best_validation_loss=losses[best - 1] if losses and best else None,
        last_validation_loss=losses[-1] if losses else None,
        test_loss=math.nan if report["test"]["loss"] is None else report["test"]["loss"],
        test_accuracy=report["test"]["accuracy"],
        training_seconds=report["training_seconds"],
        finished=report["finished"],
        machine=report["machine"],
        versions=report["versions"],
    )


def _settings_in_words(settings: Mapping[str, Any]) -> str:
    """The recipe, and what was told otherwise: "defaults", "epochs 50", "best, seed 2", "layers 64,64, ..."."""
    recipe = settings.get("recipe", "lesson")
    defaults = asdict(TrainSettings()) | RECIPES.get(recipe, {})
    told = [] if recipe == "lesson" else [recipe]
    for name in (field.name for field in fields(TrainSettings) if field.name in settings.keys() - NOT_TOLD):
        value = tuple(settings[name]) if isinstance(settings[name], list) else settings[name]
        if value != defaults[name]:
            told.append(f"{name.replace('_', ' ')} {','.join(map(str, value)) if isinstance(value, tuple) else value}")
    return ", ".join(told) or "defaults"


def _each(rows: Sequence[Row], histories: dict[str, curves.History]) -> Iterator[str]:
    for row in rows:
        yield f"{row.run}: {curves.in_words(histories[row.run])}"


def _of_validation(runs: Sequence[Run]) -> Iterator[str]:
    settings = [run.report["settings"] for run in runs]
    if len({(one["validation_split"], one["seed"]) for one in settings if one["validation_split"]}) > 1:
        yield "The runs were validated on different images (seed, validation split), which moves their losses too."


def _against_the_first(rows: Sequence[Row], runs: Sequence[Run]) -> Iterator[str]:
    first = read_predictions(runs[0].folder / PREDICTIONS)
    for row, run in zip(rows[1:], runs[1:], strict=True):
        yield f"{row.run} against {rows[0].run}: {in_words(first, read_predictions(run.folder / PREDICTIONS))}"


def in_words(before: Evaluation, after: Evaluation) -> str:
    """A sentence on two models' answers to the same images: which is right more often, and whether that is chance.

    The chance is that of McNemar's exact test (Q. McNemar, "Note on the sampling error of the difference between
    correlated proportions or percentages", Psychometrika 12, 1947): of the images that one reads right and the other
    wrong, each model has its half, but for chance.
    """
    was, now = before.digits == before.truth, after.digits == after.truth
    gained, lost = int((now & ~was).sum()), int((was & ~now).sum())
    counts = f"{gained:,} digits gained, {lost:,} lost"
    if gained == lost:
        return f"test accuracy is the same, {percent(after.accuracy)}; {counts}."
    course = "rose" if gained > lost else "fell"
    points = abs(after.accuracy - before.accuracy) * 100
    p = mcnemar(gained, lost)
    chance = "more than chance explains" if p < 0.05 else "no more than chance explains"  # noqa: PLR2004 by custom
    return (
        f"test accuracy {course} by {points:.2f} points, from {percent(before.accuracy)} to {percent(after.accuracy)}"
        f": {counts}, {chance} (p = {p:.2g})."
    )


def mcnemar(gained: int, lost: int) -> float:
    """The probability, from 0 to 1, that `gained + lost` throws of a fair coin are as unequal as this or more."""
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
