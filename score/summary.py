"""The summary of a table, in a few lines."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from digits.score.chunk import OK, Scored
from digits.score.journal import Uncertain
from digits.storage.text import one_line

SHOWN = 8  # files of least confidence, and files without a digit


class Summary:
    """Counts rows as they are written."""

    def __init__(self) -> None:
        self.rows = self.inputs = 0  # inputs are fewer if pictures have several digits
        self._statuses: Counter[str] = Counter()
        self._digits = np.zeros(10, np.int64)
        self._confidence = 0.0
        self._failed: list[str] = []
        self._without_novelty = 0  # digits of a model that has no novelty
        self._confusion = np.zeros((10, 11), np.int64)  # label, digit or none

    def add(self, scored: Scored, labels: list[int | None]) -> None:
        """A chunk, with the label of each of its rows, if there are labels."""
        problems = scored.decoded.problems
        self._statuses[OK] += len(scored.digits)
        self._statuses.update(problem.status for problem in problems.values())
        for index, problem in islice(problems.items(), SHOWN - len(self._failed)):
            self._failed.append(f"{one_line(scored.chunk.paths[index])}: {problem.error}")
        if scored.novelties is None:
            self._without_novelty += len(scored.digits)
        self._digits += np.bincount(scored.digits, minlength=10)
        self._confidence += float(scored.confidences.sum(dtype=np.float64))
        for label, digit in zip(labels, scored.spread(scored.digits.tolist()), strict=False):
            if label is not None:
                self._confusion[label, 10 if digit is None else digit] += 1
        self.rows += len(scored.chunk)
        self.inputs += len(scored.inputs)

    @property
    def failed(self) -> int:
        """Rows without a digit."""
        return self.rows - self._statuses[OK]

    @property
    def labelled(self) -> int:
        """Rows with a label."""
        return int(self._confusion.sum())

    def lines(self, uncertain: Sequence[Uncertain]) -> Iterator[str]:
        """The summary, line by line, with the first of the digits of least confidence."""
        classified = self._statuses[OK]
        if not self.rows:
            yield "status      nothing to score: no picture, archive or array by its name"
            return
        yield "status      " + ", ".join(f"{n:,} {status}" for status, n in self._statuses.most_common() if n)
        if classified:
            yield "digits      " + ", ".join(f"{n:,} x {digit}" for digit, n in enumerate(self._digits) if n)
            yield f"confidence  {self._confidence / classified:.2%} on average; the least certain:"
            for one in uncertain[:SHOWN]:
                yield f"            {one.confidence:7.2%}  {one.digit}  {one_line(one.path)}"
        if self._without_novelty:
            yield "novelty     this model has none: pictures of other things get a digit too"
        if self._failed:
            more = self.failed - len(self._failed)
            yield "no digit    " + "\n            ".join(self._failed + ([f"and {more:,} more"] if more else []))
        yield from self._accuracy()

    def _accuracy(self) -> Iterator[str]:
        labelled = self.labelled
        if not labelled:
            return
        classified = int(self._confusion[:, :10].sum())
        right = int(np.trace(self._confusion))
        if classified:
            yield f"accuracy    {right / classified:.2%}: {right:,} of {classified:,} labelled digits"
        if labelled > classified:
            yield f"            {labelled - classified:,} labelled pictures have no digit and are not counted"
        yield "confusion   rows are labels, columns answers"
        columns = [*map(str, range(10)), *["none"][: labelled > classified]]
        width = max(4, len(f"{self._confusion.max():,}"))
        yield " " * 14 + " ".join(f"{name:>{width}}" for name in columns)
        for label, counts in enumerate(self._confusion[:, : len(columns)]):
            yield f"            {label} " + " ".join(f"{f'{n:,}' if n else '.':>{width}}" for n in counts)
