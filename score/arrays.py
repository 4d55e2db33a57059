"""Digits that are arrays already: .npz, .npy and IDX files, read a piece at a time."""

from __future__ import annotations

import contextlib
import gzip
import math
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, cast

import numpy as np
from numpy.lib import format as npy

from digits.score.chunk import UNREADABLE, Problem
from digits.score.skipped import Skipped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SIDE = 28
PIXELS = SIDE * SIDE
ROWS = 256  # that are read at a time
IDX_IMAGES = 0x0803  # uint8 in three dimensions
EXPECTED = "expected uint8 [n, 28, 28] or [n, 784], 0 for background and 255 for ink"
DAMAGE = (OSError, EOFError, ValueError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error)


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


def is_array(path: str) -> bool:
    """Whether a path is a file with arrays, by its name; or one array of an .npz, as mnist.npz/x_test."""
    name = os.path.basename(path).lower().removesuffix(".gz")
    return name.endswith((".npz", ".npy", "-idx3-ubyte", ".idx3-ubyte")) or split(path)[1] is not None


def split(path: str) -> tuple[str, str | None]:
    """An .npz and the name of the array in it that alone is meant."""
    file, _, array = path.rpartition("/")
    return (file, array) if file.lower().endswith(".npz") and not os.path.isdir(file) else (path, None)


def count(path: str) -> int:
    """How many rows a file gives: 1 for any that is no array."""
    if not is_array(path):
        return 1
    try:
        with contextlib.ExitStack() as stack:
            return sum(n if isinstance(n, int) else 1 for _, n, _ in _arrays(path, stack, Skipped()))
    except DAMAGE:
        return 1


def read(path: str, stamp: str, skipped: Skipped) -> Iterator[Rows | Problem]:
    """All digits of a file, in its order, at most 256 at a time.

    Of an .npz every array of digits is taken, in the file's order, or the one that `FILE.npz/NAME` names. `skipped`
    counts the others, but for labels: the integers [n] of y_NAME, where the n digits of x_NAME are.
    """
    try:
        with contextlib.ExitStack() as stack:
            for name, n, file in _arrays(path, stack, skipped):
                if isinstance(n, Problem):
                    yield n
                    continue
                for start in range(0, n, ROWS):
                    wanted = min(ROWS, n - start)
                    content = _exactly(file, wanted * PIXELS, name)
                    yield Rows(name, start, stamp, np.frombuffer(content, np.uint8).reshape(-1, SIDE, SIDE))
    except DAMAGE as error:
        yield Problem(UNREADABLE, f"the array cannot be read on: {' '.join(str(error).split())}")


def _arrays(path: str, stack: contextlib.ExitStack, skipped: Skipped) -> Iterator[tuple[str, int | Problem, IO[bytes]]]:
    """Each array of digits: its name, how many digits, and the file where the first pixel comes next."""
    file, only = split(path)
    lower = file.lower()
    if lower.endswith(".npz"):
        yield from _in_npz(file, only, stack, skipped)
        return
    raw = stack.enter_context(open(file, "rb"))  # noqa: SIM115 the stack closes it
    opened = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if lower.endswith(".gz") else raw
    if lower.removesuffix(".gz").endswith(".npy"):
        shape, dtype, fortran = _header(opened)
        yield path, _digits(shape, dtype, fortran=fortran), opened
        return
    magic, *shape3 = struct.unpack(">4I", _exactly(opened, 16, path))
    if magic != IDX_IMAGES:
        raise ValueError(f"the magic number is 0x{magic:08x}; expected 0x{IDX_IMAGES:08x}")
    yield path, _digits(tuple(shape3), np.dtype(np.uint8), fortran=False), opened


def _in_npz(
    file: str, only: str | None, stack: contextlib.ExitStack, skipped: Skipped
) -> Iterator[tuple[str, int | Problem, IO[bytes]]]:
    archive = stack.enter_context(zipfile.ZipFile(file))
    found = {name.removesuffix(".npy"): name for name in archive.namelist()}
    if only is not None and only not in found:
        raise ValueError(f"there is no array {only!r}, only {', '.join(found)}")
    others: dict[str, tuple[np.dtype[np.generic], tuple[int, ...]]] = {}
    taken: dict[str, int | Problem] = {}
    for name, member in found.items():
        if only in {None, name}:
            with archive.open(member) as opened:
                shape, dtype, fortran = _header(opened)
                n = _digits(shape, dtype, fortran=fortran)
                if only is None and isinstance(n, Problem):
                    others[name] = dtype, shape
                else:
                    taken[name] = n
                    yield f"{file}/{name}", n, opened
    if not taken:
        arrays = [f"{name} {dtype} {list(shape)}" for name, (dtype, shape) in others.items()]
        raise ValueError(f"it has no digits, only {', '.join(arrays) or 'nothing'}; {EXPECTED}")
    for name, (dtype, shape) in others.items():
        if not np.issubdtype(dtype, np.integer) or name[:1] != "y" or shape != (taken.get(f"x{name[1:]}"),):
            skipped.add(f"{file}/{name}", f"array of {dtype} {list(shape)}")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic], bool]:
    """Shape, dtype and whether the columns come first, as an .npy begins."""
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read_header(file)
    return shape, dtype, fortran


def _digits(shape: tuple[int, ...], dtype: np.dtype[np.generic], *, fortran: bool) -> int | Problem:
    """How many digits an array of this kind has."""
    n = shape[0] if len(shape) > 1 else 0
    if dtype != np.uint8 or not n or math.prod(shape) != n * PIXELS or shape[1:] not in {(SIDE, SIDE), (PIXELS,)}:
        return Problem(UNREADABLE, f"the array is {dtype} {list(shape)}; {EXPECTED}")
    if fortran:
        return Problem(UNREADABLE, "the array has its columns first (Fortran's order); save it with order='C'")
    return n


def _exactly(file: IO[bytes], size: int, name: str) -> bytes:
    content = file.read(size)
    if len(content) != size:
        raise EOFError(f"{name} is cut short")
    return content
