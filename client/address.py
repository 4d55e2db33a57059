"""The check of a server's address: any target that gRPC can reach."""

from __future__ import annotations

import socket

from digits.client.errors import AddressError
from digits.protos.address import host_and_port, require_ip_and_port, require_socket_path

FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}  # the schemes that list addresses
UNCHECKED = {"vsock", "xds"}  # gRPC's schemes of special networks


def check(address: str) -> None:
    """Raises AddressError for an address that no server can have."""
    scheme, _, rest = address.partition(":")
    try:
        if scheme in {"unix", "unix-abstract"}:
            require_socket_path(rest)
        elif scheme in FAMILIES:
            for each in _without_authority(rest).split(","):
                require_ip_and_port(each, FAMILIES[scheme], lowest_port=1)
        elif scheme not in UNCHECKED:
            host_and_port(_without_authority(rest) if scheme == "dns" else address, lowest_port=1)
    except ValueError as error:
        raise AddressError(f"address {address!r}: {error}") from None


def _without_authority(rest: str) -> str:
    """What comes after the //AUTHORITY/ of a URI, if there is one."""
    return rest[2:].partition("/")[2] if rest.startswith("//") else rest
