"""Parity: how far a model's answers deviate from a reference's over a set of images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Parity:
    """The differences between two sets of answers to the same images."""

    max_abs_diff: float  # largest |difference of a probability|
    mean_abs_diff: float  # mean of the same over all probabilities
    worst: int  # index of the image with the largest difference
    flipped: NDArray[np.intp]  # indices of the images whose most probable digit differs, [k]
    images: int  # how many were compared

    @property
    def argmax_agreement(self) -> float:
        """Share of the images with the same most probable digit, 0 to 1."""
        return 1 - len(self.flipped) / self.images


def compare(answers: NDArray[np.float32], reference: NDArray[np.float32]) -> Parity:
    """Compares probabilities [n, 10] with a reference's, in float64. A NaN counts as an infinite difference."""
    difference = np.abs(answers.astype(np.float64) - reference)
    difference[np.isnan(difference)] = np.inf
    return Parity(
        max_abs_diff=float(difference.max()),
        mean_abs_diff=float(difference.mean()),
        worst=int(difference.max(axis=1).argmax()),
        flipped=np.flatnonzero(answers.argmax(axis=1) != reference.argmax(axis=1)),
        images=len(answers),
    )
