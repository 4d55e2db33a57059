"""The benchmark of parity: its numbers are the real ones, and what disagrees is found, told and kept."""

import json
import math
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.keras_model import keras_model
from digits.benchmarks.parity.server import CALLS, differing
from digits.benchmarks.parity.variant import agreement_interval, extremes, histogram, image_sets, mcnemar
from digits.images.mnist import Mnist
from digits.lab import comparison
from digits.model.checksums import write_checksums
from digits.model.engine import Engine
from digits.model.golden import Golden
from digits.model.parity import compare
from digits.model.repository import Repository
from digits.train.evaluation import read_predictions

Damage = Callable[[str], Path]

SETS = ["test images", "all 0", "all 255", "noise", "one pixel"]


@pytest.fixture
def damaged(models: Path, tmp_path: Path) -> Damage:
    """Makes a repository in which a variant is drawn to the digit 0; what it answers now is its golden answer."""

    def make(variant: str) -> Path:
        root = tmp_path / "damaged"
        shutil.copytree(models, root)
        version = Repository(root).open()
        file = version.file(variant)
        model = onnx.load(file)
        (bias,) = [tensor for tensor in model.graph.initializer if list(tensor.dims) == [10]]
        values = numpy_helper.to_array(bias) + 5 * np.eye(10, dtype=np.float32)[0]
        bias.CopyFrom(numpy_helper.from_array(values, bias.name))
        onnx.save(model, file)
        golden = Golden.read(version.golden)
        golden.answers[variant] = Engine(file, provider="cpu").run(golden.pixels)
        golden.novelty.pop(variant, None)
        golden.write(version.golden)
        write_checksums(version.folder)
        return root

    return make


def measurements(result: dict[str, Any], **load: object) -> list[dict[str, Any]]:
    """Those that were asked so."""
    return [one for one in result["measurements"] if load.items() <= one["load"].items()]


def test_the_interval_is_the_exact_one() -> None:
    """Of Clopper and Pearson: at its ends, what was seen or more of it has a chance of 2.5 %."""
    low, high = agreement_interval(17, 20)
    assert sum(math.comb(20, k) * low**k * (1 - low) ** (20 - k) for k in range(17, 21)) == pytest.approx(0.025)
    assert sum(math.comb(20, k) * high**k * (1 - high) ** (20 - k) for k in range(18)) == pytest.approx(0.025)
    assert agreement_interval(10_000, 10_000) == [pytest.approx(0.025 ** (1 / 10_000)), 1]


def test_mcnemar_counts_what_only_one_classifies_correctly() -> None:
    eye = np.eye(10, dtype=np.float32)
    labels = np.zeros(20, np.uint8)
    keras = eye[[0] * 12 + [1] * 8]
    variant = eye[[1] * 9 + [0] * 3 + [0] * 1 + [2] * 7]
    assert mcnemar(variant, keras, labels) == {"gained": 1, "lost": 9, "p": pytest.approx(comparison.mcnemar(1, 9))}
    assert mcnemar(keras, keras, labels) == {"gained": 0, "lost": 0, "p": 1}


def test_the_histogram_counts_every_probability_once() -> None:
    keras = np.full((3, 10), 0.5, np.float32)
    variant = keras.copy()
    variant[0, :3] += np.float32(2**-10), np.float32(2**-10), np.float32(0.5)
    variant[1, 0] = np.nan
    found = histogram(variant, keras)
    by_edge = dict(zip(found["edges"], found["counts"], strict=False))
    assert {edge: count for edge, count in by_edge.items() if count} == {4.642e-4: 2, 0.4642: 2}
    nearly = histogram(np.array([[1e-13]], np.float32), np.zeros((1, 1), np.float32))
    assert (found["equal"], nearly["below"], nearly["equal"], sum(nearly["counts"])) == (26, 1, 0, 0)


def test_the_extremes_are_what_their_names_say() -> None:
    nothing, ink, noise, one_pixel = (images.pixels for images in extremes())
    assert (nothing.max(), ink.min(), noise.min(), noise.max()) == (0, 255, 0, 255)
    assert np.array_equal(one_pixel.reshape(-1, 784), 255 * np.eye(784))
    assert np.array_equal(extremes()[2].pixels, noise)


def test_part_of_a_test_set_and_another_test_set_are_samples(data: Mnist) -> None:
    """A quick run takes the first 2,000 images."""
    more = replace(data, x_test=np.concatenate([data.x_test] * 3), y_test=np.concatenate([data.y_test] * 3))
    for given, published, quick, sample in (
        (data, data.test_sha256, True, False),
        (data, "another", False, True),
        (more, more.test_sha256, True, True),
        (more, more.test_sha256, False, False),
    ):
        sets = image_sets(given, published, quick=quick)
        assert [images.sample for images in sets] == [sample, False, False, False, False]


@pytest.mark.parametrize("call", CALLS)
def test_one_bit_of_one_answer_is_seen(server: Any, models: Path, test_digits: NDArray[np.uint8], call: str) -> None:
    pixels = test_digits[:100]
    answers = Engine(Repository(models).open().file("int8"), provider="cpu").run(pixels)
    assert differing(server.address, call, pixels, answers) == 0
    answers[71, 3] = np.nextafter(answers[71, 3], np.float32(1))
    assert differing(server.address, call, pixels, answers) == 1


