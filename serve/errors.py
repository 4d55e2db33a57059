"""What a caller can be told. Each error carries its gRPC status code by name; a transport maps it in one place."""

import logging
import uuid
from typing import Literal

log = logging.getLogger(__name__)

Reason = Literal[
    "invalid", "not_found", "too_large", "queue_full", "too_late", "streams_full", "deadline", "draining", "internal"
]


class CallError(Exception):
    """A call that is answered with a status instead of digits.

    Attributes:
        code: The gRPC status code by name.
        reason: What it is counted as.
        retry_after_ms: When to try again, if that makes sense: 0 otherwise.
    """

    code = "INTERNAL"
    reason: Reason = "internal"
    retry_after_ms = 0

    @property
    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        """Goes out beside the status."""
        return (("retry-after-ms", str(self.retry_after_ms)),) if self.retry_after_ms else ()


def internal_error(what: str, error: Exception) -> CallError:
    """The answer to an exception that nobody foresaw: a fixed text and an id; the log has all of it."""
    incident = uuid.uuid4().hex[:12]
    log.error("incident %s: %s", incident, what, exc_info=error)
    return CallError(f"internal error; the server's log has it as incident {incident}")


class InvalidRequest(CallError):  # noqa: N818 named as the status is
    """The caller sent what the model cannot take."""

    code = "INVALID_ARGUMENT"
    reason = "invalid"


class NotFound(CallError):  # noqa: N818
    """The caller named a model, a version or a method that is not served."""

    code = "NOT_FOUND"
    reason = "not_found"


class MessageTooLarge(CallError):  # noqa: N818
    """More bytes than the server takes in one message."""

    code = "RESOURCE_EXHAUSTED"
    reason = "too_large"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the message has {size} bytes; max_message_bytes is {limit}: split the call")


class QueueFull(CallError):  # noqa: N818
    """Too many calls wait already."""

    code = "RESOURCE_EXHAUSTED"
    reason = "queue_full"

    def __init__(self, size: int, wait: float) -> None:
        self.retry_after_ms = 1 + round(wait * 1e3)
        super().__init__(f"the queue is full: {size} calls wait; try again in {self.retry_after_ms} ms")


class StreamsFull(CallError):  # noqa: N818
    """Too many streams are open already."""

    code = "RESOURCE_EXHAUSTED"
    reason = "streams_full"


class TooLate(CallError):  # noqa: N818
    """What waits before the call would take longer than its caller's time."""

    code = "RESOURCE_EXHAUSTED"
    reason = "too_late"

    def __init__(self, wait: float, left: float) -> None:
        self.retry_after_ms = 1 + round(wait * 1e3)
        super().__init__(
            f"the queue takes {wait * 1e3:.1f} ms and the call has {left * 1e3:.1f} ms left: it was not queued"
        )


class DeadlinePassed(CallError):  # noqa: N818
    """The caller's deadline passed before its batch ran."""

    code = "DEADLINE_EXCEEDED"
    reason = "deadline"


class Draining(CallError):  # noqa: N818
    """The server takes no more calls; another one will."""

    code = "UNAVAILABLE"
    reason = "draining"


class StartError(Exception):
    """A server that cannot start."""
