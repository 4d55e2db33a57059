"""Statistics of the differences between the answers of two models."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Probabilities = NDArray[np.float32]

EDGES = np.logspace(-12, 0, 37)  # of the histogram's bins: three a decade


def agreement_interval(same: int, images: int) -> list[float]:
    """The exact 95 % interval of a share: C. J. Clopper, E. S. Pearson, Biometrika 26, 1934."""
    interval = stats.binomtest(same, images).proportion_ci(0.95, method="exact")
    return [float(interval.low), float(interval.high)]


def mcnemar(answers: Probabilities, reference: Probabilities, labels: NDArray[np.uint8]) -> dict[str, float]:
    """Whether one of two models, by their probabilities [n, 10], is right significantly more often.

    McNemar's exact test: by chance, each gets half of the images that only one of them classifies correctly.

    Returns:
        gained: Images that only the answers get right.
        lost: Images that only the reference gets right.
        p: The probability of a split at least as unequal.
    """
    right, was = answers.argmax(axis=1) == labels, reference.argmax(axis=1) == labels
    gained, lost = int((right & ~was).sum()), int((was & ~right).sum())
    p = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return {"gained": gained, "lost": lost, "p": p}


def histogram(answers: Probabilities, reference: Probabilities) -> dict[str, Any]:
    """|difference of a probability| over all images and digits; a NaN counts as 1.

    Returns:
        edges: Of the bins, 37 from 1e-12 to 1, three a decade.
        counts: Probabilities in each of the 36 bins.
        below: Probabilities that differ by less than 1e-12, but do.
        equal: Probabilities that are equal.
    """
    difference = np.nan_to_num(np.abs(answers.astype(np.float64) - reference), nan=1.0)
    equal = difference == 0
    return {
        "edges": [float(f"{edge:.4g}") for edge in EDGES],
        "counts": np.histogram(difference, EDGES)[0].tolist(),
        "below": int((difference[~equal] < EDGES[0]).sum()),
        "equal": int(equal.sum()),
    }
