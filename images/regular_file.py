"""Opens regular files only: opening other kinds could wait indefinitely, and reading them have side effects."""

import errno
import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

from digits.images.data_file import url_refusal
from digits.images.errors import PictureError

AT_ONCE = 2**16  # bytes: smaller files are read at once, which is faster
OTHERS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def opened(path: str | Path) -> BinaryIO:
    """The regular file at a path, open for reading; a small one is in memory already. Never waits for a writer.

    Raises:
        PictureError: a named pipe, a socket or a device; or the path is a URL.
        OSError: Python's own if it cannot be opened: FileNotFoundError, IsADirectoryError, PermissionError.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno == errno.ENXIO:  # sockets, and devices that are missing
            raise _irregular(Path(path).stat().st_mode) from error
        if refusal := url_refusal(path):
            raise PictureError(refusal) from error
        raise
    try:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(found.st_mode):
            raise _irregular(found.st_mode)
        if found.st_size > AT_ONCE:
            return os.fdopen(os.dup(descriptor), "rb")
        return io.BytesIO(b"".join(iter(lambda: os.read(descriptor, AT_ONCE), b"")))
    finally:
        os.close(descriptor)


def _irregular(mode: int) -> PictureError:
    return PictureError(f"{OTHERS.get(stat.S_IFMT(mode), 'something else')}, not a file; give a picture file")
