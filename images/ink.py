"""The ink in grey values: what stands out from the paper, without the dust; and its place in a digit, as MNIST's.

MNIST's authors published how (LeCun, Cortes, Burges, "The MNIST database of handwritten digits"): fitted into 20 x 20
pixels with its shape kept, anti-aliased, then centred in 28 x 28 by its centre of mass. The step before, finding the
ink on the paper, is ours.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from digits.images import clarity, paper, parts, threshold
from digits.images.digit import SIDE
from digits.images.paper import Grey, Greys
from digits.images.parts import Mask

BOX = 20
GRID = 256  # cells along the longer side: ink is searched for in their means
SMALL = 40  # cells: a smaller digit is searched for again, in finer cells
AROUND = 0.3  # of its size: the paper around it that is searched again
FAINTEST = 8.0  # of 255 grey levels: JPEG leaves 1 to 3 on empty paper
NOISE = 6.0  # standard deviations: none of a million pixels of plain noise is as far away
SEEN = 0.2  # of the farthest pixel: what may be ink; the ringing of JPEG stays below
STROKE = 0.35  # of full ink: what belongs to a stroke; lines of school paper stay below
GRAIN = 3.0  # standard deviations of noise: the least for a stroke, unless that is half of full ink
FULL = 0.9  # the quantile of ink that is full ink: an inner pixel of a stroke, not its brightest speck
VEIL = 0.15  # of full ink: what becomes 0
EDGE = 0.3  # of full ink: where the digit begins and ends
WHITE = 0.9  # the quantile of a stroke's pixels that becomes 255
DUST = 0.05  # of the largest connected part's ink: smaller parts are dust

Digit = NDArray[np.uint8]


class Strokes(NamedTuple):
    """The ink that was found in a picture, in square cells.

    Attributes:
        ink: Distance from the paper, float32 [h, w]: 1 is full ink, 0 paper, negative the other direction.
        strokes: Which of it belongs to the digit, bool [h, w].
        pieces: How many connected parts the strokes have.
        cell: Pixels along a cell's side.
        corner: The row and the column of the picture's pixel where the first cell begins.
    """

    ink: Grey
    strokes: Mask
    pieces: int
    cell: int
    corner: tuple[int, int] = (0, 0)

    def box(self, cell: int) -> tuple[slice, slice]:
        """The rows and columns of the digit in other cells of the whole picture."""
        down, across = (
            slice((first + self.cell * one.start) // cell, -(-(first + self.cell * one.stop) // cell))
            for first, one in zip(self.corner, parts.extent(self.strokes), strict=True)
        )
        return down, across


def alone(ink: Grey, strokes: Mask) -> Grey:
    """The ink of these strokes, from 0 to 1, with 0 for all other, float32 [h, w]."""
    clear = (ink - np.float32(VEIL)) / np.float32(1 - VEIL)
    return np.asarray(np.clip(clear, 0, 1) * parts.grown(strokes), np.float32)


def by_surface(grey: Greys) -> Strokes:
    """The digit that stands out from a smooth surface, the paper; in the picture's own pixels, if it is small.

    Ink is darker or lighter than the paper, whichever weighs more. Raises the errors of `search.find`.
    """
    corner = 0, 0
    while True:
        found = _search(grey)._replace(corner=corner)
        box = parts.extent(found.strokes)
        size = max(side.stop - side.start for side in box)
        if found.cell == 1 or size >= SMALL:
            break
        around = round(AROUND * size) + 2
        first = [max(0, side.start - around) * found.cell for side in box]
        last = [(side.stop + around) * found.cell for side in box]
        grey = grey[first[0] : last[0], first[1] : last[1]]
        corner = corner[0] + first[0], corner[1] + first[1]
    clarity.check(found.ink, found.strokes, found.pieces)
    return found


def by_threshold(grey: Greys) -> Strokes:
    """The digit that is one of a picture's two tones. Raises UnclearError if it does not have two."""
    seen, cell = reduced(grey)
    ink = threshold.ink(seen)
    strokes, pieces = _strokes(ink, 0.5)
    clarity.check(ink, strokes, pieces, cropped=True)
    return Strokes(ink, strokes, pieces, cell)


