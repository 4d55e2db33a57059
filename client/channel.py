"""The connections: their addresses, and how gRPC balances between servers, reconnects, and asks for their health."""

import json
import socket

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from digits.client.errors import AddressError
from digits.protos.address import host_and_port, require_ip_and_port, require_socket_path

FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}  # the schemes that list addresses
UNCHECKED = {"vsock", "xds"}  # gRPC's schemes of special networks

SERVICE = "digits.v1.DigitClassifier"
HEALTH_CHECK = HealthCheckRequest(service=SERVICE)
SERVING = HealthCheckResponse.SERVING
# A server that drains says so by its health, and is left before it refuses a call (gRFC A17). There is no retryPolicy:
# gRPC gives up after 5 tries, and the client retries until the time of a call is over.
SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": SERVICE},
}
OPTIONS: list[tuple[str, str | int]] = [
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # or all channels to an address would share one connection
    # By default gRPC looks for a lost server after 1 s, and in the end every 2 minutes: all retries would be in vain.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


def channel_options(address: str) -> list[tuple[str, str | int]]:
    if "," not in address:
        return OPTIONS
    # gRPC would name all of a list's addresses as the authority of each call, which HTTP does not allow.
    first = address.partition(":")[2].lstrip("/").partition(",")[0]
    return [*OPTIONS, ("grpc.default_authority", first)]


def check_address(address: str) -> None:
    """Accepts any target that gRPC can reach. Raises AddressError for an address that no server can have."""
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
