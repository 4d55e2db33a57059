"""Latencies as every benchmark writes them down."""

import numpy as np
from numpy.typing import ArrayLike

SHARES = (0, 10, 25, 50, 75, 90, 95, 99, 99.9, 99.99, 100)  # percent of the calls


def latency_us(seconds: ArrayLike) -> dict[str, float]:
    """Percentiles of seconds [n], in microseconds, by names such as p99.9; p0 and p100 are the least and the most.

    Those between two calls are interpolated linearly.
    """
    values = np.percentile(np.asarray(seconds, np.float64) * 1e6, SHARES)
    return {f"p{share:g}": round(float(value), 1) for share, value in zip(SHARES, values, strict=True)}
