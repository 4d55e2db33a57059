"""The training loop of `digits train` beside plain `model.fit`: the same network and settings, in turn."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from digits.benchmarks.measurement import measurement
from digits.images import mnist
from digits.images.digit import CLASSES, PIXELS, flatten, one_hot
from digits.model.tensorflow import keras
from digits.train.dataset import split
from digits.train.progress import Progress
from digits.train.settings import TrainSettings
from digits.train.training import fit, prepare

if TYPE_CHECKING:
    from digits.benchmarks.settings import TrainingBenchmarkSettings
    from digits.images.mnist import Mnist

PLAIN, OURS = "model.fit", "digits train"
WARM_UP = "none: tracing and compiling count"


def run(settings: TrainingBenchmarkSettings) -> dict[str, Any]:
    """Trains in pairs, one of each way, and gives times, test accuracies and their ratio.

    Times are seconds of the whole training, with what TensorFlow traces and compiles in the first epoch, and, for
    `digits train`, with its checkpoints. The order within a pair alternates, lest the machine's drift favour one.
    """
    data = mnist.load(settings.data)
    print(f"data: {data.source}")
    pairs = []
    for seed in range(settings.repeats):
        training = TrainSettings(epochs=settings.epochs, seed=seed)
        pair: dict[str, Any] = {"seed": seed}
        for name in (PLAIN, OURS) if seed % 2 == 0 else (OURS, PLAIN):
            keras.backend.clear_session()
            seconds, accuracy = (_plain if name == PLAIN else _ours)(training, data)
            pair[name] = {"seconds": round(seconds, 3), "test_accuracy": accuracy}
            print(f"seed {seed}: {name:<12} {seconds:7.2f} s, test accuracy {accuracy * 100:.2f} %", flush=True)
        pair["ratio"] = round(pair[PLAIN]["seconds"] / pair[OURS]["seconds"], 3)
        pairs.append(pair)
    return {
        **measurement("training", settings, data, seed=0, warm_up=WARM_UP, repeats=settings.repeats),
        "pairs": pairs,
        "median_ratio": median(pair["ratio"] for pair in pairs),
        "mean_test_accuracy": {name: mean(pair[name]["test_accuracy"] for pair in pairs) for name in (PLAIN, OURS)},
    }


def in_words(result: dict[str, Any]) -> str:
    """The ratio of times and the difference of accuracies."""
    accuracy = {name: value * 100 for name, value in result["mean_test_accuracy"].items()}
    ratios = ", ".join(f"{pair['ratio']:.2f}" for pair in result["pairs"])
    return (
        f"digits train is {result['median_ratio']:.2f} times as fast as model.fit (median of {ratios})\n"
        f"mean test accuracy: {accuracy[OURS]:.2f} % against {accuracy[PLAIN]:.2f} %, "
        f"{accuracy[OURS] - accuracy[PLAIN]:+.2f} point"
    )


def _plain(settings: TrainSettings, data: Mnist) -> tuple[float, float]:
    """As one writes it who has read Keras's own guide."""
    (x, y), validation = split(flatten(data.x_train), data.y_train, settings.validation_split, settings.seed)
    keras.utils.set_random_seed(settings.seed)
    model = keras.Sequential(
        [
            keras.Input((PIXELS,)),
            *(keras.layers.Dense(nodes, activation=settings.activation) for nodes in settings.layers),
            keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    model.compile(optimizer=settings.optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
    began = time.perf_counter()
    model.fit(x, y, batch_size=settings.batch_size, epochs=settings.epochs, validation_data=validation, verbose=0)
    return time.perf_counter() - began, _accuracy(model, data)


def _ours(settings: TrainSettings, data: Mnist) -> tuple[float, float]:
    model, training, validation = prepare(settings, data)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        fit(model, training, validation, settings, Progress(Path(folder), settings.early_stopping), quiet=True)
        return time.perf_counter() - began, _accuracy(model, data)


def _accuracy(model: Any, data: Mnist) -> float:
    _, accuracy = model.evaluate(flatten(data.x_test), one_hot(data.y_test), batch_size=1000, verbose=0)
    return float(accuracy)
