"""The items of a stream, between their being drawn and their being handed out, in order. It knows no gRPC call."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from digits.client.calls import CODES
from digits.client.errors import UnavailableError
from digits.client.predictions import joined
from digits.client.retry import backoff
from digits.protos.digits.v1 import digits_pb2

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import grpc

    from digits.client.calls import Asked, Calls
    from digits.client.pixels import Pixels
    from digits.client.predictions import Predictions

GOODBYE = 1.0  # seconds for the server to end a stream that has nothing more to send


class Clock:
    """The monotonic clock; it stands while the caller is busy with something else."""

    def __init__(self) -> None:
        self._away = 0.0
        self._stopped: float | None = None

    def now(self) -> float:
        return (time.monotonic() if self._stopped is None else self._stopped) - self._away

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        self._stopped = time.monotonic()
        try:
            yield
        finally:
            self._away += time.monotonic() - self._stopped
            self._stopped = None


@dataclass(slots=True, eq=False)
class Item:
    """What the caller gave, and in the end what it gets."""

    drawn: float
    deadline: float
    answers: list[digits_pb2.ClassifyResponse | None]
    missing: int
    outcome: Predictions | Exception | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A request: an item, or a piece of one that exceeds the server's limits."""

    item: Item
    place: int
    pixels: Pixels


