"""Benchmarks: what they measure is real, what they leave is whole, and README.md says what they measured."""

from __future__ import annotations

import json
from statistics import mean
from typing import TYPE_CHECKING

import pytest

from digits.benchmarks import readme

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Digits = Callable[..., subprocess.CompletedProcess[str]]


def test_readme_says_what_was_measured() -> None:
    text = readme.README.read_text(encoding="utf-8")
    assert readme.rendered() in text
    assert readme.put(text) == text


@pytest.mark.parametrize(("recipe", "least"), [("lesson", 0.977), ("best", 0.9925)])
def test_the_recipes_reach_their_accuracy_by_three_seeds(recipe: str, least: float) -> None:
    """As measured and committed; tests/train/test_full_mnist.py measures again."""
    measured = json.loads((readme.RESULTS / "recipes.json").read_text(encoding="utf-8"))
    assert measured["test"]["images"] == 10_000
    rows = [row for row in measured["rows"] if row["run"].startswith(f"{recipe}-")]
    assert [row["run"] for row in rows] == [f"{recipe}-{seed}" for seed in range(3)]
    assert {row["parameters"] for row in rows} == {535_818}
    assert mean(row["test_accuracy"] for row in rows) >= least
    assert max(row["training_seconds"] for row in rows) <= 20 * 60


def test_the_training_loop_is_as_fast_and_as_accurate_as_it_has_to_be() -> None:
    """As measured and committed."""
    measured = json.loads((readme.RESULTS / "training.json").read_text(encoding="utf-8"))
    assert measured["data"]["test"] == 10_000
    assert measured["median_ratio"] >= 1.3
    accuracy = measured["mean_test_accuracy"]
    assert abs(accuracy["digits train"] - accuracy["model.fit"]) <= 0.002


@pytest.mark.slow
def test_the_training_loop_beside_model_fit(digits: Digits, tmp_path: Path) -> None:
    file = tmp_path / "training.json"
    completed = digits("bench", "training", "--data", "embedded", "--epochs", 2, "--repeats", 2, "--out", file)
    assert completed.returncode == 0, completed.stderr
    assert "digits train is " in completed.stdout
    measured = json.loads(file.read_text())
    assert measured["command"] == "digits bench training --epochs 2 --repeats 2"
    assert [pair["seed"] for pair in measured["pairs"]] == [0, 1]
    for pair in measured["pairs"]:
        for way in ("model.fit", "digits train"):
            assert pair[way]["seconds"] > 0
            assert pair[way]["test_accuracy"] > 0.8
        assert pair["ratio"] == pytest.approx(pair["model.fit"]["seconds"] / pair["digits train"]["seconds"], abs=1e-3)
    assert {"machine", "versions", "commit", "data"} <= measured.keys()
    assert str(tmp_path) not in file.read_text()


def test_int8_is_as_near_and_as_fast_as_it_has_to_be() -> None:
    """As measured and committed, for the default recipe and the best one, by the median of rounds on one thread."""
    measured = json.loads((readme.RESULTS / "export.json").read_text(encoding="utf-8"))
    assert measured["data"]["test"] == 10_000
    assert [model["recipe"] for model in measured["models"]] == ["lesson", "best"]
    for model in measured["models"]:
        fp32, int8 = (model["variants"][name] for name in ("fp32", "int8"))
        assert int8["argmax_agreement"] >= 0.999
        assert abs(int8["accuracy"] - fp32["accuracy"]) <= 0.0005
        assert {"OpenVINO", "Keras predict"} <= model["times"].keys()
        for size in ("1", "64"):
            assert model["times"]["int8"][size]["times_as_fast"] >= 2.5


@pytest.mark.slow
def test_the_variants_beside_each_other(digits: Digits, run_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "export.json"
    completed = digits("bench", "export", run_folder, "--rounds", 2, "--out", file)
    assert completed.returncode == 0, completed.stderr
    assert "times fp32 at 64" in completed.stdout
    measured = json.loads(file.read_text())
    assert measured["command"] == "digits bench export --rounds 2"
    (model,) = measured["models"]
    assert {"fp32", "Keras predict"} <= model["times"].keys()
    assert model["times"]["fp32"]["1"]["times_as_fast"] == 1
    assert model["times"]["Keras predict"]["64"]["microseconds_per_image"] > 0
    assert str(tmp_path) not in file.read_text()


def test_scoring_is_as_fast_as_lean_and_as_right_as_it_has_to_be() -> None:
    """As measured and committed."""
    measured = json.loads((readme.RESULTS / "score.json").read_text(encoding="utf-8"))
    assert (measured["data"]["test"], measured["settings"]["pictures"]) == (10_000, 100_000)
    assert measured["accuracy"]["pictures"] == measured["accuracy"]["arrays"]
    assert measured["rows"]["count"] == 1_000_000
    assert measured["rows"]["peak_mb"] < 400
    assert measured["import_ratio"] <= 1.3
    assert measured["share_of_decoding"] >= 0.7


@pytest.mark.slow
def test_scoring_beside_decoding(digits: Digits, tmp_path: Path) -> None:
    file = tmp_path / "score.json"
    options = ("--pictures", 2000, "--rows", 5000, "--rounds", 2, "--out", file)
    completed = digits("bench", "score", "--data", "embedded", *options)
    assert completed.returncode == 0, completed.stderr
    measured = json.loads(file.read_text())
    assert measured["command"] == "digits bench score --pictures 2000 --rows 5000 --rounds 2"
    for one in measured["rounds"]:
        assert one["scored_per_second"] > 0
        assert one["decoded_per_second"] > 0
        assert one["accuracy"]["pictures"] == one["accuracy"]["arrays"]
    assert measured["rows"]["peak_mb"] > 20
    assert "pictures a second over those decoded alone" in completed.stdout
