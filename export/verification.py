"""Verification: the acceptance checks again, on this host. Works where only digits-serving[serve] is installed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from digits.export.errors import ExportError
from digits.export.evidence import acceptance_table, evidence, seconds_per_image
from digits.export.settings import ImportSettings
from digits.images import mnist
from digits.model.acceptance import failure, measure
from digits.model.engine import Engine
from digits.model.golden import Golden, deviation
from digits.model.manifest import FP32, INT8
from digits.model.parity import compare
from digits.model.repository import MANIFEST, open_repository, open_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from digits.export.settings import VerifySettings
    from digits.model.limits import Limits
    from digits.model.repository import ModelVersion

    Pixels = NDArray[np.uint8]
    Probabilities = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is verified.

    Attributes:
        files: The ONNX files by variant.
        model: The version that they are of, if they are of one.
        golden: Its golden set.
    """

    files: dict[str, Path]
    model: ModelVersion | None = None
    golden: Golden | None = None


@dataclass(frozen=True, slots=True)
class Examination:
    """What is asked, and what it is held against.

    Attributes:
        images: What the images are, for people.
        pixels: uint8 [n, 28, 28].
        labels: uint8 [n], or None where they are not known.
        reference: float32 [n, 10].
        against: Whose answers the reference is.
        sample: The images are not the test set that the version was published with.
    """

    images: str
    pixels: Pixels
    labels: NDArray[np.uint8] | None
    reference: Probabilities
    against: str
    sample: bool = False


def verify(target: str, settings: VerifySettings, limits: Limits, imported: ImportSettings) -> list[str]:
    """Runs the acceptance checks on a version or on an ONNX file, and prints their table.

    Args:
        target: A version's number in the repository, a version's folder, or an ONNX file, in a version or not.
        settings: On what, and against what.
        limits: How near it has to be. On the golden set, whose images are the hardest, int8 is compared with its own
            answers instead. Another test set than the one it was published with is judged as a sample.
        imported: What the model that is compared with takes and gives, if it is not a run's.

    Returns:
        What failed, a line each.

    Raises:
        ModelError: there is no such version, it is damaged, or ONNX Runtime cannot run it.
        ExportError: there is nothing of that name, or the model to compare with cannot be read.
        RunError: the folder to compare with is not a finished run's.
        DataError: the data given cannot be read.
    """
    subject = _resolve(target, settings)
    engines = {name: Engine(file, provider="cpu") for name, file in subject.files.items()}
    asked, failed = _examination(subject, engines, settings, limits, imported)
    measured = {
        name: measure(engine.run, asked.pixels, asked.labels, asked.reference) for name, engine in engines.items()
    }
    seconds = seconds_per_image({name: engine.run for name, engine in engines.items()}, asked.pixels)
    found = {name: evidence(subject.files[name], "", result, seconds[name]) for name, result in measured.items()}
    print(acceptance_table(asked.against, found, {}, len(asked.pixels), asked.images), flush=True)
    on_golden = asked.labels is None
    for name, engine in engines.items():
        why = _complaint(subject.files[name]) or _self_test(name, engine, subject.golden)
        result = measured[name]
        own = name == INT8 and on_golden
        why = why or (result.batch_dependence if own else failure(name, result, limits, sample=asked.sample))
        if why is not None:
            failed.append(f"{name}: {why}")
    return failed


def _self_test(name: str, engine: Engine, golden: Golden | None) -> str | None:
    """Why a variant does not answer the golden set as it did where it was exported."""
    if golden is None:
        return None
    return deviation(engine.run, golden, name)


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


def _resolve(target: str, settings: VerifySettings) -> Subject:
    path = Path(target)
    only = None
    if target.isdecimal() and not path.exists():
        model = open_repository(settings.models).open(int(target))
    elif path.is_dir():
        model = open_version(path)
    elif path.is_file() and (path.parent / MANIFEST).is_file():
        model, only = open_version(path.parent), path.name
    elif path.is_file():
        return Subject({Engine(path, provider="cpu").metadata.get("precision", FP32): path})
    else:
        raise ExportError(f"{target}: no version's number, no version's folder and no ONNX file")
    variants = model.manifest.variants.items()
    files = {name: model.file(name) for name, variant in variants if only in {None, variant.file}}
    if not files:
        raise ExportError(f"{path}: no ONNX file of its version; say {path.parent} for all of it")
    return Subject(files, model, Golden.read(model.golden))


def _examination(
    subject: Subject,
    engines: Mapping[str, Engine],
    settings: VerifySettings,
    limits: Limits,
    imported: ImportSettings,
) -> tuple[Examination, list[str]]:
    """What is asked; and what is wrong with the reference itself."""
    golden, model = subject.golden, subject.model
    if golden is not None and model is not None and settings.test_data is None:
        asked = Examination("golden images", golden.pixels, None, golden.reference, model.manifest.reference)
    else:
        data = mnist.load(settings.test_data, settings, download=False)
        first = next(iter(engines.values()))
        against, sample = "itself, for want of --against", False
        if model is not None:
            sample = data.test_sha256 != model.manifest.test_sha256
            first, against = Engine(model.file(FP32), provider="cpu"), "its fp32"
            if sample:
                print(f"note: not the test set it was published with, which was {model.manifest.test_source}")
        images = f"test images of {data.source}"
        asked = Examination(images, data.x_test, data.y_test, first.run(data.x_test), against, sample)
    if settings.against is None:
        if imported != ImportSettings():
            raise ExportError("--input-scale, --mean, --std and --output are for the model of --against; say which")
        return asked, []
    from digits.export.source import read_model

    answers = read_model(settings.against, imported).predict(asked.pixels)
    wrong = []
    if asked.labels is None and not (off := compare(answers, asked.reference).max_abs_diff) <= limits.max_abs_diff:
        wrong = [f"{settings.against}: not what was exported, its answers are off the recorded ones by {off:.2g}"]
    return replace(asked, reference=answers, against=str(settings.against)), wrong
