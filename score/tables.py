"""Tables as files: CSV, JSON lines, Parquet. Written beside and renamed, so that a table is whole or not there."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from digits.images.text import csv_writer, readable
from digits.score.chunk import OK
from digits.score.errors import ScoreError
from digits.storage.atomic_file import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray

    from digits.score.chunk import Scored

GROUP = 65_536  # rows of a Parquet row group


class Columns(NamedTuple):
    """What a table has besides path, digit, confidence, status and error.

    Attributes:
        probabilities: Whether it has the ten probabilities.
        labels: Whether it has the label.
    """

    probabilities: bool
    labels: bool


class Write(Protocol):
    """Adds a chunk's rows; of each, its label."""

    def __call__(self, scored: Scored, labels: list[int | None]) -> None: ...


@contextlib.contextmanager
def writing(path: Path, columns: Columns) -> Iterator[Write]:
    """Gives what takes the rows. The file appears, over an earlier one, when all is well in the end."""
    with replacing(path) as beside, FORMATS[path.suffix.lower()](beside, columns) as write:
        yield write


def check(path: Path) -> None:
    """Raises ScoreError for a table that cannot be written there."""
    if path.suffix.lower() not in FORMATS:
        raise ScoreError(f"--out {path}: a table ends in {', '.join(FORMATS)}")
    if path.is_dir():
        raise ScoreError(f"--out {path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise ScoreError(f"--out {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise ScoreError(f"--out {path}: the folder {path.parent} is not writable; give another --out")
    if path.suffix.lower() == ".parquet":
        import pyarrow.parquet  # noqa: F401 - missing, it is said now and not after an hour


@contextlib.contextmanager
def _csv(path: Path, columns: Columns) -> Iterator[Write]:
    """RFC 4180 with a header, UTF-8; what is not there is an empty field."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv_writer(file)
        ten = [f"p{digit}" for digit in range(10)] if columns.probabilities else []
        writer.writerow(["path", "digit", "confidence", *ten, "status", "error", *["label"][: columns.labels]])

        def write(scored: Scored, labels: list[int | None]) -> None:
            fields = [*_first(scored, str)]
            if columns.probabilities:
                fields += [scored.spread([str(value) for value in column]) for column in _ten(scored).T]
            writer.writerows(zip(*fields, *_last(scored, labels, columns), strict=True))

        yield write


@contextlib.contextmanager
def _jsonl(path: Path, columns: Columns) -> Iterator[Write]:
    """An object a line; what is not there is null."""
    names = ["path", "digit", "confidence", *["probabilities"][: columns.probabilities], "status", "error", "label"]
    with path.open("w", encoding="utf-8") as file:

        def write(scored: Scored, labels: list[int | None]) -> None:
            fields = [*_first(scored, short)]
            if columns.probabilities:
                fields.append(scored.spread([[short(value) for value in row] for row in _ten(scored)]))
            rows = zip(*fields, *_last(scored, labels, columns), strict=True)
            file.writelines(json.dumps(dict(zip(names, row, strict=False))) + "\n" for row in rows)

        yield write


@contextlib.contextmanager
def _parquet(path: Path, columns: Columns) -> Iterator[Write]:
    """Strings, uint8 and float32 columns; the probabilities are a list of ten float32."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [("path", pa.string()), ("digit", pa.uint8()), ("confidence", pa.float32())]
    if columns.probabilities:
        fields.append(("probabilities", pa.list_(pa.float32(), 10)))
    fields += [("status", pa.string()), ("error", pa.string())]
    if columns.labels:
        fields.append(("label", pa.uint8()))
    schema = pa.schema(fields)
    waiting: list[pa.RecordBatch] = []
    with pq.ParquetWriter(path, schema) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_batches(waiting, schema))
            waiting.clear()

        def write(scored: Scored, labels: list[int | None]) -> None:
            values = [*_first(scored, float)]
            if columns.probabilities:
                values.append(scored.spread(_ten(scored).tolist()))
            values += _last(scored, labels, columns)
            arrays = [pa.array(column, field.type) for column, field in zip(values, schema, strict=True)]
            waiting.append(pa.record_batch(arrays, schema=schema))
            if sum(batch.num_rows for batch in waiting) >= GROUP:
                flush()

        yield write
        flush()


def _first(scored: Scored, number: Callable[[np.float32], object]) -> Iterator[Sequence[object]]:
    """The first three columns; `number` is how the format writes a float32."""
    yield [readable(path) for path in scored.chunk.paths]
    yield scored.spread(scored.digits.tolist())
    yield scored.spread([number(confidence) for confidence in scored.confidences])


def _ten(scored: Scored) -> NDArray[np.float32]:
    """The probabilities, float32 [m, 10]: none where a chunk has no digit at all."""
    return np.empty((0, 10), np.float32) if scored.probabilities is None else scored.probabilities


def _last(scored: Scored, labels: list[int | None], columns: Columns) -> Iterator[Sequence[object]]:
    """Status, error, and the label if the table has it."""
    problems = [scored.decoded.problems.get(index) for index in range(len(scored.chunk))]
    yield [problem.status if problem else OK for problem in problems]
    yield [problem.error if problem else None for problem in problems]
    if columns.labels:
        yield labels


FORMATS: dict[str, Callable[[Path, Columns], AbstractContextManager[Write]]] = {
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}


def short(value: np.float32) -> float:
    """The number of fewest digits that is this float32: 0.99987507 and not 0.9998750686645508."""
    return float(str(value))
