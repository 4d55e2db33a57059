"""Signs that stand between the digits of numbers and are as tall: plus signs and parentheses, told by their shape."""

import numpy as np

from digits.images.parts import Mask

CORNER = 0.3  # of a plus sign's sides: its corners are empty,
EMPTY = 0.02  # that is, so little of them is ink
ARM = 0.8  # of a side: its arms are at least so long
NARROW = 0.5  # of its height: a parenthesis is narrower
STROKE = 0.9  # of a parenthesis' rows have one stroke
BULGE = 0.08  # of its height: its middle is so far to one side of its ends
EVEN = 0.35  # of that bulge: so far are its two ends apart from left to right, and its two halves, at most


def is_sign(mask: Mask) -> bool:
    """Whether strokes, which fill their box's height and width, are a plus sign or a parenthesis."""
    return _is_plus(mask) or _is_parenthesis(mask)


def _is_plus(mask: Mask) -> bool:
    """Two arms that cross, and nothing in the corners."""
    height, width = mask.shape
    down, across = round(CORNER * height), round(CORNER * width)
    if not (down and across and 0.5 < width / height < 2):  # noqa: PLR2004 - neither is twice as long
        return False
    corners = [mask[rows, columns] for rows in _ends(down) for columns in _ends(across)]
    arms = max(mask.mean(axis=1)), max(mask.mean(axis=0))
    return bool(max(corner.mean() for corner in corners) < EMPTY and min(arms) > ARM)


def _ends(length: int) -> tuple[slice, slice]:
    return slice(None, length), slice(-length, None)


def _is_parenthesis(mask: Mask) -> bool:
    """One narrow stroke whose middle is to the left or the right of its ends, which are one above the other."""
    height, width = mask.shape
    if width > NARROW * height:
        return False
    strokes = np.diff(np.pad(mask, ((0, 0), (1, 0))).astype(np.int8), axis=1) == 1
    if (strokes.sum(axis=1) == 1).mean() < STROKE:
        return False
    counts = np.maximum(mask.sum(axis=1), 1)
    middles = mask @ np.arange(width) / counts
    top, upper, centre, lower, bottom = (float(part.mean()) for part in np.array_split(middles, 5))
    bulge = abs(centre - (top + bottom) / 2)
    return bulge > BULGE * height and max(abs(top - bottom), abs(upper - lower)) < EVEN * bulge
