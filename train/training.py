"""Training, top to bottom."""

import os
import shlex
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from digits.images import mnist
from digits.images.digit import PIXELS, flatten
from digits.model.tensorflow import keras, tf
from digits.storage.deferred_signals import deferred
from digits.train.dataset import Part, Parts, batches, split, steps
from digits.train.drawn.drawn import draw
from digits.train.errors import DivergedError, RunError
from digits.train.network import build
from digits.train.progress import Progress
from digits.train.results import write_results
from digits.train.run_folder import Run, check_free, finish, is_unfinished, read_run, resumed, unfinished
from digits.train.settings import TrainSettings
from digits.train.temperature import fitted, fold


def train(settings: TrainSettings) -> Run:
    """Trains the network on MNIST and writes model, history, predictions and report into the run folder.

    A training that is interrupted or diverges leaves its last whole epoch with finite numbers in the folder, and
    `settings.resume` continues from there.

    Raises:
        DataError: the data cannot be used.
        RunError: a setting does not suit Keras or the data, the run folder cannot be written, or training diverges.
    """
    out, settings = _started_or_resumed(settings)
    data = mnist.load(settings.data, settings)
    settings = replace(settings, data=data.location)
    print(f"data: {data.source}")
    for name, images in {"train:": data.x_train, "test: ": data.x_test}.items():
        print(f"{name} {images.shape} {images.dtype} -> {(len(images), PIXELS)} float32")

    model, parts = prepare(settings, data)
    model.summary()
    with unfinished(out, settings, data.sha256) as work:
        progress = Progress(work, settings.early_stopping)
        progress.restore(model)
        try:
            with deferred() as progress.signals:
                if not settings.finish:
                    fit(model, parts, settings, progress)
                elif not progress.epochs:
                    raise RunError(f"{out}: has no whole epoch to end with; continue it without --finish")
                if progress.best:
                    model.set_weights(progress.best)
                temperature = complete(model, parts[1], settings)
                validation = len(data.x_train) - len(parts[0][0])
                finish(
                    out,
                    write_results(
                        work, model, data, settings, progress, validation=validation, temperature=temperature
                    ),
                )
                progress.signals.forget()  # the run is complete
        except DivergedError as error:
            raise DivergedError(f"{out}: {error}; {_remedy(out, settings, progress.kept)}") from error
        except (KeyboardInterrupt, SystemExit, OSError):
            if is_unfinished(out):
                print(f"unfinished: {progress.kept} of {settings.epochs} epochs are done and kept")
                print(f"next: digits train --resume {shlex.quote(str(out))}, or the same with --finish to end it here")
            raise
    return read_run(out)


def _remedy(out: Path, settings: TrainSettings, kept: int) -> str:
    """What to do after training has diverged."""
    given = "" if settings.learning_rate is None else f" than {settings.learning_rate:g}"
    again = f"train again with --overwrite and a smaller --learning-rate{given}"
    if not kept:
        return again
    whole = "the epoch before" if kept == 1 else f"the {kept} epochs before"
    return f"{again}, or end the run with {whole}: digits train --resume {shlex.quote(str(out))} --finish"


def _started_or_resumed(settings: TrainSettings) -> tuple[Path, TrainSettings]:
    """The run folder, which is free or unfinished, and the settings with it."""
    if settings.resume is not None:
        return settings.resume, replace(resumed(settings.resume, settings.data), finish=settings.finish)
    if settings.finish:
        raise RunError("--finish ends a run that was interrupted; name its folder with --resume")
    out = settings.out or Path("runs") / f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{os.getpid()}"
    check_free(out, overwrite=settings.overwrite)
    return out, replace(settings, out=out)


def prepare(settings: TrainSettings, data: mnist.Mnist) -> tuple[Any, Parts]:
    """The compiled model, and the training images to train on and to validate on.

    Raises:
        RunError: a setting does not suit Keras or the data.
    """
    parts = split(flatten(data.x_train), data.y_train, settings.validation_split, settings.seed)
    if settings.early_stopping and parts[1] is None:
        raise RunError(
            f"--early-stopping {settings.early_stopping} needs a validation loss, and --validation-split 0 leaves no "
            "images to validate on; give another"
        )
    if settings.calibrate and parts[1] is None:
        raise RunError("--calibrate fits a temperature on validation images; give a --validation-split above 0")
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(settings.seed)
    return build(settings, steps(len(parts[0][0]), settings.batch_size)), parts


def fit(model: Any, parts: Parts, settings: TrainSettings, progress: Progress, *, quiet: bool = False) -> None:
    """Trains for the epochs that are not done yet; shows a bar on a terminal or else a line per epoch, unless quiet."""
    from tqdm.keras import TqdmCallback  # imports Keras itself, so it comes after the quiet import of Keras

    training, validation = parts
    if progress.epochs < settings.epochs and not progress.stopped:
        bar = sys.stdout.isatty() and not quiet
        model.fit(
            batches(training, draw(*training, settings), settings, progress.epochs),
            epochs=settings.epochs,
            initial_epoch=progress.epochs,
            steps_per_epoch=steps(len(training[0]), settings.batch_size),
            shuffle=False,  # `batches` shuffles
            validation_data=validation,
            validation_batch_size=1000,
            callbacks=[progress, *([TqdmCallback(settings.epochs, verbose=0, dynamic_ncols=True)] if bar else [])],
            verbose=0 if bar or quiet else 2,
        )


def complete(model: Any, validation: Part | None, settings: TrainSettings) -> float:
    """Makes a trained model a plain one, with Keras's own loss and metric, and calibrates it if that is asked for.

    Returns:
        The temperature; 1 if it is not calibrated.
    """
    temperature = 1.0
    if settings.calibrate and validation is not None:
        temperature = fitted(model.predict(validation[0], batch_size=1000, verbose=0), validation[1])
        fold(model, temperature)
    if settings.outliers:  # a file with a loss of ours could not be read without this package
        model.compile(optimizer=model.optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
    return temperature
