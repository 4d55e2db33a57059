"""The settings of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareSettings:
    """What `digits compare` is told."""

    out: Path = Path("runs/comparison")
    """The folder for comparison.html, comparison.png and comparison.json; those of an earlier comparison are
    replaced."""