def test_keras_is_the_runs_own_or_rebuilt(models: Path, run_folder: Path, test_digits: NDArray[np.uint8]) -> None:
    version = Repository(models).open()
    recorded = read_predictions(run_folder / "predictions.npz").probabilities
    for run in (run_folder, None):
        keras = keras_model(version, run)
        assert keras.off <= 1e-5
        assert compare(keras.answer(test_digits), recorded).max_abs_diff <= 1e-5


def test_another_keras_is_refused(models: Path, damaged: Damage, tmp_path: Path) -> None:
    version = Repository(models).open()
    with pytest.raises(BenchmarkError, match=r"model.keras: cannot be read \(No such file or directory\); give a run"):
        keras_model(version, tmp_path)
    (tmp_path / "model.keras").write_bytes(b"another one")
    with pytest.raises(BenchmarkError, match="version 1 was not exported from it"):
        keras_model(version, tmp_path)
    other = Repository(damaged("fp32")).open()
    with pytest.raises(BenchmarkError, match=r"differs from the answers recorded .* run `digits verify`"):
        keras_model(other, None)
    manifest = other.folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"reference": "torch.onnx", "training": {}}))
    write_checksums(other.folder)
    with pytest.raises(BenchmarkError, match=r"not from a Keras run, but from torch.onnx"):
        keras_model(Repository(tmp_path / "damaged").open(), None)


@pytest.mark.slow
def test_what_agrees(bench: Callable[..., Any], models: Path, run_folder: Path) -> None:
    """Keras's answers to the test images are in the run, and what was measured of them in the manifest."""
    file, measured, printed = bench("parity", run_folder, "--models", models, "--data", "embedded")
    assert "fp16 is not served on this CPU: fp16 runs on CUDA only" in printed
    assert f"measured: {file}" in printed
    assert printed.endswith("\neverything that is served here agrees\n")
    assert measured["findings"]["failed"] == []
    assert measured["findings"]["reference"]["origin"] == "model.keras of the run"
    keras = read_predictions(run_folder / "predictions.npz")
    for variant, recorded in Repository(models).open().manifest.variants.items():
        found = [one for one in measurements(measured, where="in process") if one["system"] == variant]
        assert [one["load"]["images"] for one in found] == SETS
        assert all(one["batch_invariant"] for one in found)
        (numbers,), flipped = found[0]["repeats"], found[0]["flipped"]
        assert numbers["keras_correct"] == len(keras.correct)
        assert numbers["correct"] == round(recorded.accuracy * 1000)
        assert numbers["same_digit"] == round(recorded.argmax_agreement * 1000) == 1000 - len(flipped)
        assert numbers["max_abs_diff"] == pytest.approx(recorded.max_abs_diff, abs=1e-5)
        for flip in flipped:
            assert flip["keras"] == keras.digits[flip["image"]] != flip["variant"]
            assert flip["label"] == keras.truth[flip["image"]]
    classify = measurements(measured, where="server", call="Classify")
    served = [(one["system"], one["load"]["transport"]) for one in classify]
    assert served == [(name, over) for name in ("fp32", "int8") for over in ("native", "grpcio")]
    over_server = measurements(measured, where="server", count=2786)
    assert len(over_server) == len(served) * len(CALLS)
    assert all(one["repeats"] == [{"differing_images": 0}] for one in over_server)


def test_the_bundled_model_quickly(bench: Callable[..., Any]) -> None:
    file, result, printed = bench("parity", "--quick", "--data", "embedded")
    for name in ("flipped", "histogram"):
        assert file.with_name(f"parity-{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "note: not the test set it was published with, which was all of MNIST" in printed
    assert result["command"] == "digits bench parity --quick"
    assert {one["load"]["transport"] for one in measurements(result, where="server") if one["repeats"]} == {"native"}


@pytest.mark.parametrize("variant", [pytest.param("fp32", marks=pytest.mark.slow), "int8"])
def test_a_variant_that_disagrees_is_a_failure(
    refused: Callable[..., str], damaged: Damage, run_folder: Path, tmp_path: Path, variant: str
) -> None:
    """int8 passes its self-test, since its golden answers are its own; fp32 fails it, and counts though not served."""
    file = tmp_path / "parity.json"
    options = ("--models", damaged(variant), "--data", "embedded", "--quick", "--out", file)
    line, result = refused("parity", run_folder, *options).strip(), json.loads(file.read_text())
    assert line.startswith(f"digits: {variant}, test images: ")
    assert result["findings"]["failed"][0] in line
    if variant == "int8":
        assert "of 1,000 test images get another digit, and " in line
        (int8,) = [one for one in measurements(result, images="test images") if one["system"] == "int8"]
        assert np.mean([flip["variant"] == 0 for flip in int8["flipped"]]) > 0.8  # it has a few flips of its own
    else:
        failed = result["findings"]["failed"]
        assert f"(and {len(failed) - 1} more, see {file})" in line
        assert any(said.startswith("fp32 is not served on this CPU: on this host golden image ") for said in failed)


@pytest.mark.slow
def test_a_server_that_dies_keeps_what_was_measured(ended: Callable[..., Any], tmp_path: Path) -> None:
    def kill(_process: object, children: list[int]) -> None:
        for server in children:
            os.kill(server, signal.SIGKILL)

    found = ended("parity", "--data", "embedded", until="over native, Classify ", end=kill)
    assert (found.code, found.error.count("\n")) == (1, 1)
    assert f"kept what was measured: {tmp_path / 'parity.partial.json'}" in found.printed
    assert [one["load"]["images"] for one in measurements(found.partial, where="in process")][:5] == SETS
