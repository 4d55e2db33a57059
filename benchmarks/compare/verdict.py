"""By how much B differs from A under each load, how sure that is, and whether B is too slow."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from digits.benchmarks.load.call import CLASSIFY, Point
from digits.benchmarks.load.measure import CPU, RATE
from digits.benchmarks.section import Section, section

Samples = dict[tuple[Point, str], list[dict[str, Any]]]  # the repeats by load and build, one for each pair
Difference = dict[str, Any]

A, B = "A", "B"
GRID = (Point(CLASSIFY, 1, 16), Point(CLASSIFY, 64, 4))
WORDS = {RATE: ("fewer", "more", "calls a second"), CPU: ("less", "more", "processor time a call")}
ERROR = 0.02  # the chance that any of the intervals misses the truth
TRIM = 0.2  # of the pairs that are left out at each end: a stall in a few of them does not move the mean
RESAMPLES = 10_000


def differences(samples: Samples, limit: float, seed: int) -> list[Difference]:
    """By load and measure: B over A within the pairs, averaged as logarithms, with an interval, in percent of A.

    All intervals hold together with 98 % (Bonferroni), since one of them is enough to fail a build.
    """
    confidence = 1 - ERROR / (len(GRID) * len(WORDS))
    found = []
    for point in GRID:
        for measure in WORDS:
            a, b = ([one[measure] for one in samples[point, name]] for name in (A, B))
            percent, low, high = (
                math.expm1(value) * 100 for value in estimate(np.log(b) - np.log(a), confidence, seed)
            )
            one: Difference = {"load": str(point), "measure": measure, "medians": [median(a), median(b)]}
            one |= {"percent": round(percent, 2), "interval": [round(low, 2), round(high, 2)]}
            least, estimated, _ = _loss(one)
            found.append(one | {"slower": least > 0 and estimated > limit})
    return found


def estimate(values: NDArray[np.float64], confidence: float, seed: int) -> tuple[float, float, float]:
    """The trimmed mean of independent values [n], at least 3, and its BCa bootstrap interval: value, low, high."""

    def mean(sample: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        means: NDArray[np.float64] = stats.trim_mean(sample, TRIM, axis=axis)
        return means

    value = float(mean(values))
    if np.ptp(values) == 0:  # for which the interval is undefined
        return value, value, value
    found = stats.bootstrap(
        (values,), mean, n_resamples=RESAMPLES, confidence_level=confidence, rng=np.random.default_rng(seed)
    ).confidence_interval
    return value, float(found.low), float(found.high)


def compare_section(result: dict[str, Any]) -> Section:
    """Of two builds, or of two files."""
    return section(result, verdict=verdict, words=WORDS)


def verdict(found: Sequence[Difference], limit: float) -> str:
    """Whether B is slower, in a sentence."""
    if slower := [one for one in found if one["slower"]]:
        return f"B is slower: {'; '.join(map(_text, slower))}; {limit:g} % is allowed"
    worst = max(found, key=lambda one: _loss(one)[-1])
    most = max(_loss(worst)[-1], 0)
    worse = "fewer" if worst["measure"] == RATE else "more"
    room = f"{worst['load']}: at most {most:.1f} % {worse} {WORDS[worst['measure']][-1]}"
    if most <= limit:
        return f"B is not slower by more than {limit:g} %: {room}"
    return f"B is not shown to be slower, but noise leaves room: {room}; give more --pairs, or a quieter machine"


def _loss(one: Difference) -> tuple[float, float, float]:
    """What is worse about B, in percent: the least, the estimate and the most. Of a rate it is what is missing."""
    low, high = one["interval"]
    return (-high, -one["percent"], -low) if one["measure"] == RATE else (low, one["percent"], high)


def _text(one: Difference) -> str:
    less, more, what = WORDS[one["measure"]]
    sign = -1 if one["percent"] < 0 else 1
    low, high = sorted(sign * end for end in one["interval"])
    interval = f"{sign * one['percent']:.1f} % ({low:.1f} to {high:.1f} %)"
    return f"{one['load']}: {interval} {less if sign < 0 else more} {what}"
