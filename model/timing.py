"""How long models take. They are measured in turn, since on a shared machine only ratios within one run count."""

import math
import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Run = Callable[[NDArray[np.uint8]], object]


def seconds_per_run(
    runs: Mapping[str, Run], pixels: NDArray[np.uint8], batch_size: int, *, rounds: int, least: float
) -> dict[str, NDArray[np.float64]]:
    """Seconds that each model takes for a batch, float64 [rounds]; each round measures every model once.

    Args:
        runs: The models by name, each taking uint8 [n, 28, 28].
        pixels: Images uint8 [n, 28, 28], repeated as needed.
        batch_size: Images in a batch.
        rounds: The number of measurements, after two calls of each model to warm up.
        least: The seconds of one measurement: the mean of as many calls as they take, 1 to 1000.
    """
    batch = np.resize(pixels, (batch_size, *pixels.shape[1:]))
    calls = {}
    for name, run in runs.items():
        run(batch)
        calls[name] = min(max(math.ceil(least / max(_seconds(run, batch, 1), 1e-9)), 1), 1000)
    seconds = {name: np.empty(rounds) for name in runs}
    for number in range(rounds):
        for name, run in runs.items():
            seconds[name][number] = _seconds(run, batch, calls[name])
    return seconds


def _seconds(run: Run, batch: NDArray[np.uint8], calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        run(batch)
    return (time.perf_counter() - started) / calls


def speedup(seconds: NDArray[np.float64], baseline: NDArray[np.float64]) -> float:
    """How many times as fast as the baseline, by the median of the rounds' ratios."""
    return float(np.median(baseline / seconds))
