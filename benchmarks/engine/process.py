"""One process for each number of threads, since TensorFlow's threads cannot be changed once it runs."""

import multiprocessing
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digits.benchmarks.engine.peaks import open_peaks
from digits.benchmarks.engine.systems import open_systems
from digits.benchmarks.errors import BenchmarkError
from digits.model.golden import Golden
from digits.model.repository import ModelVersion

WARM_UP = 2  # runs
RUNS: dict[str, Callable[[NDArray[np.uint8]], object]] = {}  # in the process, by system or peak
IMAGES: list[NDArray[np.uint8]] = []  # in the process: one array
WARM: set[tuple[str, int]] = set()


@dataclass(frozen=True, slots=True)
class Ready:
    """What can be timed in a process.

    Attributes:
        systems: The names of the systems.
        not_served: Of those, which no server would run on this host, and why.
        left_out: What cannot be timed, and why.
        differences: Each system's largest |difference of a probability| from the golden set's reference.
        peaks: Of each peak of the machine: its work, unit, and how many of them in a run.
    """

    systems: list[str]
    not_served: dict[str, str]
    left_out: dict[str, str]
    differences: dict[str, float]
    peaks: dict[str, tuple[str, str, int]]


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
    found, peaks = open_systems(version, threads), open_peaks(threads, version)
    IMAGES.append(pixels)
    RUNS.update(found.runs | {name: peak.run for name, peak in peaks.items()})
    does = {name: (peak.work, peak.unit, peak.amount) for name, peak in peaks.items()}
    differences = found.differences(Golden.read(version.golden))
    return Ready(list(found.runs), found.not_served, found.left_out, differences, does)


def _time(name: str, batch: int, seconds: float) -> NDArray[np.float64]:
    run, images = RUNS[name], np.resize(IMAGES[0], (batch, 28, 28))
    for _ in range(0 if (name, batch) in WARM else WARM_UP):
        run(images)
    WARM.add((name, batch))
    taken: list[float] = []
    before = time.perf_counter()
    end = before + seconds
    while before < end or not taken:
        run(images)
        now = time.perf_counter()
        taken.append(now - before)
        before = now
    return np.array(taken)
