"""`ClassifyStream`: many calls on one stream, each answered by its id, none of them able to end it."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

import grpc
from google.protobuf.message import DecodeError

from digits.protos.digits.v1 import digits_pb2
from digits.serve.errors import CallError, InvalidRequest, internal_error
from digits.serve.job import Job
from digits.serve.services import CLASSIFY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from digits.serve.job import Request
    from digits.serve.services import Services

WINDOW = 64  # requests of a stream that are unanswered at a time


class StreamJob(Job):
    """One request of a stream. Its answer, wrapped with its id, goes to those that wait to be sent."""

    __slots__ = ("_request_id", "_stream")

    def __init__(self, request: Request, request_id: str, stream: Stream, deadline: float) -> None:
        super().__init__(request, time.monotonic(), deadline)
        self._request_id = request_id
        self._stream = stream

    def answer(self, response: bytes) -> None:
        outcome = digits_pb2.ClassifyStreamResponse(request_id=self._request_id)
        outcome.response.MergeFromString(response)
        self._stream.settle(outcome.SerializeToString(), self)

    def fail(self, error: CallError) -> None:
        self._stream.fail(self._request_id, error, self)

    def drop(self) -> None:
        self._stream.settle(b"", self)  # nobody reads it


def failure(request_id: str, error: CallError) -> bytes:
    """The ClassifyStreamResponse that says a status."""
    code: int = grpc.StatusCode[error.code].value[0]
    return digits_pb2.ClassifyStreamResponse(
        request_id=request_id,
        error=digits_pb2.Error(code=code, message=str(error), retry_after_ms=error.retry_after_ms),
    ).SerializeToString()


def _parse(message: bytes) -> digits_pb2.ClassifyStreamRequest:
    try:
        return digits_pb2.ClassifyStreamRequest.FromString(message)
    except DecodeError as error:
        raise InvalidRequest(f"the message is not a digits.v1.ClassifyStreamRequest: {error}") from error


class Stream:
    """One stream: a thread reads it and submits jobs, while the caller's thread iterates over their outcomes.

    Flow control goes all the way: while WINDOW requests are unanswered, or their answers unread, no other is read.

    Attributes:
        cut_short: Whether it was ended before its caller had sent all.
    """

    def __init__(
        self, messages: Iterator[bytes], services: Services, submit: Callable[[Job], None], deadline: float
    ) -> None:
        self._messages = messages
        self._submit = submit
        self._services = services
        self._deadline = deadline
        self._outcomes: SimpleQueue[bytes | None] = SimpleQueue()  # None: no more requests are read
        self._window = threading.Semaphore(WINDOW)
        self._jobs: set[Job] = set()  # that are not answered
        self._read = 0
        self._all_read = False
        self._over = False

    def __iter__(self) -> Iterator[bytes]:
        """The outcomes, as they come; ends when all requests are read and answered, or after `end`."""
        threading.Thread(target=self._read_all, name="stream", daemon=True).start()
        reading, answered = True, 0
        while reading or answered < self._read:
            outcome = self._outcomes.get()
            if outcome is None:
                reading = False
            else:
                answered += 1
                yield outcome
                self._window.release()

    def end(self) -> None:
        """Reads no more; what was read is answered."""
        self._over = True
        self._window.release()
        self._outcomes.put(None)

    @property
    def cut_short(self) -> bool:
        return self._over and not self._all_read

    def settle(self, outcome: bytes, job: Job | None = None) -> None:
        """Takes what is to be sent, and forgets the job that it is of."""
        if job:
            self._jobs.discard(job)
        self._outcomes.put(outcome)

    def fail(self, request_id: str, error: CallError, job: Job | None = None) -> None:
        """Answers a request with a status."""
        self._services.count(error)
        self.settle(failure(request_id, error), job)

    def cancel(self) -> None:
        """Says that the caller has gone."""
        self.end()
        for job in list(self._jobs):
            job.cancel()

    def _read_all(self) -> None:
        try:
            for message in self._messages:
                self._window.acquire()
                if self._over:
                    break
                self._read += 1
                self._take(message)
            else:
                self._all_read = True
        except Exception:  # noqa: BLE001, S110 the caller has gone: grpcio's iterator raises a bare Exception
            pass
        self._outcomes.put(None)

    def _take(self, message: bytes) -> None:
        request_id, job = "", None
        try:
            request = _parse(message)
            request_id = request.request_id
            asked = self._services.accept(self._services.hot[CLASSIFY], request.request.SerializeToString())
            job = StreamJob(asked, request_id, self, self._deadline)
            self._jobs.add(job)
            self._submit(job)
        except CallError as error:
            self.fail(request_id, error, job)
        except Exception as unforeseen:  # noqa: BLE001 the caller gets its id, the log has it whole
            self.fail(request_id, internal_error("a request of a stream failed", unforeseen), job)
