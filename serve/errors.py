"""What a caller can be told. Each error carries its gRPC status code by name; a transport maps it in one place."""

import logging
import uuid

log = logging.getLogger(__name__)


class CallError(Exception):
    """A call that is answered with a status instead of digits."""

    code = "INTERNAL"

    @property
    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        """Goes out beside the status."""
        return ()


def internal_error(what: str, error: Exception) -> CallError:
    """The answer to an exception that nobody foresaw: a fixed text and an id; the log has all of it."""
    incident = uuid.uuid4().hex[:12]
    log.error("incident %s: %s", incident, what, exc_info=error)
    return CallError(f"internal error; the server's log has it as incident {incident}")


class InvalidRequest(CallError):  # noqa: N818 named as the status is
    """The caller sent what the model cannot take."""

    code = "INVALID_ARGUMENT"


class QueueFull(CallError):  # noqa: N818
    """Too many calls wait already."""

    code = "RESOURCE_EXHAUSTED"

    def __init__(self, size: int, retry_after_ms: int) -> None:
        super().__init__(f"the queue is full: {size} calls wait; try again in {retry_after_ms} ms")
        self.retry_after_ms = retry_after_ms

    @property
    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        return (("retry-after-ms", str(self.retry_after_ms)),)


class DeadlinePassed(CallError):  # noqa: N818
    """The caller's deadline passed before its batch ran."""

    code = "DEADLINE_EXCEEDED"


class Draining(CallError):  # noqa: N818
    """The server takes no more calls; another one will."""

    code = "UNAVAILABLE"


class StartError(Exception):
    """A server that cannot start."""
