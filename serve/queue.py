"""The bounded queue between the handlers of calls and the batcher."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from digits.serve.errors import Draining, QueueFull

if TYPE_CHECKING:
    from digits.serve.job import Job


class JobQueue:
    """First in, first out; bounded in calls; closed once, after which it hands out what it holds and ends.

    It never hands out the dead, the cancelled and the expired, and they take nobody's place.
    """

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, job: Job) -> None:
        """Raises QueueFull at once where `max_size` jobs wait, and Draining after `close`."""
        with self._changed:
            if self._closed:
                raise Draining("the server is draining; try another one")
            if len(self._jobs) >= self.max_size:
                self._jobs = deque(waiting for waiting in self._jobs if not waiting.dismiss_if_dead())
            if len(self._jobs) >= self.max_size:
                raise QueueFull(self.max_size, self._retry_after_ms())
            self._jobs.append(job)
            self._changed.notify()

    def take(self, max_images: int) -> list[Job] | None:
        """All jobs that wait, as long as their images fit in `max_images`; blocks while there are none.

        A job that would overfill the batch stays first in the queue. One that alone is larger comes alone.
        None after `close`, when nothing is left.
        """
        with self._changed:
            while True:
                if jobs := self._fill(max_images):
                    return jobs
                if self._closed:
                    return None
                self._changed.wait()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _fill(self, max_images: int) -> list[Job]:
        jobs: list[Job] = []
        room = max_images
        while self._jobs and (not jobs or len(self._jobs[0].pixels) <= room):
            job = self._jobs.popleft()
            if not job.dismiss_if_dead():
                jobs.append(job)
                room -= len(job.pixels)
        return jobs

    def _retry_after_ms(self) -> int:
        """As long as the oldest waiting job has waited: about what the queue takes to pass."""
        return max(1, round(1000 * (time.monotonic() - self._jobs[0].arrived)))
