"""A worker: one of several processes that serve at one port, under a supervisor.

It drains when its stdin ends, because the supervisor closed it or died, and by SIGTERM, which a service manager may
send to all processes; two such signals have the effect of one.
"""

import os
import pickle
import signal
import sys
import threading
from contextlib import suppress
from typing import BinaryIO

from digits.model.errors import ModelError
from digits.serve.errors import StartError
from digits.serve.process import signal_handling
from digits.serve.settings import WorkerConfiguration


def main() -> int:
    """Serves as the configuration on stdin says, after a report on stdout. Gives the exit code."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # only the report gets into the pipe
    try:
        config: WorkerConfiguration = pickle.load(sys.stdin.buffer)  # noqa: S301 it comes from our own process
    except (EOFError, pickle.UnpicklingError):
        return 0  # the supervisor has ended
    signal_handling.begin(f"worker {config.number}")
    threading.Thread(target=_drain_at_the_end_of_stdin, name="stdin", daemon=True).start()
    with pipe:
        try:
            from digits.serve.server import Server

            server = Server(config)
            server.start()
        except (StartError, ModelError, OSError, ModuleNotFoundError) as error:
            _report(pipe, error)
            return 1
        _report(pipe, (str(server), server.settled))
    signal_handling.stay(server, config.settings.drain_timeout, supervised=True)
    return 0


def _report(pipe: BinaryIO, what: tuple[str, WorkerConfiguration] | Exception) -> None:
    """Sends the line that says what is served, and the configuration with the choices made; or why it cannot start."""
    with suppress(BrokenPipeError):
        pipe.write(pickle.dumps(what))
        pipe.flush()


def _drain_at_the_end_of_stdin() -> None:
    os.read(0, 1)  # not by sys.stdin, whose lock a thread must not hold when the process ends
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
