"""Tables as files: CSV, JSON lines, Parquet. They are written atomically: a table is complete or not there."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from digits.score.chunk import OK, Scored
from digits.score.errors import ScoreError
from digits.storage.atomic_file import replacing
from digits.storage.text import csv_writer, readable

Labels = Sequence[int | None]
Chunks = Iterable[tuple[Scored, Labels]]  # with the label of each row, if there are labels

GROUP = 512  # chunks of a Parquet row group
PLACE = ("row", "left", "top", "right", "bottom")  # of a digit in a picture of several
TEN = 4  # the place of the probabilities among the columns


class Columns(NamedTuple):
    """What a table has besides path, digit, confidence, novelty, status and error."""

    probabilities: bool
    label: bool
    several: bool

    def names(self) -> list[str]:
        names = ["path", "digit", "confidence", "novelty", "probabilities", "status", "error", "label"]
        return [name for name in names if getattr(self, name, True)] + [*PLACE] * self.several

    def values(self, scored: Scored, labels: Labels, number: Callable[[np.float32], object]) -> Iterator[list[object]]:
        """The values of each column in turn, for a chunk's rows. `number` converts a float32 for the format."""
        problems = [scored.decoded.problems.get(index) for index in range(len(scored.chunk))]
        yield [readable(path) for path in scored.chunk.paths]
        yield scored.spread(scored.digits.tolist())
        yield scored.spread([number(confidence) for confidence in scored.confidences])
        known = np.full(len(scored.chunk), np.nan) if scored.novelties is None else scored.novelties
        yield [None if np.isnan(value) else number(value) for value in known]
        if self.probabilities:
            ten = () if scored.probabilities is None else scored.probabilities
            yield scored.spread([[number(value) for value in row] for row in ten])
        yield [problem.status if problem else OK for problem in problems]
        yield [problem.error if problem else None for problem in problems]
        if self.label:
            yield [*labels]
        if self.several:
            places = scored.several.places if scored.several else [None] * len(scored.chunk)
            for i in range(len(PLACE)):
                yield [None if place is None else place[i] for place in places]


def write(path: Path, columns: Columns, chunks: Chunks) -> None:
    """Writes all chunks' rows. The file appears, in place of an earlier one, if that ends without an error."""
    with replacing(path) as temporary:
        FORMATS[path.suffix.lower()](temporary, columns, chunks)


def checked(path: Path | None) -> Path:
    """Raises ScoreError for a table that cannot be written."""
    if path is None:
        raise ScoreError("where to? say --out table.csv (or .jsonl, .parquet)")
    if path.suffix.lower() not in FORMATS:
        raise ScoreError(f"--out {path}: a table ends in {', '.join(FORMATS)}")
    if path.is_dir():
        raise ScoreError(f"--out {path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise ScoreError(f"--out {path}: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise ScoreError(f"--out {path}: the folder {path.parent} is not writable; give another --out")
    if path.suffix.lower() == ".parquet":
        import pyarrow.parquet  # noqa: F401 - if it is missing, that is said now and not after an hour
    return path


def _csv(path: Path, columns: Columns, chunks: Chunks) -> None:
    """RFC 4180 with a header, UTF-8, the probabilities in ten columns; what is missing is an empty field."""

    def fields(row: Sequence[object], ten: Iterable[object]) -> list[object]:
        return [*row[:TEN], *ten, *row[TEN + 1 :]] if columns.probabilities else [*row]

    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv_writer(file)
        writer.writerow(fields(columns.names(), [f"p{digit}" for digit in range(10)]))
        for scored, labels in chunks:
            rows = zip(*columns.values(scored, labels, str), strict=True)
            writer.writerows(fields(row, row[TEN] or [None] * 10) for row in rows)


def _jsonl(path: Path, columns: Columns, chunks: Chunks) -> None:
    """An object on each line; what is missing is null."""
    with path.open("w", encoding="utf-8") as file:
        for scored, labels in chunks:
            rows = zip(*columns.values(scored, labels, short), strict=True)
            file.writelines(json.dumps(dict(zip(columns.names(), row, strict=True))) + "\n" for row in rows)


def _parquet(path: Path, columns: Columns, chunks: Chunks) -> None:
    """Strings, uint8 and float32 columns; the probabilities are a list of ten float32."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"digit": pa.uint8(), "confidence": pa.float32(), "novelty": pa.float32(), "label": pa.uint8()}
    types |= dict.fromkeys(PLACE, pa.int32())
    types["probabilities"] = pa.list_(pa.float32(), 10)
    schema = pa.schema([(name, types.get(name, pa.string())) for name in columns.names()])
    with pq.ParquetWriter(path, schema) as writer:
        batches = (pa.record_batch([*columns.values(*chunk, float)], schema) for chunk in chunks)
        while group := [*islice(batches, GROUP)]:
            writer.write_table(pa.Table.from_batches(group, schema))


FORMATS = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}


def short(value: np.float32) -> float:
    """The shortest decimal of a float32: 0.99987507 and not 0.9998750686645508."""
    return float(str(value))
