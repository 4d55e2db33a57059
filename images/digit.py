"""A digit: uint8 [28, 28] from 0, background, to 255, ink; of ten classes; and its pixels as a network takes them."""

import numpy as np
from numpy.typing import NDArray

SIDE = 28
PIXELS = SIDE * SIDE
WHITE = 255  # the largest pixel value: ink
CLASSES = 10


def flatten(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Images uint8 [n, 28, 28] as rows float32 [n, 784] in 0 to 1. Training and export share it."""
    return images.reshape(-1, PIXELS).astype(np.float32) / np.float32(WHITE)


def one_hot(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Labels uint8 [n] as rows with a single 1, [n, 10]."""
    return np.eye(CLASSES, dtype=np.float32)[labels]
