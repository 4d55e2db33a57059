"""A chunk of inputs, its digits, and its answers: the stages of a scoring."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from digits.images.rows import Rows

T = TypeVar("T")

OK = "ok"
BLANK = "blank"
SEVERAL = "several"
UNCLEAR = "unclear"
UNREADABLE = "unreadable"
NOT_A_DIGIT = "not a digit"
NOT_A_DIGIT_ERROR = "it is unlike any digit: its novelty is above the model's threshold"


class Problem(NamedTuple):
    """Why an input has no digit.

    Attributes:
        status: BLANK, SEVERAL, UNCLEAR, UNREADABLE or NOT_A_DIGIT.
        error: One line.
    """

    status: str
    error: str


Content = str | bytes | Problem  # a file's path, a picture's bytes, or why there is no picture


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Some inputs in a row.

    Attributes:
        paths: Their names in the table, [n].
        stamps: Size and time of the file that each is in, [n]: they change if the input does.
        contents: Pictures [n]; or digits that need no decoding, uint8 [n, 28, 28].
    """

    paths: list[str]
    stamps: list[str]
    contents: list[Content] | NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A chunk's digits.

    Attributes:
        pixels: Of the inputs without a problem, in their order, uint8 [m, 28, 28].
        problems: By index, of the others.
        rows: By index, those of pictures that may have several digits: the pixels are all their candidates' then.
    """

    pixels: NDArray[np.uint8]
    problems: dict[int, Problem] = field(default_factory=dict)
    rows: dict[int, Rows] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Several:
    """Where the rows of pictures with several digits come from.

    Attributes:
        inputs: The pictures, n, without their contents.
        origins: For each row of the table, the index of its picture.
        places: For each of them, its row in the picture, from 1, and its box: left, top, right and bottom in pixels of
            the upright picture; None for a picture without digits.
    """

    inputs: Chunk
    origins: list[int]
    places: list[list[int] | None]

    def chunk(self) -> Chunk:
        """The rows of the table as inputs of their own."""
        paths, stamps = (
            [column[index] for index in self.origins] for column in (self.inputs.paths, self.inputs.stamps)
        )
        return Chunk(paths, stamps, [])


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A chunk with its answers: m digits and the problems of the other inputs.

    Attributes:
        digits: uint8 [m].
        confidences: float32 [m].
        probabilities: float32 [m, 10], or None if they are not wanted.
        novelties: Of each of the n inputs, float32 [n], NaN where the model was not asked; None if it has no novelty.
        several: If pictures may have several digits: which. Then the chunk's inputs are rows, one for each digit.
    """

    chunk: Chunk
    decoded: Decoded
    digits: NDArray[np.uint8]
    confidences: NDArray[np.float32]
    probabilities: NDArray[np.float32] | None
    novelties: NDArray[np.float32] | None
    several: Several | None = None

    @property
    def inputs(self) -> Chunk:
        """The pictures and arrays that were scored."""
        return self.chunk if self.several is None else self.several.inputs

    def spread(self, values: Iterable[T]) -> list[T | None]:
        """A value for each of the m digits as one for each of the n inputs: None for a problem."""
        rest, problems = iter(values), self.decoded.problems
        return [None if index in problems else next(rest) for index in range(len(self.chunk))]
