"""The settings of reading data files, the same for every command that takes arrays; and settings that are lists.

Annotations are evaluated here, not later: the command line resolves them in the modules that inherit from this one.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cyclopts import Parameter, Token

from digits.report.number_format import comma_list

ARRAYS = "Arrays"


def list_option(parse: Callable[[str, list[str]], Iterable[object]], *, show_default: Any = comma_list) -> Parameter:
    """An option that is a comma-separated list, or a list in a TOML file.

    `parse` gets the text as given and its parts, and raises ValueError where they are wrong.
    """

    def convert(_type: object, tokens: Sequence[Token]) -> tuple[object, ...]:
        given = comma_list(token.value for token in tokens)  # a TOML file's list gives several tokens
        return tuple(parse(given, [part.strip() for part in given.split(",")]))

    return Parameter(converter=convert, n_tokens=1, show_default=show_default)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArraySettings:
    """How the arrays of a data file are read."""

    pixel_range: Annotated[Literal["auto", "0-1", "0-255"], Parameter(group=ARRAYS)] = "auto"
    """The range of pixels that are floats, or numbers of a CSV. `auto` decides by the maximum of the whole file, and
    says which."""

    invert: Annotated[bool, Parameter(group=ARRAYS)] = False
    """Swap black and white, for arrays whose background is bright and whose ink is dark."""

    transpose: Annotated[bool, Parameter(group=ARRAYS)] = False
    """Swap rows and columns, as for the files of EMNIST."""
