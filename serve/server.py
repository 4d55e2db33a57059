"""The server: engine, batchers and transport, from start to drain."""

import logging
import threading
import time
from dataclasses import replace
from typing import cast

from digits.model.manifest import Precision  # noqa: TC001 used by a cast
from digits.model.runtime import CUDA
from digits.serve.address import require_free
from digits.serve.batcher import Batcher
from digits.serve.engine_host import EngineHost
from digits.serve.process.memory_watch import MemoryWatch
from digits.serve.process.threads import fit
from digits.serve.process.warmup import warm_up
from digits.serve.services import Services
from digits.serve.settings import MB, WorkerConfiguration
from digits.serve.statistics import Statistics
from digits.serve.transport.grpcio import GrpcioTransport
from digits.serve.transport.native import NativeTransport
from digits.serve.transport.transport import LINGER, Transport, choose

log = logging.getLogger(__name__)

TRANSPORTS: dict[str, type[Transport]] = {"native": NativeTransport, "grpcio": GrpcioTransport}


class Server:
    """Serves one version of a model at one address, in this process."""

    def __init__(self, worker: WorkerConfiguration) -> None:
        """Loads the model, runs its self-test and binds the address: alone, or with other workers at the same port.

        Raises ModelError: there is no version, it is damaged, or it fails its self-test on this machine. StartError:
        the address is not available, or settings contradict each other.
        """
        worker.settings.require_consistent()
        choice = choose(worker.settings)
        if not worker.shared:
            require_free(worker.settings.address)
        self._engine = EngineHost(worker.settings, worker.version, worker.reason)
        log.info("%s carries the calls: %s", choice.name, choice.reason)
        transport = TRANSPORTS[choice.name]
        threads = fit(worker.settings, takes_batched=transport.calls_hold_threads, lock=worker.statistics)
        self._worker = worker
        self._settings = settings = replace(worker.settings, max_queue_size=threads.queue_size)
        self._statistics = Statistics(worker.statistics, worker.number)
        self._services = Services(
            self._engine.info, self._engine.describe(settings, choice), settings, self._statistics
        )
        self._transport = transport(settings, self._services, threads, reuse_port=worker.shared)
        self.address = self._transport.address  # with the real port
        self._watch = MemoryWatch(self.address, settings.max_memory * MB)
        # The warm-up is not counted if it comes before all other calls.
        uncounted = self._transport.warmup_address is not None
        self._batcher = Batcher(
            self._engine.run,
            self._engine.info.version,
            Statistics() if uncounted else self._statistics,
            self._engine.novelty_threshold,
        )
        self._batchers = [
            threading.Thread(target=self._batcher.serve, args=(source,), name="batcher", daemon=True)
            for source in self._transport.sources
            for _ in range(settings.instances)
        ]
        self._name = choice.name

    def __str__(self) -> str:
        model, origin = self._engine.info, " (bundled)" if self._settings.models is None else ""
        return (
            f"digits: serving {model.name} version {model.version}{origin}, "
            f"{model.precision} on {model.provider}, {self._name}, at {self.address}"
        )

    @property
    def settled(self) -> WorkerConfiguration:
        """The configuration with the choices made: a worker that gets it serves the same, whatever is published."""
        selection = self._engine.selection
        settings = replace(
            self._worker.settings,
            precision=cast("Precision", selection.variant),
            provider="cuda" if selection.engine.provider == CUDA else "cpu",
        )
        return replace(self._worker, settings=settings, version=self._engine.model.number, reason=selection.reason)

    def start(self) -> None:
        """Serves; when this returns it is ready, and its health says so. Raises StartError if the warm-up fails."""
        self._watch.start()
        for batcher in self._batchers:
            batcher.start()
        self._transport.start()
        if self._settings.warmup and self._transport.warmup_address:
            warm_up(self._transport.warmup_address, self._engine.info.name, self._settings)
        self._batcher.statistics = self._statistics
        self._transport.open()
        self._transport.health.set_serving(True)
        self._services.ready = True

    def drain(self) -> bool:
        """Sets health to NOT_SERVING and waits `lame_duck`; then refuses new calls, and answers every accepted call.

        Returns whether that was done within `drain_timeout`. If not, the calls that were left have been ended.
        """
        self._services.ready = False
        self._transport.health.set_serving(False)
        time.sleep(self._settings.lame_duck)
        end = time.monotonic() + self._settings.drain_timeout
        self._services.draining = True
        answered = self._transport.drain(end)
        self._watch.stop()
        end = max(end, time.monotonic() + LINGER)
        for batcher in self._batchers:
            batcher.join(max(0.0, end - time.monotonic()))
            answered &= not batcher.is_alive()
        return answered
