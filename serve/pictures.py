"""Picture files in a call: decoded off the hot path, a few concurrently."""

import threading
import time
from dataclasses import dataclass, field

from digits.serve.errors import CallError, Draining, InvalidRequest, QueueFull, internal_error
from digits.serve.job import Job, Request
from digits.serve.process.threads import Pool
from digits.serve.queue import JobQueue

THREADS = 2  # each may hold a picture of the largest size
GUESS = 1.0  # seconds until there is room for another call


@dataclass(slots=True, eq=False)
class Pictures(Request):
    """A request whose images are picture files still. It has no pixels until they are decoded."""

    files: list[bytes] = field(default_factory=list)
    decoded: list[bytes] = field(default_factory=list)

    def decode_next(self) -> bool:
        """Decodes one file, in milliseconds; whether it was the last. Raises InvalidRequest if it shows no digit."""
        from digits.images.encoded import decode
        from digits.images.errors import PictureError

        index = len(self.decoded)
        try:
            self.decoded.append(decode(self.files[index]).tobytes())
        except PictureError as error:
            raise InvalidRequest(f"pictures[{index}]: {error}") from error
        return len(self.decoded) == len(self.files)


class Decoders:
    """A few threads that decode the pictures of jobs, one of each job in turn, and pass the jobs on to a queue."""

    def __init__(self, queue: JobQueue, max_size: int) -> None:
        """Holds at most `max_size` jobs."""
        self._queue = queue
        self._max_size = max_size
        self._changed = threading.Condition()
        self._jobs = 0
        self._threads = Pool(THREADS, "pictures")

    def put(self, job: Job, pictures: Pictures) -> None:
        """Raises QueueFull at once if there are too many already, and Draining after `drain`."""
        with self._changed:
            if self._jobs >= self._max_size:
                raise QueueFull(self._max_size, GUESS)
            try:
                self._threads.submit(self._step, job, pictures)
            except RuntimeError as error:
                raise Draining from error
            self._jobs += 1

    def drain(self, timeout: float) -> None:
        """Ends when all jobs are passed on, after `timeout` seconds at the latest; accepts no more after that."""
        with self._changed:
            self._changed.wait_for(lambda: not self._jobs, timeout)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _step(self, job: Job, pictures: Pictures) -> None:
        """Decodes one file; the next one comes after those of all other jobs."""
        try:
            if not job.dismiss_if_dead(time.monotonic()):
                if not pictures.decode_next():
                    self._threads.submit(self._step, job, pictures)
                    return
                pictures.pixels = b"".join(pictures.decoded)
                self._queue.put(job)
        except CallError as error:
            job.fail(error)
        except Exception as unforeseen:  # noqa: BLE001 the caller gets its id, the log has all of it
            job.fail(internal_error("pictures could not be decoded", unforeseen))
        pictures.files, pictures.decoded = [], []
        with self._changed:
            self._jobs -= 1
            self._changed.notify_all()
