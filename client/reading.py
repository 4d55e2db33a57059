"""The result of reading a picture of any number of digits, in rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from digits.client.predictions import Predictions
    from digits.images.rows import Glyph, Rows

CERTAIN = 0.98  # confidence: below it, a glyph may be two digits that touch,
TIMES = 10  # if the answers to its halves are so many times less doubtful than its own
UNREAD = "?"
TOUCHING = "digits that touch, and no clear cut between them"
OTHER = "unlike any digit"


@dataclass(frozen=True, slots=True)
class ReadDigit:
    """What is written at one place.

    Attributes:
        row: The number of its row, from 1.
        box: Left, top, right and bottom in the pixels of the upright picture; right and bottom are just outside.
        digit: 0 to 9; None if it is not read.
        confidence: The probability of that digit; None if it is not read.
        error: Why it is not read: digits that touch, or something else than a digit.
    """

    row: int
    box: tuple[int, int, int, int]
    digit: int | None
    confidence: float | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """The digits of a picture, in rows from top to bottom, each from left to right.

    Attributes:
        digits: All of them.
        left_out: How many marks are not among them: signs, such as hyphens, plus signs and parentheses, and faint ones.
        model_version: The model version that answered.
    """

    digits: tuple[ReadDigit, ...]
    left_out: int
    model_version: str

    @property
    def text(self) -> str:
        """A line for each row; `?` stands for what is not read."""
        lines = [""] * self.digits[-1].row
        for one in self.digits:
            lines[one.row - 1] += UNREAD if one.digit is None else str(one.digit)
        return "\n".join(lines)


class Choice(NamedTuple):
    """A glyph that is read as one digit.

    Attributes:
        row: The number of its row, from 1.
        place: That of its answer among the predictions.
        error: Why it is not read; None if it is.
    """

    row: int
    glyph: Glyph
    place: int
    error: str | None


def choices(rows: Rows, predictions: Predictions, start: int = 0) -> Iterator[Choice]:
    """The glyphs of a picture, each as one digit or as its halves, by the answers to its candidates from `start` on."""
    is_digit = _is_digit(predictions)
    whole = start
    for number, row in enumerate(rows.rows, 1):
        for glyph in row:
            halves = {whole + 1: glyph.halves[0], whole + 2: glyph.halves[1]} if glyph.halves else {}
            for place, one in (halves if halves and _are_two(whole, predictions) else {whole: glyph}).items():
                yield Choice(number, one, place, None if one.is_one and is_digit[place] else _error(one))
            whole += 1 + len(halves)


def reading(rows: Rows, predictions: Predictions) -> Reading:
    """The reading of rows, by the answers to all their candidates."""
    digits, confidences = predictions.digits.tolist(), predictions.confidences.tolist()
    found = (
        ReadDigit(row, glyph.box, None, None, error)
        if error
        else ReadDigit(row, glyph.box, digits[place], confidences[place])
        for row, glyph, place, error in choices(rows, predictions)
    )
    return Reading(tuple(found), rows.left_out, predictions.model_version)


def _error(glyph: Glyph) -> str:
    return OTHER if glyph.is_one else TOUCHING


def _are_two(whole: int, predictions: Predictions) -> bool:
    """Whether the halves of a glyph, whose answers follow its own, are two digits rather than it is one."""
    halves = slice(whole + 1, whole + 3)
    is_digit, doubts = _is_digit(predictions), 1 - predictions.confidences
    if not is_digit[halves].all():
        return False
    doubt = doubts[whole] if is_digit[whole] else 1.0
    return bool(doubt > 1 - CERTAIN and TIMES * doubts[halves].max() < doubt)


def _is_digit(predictions: Predictions) -> NDArray[np.bool_]:
    if predictions.not_a_digit is None:
        return np.ones(len(predictions), np.bool_)
    return ~predictions.not_a_digit
