"""The true digits of the rows, from the names of folders, or from a file."""

import csv
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from digits.images import data_file
from digits.images.digit import CLASSES
from digits.images.errors import DataError
from digits.score.errors import ScoreError
from digits.storage.text import readable

FROM_FOLDER = "from-folder"
DIGITS = frozenset("0123456789")
SEPARATORS = ",;\t"


class Labels(NamedTuple):
    """The labels of the rows.

    Attributes:
        of: A function of a row's position and path that gives its label, 0 to 9, or None if it has none.
        example: A path that has a label.
    """

    of: Callable[[int, str], int | None]
    example: str


def labels(given: str) -> Labels:
    """The labels of the rows.

    Args:
        given: `from-folder`, or a file: .csv (columns path and label, separated by commas, semicolons or tabs; a path
            is absolute, or relative to any folder that the row's file is in), .npy or IDX (a label for each row), .npz
            (y_NAME for x_NAME).

    Raises:
        ScoreError: there is no such file, it is none of these, or a path has two labels.
    """
    if given == FROM_FOLDER:
        return Labels(_from_folder, "7/a.png")
    path = os.path.expanduser(given)
    try:
        return _from_csv(path) if path.lower().endswith(".csv") else _from_arrays(path)
    except (DataError, *data_file.DAMAGE, csv.Error) as error:
        raise ScoreError(
            f"--labels {given}: {data_file.error_text(error)}; say from-folder, or a .csv, .npy, .npz or IDX file"
        ) from error


def _from_folder(_position: int, path: str) -> int | None:
    folder = os.path.basename(os.path.dirname(path))
    return int(folder) if folder in DIGITS else None


def _from_csv(path: str) -> Labels:
    known: dict[str, int] = {}
    first: dict[str, tuple[int, str, int]] = {}  # of each file, the first line with its label
    for line in _lines(path):
        number, name, label = line
        file = readable(os.path.abspath(name))
        earlier, same, other = first.setdefault(file, line)
        if label != other:
            raise ValueError(f"line {earlier} labels {same!r} as {other}, line {number} labels {name!r} as {label}")
        relative = readable(os.path.normpath(name))
        known[file if relative.startswith("../") else relative] = label
    if not known:
        raise ValueError("it has no label")

    def of(_position: int, path: str) -> int | None:
        end = readable(os.path.abspath(path))
        while end and end not in known:
            end = end.partition("/")[2]
        return known.get(end)

    return Labels(of, next(iter(known)))


def _lines(path: str) -> Iterator[tuple[int, str, int]]:
    """The lines of a CSV that have a label: number, path, label."""
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        head = file.readline().lower()
        heads = {mark: [*map(str.strip, next(csv.reader([head], delimiter=mark), []))] for mark in SEPARATORS}
        separator = next((mark for mark, names in heads.items() if {"path", "label"} <= {*names}), None)
        if separator is None:
            raise ValueError(f"its columns are {', '.join(heads[SEPARATORS[0]]) or 'none'}; expected path and label")
        reader = csv.DictReader(file, heads[separator], delimiter=separator)
        for row in reader:
            number, name, label = reader.line_num + 1, row["path"], (row["label"] or "").strip()
            if label and label not in DIGITS:
                raise ValueError(f"line {number} has the label {row['label']!r}; expected 0 to 9")
            if label and not name:
                raise ValueError(f"line {number} has the label {label} and no path")
            if label:
                yield number, name, int(label)


def _from_arrays(path: str) -> Labels:
    with data_file.opened(path) as file:
        by_numpy = data_file.kind(file) in {data_file.NPY, data_file.NPZ}
        found = np.load(file) if by_numpy else data_file.read_idx(file, 1)
        if isinstance(found, np.ndarray):
            in_order = _checked(found, path)
            return Labels(lambda row, _path: in_order[row] if row < len(in_order) else None, "the first row")
        known = {name: _checked(found[name], f"{path}/{name}") for name in found if found[name].ndim == 1}
    if not known:
        raise ValueError("it has no array of labels, [n]")

    def of(_position: int, path: str) -> int | None:
        array, _, index = path.rpartition("/")
        found = known.get(f"y{os.path.basename(array)[1:]}", [])
        return found[int(index)] if index.isdecimal() and int(index) < len(found) else None

    return Labels(of, f"{path}/x{next(iter(known))[1:]}/0")


def _checked(found: NDArray[np.generic], name: str) -> list[int]:
    if found.ndim != 1 or found.dtype.kind not in "iu" or not len(found):
        raise ValueError(f"{name} is {found.dtype} {list(found.shape)}; expected integers [n], n at least 1")
    known: list[int] = found.tolist()
    if not 0 <= min(known) <= max(known) < CLASSES:
        raise ValueError(f"{name} has labels other than 0 to 9")
    return known
