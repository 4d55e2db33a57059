"""The acceptance checks: what is measured of a variant on a test set, and the limits that it must keep."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from digits.model.answer import Answer
from digits.model.golden import Pixels, Probabilities, batch_dependence
from digits.model.limits import Limits
from digits.model.manifest import FP16, FP32, INT8
from digits.model.parity import Parity, compare

LEVEL = 0.001  # of the one-sided exact binomial test for a sample


@dataclass(frozen=True, slots=True)
class Measured:
    """A variant's answers to a set of images, compared with the reference's."""

    answers: Probabilities  # float32 [n, 10]
    novelty: NDArray[np.float32] | None  # float32 [n], if the variant has it
    parity: Parity  # with the reference
    correct: int | None  # how many images it classifies correctly; None without labels
    reference_correct: int | None  # how many the reference classifies correctly
    batch_dependence: str | None  # how the answers depend on the batch; None if they do not, bit for bit

    @property
    def accuracy(self) -> float | None:
        """Share of the images classified correctly, 0 to 1."""
        return None if self.correct is None else self.correct / self.parity.images


def measure(
    answer: Callable[[Pixels], Answer],
    pixels: Pixels,
    labels: NDArray[np.uint8] | None,
    reference: Probabilities,
) -> Measured:
    """Runs a variant's `Engine.answer` over images uint8 [n, 28, 28], and over 513 of them in batches of several sizes.

    `labels` uint8 [n] are the digits that they show, if known; `reference` float32 [n, 10] is compared with.
    """
    answers, novelty = answer(pixels)
    correct, reference_correct = (
        None if labels is None else int((probabilities.argmax(axis=1) == labels).sum())
        for probabilities in (answers, reference)
    )
    parity = compare(answers, reference)
    return Measured(answers, novelty, parity, correct, reference_correct, batch_dependence(answer, pixels))


def failure(variant: str, measured: Measured, limits: Limits, *, sample: bool = False) -> str | None:
    """Why a variant does not pass: the limit, the measured value and the worst image. None if it passes.

    The limits of int8 are counted in images. A loss of one image is always allowed, since a test set of fewer than
    2,000 cannot show less. A sample is not judged more strictly than the whole test set: its count is too high only if
    the one-sided exact binomial test, at the level of 0.001, rejects that the whole meets the limit. A limit of 0
    stays 0. `sample` says that the images are another set than the one that the limits are for.
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
    return measured.batch_dependence


def _images(images: int, percent: float) -> int:
    """A percentage in whole images, rounded down."""
    return math.floor(images * percent / 100 + 1e-6)


def _most_in_a_sample(images: int, percent: float) -> int:
    """The largest count k for which k or more have a chance of at least LEVEL, if the whole is at the limit."""
    share = percent / 100
    if not 0 < share < 1:
        return round(images * share)
    count, tail = 0, 1.0  # tail is the chance of `count` or more
    while count < images and (tail := tail - _binomial(count, images, share)) >= LEVEL:
        count += 1
    return count


def _binomial(k: int, n: int, p: float) -> float:
    """The chance of k successes in n trials. SciPy is not installed on serving hosts."""
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p))
