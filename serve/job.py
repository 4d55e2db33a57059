"""A job: what one call asks of the model, and its way back to the caller."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field

from digits.images.digit import PIXELS
from digits.serve.errors import CallError, DeadlinePassed

IMAGE_BYTES = PIXELS  # a byte each
FOREVER = float("inf")  # seconds


@dataclass(slots=True, eq=False)
class Answers:
    """What the model answered to one batch of n images, as the bytes that responses are cut from."""

    digits: bytes  # the most probable digits, uint8 [n]
    confidences: bytes  # their probabilities, float32 [n], little-endian as all that follows
    probabilities: bytes  # of the digits 0 to 9, float32 [n, 10]
    batch_size: int  # n
    compute_microseconds: int  # how long the model ran on the batch
    model_version: str  # the version that ran
    novelties: bytes = b""  # how unlike a digit each image is, float32 [n]; empty if the model has no novelty
    novelty_threshold: float | None = None  # above it an image does not show a digit
    memo: dict[object, bytes] = field(default_factory=dict)  # for an encoder: what all responses share


# encode(answers, start, stop, queue_microseconds) gives the bytes of a response to images start to stop of the batch.
Encode = Callable[[Answers, int, int, int], bytes]


@dataclass(slots=True, eq=False)
class Request:
    """What the bytes of a call ask for."""

    pixels: bytes | memoryview  # its images, uint8 [count, 28, 28], row-major: count x 784 bytes
    count: int  # how many
    encode: Encode
    priority: int = 0  # 1 is the highest level; 0 takes the default level
    timeout: float = FOREVER  # seconds that it may wait for its batch


class Job(ABC):
    """A request on its way through the batcher. A transport's subclass takes the answer back to the caller.

    In the end, exactly one of `answer`, `fail` and `drop` is called, once.
    """

    __slots__ = ("arrived", "cancelled", "deadline", "request")

    def __init__(self, request: Request, arrived: float, deadline: float = FOREVER) -> None:
        self.request = request  # what is asked for
        self.arrived = arrived  # on the clock of time.monotonic()
        # When its caller stops waiting, on the same clock; never, if infinite.
        self.deadline = deadline if request.timeout == FOREVER else min(deadline, arrived + request.timeout)
        self.cancelled = False  # whether the caller is gone

    def cancel(self) -> None:
        """Records that the caller is gone; nothing is computed for it any more."""
        self.cancelled = True

    @abstractmethod
    def answer(self, response: bytes) -> None:
        """Sends the response."""

    @abstractmethod
    def fail(self, error: CallError) -> None:
        """Sends a status instead."""

    @abstractmethod
    def drop(self) -> None:
        """Ends it without an answer: the caller is gone."""

    def dismiss_if_dead(self, now: float) -> bool:
        """Whether nobody waits for it at a time of time.monotonic(); if so it ends, and the model never sees it."""
        if self.cancelled:
            self.drop()
            return True
        if self.deadline <= now:
            self.fail(DeadlinePassed("the deadline passed while the call waited; nothing was computed"))
            return True
        return False


class WaitingJob(Job):
    """A job that a thread waits for."""

    __slots__ = ("outcome",)

    def __init__(self, request: Request, deadline: float) -> None:
        super().__init__(request, time.monotonic(), deadline)
        self.outcome: Future[bytes] = Future()

    def answer(self, response: bytes) -> None:
        self.outcome.set_result(response)

    def fail(self, error: CallError) -> None:
        self.outcome.set_exception(error)

    def drop(self) -> None:
        self.outcome.cancel()


def living(jobs: Iterable[Job]) -> list[Job]:
    """The jobs that a caller still waits for; the others are ended."""
    now = time.monotonic()
    return [job for job in jobs if not ((job.cancelled or job.deadline <= now) and job.dismiss_if_dead(now))]
