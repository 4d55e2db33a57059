"""One process for each number of threads, since TensorFlow's threads cannot be changed once it runs."""

from __future__ import annotations

import multiprocessing
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from digits.benchmarks.engine.peaks import open_peaks
from digits.benchmarks.engine.systems import open_systems
from digits.benchmarks.errors import BenchmarkError
from digits.model.errors import ModelError
from digits.model.golden import Golden

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from typing import Any

    from numpy.typing import NDArray

    from digits.model.repository import ModelVersion

WARM_UP = 2  # runs


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
    """Times systems with so many threads, one after the other. Leaving the context kills it."""

    def __init__(self, version: ModelVersion, threads: int) -> None:
        """Starts it without waiting for it."""
        spawn = multiprocessing.get_context("spawn")
        self.threads = threads
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_answer, args=(theirs, version, threads), daemon=True)
        ours = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: the parent handles Ctrl-C
        try:
            self._process.start()
        finally:
            signal.signal(signal.SIGINT, ours)
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()

    def ready(self, pixels: NDArray[np.uint8]) -> Ready:
        """Waits until everything is open. Batches consist of images uint8 [n, 28, 28], repeated as needed.

        Raises:
            ModelError: fp32 cannot be run here.
            BenchmarkError: the process has ended.
        """
        found: Ready = self._ask(pixels)
        return found

    def time(self, name: str, batch: int, seconds: float) -> NDArray[np.float64]:
        """Seconds of each run [n] of a system or a peak: at least one, and more until the time is over.

        Raises:
            BenchmarkError: the process has ended.
        """
        runs: NDArray[np.float64] = self._ask((name, batch, seconds))
        return runs

    def _ask(self, question: object) -> Any:
        try:
            self._pipe.send(question)
            reply = self._pipe.recv()
        except (EOFError, ConnectionError) as error:
            self._process.join()
            raise BenchmarkError(
                f"the process for --threads {self.threads} ended with exit code {self._process.exitcode}; "
                "if there is no message above, it may lack memory: give smaller --batches"
            ) from error
        if isinstance(reply, Exception):
            raise reply
        return reply


def _answer(pipe: Connection, version: ModelVersion, threads: int) -> None:
    """In the process: opens everything, and times what it is asked to until the parent closes the pipe."""
    with suppress(EOFError, ConnectionError):
        try:
            found = open_systems(version, threads)
        except ModelError as error:
            pipe.recv()
            pipe.send(error)
            return
        peaks = open_peaks(threads, version)
        does = {name: (peak.work, peak.unit, peak.amount) for name, peak in peaks.items()}
        differences = found.differences(Golden.read(version.golden))
        pixels = pipe.recv()
        pipe.send(Ready(list(found.runs), found.not_served, found.left_out, differences, does))
        warm: set[tuple[str, int]] = set()
        while True:
            name, batch, seconds = pipe.recv()
            run = peaks[name].run if name in peaks else _of_batch(found.runs[name], pixels, batch)
            if (name, batch) not in warm:
                warm.add((name, batch))
                for _ in range(WARM_UP):
                    run()
            pipe.send(_time_runs(run, seconds))


def _of_batch(
    run: Callable[[NDArray[np.uint8]], object], pixels: NDArray[np.uint8], batch: int
) -> Callable[[], object]:
    images = np.resize(pixels, (batch, 28, 28))
    return lambda: run(images)


def _time_runs(run: Callable[[], object], seconds: float) -> NDArray[np.float64]:
    taken = []
    before = time.perf_counter()
    end = before + seconds
    while True:
        run()
        now = time.perf_counter()
        taken.append(now - before)
        if now >= end:
            return np.array(taken)
        before = now
