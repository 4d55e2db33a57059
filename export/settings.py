"""The settings of an export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """What `digits export` is told."""

    models: Path = Path("models")
    """The model repository to publish in."""

    test_data: str | None = None
    """Where the run's own MNIST lies now, if not where the run found it: an .npz, a folder of IDX files, `embedded`."""

    max_abs_diff: Annotated[float, Parameter(validator=Number(gte=0))] = 1e-5
    """Largest difference of a probability from Keras's that is published."""
