"""The acceptance on all of MNIST: the default settings, the whole test set. Minutes, not seconds."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from digits.model.repository import Repository

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("DIGITS_DATA" not in os.environ, reason="DIGITS_DATA does not say where all of MNIST is"),
]
Train = Callable[..., dict[str, Any]]


@pytest.fixture
def train(digits: Callable[..., subprocess.CompletedProcess[str]]) -> Train:
    """Trains on all of MNIST and gives the report."""

    def run(out: Path, *arguments: object) -> dict[str, Any]:
        completed = digits("train", "--out", out, *arguments, env={"DIGITS_DATA": os.environ["DIGITS_DATA"]})
        assert completed.returncode == 0, completed.stderr
        report: dict[str, Any] = json.loads((out / "report.json").read_text())
        return report

    return run


def test_the_defaults_reach_97_7_percent_on_average_and_export_without_a_flip(
    train: Train, digits: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    reports = [train(tmp_path / f"run-{seed}", "--seed", seed) for seed in range(3)]
    for report in reports:
        assert report["data"]["images"] == {"train": 54_000, "validation": 6_000, "test": 10_000}
    assert mean(report["test"]["accuracy"] for report in reports) >= 0.977
    exported = digits("export", tmp_path / "run-0", "--models", tmp_path / "models")
    assert exported.returncode == 0, exported.stderr
    assert "10,000 of 10,000" in exported.stdout
    evidence = Repository(tmp_path / "models").open().manifest.variants["fp32"]
    assert evidence.max_abs_diff <= 1e-5
    assert evidence.argmax_agreement == 1


@pytest.mark.parametrize(
    "network", ["32 relu", "1024,512,256 relu", "512,256 tanh", "512,256 gelu", f"{','.join(['64'] * 10)} relu"]
)
def test_any_network_is_exported_with_int8_or_with_the_reason_why_not(
    train: Train, digits: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, network: str
) -> None:
    layers, activation = network.split()
    train(tmp_path / "run", "--layers", layers, "--activation", activation, "--epochs", 4)
    exported = digits("export", tmp_path / "run", "--models", tmp_path / "models")
    assert exported.returncode == 0, exported.stderr
    manifest = Repository(tmp_path / "models").open().manifest
    assert manifest.variants["fp32"].argmax_agreement == 1
    assert manifest.variants["fp32"].max_abs_diff <= 1e-5
    if "int8" in manifest.left_out:
        assert "test images" in manifest.left_out["int8"]
    else:
        assert manifest.variants["int8"].argmax_agreement >= 0.999


@pytest.mark.timeout(3600)
def test_the_best_recipe_reaches_99_25_percent(train: Train, tmp_path: Path) -> None:
    """One seed; the mean of three is in benchmarks/results/recipes.json, made by `make recipes`."""
    report = train(tmp_path / "run", "--recipe", "best")
    assert report["parameters"] == 535_818
    assert report["data"]["images"] == {"train": 58_800, "validation": 1_200, "test": 10_000}
    assert report["test"]["accuracy"] >= 0.9925
