"""The lines that are printed on forms and ruled paper, and the frames around digits: found in strokes, and removed."""

import numpy as np

from digits.images import parts
from digits.images.parts import Labels, Mask

LONG = 1.4  # of a digit's height: a straight stroke from left to right that is longer is a line
HIGH = 1.8  # of a digit's height: the same from top to bottom, since a 1 is a straight stroke too
THIN = 0.2  # of a digit's height: the width of a line, at most
SIDE = 0.9  # of a digit's height: the length of a stroke between two lines that is the side of a frame, at least
BROKEN = 2  # cells on each side of a gap that a line may have
NEAR = 5  # cells from a frame's side to its corner
FULL_SIDE = 0.85  # of a frame's side is ink, at least
BAND = 0.12  # of a part's shorter side: so far the sides of a frame may lean
HOLLOW = 0.5  # of a frame's box is ink, at most


def without_lines(strokes: Mask, height: int) -> Mask:
    """Strokes without lines and frames, bool [h, w]. A digit that crosses a line stays whole.

    Args:
        strokes: bool [h, w].
        height: Of a digit.
    """
    rest = _without_frames(strokes, round(SIDE * height))
    thin = round(THIN * height)
    across = _lines(rest, round(LONG * height), thin)
    down = _lines(rest.T, round(HIGH * height), thin).T
    rest = rest & ~across & ~down
    return rest & ~_sides(rest, strokes & ~rest, thin, round(SIDE * height))


def has_four_sides(part: Mask) -> bool:
    """Whether a part, which fills its box's height and width, is a frame: hollow, with ink along all four sides."""
    band = _band(part)
    sides = (part[:band].any(axis=0), part[-band:].any(axis=0), part[:, :band].any(axis=1), part[:, -band:].any(axis=1))
    return bool(min(side.mean() for side in sides) > FULL_SIDE and part.mean() < HOLLOW)


def _band(part: Mask) -> int:
    height, width = part.shape
    return max(1, int(BAND * min(height, width) + 0.5))


def _without_frames(strokes: Mask, least: int) -> Mask:
    """Strokes without the sides of frames that are at least so high and wide; what is inside stays."""
    labels = parts.connected(_stretched(_stretched(strokes).T).T) * strokes
    rest = strokes.copy()
    for number, (top, left, bottom, right) in zip(parts.numbers(labels), parts.boxes(labels), strict=True):
        if min(bottom - top, right - left) < least:
            continue
        part = labels[top:bottom, left:right] == number
        if has_four_sides(part):
            band = _band(part)
            part[band:-band, band:-band] = False
            rest[top:bottom, left:right] &= ~part
    return rest


def _lines(strokes: Mask, long: int, thin: int) -> Mask:
    """The pixels of straight strokes from left to right, which may lean a little."""
    leaning = strokes.copy()
    leaning[1:] |= strokes[:-1]
    leaning[:-1] |= strokes[1:]
    return np.asarray(strokes & (_runs(_stretched(leaning)) >= long) & (thin >= _runs(strokes.T).T))


def _sides(strokes: Mask, lines: Mask, thin: int, high: int) -> Mask:
    """The thin strokes from top to bottom that stand between lines that were removed: sides of frames in a row."""
    labels = parts.connected(_stretched(strokes.T).T)
    found = parts.boxes(labels)
    is_side = np.zeros(labels.max() + 1, np.bool_)
    upright = (found[:, 3] - found[:, 1] <= thin) & (found[:, 2] - found[:, 0] >= high)
    for number, (top, left, bottom, right) in zip(parts.numbers(labels)[upright], found[upright], strict=True):
        around = lines[:, max(0, left - NEAR) : right + NEAR]
        above, below = around[max(0, top - NEAR) : top + NEAR], around[bottom - NEAR : bottom + NEAR]
        is_side[number] = above.any() and below.any()
    return np.asarray(is_side[labels])


def _stretched(mask: Mask) -> Mask:
    """The mask, to the left and the right by as much as a line may be broken."""
    wide = mask.copy()
    for by in range(1, BROKEN + 1):
        wide[:, by:] |= mask[:, :-by]
        wide[:, :-by] |= mask[:, by:]
    return wide


def _runs(mask: Mask) -> Labels:
    """For each pixel of the mask, how many pixels of its row are connected with it, itself among them; or else 0."""
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, ends = np.nonzero(edges == 1), np.nonzero(edges == -1)
    changes = np.zeros(edges.shape, np.intp)
    np.add.at(changes, starts, ends[1] - starts[1])
    np.subtract.at(changes, ends, ends[1] - starts[1])
    return np.asarray(changes.cumsum(axis=1)[:, :-1])
