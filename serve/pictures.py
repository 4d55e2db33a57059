"""Picture files in a call: decoded in processes of their own, a few concurrently."""

import threading
import time
from dataclasses import dataclass, field

from digits.images.errors import PictureError
from digits.serve.errors import Draining, InvalidRequest, QueueFull, call_error
from digits.serve.job import Job, Request
from digits.serve.process.decoder_process import DecoderProcess
from digits.serve.process.threads import Pool
from digits.serve.queue import JobQueue

THREADS = 2  # each with a process
GUESS = 1.0  # seconds until there is room for another call


@dataclass(slots=True, eq=False)
class Pictures(Request):
    """A request whose images are still files: PNG, JPEG or WebP. It has no pixels until they are decoded."""

    files: list[bytes] = field(default_factory=list)
    decoded: list[bytes] = field(default_factory=list)


class Decoders:
    """A few threads that decode the pictures of jobs, one of each job in turn, and pass the jobs on to a queue."""

    def __init__(self, queue: JobQueue, max_size: int) -> None:
        """Holds at most `max_size` jobs."""
        self._queue = queue
        self._max_size = max_size
        self._changed = threading.Condition()
        self._jobs = 0
        self._threads = Pool(THREADS, "pictures")
        self._idle = [DecoderProcess() for _ in range(THREADS)]

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
        while self._idle:
            self._idle.pop().close()

    def _step(self, job: Job, pictures: Pictures) -> None:
        """Decodes one file of a job. The next one waits until every other job has had its turn."""
        try:
            if not job.dismiss_if_dead(time.monotonic()):
                self._decode_next(pictures)
                if len(pictures.decoded) < len(pictures.files):
                    self._threads.submit(self._step, job, pictures)
                    return
                pictures.pixels = b"".join(pictures.decoded)
                self._queue.put(job)
        except Exception as error:  # noqa: BLE001 answered with a status
            job.fail(call_error("pictures could not be decoded", error))
        pictures.files, pictures.decoded = [], []
        with self._changed:
            self._jobs -= 1
            self._changed.notify_all()

    def _decode_next(self, pictures: Pictures) -> None:
        """Decodes one file. Raises InvalidRequest if it does not show one digit."""
        decoder, index = self._idle.pop(), len(pictures.decoded)  # the latest used: a quiet server has one process
        try:
            pictures.decoded.append(decoder.decode(pictures.files[index]))
        except PictureError as error:
            raise InvalidRequest(f"pictures[{index}]: {error}") from error
        finally:
            self._idle.append(decoder)
