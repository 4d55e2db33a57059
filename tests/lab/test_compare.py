"""Comparison: a table, a figure and a page of runs that can be compared, and no other."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from digits.lab.comparison import in_words, mcnemar
from digits.train.evaluation import Evaluation

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Digits = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def longer_run(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default run, five times as long."""
    folder = tmp_path_factory.mktemp("longer") / "50-epochs"
    completed = digits("train", "--out", folder, "--data", "embedded", "--epochs", 50)
    assert completed.returncode == 0, completed.stderr
    return folder


def test_ten_epochs_against_fifty_in_a_table_a_figure_and_words(
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


def test_runs_that_cannot_be_compared_are_refused_in_a_line(digits: Digits, run_folder: Path, tmp_path: Path) -> None:
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
        completed = digits("compare", *runs, "--out", tmp_path / "comparison")
        assert completed.returncode == 1
        (line,) = completed.stderr.splitlines()
        assert line.startswith(f"digits: {expected}")
    assert not (tmp_path / "comparison").exists()


def test_runs_of_the_same_name_are_told_apart(digits: Digits, run_folder: Path, tmp_path: Path) -> None:
    runs = [shutil.copytree(run_folder, tmp_path / parent / "run") for parent in "ab"]
    completed = digits("compare", *runs, "--out", tmp_path / "comparison")
    assert completed.stdout.splitlines()[1].startswith("a/run ")
    assert completed.stdout.splitlines()[2].startswith("b/run ")


def answers(digits: list[int]) -> Evaluation:
    """Of a model that gives these digits where all are 0 in truth."""
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
