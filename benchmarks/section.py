"""A benchmark's results for people: the terminal, the Markdown and the page are made from the same section."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from digits.benchmarks.errors import BenchmarkError
from digits.report.figure import png
from digits.report.table import Table
from digits.storage.atomic_file import write_bytes
from digits.storage.text import one_line

Row = dict[str, Any]  # a measurement of the JSON
MakeFigure = Callable[[], Any]  # a Figure of matplotlib, which is imported only where one is drawn


class Drawing(NamedTuple):
    """A figure, which is written next to STEM.json as STEM-NAME.png."""

    name: str
    draw: MakeFigure
    alt: str
    caption: str


@dataclass(frozen=True, slots=True)
class Section:
    """The results of one benchmark.

    Attributes:
        title: The question that it answers.
        result: Its JSON, whose head says how it was measured.
        text: Paragraphs.
        tables: The measurements.
        drawings: Figures that can be drawn from the JSON.
        kept: Names of the figures that only the benchmark itself could draw, with alternative text and caption.
    """

    title: str
    result: dict[str, Any]
    text: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    drawings: list[Drawing] = field(default_factory=list)
    kept: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """Where the numbers come from, in a sentence."""
        result, machine = self.result, self.result["machine"]
        versions = result["versions"]
        used = [f"{name} {versions[name]}" for name in ("python", "onnxruntime", "numpy") if name in versions]
        whole = "" if result["complete"] else f" Ended early by: {result['ended_by']}."
        commit = f", commit {result['commit']}" if result["commit"] else ""
        int8 = f" ({', '.join(machine['int8'])})" if machine.get("int8") else ""
        where = f"{machine['cores']} cores of {machine['cpu']}{int8}, {machine['system']}"
        return f"On {where}; {', '.join(used)}; {result['finished'][:10]}{commit}.{whole}"

    def show(self, out: Path) -> None:
        """Prints the tables, and draws the figures next to the JSON file. Raises BenchmarkError if that fails."""
        for drawing in self.drawings:
            write_figure(out, drawing.name, drawing.draw())
        print("", *(table.text() for table in self.tables if table.rows), *self.text, sep="\n\n", flush=True)


def write_figure(out: Path, name: str, figure: Any) -> bytes:
    """Writes a figure of the results in STEM.json as STEM-NAME.png. Raises BenchmarkError if it cannot be written."""
    file, content = out.with_name(f"{out.stem}-{name}.png"), png(figure)
    try:
        write_bytes(file, content)
    except OSError as error:
        raise BenchmarkError(f"{file}: cannot be written ({error.strerror or error})") from error
    print(f"drawn: {one_line(file)}", flush=True)
    return content
