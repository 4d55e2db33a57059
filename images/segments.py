"""The strokes of a page as segments: a digit each, with the pieces of a broken one together, or digits that touch."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from digits.images import parts
from digits.images.page import HEIGHT, Page, require_few
from digits.images.paper import Floats
from digits.images.parts import Labels, Mask

SPECK = 0.12  # of a digit's height: smaller parts are not looked at
TALL = 0.5  # of a digit's height: lower parts are pieces of a digit, or marks such as hyphens
GIANT = 2.5  # of a digit's height: taller parts are not digits
FAINT = 0.45  # of full ink: lighter parts are not digits
GAP = 0.12  # of a digit's height: pieces nearer than this belong to a digit
THICK = 0.25  # of a digit's height: the width of a stroke, at most
CLEAR = 1.6  # widths of a stroke: what a clear cut crosses at most
ASIDE = 0.12  # of a segment's width, on each side: where it is not cut
OFF_CENTRE = 1.0  # widths of a stroke: what a cut counts more that is as far from the middle as the segment is wide
LEANING = 0.01  # cells of ink: what a step to the left or right counts


class Box(NamedTuple):
    """Where something is; bottom and right are just outside."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left


class Segment(NamedTuple):
    """Strokes that are read together.

    Attributes:
        box: Where they are, in the page's cells.
        mask: Which of the box's cells they fill, bool [height, width].
    """

    box: Box
    mask: Mask


def find(page: Page) -> tuple[list[Segment], int]:
    """The segments that may be digits, in no order; and how many marks are not, by their height or their ink.

    Raises UnclearError for too many.
    """
    labels = parts.connected(parts.grown(page.strokes)) * page.strokes
    found = [_joined(group) for group in _groups([*_pieces(labels)])]
    tall = [segment for segment in found if TALL * HEIGHT <= segment.box.height <= GIANT * HEIGHT]
    dark = [segment for segment in tall if _is_dark(page, segment)]
    return dark, len(found) - len(dark)


def _is_dark(page: Page, segment: Segment) -> bool:
    return bool(np.median(ink(page, segment.box)[segment.mask]) > FAINT)


def ink(page: Page, box: Box) -> Floats:
    """The page's ink in a box, float32 [height, width]."""
    return page.ink[box.top : box.bottom, box.left : box.right]


def _pieces(labels: Labels) -> Iterator[Segment]:
    """The connected parts, without specks."""
    found = parts.boxes(labels)
    large = np.maximum(found[:, 2] - found[:, 0], found[:, 3] - found[:, 1]) > SPECK * HEIGHT
    require_few(int(large.sum()))
    for number, place in zip(parts.numbers(labels)[large], found[large].tolist(), strict=True):
        box = Box(*place)
        yield Segment(box, labels[box.top : box.bottom, box.left : box.right] == number)


def _groups(pieces: list[Segment]) -> list[list[Segment]]:
    """Each tall part, with the low ones that are near it and nearer than to other tall ones; and each other low one."""
    groups = [[piece] for piece in pieces if piece.box.height >= TALL * HEIGHT]
    tall = [*groups]
    for piece in pieces:
        if piece.box.height < TALL * HEIGHT:
            gap, index = min(((_gap(piece.box, one[0].box), i) for i, one in enumerate(tall)), default=(np.inf, 0))
            if gap <= GAP * HEIGHT:
                tall[index].append(piece)
            else:
                groups.append([piece])
    return groups


def _gap(one: Box, other: Box) -> float:
    """How far apart two boxes are."""
    down = max(one.top - other.bottom, other.top - one.bottom, 0)
    across = max(one.left - other.right, other.left - one.right, 0)
    return float(np.hypot(down, across))


def _joined(group: list[Segment]) -> Segment:
    tops, lefts, bottoms, rights = zip(*(segment.box for segment in group), strict=True)
    box = Box(min(tops), min(lefts), max(bottoms), max(rights))
    mask = np.zeros((box.height, box.width), np.bool_)
    for (top, left, bottom, right), part in group:
        mask[top - box.top : bottom - box.top, left - box.left : right - box.left] |= part
    return Segment(box, mask)


def cut(page: Page, segment: Segment) -> tuple[Segment, Segment] | None:
    """A segment's two halves by the path from top to bottom that crosses the least ink.

    None if there is no clear one: it crosses little more than the width of a stroke, and both halves are tall.
    """
    mask = segment.mask
    width = mask.shape[1]
    stroke = min(parts.thickness(mask), THICK * HEIGHT)
    costs, steps = _paths(mask * np.clip(ink(page, segment.box), 0, 1) ** 2)
    from_centre = np.abs(np.arange(width) + 0.5 - width / 2) * (stroke / width)
    aside = max(1, round(ASIDE * width))
    for end in np.argsort(costs + OFF_CENTRE * from_centre, kind="stable").tolist():
        if aside <= end < width - aside and costs[end] <= CLEAR * stroke:
            is_left = np.arange(width) < _path(steps, end)[:, None]
            one, other = _part(segment, mask & is_left), _part(segment, mask & ~is_left)
            if one and other and min(one.box.height, other.box.height) >= TALL * HEIGHT:
                return (one, other) if _is_dark(page, one) and _is_dark(page, other) else None
    return None


def _part(segment: Segment, mask: Mask) -> Segment | None:
    """Some of a segment's cells, in the box around them; None without cells."""
    if not mask.any():
        return None
    down, across = parts.extent(mask)
    top, left = segment.box.top, segment.box.left
    return Segment(Box(top + down.start, left + across.start, top + down.stop, left + across.stop), mask[down, across])


def _paths(inked: Floats) -> tuple[Floats, Labels]:
    """The least ink on a path from the first row to each cell of the last one; and each cell's step from above."""
    costs = inked[0].astype(np.float64)
    steps = np.zeros(inked.shape, np.intp)
    for row in range(1, len(inked)):
        wide = np.pad(costs, 1, constant_values=np.inf)
        ways = np.stack([wide[1:-1], wide[:-2] + LEANING, wide[2:] + LEANING])
        steps[row] = np.array([0, -1, 1])[ways.argmin(axis=0)]
        costs = ways.min(axis=0) + inked[row]
    return costs, steps


def _path(steps: Labels, end: int) -> Labels:
    """The columns of the path that ends there, from the first row to the last."""
    columns = np.empty(len(steps), np.intp)
    for row in range(len(steps) - 1, -1, -1):
        columns[row] = end
        end += steps[row, end]
    return columns
