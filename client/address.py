"""A server's address, checked before gRPC sees it, which tries some that cannot be, and logs its words of others."""

from __future__ import annotations

import os
import re
import socket

from digits.client.errors import AddressError

ENDPOINT = re.compile(r"(?:[\w.-]+|\[(?P<ipv6>[\da-fA-F:.]+)(?:%[\w.-]+)?\]):(?P<port>[0-9]{1,5})")
FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}  # of the schemes that list addresses
UNCHECKED = {"vsock", "xds"}  # gRPC's schemes of special networks
MAX_PORT = 65535
LONGEST_PATH = 107  # bytes: a socket's address has room for 108, and ends with NUL
NOT_IN_A_PATH = "\0%?#"  # gRPC reads a path as a URI, and would take another one

EXPECTED = f"expected HOST:PORT with a port of 1 to {MAX_PORT}, [IPV6]:PORT or unix:PATH"


def check(address: str) -> None:
    """Raises AddressError for what no server can have as its address."""
    scheme, _, rest = address.partition(":")
    if scheme in {"unix", "unix-abstract"}:
        _check_path(address, rest)
    elif scheme in FAMILIES:
        for each in _without_authority(rest).split(","):
            _check_endpoint(address, each, FAMILIES[scheme])
    elif scheme not in UNCHECKED:
        _check_endpoint(address, _without_authority(rest) if scheme == "dns" else address)


def _check_endpoint(address: str, text: str, family: socket.AddressFamily | None = None) -> None:
    """A host, of a family if one is given, and a port."""
    found = ENDPOINT.fullmatch(text)
    if not found or not 0 < int(found["port"]) <= MAX_PORT:
        raise AddressError(f"address {address!r}: {EXPECTED}")
    if found["ipv6"] is not None or family is not None:
        host = found["ipv6"] or text.rpartition(":")[0]
        try:
            socket.inet_pton(family or socket.AF_INET6, host)
        except OSError:
            raise AddressError(f"address {address!r}: {host!r} is not an IP address; {EXPECTED}") from None


def _check_path(address: str, path: str) -> None:
    size = len(os.fsencode(path))
    if not 0 < size <= LONGEST_PATH:
        raise AddressError(f"address {address!r}: the path has {size} bytes; expected 1 to {LONGEST_PATH}")
    if not set(path).isdisjoint(NOT_IN_A_PATH) or re.match("//(?!/)", path):
        raise AddressError(
            f"address {address!r}: expected unix:PATH or unix:///PATH, and in the path no NUL, %, ? or #"
        )


def _without_authority(rest: str) -> str:
    """What comes after the //AUTHORITY/ of a URI, if there is one."""
    return rest[2:].partition("/")[2] if rest.startswith("//") else rest
