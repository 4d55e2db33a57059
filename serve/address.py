"""The address to listen on, proven free before anything listens: grpcio would share it, or take it over, in silence."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from digits.serve.errors import StartError

UNIX = "unix:"
MAX_PORT = 65535
ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}  # a name's IPv6 address on a host without IPv6


def require_free(address: str) -> None:
    """Raises StartError unless the address is well formed and nobody listens there."""
    if address.startswith(UNIX):
        _require_free_path(address, Path(address.removeprefix(UNIX)))
        return
    host, _, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not host or (":" in host and not bracketed) or not port.isdecimal() or int(port) > MAX_PORT:
        raise StartError(f"--address {address}: expected HOST:PORT with a port of 0 to 65535, [IPV6]:PORT or unix:PATH")
    _require_free_port(address, host.strip("[]"), int(port))


def _require_free_port(address: str, host: str, port: int) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise StartError(f"--address {address}: no such host ({error})") from error
    absent = 0
    for family, kind, protocol, _, target in found:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past connections may linger
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(target)
        except OSError as error:
            absent += error.errno in ABSENT
            if error.errno not in ABSENT or absent == len(found):
                raise StartError(
                    f"cannot listen on {address}: {error.strerror}; give another --address or stop what listens there"
                ) from error


def _require_free_path(address: str, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            if not path.parent.is_dir():
                raise StartError(f"cannot listen on {address}: there is no folder {path.parent}")
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return  # nothing there, or what a server left that has gone
        except OSError as error:
            raise StartError(f"cannot listen on {address}: {error.strerror or error}") from error
    raise StartError(f"cannot listen on {address}: a server listens there; stop it or give another --address")
