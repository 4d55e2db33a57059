"""A table as lines of text and as Markdown; `parts.jinja` shows it on a page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

CELLS = re.compile(r"(?<!\\)\|")  # between two cells of Markdown

if TYPE_CHECKING:
    from collections.abc import Sequence


class Table(NamedTuple):
    """Rows of text below a head. The first `names` columns are left-aligned names, the others right-aligned numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1

    def text(self) -> str:
        """The table for a terminal, with columns of the width of their longest cell."""
        lines = [self.head, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if column < self.names else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        )

    def markdown(self) -> str:
        marks = ["---"] * self.names + ["---:"] * (len(self.head) - self.names)
        return "\n".join(f"| {' | '.join(map(cell, row))} |" for row in [self.head, marks, *self.rows])

    @classmethod
    def of_markdown(cls, text: str) -> Table:
        """The table that Markdown describes."""
        rows = [[cell.strip().replace(r"\|", "|") for cell in CELLS.split(line)[1:-1]] for line in text.splitlines()]
        return cls(rows[0], rows[2:], rows[1].count("---"))


def cell(text: str) -> str:
    """Text as a cell of a Markdown table."""
    return text.replace("|", r"\|")
