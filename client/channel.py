"""The connections: how gRPC balances between servers, reconnects, and asks for their health."""

from __future__ import annotations

import json

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

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
