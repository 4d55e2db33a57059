"""The server: engine, queues, batchers and transports, from start to drain."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from digits.model.repository import open_repository
from digits.model.runtime import CUDA
from digits.model.selection import select
from digits.protos.address import UNIX
from digits.serve.address import require_free
from digits.serve.batcher import Batcher
from digits.serve.describe import describe
from digits.serve.errors import StartError
from digits.serve.oip.model_config import Scheduling
from digits.serve.oip.model_info import ModelInfo
from digits.serve.oip.service import InferenceService
from digits.serve.pictures import Decoders
from digits.serve.process.memory_watch import MemoryWatch, connections
from digits.serve.process.private_folder import private_folder
from digits.serve.process.threads import fit
from digits.serve.process.warmup import warm_up
from digits.serve.queue import JobQueue, QueuePolicy
from digits.serve.services import Services
from digits.serve.statistics import Statistics
from digits.serve.transport.choice import choose
from digits.serve.transport.grpcio import GrpcioTransport
from digits.serve.transport.native import NativeTransport

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from digits.model.selection import Selection
    from digits.serve.batcher import Source
    from digits.serve.settings import ServeSettings
    from digits.serve.transport.choice import TransportChoice

log = logging.getLogger(__name__)

MB = 2**20
SOCKET = "grpcio"  # the private one
LINGER = 0.25  # seconds in which newcomers are still told to go elsewhere, and answers leave the native front's buffers


@dataclass(frozen=True, slots=True)
class Worker:
    """What a server shares with others at the same port.

    Attributes:
        statistics: A descriptor of memory from `statistics.create`.
        number: Its row there.
        version: Which version all of them serve; None is the newest.
        reason: Why its precision was chosen; None if that is still to do.
    """

    statistics: int
    number: int
    version: int | None
    reason: str | None


class Server:
    """Serves one version of a model at one address, in this process.

    Attributes:
        address: Where it listens, with the real port.
    """

    def __init__(self, settings: ServeSettings, worker: Worker | None = None) -> None:
        """Loads and proves the model, and binds the address: alone there, or beside other workers.

        Raises:
            ModelError: there is no version, it is damaged, or it does not run here as it was published.
            StartError: the address cannot be had, or settings contradict each other.
        """
        policy = queue_policy(settings)
        choice = choose(settings)
        if worker is None:
            require_free(settings.address)
        self._settings = settings
        self._ready = False
        self._model = open_repository(settings.models).open(worker.version if worker else None)
        log.info("model: %s", "bundled" if settings.models is None else self._model.folder)
        self._selection = select(
            self._model, precision=settings.precision, provider=settings.provider, threads=settings.threads
        )
        if worker and worker.reason:
            self._selection = replace(self._selection, reason=worker.reason)
        log.info("%s is served: %s", self._selection.variant, self._selection.reason)
        log.info("%s carries the calls: %s", choice.name, choice.reason)
        self._transport = choice.name
        self._threads = fit(settings, takes_batched=choice.name == "grpcio", lock=worker.statistics if worker else None)
        policy = replace(policy, max_queue_size=self._threads.queue_size)
        self._statistics = Statistics(worker.statistics, worker.number) if worker else Statistics.alone()
        self._services = self._make_services(choice, policy)
        self._queue = JobQueue(policy)
        self._decoders = Decoders(self._queue, policy.max_queue_size)
        self._shares = worker is not None
        self._bind(policy, reuse_port=self._shares)
        self._watch = MemoryWatch(self.address, settings.max_memory * MB)
        run = self._slow_run if settings.slow_down_microseconds else self._selection.engine.run
        uncounted = self._native or not self._shares  # where the warm-up comes before all other calls
        counted = Statistics.alone() if uncounted else self._statistics
        self._batcher = Batcher(run, str(self._model.number), counted)
        sources: list[Source] = [self._queue, *([self._native] if self._native else [])]
        self._batchers = [
            threading.Thread(target=self._batcher.serve, args=(source,), name="batcher", daemon=True)
            for source in sources
            for _ in range(settings.instances)
        ]

    def __str__(self) -> str:
        origin = " of the box" if self._settings.models is None else ""
        return (
            f"digits: serving {self._model.manifest.name} version {self._model.number}{origin}, "
            f"{self._selection.variant} on {self._selection.engine.provider}, {self._transport}, at {self.address}"
        )

    @property
    def choice(self) -> tuple[int, Selection]:
        """The version that is served, and what answers for it."""
        return self._model.number, self._selection

    def start(self) -> None:
        """Serves; ready, by health too, is what it is when this returns. Raises StartError if the warm-up fails."""
        self._watch.start()
        for batcher in self._batchers:
            batcher.start()
        self._grpcio.start()
        # At a shared port another worker would answer, and others' calls come as soon as it is open.
        if self._native and not self._shares:
            self._native.start()
        if self._settings.warmup and (self._native or not self._shares):
            address = self._private if self._shares else self.address
            warm_up(address, self._model.manifest.name, self._settings)
        self._batcher.statistics = self._statistics
        if self._native and self._shares:
            self._native.start()
        self._grpcio.health.enter_service()
        self._ready = True

    def drain(self) -> bool:
        """Health first, then a lame duck's while; then newcomers are refused, and every accepted call is answered.

        Returns:
            Whether that was done in `drain_timeout`. If not, the calls that were left have been ended.
        """
        self._ready = False
        self._grpcio.health.enter_graceful_shutdown()
        time.sleep(self._settings.lame_duck)
        end = time.monotonic() + self._settings.drain_timeout
        self._services.draining = True
        self._decoders.drain(self._settings.drain_timeout)
        self._queue.close()
        answered = self._native is None or self._native.drain(end)
        time.sleep(LINGER)
        answered &= self._grpcio.stop(max(LINGER, end - time.monotonic()))
        self._watch.stop()
        if self._native:
            self._linger(end)
            self._native.close()
            self._folder.cleanup()
        end = max(end, time.monotonic() + LINGER)
        for batcher in self._batchers:
            batcher.join(max(0.0, end - time.monotonic()))
            answered &= not batcher.is_alive()
        return answered

    def _linger(self, end: float) -> None:
        """Until callers take no more: what passed through the native front may be in its buffers still."""
        before, taken = -1, 0
        while before != taken and time.monotonic() < end:
            time.sleep(LINGER)
            before, taken = taken, sum(each.answered for _, each in connections(self.address))

    def _make_services(self, choice: TransportChoice, policy: QueuePolicy) -> Services:
        manifest, selection, settings = self._model.manifest, self._selection, self._settings
        model = ModelInfo(manifest.name, str(self._model.number), tuple(manifest.labels))
        scheduling = Scheduling(
            max_batch_size=policy.max_batch_size,
            max_queue_size=policy.max_queue_size,
            max_queue_delay_microseconds=settings.max_queue_delay_microseconds,
            priority_levels=policy.priority_levels,
            default_priority_level=policy.default_priority_level,
            default_timeout_microseconds=settings.default_timeout_microseconds,
            instances=settings.instances,
            gpu=selection.engine.provider == CUDA,
            file=manifest.variants[selection.variant].file,
            parameters={"precision": selection.variant, "provider": selection.engine.provider},
        )
        inferences = InferenceService(model, scheduling, self._statistics, lambda: self._ready)
        description = describe(self._model, selection, choice, policy, settings.max_message_bytes)
        return Services(description, inferences, model, self._statistics, settings)

    def _bind(self, policy: QueuePolicy, *, reuse_port: bool) -> None:
        """The grpcio server at the address, or the native front there and the grpcio server behind it."""
        settings, services, decoders, threads = self._settings, self._services, self._decoders, self._threads
        self._native: NativeTransport | None = None
        if self._transport == "grpcio":
            self._grpcio = GrpcioTransport(
                settings, services, self._queue, decoders, settings.address, threads=threads, reuse_port=reuse_port
            )
            self.address = self._grpcio.address
            return
        self._folder = private_folder(settings.runtime_dir, SOCKET)
        self._private = f"{UNIX}{self._folder.name}/{SOCKET}"
        self._grpcio = GrpcioTransport(settings, services, self._queue, decoders, self._private, threads=threads)
        self._native = NativeTransport(
            settings, services, JobQueue(policy), decoders, self._private, reuse_port=reuse_port
        )
        self.address = self._native.address

    def _slow_run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        time.sleep(self._settings.slow_down_microseconds / 1e6)
        return self._selection.engine.run(pixels)


def queue_policy(settings: ServeSettings) -> QueuePolicy:
    """Raises StartError if settings contradict each other."""
    if settings.max_memory * MB < 4 * settings.max_message_bytes:
        raise StartError(
            f"--max-memory {settings.max_memory}: expected at least 4 times the --max-message-bytes, "
            f"{4 * settings.max_message_bytes / MB:.0f}"
        )
    levels = settings.priority_levels
    default = levels if settings.default_priority_level is None else settings.default_priority_level
    if default > levels:
        raise StartError(f"--default-priority-level {default}: expected 1 to {levels}, the --priority-levels there are")
    return QueuePolicy(
        max_batch_size=settings.max_batch_size,
        max_queue_size=settings.max_queue_size,
        max_queue_delay=settings.max_queue_delay_microseconds / 1e6,
        priority_levels=levels,
        default_priority_level=default,
        instances=settings.instances,
    )
