"""A sweep, top to bottom: every combination of a plan is trained, scored on the validation images, and kept."""

import logging
import math
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial
from tqdm import tqdm

from digits.images import mnist
from digits.lab.errors import LabError
from digits.lab.settings import SweepSettings
from digits.lab.study import Candidate, Result, Score, Study, check_free, opened, plan
from digits.model.tensorflow import keras
from digits.report.number_format import percent
from digits.storage.deferred_signals import Deferred, deferred
from digits.storage.text import one_line
from digits.train.errors import CheckpointError, RunError
from digits.train.network import require_activation
from digits.train.progress import Progress
from digits.train.run_folder import UNFINISHED
from digits.train.settings import TrainSettings
from digits.train.training import fit, prepare


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep that is done."""

    results: list[Result]  # its trials, the best first
    varied: list[str]  # the hyperparameters of which more than one value was tried
    importances: dict[str, float]  # of these, each one's share of what they explain, the largest first
    source: str  # the name of the data
    failures: dict[int, str]  # why a trial could not be trained, by its number, for each that could not


def sweep(settings: SweepSettings) -> Sweep:
    """Trains each combination of the plan that is not trained yet, without any look at the test images.

    A trial is trained as `digits train` does it, and kept when it is done; the one that runs keeps its last whole
    epoch. After any interruption the same call continues from there.

    Raises:
        DataError: the data cannot be used.
        RunError: a setting does not suit Keras or the data.
        LabError: the folder belongs to something else, or cannot be written; or no trial could be trained.
    """
    check_free(settings.out)
    data = mnist.load(settings.data, settings)
    print(f"data: {data.source}")
    planned = plan(settings, data.sha256)
    if not planned.file.exists():  # what cannot be trained fails before the first trial
        for activation in settings.activations:
            require_activation(activation, "--activations")
        prepare(replace(planned.candidates[0].training(settings), layers=(1,)), data)
    # TensorFlow warns that each trial's network is traced again.
    logging.getLogger("tensorflow").addFilter(lambda record: "retracing" not in record.getMessage())
    with opened(planned) as study:
        total, done, where = trials(len(study.candidates)), len(study.scores), one_line(settings.out)
        try:
            print(f"sweep: {total}, {done} done, in {where}", flush=True)
            with deferred() as signals:
                _run(study, settings, data, signals)
        except (KeyboardInterrupt, SystemExit):
            print(f"unfinished: {len(study.scores)} of {total} are done and kept")
            print("next: the same command again continues")
            raise
        results = best_first(study.results())
        if not results:
            raise LabError(f"no trial could be trained; the first: {study.failures[1]}")
        names = [field.name for field in fields(Candidate)]
        varied = [name for name in names if len({getattr(done.candidate, name) for done in results}) > 1]
        return Sweep(results, varied, importances(results, varied), data.source, study.failures)


def best_first(results: Iterable[Result]) -> list[Result]:
    """By validation accuracy; of equals, by validation loss, NaN last, and then in their order."""
    return sorted(results, key=lambda r: (-r.score.val_accuracy, math.isnan(r.score.val_loss), r.score.val_loss))


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


def trials(count: int) -> str:
    return f"{count:,} trial{'s' * (count != 1)}"


def _run(study: Study, settings: SweepSettings, data: mnist.Mnist, signals: Deferred) -> None:
    """Runs the waiting trials; shows a bar on a terminal, or else a line for each that ends."""
    shown, total, waiting = sys.stderr.isatty(), len(study.candidates), study.waiting()
    with tqdm(total=total, initial=total - len(waiting), unit="trial", dynamic_ncols=True, disable=not shown) as bar:
        bar.set_postfix_str(_best(study))
        for number, candidate in waiting:
            work = settings.out / UNFINISHED / f"trial-{number}"
            try:
                score = _train(candidate.training(settings), data, work, signals)
                study.finish(number, score)
                ending = f"validation accuracy {percent(score.val_accuracy)}, {_best(study, named=False)}"
            except CheckpointError:
                raise  # the trial itself may still succeed
            except RunError as error:
                study.fail(number, str(error))
                ending = f"cannot be trained ({error})"
            shutil.rmtree(work, ignore_errors=True)
            bar.set_postfix_str(_best(study), refresh=False)
            bar.update()
            if not shown:
                print(f"trial {number} of {total}: {candidate}: {ending}", flush=True)
    shutil.rmtree(settings.out / UNFINISHED, ignore_errors=True)


def _train(settings: TrainSettings, data: mnist.Mnist, work: Path, signals: Deferred) -> Score:
    """Trains, from the checkpoint in `work` if there is one; a signal that waits ends it after an epoch."""
    keras.backend.clear_session()  # of the trial before
    model, parts = prepare(settings, data)
    work.mkdir(parents=True, exist_ok=True)
    progress = Progress(work, settings.early_stopping)
    progress.signals = signals
    progress.restore(model)
    fit(model, parts, settings, progress, quiet=True)
    return Score(
        **{name: values[-1] for name, values in progress.history.items()},
        validation_images=len(data.x_train) - len(parts[0][0]),
        parameters=model.count_params(),
        seconds=round(progress.seconds, 3),
    )


def _best(study: Study, *, named: bool = True) -> str:
    for best in best_first(study.results())[:1]:
        return f"best {percent(best.score.val_accuracy)}" + (f" ({best.candidate})" if named else "")
    return ""
