from __future__ import annotations

import logging
import os
import signal
from typing import Annotated

from cyclopts import Parameter

from digits.serve.settings import ServeSettings

log = logging.getLogger(__name__)
DEFAULTS = ServeSettings()


def serve(settings: Annotated[ServeSettings, Parameter(name="*")] = DEFAULTS) -> None:
    from digits.serve.server import Server

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Blocked in this thread and so in all that it starts: only sigwait takes them. A handler would run late or never
    # if the kernel gave the signal to one of gRPC's threads while this one waits.
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    server = Server(settings)
    server.start()
    print(server, flush=True)
    log.info("%s: draining", signal.Signals(signal.sigwait(signals)).name)
    for ending in signals:
        signal.signal(ending, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)  # a second one ends the process at once
    if not server.drain():
        log.error("not all calls were answered within --drain-timeout %g s", settings.drain_timeout)
        logging.shutdown()
        os._exit(1)  # their threads would hold up an ordinary exit
    log.info("drained: every accepted call is answered")
