"""A sweep's trials on disk: one file with the plan and the result of each trial.

It is written atomically before the first trial and after each, so the plan continues after any interruption. The state
of a sampler could not be continued so.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from digits.lab.errors import LabError
from digits.lab.plan import DATA, Candidate, Plan
from digits.report.number_format import comma_list
from digits.storage.atomic_file import unfinished
from digits.storage.json_file import write_json
from digits.train.run_folder import LOCK, locked

STUDY = "study.json"


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


def importances(results: Sequence[Result], varied: Sequence[str]) -> dict[str, float]:
    """Each hyperparameter's share, from 0 to 1, of what the hyperparameters explain one by one; the largest first.

    By fANOVA (F. Hutter, H. Hoos, K. Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance",
    ICML 2014). Empty if the trials do not differ in validation accuracy.
    """
    if not varied:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    choices: dict[str, BaseDistribution] = {}
    for name in varied:
        choices[name] = CategoricalDistribution(list({getattr(result.candidate, name): None for result in results}))
    for result in results:
        values = {name: getattr(result.candidate, name) for name in varied}
        study.add_trial(create_trial(params=values, distributions=choices, value=result.score.val_accuracy))
    try:
        return get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0), params=list(varied))
    except RuntimeError:  # no tree of its forest sees a difference
        return {}


@contextmanager
def opened(out: Path, plan: Plan) -> Iterator[Study]:
    """The study in the folder, made if needed, and locked while the block runs.

    Raises:
        LabError: the folder holds something else, or another plan; or the file cannot be written.
        RunError: another process runs the sweep.
    """
    file = out / STUDY
    with locked(out, f"{out}: another process is running this sweep"):
        if not file.exists():
            Study(file, plan.terms, plan.candidates).write()
        study = Study.read(file)
        if words := _differences(study.terms, plan.terms):
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
