"""A server as a process of its own: its start, processor time and memory, and its end however the benchmark ends."""

import os
import select
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from digits.benchmarks.errors import BenchmarkError

PATIENCE = 60.0  # seconds until a server is ready
GRACE = 10.0  # seconds that it has to end itself
POLL = 0.002  # seconds between two reads of what it has printed
PROCESS_CLOCK = 2  # CPUCLOCK_SCHED of the kernel's posix-timers.h
TICKS = os.sysconf("SC_CLK_TCK")  # a second
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A server that is ready, with all processes that it has started."""

    pid: int
    ready_seconds: float  # from exec to its ready line

    def cpu_seconds(self) -> float:
        """Processor time until now of all running processes, and of those whose end their parents have awaited."""
        return sum(map(_cpu_seconds, _family(self.pid)))

    def resident_mb(self) -> float:
        return resident_mb(self.pid)

    def has_ended(self, patience: float = 0) -> bool:
        """Whether it has ended, or does so within so many seconds."""
        with suppress(ProcessLookupError), open(os.pidfd_open(self.pid), "rb") as process:  # noqa: PTH123 a descriptor
            return bool(select.select([process], [], [], patience)[0])
        return True

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stops its processes: a server that polls would take processor time from what is measured."""
        family = _family(self.pid)
        try:
            _signal(family, signal.SIGSTOP)
            yield
        finally:
            _signal(family, signal.SIGCONT)


@contextmanager
def started(
    command: Sequence[str], ready: str | Callable[[], bool], more: Mapping[str, str] | None = None
) -> Iterator[ServerProcess]:
    """Starts a server, waits until it has printed `ready` or `ready()` is true, and ends all its processes afterwards.

    It gets its own session, so that Ctrl-C reaches the benchmark only, which then ends the server.

    Raises BenchmarkError if it ended, or was not ready within a minute.
    """
    began, within = time.perf_counter(), {**environment(), **(more or {})}
    with (
        tempfile.NamedTemporaryFile(prefix="digits-bench-", suffix=".log") as log,
        subprocess.Popen(  # noqa: S603 our own
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=within, start_new_session=True
        ) as process,
    ):
        try:
            _wait(process, shlex.join(command), Path(log.name), ready)
            yield ServerProcess(process.pid, time.perf_counter() - began)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
            with suppress(ProcessLookupError):  # usually its session is empty by now
                os.killpg(process.pid, signal.SIGKILL)


def resident_mb(pid: int) -> float:
    """The memory of a process and its descendants, MB; shared memory counts for each of them."""
    sizes = [_text(PROC / str(member) / "statm").split() for member in _family(pid)]
    return sum(int(pages[1]) for pages in sizes if pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def environment() -> dict[str, str]:
    """The environment without the user's DIGITS_* settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DIGITS_")}


def _cpu_seconds(pid: int) -> float:
    """Of all threads of a process, including ended ones, to the nanosecond; and of its children that have ended.

    /proc counts in steps of 10 ms. The number of the clock is that of clock_getcpuclockid(3), which Python has for
    threads only.
    """
    after_name = _text(PROC / str(pid) / "stat").rpartition(")")[2].split()  # the name may contain spaces
    ended = sum(map(int, after_name[13:15])) / TICKS  # cutime and cstime
    with suppress(OSError):  # it has just ended
        return ended + time.clock_gettime((~pid << 3) | PROCESS_CLOCK)
    return ended


def _wait(process: subprocess.Popen[bytes], command: str, log: Path, ready: str | Callable[[], bool]) -> None:
    end = time.perf_counter() + PATIENCE
    while True:
        printed = log.read_text(encoding="utf-8", errors="replace")
        if ready in printed if isinstance(ready, str) else ready():
            return
        last = (printed.strip().splitlines() or ["nothing was printed"])[-1]
        if process.poll() is not None:
            raise BenchmarkError(f"{command} ended with {process.returncode}: {last}")
        if time.perf_counter() > end:
            raise BenchmarkError(f"{command} was not ready within {PATIENCE:g} s: {last}")
        time.sleep(POLL)


def _family(pid: int) -> list[int]:
    """The process and its descendants."""
    files = (PROC / str(pid) / "task").glob("*/children")
    return [pid, *(member for file in files for child in _text(file).split() for member in _family(int(child)))]


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, number)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # the process has just ended
