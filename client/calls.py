"""What the sync and the async client have in common: all but the waiting."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from digits.client.errors import ClientError, OverloadedError, client_error
from digits.client.pixels import IMAGE_BYTES
from digits.protos.digits.v1 import digits_pb2

if TYPE_CHECKING:
    from digits.client.pixels import Pixels

TIMEOUT = 10.0  # seconds, unless the caller says otherwise
WINDOW = 64  # items of a stream that are under way; the server reads no further than so many unanswered requests
PARTS_PER_CHANNEL = 2  # of one call that are under way at a time: one is computed while the next one travels
ENVELOPE = 128  # bytes of a message beside its pixels, at most
CODES: dict[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}
RETRY_AFTER = "retry-after-ms"


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
        limits: What the server accepts, once it was asked; None before, and after it has refused something.
    """

    def __init__(self, address: str, timeout: float, channels: int = 1) -> None:
        """Raises ValueError for no channel at all."""
        if channels < 1:
            raise ValueError(f"channels is {channels}; expected at least 1")
        self.limits: digits_pb2.Limits | None = None
        self.address = address
        self.channels = channels
        self._timeout = timeout

    @property
    def most_under_way(self) -> int:
        """Parts of one call that are sent before the first is answered."""
        return PARTS_PER_CHANNEL * self.channels

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
        most = _most_images(self.limits or digits_pb2.Limits(), len(pixels))
        return [pixels[start : start + most] for start in range(0, len(pixels), most)]

    def pause(self, error: grpc.RpcError, deadline: float) -> float:
        """Seconds to wait before the call that failed is made again. Raises its ClientError if that makes no sense."""
        failure = self.error(error)
        wait = retry_in(failure, deadline - time.monotonic())
        if wait is None:
            raise failure from error
        return wait

    def error(self, error: grpc.RpcError) -> ClientError:
        """The error for a call's status."""
        metadata: Any = error.trailing_metadata() or ()  # of two kinds: sync's and asyncio's
        retry_after = next((value for key, value in metadata if key == RETRY_AFTER), None)
        return self.failure(error.code().name, error.details(), _retry_after(retry_after))

    def failure(self, code: str, words: str | None, retry_after: float | None = None) -> ClientError:
        """The error for a status that came otherwise; one that may be about the limits lets them be forgotten."""
        if code == "INVALID_ARGUMENT" or (code == "RESOURCE_EXHAUSTED" and retry_after is None):
            self.limits = None
        return client_error(self.address, code, words, retry_after)


def retry_in(error: ClientError, left: float) -> float | None:
    """Seconds after which a call with so many seconds left should be made again; None gives it up.

    What gRPC retries itself, UNAVAILABLE, is final here; an overload is not, if the server said when to come back.
    """
    if isinstance(error, OverloadedError) and error.retry_after is not None and error.retry_after < left:
        return error.retry_after
    return None


def left(deadline: float) -> float | None:
    """The seconds until then, as gRPC takes them: None is for ever."""
    return None if deadline == math.inf else deadline - time.monotonic()


def _most_images(limits: digits_pb2.Limits, count: int) -> int:
    """How many of so many images fit in one call. A limit of 0 is none."""
    by_images = limits.max_batch_size or count
    by_bytes = (limits.max_message_bytes - ENVELOPE) // IMAGE_BYTES if limits.max_message_bytes else count
    return max(1, min(by_images, by_bytes))


def _retry_after(milliseconds: str | None) -> float | None:
    """Seconds; None for what is no positive number of milliseconds."""
    if milliseconds is None or not milliseconds.isdigit():
        return None
    return int(milliseconds) / 1e3 or None
