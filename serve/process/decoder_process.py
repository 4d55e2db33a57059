"""A process that decodes callers' pictures, with limits of memory and time. A picture that ends it harms no other.

The process is started with the first picture, in 0.2 s, and takes 54 MB. A picture costs 0.02 ms more than in the
caller's process, whose other threads do not wait for the interpreter lock meanwhile.
"""

import os
import subprocess
import sys
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from digits.images.errors import PictureError
from digits.images.limits import MEMORY, SECONDS, limit_memory, limit_time

DIGIT, ERROR = b"d", b"e"  # what an answer begins with


class DecoderProcess:
    """Decodes one picture after another in a process of its own, which is replaced if it ends. For one thread."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def decode(self, content: bytes) -> bytes:
        """The digit in a PNG, JPEG or WebP file, 784 bytes.

        Raises:
            PictureError: as `picture.decode`; or the process ended while it decoded this picture.
            OSError: no process can be started.
        """
        connection = self._running()
        try:
            connection.send_bytes(content)
            answer = connection.recv_bytes()
        except (ConnectionError, EOFError):
            self.close()
            raise PictureError(
                f"the picture takes more than {SECONDS} s or {MEMORY >> 20} MB to decode; send a smaller one"
            ) from None
        if answer.startswith(ERROR):
            raise PictureError(answer[1:].decode())
        return answer[1:]

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None and self._connection is not None:
            self._process.kill()
            self._process.wait()
            self._connection.close()
            self._process = self._connection = None

    def _running(self) -> Connection:
        if self._process is not None and self._process.poll() is not None:
            self.close()  # it was ended from outside, between two pictures
        if self._connection is None:
            ours, theirs = Pipe()
            path = os.pathsep.join(filter(None, sys.path))
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    [sys.executable, "-P", "-m", __name__, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=os.environ | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
                    start_new_session=True,  # a terminal's Ctrl-C is for the caller, which ends this process
                )
            self._connection = ours
        return self._connection


def main() -> None:
    """Answers the caller until it closes the connection."""
    from digits.images import picture

    limit_memory()
    with Connection(int(sys.argv[1])) as caller:
        while True:
            try:
                content = caller.recv_bytes()
            except EOFError:
                return
            limit_time()
            try:
                caller.send_bytes(DIGIT + picture.decode(content).tobytes())
            except PictureError as error:
                caller.send_bytes(ERROR + str(error).encode())


if __name__ == "__main__":
    main()
