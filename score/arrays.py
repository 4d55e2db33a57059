"""Digits in array files: .npz, .npy, IDX and CSV, read piece by piece."""

import math
import os
import zipfile
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from digits.images import appearance, arrays, csv_file, data_file
from digits.images.arrays import EXPECTED, PixelRange, to_pixels, turned
from digits.images.digit import PIXELS, SIDE
from digits.images.settings import ArraySettings
from digits.score.chunk import UNREADABLE, Chunk, Problem
from digits.score.skipped import Skipped

ROWS = 256  # that are read at the same time
NAMES = (".npz", ".npy", "-idx3-ubyte", ".idx3-ubyte")
LABELS = ("labels-idx1-ubyte", "labels.idx1-ubyte")
OTHER_RANGE = "--pixel-range {} takes the other range"
LARGEST_TURNED = 2**30  # bytes of an array in Fortran's order, which is read at once


class Array(NamedTuple):
    """An array in an open file, at the first of its bytes.

    Attributes:
        name: The file's path; in an .npz followed by / and its own name.
        file: Where it is read from, once.
        shape: None for a CSV, whose rows are counted only by reading them.
        fortran: Whether the first axis changes fastest.
    """

    name: str
    file: IO[bytes]
    shape: tuple[int, ...] | None
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def images(self) -> int | None:
        """How many digits it holds, as far as shape and type tell; 0 if it holds none, None for a CSV."""
        if self.shape is None:
            return None
        return arrays.count(self.shape) or 0 if self.dtype.kind in arrays.KINDS else 0

    def may_be_labels(self, name: str) -> bool:
        """784 integers are labels or one image: the name tells."""
        return name[:1] == "y" and self.dtype.kind in "iu" and self.shape is not None and len(self.shape) == 1

    def pieces(self) -> Iterator[NDArray[Any]]:
        """Its images in order, some in each piece, in the array's type."""
        if self.shape is None:
            yield from (rows.pixels for rows in csv_file.read(self.file))
        elif self.fortran and len(self.shape) > 1:  # the last byte of the first image is near the end of the file
            size = math.prod(self.shape) * self.dtype.itemsize
            if size > LARGEST_TURNED:
                raise ValueError(f"{self.name} is in Fortran's order and has {size:,} bytes; save it with order='C'")
            whole = self._read(math.prod(self.shape)).reshape(self.shape, order="F").reshape(-1, SIDE, SIDE)
            yield from (whole[start : start + ROWS] for start in range(0, len(whole), ROWS))
        else:
            images = math.prod(self.shape) // PIXELS
            for start in range(0, images, ROWS):
                yield self._read(min(ROWS, images - start) * PIXELS).reshape(-1, SIDE, SIDE)

    def _read(self, count: int) -> NDArray[Any]:
        content = self.file.read(count * self.dtype.itemsize)
        if len(content) < count * self.dtype.itemsize:
            raise EOFError(f"{self.name} is cut short")
        return np.frombuffer(content, self.dtype)


def is_array(path: str) -> bool:
    """Whether a path is a file with arrays, by its name; or one array of an .npz, as mnist.npz/x_test."""
    return os.path.basename(path).lower().removesuffix(".gz").endswith(NAMES) or split(path)[1] is not None


def is_labels(name: str) -> bool:
    """Whether a name is that of an IDX file of labels, which lies in a folder with its images."""
    return name.lower().removesuffix(".gz").endswith(LABELS)


def is_csv(path: str) -> bool:
    """Whether a path is a CSV file, by its name. One that is named has images; one in a folder may be a table."""
    return path.lower().removesuffix(".gz").endswith(".csv")


def split(path: str) -> tuple[str, str | None]:
    """An .npz, and the name of the only array in it that is meant, if any."""
    file, _, array = path.rpartition("/")
    return (file, array) if file.lower().endswith(".npz") and not os.path.isdir(file) else (path, None)


def count(path: str) -> int | None:
    """How many rows a file of arrays gives; None for a CSV. Raises one of DAMAGE."""
    rows = [array.images for array in _digits(path)]
    return None if None in rows else sum(filter(None, rows))


