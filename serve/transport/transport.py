"""What the server expects of a transport; and the choice of one: native if all callers are trusted, else grpcio."""

import ipaddress
import socket
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

from digits.protos.address import UNIX
from digits.serve.batcher import Source
from digits.serve.process.threads import CallThreads
from digits.serve.services import Services
from digits.serve.settings import ServeSettings
from digits.serve.transport.health import Health

MAX_METADATA_BYTES = 20 * 1024  # of one call: 16 KiB of its caller's, and what client libraries add
LINGER = 0.25  # seconds in which new calls are still refused with a status, and buffered answers are sent


class Transport(ABC):
    """Makes jobs of calls, and takes the answers back to the callers."""

    calls_hold_threads: ClassVar[bool]  # whether each call that waits for a batch holds a thread
    address: str  # where it listens, with the real port
    warmup_address: str | None  # where the server reaches itself, and only itself, before `open`; None if it cannot
    sources: Sequence[Source]  # where batchers take their jobs
    health: Health

    @abstractmethod
    def __init__(
        self, settings: ServeSettings, services: Services, threads: CallThreads, *, reuse_port: bool = False
    ) -> None:
        """Binds the address without serving it yet; `reuse_port` if other processes listen there. Raises StartError."""

    @abstractmethod
    def start(self) -> None:
        """Answers calls, at a shared port only those at `warmup_address`."""

    def open(self) -> None:  # noqa: B027 a transport may be open since its start
        """Answers all calls from now on."""

    @abstractmethod
    def drain(self, end: float) -> bool:
        """Accepts no more calls, answers the accepted ones and stops; whether all were by `end` of time.monotonic()."""


class TransportChoice(NamedTuple):
    """The transport, and why it was chosen, for people."""

    name: Literal["native", "grpcio"]
    reason: str


def choose(settings: ServeSettings) -> TransportChoice:
    """The transport of `--transport`; `auto` is the native one if no untrusted caller can reach the address.

    The native frontend reads a message before its size is known, and has no TLS (SECURITY.md).
    """
    if settings.transport != "auto":
        return TransportChoice(settings.transport, "asked for")
    if settings.address.startswith(UNIX):
        return TransportChoice("native", "a Unix socket is reached from this host alone")
    if settings.trusted_network:
        return TransportChoice("native", "--trusted-network")
    host = settings.address.rpartition(":")[0].strip("[]")
    if _is_loopback(host):
        return TransportChoice("native", f"{host} is reached from this host alone")
    return TransportChoice("grpcio", f"{host} is open to a network; --trusted-network or --transport native is faster")


def _is_loopback(host: str) -> bool:
    """Whether every address of a host is a loopback address. False for an unknown host: binding it reports that."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return False
    return all(ipaddress.ip_address(str(target[0]).partition("%")[0]).is_loopback for *_, target in found)
