"""How sure a mean of few measurements is: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 14."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

TRIM = 0.2  # of the values that are left out at each end
RESAMPLES = 10_000
NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Estimate:
    """A trimmed mean, and the interval that holds the true one with the confidence that was asked for."""

    value: float
    low: float
    high: float


def estimate(values: Values, confidence: float, seed: int) -> Estimate:
    """The mean without the fifth at each end, which a stall in a few measurements does not move, and its BCa interval.

    Args:
        values: Of independent measurements, [n], at least 3.
        confidence: Such as 0.95.
        seed: Of the resampling.
    """
    resampled = np.random.default_rng(seed).choice(values, (RESAMPLES, len(values)))
    means, value = trimmed_mean(resampled), float(trimmed_mean(values))
    tail = (1 - confidence) / 2
    levels = [_level(share, _bias(means, value), _acceleration(values)) for share in (tail, 1 - tail)]
    low, high = np.quantile(means, levels)
    return Estimate(value, float(low), float(high))


def trimmed_mean(values: Values) -> Values:
    """Over the last axis."""
    cut = int(values.shape[-1] * TRIM)
    kept: Values = np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(axis=-1)
    return kept


def _level(share: float, bias: float, acceleration: float) -> float:
    """Which quantile of the resampled means ends the interval (equation 14.10)."""
    z = bias + NORMAL.inv_cdf(share)
    return NORMAL.cdf(bias + z / (1 - acceleration * z))


def _bias(means: Values, value: float) -> float:
    """By how much the resampled means lie to one side (14.14); those that are equal count half."""
    below = float((means < value).mean() + (means == value).mean() / 2)
    return NORMAL.inv_cdf(min(max(below, 1 / RESAMPLES), 1 - 1 / RESAMPLES))


def _acceleration(values: Values) -> float:
    """The skew of the means that leave one value out (14.15)."""
    left_out = np.array([trimmed_mean(np.delete(values, i)) for i in range(len(values))])
    apart = left_out.mean() - left_out
    spread = (apart**2).sum() ** 1.5
    return float((apart**3).sum() / (6 * spread)) if spread else 0.0
