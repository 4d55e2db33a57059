"""A stream: many calls on it, each answered, none of them able to end it."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

from digits.serve.errors import CallError, StreamsFull, internal_error
from digits.serve.job import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from digits.serve.job import Request
    from digits.serve.services import Services
    from digits.serve.transport.framing import Framing

WINDOW = 64  # requests of a stream that are unanswered at a time


class StreamJob(Job):
    """Request `number` of a stream. Its answer goes to those that wait to be sent."""

    __slots__ = ("_number", "_request_id", "_stream")

    def __init__(self, request: Request, number: int, request_id: str, stream: Stream, deadline: float) -> None:
        super().__init__(request, time.monotonic(), deadline)
        self._number = number
        self._request_id = request_id
        self._stream = stream

    def answer(self, response: bytes) -> None:
        self._stream.settle(self._number, self._stream.framing.answer(self._request_id, response), self)

    def fail(self, error: CallError) -> None:
        self._stream.fail(self._number, self._request_id, error, self)

    def drop(self) -> None:
        self._stream.settle(self._number, b"", self)  # nobody reads it


class Stream:
    """One stream: a thread reads it and submits jobs, while the caller's thread iterates over their outcomes.

    Flow control goes all the way: while WINDOW requests are unanswered, or their answers unread, no other is read.

    Attributes:
        framing: What its messages are.
        cut_short: Whether it was ended before its caller had sent all.
    """

    def __init__(
        self,
        framing: Framing,
        messages: Iterator[bytes],
        services: Services,
        submit: Callable[[Job], None],
        deadline: float,
    ) -> None:
        self.framing = framing
        self._messages = messages
        self._submit = submit
        self._services = services
        self._deadline = deadline
        self._outcomes: SimpleQueue[tuple[int, bytes] | None] = SimpleQueue()  # None: no more requests are read
        self._window = threading.Semaphore(WINDOW)
        self._jobs: set[Job] = set()  # that are not answered
        self._read = 0
        self._all_read = False
        self._over = False

    def __iter__(self) -> Iterator[bytes]:
        """The outcomes; ends when all requests are read and answered, or after `end`."""
        try:
            threading.Thread(target=self._read_all, name="stream", daemon=True).start()
        except RuntimeError as error:  # other processes took its place since the server has counted
            raise StreamsFull(f"another stream cannot be read ({error}); close one, or try another server") from error
        reading, answered = True, 0
        held: dict[int, bytes] = {}  # by the place at which they are sent
        while reading or answered < self._read:
            outcome = self._outcomes.get()
            if outcome is None:
                reading = False
                continue
            number, message = outcome
            held[number if self.framing.ordered else answered] = message
            while answered in held:
                yield held.pop(answered)
                answered += 1
                self._window.release()

    def end(self) -> None:
        """Reads no more; what was read is answered."""
        self._over = True
        self._window.release()
        self._outcomes.put(None)

    @property
    def cut_short(self) -> bool:
        return self._over and not self._all_read

    def settle(self, number: int, outcome: bytes, job: Job | None = None) -> None:
        """Takes what is to be sent to a request, and forgets its job."""
        if job:
            self._jobs.discard(job)
        self._outcomes.put((number, outcome))

    def fail(self, number: int, request_id: str, error: CallError, job: Job | None = None) -> None:
        """Answers a request with a status."""
        self._services.count(error)
        self.settle(number, self.framing.failure(request_id, error), job)

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
                self._take(self._read - 1, message)
            else:
                self._all_read = True
        except Exception:  # noqa: BLE001, S110 the caller has gone: grpcio's iterator raises a bare Exception
            pass
        self._outcomes.put(None)

    def _take(self, number: int, message: bytes) -> None:
        request_id, job = "", None
        try:
            request_id, call = self.framing.open(message)
            asked = self._services.accept(self._services.hot[self.framing.call], call)
            job = StreamJob(asked, number, request_id, self, self._deadline)
            self._jobs.add(job)
            self._submit(job)
        except CallError as error:
            self.fail(number, request_id, error, job)
        except Exception as unforeseen:  # noqa: BLE001 the caller gets its id, the log has it whole
            self.fail(number, request_id, internal_error("a request of a stream failed", unforeseen), job)
