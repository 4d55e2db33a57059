"""The signals of a server's process: blocked from the start; one of them ends it with a drain."""

from __future__ import annotations

import logging
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from digits.serve.server import Server

STOPS = frozenset({signal.SIGTERM, signal.SIGINT})

ECHO = 0.1  # seconds in which a repetition of a signal is ignored

log = logging.getLogger(__name__)


def begin(name: str = "") -> None:
    """Logs to stderr, with a name if there are several processes, and blocks the signals that stop a server.

    Blocked in this thread and so in all threads and processes that it starts: only sigwait takes them. A handler would
    run late or never if the kernel gave the signal to a thread of gRPC's or numpy's while this one waits; so this comes
    before the imports that start threads.
    """
    who = f"{name} (%(process)d) " if name else ""
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s %(levelname)s {who}%(name)s: %(message)s")
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's import starts a thread for each core, unused here


def ignore_echo(stop: signal.Signals) -> None:
    """Takes the same signal if it comes again at once: `timeout` sends it to the process and then to its group."""
    signal.sigtimedwait({stop}, ECHO)


def stay(server: Server, drain_timeout: float, *, supervised: bool = False) -> None:
    """Serves until a signal, and drains; ends the process with exit code 1 if that takes longer than `drain_timeout`.

    A second signal ends it at once. In a worker the supervisor does that, and handles SIGINT: a terminal sends it to
    all processes.
    """
    stop = signal.Signals(signal.sigwait({signal.SIGTERM} if supervised else STOPS))
    log.info("%s: draining", stop.name)
    if not supervised:
        ignore_echo(stop)
        for ending in STOPS:
            signal.signal(ending, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    if not server.drain():
        log.error("not all calls were answered within --drain-timeout %g s", drain_timeout)
        logging.shutdown()
        os._exit(1)  # their threads would hold up an ordinary exit
    log.info("drained: every accepted call is answered")
