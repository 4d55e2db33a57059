"""The supervisor: several workers at one port, from start to drain. It knows neither gRPC nor ONNX."""

import asyncio
import logging
import os
import pickle
import signal
import sys
import threading
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any, cast

from digits.serve import statistics
from digits.serve.address import hold
from digits.serve.errors import StartError
from digits.serve.process.signal_handling import STOPS, ignore_echo
from digits.serve.settings import ServeSettings, WorkerConfiguration
from digits.storage.cores import usable_cores

# -P: or a folder of the user's in the current directory could replace a package.
COMMAND = (sys.executable, "-P", "-m", "digits.serve.process.worker")
SHORTEST, LONGEST = 0.1, 5.0  # seconds before a worker is started again; doubled after each death
STEADY = 10.0  # seconds of being ready after which the delay is the shortest again
MARGIN = 5.0  # seconds for a worker to end once its drain is over, or to become ready first

# Of a worker that is ready: the line that says what it serves, and where; its configuration with the choices made.
Report = tuple[str, WorkerConfiguration]

log = logging.getLogger(__name__)


def count_workers(settings: ServeSettings) -> int:
    """How many processes are to serve."""
    return usable_cores() if settings.workers == "auto" else settings.workers


def supervise(settings: ServeSettings, workers: int, announce: Callable[[str], None]) -> int:
    """Serves with several workers until a signal, after one line that says so. The signals must be blocked.

    The first signal drains all workers; a second one kills them. The first worker starts alone: it chooses version,
    provider and precision, and is undisturbed when it measures. The others serve the same, and so does each worker that
    replaces one that has died. Returns the exit code: 0 if every worker's was 0. Raises StartError: the address is not
    available. Exception: what a worker raised that could not start; all others have ended.
    """
    with ExitStack() as stack:
        address, held = hold(settings.address)
        for each in held:
            stack.enter_context(each)
        memory = statistics.create(workers)
        stack.callback(os.close, memory)
        first = WorkerConfiguration(replace(settings, address=address), memory)
        return asyncio.run(_supervise(first, workers, announce))


async def _supervise(first: WorkerConfiguration, workers: int, announce: Callable[[str], None]) -> int:
    stop, hurry = asyncio.Event(), asyncio.Event()
    threading.Thread(target=_listen, args=(asyncio.get_running_loop(), stop, hurry), daemon=True).start()
    patience, drained = first.settings.lame_duck + first.settings.drain_timeout + MARGIN, False
    monitors = [WorkerMonitor(first)]
    try:
        if await _done([monitors[0].first], unless=stop):
            line, settled = monitors[0].first.result()
            monitors += [WorkerMonitor(replace(settled, number=number)) for number in range(1, workers)]
            if await _done([monitor.first for monitor in monitors], unless=stop):
                what, _, where = line.rpartition(", at ")
                announce(f"{what}, {workers} workers, at {where}")
                await stop.wait()
        for monitor in monitors:
            monitor.drain()
        if not (drained := await _done([monitor.ended for monitor in monitors], unless=hurry, seconds=patience)):
            log.error("not all workers have drained: the others are killed")
    finally:
        for monitor in monitors:
            monitor.kill()
        codes = await asyncio.gather(*(monitor.ended for monitor in monitors))
    return int(not drained or any(codes))


def _listen(loop: asyncio.AbstractEventLoop, stop: asyncio.Event, hurry: asyncio.Event) -> None:
    for event, meaning in ((stop, "draining the workers"), (hurry, "waiting for them no longer")):
        came = signal.Signals(signal.sigwait(STOPS))
        log.info("%s: %s", came.name, meaning)
        loop.call_soon_threadsafe(event.set)
        ignore_echo(came)


async def _done(results: Iterable[Awaitable[Any]], *, unless: asyncio.Event, seconds: float | None = None) -> bool:
    """Waits for all of them, and raises what one has raised; False if the event comes first, or the time is over."""
    everything: asyncio.Future[Any] = asyncio.gather(*results)
    event: asyncio.Future[Any] = asyncio.ensure_future(unless.wait())
    await asyncio.wait([everything, event], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    event.cancel()
    if everything.done():
        everything.result()
    return everything.done()


class WorkerMonitor:
    """Keeps one worker running: starts it again whenever it has died."""

    def __init__(self, configuration: WorkerConfiguration) -> None:
        # The first report, or the reason why there is none; then there is no second start.
        self.first: asyncio.Future[Report] = asyncio.get_running_loop().create_future()
        self._configuration = configuration
        self._name = f"worker {configuration.number}"
        self._delay = SHORTEST
        self._stopping = asyncio.Event()
        self._process: Process | None = None
        self.ended = asyncio.create_task(self._keep())  # the exit code of the drain: 0 if no process was running

    def drain(self) -> None:
        """Tells the worker to answer what it has accepted, and to end for good."""
        self._stopping.set()
        if self._process:
            cast("asyncio.StreamWriter", self._process.stdin).close()

    def kill(self) -> None:
        self.drain()
        if self._process:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def _keep(self) -> int:
        while not self._stopping.is_set():
            what, error, code = await self._run()
            if self._stopping.is_set():
                return code
            if not self.first.done():
                self.first.set_exception(error)
                return code
            log.error("%s %s; it is started again in %g s", self._name, what, self._delay)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._delay)
            self._delay = min(2 * self._delay, LONGEST)
        return 0

    async def _run(self) -> tuple[str, Exception, int]:
        """Starts a process, and waits until it ends: how it ended, as text and as an error, and its exit code."""
        memory = cast("int", self._configuration.statistics)
        try:
            process = await asyncio.create_subprocess_exec(*COMMAND, stdin=PIPE, stdout=PIPE, pass_fds=[memory])
        except OSError as error:
            return f"cannot be started: {error}", error, 1
        self._process = process
        stdin, stdout = cast("asyncio.StreamWriter", process.stdin), cast("asyncio.StreamReader", process.stdout)
        stdin.write(pickle.dumps(self._configuration))
        if self._stopping.is_set():
            self.kill()  # it has accepted no call
        report, since = _received(await stdout.read()), time.monotonic()
        if isinstance(report, tuple):
            _, self._configuration = report  # from now on it is started with the choices that it has made
            if self.first.done():
                log.info("%s (pid %d) is back", self._name, process.pid)
            else:
                self.first.set_result(report)
        code = await process.wait()
        self._process = None
        if isinstance(report, Exception):
            return f"(pid {process.pid}) cannot start: {report}", report, code
        if report and time.monotonic() - since >= STEADY:
            self._delay = SHORTEST
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        how += "" if report else " before it was ready"
        return f"(pid {process.pid}) ended {how}", StartError(f"{self._name} ended {how}"), code


def _received(report: bytes) -> Report | Exception | None:
    """What a worker has sent: the exception if it cannot start, None if it ended before that."""
    try:
        return cast("Report | Exception", pickle.loads(report))  # noqa: S301 it comes from our own process
    except (EOFError, pickle.UnpicklingError):
        return None
