"""The inputs that a scoring leaves out, counted by reason."""

import os
from collections import Counter
from collections.abc import Iterator

from digits.storage.text import one_line

SHOWN = 8  # reasons
EMPTY = "nothing to score in it"


class Skipped:
    """Inputs that give no row."""

    def __init__(self) -> None:
        self._reasons: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, path: str, reason: str) -> None:
        """One more. The reason is a few words that many inputs share."""
        self._reasons[reason] += 1
        self._first.setdefault(reason, path)

    def add_name(self, path: str) -> None:
        """A file in a folder or an archive that is not scored because of its name."""
        name = os.path.basename(path)
        suffix = os.path.splitext(name)[1]
        self.add(path, "hidden file" if name.startswith(".") else f"{suffix} file" if suffix else "file without suffix")

    @property
    def total(self) -> int:
        """How many."""
        return self._reasons.total()

    def lines(self) -> Iterator[str]:
        """Each reason with its count and its first input, the most frequent first."""
        reasons = self._reasons.most_common()
        for reason, count in reasons[:SHOWN]:
            yield f"{count:,} x {one_line(reason)}: {one_line(self._first[reason])}"
        if more := sum(count for _, count in reasons[SHOWN:]):
            yield f"and {more:,} more"
