"""Grey values to a digit: find the ink, drop the dust, and place it as MNIST does.

The procedure is the one that MNIST's authors published (LeCun, Cortes, Burges, "The MNIST database of handwritten
digits"): size-normalised to fit 20 x 20 pixels keeping its shape, anti-aliased, then centred in 28 x 28 by its centre
of mass. What comes before it, finding the ink on the paper, is ours.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from digits.images.errors import PictureError

SIDE = 28
BOX = 20
FAINTEST = 8.0  # of 255 grey levels: JPEG leaves 1 to 3 on empty paper
NOISE = 6.0  # standard deviations: of a million pixels of plain noise, none is as far out
STROKE = 0.2  # of full ink: what belongs to a stroke; the ringing of JPEG stays below
EDGE = 0.3  # of full ink: where the digit begins and ends
WHITE = 0.9  # the quantile of a stroke's pixels that becomes 255: its middle, not its brightest speck
DUST = 0.05  # of the largest connected part's ink: smaller parts are no strokes
GRID = 256  # cells along the longer side, in which connected parts are sought

Grey = NDArray[np.float32]
Digit = NDArray[np.uint8]


def border(grey: Grey) -> Grey:
    """The outermost pixels, flat: what a picture shows of its background."""
    return np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])


def find(grey: Grey) -> Grey:
    """Ink from 0 (paper) to 1 in grey values from 0 to 255, float32 [h, w] both, whichever of the two is darker.

    The paper is what the border shows; the ink is on whichever side of it reaches farther.

    Raises:
        PictureError: nothing stands out from the paper.
    """
    ink = paper(grey)
    np.subtract(grey, ink, out=ink)  # in place, as all that follows: copies of a large picture would add up
    if -ink.min() > ink.max():
        np.negative(ink, out=ink)
    noise = 1.4826 * np.median(np.abs(border(ink)))  # the standard deviation, by the median absolute deviation
    peak = float(ink.max())
    if peak < max(FAINTEST, NOISE * noise):
        raise PictureError(
            f"the picture is blank: its darkest and lightest spots are within {peak:.0f} of 255 grey levels"
            " of the paper; expected one digit that stands out"
        )
    ink /= np.float32(peak)
    np.clip(ink, 0, 1, out=ink)
    ink *= strokes(ink)
    ink /= ink.max()  # once more, since the peak may have been dust
    return ink


def paper(grey: Grey) -> Grey:
    """The paper's grey values, float32 [h, w]: the plane through the border, since light is seldom even.

    Least squares, repeated four times without what lay off the last plane, so that ink on the border does not tilt it.
    """
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in grey.shape)
    down, across = np.broadcast_to(y[:, None], grey.shape), np.broadcast_to(x, grey.shape)
    edge = border(grey)
    terms = np.stack([np.ones_like(edge), border(down), border(across)], axis=1)
    near, plane = np.full(edge.shape, fill_value=True), np.zeros(3, np.float32)
    for _ in range(4):
        plane = np.linalg.lstsq(terms[near], edge[near])[0]
        off = np.abs(edge - terms @ plane)
        near = off <= 2 * np.median(off) + 0.5
    level, dy, dx = plane
    return np.asarray((level + dy * y)[:, None] + dx * x, np.float32)


def strokes(ink: Grey) -> NDArray[np.bool_]:
    """Where the digit is, bool [h, w]: strokes and their soft edges, without dust."""
    cell = -(-max(ink.shape) // GRID)
    cells = np.maximum.reduceat(ink, np.arange(0, ink.shape[0], cell), axis=0)
    cells = np.maximum.reduceat(cells, np.arange(0, ink.shape[1], cell), axis=1)
    labels = connected(grown(cells > STROKE))
    amounts = np.bincount(labels.ravel(), weights=cells.ravel())
    amounts[0] = 0
    kept = grown((amounts >= DUST * amounts.max())[labels])
    return kept.repeat(cell, axis=0).repeat(cell, axis=1)[: ink.shape[0], : ink.shape[1]]


def grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask and its neighbours in eight directions, bool [h, w]."""
    wide = mask.copy()
    wide[:, 1:] |= mask[:, :-1]
    wide[:, :-1] |= mask[:, 1:]
    tall = wide.copy()
    tall[1:] |= wide[:-1]
    tall[:-1] |= wide[1:]
    return tall


def connected(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """A number for each part connected along rows and columns, intp [h, w], 0 outside: its last pixel's, from 1.

    Runs along rows that touch are joined: every run hooks onto the largest that it touches, until none touches a larger
    one. Two rounds at least halve what is left to join, so that no maze takes longer than a few milliseconds.
    """
    height, width = mask.shape
    flat = np.pad(mask, ((0, 0), (0, 1))).ravel()  # a column of nothing, so that no run crosses rows
    starts = flat & ~np.concatenate([[False], flat[:-1]])
    runs = np.where(flat, np.cumsum(starts), 0).reshape(height, width + 1)[:, :-1]
    ends = np.flatnonzero(flat & ~np.concatenate([flat[1:], [False]]))
    numbers = np.concatenate([[0], ends - ends // (width + 1) + 1])
    touching = (runs[:-1] > 0) & (runs[1:] > 0)
    return numbers[_joined(numbers.size, runs[:-1][touching], runs[1:][touching])][runs]


def _joined(count: int, above: NDArray[np.intp], below: NDArray[np.intp]) -> NDArray[np.intp]:
    """For each of 0 to count - 1, intp [count], the largest that pairs of above[i] and below[i] join it to."""
    root = np.arange(count)
    while above.size:
        lower, higher = np.minimum(above, below), np.maximum(above, below)
        np.maximum.at(root, lower, higher)
        while (further := root[root]).tobytes() != root.tobytes():
            root = further
        above, below = root[lower], root[higher]
        apart = above != below
        above, below = above[apart], below[apart]
    return root


def place(ink: Grey) -> Digit:
    """Ink from 0 to 1, float32 [h, w], as a digit, uint8 [28, 28]: fitted into 20 x 20, centred by its mass."""
    rows, columns = (np.flatnonzero((ink > EDGE).any(axis=axis)) for axis in (1, 0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    scale = BOX / max(bottom - top, right - left)
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    small = Image.fromarray(ink[top:bottom, left:right]).resize(size, Image.Resampling.BICUBIC)
    fitted = np.asarray(small).clip(0)
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
