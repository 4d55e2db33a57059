"""Silence for libraries that write to stderr while they are imported."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keeps what the block writes to file descriptor 2, and shows it only if the block fails.

    Use it for imports only: other threads are silenced too, and an error for the user would come with all that was
    kept.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    with os.fdopen(os.memfd_create("stderr"), "w+b", buffering=0) as kept:  # in memory: no disk may be writable
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except Exception:
            kept.seek(0)
            os.write(terminal, kept.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
