"""Pictures to digits, on all cores: in processes that only read and decode."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Self

import numpy as np
from numpy.typing import NDArray

from digits.images import picture
from digits.images.errors import BlankError, PictureError, SeveralDigitsError, UnclearError
from digits.images.limits import limit_memory, limit_time
from digits.score.chunk import BLANK, SEVERAL, UNCLEAR, UNREADABLE, Content, Decoded, Problem
from digits.score.errors import ScoreError

Contents = Sequence[Content] | NDArray[np.uint8]  # a chunk's

CRASHED = Problem(UNREADABLE, "the process that decoded it crashed")
NO_DIGITS = np.zeros((0, 28, 28), np.uint8)
STATUSES = {BlankError: BLANK, SeveralDigitsError: SEVERAL, UnclearError: UNCLEAR}


def decode(contents: Contents, *, limited: bool = False) -> Decoded:
    """The digits in a chunk's contents; of each that has none, the reason.

    A path is the user's own file, in any format; bytes are from an archive, and have to be PNG, JPEG or WebP. If
    `limited`, a picture that takes too long ends the process.
    """
    if isinstance(contents, np.ndarray):
        return _without_blank(contents)
    digits, problems = [], {}
    for index, content in enumerate(contents):
        if limited:
            limit_time()
        digit = content if isinstance(content, Problem) else _digit(content)
        if isinstance(digit, Problem):
            problems[index] = digit
        else:
            digits.append(digit)
    return Decoded(np.array(digits, np.uint8).reshape(-1, 28, 28), problems)


def _without_blank(pixels: NDArray[np.uint8]) -> Decoded:
    """Digits that were arrays already, uint8 [n, 28, 28], without those in which all pixels are equal."""
    blank = np.ptp(pixels, axis=(1, 2)) == 0
    problems = {
        int(i): Problem(BLANK, f"the image is blank: all its pixels are {pixels[i, 0, 0]}")
        for i in np.flatnonzero(blank)
    }
    return Decoded(pixels[~blank] if problems else pixels, problems)


def _digit(content: str | bytes) -> NDArray[np.uint8] | Problem:
    try:
        return picture.decode(content) if isinstance(content, bytes) else picture.read(content)
    except PictureError as error:
        return Problem(STATUSES.get(type(error), UNREADABLE), str(error))
    except OSError as error:
        return Problem(UNREADABLE, error.strerror or str(error))
    except MemoryError:
        return Problem(UNREADABLE, "the picture needs more memory than is available")


class Process(SpawnProcess):
    """A process that only SIGKILL ends."""

    def terminate(self) -> None:
        self.kill()


class Context(SpawnContext):
    """Never forked: the parent has threads of gRPC's and ONNX Runtime's."""

    Process = Process


class Decoders:
    """Processes that decode, started when there is work for them; for one thread. A context manager, which ends them.

    A picture that crashes a process (or makes the system kill it) is found by decoding its chunk's pictures one by one
    in another process; all other pictures are decoded as usual.
    """

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None
        # Ctrl-C interrupts the main thread only. So another one starts processes, or they might start half.
        self._starter = ThreadPoolExecutor(1)

    def submit(self, contents: Contents) -> Future[Decoded]:
        """Begins to decode a chunk's contents. `result` gives the digits."""
        if isinstance(contents, np.ndarray):  # no work for a process
            future: Future[Decoded] = Future()
            future.set_result(decode(contents))
            return future
        return self._starter.submit(self._submit, contents).result()

    def _submit(self, contents: Sequence[Content]) -> Future[Decoded]:
        with contextlib.suppress(BrokenProcessPool):
            if self._pool is not None:
                return _submit(self._pool, contents)
        self._pool = _start(self._processes)
        return _submit(self._pool, contents)

    def result(self, contents: Contents, future: Future[Decoded]) -> Decoded:
        """The digits in contents that were submitted."""
        try:
            return future.result()
        except BrokenProcessPool:
            return _one_by_one(contents)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._starter.submit(self._shut_down).result()  # when no process is being started
        self._starter.shutdown()

    def _shut_down(self) -> None:
        if self._pool is not None:
            # Not joined: after an interrupted join, Python 3.11 and 3.12 exit before the processes have begun, which
            # then print errors. The interpreter's end joins them, and is not interrupted.
            self._pool.shutdown(wait=False, cancel_futures=True)


def _one_by_one(contents: Contents) -> Decoded:
    found = []
    with Decoders(1) as decoder:
        for content in contents:
            try:
                found.append(decoder.submit([content]).result())
            except BrokenProcessPool:
                found.append(Decoded(NO_DIGITS, {0: CRASHED}))
    problems = {index: one.problems[0] for index, one in enumerate(found) if one.problems}
    return Decoded(np.concatenate([one.pixels for one in found]), problems)


def _start(processes: int) -> ProcessPoolExecutor:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for the processes: each decodes on one core
    pool = ProcessPoolExecutor(processes, Context(), _begin)
    try:
        _submit(pool, []).result()
    except BrokenProcessPool as error:  # or every picture would be blamed
        raise ScoreError("no process for decoding can be started here; is there memory left?") from error
    return pool


def _submit(pool: ProcessPoolExecutor, contents: Sequence[Content]) -> Future[Decoded]:
    """Has a pool decode. A process that this starts inherits the mask: the parent alone takes a group's signals."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        return pool.submit(decode, contents, limited=True)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """In a new process: hides what libtiff prints, since the row says it; ends with its parent; limits memory."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    limit_memory()


def _end_with_parent() -> None:
    """A parent that is killed does not end its processes: each would wait for its next chunk indefinitely."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
