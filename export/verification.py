"""Verification: the gates again, on this host. Works where only digits[serve] is installed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from digits.export.errors import ExportError
from digits.export.evidence import evidence, gate_table, seconds_per_image
from digits.images import mnist
from digits.model import builtin
from digits.model.engine import Engine
from digits.model.errors import ModelError
from digits.model.gates import Measured, failure, measure
from digits.model.golden import SIZE, Golden, check_answers
from digits.model.manifest import FP32, INT8
from digits.model.repository import MANIFEST, open_version

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from digits.export.settings import VerifySettings
    from digits.model.limits import Limits
    from digits.model.repository import ModelVersion

    Pixels = NDArray[np.uint8]
    Probabilities = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Examination:
    """What is asked, and what it is held against.

    Attributes:
        images: What the images are, and how many, for people.
        pixels: uint8 [n, 28, 28].
        labels: uint8 [n], or None where they are not known.
        reference: float32 [n, 10], or None if the file's own answers are.
        against: Whose answers the reference is.
    """

    images: str
    pixels: Pixels
    labels: NDArray[np.uint8] | None
    reference: Probabilities | None
    against: str


def verify(target: str, settings: VerifySettings, limits: Limits) -> list[str]:
    """Runs the gates on a version or on an ONNX file, and prints their table.

    Args:
        target: A version's number in the repository, a version's folder, or an ONNX file, in a version or not.
        settings: On what, and against what.
        limits: How near it has to be.

    Returns:
        What failed, a line each.

    Raises:
        ModelError: there is no such version, it is damaged, or ONNX Runtime cannot run it.
        ExportError: the Keras model cannot be read.
        DataError: the data given cannot be read.
    """
    model, files = _resolve(target, settings)
    examination = _examination(model, settings)
    golden = Golden.read(model.golden) if model is not None else None
    engines = {name: Engine(file, provider="cpu") for name, file in files.items()}
    reference = examination.reference
    if reference is None:
        reference = next(iter(engines.values())).run(examination.pixels)
    measured = {
        name: measure(engine.run, examination.pixels, examination.labels, reference, what=name)
        for name, engine in engines.items()
    }
    seconds = seconds_per_image({name: engine.run for name, engine in engines.items()}, examination.pixels)
    found = {name: evidence(files[name], "", result, seconds[name]) for name, result in measured.items()}
    print(gate_table(examination.against, found, {}, examination.images), flush=True)
    failed = []
    for name, engine in engines.items():
        compared = limits if settings.test_data is not None or settings.against is not None else None
        if name == INT8 and len(examination.pixels) <= SIZE:
            compared = None  # a percentage of the hardest images says nothing; its own answers on them do
        why = _complaint(files[name]) or _failure(name, engine, measured[name], golden, compared)
        if why is not None:
            failed.append(f"{name}: {why}")
    return failed


def _failure(name: str, engine: Engine, measured: Measured, golden: Golden | None, limits: Limits | None) -> str | None:
    """Why a variant fails: by its self-test, by its batches, or by the limits if they apply."""
    if golden is not None:
        try:
            check_answers(engine.run, golden, name, what=name)
        except ModelError as error:
            return str(error)
    return measured.invariance if limits is None else failure(name, measured, limits)


def _complaint(file: Path) -> str | None:
    """onnx.checker's, where onnx is installed; a serving host has none."""
    try:
        import onnx
    except ImportError:
        return None
    try:
        onnx.checker.check_model(str(file), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return f"onnx.checker: {str(error).strip().splitlines()[0]}"
    return None


def _resolve(target: str, settings: VerifySettings) -> tuple[ModelVersion | None, dict[str, Path]]:
    """The version, if it is one, and the ONNX files by variant."""
    path = Path(target)
    if target.isdecimal() and not path.exists():
        model = builtin.repository(settings.models).open(int(target))
    elif path.is_dir():
        model = open_version(path)
    elif (path.parent / MANIFEST).is_file() and path.is_file():
        model = open_version(path.parent)
        named = [name for name, variant in model.manifest.variants.items() if variant.file == path.name]
        if not named:
            raise ExportError(f"{path}: no ONNX file of its version; say {path.parent} for all of it")
        return model, {named[0]: path}
    elif path.is_file():
        return None, {Engine(path, provider="cpu").metadata.get("precision", FP32): path}
    else:
        raise ExportError(f"{target}: no version's number, no version's folder and no ONNX file")
    return model, {name: model.file(name) for name in model.manifest.variants}


def _examination(model: ModelVersion | None, settings: VerifySettings) -> Examination:
    if model is not None and settings.test_data is None:
        golden = Golden.read(model.golden)
        images, pixels, labels = f"{len(golden.pixels)} golden images", golden.pixels, None
        reference: Probabilities | None = golden.reference
        against = model.manifest.reference
    else:
        data = mnist.load(settings.test_data, download=False)
        if model is not None and data.test_sha256 != model.manifest.test_sha256:
            print(f"note: not the test set it was published with, which was {model.manifest.test_source}")
        images, pixels, labels = f"{len(data.x_test):,} test images of {data.source}", data.x_test, data.y_test
        reference, against = None, "itself"
        if model is not None:
            reference, against = Engine(model.file(FP32), provider="cpu").run(pixels), FP32
    if settings.against is not None:
        from digits.export.graph import load_keras, predict

        reference, against = predict(load_keras(settings.against), pixels), str(settings.against)
    return Examination(images, pixels, labels, reference, against)
