"""The figures that a benchmark leaves beside its JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from digits.benchmarks.errors import BenchmarkError
from digits.report.figure import png
from digits.storage.atomic_file import write_bytes
from digits.storage.text import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure


def draw(out: Path, name: str, figure: Figure) -> None:
    """Draws a figure of the results in STEM.json as STEM-NAME.png. Raises BenchmarkError if it cannot be written."""
    file = out.with_name(f"{out.stem}-{name}.png")
    try:
        write_bytes(file, png(figure))
    except OSError as error:
        raise BenchmarkError(f"{file}: cannot be written ({error.strerror or error})") from error
    print(f"drawn: {one_line(file)}", flush=True)
