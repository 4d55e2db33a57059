"""The settings of the benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 the command line resolves it at run time
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportBenchmarkSettings:
    """What `digits bench export` is told."""

    data: str | None = None
    """Where the runs' own MNIST lies, if it has been moved."""

    rounds: Annotated[int, Parameter(validator=Number(gte=2))] = 25
    """How often each variant is measured, in turn with the others."""

    out: Path | None = None
    """The JSON file to write. Default: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBenchmarkSettings:
    """What `digits bench training` is told."""

    data: str | None = None
    """MNIST, as for `digits train`."""

    epochs: Annotated[int, Parameter(validator=Number(gte=1))] = 10
    """Epochs of each training."""

    repeats: Annotated[int, Parameter(validator=Number(gte=1))] = 3
    """Pairs of trainings, with the seeds 0, 1, 2, ..."""

    out: Path | None = None
    """The JSON file to write. Default: none."""
