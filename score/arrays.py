"""Digits that are arrays already: .npz, .npy, IDX and CSV files, read a piece at a time."""

from __future__ import annotations

import contextlib
import math
import os
import struct
import zipfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy

from digits.images import appearance, arrays, csv_file, data_file
from digits.images.arrays import EXPECTED, to_pixels, turned
from digits.images.digit import PIXELS, SIDE
from digits.score.chunk import UNREADABLE, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from digits.images.arrays import PixelRange
    from digits.images.settings import ArraySettings
    from digits.score.skipped import Skipped

    Found = Iterator["Array | Problem"]

ROWS = 256  # that are read at the same time
IDX_IMAGES = 0x0803  # uint8 in three dimensions
NAMES = (".npz", ".npy", "-idx3-ubyte", ".idx3-ubyte")
LABELS = ("labels-idx1-ubyte", "labels.idx1-ubyte")
OTHER_RANGE = "--pixel-range {} takes the other range"
LARGEST_TURNED = 2**30  # bytes of an array in Fortran's order, which is read at once


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Some digits in a row.

    Attributes:
        name: Of the array: its file's path, and in an .npz its own name.
        start: The index of the first.
        stamp: Size and time of the file.
        pixels: uint8 [n, 28, 28].
    """

    name: str
    start: int
    stamp: str
    pixels: NDArray[np.uint8]

    def paths(self) -> list[str]:
        """What the table calls them: mnist.npz/x_test/0 and so on."""
        return [f"{self.name}/{index}" for index in range(self.start, self.start + len(self.pixels))]


@dataclass(frozen=True, slots=True, eq=False)
class Array:
    """An array of digits in an open file.

    Attributes:
        name: As in Rows.
        count: How many digits; None where only reading tells.
        pieces: Its rows as they are written, in order, some at a time.
    """

    name: str
    count: int | None
    pieces: Iterator[NDArray[Any]]


class Header(NamedTuple):
    """How an .npy begins; `fortran` is whether the columns come first."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]


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
    """An .npz and the name of the array in it that alone is meant."""
    file, _, array = path.rpartition("/")
    return (file, array) if file.lower().endswith(".npz") and not os.path.isdir(file) else (path, None)


def count(path: str) -> int | None:
    """How many rows a file gives: 1 for any that is no array; None where only reading tells."""
    if not is_array(path):
        return None if is_csv(path) else 1
    try:
        with _opened(path) as found:
            rows = [1 if isinstance(one, Problem) else one.count for one in found]
    except data_file.DAMAGE:
        return 1
    return None if None in rows else sum(filter(None, rows))


