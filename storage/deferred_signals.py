"""SIGINT and SIGTERM that wait until they can end the program without damage.

An exception in the middle of TensorFlow does not always come out as itself: one that is raised while a graph is traced
may become a RuntimeError or a SystemError, and one in the callback of a weak reference is ignored.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO = 0.1  # seconds; a signal this soon after the first is the same one: `timeout` signals the process and its group
NOTICE = b"\ndigits: stopping after this epoch; press Ctrl-C again to stop at once\n"


class Deferred:
    """The first signal, which waits for `check`. Use `deferred`.

    Attributes:
        act: Is called when the first signal arrives. It must not raise.
    """

    def __init__(self) -> None:
        self.act: Callable[[], object] = announce
        self._handlers = {number: handler for number in SIGNALS if callable(handler := signal.getsignal(number))}
        self._waiting: int | None = None
        self._since = 0.0

    def defer(self) -> None:
        for number in self._handlers:
            signal.signal(number, self._take)

    def restore(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """If a signal waits, lets its own handler take it, which raises KeyboardInterrupt or SystemExit."""
        if (number := self._waiting) is not None:
            self._waiting = None
            self.restore()
            signal.raise_signal(number)

    def forget(self) -> None:
        """Drops a signal that waits, since there is nothing left to stop."""
        self._waiting = None

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self._waiting is None:
            self._waiting, self._since = number, time.monotonic()
            self.act()
        elif time.monotonic() - self._since > ECHO:
            self._waiting = number
            self.check()


def announce() -> None:
    """Writes without print, which may be what the signal has interrupted."""
    if os.isatty(2):  # where Ctrl-C can be pressed again
        os.write(2, NOTICE)


@contextmanager
def deferred() -> Iterator[Deferred]:
    """A first SIGINT or SIGTERM waits for `check`, or for the end of the block, also by an error. A second does not."""
    signals = Deferred()
    signals.defer()
    try:
        yield signals
    finally:
        signals.restore()
        signals.check()
