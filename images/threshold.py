"""Ink by one threshold for the whole picture, for crops so tight that there is hardly any paper to fit a surface to.

The threshold is Otsu's ("A Threshold Selection Method from Gray-Level Histograms", IEEE Transactions on Systems, Man,
and Cybernetics, 1979): of the two classes of grey values that it makes, the variance between them is largest. Its
share of the whole variance, the separability, tells a picture of two tones from one of many.
"""

import numpy as np

from digits.images.errors import UnclearError
from digits.images.paper import Grey, border

LEVELS = 256
COARSE = 24  # pixels along the longer side: in smaller pictures most pixels of a stroke are at its edge
SEPARABLE, COARSE_SEPARABLE = 0.83, 0.77  # the least separability of ink on paper; one scene in five has more
CONTRAST = 24  # grey levels from paper to ink: two faint tones are no digit
BILEVEL = 0.95  # the separability of pictures in black and white
BORDER, BILEVEL_BORDER = 0.35, 0.4  # of the border: most scenes have more ink there; few digits, unless coarse
NOT_TWO = "the picture does not have two tones"


def ink(grey: Grey) -> Grey:
    """Ink from 0, the paper's mean, to 1, the ink's, float32 [h, w].

    Ink is the class with the smaller shares of all pixels and of the border's, added.

    Raises:
        UnclearError: the picture does not have two tones.
    """
    best, separability = _otsu(grey)
    coarse = max(grey.shape) < COARSE
    if separability < (COARSE_SEPARABLE if coarse else SEPARABLE):
        raise UnclearError(NOT_TWO)
    darker = grey <= best
    edge = border(darker).mean()
    ink_is_dark = darker.mean() + edge < 1
    limit = BORDER if separability < BILEVEL else BILEVEL_BORDER
    if not coarse and limit < edge < 1 - limit:
        raise UnclearError(NOT_TWO)
    dark, light = grey[darker].mean(), grey[~darker].mean()
    if light - dark < CONTRAST:
        raise UnclearError(NOT_TWO)
    paper, pen = (light, dark) if ink_is_dark else (dark, light)
    return np.asarray((grey - paper) / (pen - paper), np.float32)


def check(grey: Grey) -> None:
    """Raises UnclearError for grey values that are not ink on paper by their separability."""
    if _otsu(grey)[1] < SEPARABLE:
        raise UnclearError(NOT_TWO)


def _otsu(grey: Grey) -> tuple[float, float]:
    """The highest grey value of the darker class, and the separability, 0 for a picture of one tone."""
    counts = np.bincount(np.rint(grey).astype(np.uint8).ravel(), minlength=LEVELS)
    levels = np.arange(LEVELS)
    below, sums = np.cumsum(counts), np.cumsum(counts * levels)
    mean = sums[-1] / below[-1]
    variance = counts @ (levels - mean) ** 2 / below[-1]
    weights = below * (below[-1] - below)
    between = np.where(weights > 0, (mean * below - sums) ** 2 / np.maximum(weights, 1), 0)
    best = int(between.argmax())
    return best + 0.5, between[best] / variance if variance else 0.0
