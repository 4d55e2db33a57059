"""A sweep's trials on disk: one file with the plan and the result of each trial.

It is written atomically before the first trial and after each, so the plan continues after any interruption. The state
of a sampler could not be continued so.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from itertools import product
from pathlib import Path
from typing import Any, Self

import numpy as np

from digits.images.settings import ArraySettings
from digits.lab.errors import LabError
from digits.lab.settings import SweepSettings
from digits.report.number_format import comma_list
from digits.storage.atomic_file import unfinished
from digits.storage.json_file import write_json
from digits.train.run_folder import LOCK, locked
from digits.train.settings import TrainSettings

STUDY = "study.json"
RANDOM_TRIALS = 20
DATA = "data_sha256"
SHARED = ("data", "validation_split", "seed", *(each.name for each in fields(ArraySettings)))  # with each training


@dataclass(frozen=True, slots=True)
class Candidate:
    """A combination of hyperparameters."""

    layers: int
    nodes: int
    activation: str
    epochs: int

    def __str__(self) -> str:
        return f"{self.layers} x {self.nodes} {self.activation}, {self.epochs} epoch{'s' * (self.epochs > 1)}"

    def training(self, settings: SweepSettings) -> TrainSettings:
        """The settings with which `digits train` trains it."""
        shared: dict[str, Any] = {name: getattr(settings, name) for name in SHARED}
        layers = (self.nodes,) * self.layers
        return TrainSettings(layers=layers, activation=self.activation, epochs=self.epochs, **shared)


@dataclass(frozen=True, slots=True)
class Score:
    """The result of a trial, after its last epoch."""

    val_accuracy: float
    val_loss: float
    accuracy: float
    loss: float
    validation_images: int
    parameters: int
    seconds: float

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        floats: dict[str, Any] = {name: math.nan if value is None else value for name, value in values.items()}
        return cls(**floats)


@dataclass(frozen=True, slots=True)
class Result:
    """A trial that is done; numbers count from 1."""

    number: int
    candidate: Candidate
    score: Score


@dataclass(slots=True)
class Study:
    """The trials of a plan: scores of those that are done and, by number, why a trial could not be trained."""

    file: Path
    terms: dict[str, Any]  # of the plan
    candidates: list[Candidate]
    scores: dict[int, Score] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Raises LabError if the file is not a study's."""
        try:
            found = json.loads(file.read_bytes())
            scores = {int(number): Score.read(score) for number, score in found["scores"].items()}
            failures = {int(number): why for number, why in found["failures"].items()}
            return cls(file, dict(found["plan"]), [Candidate(**one) for one in found["candidates"]], scores, failures)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            why = f"{type(error).__name__}: {error}"
            raise LabError(f"{file}: cannot be used ({why}); give another --out") from error

    def write(self) -> None:
        """Raises LabError if the file cannot be written."""
        scores = {number: asdict(score) for number, score in self.scores.items()}
        content = {"plan": self.terms, "candidates": [*map(asdict, self.candidates)], "scores": scores}
        try:
            write_json(self.file, content | {"failures": self.failures})
        except OSError as error:
            raise LabError(f"{self.file}: cannot be written ({error.strerror}); give another --out") from error

    def finish(self, number: int, score: Score) -> None:
        self.scores[number] = score
        self.write()

    def fail(self, number: int, why: str) -> None:
        self.failures[number] = why
        self.write()

    def waiting(self) -> list[tuple[int, Candidate]]:
        """The trials that are neither done nor failed, with their numbers."""
        over = self.scores.keys() | self.failures.keys()
        return [(number, candidate) for number, candidate in enumerate(self.candidates, 1) if number not in over]

    def results(self) -> list[Result]:
        """The trials that are done, in the order of their numbers."""
        return [Result(number, self.candidates[number - 1], score) for number, score in sorted(self.scores.items())]


def plan(settings: SweepSettings, data_sha256: str) -> Study:
    """A new study of the whole grid in order, or of a choice from it by the seed, for the data with that checksum.

    Raises:
        LabError: there are fewer combinations than `settings.trials`.
    """
    lists = (settings.layers, settings.nodes, settings.activations, settings.epochs)
    grid = [Candidate(*values) for values in product(*lists)]
    if (settings.trials or 0) > len(grid):
        raise LabError(f"--trials {settings.trials}: the lists have only {len(grid):,} combinations; give no more")
    trials = settings.trials or (len(grid) if settings.sampler == "grid" else min(RANDOM_TRIALS, len(grid)))
    if settings.sampler == "random" or trials < len(grid):
        grid = [grid[i] for i in np.random.default_rng(settings.seed).permutation(len(grid))[:trials]]
    others = {"out", "data", *(each.name for each in fields(ArraySettings))}  # the checksum is of their result
    terms = {name: value for name, value in asdict(settings).items() if name not in others}
    terms = {name: list(value) if isinstance(value, tuple) else value for name, value in terms.items()}
    return Study(settings.out / STUDY, terms | {"trials": trials, DATA: data_sha256}, grid)


@contextmanager
def opened(planned: Study) -> Iterator[Study]:
    """The study in the planned one's file, which is written if there is none; locked while the block runs.

    Raises:
        LabError: the folder holds something else, or another plan; or the file cannot be written.
        RunError: another process runs the sweep.
    """
    file, out = planned.file, planned.file.parent
    with locked(out, f"{out}: another process is running this sweep"):
        if not file.exists():
            planned.write()
        study = Study.read(file)
        if words := _differences(study.terms, planned.terms):
            raise LabError(f"{out}: holds another sweep ({', '.join(words)}); give another --out")
        yield study


def check_free(out: Path) -> None:
    """Raises LabError if the folder exists and holds something that is not a sweep."""
    if not os.path.lexists(out) or (out / STUDY).exists():
        return
    if not out.is_dir():
        raise LabError(f"{out}: not a folder; give another --out")
    if others := sorted({entry.name for entry in out.iterdir()} - {LOCK, unfinished(out / STUDY).name}):
        raise LabError(f"{out}: holds {others[0]} and no sweep; give another --out")


def _differences(there: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """How the plan of a study differs from another."""
    words = [
        f"{name.replace('_', '-')} {_listed(there.get(name))} instead of {_listed(value)}"
        for name, value in asked.items()
        if there.get(name) != value and name != DATA
    ]
    return words + ["other digits"] * (there.get(DATA) != asked[DATA])


def _listed(value: Any) -> str:
    return comma_list(value) if isinstance(value, list) else str(value)
