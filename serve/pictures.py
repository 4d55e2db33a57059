"""Picture files in a call: decoded off the hot path, a few at a time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from digits.serve.errors import CallError, InvalidRequest, QueueFull, internal_error
from digits.serve.job import Request

if TYPE_CHECKING:
    from digits.serve.job import Job
    from digits.serve.queue import JobQueue

THREADS = 2  # each may hold a picture of the largest size


@dataclass(slots=True, eq=False)
class Pictures(Request):
    """A request whose images are still files: PNG, JPEG, BMP, GIF or TIFF. It has no pixels until they are decoded."""

    files: list[bytes] = field(default_factory=list)

    def decode(self) -> None:
        """Fills in the pixels, in milliseconds a file. Raises InvalidRequest if one is no picture of a digit."""
        from digits.images.encoded import decode
        from digits.images.errors import PictureError

        pixels = []
        for index, content in enumerate(self.files):
            try:
                pixels.append(decode(content).tobytes())
            except PictureError as error:
                raise InvalidRequest(f"pictures[{index}]: {error}") from error
        self.pixels = b"".join(pixels)
        self.files = []


class Decoders:
    """A few threads that decode the pictures of jobs and pass these on to a queue. At most `max_size` calls wait."""

    def __init__(self, queue: JobQueue, max_size: int) -> None:
        self._queue = queue
        self._max_size = max_size
        self._room = threading.Semaphore(max_size)
        self._threads = ThreadPoolExecutor(THREADS, "pictures")

    def put(self, job: Job, pictures: Pictures) -> None:
        """Raises QueueFull at once if too many wait already."""
        if not self._room.acquire(blocking=False):
            raise QueueFull(self._max_size, 1.0)
        self._threads.submit(self._decode, job, pictures)

    def drain(self, timeout: float) -> None:
        """Ends when all that were put have been passed on, after `timeout` seconds at the latest; takes no more."""
        end = time.monotonic() + timeout
        for _ in range(self._max_size):
            self._room.acquire(timeout=max(0.0, end - time.monotonic()))
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _decode(self, job: Job, pictures: Pictures) -> None:
        try:
            if not job.dismiss_if_dead(time.monotonic()):
                pictures.decode()
                self._queue.put(job)
        except CallError as error:
            job.fail(error)
        except Exception as unforeseen:  # noqa: BLE001 the caller gets its id, the log has it whole
            job.fail(internal_error("pictures could not be decoded", unforeseen))
        finally:
            self._room.release()
