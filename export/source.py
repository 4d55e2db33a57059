"""The source of an export: a run or an imported model, with the answers that all its variants are compared with."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import onnx
from sklearn.model_selection import train_test_split

from digits.export.errors import ExportError
from digits.export.imported_model import ImportedModel, read_onnx
from digits.export.preprocessing import Preprocessing, attach
from digits.export.settings import ImportSettings
from digits.images import mnist
from digits.images.errors import DataError
from digits.images.mnist import AS_THEY_ARE, Mnist
from digits.images.settings import ArraySettings
from digits.model.golden import Pixels, Probabilities
from digits.storage.checksums import file_sha256, sha256_list
from digits.train.run_folder import MODEL, REPORT, Run, read_run

KERAS = {".keras", ".h5", ".hdf5"}
SAVED_MODEL = "saved_model.pb"
VALIDATION_SPLIT = 0.1  # to choose the calibration, if the training kept no images for validation


@dataclass(frozen=True, slots=True)
class Source:
    """A model, its test set and its answers to it."""

    reference: str  # its name, for people: `Keras` for a run, the name of the file or folder for an imported model
    sha256: str  # of its file, or of the list of its files (sha256sum's lines) for a SavedModel folder
    fp32: onnx.ModelProto  # its graph with digits' signature
    preprocessing: Preprocessing  # of that graph
    data: Mnist  # the test set and, for calibration, the training images
    answers: Probabilities  # its own to the test images
    baselines: Mapping[str, Callable[[Pixels], object]] = field(default_factory=dict)  # its own ways to run, to time
    training: Mapping[str, Any] = field(default_factory=dict)  # the run's report, without paths of its machine

    def calibration_split(self) -> tuple[Pixels, Pixels]:
        """Training images to calibrate on, and the validation images of the training, or else a tenth of all."""
        settings = self.training.get("settings", {})
        share, seed = settings.get("validation_split") or VALIDATION_SPLIT, settings.get("seed", 0)
        images, labels = self.data.x_train, self.data.y_train
        try:
            training, validation = train_test_split(images, test_size=share, stratify=labels, random_state=seed)
        except ValueError as error:
            raise ExportError(f"{self.data.source}: cannot calibrate on it ({error}); say --variants fp16") from error
        return training, validation


def read_source(path: Path, data: str | None, settings: ImportSettings, arrays: ArraySettings = AS_THEY_ARE) -> Source:
    """Reads a run, by its folder or the model in it; or an ONNX file, a Keras file or a SavedModel folder.

    `data` is the test set, as `digits train` takes it; for a run, where its data are if they have been moved. `arrays`
    says how the data for an imported model are read; a run's are read as its training read them.

    Raises:
        RunError: the folder is not a finished run's.
        ExportError: the model or its data are damaged or missing, or digits cannot serve it.
        DataError: the data cannot be read.
    """
    if (folder := _run_folder(path, settings)) is not None:
        return _from_run(read_run(folder), data)
    model = read_model(path, settings)
    name = path.absolute().name  # also of the folder "."
    print(f"model: {name} {model.described}")
    fp32 = model.to_onnx()
    loaded = mnist.load(data, arrays)
    return Source(name, _sha256(path), fp32, model.preprocessing, loaded, model.predict(loaded.x_test))


def read_model(path: Path, settings: ImportSettings) -> ImportedModel:
    """Reads any model that `export` takes, to run it.

    Raises:
        RunError: the folder is not a finished run's.
        ExportError: there is no such model, it is damaged, or digits cannot serve it.
    """
    if (folder := _run_folder(path, settings)) is not None:
        path = read_run(folder).model
    if path.is_dir() or path.suffix.lower() in KERAS:
        from digits.export.keras_model import read_keras

        return read_keras(path, settings)
    return read_onnx(path, settings)


def _run_folder(path: Path, settings: ImportSettings) -> Path | None:
    """The folder of the run that the path is, or whose model it is; None for an imported model."""
    if not path.exists():
        raise ExportError(f"{path}: there is no such run folder, ONNX file, Keras file or SavedModel folder")
    folder = path.parent if path.name == MODEL and (path.parent / REPORT).exists() else path
    if not folder.is_dir() or (folder / SAVED_MODEL).exists():
        return None
    if settings != ImportSettings():
        raise ExportError(f"{path}: is a run; --input-scale, --mean, --std and --output are for imported models")
    return folder


def _sha256(path: Path) -> str:
    if path.is_file():
        return file_sha256(path)
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    return hashlib.sha256(sha256_list(files)).hexdigest()


def _from_run(run: Run, moved_to: str | None) -> Source:
    if run.report["test"]["loss"] is None:
        raise ExportError(
            f"{run.folder}: its training diverged, the test loss is not finite; train with a smaller --learning-rate"
        )
    try:
        sha256 = file_sha256(run.model)
    except OSError as error:
        raise ExportError(f"{run.model}: cannot be read ({error.strerror})") from error
    if sha256 != run.report["model_sha256"]:
        raise ExportError(f"{run.model}: damaged, its SHA-256 is not the one in the run's report; train again")
    data = _same_data(run, moved_to)
    from digits.export.keras_model import load_keras, predict, to_onnx

    model = load_keras(run.model)
    return Source(
        reference="Keras",
        sha256=sha256,
        fp32=attach(to_onnx(model), Preprocessing()),
        preprocessing=Preprocessing(),
        data=data,
        answers=predict(model, data.x_test),
        baselines={"Keras predict": lambda pixels: predict(model, pixels)},
        training=_portable(run.report, data),
    )


def _same_data(run: Run, moved_to: str | None) -> Mnist:
    """The data that the run was trained and measured on, and no others, so that accuracies can be compared."""
    location, settings = run.report["data"]["location"], run.report["settings"]
    arrays = ArraySettings(**{one.name: settings[one.name] for one in fields(ArraySettings) if one.name in settings})
    for place in filter(None, (location, moved_to)):
        try:
            data = mnist.load(place, arrays)
        except DataError:
            continue
        if data.sha256 == run.report["data"]["sha256"]:
            return data
    raise ExportError(f"{location}: not the data of this run any more; give --data with its original data")


def _portable(report: dict[str, Any], data: Mnist) -> dict[str, Any]:
    """The report without the paths of the machine that it was made on."""
    settings = {key: value for key, value in report["settings"].items() if key not in {"out", "data", "resume"}}
    where = {key: value for key, value in report["data"].items() if key != "location"}
    return {**report, "settings": settings, "data": {**where, "source": data.name}}
