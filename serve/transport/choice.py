"""The choice of a transport: the native frontend if everyone who can reach the address is trusted, otherwise grpcio."""

import ipaddress
import socket
from dataclasses import dataclass
from typing import Literal

from digits.protos.address import UNIX
from digits.serve.settings import ServeSettings


@dataclass(frozen=True, slots=True)
class TransportChoice:
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
