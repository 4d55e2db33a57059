"""The connections: how gRPC is told to balance and to connect anew."""

from __future__ import annotations

import json

SERVICE = "digits.v1.DigitClassifier"
# By its health, a server that drains is left before it refuses a call (gRFC A17). There is no retryPolicy: the client
# retries by itself, until the time of a call is over, where gRPC would give up after 5 tries.
SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": SERVICE},
}
OPTIONS: list[tuple[str, str | int]] = [
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # or all channels to an address would share one connection
    # By default a lost server is looked for after 1 s, in the end each 2 minutes: all retries would be in vain.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


def options(address: str) -> list[tuple[str, str | int]]:
    """The options of a channel to an address."""
    if "," not in address:
        return OPTIONS
    # gRPC would name all of a list's addresses as the authority of each call, which HTTP does not allow.
    first = address.partition(":")[2].lstrip("/").partition(",")[0]
    return [*OPTIONS, ("grpc.default_authority", first)]
