"""The address to listen on, checked to be free before anything listens: grpcio would share or replace it silently."""

import errno
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from digits.protos.address import UNIX, host_and_port, require_socket_path
from digits.serve.errors import StartError

TRIES = 10  # to find one free port for all addresses of a name
ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}  # a name's IPv6 address on a host without IPv6


def require_free(address: str) -> None:
    """Raises StartError unless the address is well formed and nothing listens there."""
    if address.startswith(UNIX):
        _require_free_socket(address)
        return
    for probe in _bind(address, share=False):
        probe.close()


def hold(address: str) -> tuple[str, list[socket.socket]]:
    """Reserves a free port for processes that are to share it by SO_REUSEPORT.

    Returns the address with its real port, and sockets that keep other programs off it until they are closed. They do
    not listen, and so get no connections. Raises StartError: the address is malformed, not free, or a Unix socket,
    which cannot be shared.
    """
    if address.startswith(UNIX):
        raise StartError(f"--address {address}: workers cannot share a Unix socket; give HOST:PORT, or --workers 1")
    require_free(address)
    sockets = _bind(address, share=True)
    return f"{address.rpartition(':')[0]}:{sockets[0].getsockname()[1]}", sockets


def _bind(address: str, *, share: bool) -> list[socket.socket]:
    """A socket at each of a host's addresses that this machine has, all at one port."""
    try:
        host, port = host_and_port(address, lowest_port=0)
    except ValueError as error:
        raise StartError(f"--address {address!r}: {error}") from None
    try:
        found = dict.fromkeys(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE))
    except (socket.gaierror, UnicodeError) as error:
        raise StartError(f"--address {address}: no such host ({error})") from error
    for tries in range(1 if port else TRIES, 0, -1):  # the system gives a port that is free at one of the addresses
        try:
            return _bind_all(found, port, share=share)
        except OSError as error:
            if tries == 1:
                raise StartError(
                    f"cannot listen on {address}: {error.strerror}; give another --address or stop what listens there"
                ) from error
    raise AssertionError  # the last try has returned or raised


def _bind_all(found: Iterable[tuple[Any, ...]], port: int, *, share: bool) -> list[socket.socket]:
    """Leaves out addresses that this machine lacks. Raises OSError if it lacks all, or one of the others is in use."""
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
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)  # or others could bind what does not listen
            except OSError as error:
                if error.errno not in ABSENT:
                    raise
                absent = error
            else:
                port = bound.getsockname()[1]
                sockets.append(bound)
        if absent and not sockets:
            raise absent
        stack.pop_all()
    return sockets


def _require_free_socket(address: str) -> None:
    path = Path(address.removeprefix(UNIX))
    try:
        require_socket_path(address.removeprefix(UNIX))
    except ValueError as error:
        raise StartError(f"--address {address!r}: {error}") from None
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            if not path.parent.is_dir():
                raise StartError(f"cannot listen on {address}: there is no folder {path.parent}")
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return  # there is no socket, or one that a server left behind
        except OSError as error:
            raise StartError(f"cannot listen on {address}: {error.strerror or error}") from error
    raise StartError(f"cannot listen on {address}: a server listens there; stop it or give another --address")
