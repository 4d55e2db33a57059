"""The acceptance checks: which deviation is allowed, in the whole test set and in a sample of it."""

from bisect import bisect_left
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from digits.model.acceptance import failure, measure
from digits.model.answer import Answer
from digits.model.limits import Limits


def answers(images: int, wrong: int = 0, by: float = 0.5) -> NDArray[np.float32]:
    """Probabilities of the digit 3, and of 7 for the last `wrong` images."""
    probabilities = np.full((images, 10), 0.02, np.float32)
    probabilities[:, 3] = 0.82
    if wrong:
        probabilities[-wrong:, 3] -= by
        probabilities[-wrong:, 7] += by
    return probabilities


def verdict(
    variant: str, images: int, *, wrong: int = 0, by: float = 0.5, limits: Limits | None = None, sample: bool = False
) -> str | None:
    """For answers of which `wrong` are off `by` this much. The reference is always right."""
    pixels = np.zeros((images, 28, 28), np.uint8)
    given = answers(images, wrong, by)

    def run(batch: NDArray[np.uint8]) -> Answer:
        return Answer(given if len(batch) == images else answers(len(batch)), None)

    labels = np.full(images, 3, np.uint8)
    return failure(variant, measure(run, pixels, labels, answers(images)), limits or Limits(), sample=sample)


ANY = Limits(max_abs_diff=1)
FLIPS = "get another digit, and 0 may; test image 998 is the first, test image 998 is worst"
LOST = "20 of 1,000 test images fewer are right, and 1 may be; test image 980 is worst"


@pytest.mark.parametrize(
    ("variant", "given", "expected"),
    [
        ("fp32", {}, None),
        ("fp32", {"wrong": 1, "by": 2e-5}, "max |dp| 2e-05 is above 1e-05; test image 999 is worst"),
        ("fp32", {"wrong": 2, "limits": ANY}, f"2 of 1,000 test images {FLIPS}"),
        ("fp32", {"wrong": 2, "limits": ANY, "sample": True}, f"2 of 1,000 sampled test images {FLIPS}"),
        ("int8", {"wrong": 20, "limits": Limits(int8_agreement=98, int8_accuracy_loss=2)}, None),
        ("int8", {"wrong": 20, "limits": Limits(int8_agreement=98)}, LOST),
        ("fp16", {"wrong": 1, "by": 4e-3}, None),
        ("fp16", {"wrong": 1, "by": 6e-3}, "max |dp| 0.006 is above 0.005; test image 999 is worst"),
    ],
)
def test_each_variant_has_limits_and_a_failure_names_the_worst_image(
    variant: str, given: dict[str, Any], expected: str | None
) -> None:
    assert verdict(variant, 1000, **given) == expected


@pytest.mark.parametrize(
    ("images", "wrong", "passes"),
    [(10_000, 5, True), (10_000, 6, False), (10_000, 11, False), (1000, 1, True), (1000, 2, False), (100, 1, False)],
)
def test_int8_may_lose_little_and_a_small_test_set_one_image(images: int, wrong: int, passes: bool) -> None:
    said = verdict("int8", images, wrong=wrong)
    assert (said is None) == passes, said


WITHOUT_LOSS = Limits(int8_accuracy_loss=100)


@pytest.mark.parametrize(
    ("images", "wrong", "limits", "passes"),
    [
        (10_000, 4, WITHOUT_LOSS, True),  # a good model's flips in the whole, of which its first 2,000 have 3
        (2000, 3, WITHOUT_LOSS, True),
        (2000, 8, WITHOUT_LOSS, True),
        (2000, 9, WITHOUT_LOSS, False),
        (2000, 5, Limits(), True),  # each flip is a loss
        (2000, 6, Limits(), False),
        (2000, 1, Limits(int8_agreement=100), False),
        (2000, 2000, Limits(int8_agreement=0, int8_accuracy_loss=100), True),
        (20, 20, Limits(), False),
    ],
)
def test_a_sample_is_not_judged_more_strictly_than_the_whole(
    images: int, wrong: int, limits: Limits, passes: bool
) -> None:
    said = verdict("int8", images, wrong=wrong, limits=limits, sample=True)
    assert (said is None) == passes, said


def test_the_limit_of_a_sample_is_that_of_the_exact_binomial_test() -> None:
    """The most flips that pass have a chance of 0.001 or more if the whole is at its limit; one more has less."""
    for images, agreement in ((40, 99.9), (1000, 99), (2000, 99.9), (2000, 50), (10_000, 99.9)):
        limits, share = Limits(int8_agreement=agreement, int8_accuracy_loss=100), 1 - agreement / 100
        fails = partial(verdict, "int8", images, limits=limits, sample=True)
        most = bisect_left(range(images), True, key=lambda wrong: fails(wrong=wrong + 1) is not None)
        chances = [stats.binomtest(k, images, share, alternative="greater").pvalue for k in (most, most + 1)]
        assert chances[0] >= 0.001 > chances[1]


def test_answers_that_depend_on_the_batch_never_pass() -> None:
    """Such as those of dynamic quantization, or a novelty that is a sum in another order."""

    def run(batch: NDArray[np.uint8]) -> Answer:
        return Answer(answers(len(batch)) - np.float32(1e-7 * len(batch)), None)

    def novel(batch: NDArray[np.uint8]) -> Answer:
        return Answer(answers(len(batch)), np.full(len(batch), 1e-7 * len(batch), np.float32))

    pixels = np.zeros((1000, 28, 28), np.uint8)
    for answer in (run, novel):
        said = failure("int8", measure(answer, pixels, None, answers(1000)), Limits())
        assert said == "on this host answers in batches of 1 differ from those in one of 513"
