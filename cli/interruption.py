"""SIGINT and SIGTERM end a command in one way wherever they strike: by exit code 130 or 143, and without a traceback.

Python raises a signal's exception in whatever the main thread does at that moment. Libraries make another error of it:
a C extension that is being imported an ImportError, a C callback a SystemError, a finalizer a few lines on stderr. So
the signal is recorded. An error that comes after it counts as the interrupt; an import goes on to its end first; and an
exception that Python ignores is raised again.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO = 0.1  # seconds in which another signal is no second one: `timeout` signals the process, and then its group
RETRY = 0.01  # seconds until a signal that arrives in an import is raised, or waits again
STARTING, RUNNING, ENDING = range(3)


class Interruption:
    """What has become of the signals. There is one: `INTERRUPTION`."""

    def __init__(self) -> None:
        self._signal: int | None = None  # the first
        self._when = 0.0
        self._stage = STARTING

    def begin(self) -> None:
        """Takes the signals. Until `run` one ends the process at once, since there is nothing to clean up."""
        if signal.getsignal(signal.SIGTERM) == self._take:
            return
        for number in SIGNALS:
            if number == signal.SIGTERM or signal.getsignal(number) != signal.SIG_IGN:  # a shell's background job
                signal.signal(number, self._take)
        signal.signal(signal.SIGALRM, self._raise_again)
        signal.siginterrupt(signal.SIGALRM, False)
        sys.unraisablehook = self._hear_unraisable
        atexit.register(self._close)  # runs last: others are registered later

    def run(self) -> None:
        """From here on a signal is an exception, so that what is open is cleaned up."""
        self._stage = RUNNING

    def finish(self) -> None:
        """From here on what is left takes no time: the command finishes. A second signal ends the process at once."""
        self._stage = ENDING
        signal.setitimer(signal.ITIMER_REAL, 0)

    def exit_code(self, error: BaseException) -> int | None:
        """The exit code if a signal has led to this error, or else None. The start of `serve` ends with 0."""
        number = self._signal or (signal.SIGINT if _has_interrupt(error) else None)
        return None if number is None else _exit_code(number)

    def _take(self, number: int, frame: FrameType | None) -> None:
        now, second = time.monotonic(), self._signal is not None
        if second and now - self._when < ECHO:
            return
        self._signal, self._when = self._signal or number, now
        importing = self._stage == RUNNING and _is_importing(frame)
        if self._stage == STARTING or (second and (importing or self._stage == ENDING)):
            _end_now(number)
        if self._stage == RUNNING:
            self._raise(frame)

    def _raise(self, frame: FrameType | None) -> None:
        if _is_importing(frame):
            signal.setitimer(signal.ITIMER_REAL, RETRY)
        elif self._signal == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            sys.exit(128 + signal.SIGTERM)

    def _raise_again(self, _number: int, frame: FrameType | None) -> None:
        if self._signal is not None and self._stage == RUNNING:
            self._raise(frame)

    def _hear_unraisable(self, unraisable: sys.UnraisableHookArgs) -> None:
        if self._signal is None:
            sys.__unraisablehook__(unraisable)
        elif self._stage == RUNNING and isinstance(unraisable.exc_value, (KeyboardInterrupt, SystemExit)):
            signal.setitimer(signal.ITIMER_REAL, RETRY)

    def _close(self) -> None:
        """The interpreter is about to give the signals back to the system, which would kill the process."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


INTERRUPTION = Interruption()


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _has_interrupt(error: BaseException | None) -> bool:
    """Whether it is a KeyboardInterrupt, or a library has made it of one."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _exit_code(number: int) -> int:
    return 0 if sys.argv[1:2] == ["serve"] else 128 + number


def _end_now(number: int) -> None:
    code = _exit_code(number)
    if code == 128 + signal.SIGINT:
        with contextlib.suppress(OSError):
            os.write(2, b"digits: interrupted\n")
    os._exit(code)
