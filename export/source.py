"""What is exported: a run, or a model made elsewhere, with the answers that all its variants are compared with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from sklearn.model_selection import train_test_split

from digits.export.errors import ExportError
from digits.export.imported_model import read_onnx
from digits.export.preprocessing import Preprocessing, attach
from digits.export.settings import ImportSettings
from digits.images import mnist
from digits.images.errors import DataError
from digits.images.mnist import AS_THEY_ARE
from digits.images.settings import ArraySettings
from digits.storage.checksums import file_sha256, sha256_list
from digits.train.run_folder import MODEL, REPORT, read_run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from digits.export.imported_model import ImportedModel
    from digits.images.mnist import Mnist
    from digits.train.run_folder import Run

    Pixels = NDArray[np.uint8]

KERAS = {".keras", ".h5", ".hdf5"}
SAVED_MODEL = "saved_model.pb"
VALIDATION_SPLIT = 0.1  # for choosing the calibration, where the training kept no images for validation


@dataclass(frozen=True, slots=True)
class Source:
    """A model, how it answers, and on what.

    Attributes:
        reference: What it is, for people: `Keras` for a run, or else the name of the file or folder.
        sha256: Of its file, or of the list of its files (sha256sum's lines) for a SavedModel's folder.
        fp32: It in digits' signature.
        preprocessing: The preprocessing of that.
        data: The test set and, for calibration, the training images.
        answers: Its own to the test images, float32 [n, 10].
        baselines: Its own ways to run, for the table of times.
        training: The training run's report, without the places on its machine; empty for a model made elsewhere.
    """

    reference: str
    sha256: str
    fp32: onnx.ModelProto
    preprocessing: Preprocessing
    data: Mnist
    answers: NDArray[np.float32]
    baselines: Mapping[str, Callable[[Pixels], object]] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def calibration_split(self) -> tuple[Pixels, Pixels]:
        """Training images to calibrate on, and those that the training validated on, or else a tenth of the others."""
        settings = self.training.get("settings", {})
        share, seed = settings.get("validation_split") or VALIDATION_SPLIT, settings.get("seed", 0)
        images, labels = self.data.x_train, self.data.y_train
        try:
            training, validation = train_test_split(images, test_size=share, stratify=labels, random_state=seed)
        except ValueError as error:
            raise ExportError(f"{self.data.source}: cannot calibrate on it ({error}); say --variants fp16") from error
        return training, validation


def read_source(path: Path, data: str | None, imported: ImportSettings, arrays: ArraySettings = AS_THEY_ARE) -> Source:
    """A run, by its folder or the model in it; or an ONNX file, a Keras file, or a SavedModel's folder.

    A run's data are read as its training read them, the data for other models by `arrays`.

    Raises:
        RunError: the folder is not a finished run's.
        ExportError: the model or its data are damaged, missing, or none that digits can serve.
        DataError: the data given cannot be read.
    """
    run = _run_folder(path, imported)
    return _from_elsewhere(path, data, imported, arrays) if run is None else _from_run(run, data)


def read_model(path: Path, settings: ImportSettings) -> ImportedModel:
    """Any model that `export` takes, to be asked.

    Raises:
        RunError: the folder is not a finished run's.
        ExportError: there is no such model, or it is damaged or not one that digits can serve.
    """
    if (run := _run_folder(path, settings)) is not None:
        path = read_run(run).model
    if path.is_dir() or path.suffix.lower() in KERAS:
        from digits.export.keras_file import read_keras

        return read_keras(path, settings)
    return read_onnx(path, settings)


def _run_folder(path: Path, imported: ImportSettings) -> Path | None:
    """The folder of the run that the path is, or whose model it is; None if it is a model made elsewhere."""
    if not path.exists():
        raise ExportError(f"{path}: there is no such run folder, ONNX file, Keras file or SavedModel folder")
    folder = path.parent if path.name == MODEL and (path.parent / REPORT).exists() else path
    if not folder.is_dir() or (folder / SAVED_MODEL).exists():
        return None
    if imported != ImportSettings():
        raise ExportError(f"{path}: is a run; --input-scale, --mean, --std and --output are for models made elsewhere")
    return folder


def _from_elsewhere(path: Path, location: str | None, settings: ImportSettings, arrays: ArraySettings) -> Source:
    model = read_model(path, settings)
    name = path.absolute().name  # also of the folder "."
    print(f"model: {name} {model.described}")
    fp32 = model.to_onnx()
    data = mnist.load(location, arrays)
    return Source(name, _sha256(path), fp32, model.preprocessing, data, model.predict(data.x_test))


def _sha256(path: Path) -> str:
    if path.is_file():
        return file_sha256(path)
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    return hashlib.sha256(sha256_list(files)).hexdigest()


def _from_run(folder: Path, moved_to: str | None) -> Source:
    run = read_run(folder)
    if run.report["test"]["loss"] is None:
        raise ExportError(
            f"{folder}: its training diverged, the test loss is not finite; train with a smaller --learning-rate"
        )
    sha256 = _unchanged(run)
    data = _same_data(run, moved_to)
    from digits.export.graph import load_keras, predict, to_onnx

    model = load_keras(run.model)
    return Source(
        "Keras",
        sha256,
        attach(to_onnx(model), Preprocessing()),
        Preprocessing(),
        data,
        predict(model, data.x_test),
        {"Keras predict": lambda pixels: predict(model, pixels)},
        _portable(run.report, data),
    )


def _unchanged(run: Run) -> str:
    try:
        sha256 = file_sha256(run.model)
    except OSError as error:
        raise ExportError(f"{run.model}: cannot be read ({error.strerror})") from error
    if sha256 != run.report["model_sha256"]:
        raise ExportError(f"{run.model}: damaged, its SHA-256 is not the one in the run's report; train again")
    return sha256


def _same_data(run: Run, moved_to: str | None) -> Mnist:
    """The very data that the run was trained and measured on; never other ones, so that accuracies can be compared."""
    location, settings = run.report["data"]["location"], run.report["settings"]
    arrays = ArraySettings(**{one.name: settings[one.name] for one in fields(ArraySettings) if one.name in settings})
    for place in filter(None, (location, moved_to)):
        try:
            data = mnist.load(place, arrays)
        except DataError:
            continue
        if data.sha256 == run.report["data"]["sha256"]:
            return data
    raise ExportError(f"{location}: not the data of this run any more; give --data with what was there")


def _portable(report: dict[str, Any], data: Mnist) -> dict[str, Any]:
    """The report as it may travel: without the places of the machine that it was made on."""
    settings = {key: value for key, value in report["settings"].items() if key not in {"out", "data", "resume"}}
    where = {key: value for key, value in report["data"].items() if key != "location"}
    return {**report, "settings": settings, "data": {**where, "source": data.name}}
