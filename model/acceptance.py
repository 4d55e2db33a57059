"""The acceptance checks: what is measured of a variant on a test set, and the limits that it must keep."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from digits.model.errors import SelfTestError
from digits.model.golden import check_batch_invariance
from digits.model.manifest import FP16, FP32, INT8
from digits.model.parity import compare

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from digits.model.limits import Limits
    from digits.model.parity import Parity

    Pixels = NDArray[np.uint8]
    Probabilities = NDArray[np.float32]
    Run = Callable[[Pixels], Probabilities]

LEVEL = 0.001  # of the one-sided exact binomial test by which a sample is judged


@dataclass(frozen=True, slots=True)
class Measured:
    """What a variant answers to a set of images, and how that compares.

    Attributes:
        answers: float32 [n, 10].
        parity: With the reference.
        correct: How many images it classifies correctly; None where the labels are not known.
        reference_correct: How many the reference does.
        invariance: Why an image's answer depends on its batch; None if it does not, bit for bit.
    """

    answers: Probabilities
    parity: Parity
    correct: int | None
    reference_correct: int | None
    invariance: str | None

    @property
    def accuracy(self) -> float | None:
        """Share of the images classified correctly, 0 to 1."""
        return None if self.correct is None else self.correct / self.parity.images


def measure(run: Run, pixels: Pixels, labels: NDArray[np.uint8] | None, reference: Probabilities) -> Measured:
    """Runs a variant over images uint8 [n, 28, 28], and over 513 of them in batches of 1, 7, 64 and 513.

    Args:
        run: The variant.
        pixels: The images.
        labels: What they show, uint8 [n], if that is known.
        reference: The probabilities to compare with, float32 [n, 10].
    """
    answers = run(pixels)
    try:
        check_batch_invariance(run, pixels)
        invariance = None
    except SelfTestError as error:
        invariance = str(error)
    correct, reference_correct = (
        None if labels is None else int((probabilities.argmax(axis=1) == labels).sum())
        for probabilities in (answers, reference)
    )
    return Measured(answers, compare(answers, reference), correct, reference_correct, invariance)


def failure(variant: str, measured: Measured, limits: Limits, *, sample: bool = False) -> str | None:
    """Why a variant does not pass, by how much and with the worst image; None if it does.

    The limits of int8 are counted in images. Its loss of a single one is allowed, since a test set of fewer than 2,000
    cannot show less. A sample is not judged more strictly than the whole: its count is too high only where the
    one-sided exact binomial test, at the level of 0.001, rejects that the whole meets the limit. A limit of 0 stays 0.

    Args:
        variant: Its name.
        measured: Its answers, compared.
        limits: Of the whole test set.
        sample: The images are not the whole test set that the limits are for.
    """
    parity = measured.parity
    flips, images = len(parity.flipped), parity.images
    worst = f"test image {parity.worst} is worst"
    bound = {FP32: limits.max_abs_diff, FP16: limits.fp16_max_abs_diff}.get(variant, 1.0)
    if not parity.max_abs_diff <= bound:
        return f"max |dp| {parity.max_abs_diff:.2g} is above {bound:.2g}; {worst}"
    most, kind = (_most_in_a_sample, "sampled test images") if sample else (_images, "test images")
    allowed = {FP32: 0, INT8: most(images, 100 - limits.int8_agreement)}.get(variant, images)
    if flips > allowed:
        return (
            f"{flips} of {images:,} {kind} get another digit, and {allowed} may; "
            f"test image {parity.flipped[0]} is the first, {worst}"
        )
    lost = (measured.reference_correct or 0) - (measured.correct or 0)
    if variant == INT8 and lost > (loss := max(most(images, limits.int8_accuracy_loss), 1)):
        return f"{lost} of {images:,} {kind} fewer are right, and {loss} may be; {worst}"
    return measured.invariance


def _images(images: int, percent: float) -> int:
    """A percentage in whole images, rounded down."""
    return math.floor(images * percent / 100 + 1e-6)


def _most_in_a_sample(images: int, percent: float) -> int:
    """The largest count k in a sample whose chance, of k or more, is at least LEVEL if the whole is at the limit."""
    share = percent / 100
    if not 0 < share < 1:
        return round(images * share)
    count, tail = 0, 1.0  # tail: the chance of `count` or more
    while count < images and (tail := tail - _binomial(count, images, share)) >= LEVEL:
        count += 1
    return count


def _binomial(k: int, n: int, p: float) -> float:
    """The chance of k successes in n trials. A serving host has no SciPy."""
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p))
