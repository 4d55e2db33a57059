"""The server: engine, queue, batcher and transport, from start to drain."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from digits.model import builtin
from digits.model.selection import select
from digits.serve.batcher import batch_forever
from digits.serve.describe import describe
from digits.serve.grpcio_transport import GrpcioTransport
from digits.serve.queue import JobQueue

if TYPE_CHECKING:
    from digits.serve.settings import ServeSettings

log = logging.getLogger(__name__)

LINGER = 0.25  # seconds in which newcomers are still told to go elsewhere


class Server:
    """Serves the newest version of a repository at one address.

    Attributes:
        address: Where it listens, with the real port.
    """

    def __init__(self, settings: ServeSettings) -> None:
        """Loads and proves the model, and binds the address.

        Raises:
            ModelError: there is no version, it is damaged, or it does not run here as it was published.
            StartError: the address cannot be had.
        """
        self._settings = settings
        self._origin = " of the box" if settings.models is None else ""
        self._model = builtin.repository(settings.models).open()
        log.info("model: %s", "in the box" if settings.models is None else self._model.folder)
        self._selection = select(
            self._model, precision=settings.precision, provider=settings.provider, threads=settings.threads
        )
        log.info("%s is served: %s", self._selection.variant, self._selection.reason)
        self._queue = JobQueue(settings.max_queue_size)
        self._transport = GrpcioTransport(
            settings,
            self._queue,
            str(self._model.number),
            describe(self._model, self._selection, settings),
        )
        self.address = self._transport.address
        self._batcher = threading.Thread(
            target=batch_forever,
            args=(self._queue, self._selection.engine.run, settings.max_batch_size),
            name="batcher",
            daemon=True,
        )

    def __str__(self) -> str:
        return (
            f"digits: serving {self._model.manifest.name} version {self._model.number}{self._origin}, "
            f"{self._selection.variant} on {self._selection.engine.provider}, at {self.address}"
        )

    def start(self) -> None:
        self._batcher.start()
        self._transport.start()

    def drain(self) -> bool:
        """Health first, then a lame duck's while; then newcomers are refused, and every accepted call is answered.

        Returns:
            Whether that was done in `drain_timeout`. If not, the calls that were left have been ended.
        """
        self._transport.withdraw()
        time.sleep(self._settings.lame_duck)
        end = time.monotonic() + self._settings.drain_timeout
        self._queue.close()
        self._batcher.join(self._settings.drain_timeout)
        time.sleep(LINGER)
        return self._transport.stop(max(LINGER, end - time.monotonic())) and not self._batcher.is_alive()
