"""The addresses of servers: HOST:PORT, [IPV6]:PORT and unix:PATH, by one set of rules for the server and the client.

They are checked before gRPC sees them: gRPC tries some addresses that cannot exist, and logs lines of its own.
Every function raises ValueError with what is wrong and what is expected.
"""

from __future__ import annotations

import os
import re
import socket

UNIX = "unix:"
ENDPOINT = re.compile(r"(?:(?P<name>[\w.-]+)|\[(?P<ipv6>[\da-fA-F:.]+)(?P<zone>%[\w.-]+)?\]):(?P<port>[0-9]{1,5})")
MAX_PORT = 65535
LONGEST_PATH = 107  # bytes: the kernel has room for 108, with the NUL at the end
NOT_IN_A_PATH = "\0%?#"  # gRPC reads a path as a URI, and would take another one


def host_and_port(text: str, *, lowest_port: int) -> tuple[str, int]:
    """The parts of HOST:PORT or [IPV6]:PORT, the host without brackets."""
    found = ENDPOINT.fullmatch(text)
    if not found or not lowest_port <= int(found["port"]) <= MAX_PORT:
        raise ValueError(_expected(lowest_port))
    if found["name"]:
        return found["name"], int(found["port"])
    _require_ip(found["ipv6"], socket.AF_INET6, lowest_port)
    return found["ipv6"] + (found["zone"] or ""), int(found["port"])


def require_ip_and_port(text: str, family: socket.AddressFamily, *, lowest_port: int) -> None:
    """Accepts an address of that family and a port, and no host name."""
    host, _ = host_and_port(text, lowest_port=lowest_port)
    _require_ip(host.partition("%")[0], family, lowest_port)


def require_socket_path(path: str) -> None:
    """Accepts what may stand after `unix:`."""
    size = len(os.fsencode(path))
    if not 0 < size <= LONGEST_PATH:
        raise ValueError(f"the path has {size} bytes; expected 1 to {LONGEST_PATH}")
    if not set(path).isdisjoint(NOT_IN_A_PATH) or re.match("//(?!/)", path):
        raise ValueError("expected unix:PATH or unix:///PATH, and in the path no NUL, %, ? or #")


def _require_ip(host: str, family: socket.AddressFamily, lowest_port: int) -> None:
    try:
        socket.inet_pton(family, host)
    except OSError:
        raise ValueError(f"{host!r} is not an IP address; {_expected(lowest_port)}") from None


def _expected(lowest_port: int) -> str:
    return f"expected HOST:PORT with a port of {lowest_port} to {MAX_PORT}, [IPV6]:PORT or unix:PATH"
