"""The threads that calls hold in grpcio's server: as many as the settings ask for, or as the process may start."""

import _thread
import ctypes
import fcntl
import logging
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from digits.serve.errors import StartError
from digits.serve.settings import MB, ServeSettings

log = logging.getLogger(__name__)

MAX_STREAMS = 64  # that may be open: each holds two threads
SPARE = 16  # threads for calls that wait for no batch: errors, health, reflection
OTHERS = 28  # that start later: gRPC's own (up to 16), the frontend's, the memory watch's, batchers, decoding processes
LIBRARIES = 400 * MB  # address space of interpreter, libraries and model; 240 MB were measured
DEFAULT_STACK = 2 * MB  # glibc's if `ulimit -s` is unlimited
M_ARENA_MAX, ARENAS = -8, 2  # of mallopt: each arena reserves 64 MB of address space
FIRST = 4  # threads that start with the server
UNLIMITED = 2**31
PATIENCE = 1.0  # seconds to wait until ended threads are gone
RAISE = "raise the limit of processes (the cgroup's pids.max, docker's --pids-limit, ulimit -u)"


@dataclass(frozen=True, slots=True)
class CallThreads:
    """The calls that grpcio's server may have in progress. Each of them holds a thread."""

    queue_size: int  # calls that may wait at each level of priority
    batched: int  # calls that wait for a batch or are in one; 0 if another transport takes them
    streams: int  # streams. Each holds a second thread, which reads it.

    @property
    def calls(self) -> int:
        return self.batched + self.streams + SPARE


def fit(settings: ServeSettings, *, takes_batched: bool, lock: int | None = None) -> CallThreads:
    """What the settings ask for, or less if limits of processes or of memory leave no room for its threads.

    `takes_batched` says whether the calls that wait for batches hold threads of grpcio's too. `lock` is a file that all
    workers have open: they count one after another, since together each would count too few. Raises StartError if there
    is no room for the fewest threads; the message says how many that is.
    """
    levels, queue_size, streams = settings.priority_levels, settings.max_queue_size, MAX_STREAMS

    def sized() -> CallThreads:
        waiting = queue_size * levels if takes_batched else 0
        return CallThreads(queue_size, waiting + min(waiting, settings.max_batch_size), streams)

    wanted = sized().calls + streams
    least, others = _fewest(settings)
    with ExitStack() as stack:
        if lock is not None:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            stack.callback(fcntl.lockf, lock, fcntl.LOCK_UN)
        room = _start(min(wanted + others, _count_in_memory(settings))) - others
    if room < least:
        raise StartError(
            f"there is room for {room + others} more threads, and a server needs {least + others}: {RAISE}"
        )
    if room < wanted:
        streams = min(MAX_STREAMS, 1 + (room - least) // 8 if takes_batched else (room - SPARE) // 2)
        if takes_batched:
            queue_size = min(queue_size, (room - SPARE - 2 * streams) // (2 * levels))
        log.warning(
            "limits of this process leave %d threads for calls, not %d: max_queue_size is %d, and %d streams may be "
            "open; for more, %s, or of memory",
            *(room, wanted, queue_size, streams, RAISE),
        )
    return sized()


def require_memory(settings: ServeSettings) -> None:
    """Raises StartError if a limit of memory leaves no room for a server; libraries would crash in their import."""
    _count_in_memory(settings, LIBRARIES)


def _fewest(settings: ServeSettings) -> tuple[int, int]:
    """The fewest threads of calls, for a stream and two calls at each level; and the threads that start later."""
    return SPARE + 2 + 2 * settings.priority_levels, OTHERS + 2 * settings.instances


def _count_in_memory(settings: ServeSettings, libraries: int | None = None) -> int:
    """How many threads limits of memory leave room for, next to what callers may make the server hold.

    `libraries` are the bytes that the process will use; by default it is what it uses now.
    """
    statm = Path("/proc/self/statm").read_text(encoding="ascii").split()
    stack, _ = resource.getrlimit(resource.RLIMIT_STACK)
    stack = DEFAULT_STACK if stack == resource.RLIM_INFINITY else stack
    most = UNLIMITED
    for kind, letter, column in ((resource.RLIMIT_AS, "v", 0), (resource.RLIMIT_DATA, "d", 5)):
        limit, _ = resource.getrlimit(kind)
        if limit == resource.RLIM_INFINITY:
            continue
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)
        used = settings.max_memory * MB + (libraries or int(statm[column]) * resource.getpagesize())
        needed = used + sum(_fewest(settings)) * stack
        if limit < needed:
            raise StartError(
                f"memory is limited to {limit} bytes (ulimit -{letter}), and a server needs {needed}: "
                f"give it `ulimit -{letter} {-(-needed // 1024)}` or more, or lower --max-memory {settings.max_memory}"
            )
        most = min(most, (limit - used) // stack)
    return most


def _start(count: int) -> int:
    """Starts so many threads, or as many as the limits allow, and ends them again. Gives their number."""
    tasks = Path("/proc/self/task")
    before, enough, started = len(list(tasks.iterdir())), threading.Event(), 0
    with ExitStack() as stack, suppress(RuntimeError):
        stack.callback(enough.set)
        for _ in range(count):
            _thread.start_new_thread(enough.wait, ())  # threading.Thread waits a millisecond for each
            started += 1
    end = time.monotonic() + PATIENCE
    while len(list(tasks.iterdir())) > before and time.monotonic() < end:
        time.sleep(0.001)  # the next thread may need the place of one that has not ended yet
    return started


class Pool(ThreadPoolExecutor):
    """A pool whose work waits for the existing threads if no other can be started.

    An error would end grpcio's only loop, and the server would answer no call any more. The first threads start here.
    """

    def __init__(self, threads: int, name: str) -> None:
        super().__init__(threads, name)
        enough = threading.Event()
        for _ in range(min(FIRST, threads)):
            self.submit(enough.wait)
        enough.set()

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise
