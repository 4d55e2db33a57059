"""Straight lines that are not a digit's: a form's frame, the lines of ruled or squared paper, an underline."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from digits.images.paper import Grey, Greys

BEYOND = 0.08  # of the digit's size: how far a line goes beyond it at both ends
GRID = 3  # lines: so many are no digit's, and a digit among them may be as large as they are long
LONGER = 1.2  # times the digit's extent: how long a line is that does not
SHORTEST = 0.8  # of the digit's size: the length of any line
THINNER = 0.5  # of the thickness of the digit's strokes: a line that touches them
THICKEST = 4  # cells: thinner strokes cannot be told from a line
CORNER = 2  # times its width: how far a line is removed beyond its ends, for the corners of a frame

Places = NDArray[np.intp]


class Line(NamedTuple):
    """A line from left to right, or, if upright, from top to bottom with x and y exchanged; in cells.

    Attributes:
        upright: Whether it goes from top to bottom.
        start: Where it begins.
        stop: Where it ends, just outside.
        offset: Its middle's place at 0.
        slope: How much that moves with each cell.
        width: How thick it is.
    """

    upright: bool
    start: int
    stop: int
    offset: float
    slope: float
    width: int

    def is_apart(self, box: tuple[slice, slice], thickness: float, lines: int) -> bool:
        """Whether this one of some lines is no stroke of the digit in a box, whose strokes have a thickness.

        It is long, and does not touch the digit; or it goes beyond it at both ends, or is much thinner. Of few lines,
        an upright one that touches the digit may be the stem of a 4.
        """
        along, off = box if self.upright else box[::-1]
        size = max(one.stop - one.start for one in box)
        length = self.stop - self.start
        margin = 0 if lines >= GRID else BEYOND * size
        is_beyond: bool = self.start <= along.start - margin and self.stop >= along.stop + margin
        is_longer: bool = length >= LONGER * (along.stop - along.start)
        if length < SHORTEST * size or not (is_beyond or is_longer):
            return False
        ends = [self.offset + self.slope * place for place in (self.start, self.stop)]
        if min(ends) - self.width / 2 >= off.stop or max(ends) + self.width / 2 < off.start:
            return True
        if self.upright and lines < GRID:
            return False
        return is_beyond or (self.width <= THINNER * thickness and thickness >= THICKEST)


def without(grey: Greys, lines: list[Line], cell: int) -> Grey:
    """The picture without the lines, float32 [h, w]: what is on both their sides continues across them.

    Args:
        grey: The picture in its own pixels.
        lines: The lines, in cells.
        cell: Pixels along a cell's side.
    """
    result = np.array(grey, np.float32)
    for line in lines:
        view = result.T if line.upright else result
        corner = CORNER * line.width
        columns = np.arange(max(0, line.start - corner) * cell, min((line.stop + corner) * cell, view.shape[1]))
        middle = (line.offset + line.slope * columns / cell + 0.5) * cell
        half = (line.width / 2 + 1) * cell
        _bridge(view, columns, np.rint(middle - half).astype(np.intp), np.rint(middle + half).astype(np.intp))
    return result


def _bridge(view: Grey, columns: Places, first: Places, last: Places) -> None:
    """In each column, the rows from first to last go evenly from the value above to the one below."""
    height = len(view)
    above, below = view[np.maximum(first - 1, 0), columns], view[np.minimum(last, height - 1), columns]
    above, below = np.where(first > 0, above, below), np.where(last < height, below, above)
    span = last - first + 1
    for step in range(int(span.max()) - 1):
        row = first + step
        inside = (row >= 0) & (row < np.minimum(last, height))
        part = ((step + 1) / span)[inside]
        view[row[inside], columns[inside]] = (1 - part) * above[inside] + part * below[inside]
