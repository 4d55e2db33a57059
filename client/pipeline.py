"""The items of a stream: which of them share the next call, and which is handed out next. It makes no call itself."""

import copy
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np

from digits.client.calls import Calls
from digits.client.errors import ClientError, UnavailableError
from digits.client.pixels import Pixels
from digits.client.predictions import Predictions, split


@dataclass(slots=True, eq=False)
class Item:
    """What the caller gave, uint8 [n, 28, 28], and its outcome. Times are those of the monotonic clock."""

    pixels: Pixels
    started: float
    deadline: float
    alone: bool = False  # it shares no call, since a call that it shared has failed
    outcome: Predictions | Exception | None = None
    ends: bool = False  # the outcome is an error that ends the stream


class Pipeline:
    """Holds the items from the moment when they are drawn until they are handed out, in order.

    A few calls run concurrently. Each takes the items that wait when it begins, up to half a window. So a fast source
    makes large calls, and an item of a slow source is sent at once. Not safe to share between threads; only `finished`
    and `add_error` may run while another thread uses the other methods.
    """

    def __init__(
        self, calls: Calls, deadline: Callable[[], float], *, window: int, return_exceptions: bool = False
    ) -> None:
        """`deadline` says until when an item has to be answered that is drawn now.

        Raises:
            ValueError: the window has no room for an item.
            ClosedError: the client is closed.
        """
        calls.require_open()
        if window < 1:
            raise ValueError(f"window is {window}; expected at least 1 item")
        self._calls = calls
        self._deadline = deadline
        self._window = window
        self._return_exceptions = return_exceptions
        self._items: deque[Item] = deque()  # all of them
        self._waiting: deque[Item] = deque()  # those that are in no call
        self._lost: UnavailableError | None = None  # the last call's error, if no server took it

    @property
    def has_room(self) -> bool:
        return len(self._items) < self._window

    @property
    def is_empty(self) -> bool:
        return not self._items

    @property
    def is_ready(self) -> bool:
        """Whether there is something to hand out."""
        return bool(self._items) and self._items[0].outcome is not None

    def add(self, pixels: Pixels, started: float) -> None:
        item = Item(pixels, started, self._deadline())
        self._items.append(item)
        self._waiting.append(item)

    def add_error(self, error: Exception, *, ends: bool = False) -> None:
        """Takes the error of an item that cannot be sent, or of the source, which ends the stream."""
        self._items.append(Item(np.empty(0, np.uint8), 0, 0, outcome=error, ends=ends))

    def take(self) -> list[Item]:
        """The items of the next call; empty if none waits. Items whose time is over fail here."""
        now = time.monotonic()
        while self._waiting and self._waiting[0].deadline <= now:
            late = self._calls.failure("DEADLINE_EXCEEDED", "the time was over before the answer came")
            self._waiting.popleft().outcome = copy.copy(self._lost) or late
        most = self._calls.most_images
        taken: list[Item] = []
        while self._waiting and len(taken) < (self._window + 1) // 2:
            item = self._waiting[0]
            most -= len(item.pixels)
            if taken and (most < 0 or item.alone or taken[0].alone):
                break
            taken.append(self._waiting.popleft())
        return taken

    def settle(self, taken: list[Item], outcome: Predictions | Exception) -> None:
        """Takes the outcome of a call. The items of a call that failed are asked for again, one by one."""
        self._lost = outcome if isinstance(outcome, UnavailableError) else None
        if isinstance(outcome, Predictions):
            parts = split(outcome, [len(item.pixels) for item in taken], [item.started for item in taken])
            for item, part in zip(taken, parts, strict=True):
                item.outcome = part
        elif len(taken) == 1 or not isinstance(outcome, ClientError):
            taken[0].ends = not isinstance(outcome, ClientError)
            taken[0].outcome = outcome
        else:
            for item in reversed(taken):
                item.alone = True
                self._waiting.appendleft(item)

    def finished(self) -> Generator[Predictions | Exception]:
        """Hands out the outcomes that are next. Raises an item's error, unless such errors are to be returned.

        Raises ClosedError once the client is closed.
        """
        self._calls.require_open()
        while self._items and (outcome := self._items[0].outcome) is not None:
            item = self._items.popleft()
            if isinstance(outcome, Exception) and (item.ends or not self._return_exceptions):
                raise outcome
            yield outcome
            self._calls.require_open()


def images(items: list[Item]) -> Pixels:
    """Those of all items, in their order."""
    return items[0].pixels if len(items) == 1 else np.concatenate([item.pixels for item in items])