class Pipeline:
    """Says what is to be sent, takes what comes back, and hands it out in order.

    Attributes:
        clock: What the times of items are measured by.
        gave_up: Whether some request was given up while the server had it.
    """

    def __init__(
        self, calls: Calls, asked: Asked, timeout: float | None, *, window: int, return_exceptions: bool
    ) -> None:
        """Raises ValueError for a window that nothing fits in, and ClosedError."""
        calls.require_open()
        if window < 1:
            raise ValueError(f"window is {window}; expected at least 1 item")
        self.clock = Clock()
        self.gave_up = False
        self._calls = calls
        self._asked = asked
        self._seconds = calls.seconds(timeout)
        self._window = window
        self._return_exceptions = return_exceptions
        self._items: deque[Item] = deque()
        self._numbers = itertools.count()
        self._unanswered: dict[int, Part] = {}  # by number, and so by age
        self._due: deque[int] = deque()  # to be sent
        self._later: list[tuple[float, int]] = []  # a heap of those to be sent again, and when
        self._breaks = 0  # in a row, without an answer between
        self._opens: float | None = None  # when a stream that broke may be opened again
        self._words: str | None = None  # what the last break was

    @property
    def has_room(self) -> bool:
        return len(self._items) < self._window

    @property
    def is_empty(self) -> bool:
        return not self._items

    def deadline(self) -> float:
        """When an item that is drawn now has to be answered, by the monotonic clock."""
        return self._calls.deadline(self._seconds)

    def add(self, drawn: float, parts: list[Pixels]) -> None:
        """Takes an item in that was drawn at that time, by the monotonic clock."""
        item = Item(drawn, self.clock.now() + self._seconds, [None] * len(parts), len(parts))
        self._items.append(item)
        for place, pixels in enumerate(parts):
            number = next(self._numbers)
            self._unanswered[number] = Part(item, place, pixels)
            self._due.append(number)

    def add_failed(self, error: Exception) -> None:
        """Takes an item in that is none."""
        self._items.append(Item(0.0, 0.0, [], 0, error))

    def due(self) -> Iterator[digits_pb2.ClassifyStreamRequest]:
        """The requests to send now: new ones, and those whose time to be sent again has come."""
        now = self.clock.now()
        if self._opens is not None and not self._may_open(now):
            return
        while self._later and self._later[0][0] <= now:
            self._due.append(heapq.heappop(self._later)[1])
        while self._due:
            number = self._due.popleft()
            if part := self._unanswered.get(number):
                request = self._asked.request(part.pixels)
                request.timeout_microseconds = _microseconds(part.item.deadline - now)
                yield digits_pb2.ClassifyStreamRequest(request_id=str(number), request=request)

    def _may_open(self, now: float) -> bool:
        """Whether a stream that broke is to be opened again now."""
        if self._opens is None or now < self._opens:
            return False
        may = self._calls.budget.take(time.monotonic())
        self._opens = None if may else now + backoff(self._breaks)
        return may

    def wait(self) -> float:
        """Seconds until something is due or too late; infinite if nothing is under way."""
        oldest = next(iter(self._unanswered.values()), None)
        opens = self._opens or 0.0
        times = [oldest.item.deadline] if oldest else []
        times += [opens] if self._due else []
        times += [max(opens, self._later[0][0])] if self._later else []
        return max(0.0, min(times, default=math.inf) - self.clock.now())

    def take(self, answer: digits_pb2.ClassifyStreamResponse) -> None:
        """Takes the server's answer to a request."""
        self._breaks, self._words = 0, None
        number = int(answer.request_id or -1)
        part = self._unanswered.get(number)
        if part is None:  # the item has failed meanwhile
            return
        if answer.HasField("error"):
            self._refused(number, part.item, answer.error)
            return
        del self._unanswered[number]
        item = part.item
        item.answers[part.place] = answer.response
        item.missing -= 1
        if not item.missing:
            item.outcome = joined(
                [answer for answer in item.answers if answer],
                time.monotonic() - item.drawn,
                include_probabilities=self._asked.include_probabilities,
            )

    def broke(self, error: grpc.RpcError | None) -> None:
        """The stream has ended, with a status or well: what is unanswered is due again, after a while.

        Raises:
            ClientError: it ended with another status than UNAVAILABLE, or is not to be waited for.
        """
        words = "the stream was ended too early"
        failure = self._calls.error(error) if error else self._calls.failure("UNAVAILABLE", words)
        if not isinstance(failure, UnavailableError) or not self._calls.wait_for_ready:
            raise failure from error
        if self._unanswered:
            self._opens = self.clock.now() + backoff(self._breaks)
            self._breaks += 1
            self._words = error.details() if error else words
        later = {number for _, number in self._later}
        self._due = deque(number for number in self._unanswered if number not in later)

    def expire(self) -> None:
        """Fails the items whose time is over, with what kept them from the server if something did."""
        now = self.clock.now()
        while self._unanswered:
            item = next(iter(self._unanswered.values())).item
            if item.deadline > now:
                return
            self.gave_up = True
            if self._words is None:
                failure = self._calls.failure("DEADLINE_EXCEEDED", f"no answer within {self._seconds:g} s")
            else:
                failure = self._calls.failure("UNAVAILABLE", self._words)
            self._fail(item, failure)

    def finished(self) -> Generator[Predictions | Exception, None, None]:
        """Hands out what is done and has its turn. Raises an item's error, unless such are to be returned.

        Raises ClosedError once the client is closed.
        """
        self._calls.require_open()
        while self._items and (outcome := self._items[0].outcome) is not None:
            self._items.popleft()
            if isinstance(outcome, Exception) and not self._return_exceptions:
                raise outcome
            with self.clock.stopped():
                yield outcome
            self._calls.require_open()

    def _refused(self, number: int, item: Item, error: digits_pb2.Error) -> None:
        code = CODES.get(error.code, "UNKNOWN")
        failure = self._calls.failure(code, error.message, error.retry_after_ms / 1e3 or None)
        now = self.clock.now()
        wait = self._calls.retry_in(failure, item.deadline - now, tries=1)
        if wait is None:
            self._fail(item, failure)
        else:
            heapq.heappush(self._later, (now + wait, number))

    def _fail(self, item: Item, error: Exception) -> None:
        item.outcome = error
        for number in [number for number, part in self._unanswered.items() if part.item is item]:
            del self._unanswered[number]


def _microseconds(seconds: float) -> int:
    """As the wire has them, where 0 is for ever."""
    return 0 if seconds == math.inf else max(1, min(int(seconds * 1e6), 2**62))
