"""Converts arrays of digits to uint8 [n, 28, 28], for training, scoring, the client and the server.

Shapes: `SHAPES`, and [28, 28, 1] as one image with its channel; [1, 28, 28] is a batch of one image. Types: uint8;
other integers if all are 0 to 255; bool, where True is ink, 255; floats of any size. Any memory order. The range of
floats is never guessed from a single array: the caller gives "0-1" or "0-255". Floats are rounded to the nearest of
256 shades; a value may be out of range by `SLACK`, the rounding error of a division or an interpolation.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from digits.images.digit import PIXELS, SIDE, WHITE
from digits.images.errors import ArrayError

PixelRange: TypeAlias = Literal["0-1", "0-255"]
TOPS: dict[PixelRange, int] = {"0-1": 1, "0-255": WHITE}
SLACK = 0.49 / WHITE  # half a shade of 0-1; of 0-255 it is little, so that normalized pixels (-0.42) are refused
KINDS = "buif"  # of numpy's types
SHAPES = "[28,28], [n,28,28], [n,28,28,1], [n,1,28,28], [784] or [n,784]"
EXPECTED = f"expected {SHAPES}, n at least 1, of uint8, bool, integers of 0 to 255, or floats"
NORMALIZED = "if they were normalized, save them as they were before"
OTHER_RANGE = "pixel_range={!r} takes the other range"

Pixels: TypeAlias = NDArray[np.uint8]


def count(shape: Sequence[int]) -> int | None:
    """The number of images in an array of this shape, possibly 0; None for a shape that is not accepted."""
    match tuple(shape):
        case (784,) | (28, 28) | (28, 28, 1):
            return 1
        case (n, 784) | (n, 28, 28) | (n, 28, 28, 1) | (n, 1, 28, 28):
            return n
    return None


def to_pixels(
    array: NDArray[Any], pixel_range: PixelRange = "0-1", other_range: str = OTHER_RANGE, first: int = 0
) -> Pixels:
    """The images of an array, uint8 [n, 28, 28] in C order: a view of the array, if it is that already.

    Args:
        array: As the module says.
        pixel_range: What floats are.
        other_range: For errors: the remedy for a float that is in the other range.
        first: For errors: the number of its first image.

    Raises:
        ArrayError: another shape or type, no image, or a pixel that is out of range or not finite.
    """
    if pixel_range not in TOPS:
        raise ArrayError(f"pixel_range is {pixel_range!r}; expected one of {list(TOPS)}")
    images = count(array.shape)
    if not images or array.dtype.kind not in KINDS:
        raise ArrayError(f"the array is {kind(array)}; {EXPECTED}")
    return np.ascontiguousarray(to_uint8(array, pixel_range, other_range, first).reshape(images, SIDE, SIDE))


def to_uint8(elements: NDArray[Any], pixel_range: PixelRange, other_range: str = OTHER_RANGE, first: int = 0) -> Pixels:
    """Elements of bool, integers or floats as 0 to 255, in their shape. Raises ArrayError."""
    if elements.dtype == np.uint8:
        return elements
    if elements.dtype.kind == "b":
        return np.where(elements, np.uint8(WHITE), np.uint8(0))
    if elements.dtype.kind != "f":
        _require((elements >= 0) & (elements <= WHITE), elements, "0 to 255", first)
        return elements.astype(np.uint8)
    top = TOPS[pixel_range]
    fit = (elements >= -SLACK) & (elements <= top + SLACK)
    if not fit.all():
        other: PixelRange = "0-255" if pixel_range == "0-1" else "0-1"
        fits_other = -SLACK <= elements.flat[int(fit.argmin())] <= TOPS[other] + SLACK
        _require(fit, elements, f"0 to {top}; {other_range.format(other) if fits_other else NORMALIZED}", first)
    pixels: NDArray[np.float32] = elements.astype(np.float32, copy=False) * np.float32(WHITE // top)
    return np.rint(pixels, out=pixels).astype(np.uint8)


def decided(maxima: list[float], name: str, say: Callable[[str], None]) -> PixelRange:
    """The range of the floats of a whole file, by their maxima; `say` takes the line that says which.

    Raises:
        ArrayError: the maximum is in neither range.
    """
    if not maxima:
        return "0-255"
    top = float(np.max(maxima))  # nan, if there is one
    if not top <= WHITE + SLACK:
        raise ArrayError(f"the maximum is {top:g}; expected 0 to 1 or 0 to 255; {NORMALIZED}")
    found: PixelRange = "0-1" if top <= 1 + SLACK else "0-255"
    say(f"{name}: pixels up to {top:g} are taken as {found}; --pixel-range says otherwise")
    return found


def turned(pixels: Pixels, *, invert: bool, transpose: bool) -> Pixels:
    """Images with black and white swapped if `invert`, and rows and columns if `transpose`; contiguous."""
    if invert:
        pixels = WHITE - pixels
    return np.ascontiguousarray(pixels.swapaxes(1, 2)) if transpose else pixels


def kind(array: NDArray[Any]) -> str:
    """An array's type and shape, for errors: float64 [n, 28, 28]."""
    return f"{array.dtype} {list(array.shape)}"


def _require(fit: NDArray[np.bool_], elements: NDArray[Any], expected: str, first: int) -> None:
    if not fit.all():
        image, pixel = divmod(int(fit.argmin()), PIXELS)
        raise ArrayError(
            f"pixel {pixel} of image {first + image} is {elements.flat[int(fit.argmin())]}; expected {expected}"
        )
