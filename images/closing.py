"""The closing of a picture (Serra, "Image Analysis and Mathematical Morphology", 1982): thin dark things vanish."""

import numpy as np
from numpy.typing import NDArray

WHITE = 255

Shades = NDArray[np.uint8]


def shades(values: NDArray[np.float32], *, inverted: bool = False) -> Shades:
    """Grey values from 0 to 255 rounded to uint8, which is much faster to close."""
    rounded = np.rint(values).astype(np.uint8)
    return WHITE - rounded if inverted else rounded


def closed(view: Shades, size: int) -> Shades:
    """The closing along columns: what is dark for at most `size` rows gets the tone around it; outside is white."""
    padded = np.pad(view, ((size, size), (0, 0)), constant_values=WHITE)
    return extreme(extreme(padded, size + 1, np.maximum), size + 1, np.minimum)


def closed_square(view: Shades, size: int) -> Shades:
    """The closing by a square: what is dark and has no square of more than `size` pixels in it gets the tone around it.

    What is dark at the border continues outside.
    """
    padded = np.pad(view, size, mode="edge")
    for which in (np.maximum, np.minimum):
        for _ in range(2):
            padded = extreme(padded, size + 1, which).T
    return padded


def extreme(view: Shades, size: int, which: np.ufunc) -> Shades:
    """The maximum or the minimum of each `size` rows that follow one another, in a few passes."""
    reach = 1
    while 2 * reach <= size:
        view = which(view[:-reach], view[reach:])
        reach *= 2
    return which(view[: len(view) - (size - reach)], view[size - reach :]) if size > reach else view
