"""What a finished training leaves in its run folder: model, history, predictions, and a report with figures."""

from __future__ import annotations

import math
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from digits.images.digit import flatten, one_hot
from digits.report.figure import png
from digits.report.number_format import percent
from digits.report.page import render
from digits.report.table import Table
from digits.storage.checksums import file_sha256
from digits.storage.json_file import write_json
from digits.storage.provenance import now, provenance
from digits.train import figures
from digits.train.curves import in_words
from digits.train.errors import RunError
from digits.train.evaluation import Evaluation
from digits.train.run_folder import FIGURES, HISTORY, MODEL, PAGE, PREDICTIONS, REPORT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from digits.images.mnist import Mnist
    from digits.train.curves import History
    from digits.train.progress import Progress
    from digits.train.settings import TrainSettings

TEMPLATE = Path(__file__).with_name("report.jinja")


def write_results(
    work: Path,
    model: Any,
    data: Mnist,
    settings: TrainSettings,
    progress: Progress,
    *,
    validation: int,
    temperature: float = 1.0,
) -> Path:
    """Scores a trained model on the test images and writes all files of a finished run into a new folder inside `work`.

    `validation` is the number of training images that were kept for validation, and `temperature` what the last layer
    was divided by.

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
        "temperature": temperature,
        "test": {"loss": loss, "accuracy": accuracy},
        "training_seconds": round(progress.seconds, 3),
        "finished": now(),
        "model_sha256": file_sha256(folder / MODEL),
        **provenance(),
    }
    kernel = np.asarray(model.get_weights()[0])
    write_page(folder, report=report, history=progress.history, evaluation=evaluation, data=data, kernel=kernel)
    write_json(folder / REPORT, report)
    return folder


def write_page(
    folder: Path,
    *,
    report: Mapping[str, Any],
    history: History,
    evaluation: Evaluation,
    data: Mnist,
    kernel: NDArray[np.float32],
) -> None:
    """Writes report.html and figures/*.png into the folder.

    `report` is the content of report.json, and `kernel` the first layer's weights, float32 [784, nodes].
    """
    seed = report["settings"]["seed"]
    correct, incorrect = evaluation.gallery(report["settings"]["gallery"], seed)
    drawn = {
        "sample": figures.sample(data.x_train, data.y_train, seed),
        "curves": figures.learning_curves(history),
        "confusion": figures.confusion(evaluation),
        "precision_recall": figures.precision_recall(evaluation),
        "correct": figures.gallery(data.x_test, evaluation, correct, "correctly"),
        "incorrect": figures.gallery(data.x_test, evaluation, incorrect, "wrongly"),
        "weights": figures.weights(kernel),
        "reliability": figures.reliability(evaluation),
    }
    encoded = {name: png(figure) for name, figure in drawn.items()}
    (folder / FIGURES).mkdir(exist_ok=True)
    for name, content in encoded.items():
        (folder / FIGURES / f"{name}.png").write_bytes(content)
    minutes, seconds = divmod(round(report["training_seconds"]), 60)
    page = render(
        TEMPLATE,
        title=f"Training run {Path(str(report['settings']['out'] or '')).name}".strip(),
        report=report,
        evaluation=evaluation,
        overfitting=in_words(history),
        figures=encoded,
        shown=(len(correct), len(incorrect)),
        by_digit=_by_digit(evaluation),
        nodes=kernel.shape[1],
        most_nodes=figures.NODES,
        duration=f"{minutes} min {seconds} s" if minutes else f"{report['training_seconds']:.1f} s",
    )
    (folder / PAGE).write_text(page, encoding="utf-8")


def _by_digit(evaluation: Evaluation) -> Table:
    columns = (*evaluation.precision_and_recall, evaluation.confusion.sum(axis=1))
    rows = [
        (str(digit), *("undefined" if np.isnan(share) else percent(share) for share in shares), f"{images:,}")
        for digit, (*shares, images) in enumerate(zip(*columns, strict=True))
    ]
    return Table(("digit", "precision", "recall", "images"), rows)