class Reader:
    """Reads the digits of files by one set of settings; says what floats are taken for, and what looks wrong.

    Args:
        settings: How arrays are read.
        skipped: Counts arrays that are not digits, but for labels: the integers [n] of y_NAME, where the n digits of
            x_NAME are.
        say: Takes a line.
    """

    def __init__(self, settings: ArraySettings, skipped: Skipped, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._skipped = skipped
        self._say = say

    def read(self, path: str, stamp: str) -> Iterator[Rows | Problem]:
        """All digits of a file, in its order, some at a time.

        Of an .npz every array of digits is taken, in the file's order, or the one that `FILE.npz/NAME` names.
        """
        try:
            pixel_range = self._range(path)
            with _opened(path, self._skipped) as found:
                for one in found:
                    if isinstance(one, Problem):
                        yield one
                    else:
                        yield from self._rows(one, stamp, pixel_range)
        except data_file.DAMAGE as error:
            yield Problem(UNREADABLE, f"the array cannot be read on: {data_file.one_line(error)}")

    def _range(self, path: str) -> PixelRange:
        """The range of the floats in a file; `auto` reads it through once more to know their maximum."""
        if self._settings.pixel_range != "auto":
            return self._settings.pixel_range
        with _opened(path) as found:
            pieces = (piece for one in found if isinstance(one, Array) for piece in _floats(one))
            tops = [float(piece.max()) for piece in pieces]
        if not tops:
            return "0-255"
        decided = arrays.decided(top := float(np.max(tops)))
        self._say(f"{path}: pixels up to {top:g} are taken as {decided}; --pixel-range says otherwise")
        return decided

    def _rows(self, array: Array, stamp: str, pixel_range: PixelRange) -> Iterator[Rows]:
        start = 0
        for piece in array.pieces:
            pixels = to_pixels(piece, pixel_range, OTHER_RANGE, start)
            pixels = turned(pixels, invert=self._settings.invert, transpose=self._settings.transpose)
            if not start:
                for warning in appearance.warnings(pixels):
                    self._say(f"{array.name}: {warning}")
            yield Rows(array.name, start, stamp, pixels)
            start += len(pixels)


@contextlib.contextmanager
def _opened(path: str, skipped: Skipped | None = None) -> Iterator[Found]:
    """The arrays of digits in a file, each to be read before the next; or what is wrong with it."""
    if refusal := data_file.url_refusal(path):
        raise ValueError(refusal)
    file, only = split(path)
    with data_file.opened(file) as opened:
        kind = data_file.kind(opened)
        if kind == data_file.NPZ:
            yield _in_npz(opened, file, only, skipped)
        elif kind == data_file.NPY:
            yield iter((_npy(opened, _header(opened), path),))
        elif kind == data_file.IDX:
            yield iter((_idx(opened, path),))
        elif kind == data_file.CSV and is_csv(file):
            yield iter((Array(path, None, (rows.pixels for rows in csv_file.read(opened))),))
        else:
            raise ValueError(f"it is {kind}; expected an .npz, .npy, IDX or CSV file")


def _in_npz(file: IO[bytes], path: str, only: str | None, skipped: Skipped | None) -> Found:
    others: dict[str, Header] = {}
    taken: dict[str, int | None] = {}
    with zipfile.ZipFile(file) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        if only is not None and only not in members:
            raise ValueError(f"there is no array {only!r}, only {', '.join(members)}")
        for name, member in members.items():
            if only in {None, name}:
                with archive.open(member) as opened:
                    header = _header(opened)
                    array = _npy(opened, header, f"{path}/{name}")
                    if only is None and (isinstance(array, Problem) or _may_be_labels(name, header)):
                        others[name] = header
                    else:
                        taken[name] = None if isinstance(array, Problem) else array.count
                        yield array
    if not taken:
        there = [f"{name} {header.dtype} {list(header.shape)}" for name, header in others.items()]
        raise ValueError(f"it has no digits, only {', '.join(there) or 'nothing'}; {EXPECTED}")
    for name, header in others.items():
        is_label = _may_be_labels(name, header) and header.shape == (taken.get(f"x{name[1:]}"),)
        if skipped is not None and not is_label:
            skipped.add(f"{path}/{name}", f"array of {header.dtype} {list(header.shape)}")


def _may_be_labels(name: str, header: Header) -> bool:
    """784 integers are labels or an image: the name tells."""
    return name[:1] == "y" and header.dtype.kind in "iu" and len(header.shape) == 1


def _npy(file: IO[bytes], header: Header, name: str) -> Array | Problem:
    shape, fortran, dtype = header
    n = arrays.count(shape)
    if not n or dtype.kind not in arrays.KINDS:
        return Problem(UNREADABLE, f"the array is {dtype} {list(shape)}; {EXPECTED}")
    if fortran and len(shape) > 1:
        return Array(name, n, _all_at_once(file, shape, dtype, name))
    return Array(name, n, _pieces(file, n, dtype, name))


def _header(file: IO[bytes]) -> Header:
    read_header = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
    return Header(*read_header(file))


def _idx(file: IO[bytes], name: str) -> Array | Problem:
    magic, *shape = struct.unpack(">4I", _exactly(file, 16, name))
    if magic != IDX_IMAGES:
        raise ValueError(f"the magic number is 0x{magic:08x}; expected 0x{IDX_IMAGES:08x}, images of uint8")
    n = arrays.count(shape)
    if not n:
        return Problem(UNREADABLE, f"the array is uint8 {shape}; {EXPECTED}")
    return Array(name, n, _pieces(file, n, np.dtype(np.uint8), name))


def _pieces(file: IO[bytes], count: int, dtype: np.dtype[Any], name: str) -> Iterator[NDArray[Any]]:
    for start in range(0, count, ROWS):
        size = min(ROWS, count - start) * PIXELS * dtype.itemsize
        yield np.frombuffer(_exactly(file, size, name), dtype).reshape(-1, SIDE, SIDE)


def _all_at_once(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> Iterator[NDArray[Any]]:
    """The rows of an array whose columns come first: of its first row the last byte is near the file's end."""
    size = math.prod(shape) * dtype.itemsize
    if size > LARGEST_TURNED:
        raise ValueError(f"{name} has its columns first (Fortran's order) and {size:,} bytes; save it with order='C'")
    whole = np.frombuffer(_exactly(file, size, name), dtype).reshape(shape, order="F").reshape(-1, SIDE, SIDE)
    yield from (whole[start : start + ROWS] for start in range(0, len(whole), ROWS))


def _floats(array: Array) -> Iterator[NDArray[Any]]:
    """The pieces of an array of floats; nothing of others is read."""
    for piece in array.pieces:
        if piece.dtype.kind != "f":
            return
        yield piece


def _exactly(file: IO[bytes], size: int, name: str) -> bytes:
    content = file.read(size)
    if len(content) != size:
        raise EOFError(f"{name} is cut short")
    return content
