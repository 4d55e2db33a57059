"""The folder of the private socket by which the native frontend reaches grpcio. No other user may enter it."""

import logging
import os
import socket
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from digits.serve.errors import StartError

log = logging.getLogger(__name__)


def private_folder(runtime_dir: Path | None, socket_name: str) -> TemporaryDirectory[str]:
    """Creates a folder of mode 0700 in the first place in which a socket of that name can be bound.

    `runtime_dir` is tried first, then $XDG_RUNTIME_DIR, $TMPDIR, /tmp and /dev/shm. An abstract socket would need no
    folder, but has no permissions: any user could connect. Raises StartError: there is no such place; the message says
    which were tried, and why each is unusable.
    """
    places = (runtime_dir, os.environ.get("XDG_RUNTIME_DIR"), os.environ.get("TMPDIR"), "/tmp", "/dev/shm")  # noqa: S108 in a folder of mode 0700
    tried = []
    for place in dict.fromkeys(Path(place) for place in places if place):
        with ExitStack() as stack:
            try:
                folder = TemporaryDirectory(prefix="digits-", dir=place.absolute())
                stack.callback(folder.cleanup)
                path = Path(folder.name, socket_name)
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.bind(str(path))  # fails on some file systems, and with a path longer than 107 bytes
                path.unlink()
            except OSError as error:
                tried.append(f"{place} ({error.strerror or error})")
                continue
            stack.pop_all()
        if tried:
            log.info("the private socket is in %s, not in %s", folder.name, ", ".join(tried))
        return folder
    raise StartError(f"no writable folder for a private socket in {', '.join(tried)}; give one by --runtime-dir")
