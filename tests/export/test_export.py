"""Export: what is published answers as Keras does; what does not is not published."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from digits.export.source import _same_data
from digits.model.parity import compare
from digits.model.repository import Repository
from digits.train.run_folder import Run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from digits.images.mnist import Mnist

    Digits = Callable[..., subprocess.CompletedProcess[str]]


def test_the_graph_takes_uint8_images_and_names_its_batch_dimension(models: Path) -> None:
    model = onnx.load(models / "digits" / "1" / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import if entry.domain == ""] == [("", 18)]
    (pixels,), (probabilities,) = model.graph.input, model.graph.output
    assert (pixels.name, probabilities.name) == ("pixels", "probabilities")
    assert pixels.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [d.dim_param or d.dim_value for d in pixels.type.tensor_type.shape.dim] == ["batch", 28, 28]
    assert [d.dim_param or d.dim_value for d in probabilities.type.tensor_type.shape.dim] == ["batch", 10]


def test_the_file_carries_what_it_is(models: Path, run_folder: Path, data: Mnist) -> None:
    model = onnx.load(models / "digits" / "1" / "model.onnx")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    report = json.loads((run_folder / "report.json").read_text())
    assert metadata["name"] == "digits"
    assert json.loads(metadata["labels"]) == list("0123456789")
    assert float(metadata["accuracy"]) == pytest.approx(report["test"]["accuracy"], abs=1e-4)
    assert metadata["data_sha256"] == data.sha256
    assert metadata["model_sha256"] == report["model_sha256"]


def test_the_manifest_holds_the_evidence_and_where_it_comes_from(models: Path, data: Mnist) -> None:
    manifest = Repository(models).open().manifest
    evidence = manifest.variants["fp32"]
    assert evidence.max_abs_diff <= 1e-5
    assert 0 < evidence.mean_abs_diff <= evidence.max_abs_diff
    assert evidence.argmax_agreement == 1
    assert evidence.accuracy == pytest.approx(manifest.training["test"]["accuracy"])
    assert evidence.size_bytes == (models / "digits" / "1" / "model.onnx").stat().st_size
    assert (manifest.test_images, manifest.test_sha256) == (1000, data.test_sha256)
    assert {"keras", "onnx", "onnxruntime", "tf2onnx"} <= manifest.provenance["versions"].keys()


def test_a_second_export_is_version_2_with_the_same_bytes(
    digits: Digits, models: Path, run_folder: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(models, tmp_path / "models")
    completed = digits("export", run_folder, "--models", copy)
    assert completed.returncode == 0, completed.stderr
    assert "1,000 of 1,000" in completed.stdout
    assert f"published: {copy}/digits/2" in completed.stdout
    first, second = (copy / "digits" / version / "model.onnx" for version in "12")
    assert first.read_bytes() == second.read_bytes()


def test_a_model_that_fails_parity_is_not_published_and_the_worst_image_is_named(
    digits: Digits, run_folder: Path, tmp_path: Path
) -> None:
    completed = digits("export", run_folder, "--models", tmp_path, "--max-abs-diff", 0)
    assert completed.returncode == 1
    line = completed.stderr.splitlines()[-1]
    assert line.startswith("digits: not published: max |dp| ")
    assert "test image " in line
    assert list((tmp_path / "digits").iterdir()) == []


def test_a_damaged_model_is_one_line_and_publishes_nothing(digits: Digits, run_folder: Path, tmp_path: Path) -> None:
    run = shutil.copytree(run_folder, tmp_path / "run")
    content = bytearray((run / "model.keras").read_bytes())
    content[len(content) // 2] ^= 1
    (run / "model.keras").write_bytes(content)
    completed = digits("export", run, "--models", tmp_path / "models")
    assert completed.returncode == 1
    assert completed.stderr.splitlines()[-1].startswith(f"digits: {run}/model.keras: damaged")
    assert "Traceback" not in completed.stderr
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda report: report.pop("data"), "not a training report ('data'); train again"),
        (lambda report: report["data"].update(sha256="0" * 64), "not the data of this run any more; give --data"),
        (lambda report: report["test"].update(loss=None), "its training diverged, the test loss is not finite; train"),
    ],
)
def test_a_run_with_another_test_set_or_no_finite_loss_is_refused(
    digits: Digits,
    run_folder: Path,
    tmp_path: Path,
    damage: Callable[[dict[str, dict[str, Any]]], object],
    expected: str,
) -> None:
    run = shutil.copytree(run_folder, tmp_path / "run")
    report = json.loads((run / "report.json").read_text())
    damage(report)
    (run / "report.json").write_text(json.dumps(report))
    completed = digits("export", run, "--models", tmp_path / "models")
    assert completed.returncode == 1
    assert expected in completed.stderr.splitlines()[-1]


def test_a_folder_that_is_no_run_says_how_to_make_one(digits: Digits, tmp_path: Path) -> None:
    completed = digits("export", tmp_path, "--models", tmp_path / "models")
    assert completed.stderr == (
        f"digits: {tmp_path}: not a run folder (No such file or directory: report.json); make one with `digits train`\n"
    )


def test_parity_finds_the_worst_image_and_every_flip() -> None:
    reference = np.full((5, 10), 0.05, np.float32)
    reference[:, 3] = 0.55
    answers = reference.copy()
    answers[2, 7] += 0.004
    answers[4, 3], answers[4, 8] = 0.3, 0.3001
    parity = compare(answers, reference)
    assert parity.worst == 4
    assert parity.flipped.tolist() == [4]
    assert parity.argmax_agreement == 0.8
    assert parity.max_abs_diff == pytest.approx(0.25, abs=1e-3)


def test_a_nan_is_never_parity() -> None:
    reference = np.full((2, 10), 0.1, np.float32)
    answers = reference.copy()
    answers[1, 0] = np.nan
    parity = compare(answers, reference)
    assert (parity.max_abs_diff, parity.worst) == (np.inf, 1)


CONVERT = """
import keras, numpy as np, sys
from digits.export.preprocessing import Preprocessing, attach
from digits.export.keras_model import predict, to_onnx
from digits.model.engine import Engine

