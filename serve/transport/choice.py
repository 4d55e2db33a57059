"""The choice of a transport: the native front where all who can reach the address are trusted, else grpcio."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from digits.protos.address import UNIX

if TYPE_CHECKING:
    from digits.serve.settings import ServeSettings

Transport = Literal["native", "grpcio"]

MAX_METADATA_BYTES = 20 * 1024  # of one call: 16 KiB of its caller's, and what client libraries add


@dataclass(frozen=True, slots=True)
class TransportChoice:
    """What carries the calls.

    Attributes:
        name: Such as `native`.
        reason: Why, for people.
    """

    name: Transport
    reason: str


def choose(settings: ServeSettings) -> TransportChoice:
    """What `--transport` asks for; `auto` takes the native front where no stranger can reach the address.

    The front takes a message in before its size is known, and has no TLS (SECURITY.md).
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
    """Whether every address of a host is one of loopback. A host without an address is none; binding it says so."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return False
    return all(ipaddress.ip_address(str(target[0]).partition("%")[0]).is_loopback for *_, target in found)
