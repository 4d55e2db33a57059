"""The errors of calls. Each carries its gRPC status code by name; a transport maps it in one place."""

import logging
import uuid
from typing import Literal, TypeVar

from google.protobuf.message import DecodeError, Message

log = logging.getLogger(__name__)

Reason = Literal[
    "invalid", "not_found", "too_large", "queue_full", "too_late", "streams_full", "deadline", "draining", "internal"
]


MessageType = TypeVar("MessageType", bound=Message)


class CallError(Exception):
    """A call that is answered with a status instead of digits."""

    code = "INTERNAL"  # the gRPC status code by name
    reason: Reason = "internal"  # what it is counted as
    retry_after_ms = 0  # when to try again, if that is of use: 0 otherwise

    def __init_subclass__(cls, *, code: str, reason: Reason) -> None:
        cls.code, cls.reason = code, reason

    @property
    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        """Is sent with the status."""
        return (("retry-after-ms", str(self.retry_after_ms)),) if self.retry_after_ms else ()


def call_error(what: str, error: Exception) -> CallError:
    """The answer to an exception: of an unexpected one a fixed text and an id; the log has all of it."""
    if isinstance(error, CallError):
        return error
    incident = uuid.uuid4().hex[:12]
    log.error("incident %s: %s", incident, what, exc_info=error)
    return CallError(f"internal error; the server's log has it as incident {incident}")


class InvalidRequest(CallError, code="INVALID_ARGUMENT", reason="invalid"):  # noqa: N818 named as the status is
    """The caller sent what the model cannot take."""


def read_message(kind: type[MessageType], message: bytes) -> MessageType:
    """The bytes of a call as a message of that kind. Raises InvalidRequest if they are not one."""
    try:
        return kind.FromString(message)
    except DecodeError as error:
        name = kind.DESCRIPTOR.full_name
        article = "an" if name.startswith("i") else "a"
        raise InvalidRequest(f"the message is not {article} {name}: {error}") from error


class NotFound(CallError, code="NOT_FOUND", reason="not_found"):  # noqa: N818
    """The caller named a model, a version or a method that is not served."""


class MessageTooLarge(CallError, code="RESOURCE_EXHAUSTED", reason="too_large"):  # noqa: N818
    """More bytes than the server accepts in one message."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the message has {size} bytes; max_message_bytes is {limit}: split the call")


class QueueFull(CallError, code="RESOURCE_EXHAUSTED", reason="queue_full"):  # noqa: N818
    """Too many calls wait already."""

    def __init__(self, size: int, wait: float) -> None:
        self.retry_after_ms = 1 + round(wait * 1e3)
        super().__init__(f"the queue is full: {size} calls wait; try again in {self.retry_after_ms} ms")


class StreamsFull(CallError, code="RESOURCE_EXHAUSTED", reason="streams_full"):  # noqa: N818
    """Too many streams are open already."""


class TooLate(CallError, code="RESOURCE_EXHAUSTED", reason="too_late"):  # noqa: N818
    """The calls before it would take longer than the time that it has left."""

    def __init__(self, wait: float, left: float) -> None:
        self.retry_after_ms = 1 + round(wait * 1e3)
        super().__init__(
            f"the queue takes {wait * 1e3:.1f} ms and the call has {left * 1e3:.1f} ms left: it was not queued"
        )


class DeadlinePassed(CallError, code="DEADLINE_EXCEEDED", reason="deadline"):  # noqa: N818
    """The caller's deadline passed before its batch ran."""


class Draining(CallError, code="UNAVAILABLE", reason="draining"):  # noqa: N818
    """The server accepts no more calls; another one will."""

    def __init__(self) -> None:
        super().__init__("the server is draining; try another one")


class StartError(Exception):
    """A server that cannot start."""
