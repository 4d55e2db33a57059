"""The drawn images of a training, made once before it: pools from which each gradient step takes a few by lot."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from digits.images.digit import CLASSES, PIXELS, SIDE, WHITE, one_hot
from digits.train.settings import TrainSettings

POOL = 30_000  # images, at most; for few training digits as many as these


class Drawn(NamedTuple):
    """Images that join each gradient step.

    Attributes:
        images: uint8 [n, 784].
        answers: What the model is to answer, float32 [n, 10].
        taken: How many join a step.
    """

    images: NDArray[np.uint8]
    answers: NDArray[np.float32]
    taken: int


def draw(rows: NDArray[np.float32], answers: NDArray[np.float32], settings: TrainSettings) -> list[Drawn]:
    """The drawn images that the settings ask for.

    Args:
        rows: The digits that are trained on, float32 [n, 784] in 0 to 1.
        answers: What they show, one-hot, float32 [n, 10].
        settings: The settings; the seed decides what is drawn.
    """
    digits = np.rint(rows * WHITE).astype(np.uint8).reshape(-1, SIDE, SIDE)
    size, batch = min(POOL, len(digits)), min(settings.batch_size, len(digits))
    pools = []
    if count := round(settings.styles * batch):
        from digits.train.drawn.digits import drawn_digits

        rng = np.random.default_rng([settings.seed, 1])
        images, shown = drawn_digits(digits, answers.argmax(axis=1).astype(np.uint8), size, rng)
        pools.append(Drawn(images.reshape(-1, PIXELS), one_hot(shown), count))
    if count := round(settings.outliers * batch):
        from digits.train.drawn.outliers import outliers

        images = outliers(digits, size, np.random.default_rng([settings.seed, 2]))
        flat = np.full((size, CLASSES), 1 / CLASSES, np.float32)
        pools.append(Drawn(images.reshape(-1, PIXELS), flat, count))
    return pools
