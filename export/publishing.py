"""Publishing, top to bottom: a model becomes a version, with every variant that passes the acceptance checks."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx

from digits.export.calibration import calibrated
from digits.export.errors import ExportError, ParityError, UnsupportedError
from digits.export.evidence import acceptance_table, evidence, measure_all, openvino_run
from digits.export.fp16 import to_fp16
from digits.export.novelty import add_novelty, fitted_threshold
from digits.export.settings import ExportSettings, ImportSettings
from digits.export.source import Source, read_source
from digits.images.digit import CLASSES
from digits.model.acceptance import failure
from digits.model.engine import Engine
from digits.model.errors import ModelError
from digits.model.golden import Golden, Pixels, choose
from digits.model.limits import Limits
from digits.model.manifest import FP16, FP32, INT8, Manifest, NoveltyThreshold
from digits.model.repository import GOLDEN, MANIFEST, ModelVersion, Repository
from digits.storage.provenance import now, provenance

LeftOut = dict[str, str]  # reasons by variant

NAME = "digits"
LABELS = [str(digit) for digit in range(CLASSES)]
FILES = {FP32: "model.onnx", INT8: "model.int8.onnx", FP16: "model.fp16.onnx"}


def export(path: Path, settings: ExportSettings, limits: Limits, imported: ImportSettings) -> ModelVersion:
    """Exports a run or an imported model, checks that it answers as the original does, and publishes it.

    A variant that cannot be made, or fails an acceptance check, is left out with its reason; without fp32 nothing is
    published.

    Raises:
        RunError: the folder is not a finished run's.
        ExportError: the model or its data are damaged or missing; or fp32 fails an acceptance check (ParityError).
    """
    source = read_source(path, settings.data, imported, settings)
    print(f"data: {source.data.source}, {len(source.data.x_test):,} test images", flush=True)
    repository = Repository(settings.models, NAME)
    try:
        with repository.staging() as staged:
            write_version(staged, source, settings.variants, limits)
            return repository.publish(staged)
    except OSError as error:
        raise ExportError(f"{repository.folder}: cannot be written ({error.strerror or error})") from error


def write_version(staged: Path, source: Source, variants: tuple[str, ...], limits: Limits) -> None:
    """Writes all files of a version except the checksums, if fp32 passes the acceptance checks."""
    engines, made, left_out = _write_variants(staged, source, variants)
    data, others = source.data, other_ways(source, staged / FILES[FP32])
    measured, seconds = measure_all(engines, data.x_test, data.y_test, source.answers, others)
    found = {
        name: evidence(staged / FILES[name], made[name], result, seconds.pop(name)) for name, result in measured.items()
    }
    print(acceptance_table(source.reference, found, seconds, len(data.x_test)), flush=True)
    left_out |= {name: why for name, result in measured.items() if (why := failure(name, result, limits))}
    if FP32 in left_out:
        raise ParityError(f"not published: {left_out[FP32]}")
    for name, why in left_out.items():
        print(f"left out: {name}, {why}", flush=True)
        (staged / FILES[name]).unlink(missing_ok=True)
        found.pop(name, None)
    chosen = choose(source.answers)
    own = {name: measured[name].answers[chosen] for name in found}
    novelty = {name: every[chosen] for name in found if (every := measured[name].novelty) is not None}
    Golden(data.x_test[chosen], source.answers[chosen], own, novelty).write(staged / GOLDEN)
    results: dict[str, Any] = {"variants": found, "left_out": left_out, "baselines": seconds}
    results["novelty"] = _threshold(engines[FP32], source)
    _manifest(source, limits, results).write(staged / MANIFEST)


def other_ways(source: Source, fp32: Path) -> dict[str, Callable[[Pixels], object]]:
    """Other ways to run the model, to compare times with: the original's own, and OpenVINO if it is installed."""
    openvino = openvino_run(fp32)
    return dict(source.baselines) | ({"OpenVINO": openvino} if openvino else {})


def _write_variants(
    staged: Path, source: Source, variants: tuple[str, ...]
) -> tuple[dict[str, Engine], dict[str, str], LeftOut]:
    """Writes fp32 and the variants of it: those that run, how each was made, and why others are left out."""
    engines: dict[str, Engine] = {}
    made, left_out = {}, {}
    for name in (FP32, *variants):
        try:
            model, made[name] = _variant(name, source)
            add_novelty(model)
            onnx.helper.set_model_props(model, {**_metadata(source), "precision": name})
            onnx.save(model, staged / FILES[name])
            engines[name] = Engine(staged / FILES[name], provider="cpu")
        except (UnsupportedError, ModelError) as error:
            if name == FP32:
                raise ExportError(f"not published: {error}") from error
            left_out[name] = str(error)
    return engines, made, left_out


def _variant(name: str, source: Source) -> tuple[onnx.ModelProto, str]:
    """A variant of the source's model, and how it was made."""
    if name == INT8:
        return calibrated(source.fp32, source.preprocessing, *source.calibration_split())
    if name == FP16:
        return to_fp16(source.fp32), "half precision between preprocessing and softmax"
    model = onnx.ModelProto()
    model.CopyFrom(source.fp32)
    return model, f"from {source.reference}"


def _threshold(fp32: Engine, source: Source) -> NoveltyThreshold | None:
    """The threshold of the novelty, from validation images; says so if the model has no novelty."""
    novelty = fp32.answer(source.calibration_split()[1]).novelty if fp32.has_novelty else None
    if novelty is None:
        print("novelty: none, since the probabilities do not come from Softmax; every picture gets a digit", flush=True)
        return None
    threshold = fitted_threshold(novelty)
    print(
        f"novelty: not a digit above {threshold.threshold:.4g}, "
        f"as are {threshold.rejected:.2%} of {threshold.images:,} validation digits",
        flush=True,
    )
    return threshold


def _manifest(source: Source, limits: Limits, results: dict[str, Any]) -> Manifest:
    return Manifest(
        name=NAME,
        created=now(),
        labels=LABELS,
        reference=source.reference,
        reference_sha256=source.sha256,
        test_source=source.data.name,
        test_sha256=source.data.test_sha256,
        test_images=len(source.data.x_test),
        limits=asdict(limits),
        training=dict(source.training),
        provenance=provenance(),
        **results,
    )


def _metadata(source: Source) -> dict[str, str]:
    """The description in every ONNX file. It does not depend on the time or the place of the export."""
    accuracy = float((source.answers.argmax(axis=1) == source.data.y_test).mean())
    metadata = {
        "name": NAME,
        "labels": json.dumps(LABELS),
        "accuracy": f"{accuracy:.4f}",
        "reference": source.reference,
        "model_sha256": source.sha256,
        "test_source": source.data.name,
        "test_sha256": source.data.test_sha256,
    }
    return metadata | ({"data_sha256": source.data.sha256} if source.training else {})
