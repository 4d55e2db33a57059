"""What Client and AsyncClient have in common: everything except waiting."""

import asyncio
import contextlib
import functools
import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypedDict, TypeVar

import grpc

from digits.client.channel import check_address
from digits.client.errors import ClientError, ClosedError, OverloadedError, UnavailableError, client_error
from digits.client.pixels import IMAGE_BYTES, Pixels
from digits.client.retry import RetryBudget, backoff
from digits.images.arrays import PixelRange
from digits.images.version import PREPROCESSING_VERSION
from digits.protos.digits.v1 import digits_pb2

TIMEOUT = 10.0  # seconds, unless the caller says otherwise
WINDOW = 64  # items of a stream that are drawn and not handed out
CONCURRENT = 2  # requests of one caller on each channel: one is computed while the next one travels
ENVELOPE = 128  # bytes of a message besides its pixels, at most

A = TypeVar("A")

log = logging.getLogger(__name__)


class RequestOptions(NamedTuple):
    """What a caller wants of the server for its images."""

    include_probabilities: bool
    priority: int

    def request(self, pixels: Pixels) -> digits_pb2.ClassifyRequest:
        return digits_pb2.ClassifyRequest(
            pixels=pixels.tobytes(), include_probabilities=self.include_probabilities, priority=self.priority
        )


class StreamOptions(TypedDict, total=False):
    """The keyword arguments of `Client.stream`, except `return_exceptions`, which decides the type of its answers."""

    pixel_range: PixelRange
    include_probabilities: bool
    priority: int
    timeout: float | None
    window: int


class Calls:
    """How calls to one address are split, timed and retried. Safe to share between threads.

    Attributes:
        address: The server's address, which every error names.
        channels: Connections to each address.
        wait_for_ready: Whether calls wait for a server that is away.
        limits: What the server accepts; None before it was asked, and after it has refused something.
        closed: Set when the client is closed.
        budget: Bounds the retries.
    """

    def __init__(self, address: str, timeout: float, channels: int = 1, *, wait_for_ready: bool = True) -> None:
        """Raises AddressError, or ValueError if there is no channel."""
        check_address(address)
        if channels < 1:
            raise ValueError(f"channels is {channels}; expected at least 1")
        self.limits: digits_pb2.Limits | None = None
        self.closed = threading.Event()
        self.budget = RetryBudget()
        self.address = address
        self.channels = channels
        self.wait_for_ready = wait_for_ready
        self._timeout = timeout
        self._compared = False  # its preprocessing with the server's

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
        """The context of one try of a call. What gRPC raises on a channel that was closed becomes ClosedError."""
        self.require_open()
        try:
            yield
        except (ValueError, grpc.aio.UsageError):
            self.require_open()
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise self.failure("CANCELLED", None) from None  # so gRPC ends the calls of a closed channel
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

    def deadline(self, timeout: float | None) -> float:
        """When a call that starts now has to be done, by the monotonic clock; `timeout` replaces the client's."""
        return time.monotonic() + (self._timeout if timeout is None else timeout)

    def described(self, model: digits_pb2.GetModelResponse) -> digits_pb2.GetModelResponse:
        """The server's description. The first one is logged as a warning if its preprocessing differs from ours."""
        theirs = model.preprocessing_version
        if not self._compared and theirs not in {0, PREPROCESSING_VERSION}:
            log.warning(
                "%s: the server's preprocessing has version %d, and this client's %d: the same picture may get another"
                " answer from another client; install the same version of digits-serving on both sides",
                self.address,
                theirs,
                PREPROCESSING_VERSION,
            )
        self._compared = True
        return model

    def parts(self, pixels: Pixels) -> list[Pixels]:
        """The images, in parts that the server accepts, as far as the limits are known."""
        most = min(self.most_images, len(pixels))
        return [pixels[start : start + most] for start in range(0, len(pixels), most)]

    def pauses(self, error: grpc.RpcError, deadline: float, tries: int) -> Iterator[float]:
        """Seconds to wait, one wait after another, before a call is retried that has failed after so many retries.

        It waits for a server that is away, and for an overloaded one that says when to come back. Raises the call's
        ClientError if it should not be retried, or not within its time.
        """
        failure = self.error(error)
        away = isinstance(failure, UnavailableError) and self.wait_for_ready
        while True:
            wait = backoff(tries) if away else failure.retry_after if isinstance(failure, OverloadedError) else None
            if wait is None or wait >= deadline - time.monotonic():
                raise failure from error
            yield wait
            if not away or self.budget.take(time.monotonic()):
                return

    def error(self, error: grpc.RpcError) -> ClientError:
        """The error for the status of a call."""
        metadata: Any = error.trailing_metadata() or ()  # its type differs between grpc and grpc.aio
        retry_after = next((value for key, value in metadata if key == "retry-after-ms" and value.isdigit()), "0")
        return self.failure(error.code().name, error.details(), int(retry_after) / 1e3 or None)

    def failure(self, code: str, details: str | None, retry_after: float | None = None) -> ClientError:
        """The error for a status. After one that may be due to the limits, the server is asked for them again."""
        if code == "INVALID_ARGUMENT" or (code == "RESOURCE_EXHAUSTED" and retry_after is None):
            self.limits = None
        if code == "CANCELLED" and self.closed.is_set():
            return ClosedError(code, f"{self.address}: {code}: the client is closed")
        return client_error(self.address, code, details, retry_after)


def left(deadline: float) -> float | None:
    """The seconds until then, as gRPC takes them: None is no limit."""
    return None if deadline == math.inf else deadline - time.monotonic()
