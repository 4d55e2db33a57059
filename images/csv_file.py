"""CSV in Kaggle's layout: one image in each row, `label,pixel0,...,pixel783` or only pixels; a header is optional."""

import csv
import io
import itertools
import re
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from digits.images.digit import PIXELS

ROWS = 1024  # that are parsed together
NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")


class Rows(NamedTuple):
    """Rows of a file: its numbers of pixels, float32 [n, 784], and labels, float32 [n], if it has any."""

    pixels: NDArray[np.float32]
    labels: NDArray[np.float32] | None


def read(file: IO[bytes]) -> Iterator[Rows]:
    """All rows of an open file, in pieces. A label is the first of 785 columns, or the one whose name is label.

    Raises:
        ValueError: another number of columns, or a field that is not a number.
    """
    lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline=None)
    try:
        first = next(lines, "")
        names = next(csv.reader([first]), [])
        if len(names) not in {PIXELS, PIXELS + 1}:
            raise ValueError(f"it has {len(names)} columns; expected {PIXELS} pixels, or a label and {PIXELS} pixels")
        folded = [name.strip().casefold() for name in names]
        label = None if len(names) == PIXELS else folded.index("label") if "label" in folded else 0
        rest = itertools.chain([first], lines) if NUMBER.fullmatch(names[0]) else lines
        filled = (line for line in rest if line.strip())
        for start in itertools.count(1, ROWS):
            piece = list(itertools.islice(filled, ROWS))
            if not piece:
                return
            yield _parsed(piece, label, start)
    finally:
        lines.detach()


def _parsed(lines: list[str], label: int | None, start: int) -> Rows:
    try:
        values = np.loadtxt(lines, np.float32, delimiter=",", quotechar='"', comments=None, ndmin=2)
    except ValueError as error:
        raise ValueError(f"in the {len(lines)} rows from row {start} on: {error}") from error
    columns = PIXELS + (label is not None)
    if values.shape[1] != columns:
        raise ValueError(f"row {start} has {values.shape[1]} columns; expected {columns} as in the first line")
    if label is None:
        return Rows(values, None)
    return Rows(np.delete(values, label, axis=1), values[:, label])
