"""Verification: the acceptance checks again, on this host. Works where only digits-serving[serve] is installed."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from digits.export.checker import checker_fault
from digits.export.errors import ExportError
from digits.export.evidence import acceptance_table, evidence, measure_all
from digits.export.settings import ImportSettings, VerifySettings
from digits.images import mnist
from digits.model.acceptance import failure
from digits.model.engine import Engine
from digits.model.golden import Golden, Pixels, Probabilities, deviation
from digits.model.limits import Limits
from digits.model.manifest import FP32, INT8
from digits.model.parity import compare
from digits.model.repository import MANIFEST, ModelVersion, open_repository, open_version


class Questions(NamedTuple):
    """Images uint8 [n, 28, 28], named for people, and the answers to compare with, float32 [n, 10].

    The labels, uint8 [n], are None if they are not known. The images are a sample if they are another test set than the
    one that the version was published with.
    """

    images: str
    pixels: Pixels
    labels: NDArray[np.uint8] | None
    reference: Probabilities
    against: str
    sample: bool = False


def verify(target: str, settings: VerifySettings, limits: Limits, imported: ImportSettings) -> list[str]:
    """Runs the acceptance checks on a version or on an ONNX file, and prints their table.

    The target is a version's number in the repository, a version's folder, or an ONNX file, in a version or not.
    `imported` is what the model to compare with takes and gives, if it is not a run's. On the golden set, whose images
    are the hardest, int8 is compared with its own answers and not by the limits. Another test set than the one it was
    published with is judged as a sample.

    Returns:
        What failed, a line each.

    Raises:
        ModelError: there is no such version, it is damaged, or ONNX Runtime cannot run it.
        ExportError: there is nothing of that name, or the model to compare with cannot be read.
        RunError: the folder to compare with is not a finished run's.
        DataError: the data cannot be read.
    """
    files, model = _resolve(target, settings)
    golden = Golden.read(model.golden) if model else None
    engines = {name: Engine(file, provider="cpu") for name, file in files.items()}
    questions = _questions(model, golden, next(iter(engines.values())), settings)
    questions, failed = _compared(questions, settings, limits, imported)
    measured, times = measure_all(engines, questions.pixels, questions.labels, questions.reference, {})
    found = {name: evidence(files[name], "", result, times[name]) for name, result in measured.items()}
    print(acceptance_table(questions.against, found, {}, len(questions.pixels), questions.images), flush=True)
    for name, result in measured.items():
        broken = checker_fault(files[name]) or (deviation(engines[name].answer, golden, name) if golden else None)
        hardest = name == INT8 and questions.labels is None
        off = result.batch_dependence if hardest else failure(name, result, limits, sample=questions.sample)
        if why := broken or off:
            failed.append(f"{name}: {why}")
    return failed


def _resolve(target: str, settings: VerifySettings) -> tuple[dict[str, Path], ModelVersion | None]:
    """The ONNX files by variant, and their version if they are in one."""
    path = Path(target)
    only = None
    if target.isdecimal() and not path.exists():
        model = open_repository(settings.models).open(int(target))
    elif path.is_dir():
        model = open_version(path)
    elif path.is_file() and (path.parent / MANIFEST).is_file():
        model, only = open_version(path.parent), path.name
    elif path.is_file():
        return {Engine(path, provider="cpu").metadata.get("precision", FP32): path}, None
    else:
        raise ExportError(f"{target}: not a version's number, a version's folder or an ONNX file")
    variants = model.manifest.variants.items()
    files = {name: model.file(name) for name, variant in variants if only in {None, variant.file}}
    if not files:
        raise ExportError(f"{path}: not an ONNX file of its version; say {path.parent} for all of it")
    return files, model


def _questions(model: ModelVersion | None, golden: Golden | None, own: Engine, settings: VerifySettings) -> Questions:
    """The golden set and its recorded answers; or a test set, answered by the version's fp32 or by the file's own."""
    if model and golden and settings.test_data is None:
        return Questions("golden images", golden.pixels, None, golden.reference, model.manifest.reference)
    data = mnist.load(settings.test_data, settings, download=False)
    engine, against, sample = own, "itself (no --against)", False
    if model:
        engine, against = Engine(model.file(FP32), provider="cpu"), "its fp32"
        if sample := data.test_sha256 != model.manifest.test_sha256:
            print(f"note: not the test set it was published with, which was {model.manifest.test_source}")
    images = f"test images of {data.source}"
    return Questions(images, data.x_test, data.y_test, engine.run(data.x_test), against, sample)


def _compared(
    questions: Questions, settings: VerifySettings, limits: Limits, imported: ImportSettings
) -> tuple[Questions, list[str]]:
    """The questions with the answers of the model of --against, if there is one, and what is wrong with these."""
    if settings.against is None:
        if imported != ImportSettings():
            raise ExportError("--input-scale, --mean, --std and --output are for the model of --against; say which")
        return questions, []
    from digits.export.source import read_model

    answers = read_model(settings.against, imported).predict(questions.pixels)
    wrong = []
    off = compare(answers, questions.reference).max_abs_diff
    if questions.labels is None and not off <= limits.max_abs_diff:
        wrong = [f"{settings.against}: not what was exported, its answers are off the recorded ones by {off:.2g}"]
    return questions._replace(reference=answers, against=str(settings.against)), wrong
