"""`grpc.health.v1`: SERVING while the server is ready, NOT_SERVING before, and as soon as it drains."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer

Send = Callable[[HealthCheckResponse | None], None]


@dataclass(eq=False)
class _Watch:
    """One call of Watch. Its lock is held while a status is sent, so that the last one sent is the last one set."""

    status: Callable[[], int]
    send: Send
    told: int | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self) -> None:
        """Sends the status as it is now, unless that was the last one sent."""
        with self.lock:
            told, self.told = self.told, self.status()
            if self.told != told:
                self.send(HealthCheckResponse(status=self.told))

    def end(self) -> None:
        """Ends it with OK."""
        with self.lock:
            self.send(None)


class Health(HealthServicer):  # type: ignore[misc] # grpc_health is untyped
    """The servicer. A send waits for grpcio's one thread of events, and that thread reports the calls that have ended.

    So it must never wait for a send, as it does in the library's own servicer, which holds one lock for both
    (grpcio-health-checking 1.81): a few callers that watch and leave together stop such a server indefinitely.
    """

    def __init__(self, *services: str) -> None:
        self._statuses = dict.fromkeys(("", *services), HealthCheckResponse.NOT_SERVING)
        self._watches: set[_Watch] = set()  # each change and each copy is one step of the interpreter: no lock

    def set_serving(self, serving: bool) -> None:
        """Sets the status of all services."""
        status = HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING
        self._statuses = dict.fromkeys(self._statuses, status)
        for watch in list(self._watches):
            watch.tell()

    def end_watches(self) -> None:
        for watch in list(self._watches):
            watch.end()

    def Check(self, request: Any, context: grpc.ServicerContext) -> HealthCheckResponse:  # noqa: N802 gRPC's name
        if request.service not in self._statuses:
            context.set_code(grpc.StatusCode.NOT_FOUND)
        return HealthCheckResponse(status=self._statuses.get(request.service))

    def Watch(self, request: Any, context: grpc.ServicerContext, send_response_callback: Send) -> None:  # noqa: N802
        unknown = HealthCheckResponse.SERVICE_UNKNOWN
        watch = _Watch(lambda: self._statuses.get(request.service, unknown), send_response_callback)
        self._watches.add(watch)
        if not context.add_callback(lambda: self._watches.discard(watch)):
            self._watches.discard(watch)  # it has ended already
        watch.tell()

    Watch.experimental_non_blocking = True  # type: ignore[attr-defined] # grpcio's: no thread waits with a watch
