"""The rows that a scoring has finished: an SQLite file next to the table, which a crash at any moment leaves valid."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from digits.score.chunk import Chunk, Decoded, Problem, Scored, Several
from digits.score.errors import ScoreError

# A record is a chunk: a record for each row would cost more time than the model.
SCHEMA = """
    CREATE TABLE IF NOT EXISTS about (facts TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS chunks (
        start INTEGER PRIMARY KEY, count INTEGER NOT NULL, paths TEXT NOT NULL, stamps TEXT NOT NULL,
        digits BLOB NOT NULL, confidences BLOB NOT NULL, probabilities BLOB, novelties BLOB,
        problems TEXT NOT NULL, several TEXT
    );
    CREATE TABLE IF NOT EXISTS uncertain (
        position INTEGER NOT NULL, path TEXT NOT NULL, digit INTEGER NOT NULL, confidence REAL NOT NULL,
        pixels BLOB NOT NULL
    );
"""
UNCERTAIN = 60  # digits of least confidence whose pixels are kept


class Uncertain(NamedTuple):
    """One of the digits of least confidence, with the path of its row.

    Attributes:
        digit: The answer, 0 to 9.
        confidence: Its probability.
        pixels: The model's input, uint8 [28, 28].
    """

    path: str
    digit: int
    confidence: float
    pixels: NDArray[np.uint8]


class Journal:
    """The finished rows, in their order, without a gap. A context manager; only one process may have it open.

    Args:
        path: Of the file; a new one is made if it does not exist.

    Attributes:
        facts: What all its rows have in common; empty for a new journal.

    Raises:
        ScoreError: another process has it open, or it is not a journal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._database = sqlite3.connect(path, timeout=0)
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")  # a crash of the system may lose the last chunks
            self._database.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
        except sqlite3.Error as error:
            busy = "locked" in str(error)
            what = "another scoring writes it" if busy else f"it is not a journal of digits score: {error}"
            raise ScoreError(f"{path}: {what}; give another --out") from error
        found = self._database.execute("SELECT facts FROM about").fetchone()
        self.facts: dict[str, str] = json.loads(found[0]) if found else {}

    @property
    def inputs(self) -> int:
        """How many inputs have their rows: as many as rows, unless pictures have several digits."""
        last = self._database.execute("SELECT start + count FROM chunks ORDER BY start DESC LIMIT 1").fetchone()
        return last[0] if last else 0

    def begin(self, facts: dict[str, str]) -> None:
        """Stores what all rows will have in common."""
        with self._database:
            self._database.execute("DELETE FROM about")
            self._database.execute("INSERT INTO about VALUES (?)", (json.dumps(facts),))
        self.facts = facts

    def holds(self, start: int, chunk: Chunk) -> bool:
        """Whether the rows from `start` on are this chunk's inputs, unchanged since."""
        query = "SELECT paths, stamps FROM chunks WHERE start = ?"
        found = self._database.execute(query, (start,)).fetchone()
        return bool(found == (json.dumps(chunk.paths), json.dumps(chunk.stamps)))

    def truncate(self, start: int) -> None:
        """Removes the rows from there on."""
        with self._database:
            self._database.execute("DELETE FROM chunks WHERE start >= ?", (start,))
            self._database.execute("DELETE FROM uncertain WHERE position >= ?", (start,))

    def add(self, scored: Scored) -> None:
        """Adds a chunk's rows after the others, all or none of them."""
        chunk, problems, start, several = scored.inputs, scored.decoded.problems, self.inputs, scored.several
        optional = (None if array is None else array.tobytes() for array in (scored.probabilities, scored.novelties))
        texts = (json.dumps(chunk.paths), json.dumps(chunk.stamps))
        blobs = (scored.digits.tobytes(), scored.confidences.tobytes(), *optional)
        origins = None if several is None else json.dumps([several.origins, several.places])
        record = (start, len(chunk), *texts, *blobs, json.dumps(problems), origins)
        with self._database:  # commits, or rolls back
            self._database.execute("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", record)
            self._keep_uncertain(start, scored)

    def chunks(self) -> Iterator[Scored]:
        """All rows, in their order, chunk by chunk, without the inputs' contents."""
        columns = "paths, stamps, digits, confidences, probabilities, novelties, problems, several"
        for paths, stamps, digits, confidences, probabilities, novelties, problems, origins in self._database.execute(
            f"SELECT {columns} FROM chunks ORDER BY start"  # noqa: S608 - names of our own
        ):
            found = {int(index): Problem(*problem) for index, problem in json.loads(problems).items()}
            ten = None if probabilities is None else np.frombuffer(probabilities, np.float32).reshape(-1, 10)
            inputs = Chunk(json.loads(paths), json.loads(stamps), [])
            several = None if origins is None else Several(inputs, *json.loads(origins))
            yield Scored(
                inputs if several is None else several.chunk(),
                Decoded(np.zeros((0, 28, 28), np.uint8), found),
                np.frombuffer(digits, np.uint8),
                np.frombuffer(confidences, np.float32),
                ten,
                None if novelties is None else np.frombuffer(novelties, np.float32),
                several,
            )

    def uncertain(self) -> list[Uncertain]:
        """The digits of least confidence, at most 60, the least first."""
        query = "SELECT path, digit, confidence, pixels FROM uncertain ORDER BY confidence, position, rowid"
        return [
            Uncertain(json.loads(path), digit, confidence, np.frombuffer(pixels, np.uint8).reshape(28, 28))
            for path, digit, confidence, pixels in self._database.execute(query)
        ]

    def remove(self) -> None:
        """Closes it and deletes its files: the table is written."""
        self._database.close()
        for file in journal_files(self._path):
            file.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Closes it. Raises ScoreError for SQLite's error in the block, such as a full disk."""
        self._database.close()
        if isinstance(error, sqlite3.Error):
            raise ScoreError(f"{self._path}: {error}; is there space left, and may it be written?") from error

    def _keep_uncertain(self, start: int, scored: Scored) -> None:
        kept, worst = self._database.execute("SELECT COUNT(*), MAX(confidence) FROM uncertain").fetchone()
        below = worst if kept >= UNCERTAIN else 2.0
        places = np.delete(np.arange(len(scored.chunk)), [*scored.decoded.problems])  # of the digits among the rows
        found = [
            (
                start + (int(places[i]) if scored.several is None else scored.several.origins[places[i]]),
                json.dumps(scored.chunk.paths[places[i]]),  # which need not be UTF-8
                int(scored.digits[i]),
                float(scored.confidences[i]),
                scored.decoded.pixels[i].tobytes(),
            )
            for i in np.argsort(scored.confidences, kind="stable")[:UNCERTAIN]
            if scored.confidences[i] < below
        ]
        if not found:
            return
        self._database.executemany("INSERT INTO uncertain VALUES (?, ?, ?, ?, ?)", found)
        self._database.execute(
            "DELETE FROM uncertain WHERE rowid NOT IN "
            "(SELECT rowid FROM uncertain ORDER BY confidence, position, rowid LIMIT ?)",
            (UNCERTAIN,),
        )


def journal_files(path: Path) -> list[Path]:
    """A journal's file, and those that SQLite may write next to it."""
    return [Path(f"{path}{suffix}") for suffix in ("", "-wal", "-shm")]
