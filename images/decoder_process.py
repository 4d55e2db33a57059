"""A process that decodes pictures of strangers, with limits of memory and time. A picture that ends it harms no other.

The process is started with the first picture, in 0.2 s, and takes 54 MB. A picture costs 0.02 ms more than in the
caller's process, whose other threads do not wait for the interpreter lock meanwhile.
"""

import os
import resource
import struct
import subprocess
import sys
from pathlib import Path
from typing import IO

from digits.images.errors import PictureError

MEMORY = 768 * 2**20  # bytes of address space above what the process has when it begins; `Limits` allow about 300 MB
SECONDS = 20  # of a core, for one picture; `Limits` allow about three
PAGE = resource.getpagesize()
LENGTH = struct.Struct(">I")  # before each message
DIGIT, ERROR = b"d", b"e"  # what an answer begins with


def limit_memory(size: int = MEMORY) -> None:
    """Lets this process take so many more bytes of address space, and leave no core file."""
    _limit(resource.RLIMIT_CORE, 0)
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * PAGE
    _limit(resource.RLIMIT_AS, used + size)


def limit_time(seconds: int = SECONDS) -> None:
    """Has the system end this process, by SIGXCPU, when it has used so many more seconds of a core."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + seconds)


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


class DecoderProcess:
    """Decodes one picture after another in a process of its own, which is replaced if it ends. For one thread."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def decode(self, content: bytes) -> bytes:
        """The digit in a PNG, JPEG or WebP file, 784 bytes.

        Raises:
            PictureError: as `picture.decode`; or the process ended, with this picture's decoding.
            OSError: no process can be started.
        """
        process = self._running()
        assert process.stdin is not None  # noqa: S101 - for mypy
        assert process.stdout is not None  # noqa: S101
        try:
            _send(process.stdin, content)
            answer = _receive(process.stdout)
        except (BrokenPipeError, EOFError):
            self.close()
            raise PictureError(
                f"the picture takes more than {SECONDS} s or {MEMORY >> 20} MB to decode; send a smaller one"
            ) from None
        if answer.startswith(ERROR):
            raise PictureError(answer[1:].decode())
        return answer[1:]

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is not None and self._process.poll() is not None:
            self.close()  # it was ended from outside, between two pictures
        if self._process is None:
            self._process = _start()
        return self._process


def _start() -> "subprocess.Popen[bytes]":
    more = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | more,
        start_new_session=True,  # a terminal's Ctrl-C is for the caller, which ends this process
    )


def _send(file: IO[bytes], message: bytes) -> None:
    file.write(LENGTH.pack(len(message)))
    file.write(message)
    file.flush()


def _receive(file: IO[bytes]) -> bytes:
    """The next message. Raises EOFError where there is none, or half of one."""
    header = file.read(LENGTH.size)
    if len(header) == LENGTH.size:
        (length,) = LENGTH.unpack(header)
        message = file.read(length)
        if len(message) == length:
            return message
    raise EOFError


def main() -> None:
    """Answers messages from standard input until it ends."""
    from digits.images import picture

    limit_memory()
    while True:
        try:
            content = _receive(sys.stdin.buffer)
        except EOFError:
            return
        limit_time()
        try:
            answer = DIGIT + picture.decode(content).tobytes()
        except PictureError as error:
            answer = ERROR + str(error).encode()
        _send(sys.stdout.buffer, answer)


if __name__ == "__main__":
    main()
