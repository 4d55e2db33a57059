"""What the sync and the async client have in common: all but the waiting."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import grpc

from digits.client.address import check
from digits.client.errors import ClientError, ClosedError, OverloadedError, UnavailableError, client_error
from digits.client.pixels import IMAGE_BYTES
from digits.client.retry import RetryBudget, backoff
from digits.protos.digits.v1 import digits_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from digits.client.pixels import Pixels

TIMEOUT = 10.0  # seconds, unless the caller says otherwise
WINDOW = 64  # items of a stream that are drawn and not handed out
CONCURRENT = 2  # requests of one caller on each channel: one is computed while the next one travels
ENVELOPE = 128  # bytes of a message besides its pixels, at most
RETRY_AFTER = "retry-after-ms"

A = TypeVar("A")


class Asked(NamedTuple):
    """What a caller wants of its images."""

    include_probabilities: bool = False
    priority: int = 0

    def request(self, pixels: Pixels) -> digits_pb2.ClassifyRequest:
        return digits_pb2.ClassifyRequest(
            pixels=pixels.tobytes(), include_probabilities=self.include_probabilities, priority=self.priority
        )


class Calls:
    """How calls to one address are cut, timed and tried again. Safe to share between threads.

    Attributes:
        address: What they are told apart by in errors.
        channels: Connections to each address.
        wait_for_ready: Whether calls wait for a server that is away.
        limits: What the server accepts, once it was asked; None before, and after it has refused something.
        closed: Set when the client is closed.
        budget: Bounds the retries.
    """

    def __init__(self, address: str, timeout: float, channels: int = 1, *, wait_for_ready: bool = True) -> None:
        """Raises AddressError, or ValueError for no channel at all."""
        check(address)
        if channels < 1:
            raise ValueError(f"channels is {channels}; expected at least 1")
        self.limits: digits_pb2.Limits | None = None
        self.closed = threading.Event()
        self.budget = RetryBudget()
        self.address = address
        self.channels = channels
        self.wait_for_ready = wait_for_ready
        self._timeout = timeout

    def remake(self, kind: Callable[..., A]) -> tuple[Callable[[], A], tuple[()]]:
        """How pickle and copy make another client: with this address and these options, and its own connections."""
        options = {"timeout": self._timeout, "channels": self.channels, "wait_for_ready": self.wait_for_ready}
        return functools.partial(kind, self.address, **options), ()

    def require_open(self) -> None:
        """Raises ClosedError once the client is closed."""
        if self.closed.is_set():
            raise self.failure("CANCELLED", None)

    @contextlib.contextmanager
    def begun(self) -> Iterator[None]:
        """A call. What gRPC raises on a channel that was closed is a ClosedError."""
        self.require_open()
        try:
            yield
        except (ValueError, grpc.aio.UsageError):
            self.require_open()
            raise
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            raise self.failure("CANCELLED", None) from None
        self.budget.give()

    @property
    def most_concurrent(self) -> int:
        """Requests of one caller that are sent before the first is answered."""
        return CONCURRENT * self.channels

    @property
    def most_images(self) -> int:
        """Images that fit in one request, as far as the limits are known. A limit of 0 is no limit."""
        limits = self.limits or digits_pb2.Limits()
        by_images = limits.max_batch_size or sys.maxsize
        by_bytes = (limits.max_message_bytes - ENVELOPE) // IMAGE_BYTES if limits.max_message_bytes else sys.maxsize
        return max(1, min(by_images, by_bytes))

    def seconds(self, timeout: float | None) -> float:
        """The caller's own time, or else the client's."""
        return self._timeout if timeout is None else timeout

    def deadline(self, timeout: float | None) -> float:
        """When a call that starts now has to be done, by the monotonic clock."""
        return time.monotonic() + self.seconds(timeout)

    def wants_limits(self, pixels: Pixels) -> bool:
        """Whether the server has to be asked for its limits before these images are cut. One image never is."""
        return len(pixels) > 1 and self.limits is None

    def parts(self, pixels: Pixels) -> list[Pixels]:
        """The images, in pieces that the server takes, as far as that is known."""
        most = min(self.most_images, len(pixels))
        return [pixels[start : start + most] for start in range(0, len(pixels), most)]

    def pauses(self, error: grpc.RpcError, deadline: float, tries: int = 0) -> Iterator[float]:
        """Seconds to wait, one wait after another, before a call is made again that failed, after so many tries before.

        Raises its ClientError if that makes no sense.
        """
        failure = self.error(error)
        while True:
            wait = self.retry_in(failure, deadline - time.monotonic(), tries)
            if wait is None:
                raise failure from error
            yield wait
            if not isinstance(failure, UnavailableError) or self.budget.take(time.monotonic()):
                return

    def retry_in(self, failure: ClientError, left: float, tries: int) -> float | None:
        """Seconds after which a call with so many seconds left should be made again; None gives it up.

        A server that is away is waited for, and so is an overload, if the server said when to come back.
        """
        wait = None
        if isinstance(failure, UnavailableError) and self.wait_for_ready:
            wait = backoff(tries)
        elif isinstance(failure, OverloadedError):
            wait = failure.retry_after
        return wait if wait is not None and wait < left else None

    def error(self, error: grpc.RpcError) -> ClientError:
        """The error for a call's status."""
        metadata: Any = error.trailing_metadata() or ()  # of two kinds: sync's and asyncio's
        retry_after = next((value for key, value in metadata if key == RETRY_AFTER), None)
        return self.failure(error.code().name, error.details(), _retry_after(retry_after))

    def failure(self, code: str, words: str | None, retry_after: float | None = None) -> ClientError:
        """The error for a status that came otherwise; one that may be about the limits lets them be forgotten."""
        if code == "INVALID_ARGUMENT" or (code == "RESOURCE_EXHAUSTED" and retry_after is None):
            self.limits = None
        if code == "CANCELLED" and self.closed.is_set():
            return ClosedError(code, f"{self.address}: {code}: the client is closed")
        return client_error(self.address, code, words, retry_after)


def is_cancelled() -> bool:
    """Whether a CancelledError means this task, and not a call: gRPC ends those of a closed channel like that."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def left(deadline: float) -> float | None:
    """The seconds until then, as gRPC takes them: None is for ever."""
    return None if deadline == math.inf else deadline - time.monotonic()


def _retry_after(milliseconds: str | None) -> float | None:
    """Seconds; None for what is no positive number of milliseconds."""
    if milliseconds is None or not milliseconds.isdigit():
        return None
    return int(milliseconds) / 1e3 or None