class Reader:
    """Reads the digits of files by one set of settings; says what floats are taken for, and what looks wrong.

    Args:
        settings: How arrays are read.
        skipped: Counts arrays that are not digits, except labels: the integers [n] of y_NAME next to the n digits of
            x_NAME.
        say: Takes a line.
    """

    def __init__(self, settings: ArraySettings, skipped: Skipped, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._skipped = skipped
        self._say = say

    def read(self, path: str, stamp: str) -> Iterator[Chunk | Problem]:
        """All digits of a file, in its order, some in each chunk; `stamp` is the file's size and time.

        Of an .npz every array of digits is taken, in the file's order, or the one that `FILE.npz/NAME` names. A row's
        path is the array's name and its index: mnist.npz/x_test/0 and so on.
        """
        try:
            pixel_range = self._range(path)
            for array in _digits(path, self._skipped):
                start = 0
                for piece in array.pieces():
                    pixels = to_pixels(piece, pixel_range, OTHER_RANGE, start)
                    pixels = turned(pixels, invert=self._settings.invert, transpose=self._settings.transpose)
                    for warning in () if start else appearance.warnings(pixels):
                        self._say(f"{array.name}: {warning}")
                    end = start + len(pixels)
                    yield Chunk([f"{array.name}/{i}" for i in range(start, end)], [stamp] * len(pixels), pixels)
                    start = end
        except data_file.DAMAGE as error:
            yield Problem(UNREADABLE, f"the array cannot be read: {data_file.error_text(error)}")

    def _range(self, path: str) -> PixelRange:
        """The range of the floats in a file; `auto` reads it once more to know their maximum."""
        if self._settings.pixel_range != "auto":
            return self._settings.pixel_range
        floats = (array for array in _digits(path) if array.dtype.kind == "f")
        return arrays.decided([float(piece.max()) for array in floats for piece in array.pieces()], path, self._say)


def _digits(path: str, skipped: Skipped | None = None) -> Iterator[Array]:
    """The arrays of digits in a file, each to be read before the next. Raises ValueError if there are none."""
    file, only = split(path)
    taken: dict[str, int | None] = {}
    others: dict[str, Array] = {}
    for array in _arrays(path):
        name = array.name.removeprefix(f"{file}/")
        if array.images == 0 or (only is None and name != file and array.may_be_labels(name)):
            others[name] = array
        else:
            taken[name] = array.images
            yield array
    if not taken:
        there = [f"{os.path.basename(name)} {array.dtype} {list(array.shape or ())}" for name, array in others.items()]
        raise ValueError(f"it has no digits, only {', '.join(there) or 'nothing'}; {EXPECTED}")
    for name, array in others.items():
        is_label = array.may_be_labels(name) and array.shape == (taken.get(f"x{name[1:]}"),)
        if skipped is not None and not is_label:
            skipped.add(array.name, f"array of {array.dtype} {list(array.shape or ())}")


def _arrays(path: str) -> Iterator[Array]:
    if refusal := data_file.url_refusal(path):
        raise ValueError(refusal)
    file, only = split(path)
    with data_file.opened(file) as opened:
        kind = data_file.kind(opened)
        if kind == data_file.NPZ:
            with zipfile.ZipFile(opened) as archive:
                members = {name.removesuffix(".npy"): name for name in archive.namelist()}
                if only is not None and only not in members:
                    raise ValueError(f"there is no array {only!r}, only {', '.join(members)}")
                for name in members if only is None else [only]:
                    with archive.open(members[name]) as stream:
                        yield Array(f"{file}/{name}", stream, *_header(stream))
        elif kind == data_file.NPY:
            yield Array(path, opened, *_header(opened))
        elif kind == data_file.IDX:
            yield Array(path, opened, data_file.idx_shape(opened, 3), fortran=False, dtype=np.dtype(np.uint8))
        elif kind == data_file.CSV and is_csv(file):
            yield Array(path, opened, None, fortran=False, dtype=np.dtype(np.float32))
        else:
            raise ValueError(f"it is {kind}; expected an .npz, .npy, IDX or CSV file")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran's order, and type."""
    return (npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0)(file)
