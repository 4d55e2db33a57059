"""A sweep's trials on disk, in an Optuna study: planned, taken, finished, and put back after an interruption.

Every trial of the plan is in the study from the start, waiting. The file is written atomically, so a study that exists
holds the whole plan. Optuna samples nothing: a plan can be resumed after any interruption, a sampler's random state
cannot.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from digits.lab.errors import LabError
from digits.lab.plan import DATA, Candidate, Plan
from digits.report.number_format import comma_list
from digits.storage.atomic_file import replacing
from digits.train.run_folder import LOCK, locked

STUDY = "study.db"
NAME = "digits sweep"
TERMS = "plan"
WHY = "why"
BEGUN = {LOCK, f"{STUDY}.unfinished", f"{STUDY}.unfinished-journal"}  # files of an interruption before the study exists


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


@dataclass(frozen=True, slots=True)
class Result:
    """A trial that is done; numbers count from 1."""

    number: int
    candidate: Candidate
    score: Score


class Study:
    """The trials of a plan. Use `opened`."""

    def __init__(self, storage: RDBStorage, plan: Plan) -> None:
        self._storage = storage
        self._choices = plan.choices
        self._study = optuna.load_study(study_name=NAME, storage=storage, sampler=optuna.samplers.RandomSampler())
        self.total = len(plan.candidates)
        self.terms: dict[str, Any] = self._study.user_attrs[TERMS]  # of the plan that the study was made of

    def take(self) -> tuple[optuna.Trial, Candidate] | None:
        """The next waiting trial, which counts as running from now on; None if none is left."""
        if not self._trials(TrialState.WAITING):
            return None
        trial = self._study.ask()
        values: dict[str, Any] = {name: trial.suggest_categorical(name, c) for name, c in self._choices.items()}
        return trial, Candidate(**values)

    def finish(self, trial: optuna.Trial, score: Score) -> None:
        for name, value in asdict(score).items():
            trial.set_user_attr(name, value)
        self._study.tell(trial, score.val_accuracy)

    def fail(self, trial: optuna.Trial, why: str) -> None:
        trial.set_user_attr(WHY, why)
        self._study.tell(trial, state=TrialState.FAIL)

    def failures(self) -> dict[int, str]:
        """Why a trial could not be trained, by its number, for each that could not."""
        return {trial.number + 1: trial.user_attrs[WHY] for trial in self._trials(TrialState.FAIL)}

    def put_back(self) -> None:
        """Lets the running trials wait again, after the process that ran them was interrupted."""
        study = self._storage.get_study_id_from_name(NAME)
        for trial in self._trials(TrialState.RUNNING):
            identity = self._storage.get_trial_id_from_study_id_trial_number(study, trial.number)
            self._storage.set_trial_state_values(identity, TrialState.WAITING)

    def results(self) -> list[Result]:
        """The trials that are done, in the order of their numbers."""
        done = self._trials(TrialState.COMPLETE)
        scores = [Score(**{field.name: trial.user_attrs[field.name] for field in fields(Score)}) for trial in done]
        return [Result(t.number + 1, Candidate(**t.params), score) for t, score in zip(done, scores, strict=True)]

    def importances(self, parameters: list[str]) -> dict[str, float]:
        """Each parameter's share, from 0 to 1, of what the parameters explain one by one; the largest first.

        By fANOVA (F. Hutter, H. Hoos, K. Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance",
        ICML 2014). Empty if the trials do not differ in validation accuracy.
        """
        try:
            return get_param_importances(self._study, evaluator=FanovaImportanceEvaluator(seed=0), params=parameters)
        except RuntimeError:  # no tree of its forest sees a difference
            return {}

    def _trials(self, state: TrialState) -> Sequence[optuna.trial.FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(state,))


@contextmanager
def opened(out: Path, plan: Plan) -> Iterator[Study]:
    """The study in the folder, made if needed, and locked while the block runs. Before and after it no trial runs.

    Raises:
        LabError: the folder holds something else, or another plan; or the disk fails.
        RunError: another process runs the sweep.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file = out / STUDY
    with locked(out, f"{out}: another process is running this sweep"):
        try:
            if not file.exists():
                _create(file, plan)
            with _storage(file) as storage:
                study = _study(file, storage, plan)
                study.put_back()
                try:
                    yield study
                finally:
                    study.put_back()
        except (SQLAlchemyError, StorageInternalError) as error:
            # The cause says what happened; in SQLAlchemy's own text the statement follows in more lines.
            why = str(error.__cause__ or error).partition("\n")[0]
            raise LabError(f"{file}: cannot be used ({why}); give another --out") from error


def check_free(out: Path) -> None:
    """Raises LabError if the folder exists and holds something that is not a sweep."""
    if not os.path.lexists(out) or (out / STUDY).exists():
        return
    if not out.is_dir():
        raise LabError(f"{out}: not a folder; give another --out")
    if others := sorted({entry.name for entry in out.iterdir()} - BEGUN):
        raise LabError(f"{out}: holds {others[0]} and no sweep; give another --out")


def _create(file: Path, plan: Plan) -> None:
    for leftover in BEGUN - {LOCK}:
        file.with_name(leftover).unlink(missing_ok=True)
    with replacing(file) as temporary, _storage(temporary) as storage:
        study = optuna.create_study(study_name=NAME, storage=storage, direction="maximize")
        study.set_user_attr(TERMS, plan.terms)
        for candidate in plan.candidates:
            study.enqueue_trial(asdict(candidate))


@contextmanager
def _storage(file: Path) -> Iterator[RDBStorage]:
    """Optuna's storage in that file. The path is not part of a URL, which would be parsed."""
    options = {"creator": partial(sqlite3.connect, file), "poolclass": NullPool}
    try:
        storage = RDBStorage("sqlite:///file", options, skip_table_creation=file.exists())
    except RuntimeError as error:  # another version of Optuna wrote it
        raise LabError(f"{file}: cannot be used ({error}); give another --out") from error
    try:
        yield storage
    finally:
        storage.remove_session()


def _study(file: Path, storage: RDBStorage, plan: Plan) -> Study:
    """The study in the file. Raises LabError if it is not of this plan."""
    try:
        study = Study(storage, plan)
    except KeyError as error:
        raise LabError(f"{file}: holds no sweep; give another --out") from error
    words = [
        f"{name.replace('_', '-')} {_listed(study.terms.get(name))} instead of {_listed(value)}"
        for name, value in plan.terms.items()
        if study.terms.get(name) != value and name != DATA
    ]
    words += ["other digits"] * (study.terms.get(DATA) != plan.terms[DATA])
    if words:
        raise LabError(f"{file.parent}: holds another sweep ({', '.join(words)}); give another --out")
    return study


def _listed(value: Any) -> str:
    return comma_list(value) if isinstance(value, list) else str(value)
