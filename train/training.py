"""Training, top to bottom."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from digits.images import mnist
from digits.train.dataset import batches, one_hot, split
from digits.train.network import build, flatten
from digits.train.provenance import now, provenance
from digits.train.run_folder import HISTORY, MODEL, REPORT, Run, new_run, write_json

if TYPE_CHECKING:
    from digits.train.settings import TrainSettings


def train(settings: TrainSettings) -> Run:
    """Trains the network on MNIST and leaves model, history and report in the run folder.

    Raises:
        DataError: the data cannot be used.
        RunError: the run folder cannot be written.
    """
    out = settings.out or Path("runs") / f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{os.getpid()}"
    with new_run(out, overwrite=settings.overwrite) as folder:
        started = now()
        data = mnist.load(settings.data)
        print(f"data: {data.source}")
        x_train, x_test = flatten(data.x_train), flatten(data.x_test)
        print(f"train: {data.x_train.shape} {data.x_train.dtype} -> {x_train.shape} {x_train.dtype}")
        print(f"test:  {data.x_test.shape} {data.x_test.dtype} -> {x_test.shape} {x_test.dtype}")
        training, validation = split(x_train, data.y_train, settings.validation_split, settings.seed)

        keras.utils.set_random_seed(settings.seed)
        model = build(settings.layers, settings.activation, settings.optimizer)
        model.summary()

        clock = time.perf_counter()
        history = model.fit(
            batches(*training, settings.batch_size, settings.seed),
            epochs=settings.epochs,
            shuffle=False,  # the batches are
            validation_data=validation,
            verbose=1 if sys.stdout.isatty() else 2,
        ).history
        seconds = time.perf_counter() - clock
        loss, accuracy = model.evaluate(x_test, one_hot(data.y_test), verbose=0)
        print(f"test: loss {loss:.4f}, accuracy {accuracy:.2%} of {len(x_test):,} images ({data.source})")

        model.save(folder / MODEL)
        write_json(folder / HISTORY, history)
        report: dict[str, Any] = {
            "settings": {**asdict(settings), "out": str(out)},
            "parameters": model.count_params(),
            "data": {
                "source": data.source,
                "location": data.location,
                "sha256": data.sha256,
                "test_sha256": data.test_sha256,
                "images": {
                    "train": len(training[0]),
                    "validation": len(validation[0]) if validation else 0,
                    "test": len(x_test),
                },
            },
            "test": {"loss": loss, "accuracy": accuracy},
            "training_seconds": round(seconds, 3),
            "started": started,
            "finished": now(),
            "model_sha256": hashlib.sha256((folder / MODEL).read_bytes()).hexdigest(),
            **provenance(),
        }
        write_json(folder / REPORT, report)
    return Run(out, report)
