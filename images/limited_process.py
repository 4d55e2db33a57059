"""A process that answers messages, with limits of memory and time. What ends it harms no other process."""

import os
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from digits.images.limits import limit_memory, limit_time


class LimitedProcess:
    """Answers one message after another in a process of its own, which is replaced if it ends. For one thread.

    The process begins with the first message, in 0.2 s, and ends with this one. It gets no signal of a terminal.
    """

    def __init__(self, module: str) -> None:
        """The module is run, and has to call `answer_messages`."""
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def ask(self, message: bytes) -> bytes:
        """The answer to a message.

        Raises:
            EOFError: the process ended before it answered.
            OSError: no process can be started.
        """
        connection = self._running()
        try:
            connection.send_bytes(message)
            return connection.recv_bytes()
        except (ConnectionError, EOFError):
            self.close()
            raise EOFError from None

    def kill(self) -> None:
        """Ends the process, from any thread: the one that asks gets EOFError."""
        if (process := self._process) is not None:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None and self._connection is not None:
            self._process.kill()
            self._process.wait()
            self._connection.close()
            self._process = self._connection = None

    def _running(self) -> Connection:
        if self._process is not None and self._process.poll() is not None:
            self.close()  # it was ended from outside, between two messages
        if self._connection is None:
            ours, theirs = Pipe()
            path = os.pathsep.join(filter(None, sys.path))
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    [sys.executable, "-P", "-m", self._module, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,  # libtiff's, which the error says too
                    env=os.environ | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
                    start_new_session=True,  # a terminal's Ctrl-C is for the caller, which ends this process
                )
            self._connection = ours
        return self._connection


def answer_messages(answer: Callable[[bytes], bytes]) -> None:
    """Answers the caller, in a process that it started, until it closes the connection."""
    limit_memory()
    with Connection(int(sys.argv[1])) as caller:
        while True:
            try:
                message = caller.recv_bytes()
            except EOFError:
                return
            limit_time()
            caller.send_bytes(answer(message))
