"""Comparison: a table, a figure and a page of runs that were scored on the same images, and of no others."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from digits.lab.comparison import compare, in_words, mcnemar
from digits.lab.errors import LabError
from digits.train.errors import RunError
from digits.train.evaluation import Evaluation, read_predictions

Digits = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def longer_run(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default run as if it had been trained for 50 epochs, of which the last 40 overfit."""
    folder = shutil.copytree(run_folder, tmp_path_factory.mktemp("longer") / "50-epochs")
    report, history = (json.loads((folder / name).read_text()) for name in ("report.json", "history.json"))
    report["settings"]["epochs"] = 50
    before = {name: values[-1] for name, values in history.items()}
    for epoch in range(1, 41):
        history["loss"].append(before["loss"] / epoch)
        history["val_loss"].append(before["val_loss"] * (1 + epoch / 10))
        for name in ("accuracy", "val_accuracy"):
            history[name].append(before[name])
    for name, value in {"report.json": report, "history.json": history}.items():
        (folder / name).write_text(json.dumps(value))
    predictions = read_predictions(folder / "predictions.npz")
    predictions.probabilities[:20] = predictions.probabilities[:20, ::-1]
    predictions.write(folder / "predictions.npz")
    return folder


def test_ten_epochs_and_fifty_in_a_table_a_figure_and_words(
    digits: Digits, run_folder: Path, longer_run: Path, tmp_path: Path
) -> None:
    completed = digits("compare", run_folder, longer_run, "--out", tmp_path)
    assert completed.returncode == 0, completed.stderr
    header, first, second, *_ = completed.stdout.splitlines()
    assert re.split(r"  +", header) == [
        *("run", "settings", "parameters", "epochs", "best val loss", "last val loss"),
        *("test loss", "test accuracy", "time"),
    ]
    report = json.loads((longer_run / "report.json").read_text())
    history = json.loads((longer_run / "history.json").read_text())
    assert re.split(r"  +", second)[:4] == ["50-epochs", "epochs 50", "535,818", "50"]
    assert f"{report['test']['accuracy'] * 100:.2f} %" in second
    assert f"{min(history['val_loss']):.4f} @ {np.argmin(history['val_loss']) + 1}" in second
    assert re.split(r"  +", first)[:4] == ["run", "defaults", "535,818", "10"]
    assert "50-epochs: Overfitting from epoch " in completed.stdout
    assert "50-epochs compared with run: test accuracy " in completed.stdout

    page = (tmp_path / "comparison.html").read_text()
    assert "Overfitting from epoch " in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    with Image.open(tmp_path / "comparison.png") as figure:
        assert figure.width > 800
    written = json.loads((tmp_path / "comparison.json").read_text())
    assert [row["epochs"] for row in written["rows"]] == [10, 50]
    assert written["test"]["images"] == 1000
    assert str(run_folder) not in json.dumps(written)


def test_runs_that_cannot_be_compared_are_rejected_with_the_reason(run_folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run_folder, tmp_path / "other")
    report = json.loads((other / "report.json").read_text())
    report["data"]["test_sha256"] = "0" * 64
    (other / "report.json").write_text(json.dumps(report))
    for runs, expected in (
        ((run_folder,), "a comparison takes two runs or more, not 1: digits compare RUN RUN..."),
        ((run_folder, run_folder), f"{run_folder}: given twice; a run cannot be compared with itself"),
        ((run_folder, other), f"{other}: scored on another test set than {run_folder}, so they cannot be compared"),
        ((run_folder, tmp_path), f"{tmp_path}: not a run folder"),
    ):
        with pytest.raises((LabError, RunError), match=f"^{re.escape(expected)}"):
            compare(runs)


def test_runs_of_the_same_name_are_told_apart_and_a_run_folder_is_not_written_to(
    run_folder: Path, tmp_path: Path
) -> None:
    comparison = compare([shutil.copytree(run_folder, tmp_path / parent / "run") for parent in "ab"])
    assert [row["run"] for row in comparison.rows] == ["a/run", "b/run"]
    with pytest.raises(LabError, match="is a run folder; give another --out"):
        comparison.write(tmp_path / "a" / "run")


def answers(digits: list[int]) -> Evaluation:
    """The evaluation of a model that gives these digits for images of 0."""
    return Evaluation(np.eye(10, dtype=np.float32)[digits], np.zeros(len(digits), np.uint8))


def test_a_difference_is_told_from_chance() -> None:
    assert mcnemar(0, 0) == 1
    assert mcnemar(5, 5) == 1
    assert mcnemar(1, 9) == mcnemar(9, 1) == pytest.approx(2 * 11 / 2**10)
    assert in_words(answers([1] * 9 + [0]), answers([0] * 9 + [1])) == (
        "test accuracy rose by 80.00 points, from 10.00 % to 90.00 %: 9 digits gained, 1 lost, "
        "more than chance explains (p = 0.021)."
    )
    assert "fell by 10.00 points" in in_words(answers([0, *[1] * 9]), answers([1] * 10))
    assert "no more than chance explains (p = 1)" in in_words(answers([0, *[1] * 9]), answers([1] * 10))
    assert in_words(answers([0, 1]), answers([1, 0])).startswith("test accuracy is the same, 50.00 %; 1 digits gained")
