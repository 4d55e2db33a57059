"""The settings of reading data files: the same for every command that takes arrays.

Annotations are evaluated here, not later: the command line resolves them in the modules that inherit from this one.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Parameter

ARRAYS = "Arrays"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArraySettings:
    """How the arrays of a data file are read."""

    pixel_range: Annotated[Literal["auto", "0-1", "0-255"], Parameter(group=ARRAYS)] = "auto"
    """The range of pixels that are floats, or numbers of a CSV. `auto` decides by the maximum of the whole file, and
    says which."""

    invert: Annotated[bool, Parameter(group=ARRAYS)] = False
    """Swap black and white, for arrays whose background is bright and whose ink is dark."""

    transpose: Annotated[bool, Parameter(group=ARRAYS)] = False
    """Swap rows and columns, as the files of EMNIST need it."""
