"""The address to listen on, proven free before anything listens: grpcio would share it, or take it over, in silence."""

from __future__ import annotations

import errno
import os
import re
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digits.serve.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Iterable

UNIX = "unix:"
LONGEST_PATH = 107  # bytes: a socket's address has room for 108, and ends with NUL
NOT_IN_A_PATH = "\0%?#"  # gRPC reads a path as a URI, and would take another one
ENDPOINT = re.compile(r"(?P<host>[\w.-]+|\[[\da-fA-F:.]+(?:%[\w.-]+)?\]):(?P<port>[0-9]{1,5})")
MAX_PORT = 65535
TRIES = 10  # to find one free port for all addresses of a name
ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}  # a name's IPv6 address on a host without IPv6


def require_free(address: str) -> None:
    """Raises StartError unless the address is well formed and nobody listens there."""
    if address.startswith(UNIX):
        _require_free_path(address, _path(address))
        return
    for probe in _bind(address, share=False):
        probe.close()


def hold(address: str) -> tuple[str, list[socket.socket]]:
    """Takes a free port for processes that are to share it by SO_REUSEPORT.

    Returns:
        The address with its real port, and sockets that keep other programs off it until they are closed. They do not
        listen, and so get no connections.

    Raises:
        StartError: the address is malformed, not free, or a Unix socket, which cannot be shared.
    """
    if address.startswith(UNIX):
        raise StartError(f"--address {address}: workers cannot share a Unix socket; give HOST:PORT, or --workers 1")
    require_free(address)
    sockets = _bind(address, share=True)
    return f"{address.rpartition(':')[0]}:{sockets[0].getsockname()[1]}", sockets


def _bind(address: str, *, share: bool) -> list[socket.socket]:
    """A socket at each of a host's addresses that this machine has, all at one port."""
    host, port = _host_and_port(address)
    try:
        found = dict.fromkeys(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE))
    except (socket.gaierror, UnicodeError) as error:
        raise StartError(f"--address {address}: no such host ({error})") from error
    tries = 1 if port else TRIES  # the system gives a port that is free at one of the addresses
    while True:
        tries -= 1
        try:
            return _bind_all(found, port, share=share)
        except OSError as error:
            if not tries:
                raise StartError(
                    f"cannot listen on {address}: {error.strerror}; give another --address or stop what listens there"
                ) from error


def _host_and_port(address: str) -> tuple[str, int]:
    found = ENDPOINT.fullmatch(address)
    if not found or int(found["port"]) > MAX_PORT:
        raise StartError(
            f"--address {address!r}: expected HOST:PORT with a port of 0 to {MAX_PORT}, [IPV6]:PORT or unix:PATH"
        )
    return found["host"].strip("[]"), int(found["port"])


def _path(address: str) -> Path:
    path = address.removeprefix(UNIX)
    size = len(os.fsencode(path))
    if not 0 < size <= LONGEST_PATH:
        raise StartError(f"--address {address!r}: the path has {size} bytes; expected 1 to {LONGEST_PATH}")
    if not set(path).isdisjoint(NOT_IN_A_PATH) or re.match("//(?!/)", path):
        raise StartError(
            f"--address {address!r}: expected unix:PATH or unix:///PATH, and in the path no NUL, %, ? or #"
        )
    return Path(path)


def _bind_all(found: Iterable[tuple[Any, ...]], port: int, *, share: bool) -> list[socket.socket]:
    """Leaves out what is absent here, unless all is."""
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    with ExitStack() as stack:
        for family, kind, protocol, _, (name, _, *scope) in found:
            try:
                bound = stack.enter_context(socket.socket(family, kind, protocol))
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past connections may linger
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, share)
                if family == socket.AF_INET6:
                    bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                bound.bind((name, port, *scope))
            except OSError as error:
                if error.errno not in ABSENT:
                    raise
                absent = error
                continue
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)  # or others could bind what does not listen
            port = bound.getsockname()[1]
            sockets.append(bound)
        if absent and not sockets:
            raise absent
        stack.pop_all()
    return sockets


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
