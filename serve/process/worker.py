"""A worker: one of several processes that serve at one port, under a supervisor.

It drains when its stdin ends, because the supervisor closed it or died, and by SIGTERM, which a service manager may
send to all processes; two such signals have the effect of one.
"""

import os
import signal
import sys
import threading

from digits.model.errors import ModelError
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
        send(pipe, Report(str(server), server.settled))
    signal_handling.stay(server, config.settings.drain_timeout, supervised=True)
    return 0


def _drain_at_the_end_of_stdin() -> None:
    os.read(0, 1)  # not by sys.stdin, whose lock a thread must not hold when the process ends
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
