"""What may be classified, as pixels: arrays as they are, picture files by `digits.images`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from digits.images.errors import PictureError

SIDE = 28
IMAGE_BYTES = SIDE * SIDE
EXPECTED = "expected uint8 [28, 28] or [n, 28, 28], n at least 1, 0 for background and 255 for ink"

Pixels: TypeAlias = NDArray[np.uint8]
Picture: TypeAlias = str | Path | bytes
Images: TypeAlias = Pixels | Picture | Sequence[Pixels | Picture]
"""One or many digits: an array, uint8 [28, 28] or [n, 28, 28], 0 for background and 255 for ink; a picture file's path,
or its content as bytes; or a sequence of arrays [28, 28], paths and contents."""


def pixels_of(images: Images) -> Pixels:
    """The images as uint8 [n, 28, 28]. Pictures become digits as they do in the server, by MNIST's own procedure.

    Raises:
        ValueError: an array of another shape or dtype, or no image at all.
        PictureError: no picture of one digit; the text names its path, or else its place in the sequence.
        OSError: a file that cannot be read.
    """
    if isinstance(images, str | Path | bytes):
        return _of_picture(images, "")[np.newaxis]
    if isinstance(images, Sequence):
        return _of_sequence(images)
    return _of_array(images)


def _of_sequence(images: Sequence[Any]) -> Pixels:
    if not images:
        raise ValueError(f"there is no image; {EXPECTED}")
    return np.stack([_of_element(image, f"images[{i}]") for i, image in enumerate(images)])


def _of_element(image: Pixels | Picture, place: str) -> Pixels:
    if isinstance(image, str | Path | bytes):
        return _of_picture(image, f"{place}: ")
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.shape != (SIDE, SIDE):
        raise ValueError(
            f"{place} is {pixels.dtype} {list(pixels.shape)}; expected uint8 [28, 28] of each in a sequence"
        )
    return pixels


def _of_picture(image: Picture, place: str) -> Pixels:
    from digits.images import picture  # Pillow only where there is a picture

    try:
        return picture.read(io.BytesIO(image) if isinstance(image, bytes) else image)
    except PictureError as error:
        name = place if isinstance(image, bytes) else f"{image}: "
        raise type(error)(f"{name}{error}") from error


def _of_array(image: Pixels) -> Pixels:
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim not in {2, 3} or pixels.shape[-2:] != (SIDE, SIDE) or not pixels.size:
        raise ValueError(f"pixels are {pixels.dtype} {list(pixels.shape)}; {EXPECTED}")
    return np.ascontiguousarray(pixels.reshape(-1, SIDE, SIDE))
