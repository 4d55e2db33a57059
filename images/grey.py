"""Decoded pictures as grey values: upright, without transparency, and small enough to look for ink in."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from digits.images import ink, paper, search
from digits.images.digit import SIDE
from digits.images.errors import BlankError, PictureError
from digits.images.ink import Digit
from digits.images.paper import Grey, Greys, Scalar

LONGEST = 1024  # pixels: larger pictures are reduced before anything else
DARK = 32  # of 255: the background of a MNIST image after JPEG
# Of MNIST's 70,000 images the longer side is 19 or 20, and the centre of mass at most 0.52 off in each direction.
LONGER_SIDE = 17, 21  # pixels of ink
OFF_CENTRE = 1.6  # pixels
PLACES = np.arange(SIDE) - SIDE / 2
EDGE = paper.border(np.arange(SIDE * SIDE).reshape(SIDE, SIDE))  # where the border of a MNIST image lies
OPAQUE = 255
STRIP = 2**18  # pixels that are converted at once
DIRECTIONS = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}


class GreyPicture(NamedTuple):
    """A picture that is grey, upright and small.

    Attributes:
        values: From 0 to 255, uint8 or float32 [h, w], the longer side below 2048.
        is_mnist: Whether it is normalised as MNIST's images are.
    """

    values: Greys
    is_mnist: bool
    factor: int = 1

    @classmethod
    def of(cls, picture: Image.Image, orientation: int = 1) -> "GreyPicture":
        """A picture of any mode and size, turned as EXIF numbers orientations. Takes little memory besides the picture.

        Raises:
            PictureError: values that are not finite, or a picture that is wholly transparent.
        """
        wide_range = picture.mode[0] in "IF"
        transparent = not wide_range and _has_alpha(picture)
        grey = _upright(_grey(picture, wide_range=wide_range, transparent=transparent), orientation)
        is_mnist = not wide_range and not transparent and _is_mnist(grey)
        return cls(grey, is_mnist, _factor(picture))

    def digit(self) -> Digit:
        """The digit, uint8 [28, 28], 255 is ink. A MNIST image is returned as it is, unchecked.

        Raises:
            PictureError: any other picture that does not show one digit.
        """
        return self.values.astype(np.uint8) if self.is_mnist else ink.place(search.find(self.values).ink())


def _factor(picture: Image.Image) -> int:
    return max(1, max(picture.size) // LONGEST)


def _grey(picture: Image.Image, *, wide_range: bool, transparent: bool) -> Greys:
    """Grey values from 0 to 255, not turned yet, [h, w], the longer side below 2048."""
    factor = _factor(picture)
    if transparent:
        small = [strip.convert("RGBA").reduce(factor) for strip in _strips(picture, factor)]
        alpha = np.concatenate([strip.getchannel("A") for strip in small])
        return _on_paper(np.concatenate([strip.convert("L") for strip in small]), alpha)
    if picture.mode == "L" and factor == 1:  # as np.asarray, faster
        return np.frombuffer(picture.tobytes(), np.uint8).reshape(picture.height, picture.width)
    to_grey = partial(_scaled, ends=_range(picture)) if wide_range else _opaque
    return np.concatenate([to_grey(strip).reduce(factor) for strip in _strips(picture, factor)])


def _strips(picture: Image.Image, factor: int = 1) -> Iterator[Image.Image]:
    """The picture in pieces from top to bottom, so that no converted copy of a whole picture is in memory.

    Their heights are multiples of the factor, except the last one's.
    """
    width, height = picture.size
    rows = factor * max(1, STRIP // (width * factor))
    for top in range(0, height, rows):
        yield picture.crop((0, top, width, min(top + rows, height)))


def _opaque(strip: Image.Image) -> Image.Image:
    strip.info.pop("transparency", None)  # of a colour that is not there; Pillow would warn of some kinds
    return strip.convert("L")


def _range(picture: Image.Image) -> tuple[float, float]:
    """The lowest and the highest of 16-bit, 32-bit or float values."""
    values = (np.asarray(strip) for strip in _strips(picture))
    ends = np.array([(strip.min(), strip.max()) for strip in values], np.float64)
    if not np.isfinite(ends).all():
        raise PictureError("the picture has values that are not finite numbers")
    return ends.min(), ends.max()


def _scaled(strip: Image.Image, ends: tuple[float, float]) -> Image.Image:
    """Values between the ends, spread from 0 to 255; `convert` would clip them."""
    low, high = ends
    values = np.asarray(strip, np.float64) - low
    return Image.fromarray((values * (255 / ((high - low) or 1))).astype(np.float32))


def _has_alpha(picture: Image.Image) -> bool:
    if not picture.has_transparency_data:
        return False
    alphas = (strip.convert("RGBA").getchannel("A").getextrema() for strip in _strips(picture))
    return any(lowest != OPAQUE for lowest, _ in alphas)


def _on_paper(grey: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> Grey:
    """Grey values on grey paper that the strokes stand out from, weighted by their opacity, float32 [h, w].

    If the picture is strokes alone, the paper has the opposite tone. If it has its own paper, so that most of it is
    opaque and has more than one tone, the paper continues.
    """
    opacity = alpha.astype(np.float32) / OPAQUE
    tones = grey[opacity > opacity.max() / 2]
    if not tones.size:
        raise BlankError("the picture is blank: it is wholly transparent; expected one digit that stands out")
    own = opacity.mean() > 0.5 and np.ptp(tones) > ink.FAINTEST  # noqa: PLR2004 - half the picture
    opposite = 255 if tones.mean() < 128 else 0  # noqa: PLR2004 - the middle of the range
    paper_tone = np.float32(np.median(tones) if own else opposite)
    return np.asarray(opacity * grey + (1 - opacity) * paper_tone, np.float32)


def _upright(grey: NDArray[Scalar], orientation: int) -> NDArray[Scalar]:
    """Turned as EXIF requires: from 5 on the axes change places, and then each may be reversed."""
    if orientation not in range(2, 9):  # 1, or undefined
        return grey
    if orientation >= 5:  # noqa: PLR2004 - EXIF's own number
        grey = grey.T
    down, across = DIRECTIONS.get(orientation, (1, 1))
    return np.ascontiguousarray(grey[::down, ::across])


def _is_mnist(grey: Greys) -> bool:
    """Whether grey values are 28 x 28, ink on a dark background, and of the size and at the place of MNIST's ink."""
    if grey.shape != (SIDE, SIDE):
        return False
    edge = grey.take(EDGE)
    edge.sort()  # quicker than np.median
    background = int(edge[edge.size // 2])
    return background <= DARK < int(grey.max()) - background and _is_normalised(grey, background)


def _is_normalised(grey: Greys, background: int) -> bool:
    inked = grey > background + DARK
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    longer = 1 + max(rows[-1] - rows[0], columns[-1] - columns[0])
    shortest, longest = LONGER_SIDE
    if not shortest <= longer <= longest:
        return False
    down, across = grey.sum(axis=1) @ PLACES, grey.sum(axis=0) @ PLACES
    return bool(max(abs(down), abs(across)) <= OFF_CENTRE * grey.sum())
