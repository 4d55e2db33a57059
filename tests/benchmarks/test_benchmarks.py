"""The committed results meet their targets; the benchmarks of training, export and scoring measure what they say."""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median
from typing import Any

import pytest

from digits.benchmarks import readme
from digits.benchmarks.measurement import RESULTS
from digits.benchmarks.section import ratios


def committed(name: str) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """A result on all of MNIST, and its repeats by system."""
    result: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    assert result["data"]["test"] == 10_000
    return result, repeats(result)


def repeats(result: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    return {row["system"]: row["repeats"] for row in result["measurements"]}


def test_the_readme_has_the_measured_rates() -> None:
    text = readme.README.read_text(encoding="utf-8")
    assert readme.rendered() in text
    assert readme.put(text) == text


@pytest.mark.parametrize(("recipe", "least"), [("lesson", 0.977), ("best", 0.9925)])
def test_the_recipes_reach_their_accuracy_with_three_seeds(recipe: str, least: float) -> None:
    """tests/train/test_full_mnist.py measures again."""
    measured = json.loads((RESULTS / "recipes.json").read_text(encoding="utf-8"))
    assert measured["test"]["images"] == 10_000
    rows = [row for row in measured["rows"] if row["run"].startswith(f"{recipe}-")]
    assert [row["run"] for row in rows] == [f"{recipe}-{seed}" for seed in range(3)]
    assert {row["parameters"] for row in rows} == {535_818}
    assert mean(row["test_accuracy"] for row in rows) >= least
    assert max(row["training_seconds"] for row in rows) <= 20 * 60


def test_the_training_loop_is_fast_and_accurate_enough() -> None:
    _, found = committed("training")
    plain, ours = found["model.fit"], found["digits train"]
    assert median(ratios(plain, ours, "seconds")) >= 1.3
    accuracies = [mean(one["test_accuracy"] for one in each) for each in (plain, ours)]
    assert abs(accuracies[0] - accuracies[1]) <= 0.002


def test_int8_is_accurate_and_fast_enough() -> None:
    """For the default recipe and the best one, by the median of rounds on one thread."""
    measured, _ = committed("export")
    assert [model["recipe"] for model in measured["findings"]["models"]] == ["lesson", "best"]
    for model in measured["findings"]["models"]:
        fp32, int8 = (model["variants"][name] for name in ("fp32", "int8"))
        assert int8["argmax_agreement"] >= 0.999
        assert abs(int8["accuracy"] - fp32["accuracy"]) <= 0.0005
        rows = [row for row in measured["measurements"] if row["load"]["recipe"] == model["recipe"]]
        assert {"OpenVINO", "Keras predict"} <= {row["system"] for row in rows}
        fast = {row["load"]["images"]: row["repeats"][0]["times_as_fast"] for row in rows if row["system"] == "int8"}
        assert min(fast[1], fast[64]) >= 2.5


def test_scoring_is_fast_lean_and_accurate_enough() -> None:
    measured, found = committed("score")
    assert (measured["settings"]["pictures"], measured["settings"]["rows"]) == (100_000, 1_000_000)
    assert median(ratios(found["digits score"], found["Pillow"], "pictures_per_second")) >= 0.7
    assert all(one["accuracy"] == one["accuracy_of_arrays"] for one in found["digits score"])
    assert found["rows"][0]["peak_mb"] < 400
    assert median(one["client_seconds"] / one["bare_seconds"] for one in found["imports"]) <= 1.3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("training", "--data embedded --epochs 2 --repeats 2", "digits train is "),
        ("export", "--rounds 2", "times fp32 at 64"),
        ("score", "--data embedded --pictures 2000 --rows 5000 --rounds 2", "of the rate of decoding"),
    ],
)
def test_a_benchmark_measures_and_shows_what_it_says(
    bench: Callable[..., Any], run_folder: Path, name: str, options: str, says: str
) -> None:
    _, result, printed = bench(name, *[run_folder] * (name == "export"), *options.split())
    assert says in printed
    found = repeats(result)
    if name == "training":
        assert [len(each) for each in found.values()] == [2, 2]
        assert all(one["seconds"] > 0 and one["test_accuracy"] > 0.8 for each in found.values() for one in each)
    elif name == "export":
        assert {"fp32", "int8", "Keras predict"} <= found.keys()
        assert found["fp32"][0]["times_as_fast"] == 1
    else:
        assert all(one["accuracy"] == one["accuracy_of_arrays"] for one in found["digits score"])
        assert min(one["pictures_per_second"] for one in found["Pillow"]) > 0
        assert found["rows"][0]["peak_mb"] > 20
