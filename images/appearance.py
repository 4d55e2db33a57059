"""Whether digits in arrays look like MNIST's: bright ink on a dark background, upright. Looks at pixels only."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from digits.images.arrays import Pixels
from digits.images.digit import SIDE, WHITE

Floats: TypeAlias = NDArray[np.floating[Any]]

SAMPLE = 1000  # images, spread over all
FAINT = 15  # of 255
FEWEST = 10  # images, to tell that they are transposed
DEVIATIONS = 2.0


def warnings(pixels: Pixels) -> list[str]:
    """What looks wrong, one line each with its remedy; empty for digits like MNIST's.

    Inverted: the outermost ring of pixels is brighter than half the range in more than half of the images. The mean of
    an image's ring is at most 8.7 in MNIST, so at least 246 if inverted: no error in 70,000 images, each by itself.

    Transposed: digits are taller than wide. What counts is how many images have ink that varies more across than down:
    more than half, by two standard deviations of a fair coin, of ten images or more. In MNIST's training images 10.6 %
    do (of the 4 30.8 %, of the 0 29.1 %, of any other digit at most 12.6 %). Over 20,000 random draws of each kind:

        images                          10        20        50       100       256
        false alarm, mixed digits        0         0         0         0         0
        false alarm, worst digit   0.015 %   0.005 %         0         0         0
        found, mixed digits           71 %    98.5 %     100 %     100 %     100 %
        found, only 0                 17 %      45 %      82 %      99 %     100 %
        found, only 4                 14 %      39 %      75 %      97 %     100 %
    """
    sample = pixels[:: max(1, len(pixels) // SAMPLE)]
    found = []
    if 0 < sample.max() <= FAINT:
        found.append(
            f"no pixel is above {sample.max()} of 255; if that is ink, save the array as bool or as floats of 0 to 1"
        )
    if np.median(_ring(sample)) > WHITE / 2:
        found.append("the borders are bright, so black and white may be swapped: --invert swaps them back")
        sample = WHITE - sample
    wider = _is_wider(sample)
    if len(wider) >= FEWEST and wider.sum() > len(wider) / 2 + DEVIATIONS * np.sqrt(len(wider)) / 2:
        found.append("the digits are wider than tall, so rows and columns may be swapped: --transpose swaps them back")
    return found


def _ring(pixels: Pixels) -> Floats:
    """The mean of each image's outermost pixels, [n]."""
    inner = np.zeros((SIDE, SIDE), np.bool_)
    inner[1:-1, 1:-1] = True
    return np.asarray(pixels[:, ~inner].mean(axis=1))


def _is_wider(pixels: Pixels) -> NDArray[np.bool_]:
    """For each image that has ink, whether the ink's variance is larger across than down, [images with ink]."""
    ink = pixels[pixels.any(axis=(1, 2))].astype(np.float64)
    across, down = (_variance(ink.sum(axis)) for axis in (1, 2))
    return across > down


def _variance(profiles: Floats) -> Floats:
    """The variance of positions, each weighted by its value in a profile, [n] of [n, 28]."""
    positions = np.arange(SIDE)
    weights = profiles / profiles.sum(axis=1, keepdims=True)
    return np.asarray(weights @ positions**2 - (weights @ positions) ** 2)
