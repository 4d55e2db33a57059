"""What may be classified, as pixels: arrays by `digits.images.arrays`, picture files by `digits.images.picture`."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from digits.images.arrays import EXPECTED, PixelRange, count, to_pixels
from digits.images.digit import PIXELS
from digits.images.errors import ArrayError, PictureError

if TYPE_CHECKING:
    from digits.images.rows import Rows

IMAGE_BYTES = PIXELS
SIGNATURES = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"RIFF"

Pixels: TypeAlias = NDArray[np.uint8]
Picture: TypeAlias = str | Path | bytes
Array: TypeAlias = NDArray[Any] | bytearray | memoryview
Images: TypeAlias = Array | Picture | Sequence[Any]
"""One or many digits: an array, a picture, or a sequence of either.

- An array of the shapes and types of `digits.images.arrays`, or the same as nested lists of numbers.
- A bytearray or memoryview is an array too, never a picture file's content: a flat one of bytes is raw pixels, 784 for
  each digit.
- A picture file's path, or its content as bytes.
- A sequence whose elements are each one image: arrays, paths and contents, in any mixture.
"""


def pixels_of(images: Images, pixel_range: PixelRange = "0-1") -> Pixels:
    """The images as uint8 [n, 28, 28]. Pictures become digits as they do in the server, by MNIST's own procedure.

    Args:
        images: As `Images` says.
        pixel_range: What the floats of arrays are.

    Raises:
        ValueError: an array of another shape or type, a pixel that is out of range, or an empty sequence.
        PictureError: not a picture of one digit; the text names its path, or else its place in the sequence.
        OSError: a file that cannot be read.
    """
    if isinstance(images, Picture | bytearray | memoryview) or not isinstance(images, Sequence):
        return _of_one(images, pixel_range)
    if not images:
        raise ArrayError(f"there is no image; {EXPECTED}")
    if has_pictures(images) or all(map(_is_one, images)):
        return np.concatenate([_of_element(image, f"images[{i}]", pixel_range) for i, image in enumerate(images)])
    return _of_one(images, pixel_range)


async def pixels_off_the_loop(images: Images, pixel_range: PixelRange = "0-1") -> Pixels:
    """As `pixels_of`, for asyncio: what may be slow is done in a thread."""
    if isinstance(images, np.ndarray) and images.dtype == np.uint8:
        return pixels_of(images)
    return await asyncio.to_thread(pixels_of, images, pixel_range)


def has_pictures(images: Images) -> bool:
    """Whether some of the images are picture files, which become digits here."""
    if isinstance(images, Picture | bytearray | memoryview) or not isinstance(images, Sequence):
        return isinstance(images, Picture)
    return any(isinstance(image, Picture) for image in images)


def _is_one(image: Any) -> bool:
    """Whether an element of a sequence is an image by itself, and not one number or row of it."""
    return count(_array(image).shape) == 1


def _of_element(image: Any, place: str, pixel_range: PixelRange) -> Pixels:
    """One of a sequence. Errors name a picture's path, or else its place in the sequence."""
    try:
        pixels = _of_one(image, pixel_range)
    except (ArrayError, PictureError) as error:
        if isinstance(image, str | Path):
            raise
        raise type(error)(f"{place}: {error}") from error
    if len(pixels) != 1:
        raise ArrayError(f"{place}: the array holds {len(pixels)} images; expected one in each element of a sequence")
    return pixels


def _of_one(image: Any, pixel_range: PixelRange) -> Pixels:
    """That of a picture, or those of an array."""
    if not isinstance(image, Picture):
        return to_pixels(_array(image), pixel_range)
    from digits.images import picture  # Pillow only where there is a picture

    with _named(image):
        return picture.read(image)[np.newaxis]


def rows_of(image: Picture) -> "Rows":
    """The digits of a picture in rows. Raises PictureError, whose text names the path, and OSError."""
    from digits.images import picture, rows

    with _named(image):
        return rows.find(picture.grey(image))


@contextlib.contextmanager
def _named(image: Picture) -> Iterator[None]:
    """Adds a picture's path to its error."""
    try:
        yield
    except PictureError as error:
        if isinstance(image, bytes):
            raise
        raise type(error)(f"{image}: {error}") from error


def _array(image: Any) -> NDArray[Any]:
    try:
        array = np.asarray(image)
    except ValueError as error:
        raise ArrayError(f"not an array of numbers: {error}; {EXPECTED}") from error
    if isinstance(image, bytearray | memoryview) and array.ndim == 1 and array.itemsize == 1:
        if array.tobytes().startswith(SIGNATURES):
            raise ArrayError(f"a {type(image).__name__} is raw pixels; give a picture's content as bytes(...)")
        return array.reshape(-1, PIXELS) if array.size and not array.size % PIXELS else array
    return array
