"""Export of a run: the published version answers as Keras does; a model that does not is not published."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from digits.export.errors import ExportError, ParityError
from digits.export.publishing import export
from digits.export.settings import ExportSettings, ImportSettings
from digits.export.source import _same_data, read_source
from digits.images.mnist import Mnist
from digits.model.limits import Limits
from digits.model.parity import compare
from digits.model.repository import Repository
from digits.train.errors import RunError
from digits.train.run_folder import Run

Digits = Callable[..., subprocess.CompletedProcess[str]]


def test_every_file_has_digits_signature_and_describes_itself(models: Path, run_folder: Path, data: Mnist) -> None:
    report = json.loads((run_folder / "report.json").read_text())
    for name, file in (("fp32", "model.onnx"), ("int8", "model.int8.onnx"), ("fp16", "model.fp16.onnx")):
        model = onnx.load(models / "digits" / "1" / file)
        onnx.checker.check_model(model, full_check=True)
        assert [entry.version for entry in model.opset_import if entry.domain == ""] == [18]
        signature = {
            node.name: (node.type.tensor_type.elem_type, [d.dim_param or d.dim_value for d in node_shape(node)])
            for node in (*model.graph.input, *model.graph.output)
        }
        assert signature == {
            "pixels": (onnx.TensorProto.UINT8, ["batch", 28, 28]),
            "probabilities": (onnx.TensorProto.FLOAT, ["batch", 10]),
            "novelty": (onnx.TensorProto.FLOAT, ["batch"]),
        }
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        assert (metadata["name"], metadata["precision"]) == ("digits", name)
        assert json.loads(metadata["labels"]) == list("0123456789")
        assert float(metadata["accuracy"]) == pytest.approx(report["test"]["accuracy"], abs=1e-4)
        assert metadata["data_sha256"] == data.sha256
        assert metadata["model_sha256"] == report["model_sha256"]


def node_shape(node: onnx.ValueInfoProto) -> Any:
    return node.type.tensor_type.shape.dim


def test_the_manifest_holds_the_evidence_and_its_origin(models: Path, data: Mnist) -> None:
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
    completed = digits("export", run_folder, "--models", copy, "--variants", "fp16")
    assert completed.returncode == 0, completed.stderr
    assert "1,000 of 1,000" in completed.stdout
    assert f"published: {copy}/digits/2" in completed.stdout
    for file in ("model.onnx", "model.fp16.onnx"):
        first, second = (copy / "digits" / version / file for version in "12")
        assert first.read_bytes() == second.read_bytes()


def test_a_model_that_fails_parity_is_not_published_and_the_worst_image_is_named(
    run_folder: Path, tmp_path: Path
) -> None:
    settings = ExportSettings(models=tmp_path, variants=())
    with pytest.raises(ParityError, match=r"not published: max \|dp\| .*test image ") as error:
        export(run_folder, settings, Limits(max_abs_diff=0), ImportSettings())
    assert "\n" not in str(error.value)
    assert list((tmp_path / "digits").iterdir()) == []


DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    r"not a training report \('data'\); train again": lambda report: report.pop("data"),
    "not the data of this run any more; give --data": lambda report: report["data"].update(sha256="0" * 64),
    "its training diverged, the test loss is not finite; train": lambda report: report["test"].update(loss=None),
    r"/run/model\.keras: damaged": lambda report: report.update(model_sha256="0" * 64),
}


@pytest.mark.parametrize("expected", DAMAGES)
def test_a_damaged_or_diverged_run_is_refused_in_one_line(run_folder: Path, tmp_path: Path, expected: str) -> None:
    run = shutil.copytree(run_folder, tmp_path / "run")
    report = json.loads((run / "report.json").read_text())
    DAMAGES[expected](report)
    (run / "report.json").write_text(json.dumps(report))
    with pytest.raises((RunError, ExportError), match=expected) as error:
        export(run, ExportSettings(models=tmp_path / "models"), Limits(), ImportSettings())
    assert "\n" not in str(error.value)
    assert not (tmp_path / "models").exists()


def test_a_folder_that_is_not_a_run_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(RunError) as error:
        read_source(tmp_path, None, ImportSettings())
    assert str(error.value) == (
        f"{tmp_path}: not a run folder (No such file or directory: report.json); make one with `digits train`"
    )


def test_parity_finds_the_worst_image_and_every_flip() -> None:
    reference = np.full((5, 10), 0.05, np.float32)
    reference[:, 3] = 0.55
    answers = reference.copy()
    answers[2, 7] += 0.004
    answers[4, 3], answers[4, 8] = 0.3, 0.3001
    parity = compare(answers, reference)
    assert (parity.worst, parity.flipped.tolist(), parity.argmax_agreement) == (4, [4], 0.8)
    assert parity.max_abs_diff == pytest.approx(0.25, abs=1e-3)
    answers[1, 0] = np.nan
    parity = compare(answers, reference)
    assert (parity.max_abs_diff, parity.worst) == (np.inf, 1)


def test_a_runs_data_are_read_as_its_training_read_them(tmp_path: Path, data: Mnist) -> None:
    """With the settings in its report; an older report has none."""
    path = tmp_path / "inverted.npz"
    images = {name: 255 - getattr(data, name).swapaxes(1, 2) / 1.0 for name in ("x_train", "x_test")}
    np.savez(path, **images, y_train=data.y_train, y_test=data.y_test)
    told = {"pixel_range": "0-255", "invert": True, "transpose": True, "epochs": 10}
    for location, settings in ((str(path), told), ("embedded", {"epochs": 10})):
        report = {"data": {"location": location, "sha256": data.sha256}, "settings": settings}
        assert _same_data(Run(tmp_path, report), None).sha256 == data.sha256
