"""A picture of any number of digits as rows: from top to bottom, and each from left to right."""

import contextlib
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from digits.images import ink, page, segments, signs
from digits.images.errors import BlankError, PictureError, UnclearError
from digits.images.grey import GreyPicture
from digits.images.ink import Digit
from digits.images.page import HEIGHT, Page
from digits.images.segments import Box, Segment

WIDE, WIDE_ALONE = 1.25, 1.6  # of its height, and of a digit's: a wider segment is more than one digit
FEW = 2  # segments: these alone say little of a digit's height
NARROW = 0.55  # of a digit's height: a narrower segment is not two digits
LEVEL = 0.5  # of the lower one's height: how far the next digit of a row is at the same height, at least
NEXT = 3.0  # of a digit's height: the next digit of a row is nearer than this; other rows are joined by their slope
SAME = 0.5  # of a digit's height: rows nearer to each other are one


@dataclass(frozen=True, slots=True, eq=False)
class Glyph:
    """What is written at one place.

    Attributes:
        box: Left, top, right and bottom in the pixels of the upright picture; right and bottom are just outside.
        pixels: What a model sees of it, uint8 [28, 28].
        is_one: Whether it is one digit; if not, several that touch, and no cut between them is clear.
        halves: The two digits that it may be instead.
    """

    box: tuple[int, int, int, int]
    pixels: Digit
    is_one: bool = True
    halves: "tuple[Glyph, Glyph] | None" = None


class Rows(NamedTuple):
    """The rows of a picture.

    Attributes:
        rows: From top to bottom, each from left to right; not empty.
        left_out: How many marks are not read: signs, such as hyphens, plus signs and parentheses, and faint ones.
    """

    rows: list[list[Glyph]]
    left_out: int

    def candidates(self) -> list[Glyph]:
        """All glyphs in their order, each followed by its halves."""
        return [one for row in self.rows for glyph in row for one in (glyph, *(glyph.halves or ()))]

    def pixels(self) -> NDArray[np.uint8]:
        """Those of all candidates, uint8 [n, 28, 28]."""
        return np.stack([glyph.pixels for glyph in self.candidates()])


def find(picture: GreyPicture) -> Rows:
    """The digits of a picture, of which there may be one, a row, or many rows.

    Raises:
        PictureError: there are no digits.
    """
    if picture.is_mnist:
        return _single(picture)
    try:
        found = page.search(picture.values)
        tall, left_out = _without_signs(*segments.find(found))
    except (BlankError, UnclearError):
        return _single(picture)
    if not tall:
        return _single(picture)
    widest = WIDE if len(tall) > FEW else WIDE_ALONE
    cut = [part for segment in tall for part in _cut(found, segment, widest)]
    scale = found.scale / picture.factor
    rows = [[_glyph(found, segment, scale, widest) for segment in row] for row in _rows(cut)]
    if len(cut) == 1:  # as single digits are read elsewhere
        with contextlib.suppress(PictureError):
            rows[0][0] = replace(rows[0][0], pixels=picture.digit())
    return Rows(rows, left_out)


def _without_signs(tall: list[Segment], left_out: int) -> tuple[list[Segment], int]:
    """Without plus signs and parentheses, if there is more; and how many marks are left out then."""
    kept = [segment for segment in tall if not signs.is_sign(segment.mask)]
    return (kept, left_out + len(tall) - len(kept)) if len(kept) > FEW else (tall, left_out)


def _single(picture: GreyPicture) -> Rows:
    height, width = (side * picture.factor for side in picture.values.shape)
    return Rows([[Glyph((0, 0, width, height), picture.digit())]], 0)


def _cut(found: Page, segment: Segment, widest: float) -> list[Segment]:
    """The segments of digits that touch, as far as cuts are clear."""
    halves = segments.cut(found, segment) if _is_wide(segment.box, widest) else None
    return [part for half in halves for part in _cut(found, half, widest)] if halves else [segment]


def _is_wide(box: Box, widest: float) -> bool:
    return box.width > widest * max(HEIGHT, box.height)


def _glyph(found: Page, segment: Segment, scale: float, widest: float) -> Glyph:
    """A segment with its halves, if it may be two digits."""
    is_one = not _is_wide(segment.box, widest)
    halves = segments.cut(found, segment) if is_one and segment.box.width > NARROW * HEIGHT else None
    one = Glyph(_place(segment.box, scale), _digit(found, segment), is_one)
    if halves is None:
        return one
    first, second = (Glyph(_place(half.box, scale), _digit(found, half)) for half in halves)
    return replace(one, halves=(first, second))


def _place(box: Box, scale: float) -> tuple[int, int, int, int]:
    """A box of cells in pixels, left first."""
    top, left, bottom, right = (side / scale for side in box)
    return int(left), int(top), int(np.ceil(right)), int(np.ceil(bottom))


def _digit(found: Page, segment: Segment) -> Digit:
    """A segment without its neighbours, as a digit."""
    around = tuple(slice(max(0, low - 1), high + 1) for low, high in zip(segment.box[:2], segment.box[2:], strict=True))
    strokes = np.zeros_like(found.strokes[around])
    top, left = (low - side.start for low, side in zip(segment.box[:2], around, strict=True))
    strokes[top : top + segment.box.height, left : left + segment.box.width] = segment.mask
    return ink.place(ink.alone(found.ink[around], strokes))


def _rows(found: list[Segment]) -> list[list[Segment]]:
    """Segments by rows: each is followed by the next one to its right at about its height."""
    ordered = sorted(found, key=lambda segment: segment.box.left)
    row_of = list(range(len(ordered)))
    slopes = []
    for index, segment in enumerate(ordered):
        following = next((i for i in range(index + 1, len(ordered)) if _is_next(segment.box, ordered[i].box)), None)
        if following is not None:
            old, new = row_of[following], row_of[index]
            row_of = [new if row == old else row for row in row_of]
            (down, across), (lower, farther) = _centre(segment.box), _centre(ordered[following].box)
            slopes.append((lower - down) / max(farther - across, 1))
    slope = float(np.median(slopes)) if slopes else 0.0
    chains = [[ordered[i] for i, row in enumerate(row_of) if row == number] for number in dict.fromkeys(row_of)]
    return _joined(chains, slope)


def _is_next(box: Box, other: Box) -> bool:
    both = min(box.bottom, other.bottom) - max(box.top, other.top)
    return both >= LEVEL * min(box.height, other.height) and other.left - box.right < NEXT * HEIGHT


def _centre(box: Box) -> tuple[float, float]:
    return (box.top + box.bottom) / 2, (box.left + box.right) / 2


def _joined(chains: list[list[Segment]], slope: float) -> list[list[Segment]]:
    """Chains from top to bottom, those at the same height joined. The slope is that of all rows."""

    def height(chain: list[Segment]) -> float:
        return float(np.mean([down - slope * across for down, across in (_centre(segment.box) for segment in chain)]))

    rows: list[list[Segment]] = []
    for chain in sorted(chains, key=height):
        if rows and height(chain) - height(rows[-1]) < SAME * HEIGHT:
            rows[-1] = sorted(rows[-1] + chain, key=lambda segment: segment.box.left)
        else:
            rows.append(chain)
    return rows
