"""Files that are whole or not there: each is written under another name, and renamed when it is complete."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def unfinished(path: Path) -> Path:
    """Where a file is written before it is complete."""
    return path.with_name(f"{path.name}.unfinished")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a path in the same folder to write to. It replaces `path` when the block ends without an error.

    The content reaches the disk first, so that the file is complete after a power cut too.

    Raises:
        OSError: the file cannot be written; the error names it.
    """
    temporary = unfinished(path)
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error  # NumPy's errors name no file
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def sync(path: Path) -> None:
    """Waits until a file, or a folder's list of files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
