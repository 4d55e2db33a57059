"""`grpc.health.v1`: SERVING while the server is ready, NOT_SERVING before, and as soon as it drains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grpc_health.v1.health import HealthServicer
from grpc_health.v1.health_pb2 import HealthCheckResponse

if TYPE_CHECKING:
    from collections.abc import Callable


class Health(HealthServicer):  # type: ignore[misc] # grpc_health is untyped
    """The library's servicer, whose watches can be ended: one that stays open would hold up a drain."""

    def __init__(self, *services: str) -> None:
        super().__init__()
        self._watches: list[Callable[[Any], None]] = []
        self._services = ("", *services)
        for service in self._services:
            self.set(service, HealthCheckResponse.NOT_SERVING)

    def enter_service(self) -> None:
        for service in self._services:
            self.set(service, HealthCheckResponse.SERVING)

    def Watch(  # noqa: N802 gRPC's name
        self,
        request: Any,
        context: Any,
        send_response_callback: Callable[[Any], None],
    ) -> None:
        self._watches.append(send_response_callback)
        if not context.add_callback(lambda: self._watches.remove(send_response_callback)):
            self._watches.remove(send_response_callback)  # it has ended already
        super().Watch(request, context, send_response_callback)

    def end_watches(self) -> None:
        """Ends every watch with OK, after it was told what there is to tell."""
        for end in list(self._watches):
            end(None)
