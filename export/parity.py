"""Parity: how far an exported model's answers are from Keras's, over a whole test set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from digits.export.errors import ParityError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Parity:
    """Two sets of answers to the same images, held against each other.

    Attributes:
        max_abs_diff: Largest |difference of a probability|.
        mean_abs_diff: Mean of the same over all probabilities.
        worst: Index of the image with the largest difference.
        flipped: Indices of the images whose most probable digit differs, [k].
        images: How many were compared.
    """

    max_abs_diff: float
    mean_abs_diff: float
    worst: int
    flipped: NDArray[np.intp]
    images: int

    @property
    def argmax_agreement(self) -> float:
        """Share of the images with the same most probable digit, 0 to 1."""
        return 1 - len(self.flipped) / self.images

    def __str__(self) -> str:
        same = self.images - len(self.flipped)
        return (
            f"max |dp| {self.max_abs_diff:.2g}, mean |dp| {self.mean_abs_diff:.2g}, argmax {same:,} of {self.images:,}"
        )


def compare(answers: NDArray[np.float32], reference: NDArray[np.float32]) -> Parity:
    """Compares probabilities [n, 10] with a reference's, in float64. A NaN counts as infinitely far."""
    difference = np.abs(answers.astype(np.float64) - reference)
    difference[np.isnan(difference)] = np.inf
    return Parity(
        max_abs_diff=float(difference.max()),
        mean_abs_diff=float(difference.mean()),
        worst=int(difference.max(axis=1).argmax()),
        flipped=np.flatnonzero(answers.argmax(axis=1) != reference.argmax(axis=1)),
        images=len(answers),
    )


def require(parity: Parity, *, max_abs_diff: float) -> None:
    """Raises ParityError, naming the worst image, unless the answers are near enough and the digits the same."""
    if not parity.max_abs_diff <= max_abs_diff:
        raise ParityError(
            f"not published: max |dp| {parity.max_abs_diff:.2g} is above {max_abs_diff:.2g}; "
            f"test image {parity.worst} is worst"
        )
    if len(parity.flipped):
        raise ParityError(
            f"not published: {len(parity.flipped)} of {parity.images:,} test images get another digit than Keras's; "
            f"test image {parity.flipped[0]} is the first, test image {parity.worst} is worst"
        )
