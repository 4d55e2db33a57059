"""Silence for libraries that write to stderr while they are imported."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Holds back what the block writes to file descriptor 2, and shows it only if the block fails.

    For imports alone: an error for the user would show what is held back, and other threads are silenced too.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    with os.fdopen(os.memfd_create("stderr"), "w+b", buffering=0) as held:  # in memory: there may be no writable disk
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
