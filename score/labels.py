"""What the digits truly are: from the names of folders, or from a file."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from digits.images import data_file, idx
from digits.images.errors import DataError
from digits.images.text import readable
from digits.score.errors import ScoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

FROM_FOLDER = "from-folder"
NINE = 9
SEPARATORS = ",;\t"


class Labels(NamedTuple):
    """What is known of the rows.

    Attributes:
        of: A function of a row's position and path that gives its label, 0 to 9, or None where there is none.
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
        ScoreError: no such file, or none of these; or a path has two labels.
    """
    if given == FROM_FOLDER:
        return Labels(_from_folder, "7/a.png")
    path = os.path.expanduser(given)
    try:
        if path.lower().endswith(".csv"):
            return _from_csv(path)
        if path.lower().endswith(".npz"):
            return _from_npz(path)
        if path.lower().endswith(".npy"):
            with data_file.opened(path) as file:
                return _in_order(_checked(np.load(file, allow_pickle=False), path))
        return _in_order(_checked(idx.read(Path(path), 1), path))
    except (DataError, *data_file.DAMAGE, csv.Error) as error:
        raise ScoreError(
            f"--labels {given}: {data_file.one_line(error)}; say from-folder, or a .csv, .npy, .npz or IDX file"
        ) from error


def _from_folder(_position: int, path: str) -> int | None:
    folder = os.path.basename(os.path.dirname(path))
    return int(folder) if len(folder) == 1 and folder in "0123456789" else None


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
        head = file.readline()
        separator = next((mark for mark in SEPARATORS if {"path", "label"} <= {*_names(head, mark)}), SEPARATORS[0])
        names = _names(head, separator)
        if not {"path", "label"} <= set(names):
            raise ValueError(f"its columns are {', '.join(names) or 'none'}; expected path and label")
        reader = csv.reader(file, delimiter=separator)
        for row in reader:
            fields = dict(zip(names, row, strict=False))
            number = reader.line_num + 1
            label = _label(fields.get("label"), number)
            if label is not None:
                if not fields.get("path"):
                    raise ValueError(f"line {number} has the label {label} and no path")
                yield number, fields["path"], label


def _names(head: str, separator: str) -> list[str]:
    return [name.strip().lower() for name in next(csv.reader([head], delimiter=separator), [])]


def _label(text: str | None, line: int) -> int | None:
    if text is None or not text.strip():
        return None
    if text.strip() not in set("0123456789"):
        raise ValueError(f"line {line} has the label {text!r}; expected 0 to 9")
    return int(text)


def _from_npz(path: str) -> Labels:
    with data_file.opened(path) as opened, np.load(opened, allow_pickle=False) as file:
        known = {name: _checked(file[name], f"{path}/{name}") for name in file if file[name].ndim == 1}
    if not known:
        raise ValueError("it has no array of labels, [n]")

    def of(_position: int, path: str) -> int | None:
        array, _, index = path.rpartition("/")
        name = os.path.basename(array)
        found = known.get(f"y{name[1:]}")
        return None if found is None or not index.isdecimal() or int(index) >= len(found) else int(found[int(index)])

    return Labels(of, f"{path}/x{next(iter(known))[1:]}/0")


def _in_order(known: NDArray[np.int64]) -> Labels:
    return Labels(lambda position, _path: int(known[position]) if position < len(known) else None, "the first row")


def _checked(found: NDArray[np.generic], name: str) -> NDArray[np.int64]:
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer) or not len(found):
        raise ValueError(f"{name} is {found.dtype} {list(found.shape)}; expected integers [n], n at least 1")
    known = found.astype(np.int64)
    if ((known < 0) | (known > NINE)).any():
        raise ValueError(f"{name} has labels other than 0 to 9")
    return known
