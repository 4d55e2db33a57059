"""What the server expects of a transport."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from digits.serve.batcher import Source
from digits.serve.process.threads import CallThreads
from digits.serve.services import Services
from digits.serve.settings import ServeSettings
from digits.serve.transport.health import Health

MAX_METADATA_BYTES = 20 * 1024  # of one call: 16 KiB of its caller's, and what client libraries add
LINGER = 0.25  # seconds in which new calls are still refused with a status, and buffered answers are sent


class Transport(ABC):
    """Makes jobs of calls, and takes the answers back to the callers.

    Attributes:
        calls_hold_threads: Whether each call that waits for a batch holds a thread.
        address: Where it listens, with the real port.
        warmup_address: Where the server reaches itself, and only itself, before `open`; None if it cannot.
        sources: Where batchers take their jobs.
        health: The health service.
    """

    calls_hold_threads: ClassVar[bool]
    address: str
    warmup_address: str | None
    sources: Sequence[Source]
    health: Health

    @abstractmethod
    def __init__(
        self, settings: ServeSettings, services: Services, threads: CallThreads, *, reuse_port: bool = False
    ) -> None:
        """Binds the address without serving it yet; `reuse_port` if other processes listen at the same port.

        Raises:
            StartError: the address is not available.
        """

    @abstractmethod
    def start(self) -> None:
        """Answers calls, at a shared port only those at `warmup_address`."""

    def open(self) -> None:  # noqa: B027 a transport may be open since its start
        """Answers all calls from now on."""

    @abstractmethod
    def drain(self, end: float) -> bool:
        """Accepts no more calls, answers the accepted ones and stops; by `end` of time.monotonic() at the latest.

        Returns:
            Whether all were answered in time.
        """
