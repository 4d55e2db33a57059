"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def unfinished(path: Path) -> Path:
    """Where a file is written before it is whole."""
    return path.with_name(f"{path.name}.unfinished")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a path beside this one to write to. It takes the place of an earlier file when all is well in the end."""
    beside = unfinished(path)
    try:
        yield beside
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
