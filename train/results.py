"""What a finished training leaves in its run folder."""

from __future__ import annotations

import math
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from digits.images.digit import flatten
from digits.report.provenance import now, provenance
from digits.storage.checksums import file_sha256
from digits.storage.json_file import write_json
from digits.train.dataset import one_hot
from digits.train.errors import RunError
from digits.train.evaluation import Evaluation
from digits.train.report import write_report
from digits.train.run_folder import HISTORY, MODEL, PREDICTIONS, REPORT

if TYPE_CHECKING:
    from pathlib import Path

    from digits.images.mnist import Mnist
    from digits.train.progress import Progress
    from digits.train.settings import TrainSettings


def write_results(
    work: Path, model: Any, data: Mnist, settings: TrainSettings, progress: Progress, *, validation: int
) -> Path:
    """Scores a trained model on the test images and writes all files of a finished run into a new folder inside `work`.

    Args:
        work: The run's unfinished folder.
        model: The network, trained on `data` with `settings`.
        data: Its `validation` of the training images were kept for validation.
        settings: They stand in the report.
        progress: The course of the training.
        validation: A number of images.

    Raises:
        RunError: the test loss is not finite.
    """
    x_test = flatten(data.x_test)
    loss, accuracy = model.evaluate(x_test, one_hot(data.y_test), batch_size=1000, verbose=0)
    if not math.isfinite(loss):
        raise RunError(f"training diverged: the test loss is {loss}; train again with a smaller --learning-rate")
    print(f"test: loss {loss:.4f}, accuracy {accuracy:.2%} of {len(x_test):,} images ({data.source})", flush=True)
    evaluation = Evaluation(model.predict(x_test, batch_size=1000, verbose=0), data.y_test)

    folder = work / "results"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    model.save(folder / MODEL)
    write_json(folder / HISTORY, progress.history)
    evaluation.write(folder / PREDICTIONS)
    report: dict[str, Any] = {
        "settings": asdict(settings),
        "parameters": model.count_params(),
        "data": {
            **{name: getattr(data, name) for name in ("source", "location", "sha256", "test_sha256")},
            "images": {"train": len(data.x_train) - validation, "validation": validation, "test": len(x_test)},
        },
        "epochs": progress.epochs,
        "test": {"loss": loss, "accuracy": accuracy},
        "training_seconds": round(progress.seconds, 3),
        "finished": now(),
        "model_sha256": file_sha256(folder / MODEL),
        **provenance(),
    }
    kernel = np.asarray(model.get_weights()[0])
    write_report(folder, report=report, history=progress.history, evaluation=evaluation, data=data, kernel=kernel)
    write_json(folder / REPORT, report)
    return folder
