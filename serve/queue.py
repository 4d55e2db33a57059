"""The bounded queue between calls and the batcher: levels of priority, admission, and when a batch is ready."""

import threading
import time
from collections import deque

from digits.serve.errors import Draining, QueueFull, TooLate
from digits.serve.job import FOREVER, Job, living
from digits.serve.settings import ServeSettings

MEMORY = 0.9  # of the past batches' weight that each batch leaves them in the measured speed


class JobQueue:
    """First in, first out within a level of priority; level 1 goes first.

    Closed once, after which it hands out what it holds and ends. It never hands out a job that is cancelled or expired;
    if it is full these make room, once for each batch.
    """

    def __init__(self, settings: ServeSettings) -> None:
        """Reads the fields of Triton's `dynamic_batching` from the settings, where they have the same names."""
        self._max_size = settings.max_queue_size  # for each level
        self._max_batch_size = settings.max_batch_size
        self._delay = settings.max_queue_delay_microseconds / 1e6
        self._instances = settings.instances
        self._default_level = settings.default_level
        self._levels: list[deque[Job]] = [deque() for _ in range(settings.priority_levels)]
        self._images = [0] * settings.priority_levels  # that wait
        self._swept: set[int] = set()  # levels without cancelled or expired jobs since the last batch
        self._seconds, self._run = 0.0, 0.0  # of recent batches, and their images: the older, the less they count
        self._changed = threading.Condition()
        self._takers = 0  # threads that wait in take
        self._closed = False

    def __bool__(self) -> bool:
        """Whether a job waits."""
        return any(self._levels)

    def put(self, job: Job) -> None:
        """Accepts a job, or raises at once.

        Raises QueueFull: `max_queue_size` jobs wait at its level. TooLate: the jobs before it take longer than its
        caller waits (deadline-aware admission control). Draining: the queue is closed.
        """
        request = job.request
        level = (request.priority if 0 < request.priority <= len(self._levels) else self._default_level) - 1
        with self._changed:
            if self._closed:
                raise Draining
            line = self._levels[level]
            if len(line) >= self._max_size or job.deadline != FOREVER:
                self._require_room(level, job)
                line = self._levels[level]
            line.append(job)
            self._images[level] += request.count
            if self._takers:
                self._changed.notify()

    def take(self) -> list[Job] | None:
        """The next batch; blocks until one is ready. None after `close`, when nothing is left."""
        with self._changed:
            while True:
                ready_in = self.ready_in()
                if ready_in is None and self._closed:
                    return None
                if ready_in == 0:
                    if jobs := self._fill():
                        return jobs
                    continue
                self._takers += 1
                self._changed.wait(ready_in)
                self._takers -= 1

    def take_ready(self) -> list[Job]:
        """The next batch if one is ready, else none. Never blocks."""
        with self._changed:
            return self._fill() if self.ready_in() == 0 else []

    def ran(self, images: int, seconds: float) -> None:
        """Records how long a batch took, answering included: the estimates of waiting times come from it."""
        with self._changed:
            self._seconds = MEMORY * self._seconds + seconds
            self._run = MEMORY * self._run + images

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def ready_in(self) -> float | None:
        """Seconds until a batch of the waiting jobs is ready if no other comes; None if no job waits."""
        with self._changed:
            if not any(self._levels):
                return None
            if not self._delay or self._closed or sum(self._images) >= self._max_batch_size:
                return 0.0
            oldest = min(line[0].arrived for line in self._levels if line)
            return max(0.0, oldest + self._delay - time.monotonic())

    def _fill(self) -> list[Job]:
        """All jobs that fit in a batch. One that would overfill it stays first of its level: no job overtakes it."""
        jobs: list[Job] = []
        self._swept.clear()
        room = self._max_batch_size
        now = time.monotonic()
        for level, line in enumerate(self._levels):
            while line:
                count = line[0].request.count
                if count > room and jobs:
                    return jobs
                job = line.popleft()
                self._images[level] -= count
                if (job.cancelled or job.deadline <= now) and job.dismiss_if_dead(now):
                    continue
                jobs.append(job)
                room -= count
        return jobs

    def _require_room(self, level: int, job: Job) -> None:
        """Raises QueueFull or TooLate if there is no room, or no time, for a job behind those that wait."""
        if len(self._levels[level]) >= self._max_size and level not in self._swept:
            self._sweep(level)
        if (size := len(self._levels[level])) >= self._max_size:
            raise QueueFull(size, self._wait_before(level))
        if job.deadline != FOREVER:
            wait, left = self._wait_before(level), job.deadline - time.monotonic()
            if wait > left > 0:
                raise TooLate(wait, left)

    def _sweep(self, level: int) -> None:
        """Ends the cancelled and expired jobs of a level, once between two batches: not at each call of a flood."""
        self._swept.add(level)
        self._levels[level] = deque(living(self._levels[level]))
        self._images[level] = sum(job.request.count for job in self._levels[level])

    def _wait_before(self, level: int) -> float:
        """Seconds that the jobs at a level and above it will take, by the speed of recent batches."""
        waiting = sum(self._images[: level + 1])
        return waiting * self._seconds / self._run / self._instances if self._run else 0.0
