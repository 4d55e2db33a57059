"""What the digits truly are: from the names of folders, or from a file."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from digits.images import idx
from digits.images.errors import DataError
from digits.score.errors import ScoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Labels = Callable[[int, str], int | None]

FROM_FOLDER = "from-folder"
NINE = 9


def labels(given: str) -> Labels:
    """A function of a row's position and path that gives its label, 0 to 9, or None where there is none.

    Args:
        given: `from-folder`, or a file: .csv (columns path and label; a path may be given from any of its folders on,
            as "7/a.png" for "scans/7/a.png"), .npy or IDX (a label for each row), .npz (y_NAME for x_NAME).

    Raises:
        ScoreError: no such file, or none of these.
    """
    if given == FROM_FOLDER:
        return _from_folder
    path = os.path.expanduser(given)
    try:
        if path.lower().endswith(".csv"):
            return _from_csv(path)
        if path.lower().endswith(".npz"):
            return _from_npz(path)
        if path.lower().endswith(".npy"):
            return _in_order(_checked(np.load(path, allow_pickle=False), path))
        return _in_order(_checked(idx.read(Path(path), 1), path))
    except (DataError, OSError, ValueError) as error:
        raise ScoreError(f"--labels {given}: {error}; say from-folder, or a .csv, .npy, .npz or IDX file") from error


def _from_folder(_position: int, path: str) -> int | None:
    folder = os.path.basename(os.path.dirname(path))
    return int(folder) if len(folder) == 1 and folder in "0123456789" else None


def _from_csv(path: str) -> Labels:
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file)
        if not {"path", "label"} <= set(reader.fieldnames or ()):
            raise ValueError(f"its columns are {', '.join(reader.fieldnames or ['none'])}; expected path and label")
        known = {row["path"].removeprefix("./"): _label(row["label"], reader.line_num) for row in reader}

    def label(_position: int, path: str) -> int | None:
        end = path.removeprefix("./")
        while end not in known and "/" in end:
            end = end.partition("/")[2]
        return known.get(end)

    return label


def _label(text: str | None, line: int) -> int | None:
    if text is None or not text.strip():
        return None
    if text.strip() not in set("0123456789"):
        raise ValueError(f"line {line} has the label {text!r}; expected 0 to 9")
    return int(text)


def _from_npz(path: str) -> Labels:
    with np.load(path, allow_pickle=False) as file:
        known = {name: _checked(file[name], f"{path}/{name}") for name in file if file[name].ndim == 1}
    if not known:
        raise ValueError("it has no array of labels, [n]")

    def label(_position: int, path: str) -> int | None:
        array, _, index = path.rpartition("/")
        name = os.path.basename(array)
        found = known.get(f"y{name[1:]}")
        return None if found is None or not index.isdecimal() or int(index) >= len(found) else int(found[int(index)])

    return label


def _in_order(known: NDArray[np.int64]) -> Labels:
    return lambda position, _path: int(known[position]) if position < len(known) else None


def _checked(found: NDArray[np.generic], name: str) -> NDArray[np.int64]:
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer):
        raise ValueError(f"{name} is {found.dtype} {list(found.shape)}; expected integers [n]")
    known = found.astype(np.int64)
    if ((known < 0) | (known > NINE)).any():
        raise ValueError(f"{name} has labels other than 0 to 9")
    return known
