"""The report of a training run: one page, and its figures as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from digits.report.figure import png
from digits.report.number_format import percent
from digits.report.page import render
from digits.report.table import Table
from digits.train import figures
from digits.train.curves import in_words
from digits.train.run_folder import FIGURES, PAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from digits.images.mnist import Mnist
    from digits.train.curves import History
    from digits.train.evaluation import Evaluation

TEMPLATE = Path(__file__).with_name("report.jinja")


def write_report(
    folder: Path,
    *,
    report: Mapping[str, Any],
    history: History,
    evaluation: Evaluation,
    data: Mnist,
    kernel: NDArray[np.float32],
) -> None:
    """Writes report.html and figures/*.png into the folder.

    Args:
        folder: The run folder, or what becomes it.
        report: The content of report.json. Its settings choose the digits that are shown.
        history: Loss and accuracy of each epoch.
        evaluation: The answers to the test images.
        data: What was trained and tested on.
        kernel: The first layer's weights, float32 [784, nodes].
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
        duration=_duration(report["training_seconds"]),
    )
    (folder / PAGE).write_text(page, encoding="utf-8")


def _by_digit(evaluation: Evaluation) -> Table:
    columns = evaluation.precision, evaluation.recall, evaluation.confusion.sum(axis=1)
    rows = [
        (str(digit), _defined(precision), _defined(recall), f"{images:,}")
        for digit, (precision, recall, images) in enumerate(zip(*columns, strict=True))
    ]
    return Table(("digit", "precision", "recall", "images"), rows)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _defined(share: float) -> str:
    return "undefined" if np.isnan(share) else percent(share)
