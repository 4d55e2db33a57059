"""A table as lines of text and as Markdown; `parts.jinja` shows it on a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

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
        lines = [" | ".join(cell.replace("|", r"\|") for cell in row) for row in [self.head, marks, *self.rows]]
        return "\n".join(f"| {line} |" for line in lines)
