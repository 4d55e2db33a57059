"""One process for each number of threads, since TensorFlow's threads cannot be changed once it runs."""

import multiprocessing
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from digits.benchmarks.engine.peaks import open_peaks
from digits.benchmarks.engine.systems import Systems, open_systems
from digits.benchmarks.errors import BenchmarkError
from digits.model.golden import Golden
from digits.model.parity import compare
from digits.model.repository import ModelVersion

WARM_UP = 2  # runs
# In the process: what is timed, by system or peak; one array of images; and what has been warmed up.
RUNS: dict[str, Callable[[NDArray[np.uint8]], object]] = {}
IMAGES: list[NDArray[np.uint8]] = []
WARM: set[tuple[str, int]] = set()


class Ready(NamedTuple):
    """What can be timed in a process."""

    systems: list[str]
    not_served: dict[str, str]  # of those, which no server would run on this host, and why
    left_out: dict[str, str]  # what cannot be timed, and why
    differences: dict[str, float]  # each system's largest |difference of a probability| from the golden reference
    peaks: dict[str, tuple[str, str, int]]  # of each peak its work, its unit, and how many of them in a run


class EngineProcess:
    """Times systems with so many threads, one after the other, in batches of images uint8 [n, 28, 28]."""

    def __init__(self, version: ModelVersion, threads: int, pixels: NDArray[np.uint8]) -> None:
        """Starts it without waiting for it."""
        self.threads = threads
        self._executor = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        ours = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: the parent handles Ctrl-C
        try:
            self._ready = self._executor.submit(_open, version, threads, pixels)
        finally:
            signal.signal(signal.SIGINT, ours)

    def ready(self) -> Ready:
        """Waits until everything is open. Raises ModelError if fp32 cannot run here, BenchmarkError if it has ended."""
        found: Ready = self._result(self._ready)
        return found

    def time(self, name: str, batch: int, seconds: float) -> NDArray[np.float64]:
        """Seconds of each run [n] of a system or a peak, at least one. Raises BenchmarkError if the process ended."""
        runs: NDArray[np.float64] = self._result(self._executor.submit(_time, name, batch, seconds))
        return runs

    def _result(self, future: Future[Any]) -> Any:
        try:
            return future.result()
        except BrokenProcessPool as error:
            raise BenchmarkError(
                f"the process for --threads {self.threads} was killed; "
                "if there is no message above, it may lack memory: give smaller --batches"
            ) from error


def kill_processes() -> None:
    """Ends all of them at once, in the middle of a run too."""
    for process in multiprocessing.active_children():
        process.kill()


def _open(version: ModelVersion, threads: int, pixels: NDArray[np.uint8]) -> Ready:
    found: Systems = open_systems(version, threads)
    peaks, golden = open_peaks(threads, version), Golden.read(version.golden)
    IMAGES.append(pixels)
    RUNS.update(found.runs | {name: peak.run for name, peak in peaks.items()})
    off = {name: compare(run(golden.pixels), golden.reference).max_abs_diff for name, run in found.runs.items()}
    return Ready([*found.runs], found.not_served, found.left_out, off, {name: one[1:] for name, one in peaks.items()})


def _time(name: str, batch: int, seconds: float) -> NDArray[np.float64]:
    run, images = RUNS[name], np.resize(IMAGES[0], (batch, 28, 28))
    for _ in range(0 if (name, batch) in WARM else WARM_UP):
        run(images)
    WARM.add((name, batch))
    times = [time.perf_counter()]
    while times[-1] < times[0] + seconds or len(times) < 2:  # noqa: PLR2004 one run
        run(images)
        times.append(time.perf_counter())
    return np.diff(times)
