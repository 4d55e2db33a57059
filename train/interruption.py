"""Signals that wait until they can be obeyed without harm.

An exception in the middle of TensorFlow does not always come out as itself: one that is raised while a graph is traced
may become a RuntimeError or a SystemError, and one in a weak reference's callback is ignored.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOTICE = b"\ndigits: stopping after this epoch; once more to stop at once\n"


class Interruption:
    """Whether a signal waits. Use `deferred`."""

    def __init__(self) -> None:
        self._act: Callable[[], object] | None = None

    def check(self) -> None:
        """Does what the signal's own handler does, if one waits: raises KeyboardInterrupt or SystemExit."""
        if self._act is not None:
            act, self._act = self._act, None
            act()

    def wait(self, act: Callable[[], object]) -> None:
        self._act = act


@contextmanager
def deferred() -> Iterator[Interruption]:
    """Lets a first SIGINT or SIGTERM wait for `check`, or for the end of the block; a second one is obeyed at once."""
    interruption = Interruption()
    handlers = {number: handler for number in SIGNALS if callable(handler := signal.getsignal(number))}

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def wait(number: int, frame: FrameType | None) -> None:
        restore()
        os.write(2, NOTICE)  # not print, which may be what has been interrupted
        interruption.wait(lambda: handlers[signal.Signals(number)](number, frame))

    for number in handlers:
        signal.signal(number, wait)
    try:
        yield interruption
    finally:
        restore()
    interruption.check()
