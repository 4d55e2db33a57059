"""Whether B is slower than A: two builds, measured in turn, or two files, of which that can only be indicated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from digits.benchmarks.compare import builds as compare_builds
from digits.benchmarks.compare import files as compare_files
from digits.benchmarks.errors import BenchmarkError

if TYPE_CHECKING:
    from pathlib import Path

    from digits.benchmarks.settings import CompareBenchmarkSettings


def run(a: Path, b: Path, settings: CompareBenchmarkSettings) -> bool:
    """Compares them, prints what came of it, and gives whether B is slower, which two files never show.

    Raises:
        BenchmarkError: one of them is neither a build nor a file of `digits bench server`, or only one is a file.
    """
    match [path for path in (a, b) if path.suffix == ".json"]:
        case []:
            return compare_builds.run(a, b, settings)
        case [alone]:
            raise BenchmarkError(f"{alone}: a file is compared with another one only; give two files or two builds")
        case _:
            compare_files.run(a, b, settings)
            return False
