"""Finds straight lines in a picture.

Dark features that are thin in one direction are what a closing in this direction fills. Those on a straight line are
counted for each slope and place (Hough, "Method and Means for Recognizing Complex Patterns", US patent 3,069,654,
1962), and a line is fitted to them by least squares.
"""

from typing import NamedTuple

import numpy as np

from digits.images.closing import Shades, closed, extreme, shades
from digits.images.lines import Line, Places
from digits.images.paper import Grey
from digits.images.parts import Mask

SMALL = 40  # cells along the longer side: in smaller pictures the strokes of digits look like lines
THICK = 0.05  # of the longer side: the thickest line
FAINT = 0.25  # of full ink: fainter lines are not taken for ink
LEAST = 12  # grey levels: fainter lines are noise
PAPER, EXTREMES = 0.5, (0.005, 0.995)  # the quantiles that are the paper, and the darkest and the lightest ink
LONG = 0.6  # of the picture's side: the shortest line
ACROSS = 0.9  # of the picture's side: the shortest upright line that is not in the outer part, as a 1 may be
OUTER = 0.25  # of the picture's side: the outer part, at either end
COVERED = 0.6  # of a line: what has to be there; the rest may be under the digit
GAP = 0.5  # of the picture's side: the widest gap, where the digit crosses
SLOPES = np.linspace(-0.08, 0.08, 9)
NEAR = 4.0, 2.0  # cells from the line, besides half of the thickest: what it is fitted to, first and then


class Thin(NamedTuple):
    """What is thin from top to bottom in a picture; or, if upright, in the picture with x and y exchanged.

    Attributes:
        mask: Where they are, bool [h, w].
        rows: The rows where they are.
        columns: The columns where they are.
        thickest: How many rows one has at most.
        upright: Whether x and y are exchanged.
    """

    mask: Mask
    rows: Places
    columns: Places
    thickest: int
    upright: bool


def found(grey: Grey) -> list[Line]:
    """The lines of a picture of grey values from 0 to 255, float32 [h, w], at most 256 a side."""
    if max(grey.shape) < SMALL:
        return []
    dark, full = _darkness(grey)
    thickest = 1 + int(THICK * max(grey.shape))
    lines = []
    for upright in (False, True):
        view = np.ascontiguousarray(dark.T) if upright else dark
        mask = closed(view, thickest) - view > max(LEAST, FAINT * full)
        rows = extreme(mask.view(np.uint8), min(len(mask), thickest + 2), np.maximum)
        if rows.sum(axis=1, dtype=np.intp).max() >= LONG * mask.shape[1]:
            places = np.nonzero(mask)
            lines += _parallel(Thin(mask, places[0], places[1], thickest, upright))
    return lines


def _darkness(grey: Grey) -> tuple[Shades, float]:
    """The grey values, inverted if the ink is light, uint8 [h, w]; and how many levels the ink is off the paper."""
    values = shades(grey)
    levels = np.cumsum(np.bincount(values.ravel(), minlength=256)) / values.size
    paper, darkest, lightest = (float(np.searchsorted(levels, share)) for share in (PAPER, *EXTREMES))
    if paper - darkest >= lightest - paper:
        return values, paper - darkest
    return 255 - values, lightest - paper


def _parallel(thin: Thin) -> list[Line]:
    """The long lines among thin features, most of which have the slope of the best one."""
    height, width = thin.mask.shape
    above = 1 + int(SLOPES[-1] * width / 2)  # rows outside the picture where a line may be at its middle
    places = np.rint(thin.rows - SLOPES[:, None] * (thin.columns - width / 2)).astype(np.intp) + above
    counts = np.array([np.bincount(one, minlength=height + 2 * above) for one in places])
    best = int((counts**2).sum(axis=1).argmax())
    count, slope = counts[best], float(SLOPES[best])
    lines: list[Line] = []
    while (peak := int(count.argmax())) and count[peak] > LONG * width / 3:
        count[max(0, peak - 2) : peak + 3] = 0
        line = _traced(thin, *_fitted(thin, peak - above - slope * width / 2, slope))
        if line is not None and not any(_are_same(line, other, width) for other in lines):
            lines.append(line)
    return lines


def _are_same(line: Line, other: Line, width: int) -> bool:
    off = (line.offset - other.offset) + (line.slope - other.slope) * width / 2
    return abs(off) <= (line.width + other.width) / 2 + 1


def _fitted(thin: Thin, offset: float, slope: float) -> tuple[float, float]:
    """The offset and slope of the line through the features near this one."""
    for reach in NEAR:
        near = np.abs(thin.rows - offset - slope * thin.columns) <= reach + thin.thickest / 2
        if not near.any():
            break
        x, y = thin.columns[near], thin.rows[near]
        across = x - x.mean()
        slope = float(across @ y / max(1, across @ across))
        offset = float(y.mean() - slope * x.mean())
    return offset, slope


def _traced(thin: Thin, offset: float, slope: float) -> Line | None:
    """The line as far as there are features on it; None if it is too short, or has too few of them."""
    height, width = thin.mask.shape
    reach = thin.thickest // 2 + 1
    columns = np.arange(width)
    window = np.rint(offset + slope * columns).astype(np.intp) + np.arange(-reach, reach + 1)[:, None]
    there = thin.mask[window.clip(0, height - 1), columns] & (window >= 0) & (window < height)
    covered = np.flatnonzero(there.any(axis=0))
    if not covered.size:
        return None
    longest = max(np.split(covered, np.flatnonzero(np.diff(covered) > GAP * width) + 1), key=len)
    start, stop = int(longest[0]), int(longest[-1]) + 1
    off_middle = abs((offset + slope * (start + stop) / 2) / height - 0.5)
    least = ACROSS if thin.upright and off_middle < 0.5 - OUTER else LONG
    if stop - start < least * width or longest.size < COVERED * (stop - start):
        return None
    return Line(thin.upright, start, stop, offset, slope, int(np.median(there.sum(axis=0)[longest])))
