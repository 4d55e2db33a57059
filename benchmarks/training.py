"""The training loop of `digits train` compared with plain `model.fit`: the same network and settings, in turn.

A repeat has the `seed`, the `seconds` of the whole training, with what TensorFlow traces and compiles in the first
epoch and, for `digits train`, with its checkpoints, and the `test_accuracy`.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from digits.benchmarks.measurement import measuring
from digits.benchmarks.section import section
from digits.benchmarks.settings import TrainingBenchmarkSettings
from digits.images import mnist
from digits.images.digit import CLASSES, PIXELS, flatten, one_hot
from digits.images.mnist import Mnist
from digits.model.tensorflow import keras
from digits.report.number_format import percent
from digits.train.dataset import split
from digits.train.progress import Progress
from digits.train.settings import TrainSettings
from digits.train.training import fit, prepare

PLAIN, OURS = "model.fit", "digits train"


def run(settings: TrainingBenchmarkSettings) -> None:
    """Trains in pairs, one of each way. Their order alternates, so that a drift of the machine favours neither."""
    if settings.quick:
        settings = replace(settings, epochs=1, repeats=1)
    data = mnist.load(settings.data)
    print(f"data: {data.source}")
    warm_up = "none: tracing and compiling count"
    with measuring("training", settings, data, seed=0, warm_up=warm_up, repeats=settings.repeats) as result:
        for seed in range(settings.repeats):
            training = TrainSettings(epochs=settings.epochs, seed=seed)
            for name in (PLAIN, OURS) if seed % 2 == 0 else (OURS, PLAIN):
                keras.backend.clear_session()
                seconds, accuracy = (_plain if name == PLAIN else _ours)(training, data)
                print(f"seed {seed}: {name:<12} {seconds:7.2f} s, test accuracy {percent(accuracy)}", flush=True)
                repeat = {"seed": seed, "seconds": round(seconds, 3), "test_accuracy": accuracy}
                result.repeats(name, {"epochs": settings.epochs}).append(repeat)
    result.show(section)


def _plain(settings: TrainSettings, data: Mnist) -> tuple[float, float]:
    """As Keras's own guide writes it."""
    (x, y), validation = split(flatten(data.x_train), data.y_train, settings.validation_split, settings.seed)
    keras.utils.set_random_seed(settings.seed)
    hidden = [keras.layers.Dense(nodes, activation=settings.activation) for nodes in settings.layers]
    model = keras.Sequential([keras.Input((PIXELS,)), *hidden, keras.layers.Dense(CLASSES, activation="softmax")])
    model.compile(optimizer=settings.optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
    began = time.perf_counter()
    model.fit(x, y, batch_size=settings.batch_size, epochs=settings.epochs, validation_data=validation, verbose=0)
    return time.perf_counter() - began, _accuracy(model, data)


def _ours(settings: TrainSettings, data: Mnist) -> tuple[float, float]:
    model, parts = prepare(settings, data)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        fit(model, parts, settings, Progress(Path(folder), settings.early_stopping), quiet=True)
        return time.perf_counter() - began, _accuracy(model, data)


def _accuracy(model: Any, data: Mnist) -> float:
    _, accuracy = model.evaluate(flatten(data.x_test), one_hot(data.y_test), batch_size=1000, verbose=0)
    return float(accuracy)
