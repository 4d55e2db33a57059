"""What a picture goes through until it is a digit, step by step, for people to look at."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from digits.images import ink, parts, search
from digits.images.grey import GreyPicture

WAYS = {
    "surface": "ink: off the paper's surface",
    "shadow": "ink: thin, out of a shadow",
    "threshold": "ink: by one threshold",
}


class Step(NamedTuple):
    """What was done, in a few words, and what came of it, uint8 [h, w]."""

    name: str
    pixels: NDArray[np.uint8]


def steps(picture: GreyPicture) -> list[Step]:
    """The steps, from the grey picture to 28 x 28 pixels. Raises PictureError if there is not one digit."""
    first = Step("grey and upright", _shades(picture.values, 1))
    if picture.is_mnist:
        return [first, Step("MNIST's form: unchanged", picture.digit())]
    found = search.find(picture.values)
    alone = found.ink()
    return [
        first,
        *([Step(_lines(found), _shades(found.cleaned, 1))] if found.lines else []),
        Step(WAYS[found.way], _shades(found.strokes.ink, 255)),
        Step("the digit's strokes", _shades(found.strokes.strokes, 255)),
        Step("cut out", _shades(alone[parts.extent(alone > ink.EDGE)], 255)),
        Step("20 x 20, centred by mass", ink.place(alone)),
    ]


def removed(picture: GreyPicture) -> str:
    """Which straight lines are removed from a picture of one digit, in a few words; empty if none."""
    return "" if picture.is_mnist else _lines(search.find(picture.values))


def _lines(found: search.Found) -> str:
    upright = sum(line.upright for line in found.lines)
    counts = [f"{n} {kind}" for kind, n in (("across", len(found.lines) - upright), ("upright", upright)) if n]
    return f"removed lines: {', '.join(counts)}" if counts else ""


def _shades(values: NDArray[np.generic], scale: int) -> NDArray[np.uint8]:
    return np.clip(np.rint(np.asarray(values, np.float32) * scale), 0, 255).astype(np.uint8)
