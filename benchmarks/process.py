"""A server as a process of its own: started, ready, its processor time and memory, and ended whatever comes."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from digits.benchmarks.errors import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

PATIENCE = 60.0  # seconds until a server is ready
GRACE = 10.0  # seconds that it has to end itself
LOOK = 0.002  # seconds between two looks at what it has printed
PROCESS_CLOCK = 2  # CPUCLOCK_SCHED of the kernel's posix-timers.h
TICKS = os.sysconf("SC_CLK_TCK")  # a second
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A server that is ready, and the processes that it has started."""

    pid: int
    address: str
    ready_seconds: float  # from exec to its ready line

    def cpu_seconds(self) -> float:
        """Processor time until now: of all that live, and of those that it has seen end."""
        family = _family(self.pid)
        # cutime and cstime, counted from behind the name, which may hold spaces.
        stats = [_text(PROC / str(pid) / "stat").rpartition(")")[2].split() for pid in family]
        ended = sum(int(ticks) for stat in stats for ticks in stat[13:15]) / TICKS
        return ended + sum(map(_own_cpu_seconds, family))

    def resident_mb(self) -> float:
        return resident_mb(self.pid)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Holds it still, and all that it has started: some servers poll, which whatever is measured would feel."""
        family = _family(self.pid)
        try:
            _signal(family, signal.SIGSTOP)
            yield
        finally:
            _signal(family, signal.SIGCONT)


@contextmanager
def started(
    command: Sequence[str], address: str, ready: str | Callable[[], bool], more: Mapping[str, str] | None = None
) -> Iterator[ServerProcess]:
    """Starts a server, waits until it has printed `ready`, or is it, and ends it and all that it has started.

    Its session is its own, so that Ctrl-C reaches the benchmark alone, which then ends it.

    Raises:
        BenchmarkError: it ended, or was not ready in a minute.
    """
    began = time.perf_counter()
    with (
        tempfile.NamedTemporaryFile(prefix="digits-bench-", suffix=".log") as log,
        subprocess.Popen(  # noqa: S603 our own
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**environment(), **(more or {})},
            start_new_session=True,
        ) as process,
    ):
        try:
            _wait(process, shlex.join(command), Path(log.name), ready)
            yield ServerProcess(process.pid, address, time.perf_counter() - began)
        finally:
            _end(process)


def _own_cpu_seconds(pid: int) -> float:
    """Of all threads of a process, the ended ones too, to the nanosecond: /proc counts it by 10 ms.

    The clock's number is that of clock_getcpuclockid(3), which Python has for threads only.
    """
    try:
        return time.clock_gettime((~pid << 3) | PROCESS_CLOCK)
    except OSError:
        return 0.0  # it has just ended


def resident_mb(pid: int) -> float:
    """The memory of a process and its descendants, MB; what they share counts for each of them."""
    lines = [words for member in _family(pid) for words in _lines(PROC / str(member) / "status")]
    return sum(int(words[1]) for words in lines if words[0] == "VmRSS:") * 1024 / 1e6


def _wait(process: subprocess.Popen[bytes], command: str, log: Path, ready: str | Callable[[], bool]) -> None:
    end = time.perf_counter() + PATIENCE
    while not _is(ready, printed := log.read_text(encoding="utf-8", errors="replace")):
        last = (printed.strip().splitlines() or ["nothing was printed"])[-1]
        if process.poll() is not None:
            raise BenchmarkError(f"{command} ended with {process.returncode}: {last}")
        if time.perf_counter() > end:
            raise BenchmarkError(f"{command} was not ready in {PATIENCE:g} s: {last}")
        time.sleep(LOOK)


def _is(ready: str | Callable[[], bool], printed: str) -> bool:
    return ready in printed if isinstance(ready, str) else ready()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
    finally:
        with suppress(ProcessLookupError):  # mostly nothing is left of its session
            os.killpg(process.pid, signal.SIGKILL)


def _family(pid: int) -> list[int]:
    """The process and its descendants."""
    children = [int(child) for file in (PROC / str(pid) / "task").glob("*/children") for child in _words(file)]
    return [pid, *(member for child in children for member in _family(child))]


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, number)


def _words(file: Path) -> list[str]:
    return [word for words in _lines(file) for word in words]


def _lines(file: Path) -> list[list[str]]:
    return [line.split() for line in _text(file).splitlines()]


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # the process has just ended


def environment() -> dict[str, str]:
    """The environment without anybody's settings of digits."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DIGITS_")}
