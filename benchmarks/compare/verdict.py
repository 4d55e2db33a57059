"""What the pairs say: how B differs from A under each load, how sure that is, and whether it is too slow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from digits.benchmarks.compare.bootstrap import estimate
from digits.benchmarks.compare.load import CELLS, CPU, RATE, A, B
from digits.report.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from digits.benchmarks.cells import Cell

    Samples = Mapping[tuple[Cell, str], Sequence[Mapping[str, float]]]  # by load and build, one for each pair

WORDS = {RATE: ("fewer", "more", "calls a second"), CPU: ("less", "more", "processor time a call")}
WORSE = {RATE: "fewer", CPU: "more"}
ERROR = 0.02  # the chance that any of the intervals misses the truth


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much B has more than A of something, in percent of A, with an interval; negative where it has less."""

    load: str
    measure: str
    medians: tuple[float, float]  # of A and B
    percent: float
    low: float
    high: float

    @property
    def loss(self) -> tuple[float, float, float]:
        """What is bad about it, in percent: the least, the estimate and the most. Of the rate it is what is missing."""
        return (-self.high, -self.percent, -self.low) if self.measure == RATE else (self.low, self.percent, self.high)

    def is_slower(self, limit: float) -> bool:
        """Whether B is worse beyond noise, and by more than the limit, in percent."""
        least, estimated, _ = self.loss
        return least > 0 and estimated > limit

    def __str__(self) -> str:
        less, more, what = WORDS[self.measure]
        sign = -1 if self.percent < 0 else 1
        low, high = sorted((sign * self.low, sign * self.high))
        word = less if sign < 0 else more
        return f"{self.load}: {sign * self.percent:.1f} % ({low:.1f} to {high:.1f} %) {word} {what}"


def differences(samples: Samples, seed: int) -> list[Difference]:
    """By load and measure: the ratios within the pairs, averaged as logarithms.

    The intervals hold together with 98 % (Bonferroni), since one of them is enough to fail a build.
    """
    confidence = 1 - ERROR / (len(CELLS) * len(WORDS))
    return [_difference(samples, cell, measure, confidence, seed) for cell in CELLS for measure in WORDS]


def in_words(found: Sequence[Difference], limit: float) -> str:
    """The table, and below it whether B is slower."""
    rows = [
        (each.load, WORDS[each.measure][-1], *(f"{value:,.1f}" for value in each.medians), _change(each))
        for each in found
    ]
    return f"{Table(('load', 'median of', A, B, 'B has more by'), rows, 2).text()}\n\n{_verdict(found, limit)}"


def is_slower(found: Sequence[Difference], limit: float) -> bool:
    return any(each.is_slower(limit) for each in found)


def as_json(found: Sequence[Difference], limit: float) -> list[dict[str, Any]]:
    return [
        {
            "load": each.load,
            "measure": each.measure,
            "percent": round(each.percent, 2),
            "interval": [round(each.low, 2), round(each.high, 2)],
            "slower": each.is_slower(limit),
        }
        for each in found
    ]


def _difference(samples: Samples, cell: Cell, measure: str, confidence: float, seed: int) -> Difference:
    a, b = ([one[measure] for one in samples[cell, name]] for name in (A, B))
    found = estimate(np.log(b) - np.log(a), confidence, seed)
    percent, low, high = (math.expm1(value) * 100 for value in (found.value, found.low, found.high))
    return Difference(cell.name, measure, (median(a), median(b)), percent, low, high)


def _change(found: Difference) -> str:
    return f"{found.percent:+.1f} % ({found.low:+.1f} to {found.high:+.1f} %)"


def _verdict(found: Sequence[Difference], limit: float) -> str:
    if slower := [each for each in found if each.is_slower(limit)]:
        return f"B is slower: {'; '.join(map(str, slower))}; {limit:g} % is allowed"
    worst = max(found, key=lambda each: each.loss[-1])
    most = max(worst.loss[-1], 0)
    room = f"{worst.load}: at most {most:.1f} % {WORSE[worst.measure]} {WORDS[worst.measure][-1]}"
    if most <= limit:
        return f"B is no slower beyond {limit:g} %: {room}"
    return f"B is not shown to be slower, but noise leaves room: {room}; give more --pairs, or a quieter machine"
