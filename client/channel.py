"""The connections: how gRPC is told to balance, to try again and to connect anew."""

from __future__ import annotations

import json

SERVICE = "digits.v1.DigitClassifier"
# gRPC's own retries (gRFC A6): a call that no server took is sent again, but not into an outage. Streams go without:
# grpcio 1.85 loses a message now and then that is sent while it tries again; the pipeline does that itself.
# By its health, a server that drains is left before it refuses a call (gRFC A17).
SERVICE_CONFIG = {
    "methodConfig": [
        {"name": [{"service": SERVICE, "method": "ClassifyStream"}]},
        {
            "name": [{"service": SERVICE}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 3,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        },
    ],
    "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": SERVICE},
}
OPTIONS: list[tuple[str, str | int]] = [
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # or all channels to an address would share one connection
    # By default a lost server is looked for after 1 s, in the end each 2 minutes: all the tries above would be in vain.
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
