"""Regular files alone: to open what else may bear a name could wait for ever, and to read it do something."""

import errno
import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

from digits.images.data_file import url_refusal
from digits.images.errors import PictureError

AT_ONCE = 2**16  # bytes: Pillow takes small files faster from memory
OTHERS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def opened(path: str | Path) -> BinaryIO:
    """The regular file at a path, open to be read; a small one is in memory already. Never waits for a writer.

    Raises:
        PictureError: a named pipe, a socket or a device; or the path is a URL.
        OSError: Python's own for what cannot be opened: FileNotFoundError, IsADirectoryError, PermissionError.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno == errno.ENXIO:  # what the system says of sockets, and of devices that are not there
            raise _irregular(Path(path).stat(), path) from error
        if refusal := url_refusal(path):
            raise PictureError(refusal) from error
        raise
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _irregular(found, path)
        if found.st_size > AT_ONCE:
            return os.fdopen(os.dup(descriptor), "rb")
        return io.BytesIO(b"".join(iter(lambda: os.read(descriptor, AT_ONCE), b"")))
    finally:
        os.close(descriptor)


def _irregular(found: os.stat_result, path: str | Path) -> PictureError | OSError:
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFDIR:
        return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return PictureError(f"{OTHERS.get(kind, 'something else')}, not a file; give a picture file")
