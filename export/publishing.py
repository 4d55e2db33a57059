"""Publishing, top to bottom: a run's model becomes a verified version in the repository."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import onnx

from digits.export import parity
from digits.export.errors import ExportError
from digits.export.graph import to_onnx
from digits.images import mnist
from digits.model.engine import Engine
from digits.model.golden import Golden, check_batch_invariance, choose
from digits.model.manifest import FP32, Evidence, Manifest
from digits.model.repository import GOLDEN, MANIFEST, ModelVersion, Repository, file_sha256
from digits.train.network import flatten
from digits.train.provenance import now, provenance
from digits.train.run_folder import Run, read_run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from digits.export.settings import ExportSettings
    from digits.images.mnist import Mnist

NAME = "digits"
ONNX_FILE = "model.onnx"
LABELS = list("0123456789")


def export(folder: Path, settings: ExportSettings) -> ModelVersion:
    """Exports a training run, proves that it answers as Keras does, and publishes it.

    Raises:
        RunError: the folder is not a finished run's.
        ExportError: the run's model or test set is damaged or missing; or parity fails (ParityError).
        SelfTestError: an image's answer depends on its batch.
    """
    run = read_run(folder)
    data = _test_set(run, settings.test_data)
    model = _load_keras(run)
    print(f"data: {data.source}, {len(data.x_test):,} test images")

    repository = Repository(settings.models, NAME)
    try:
        with repository.staging() as staging:
            _fill(Path(staging), run, model, data, settings.max_abs_diff)
            return repository.publish(Path(staging))
    except OSError as error:
        raise ExportError(f"{repository.folder}: cannot be written ({error.strerror or error})") from error


def _fill(staged: Path, run: Run, model: Any, data: Mnist, max_abs_diff: float) -> None:
    """Writes all files of a version, if every gate holds."""
    keras_answers = model.predict(flatten(data.x_test), batch_size=1024, verbose=0)
    onnx.save(to_onnx(model, _metadata(run, data, keras_answers)), staged / ONNX_FILE)
    engine = Engine(staged / ONNX_FILE, provider="cpu", threads=len(os.sched_getaffinity(0)))
    answers = engine.run(data.x_test)
    result = parity.compare(answers, keras_answers)
    print(f"parity of {FP32} with Keras: {result}")
    parity.require(result, max_abs_diff=max_abs_diff)
    check_batch_invariance(engine.run, data.x_test, what=FP32)

    golden = choose(keras_answers)
    Golden(data.x_test[golden], keras_answers[golden], {FP32: answers[golden]}).write(staged / GOLDEN)
    evidence = Evidence(
        file=ONNX_FILE,
        size_bytes=(staged / ONNX_FILE).stat().st_size,
        accuracy=accuracy(answers, data),
        max_abs_diff=result.max_abs_diff,
        mean_abs_diff=result.mean_abs_diff,
        argmax_agreement=result.argmax_agreement,
    )
    Manifest(
        name=NAME,
        created=now(),
        labels=LABELS,
        test_source=data.source,
        test_sha256=data.test_sha256,
        test_images=len(data.x_test),
        variants={FP32: evidence},
        training=run.report,
        provenance=provenance(),
    ).write(staged / MANIFEST)


def accuracy(probabilities: NDArray[np.float32], data: Mnist) -> float:
    """Share of the test images whose most probable digit is their label, 0 to 1."""
    return float((probabilities.argmax(axis=1) == data.y_test).mean())


def _test_set(run: Run, moved_to: str | None) -> Mnist:
    """The very test set that the run was measured on; never another one, so that accuracies can be compared."""
    location = run.report["data"]["location"]
    data = mnist.load(moved_to or location)
    if data.test_sha256 != run.report["data"]["test_sha256"]:
        raise ExportError(f"{data.source}: not the test set of this run; give --test-data with {location} as it was")
    return data


def _load_keras(run: Run) -> Any:
    try:
        if file_sha256(run.model) != run.report["model_sha256"]:
            raise ExportError(f"{run.model}: damaged, its SHA-256 is not the one in the run's report; train again")
        return keras.models.load_model(run.model)
    except (OSError, ValueError) as error:
        raise ExportError(f"{run.model}: cannot be read as a Keras model ({error})") from error


def _metadata(run: Run, data: Mnist, keras_answers: NDArray[np.float32]) -> dict[str, str]:
    return {
        "name": NAME,
        "labels": json.dumps(LABELS),
        "accuracy": f"{accuracy(keras_answers, data):.4f}",
        "test_source": data.source,
        "model_sha256": run.report["model_sha256"],
        "data_sha256": run.report["data"]["sha256"],
    }
