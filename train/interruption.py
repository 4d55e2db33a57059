"""Signals that wait until they can be obeyed without harm.

An exception in the middle of TensorFlow does not always come out as itself: one that is raised while a graph is traced
may become a RuntimeError or a SystemError, and one in a weak reference's callback is ignored.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO = 0.1  # seconds in which another signal is no second one: `timeout` signals the process, and then its group
NOTICE = b"\ndigits: stopping after this epoch; once more to stop at once\n"


class Interruption:
    """Whether a signal waits. Use `deferred`.

    Attributes:
        act: Called when the first arrives. It must not raise.
    """

    def __init__(self) -> None:
        self.act: Callable[[], object] = say_so
        self._handlers = {number: handler for number in SIGNALS if callable(handler := signal.getsignal(number))}
        self._waits: int | None = None
        self._since = 0.0

    def defer(self) -> None:
        for number in self._handlers:
            signal.signal(number, self._take)

    def restore(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Does what the signal's own handler does, if one waits: raises KeyboardInterrupt or SystemExit."""
        if (number := self._waits) is not None:
            self._waits = None
            self.restore()
            signal.raise_signal(number)

    def forget(self) -> None:
        """Lets a signal be that waits: there is nothing left to stop."""
        self._waits = None

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self._waits is None:
            self._waits, self._since = number, time.monotonic()
            self.act()
        elif time.monotonic() - self._since > ECHO:
            self._waits = None
            self.restore()
            signal.raise_signal(number)


def say_so() -> None:
    """Not by print, which may be what has been interrupted."""
    if os.isatty(2):  # where Ctrl-C can be pressed once more
        os.write(2, NOTICE)


@contextmanager
def deferred() -> Iterator[Interruption]:
    """Lets a first SIGINT or SIGTERM wait for `check`, or for the end of the block, also by an error.

    A second one is obeyed at once.
    """
    interruption = Interruption()
    interruption.defer()
    try:
        yield interruption
    finally:
        interruption.restore()
        interruption.check()
