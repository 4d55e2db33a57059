"""The verdict of `digits bench compare` on its pairs heeds noise and limit."""

import re
from typing import Any

import numpy as np
import pytest

from digits.benchmarks.compare.verdict import GRID, A, B, differences, estimate, verdict
from digits.benchmarks.load.measure import CPU, RATE


def test_equal_values_have_no_interval() -> None:
    assert estimate(np.full(7, 0.5), 0.95, seed=0) == pytest.approx((0.5, 0.5, 0.5))


def test_a_few_stalls_do_not_move_the_mean_far() -> None:
    values = np.random.default_rng(0).normal(0, 0.02, 40)
    values[:4] = -3.0
    value, low, high = estimate(values, 0.95, seed=0)
    assert low < value < high
    assert abs(value) < 0.02


def samples(noise: float, rate: float = 1.0, cpu: float = 1.0) -> dict[Any, list[dict[str, float]]]:
    """Forty pairs, in which B has so many times A's rate and processor time, with noise on the ratios."""
    rng, made = np.random.default_rng(0), {}
    for point in GRID:
        made[point, A] = [{RATE: 1000.0, CPU: 50.0}] * 40
        factors = np.exp(rng.normal(0, noise, (40, 2))).tolist()
        made[point, B] = [{RATE: 1000 * rate * one, CPU: 50 * cpu * other} for one, other in factors]
    return made


@pytest.mark.parametrize(
    ("noise", "rate", "cpu", "slower", "says"),
    [
        (0.02, 0.85, 1.18, True, r"B is slower: Classify, 16 connections: 1\d\.\d % \(.* %\) fewer calls a second; "),
        (0.02, 1.0, 1.18, True, r"B is slower: .* more processor time a call; 5 % is allowed"),
        (0.02, 0.85, 1.0, True, r"B is slower: .* fewer calls a second; 5 % is allowed"),
        (0.02, 1.0, 1.0, False, "B is not slower by more than 5 %: Classify.*: at most "),
        (0.005, 0.97, 1.03, False, "B is not slower by more than 5 %: Classify.*: at most "),
        (0.02, 1.5, 0.7, False, "B is not slower by more than 5 %: Classify.*: at most "),
        (0.5, 1.0, 1.0, False, "B is not shown to be slower, but noise leaves room: Classify"),
    ],
)
def test_slower_means_beyond_noise_and_limit(noise: float, rate: float, cpu: float, slower: bool, says: str) -> None:
    found = differences(samples(noise, rate, cpu), 5.0, seed=0)
    assert any(one["slower"] for one in found) == slower
    assert re.search(says, verdict(found, 5.0))
