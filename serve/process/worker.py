"""A worker: one of several processes that serve at one port, under a supervisor.

It drains when its stdin ends, because the supervisor closed it or died, and by SIGTERM, which a service manager may
send to all processes; two such signals have the effect of one.
"""

import os
import signal
import sys
import threading
from typing import cast

from digits.model.errors import ModelError
from digits.model.manifest import Precision  # noqa: TC001 used by a cast
from digits.model.runtime import CUDA
from digits.serve.errors import StartError
from digits.serve.process import signal_handling
from digits.serve.process.worker_configuration import Report, WorkerConfiguration, receive, send


def main() -> int:
    """Serves as the configuration on stdin says, after a report on stdout. Gives the exit code."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # only the report gets into the pipe
    config: WorkerConfiguration | None = receive(sys.stdin.buffer)
    if config is None:
        return 0
    signal_handling.begin(f"worker {config.number}")
    threading.Thread(target=_drain_at_the_end_of_stdin, name="stdin", daemon=True).start()
    with pipe:
        try:
            from digits.serve.server import Server

            server = Server(config)
            server.start()
        except (StartError, ModelError, OSError, ModuleNotFoundError) as error:
            send(pipe, error)
            return 1
        version, selection = server.choice
        send(
            pipe,
            Report(
                line=str(server),
                version=version,
                precision=cast("Precision", selection.variant),
                provider="cuda" if selection.engine.provider == CUDA else "cpu",
                reason=selection.reason,
            ),
        )
    signal_handling.stay(server, config.settings.drain_timeout, supervised=True)
    return 0


def _drain_at_the_end_of_stdin() -> None:
    os.read(0, 1)  # not by sys.stdin, whose lock a thread must not hold when the process ends
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
