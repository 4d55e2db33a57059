"""The report of a training run: one page that stands by itself, and its figures as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from digits.train import figures
from digits.train.curves import in_words
from digits.train.evaluation import GALLERY, percent
from digits.train.page import facts, figure_tag, page, paragraph, table
from digits.train.run_folder import FIGURES, PAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from digits.images.mnist import Mnist
    from digits.train.curves import History
    from digits.train.evaluation import Evaluation

    Kind = Literal["confident", "random"]

# For those who cannot see a figure, and for those who can: what it is, and what to look at.
FIGURE_TEXTS = {
    "sample": (
        "A sample of training digits with their labels",
        "Training digits under their labels. Would you have read them all so?",
    ),
    "curves": ("Loss and accuracy per epoch, training beside validation", ""),
    "confusion": (
        "Confusion matrix: true digits in rows, predicted digits in columns",
        "Blue is right. Deep orange is the worst mistake: its row is the digit, its column what it was taken for.",
    ),
    "precision_recall": (
        "Precision and recall of each digit",
        "Low precision: others are taken for this digit. Low recall: it is taken for others.",
    ),
    "correct": ("Digits predicted correctly, with prediction, confidence and label", ""),
    "incorrect": ("Digits predicted wrongly, with prediction, confidence and label", ""),
    "reliability": (
        "Reliability diagram: accuracy by confidence, and how many images there are of each",
        "A bar that ends below its dot: surer than right. Where there are few images (the lower axis), it says little.",
    ),
    "weights": ("First-layer weights of each node as an image", ""),
}


def write_report(
    folder: Path,
    *,
    report: Mapping[str, Any],
    history: History,
    evaluation: Evaluation,
    data: Mnist,
    kernel: NDArray[np.float32],
    gallery: Kind,
    seed: int,
) -> None:
    """Writes report.html and figures/*.png into the folder.

    Args:
        folder: The run folder, or what becomes it.
        report: What report.json holds.
        history: Loss and accuracy of each epoch.
        evaluation: The answers to the test images.
        data: What was trained and tested on.
        kernel: The first layer's weights, float32 [784, nodes].
        gallery: Which wrongly predicted digits are shown: the most confident, or a random choice.
        seed: Of the choices.
    """
    correct, incorrect = evaluation.gallery(gallery, seed)
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
    tags = _written(folder / FIGURES, drawn, _captions(history, evaluation, kernel.shape[1], gallery))
    body = _body(tags, report, history, evaluation)
    (folder / PAGE).write_text(page(f"Training run {_name(report)}".strip(), body), encoding="utf-8")


def _body(tags: Mapping[str, str], report: Mapping[str, Any], history: History, evaluation: Evaluation) -> str:
    right = tags["correct"] if len(evaluation.correct) else paragraph("No digit was predicted correctly.")
    wrong = tags["incorrect"] if len(evaluation.incorrect) else paragraph("No digit was predicted wrongly.")
    parts = [
        _result(report, evaluation),
        "<h2>Data</h2>",
        tags["sample"],
        "<h2>Learning</h2>",
        paragraph(in_words(history)),
        tags["curves"],
        "<h2>Which digits are mistaken for which</h2>",
        f"<div class='beside'>{tags['confusion']}<div>{tags['precision_recall']}{_by_digit(evaluation)}</div></div>",
        "<h2>Right and wrong</h2>",
        f"<div class='beside'>{right}{wrong}</div>",
        "<h2>Whether its confidence can be believed</h2>",
        tags["reliability"],
        "<h2>What the first layer looks at</h2>",
        tags["weights"],
        "<h2>How it was made</h2>",
        _origin(report),
    ]
    return "\n".join(parts)


def _written(folder: Path, drawn: Mapping[str, Figure], captions: Mapping[str, str]) -> dict[str, str]:
    """Writes each figure as PNG, and gives it as HTML."""
    folder.mkdir(exist_ok=True)
    tags = {}
    for name, figure in drawn.items():
        image = figures.png(figure)
        (folder / f"{name}.png").write_bytes(image)
        alt, caption = FIGURE_TEXTS[name]
        tags[name] = figure_tag(image, alt, captions.get(name, caption))
    return tags


def _captions(history: History, evaluation: Evaluation, nodes: int, gallery: Kind) -> dict[str, str]:
    """What to look at, where it depends on what there is; one line each."""
    right, wrong, few = len(evaluation.correct), len(evaluation.incorrect), min(GALLERY, len(evaluation.incorrect))
    choice = ", the most confident first" if gallery == "confident" else ", a random choice" if wrong > few else ""
    which = f"The first {figures.NODES} of {nodes:,} nodes" if nodes > figures.NODES else f"All {nodes} nodes"
    return {
        "curves": "Training loss that falls while validation loss rises: the network learns its examples by heart."
        if "val_loss" in history
        else "Training alone: only a validation split could show whether the network learns or memorizes.",
        "correct": f"Right: {min(GALLERY, right)} of {right:,}, a random choice. Is it less sure of the odd ones?",
        "incorrect": f"Wrong: {few} of {wrong:,}{choice}. Which would a person have read rightly?",
        "weights": f"{which}: ink on red excites a node, on blue inhibits it. Strokes are features, speckles are not.",
    }


def _result(report: Mapping[str, Any], evaluation: Evaluation) -> str:
    lowest, highest = map(percent, evaluation.accuracy_interval)
    n, images, layers = len(evaluation.truth), report["data"]["images"], report["settings"]["layers"]
    accuracy = f"<strong class='headline'>{percent(evaluation.accuracy)}</strong>"
    headline = f"<p>{accuracy}<br>of {n:,} test images are predicted correctly.</p>"
    rows = {
        "95 % interval": f"{lowest} to {highest} (Wilson), for the {n:,} images are a sample",
        "test loss": f"{report['test']['loss']:.4f}",
        "test set": f"{n:,} images of: {report['data']['source']}",
        "trained on": f"{images['train']:,} images; kept for validation: {images['validation']:,}",
        "network": " → ".join(map(str, (784, *layers, 10))) + f", {report['parameters']:,} parameters",
        "training time": _duration(report["training_seconds"]),
    }
    return headline + facts(rows)


def _by_digit(evaluation: Evaluation) -> str:
    columns = evaluation.precision, evaluation.recall, evaluation.confusion.sum(axis=1)
    rows = [
        (digit, _defined(precision), _defined(recall), f"{images:,}")
        for digit, (precision, recall, images) in enumerate(zip(*columns, strict=True))
    ]
    return table(("digit", "precision", "recall", "images"), rows)


def _origin(report: Mapping[str, Any]) -> str:
    """Settings, data, machine, versions: all that is needed to do it again."""
    data = {name: report["data"][name] for name in ("source", "location", "sha256", "test_sha256")}
    parts = {
        "Settings": report["settings"],
        "Data": data,
        "Machine": {**report["machine"], "finished": report["finished"]},
        "Versions": report["versions"],
    }
    tables = "".join(f"<div><h3>{title}</h3>{facts(rows)}</div>" for title, rows in parts.items())
    return f"<div class='beside'>{tables}</div>"


def _name(report: Mapping[str, Any]) -> str:
    return Path(str(report["settings"].get("out") or "")).name


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _defined(share: float) -> str:
    return "undefined" if np.isnan(share) else percent(share)
