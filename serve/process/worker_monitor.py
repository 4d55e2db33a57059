"""A worker monitor: starts one worker process, and starts it again whenever it has died."""

import logging
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from typing import IO, NamedTuple, cast

from digits.serve.errors import StartError
from digits.serve.process.worker_configuration import Report, WorkerConfiguration, receive, send

# -P: or a folder of the user's in the current directory could replace a package.
COMMAND = (sys.executable, "-P", "-m", "digits.serve.process.worker")
SHORTEST, LONGEST = 0.1, 5.0  # seconds before a worker is started again; doubled after each death
STEADY = 10.0  # seconds of being ready after which the delay is the shortest again

log = logging.getLogger(__name__)


class End(NamedTuple):
    """Of one process: how it ended, as an error, its exit code, and the seconds for which it was ready."""

    text: str
    error: Exception
    code: int = 1
    ready_seconds: float = 0


class WorkerMonitor:
    """Keeps one worker running.

    Attributes:
        first: The first report, or the reason why there is none; then there is no second start.
        ended: The last exit code, once there will be no other: 0 if there was no process to end.
    """

    def __init__(self, configuration: WorkerConfiguration) -> None:
        self.first: Future[Report] = Future()
        self.ended: Future[int] = Future()
        self._configuration = configuration
        self._name = f"worker {configuration.number}"
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        threading.Thread(target=self._keep, name=self._name, daemon=True).start()

    def drain(self) -> None:
        """Tells the worker to answer what it has accepted, and to end for good."""
        with self._lock:
            self._stopping.set()
            if self._process and self._process.stdin:
                self._process.stdin.close()

    def kill(self) -> None:
        self.drain()
        if self._process:
            self._process.kill()

    def _keep(self) -> None:
        delay, code = SHORTEST, 0
        while end := self._run():
            code = end.code
            if not self.first.done():
                self.first.set_exception(end.error)
                break
            if self._stopping.is_set():
                break
            if end.ready_seconds >= STEADY:
                delay = SHORTEST
            log.error("%s %s; it is started again in %g s", self._name, end.text, delay)
            self._stopping.wait(delay)
            delay, code = min(2 * delay, LONGEST), 0
        self.ended.set_result(code)

    def _run(self) -> End | None:
        """Starts the worker and waits until it ends; None if it must not start again."""
        try:
            process = self._spawn()
        except OSError as error:
            return End(f"cannot be started: {error}", error)
        if process is None:
            return None
        with process, open(cast("IO[bytes]", process.stdout).fileno(), "rb", closefd=False) as pipe:
            report = receive(pipe)
            since = time.monotonic()
            if isinstance(report, Report):
                self._record(report, process.pid)
            code = process.wait()
        if isinstance(report, Exception):
            return End(f"(pid {process.pid}) cannot start: {report}", report, code)
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        how += "" if report else " before it was ready"
        ready = time.monotonic() - since if report else 0
        return End(f"(pid {process.pid}) ended {how}", StartError(f"{self._name} ended {how}"), code, ready)

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._stopping.is_set():
                return None
            self._process = subprocess.Popen(  # noqa: S603 our own module
                COMMAND,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[cast("int", self._configuration.statistics)],
            )
            send(cast("IO[bytes]", self._process.stdin), self._configuration)
            return self._process

    def _record(self, report: Report, pid: int) -> None:
        """From now on the worker is started with the choices that it has made."""
        self._configuration = report.configuration
        if self.first.done():
            log.info("%s (pid %d) is back", self._name, pid)
        else:
            self.first.set_result(report)