pixels = np.random.default_rng(0).integers(0, 256, (500, 28, 28), np.uint8)
for activation in sys.argv[1:]:
    layers = [keras.layers.Dense(nodes, activation) for nodes in (48, 24)]
    model = keras.Sequential([keras.Input((784,)), *layers, keras.layers.Dense(10, "softmax")])
    model.set_weights([weights * 3 for weights in model.get_weights()])
    engine = Engine(attach(to_onnx(model), Preprocessing()).SerializeToString(), provider="cpu")
    assert np.abs(engine.run(pixels) - predict(model, pixels)).max() < 1e-5, activation
"""


def test_activations_that_onnx_has_no_operator_for_are_made_of_others(environment: dict[str, str]) -> None:
    command = [sys.executable, "-c", CONVERT, "gelu", "celu", "silu"]
    completed = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert completed.returncode == 0, completed.stderr


def test_a_runs_data_are_read_as_its_training_read_them(tmp_path: Path, data: Mnist) -> None:
    """By the settings in its report, of which an older one has none."""
    path = tmp_path / "inverted.npz"
    images = {name: 255 - getattr(data, name).swapaxes(1, 2) / 1.0 for name in ("x_train", "x_test")}
    np.savez(path, **images, y_train=data.y_train, y_test=data.y_test)
    told = {"pixel_range": "0-255", "invert": True, "transpose": True, "epochs": 10}
    for location, settings in ((str(path), told), ("embedded", {"epochs": 10})):
        report = {"data": {"location": location, "sha256": data.sha256}, "settings": settings}
        assert _same_data(Run(tmp_path, report), None).sha256 == data.sha256
