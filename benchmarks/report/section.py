"""A benchmark's part of the report: what both the Markdown and the page are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from digits.report.table import Table


class Drawing(NamedTuple):
    """A figure as PNG, called `file` beside the report."""

    file: str
    content: bytes
    alt: str
    caption: str


@dataclass(frozen=True, slots=True)
class Section:
    """A benchmark.

    Attributes:
        title: What it answers.
        result: Its JSON, whose head says how it was made.
        text: Paragraphs, before the rest.
        tables: What was measured.
        drawings: The same to look at.
    """

    title: str
    result: dict[str, Any]
    text: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    drawings: list[Drawing] = field(default_factory=list)

    @property
    def source(self) -> str:
        """Where the numbers come from, in a sentence."""
        result, machine = self.result, self.result["machine"]
        versions = result["versions"]
        of = ", ".join(f"{name} {versions[name]}" for name in ("python", "onnxruntime", "numpy") if name in versions)
        whole = "" if result["complete"] else f" Ended too early by: {result['ended_by']}."
        commit = f", commit {result['commit']}" if result["commit"] else ""
        where = f"{machine['cores']} cores of {machine['cpu']}, {machine['system']}"
        return f"On {where}; {of}; {result['finished'][:10]}{commit}.{whole}"


def drawn(folder: Path, file: str, alt: str, caption: str) -> list[Drawing]:
    """A figure that a benchmark has left beside its JSON, if it is still there."""
    path = folder / file
    return [Drawing(file, path.read_bytes(), alt, caption)] if path.exists() else []
