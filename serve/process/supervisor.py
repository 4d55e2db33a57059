"""The supervisor: several workers at one port, from start to drain. It knows neither gRPC nor ONNX."""

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from digits.serve import statistics
from digits.serve.address import hold
from digits.serve.process.signal_handling import STOPS, ignore_echo
from digits.serve.process.worker_configuration import WorkerConfiguration
from digits.serve.process.worker_monitor import WorkerMonitor
from digits.serve.settings import ServeSettings
from digits.storage.cores import usable_cores

MARGIN = 5.0  # seconds for a worker to end once its drain is over, or to become ready first

log = logging.getLogger(__name__)


def count_workers(settings: ServeSettings) -> int:
    """How many processes are to serve."""
    return usable_cores() if settings.workers == "auto" else settings.workers


class Supervisor:
    """Starts the workers, keeps them running, and drains them all at the first signal; a second one kills them.

    The signals must be blocked. The first worker starts alone: it chooses version, provider and precision, and is
    undisturbed when it measures. The others serve the same, and so does each worker that replaces one that has died.
    """

    def __init__(self, settings: ServeSettings, workers: int) -> None:
        self._settings = settings
        self._workers = workers
        self._monitors: list[WorkerMonitor] = []
        self._stop: Future[None] = Future()
        self._hurry: Future[None] = Future()

    def run(self, announce: Callable[[str], None]) -> int:
        """Serves until a signal, after one line that says so. Gives the exit code: 0 if every worker's was 0.

        Raises:
            StartError: the address is not available.
            Exception: what a worker raised that could not start; all others have ended.
        """
        with ExitStack() as stack:
            address, held = hold(self._settings.address)
            for each in held:
                stack.enter_context(each)
            memory = statistics.create(self._workers)
            stack.callback(os.close, memory)
            threading.Thread(target=self._listen, name="signals", daemon=True).start()
            try:
                self._start(WorkerConfiguration(replace(self._settings, address=address), memory), announce)
                self._stop.result()
            except BaseException:
                self._kill()
                raise
            return self._drain()

    def _listen(self) -> None:
        for told, meaning in ((self._stop, "draining the workers"), (self._hurry, "waiting for them no longer")):
            stop = signal.Signals(signal.sigwait(STOPS))
            log.info("%s: %s", stop.name, meaning)
            told.set_result(None)
            ignore_echo(stop)

    def _start(self, first: WorkerConfiguration, announce: Callable[[str], None]) -> None:
        """Announces that all are ready, unless a signal comes before that."""
        if not self._launch(first):
            return
        report = self._monitors[0].first.result()
        if self._launch(*(replace(report.configuration, number=number) for number in range(1, self._workers))):
            what, _, where = report.line.rpartition(", at ")
            announce(f"{what}, {self._workers} workers, at {where}")

    def _launch(self, *configurations: WorkerConfiguration) -> bool:
        """Starts workers; whether they are ready before a signal comes. Raises what one of them has raised."""
        monitors = [WorkerMonitor(each) for each in configurations]
        self._monitors += monitors
        for monitor in monitors:
            monitor.start()
        return _done([monitor.first for monitor in monitors], unless=self._stop)

    def _drain(self) -> int:
        for monitor in self._monitors:
            monitor.drain()
        patience = self._settings.lame_duck + self._settings.drain_timeout + MARGIN
        if not _done([monitor.ended for monitor in self._monitors], unless=self._hurry, timeout=patience):
            log.error("not all workers have drained: the others are killed")
            self._kill()
        return int(any(monitor.ended.result() for monitor in self._monitors))

    def _kill(self) -> None:
        """Returns when all have ended."""
        for monitor in self._monitors:
            monitor.kill()
        wait(monitor.ended for monitor in self._monitors)


def _done(futures: Iterable[Future[Any]], *, unless: Future[None], timeout: float = math.inf) -> bool:
    """Waits until all have their results; False once `unless` has one, or after so many seconds."""
    end = time.monotonic() + timeout
    left = set(futures)
    while left:
        done, _ = wait({unless, *left}, min(end - time.monotonic(), threading.TIMEOUT_MAX), FIRST_COMPLETED)
        if not done or unless in done:
            return False
        for future in done:
            future.result()
        left -= done
    return True
