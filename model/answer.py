"""The model's answer to a batch of images."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Answer(NamedTuple):
    """What a model computes for n images."""

    probabilities: NDArray[np.float32]  # of the digits 0 to 9, float32 [n, 10]
    novelty: NDArray[np.float32] | None  # how unlike a digit each image is, [n]; None if the model has no such output

    @property
    def columns(self) -> NDArray[np.float32]:
        """All numbers of an image in one row, float32 [n, 11], or [n, 10] without novelty."""
        if self.novelty is None:
            return self.probabilities
        return np.column_stack((self.probabilities, self.novelty))
