"""The images that the variants are compared on: the test images, and synthetic extremes unlike any handwriting."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from digits.images.digit import SIDE
from digits.images.mnist import Mnist

TEST = "test images"
QUICK = 2_000  # test images
SEED = 0
NOISE = 1_000  # images of it


class Images(NamedTuple):
    """Images of one kind."""

    name: str  # of the kind
    pixels: NDArray[np.uint8]  # [n, 28, 28]
    labels: NDArray[np.uint8] | None = None  # the digits [n]; None for images that show no digit
    sample: bool = False  # whether they are not the whole test set that the version was published with


def image_sets(data: Mnist, published: str, *, quick: bool) -> list[Images]:
    """The test images, with `quick` the first 2,000 of them, and the extremes; the same each time.

    `published` is the SHA-256 of the test set that the version was published with.
    """
    most = QUICK if quick else len(data.x_test)
    sample = most < len(data.x_test) or data.test_sha256 != published
    return [Images(TEST, data.x_test[:most], data.y_test[:most], sample), *extremes()]


def extremes() -> list[Images]:
    """No ink, ink everywhere, uniform noise, and one pixel of full ink at each place."""
    noise = np.random.default_rng(SEED).integers(0, 256, (NOISE, SIDE, SIDE), np.uint8)
    one_pixel = 255 * np.eye(SIDE * SIDE, dtype=np.uint8).reshape(-1, SIDE, SIDE)
    return [
        Images("all 0", np.zeros((1, SIDE, SIDE), np.uint8)),
        Images("all 255", np.full((1, SIDE, SIDE), 255, np.uint8)),
        Images("noise", noise),
        Images("one pixel", one_pixel),
    ]
