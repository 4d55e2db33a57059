"""`grpc.health.v1`: SERVING while the server is ready, NOT_SERVING before, and as soon as it drains."""

import threading
from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer

Send = Callable[[HealthCheckResponse | None], None]  # None ends a call with OK


class Health(HealthServicer):  # type: ignore[misc] # grpc_health is untyped
    """The servicer. A send waits for grpcio's one thread of events, and that thread reports the calls that have ended.

    So it must never wait for a send, as it does in the library's own servicer, which holds one lock for both
    (grpcio-health-checking 1.81): a few callers that watch and leave together stop such a server indefinitely.
    """

    def __init__(self, *services: str) -> None:
        self._statuses = dict.fromkeys(("", *services), HealthCheckResponse.NOT_SERVING)
        self._watches: set[Callable[..., None]] = (
            set()
        )  # each change and each copy is one step of the interpreter: no lock

    def set_serving(self, serving: bool) -> None:
        """Sets the status of all services."""
        status = HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING
        self._statuses = dict.fromkeys(self._statuses, status)
        for tell in list(self._watches):
            tell()

    def end_watches(self) -> None:
        for tell in list(self._watches):
            tell(end=True)

    def Check(self, request: Any, context: grpc.ServicerContext) -> HealthCheckResponse:  # noqa: N802 gRPC's name
        if request.service not in self._statuses:
            context.set_code(grpc.StatusCode.NOT_FOUND)
        return HealthCheckResponse(status=self._statuses.get(request.service))

    def Watch(self, request: Any, context: grpc.ServicerContext, send_response_callback: Send) -> None:  # noqa: N802
        lock, told = threading.Lock(), None

        def tell(*, end: bool = False) -> None:
            """Sends the status as it is now, unless that was the last one sent; or ends the call."""
            nonlocal told
            with lock:  # also while it is sent, so that the last status sent is the last one set
                status = self._statuses.get(request.service, HealthCheckResponse.SERVICE_UNKNOWN)
                if end or status != told:
                    told = status
                    send_response_callback(None if end else HealthCheckResponse(status=status))

        self._watches.add(tell)
        if not context.add_callback(lambda: self._watches.discard(tell)):
            self._watches.discard(tell)  # it has ended already
        tell()

    Watch.experimental_non_blocking = True  # type: ignore[attr-defined] # grpcio's: no thread waits with a watch
