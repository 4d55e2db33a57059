"""The ink of a page with any number of digits, in cells of which a digit is `HEIGHT` tall, whatever its size was."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from digits.images import clarity, paper, parts, ruling
from digits.images.closing import closed_square, shades
from digits.images.ink import FULL, off_the_paper
from digits.images.paper import Floats, Grey, Greys
from digits.images.parts import Labels, Mask

HEIGHT = 48  # cells of a digit
GRID = 640  # cells along the longer side, in which the digits' height is found
LARGEST = 2560  # cells along the longer side, however small the digits are
SQUARE = 128  # cells a side, in which the paper is found
MARKS = 2000  # parts that are taller than specks, at most
SHADOW = 0.04  # of the border: more of it is in shadow
THICK = 0.15  # of the shorter side: the thickest stroke
SPECK = 4  # cells: lower parts say nothing of the digits' height
INSIDE = 0.25  # of a frame's height: one part that it contains is at least that tall,
CONTAINED = 2  # or it contains more parts
THREAD = 0.05  # of its length: a thinner part is a line


class Page(NamedTuple):
    """Ink in cells.

    Attributes:
        ink: Distance from the paper, float32 [h, w]: 1 is full ink, 0 paper, negative the other direction.
        strokes: What belongs to a stroke, bool [h, w], without printed lines and frames.
        scale: Cells along a side of a grey value.
    """

    ink: Grey
    strokes: Mask
    scale: float


def search(grey: Greys) -> Page:
    """The ink of a page, in grey values from 0 to 255, at most 2047 a side. Raises BlankError or UnclearError."""
    longest = max(grey.shape)
    scale = min(1.0, GRID / longest)
    _, strokes = _strokes(_scaled(grey, scale))
    height = _height(ruling.without_lines(strokes, round(_height(strokes))))
    scale = min(HEIGHT * scale / height, LARGEST / longest)
    ink, strokes = _strokes(_scaled(grey, scale))
    rest = ruling.without_lines(strokes, HEIGHT)
    full = np.quantile(ink[rest if rest.any() else strokes], FULL)
    return Page(ink / np.float32(full), rest, scale)


def _scaled(grey: Greys, scale: float) -> Grey:
    """Means of cells if they are larger than pixels; or else smoothly enlarged."""
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    how = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(grey.astype(np.float32)).resize(size, how), np.float32)


def _strokes(seen: Grey) -> tuple[Grey, Mask]:
    """Grey levels off the paper, float32 [h, w], and where strokes are, bool [h, w].

    The paper is found in a square: a row is too low for as many cells as its surface needs. Where much of the border
    stands out from it, that is a shadow, and the paper is what surrounds thin things instead.
    """
    square = Image.fromarray(seen).resize((SQUARE, SQUARE), Image.Resampling.BOX)
    surface = Image.fromarray(paper.surface(np.asarray(square)))
    height, width = seen.shape
    ink, least = off_the_paper(seen, np.asarray(surface.resize((width, height), Image.Resampling.BICUBIC)))
    strokes = ink > least
    if paper.border(strokes).mean() > SHADOW:
        ink, least = off_the_paper(seen, _surroundings(seen))
        strokes = ink > least
    return ink, strokes


def _surroundings(seen: Grey) -> Grey:
    """The paper around thin things that are dark, or that are light if there are more of these; float32 [h, w]."""
    size = 1 + int(THICK * min(seen.shape))
    dark, light = (
        closed_square(shades(seen, inverted=inverted), size).astype(np.float32) for inverted in (False, True)
    )
    light = 255 - light
    return dark if (dark - seen).sum() > (seen - light).sum() else light


def _height(strokes: Mask) -> float:
    """The digits' height in cells: of all ink that is in parts of digits, half is in lower ones, half in taller."""
    labels = parts.connected(parts.grown(strokes)) * strokes
    found = parts.boxes(labels)
    amounts = np.unique(labels[labels > 0], return_counts=True)[1]
    tall = found[:, 2] - found[:, 0] > SPECK
    if not tall.any():
        return HEIGHT
    found, amounts = found[tall], amounts[tall]
    require_few(len(found))
    plain = ~_frames(labels, found)
    if not plain.any():
        plain[:] = True
    return _weighted_median((found[:, 2] - found[:, 0])[plain], amounts[plain])


def require_few(marks: int) -> None:
    """Raises UnclearError for more marks than a page of digits has."""
    if marks > MARKS:
        raise clarity.unclear(f"{marks:,} separate marks")


def _frames(labels: Labels, found: Labels) -> NDArray[np.bool_]:
    """Which parts are frames or other lines: they contain others, have four straight sides, or are thin and long."""
    top, left, bottom, right = found.T
    heights, widths = bottom - top, right - left
    inside = (top[:, None] < top) & (left[:, None] < left) & (bottom[:, None] > bottom) & (right[:, None] > right)
    tall = heights >= INSIDE * heights[:, None]
    contain = (inside & tall).any(axis=1) | (inside.sum(axis=1) > CONTAINED)
    thin = np.minimum(heights, widths) < THREAD * np.maximum(heights, widths)
    four = [ruling.has_four_sides(labels[box[0] : box[2], box[1] : box[3]] > 0) for box in found]
    return np.asarray(contain | thin | np.array(four, np.bool_))


def _weighted_median(values: Labels, weights: Labels) -> float:
    order = np.argsort(values)
    totals: Floats = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][np.searchsorted(totals, 0.5)])
