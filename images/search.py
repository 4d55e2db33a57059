"""Finds the one digit in a picture, by the first of several ways that shows one clearly."""

import contextlib
from typing import Literal, NamedTuple

from digits.images import clarity, ink, line_search, lines, parts, shadow, threshold
from digits.images.errors import BlankError, PictureError, SeveralDigitsError, UnclearError
from digits.images.ink import Strokes
from digits.images.lines import Line
from digits.images.paper import Grey, Greys


class Found(NamedTuple):
    """A digit in a picture.

    Attributes:
        strokes: The digit.
        way: How it was found: by the surface of the paper, out of a shadow, or by one threshold.
        lines: The straight lines that were removed before.
        cleaned: The picture without them.
    """

    strokes: Strokes
    way: Literal["surface", "shadow", "threshold"]
    cleaned: Greys
    lines: tuple[Line, ...] = ()

    def ink(self) -> Grey:
        """The digit's ink from 0 (paper) to 1, float32 [h, w], at most 256 a side, without all other ink."""
        return ink.alone(self.strokes.ink, self.strokes.strokes)


def find(grey: Greys) -> Found:
    """The digit in grey values from 0 to 255, float32 or uint8, at most 2047 a side.

    Raises:
        BlankError: nothing stands out from the paper.
        SeveralDigitsError: more than one digit does.
        UnclearError: something does that is not a digit.
    """
    seen, cell = ink.reduced(grey)
    straight = line_search.found(seen)
    found = _without_lines(grey, straight, cell)
    if found is None:
        try:
            found = _found(grey, shadows=True)
        except UnclearError as error:
            raise (clarity.lined(len(straight)) if straight else error) from None
    return found


def _without_lines(grey: Greys, straight: list[Line], cell: int) -> Found | None:
    """The digit once those lines are removed that are not its own; None if there are none, or else is no digit."""
    while straight:
        try:
            found = _found(lines.without(grey, straight, cell), shadows=False)
        except PictureError:
            return None
        box, thickness = found.strokes.box(cell), parts.thickness(found.strokes.strokes) * found.strokes.cell / cell
        others = [line for line in straight if line.is_apart(box, thickness, len(straight))]
        if len(others) == len(straight):
            return found._replace(lines=tuple(straight))
        straight = others
    return None


def _found(grey: Greys, *, shadows: bool) -> Found:
    """By the surface, out of a shadow, or by one threshold; a coarse picture by the threshold first."""
    if max(grey.shape) < threshold.COARSE:
        with contextlib.suppress(BlankError, UnclearError):
            return Found(ink.by_threshold(grey), "threshold", grey)
    try:
        return Found(ink.by_surface(grey), "surface", grey)
    except PictureError as error:
        several = isinstance(error, SeveralDigitsError)  # one of them may be a shadow
        if shadows and (strokes := _out_of_shadow(grey, alone=several)) is not None:
            return Found(strokes, "shadow", grey)
        if not several:
            with contextlib.suppress(BlankError, UnclearError):
                return Found(ink.by_threshold(grey), "threshold", grey)
        raise


def _out_of_shadow(grey: Greys, *, alone: bool) -> Strokes | None:
    """The digit on a page that is not a smooth surface, if it shows one clearly."""
    seen, cell = ink.reduced(grey)
    for light in (False, True):
        with contextlib.suppress(PictureError):
            even, corner = shadow.lifted(seen, light=light, alone=alone)
            found = ink.by_surface(even)
            top, left = (cell * (first + more) for first, more in zip(corner, found.corner, strict=True))
            return found._replace(cell=cell * found.cell, corner=(top, left))
    return None
