"""What `digits bench compare` makes of its pairs: a right interval, and a verdict that heeds noise and limit."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from scipy import stats

from digits.benchmarks.compare.bootstrap import estimate, trimmed_mean
from digits.benchmarks.compare.load import CELLS, CPU, RATE, A, B
from digits.benchmarks.compare.verdict import differences, in_words, is_slower


def test_the_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(1).lognormal(size=30)
    found = estimate(values, 0.95, seed=0)
    theirs = stats.bootstrap(
        (values,), lambda sample, axis: trimmed_mean(np.moveaxis(sample, axis, -1)), n_resamples=10_000, rng=2
    ).confidence_interval
    assert found.value == pytest.approx(stats.trim_mean(values, 0.2))
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), rel=0.03)


def test_equal_values_have_no_interval() -> None:
    found = estimate(np.full(7, 0.5), 0.95, seed=0)
    assert (found.low, found.value, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_a_few_stalls_move_neither_the_mean_nor_its_interval_far() -> None:
    values = np.random.default_rng(0).normal(0, 0.02, 40)
    values[:4] = -3.0
    assert abs(estimate(values, 0.95, seed=0).value) < 0.02


def samples(noise: float, rate: float = 1.0, cpu: float = 1.0) -> dict[Any, list[dict[str, float]]]:
    """Forty pairs, in which B has so many times A's rate and processor time, but for a noise of the ratios."""
    rng, made = np.random.default_rng(0), {}
    for cell in CELLS:
        made[cell, A] = [{RATE: 1000.0, CPU: 50.0}] * 40
        factors = np.exp(rng.normal(0, noise, (40, 2))).tolist()
        made[cell, B] = [{RATE: 1000 * rate * one, CPU: 50 * cpu * other} for one, other in factors]
    return made


@pytest.mark.parametrize(
    ("noise", "rate", "cpu", "slower", "says"),
    [
        (0.02, 0.85, 1.18, True, r"B is slower: Classify, 16 connections: 1\d\.\d % \(.* %\) fewer calls a second; "),
        (0.02, 1.0, 1.18, True, r"B is slower: .* more processor time a call; 5 % is allowed"),
        (0.02, 0.85, 1.0, True, r"B is slower: .* fewer calls a second; 5 % is allowed"),
        (0.02, 1.0, 1.0, False, "B is no slower beyond 5 %: Classify.*: at most "),
        (0.005, 0.97, 1.03, False, "B is no slower beyond 5 %: Classify.*: at most "),
        (0.02, 1.5, 0.7, False, "B is no slower beyond 5 %: Classify.*: at most "),
        (0.5, 1.0, 1.0, False, "B is not shown to be slower, but noise leaves room: Classify"),
    ],
)
def test_slower_is_what_is_so_beyond_noise_and_limit(
    noise: float, rate: float, cpu: float, slower: bool, says: str
) -> None:
    found = differences(samples(noise, rate, cpu), seed=0)
    assert is_slower(found, 5.0) == slower
    assert re.search(says, in_words(found, 5.0))
