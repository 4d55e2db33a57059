"""Tables as files: CSV, JSON lines, Parquet. They are written atomically: a table is complete or not there."""

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from digits.score.chunk import OK, Scored
from digits.score.errors import ScoreError
from digits.storage.atomic_file import replacing
from digits.storage.text import csv_writer, readable

Labels = Sequence[int | None]

GROUP = 65_536  # rows of a Parquet row group
TEN = 3  # the place of the probabilities among the columns


class Columns(NamedTuple):
    """What a table has besides path, digit, confidence, status and error."""

    probabilities: bool
    label: bool

    def names(self) -> list[str]:
        names = ["path", "digit", "confidence", "probabilities", "status", "error", "label"]
        return [name for name in names if getattr(self, name, True)]

    def values(self, scored: Scored, labels: Labels, number: Callable[[np.float32], object]) -> Iterator[list[object]]:
        """Of each column in turn the values of a chunk's rows. `number` is how the format writes a float32."""
        problems = [scored.decoded.problems.get(index) for index in range(len(scored.chunk))]
        yield [readable(path) for path in scored.chunk.paths]
        yield scored.spread(scored.digits.tolist())
        yield scored.spread([number(confidence) for confidence in scored.confidences])
        if self.probabilities:
            ten = () if scored.probabilities is None else scored.probabilities
            yield scored.spread([[number(value) for value in row] for row in ten])
        yield [problem.status if problem else OK for problem in problems]
        yield [problem.error if problem else None for problem in problems]
        if self.label:
            yield [*labels]


class Write(Protocol):
    """Adds a chunk's rows, with the label of each."""

    def __call__(self, scored: Scored, labels: Labels) -> None: ...


@contextlib.contextmanager
def writing(path: Path, columns: Columns) -> Iterator[Write]:
    """Gives what takes the rows. The file appears, in place of an earlier one, if the block ends without an error."""
    with replacing(path) as temporary, FORMATS[path.suffix.lower()](temporary, columns) as write:
        yield write


def checked(path: Path | None) -> Path:
    """Raises ScoreError for a table that cannot be written."""
    if path is None:
        raise ScoreError("where to? say --out table.csv (or .jsonl, .parquet)")
    if path.suffix.lower() not in FORMATS:
        raise ScoreError(f"--out {path}: a table ends in {', '.join(FORMATS)}")
    if path.is_dir():
        raise ScoreError(f"--out {path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise ScoreError(f"--out {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise ScoreError(f"--out {path}: the folder {path.parent} is not writable; give another --out")
    if path.suffix.lower() == ".parquet":
        import pyarrow.parquet  # noqa: F401 - if it is missing, that is said now and not after an hour
    return path


@contextlib.contextmanager
def _csv(path: Path, columns: Columns) -> Iterator[Write]:
    """RFC 4180 with a header, UTF-8, the probabilities in ten columns; what is missing is an empty field."""

    def fields(row: Sequence[object], ten: Iterable[object]) -> list[object]:
        return [*row[:TEN], *ten, *row[TEN + 1 :]] if columns.probabilities else [*row]

    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv_writer(file)
        writer.writerow(fields(columns.names(), [f"p{digit}" for digit in range(10)]))

        def write(scored: Scored, labels: Labels) -> None:
            rows = zip(*columns.values(scored, labels, str), strict=True)
            writer.writerows(fields(row, row[TEN] or [None] * 10) for row in rows)

        yield write


@contextlib.contextmanager
def _jsonl(path: Path, columns: Columns) -> Iterator[Write]:
    """An object on each line; what is missing is null."""
    with path.open("w", encoding="utf-8") as file:

        def write(scored: Scored, labels: Labels) -> None:
            rows = zip(*columns.values(scored, labels, short), strict=True)
            file.writelines(json.dumps(dict(zip(columns.names(), row, strict=True))) + "\n" for row in rows)

        yield write


@contextlib.contextmanager
def _parquet(path: Path, columns: Columns) -> Iterator[Write]:
    """Strings, uint8 and float32 columns; the probabilities are a list of ten float32."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"digit": pa.uint8(), "confidence": pa.float32(), "label": pa.uint8()}
    types["probabilities"] = pa.list_(pa.float32(), 10)
    schema = pa.schema([(name, types.get(name, pa.string())) for name in columns.names()])
    waiting: list[pa.RecordBatch] = []
    with pq.ParquetWriter(path, schema) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_batches(waiting, schema))
            waiting.clear()

        def write(scored: Scored, labels: Labels) -> None:
            values = zip(columns.values(scored, labels, float), schema, strict=True)
            waiting.append(pa.record_batch([pa.array(column, field.type) for column, field in values], schema=schema))
            if sum(batch.num_rows for batch in waiting) >= GROUP:
                flush()

        yield write
        flush()


FORMATS: dict[str, Callable[[Path, Columns], AbstractContextManager[Write]]] = {
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}


def short(value: np.float32) -> float:
    """The number of fewest digits that is this float32: 0.99987507 and not 0.9998750686645508."""
    return float(str(value))
