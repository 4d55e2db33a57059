"""The grpcio transport: every service on grpcio's own server, its calls on the way to the queue and back.

It serves alone, or behind the native front on a Unix socket, where it gets what the front does not take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from digits.protos.address import UNIX
from digits.serve.errors import StartError
from digits.serve.process.threads import Pool
from digits.serve.services import DIGITS, INFERENCE
from digits.serve.transport.calls import GrpcioCalls, Unserved
from digits.serve.transport.choice import MAX_METADATA_BYTES
from digits.serve.transport.health import Health
from digits.serve.transport.reflection import add_reflection

if TYPE_CHECKING:
    from digits.serve.pictures import Decoders
    from digits.serve.process.threads import CallThreads
    from digits.serve.queue import JobQueue
    from digits.serve.services import Services
    from digits.serve.settings import ServeSettings

UNBOUNDED = 2**31 - 1
GZIP = 0b101  # grpcio's algorithms by number: 0 is none, 1 is deflate, which the native front does not know, 2 is gzip


class GrpcioTransport:
    """Turns calls into jobs and answers them. On grpcio's sync server, since grpc.aio's does not drain (grpc#37239)."""

    def __init__(
        self,
        settings: ServeSettings,
        services: Services,
        queue: JobQueue,
        decoders: Decoders,
        address: str,
        *,
        threads: CallThreads,
        reuse_port: bool = False,
    ) -> None:
        """Binds the address without serving it yet. Raises StartError if it cannot be had.

        Args:
            settings: The limits.
            services: What the methods do.
            queue: Where jobs go.
            decoders: Where jobs with pictures go first.
            address: HOST:PORT or unix:PATH.
            threads: How many calls may be in progress.
            reuse_port: Whether other processes listen at the same port.
        """
        self._calls = GrpcioCalls(services, queue, decoders, threads.streams)
        self.health = Health(DIGITS.full_name, INFERENCE.full_name)
        self._server = grpc.server(
            Pool(threads.calls, "call"),
            maximum_concurrent_rpcs=threads.calls,
            options=[
                ("grpc.so_reuseport", int(reuse_port)),  # or a second server on a busy port would succeed
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                ("grpc.max_send_message_length", -1),
                # Or grpcio would end some of a burst of calls with CANCELLED, from the 1,000th that waits for a thread.
                ("grpc.server.max_pending_requests", UNBOUNDED),
                ("grpc.server.max_pending_requests_hard_limit", UNBOUNDED),
                # As the native front does (docs/reference/wire.md):
                ("grpc.http2.max_ping_strikes", 0),  # or keepalive pings within five minutes would end the connection
                ("grpc.max_metadata_size", MAX_METADATA_BYTES),
                ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),  # or some would be taken, up to 5/4 of it
                *([] if threads.batched else [("grpc.compression_enabled_algorithms_bitset", GZIP)]),
            ],
        )
        self._register()
        self.address = self._bind(address)

    def start(self) -> None:
        self._server.start()

    def stop(self, timeout: float) -> bool:
        """Ends when every answer has been sent, after `timeout` seconds at the latest; whether it was in time."""
        stopped = self._server.stop(timeout)
        self.health.end_watches()
        self._calls.end_streams()
        return stopped.wait(timeout)

    def _register(self) -> None:
        handlers = self._calls.handlers()
        for service in (DIGITS, INFERENCE):
            paths = {method.name: f"/{service.full_name}/{method.name}" for method in service.methods}
            methods = {name: handlers[path] for name, path in paths.items()}
            self._server.add_registered_method_handlers(service.full_name, methods)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        names = (DIGITS.full_name, INFERENCE.full_name, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
        add_reflection(self._server, names)
        self._server.add_generic_rpc_handlers((Unserved(),))

    def _bind(self, address: str) -> str:
        """The address with its real port."""
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise StartError(f"cannot listen on {address}: something else is there; give another --address") from error
        return address if address.startswith(UNIX) else f"{address.rpartition(':')[0]}:{port}"
