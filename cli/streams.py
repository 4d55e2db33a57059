"""The standard streams: a stream that is closed, full or of another encoding causes no error of its own."""

from __future__ import annotations

import io
import os
import sys


def open_closed() -> None:
    """Opens /dev/null for each stream that is closed: a file opened later would get its descriptor."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w" if number else "r", encoding="utf-8"))  # noqa: PTH123, SIM115
            os.set_inheritable(number, True)


def take_any_character() -> None:
    """File names need not be UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """Discards the output that a stream can no longer take (closed pipe, full disk); otherwise the exit fails again."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
