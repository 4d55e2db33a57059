"""What a classification gives, from a server or from this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The answers to n images, in their order.

    Attributes:
        digits: The most probable digits, uint8 [n].
        confidences: Their probabilities, float32 [n].
        probabilities: Of the digits 0 to 9, float32 [n, 10]; None if they were not asked for.
        model_version: The model version that answered.
    """

    digits: NDArray[np.uint8]
    confidences: NDArray[np.float32]
    probabilities: NDArray[np.float32] | None
    model_version: str

    def __len__(self) -> int:
        return len(self.digits)


def as_pixels(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The images as uint8 [n, 28, 28], from that or from a single one [28, 28].

    Raises:
        ValueError: another shape, another dtype, or no image at all.
    """
    images = np.asarray(pixels)
    if images.dtype != np.uint8 or images.ndim not in {2, 3} or images.shape[-2:] != (28, 28) or not images.size:
        raise ValueError(
            f"pixels are {images.dtype} {list(images.shape)}; expected uint8 [28, 28] or [n, 28, 28], n at least 1, "
            "0 for background and 255 for ink"
        )
    return np.ascontiguousarray(images.reshape(-1, 28, 28))