def reduced(grey: Greys) -> tuple[Grey, int]:
    """The grey values in at most `GRID` cells a side, float32 [h, w], and how many pixels a cell's side has."""
    cell = -(-max(grey.shape) // GRID)
    return np.asarray(Image.fromarray(grey).reduce(cell) if cell > 1 else grey, np.float32), cell


def _search(grey: Greys) -> Strokes:
    """The ink in the cells of a picture. Raises BlankError or UnclearError if nothing stands out."""
    seen, cell = reduced(grey)
    ink, least = off_the_paper(seen, paper.surface(seen))
    strokes, pieces = _strokes(ink, least)
    ink /= np.float32(np.quantile(ink[strokes], FULL))  # again, since the first may have been dust's
    return Strokes(ink, strokes, pieces, cell)


def off_the_paper(seen: Grey, surface: Grey) -> tuple[Grey, float]:
    """Grey levels from the paper's surface to what stands out from it, float32 [h, w], and how many a stroke has.

    Raises BlankError or UnclearError if nothing stands out.
    """
    ink = seen - surface
    if np.vdot(ink * ink, ink) < 0:  # cubes, so that faint unevenness counts for nothing
        np.negative(ink, out=ink)
    noise = min(_deviation(ink), _deviation(paper.border(ink)))  # either may be half ink, where a crop is close
    peak = float(ink.max())
    if peak < max(FAINTEST, NOISE * noise):
        raise clarity.blank(peak, noise)
    full = np.quantile(ink[ink > min(max(SEEN * peak, GRAIN * noise), peak / 2)], FULL)
    return ink, min(max(STROKE * full, GRAIN * noise), full / 2)


def _deviation(values: Grey) -> float:
    """The standard deviation of noise around 0, by the median absolute deviation."""
    return 1.4826 * float(np.median(np.abs(values)))


def _strokes(ink: Grey, least: float) -> tuple[Mask, int]:
    """Where the digit is, bool [h, w], without dust; and of how many parts that touch or nearly do."""
    strokes = ink > least
    box = parts.extent(strokes)
    inside = strokes[box]
    labels = parts.connected(parts.grown(inside))
    amounts = np.bincount(labels.ravel(), weights=(ink[box] * inside).ravel())
    whole = amounts >= DUST * amounts.max()
    whole[0] = False
    strokes[box] &= whole[labels]
    return strokes, int(whole.sum())


def place(ink: Grey) -> Digit:
    """Ink from 0 to 1, float32 [h, w], as a digit, uint8 [28, 28]: fitted into 20 x 20, centred by its mass."""
    cut = ink[parts.extent(ink > EDGE)]
    height, width = cut.shape
    scale = BOX / max(cut.shape)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    fitted = np.asarray(Image.fromarray(cut).resize(size, Image.Resampling.BICUBIC)).clip(0)
    fitted = np.clip(fitted / np.quantile(fitted[fitted > 0.5 * fitted.max()], WHITE), 0, 1)
    digit = np.zeros((SIDE, SIDE), np.uint8)
    y, x = (
        int(np.clip(round(SIDE / 2 - centre), 0, SIDE - n))
        for centre, n in zip(_centre(fitted), fitted.shape, strict=True)
    )
    digit[y : y + fitted.shape[0], x : x + fitted.shape[1]] = np.rint(fitted * 255)
    return digit


def _centre(mass: Grey) -> tuple[float, float]:
    """The centre of mass as row and column."""
    total = mass.sum()
    rows, columns = np.arange(mass.shape[0]), np.arange(mass.shape[1])
    return float(mass.sum(axis=1) @ rows / total), float(mass.sum(axis=0) @ columns / total)
