"""gRPC's health protocol, as far as a client asks. It is imported with the first question, since that takes a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from digits.client.channel import SERVICE

if TYPE_CHECKING:
    from typing import Any

    import grpc

CHECK = HealthCheckRequest(service=SERVICE)


def check_of(channel: grpc.Channel | grpc.aio.Channel) -> Any:
    """The method that takes a CHECK, by either kind of channel."""
    return HealthStub(channel).Check


def is_serving(answer: HealthCheckResponse) -> bool:
    return bool(answer.status == HealthCheckResponse.SERVING)
