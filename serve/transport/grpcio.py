"""The grpcio transport: every service on grpcio's own server.

It serves alone, or behind the native frontend on a Unix socket, where it gets the calls that the frontend passes on.
"""

import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from digits.protos.address import UNIX
from digits.serve.errors import StartError
from digits.serve.pictures import Decoders
from digits.serve.process.threads import CallThreads, Pool
from digits.serve.queue import JobQueue
from digits.serve.services import DIGITS, INFERENCE, Services
from digits.serve.settings import ServeSettings
from digits.serve.transport.calls import GrpcioCalls, Unserved
from digits.serve.transport.health import Health
from digits.serve.transport.reflection import add_reflection
from digits.serve.transport.transport import LINGER, MAX_METADATA_BYTES, Transport

UNBOUNDED = 2**31 - 1
GZIP = 0b101  # grpcio's algorithms by number: 0 is none, 1 is deflate, which the native frontend lacks, 2 is gzip


class GrpcioTransport(Transport):
    """On grpcio's sync server, since grpc.aio's does not drain (grpc#37239).

    Attributes:
        decoders: Decode the pictures of jobs, then put them into the queue.
    """

    calls_hold_threads = True

    def __init__(
        self, settings: ServeSettings, services: Services, threads: CallThreads, *, reuse_port: bool = False
    ) -> None:
        self._queue = JobQueue(settings)
        self.sources = [self._queue]
        self.decoders = Decoders(self._queue, settings.max_queue_size)
        self._calls = GrpcioCalls(services, self._queue, self.decoders, threads.streams)
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
                # As the native frontend does (docs/wire.md):
                ("grpc.http2.max_ping_strikes", 0),  # or keepalive pings within five minutes would end the connection
                ("grpc.max_metadata_size", MAX_METADATA_BYTES),
                ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),  # or up to 5/4 of it would be accepted
                *([] if threads.batched else [("grpc.compression_enabled_algorithms_bitset", GZIP)]),
            ],
        )
        self._register()
        self.address = self._bind(settings.address)
        self.warmup_address = None if reuse_port else self.address  # at a shared port another worker would answer

    def start(self) -> None:
        self._server.start()

    def drain(self, end: float) -> bool:
        self.close_queue(end)
        return self.stop(end)

    def close_queue(self, end: float) -> None:
        """Accepts no more jobs once all pictures are decoded, at `end` of time.monotonic() at the latest."""
        self.decoders.drain(end - time.monotonic())
        self._queue.close()

    def stop(self, end: float) -> bool:
        """Stops when every answer has been sent, at `end` of time.monotonic() at the latest; whether all were."""
        time.sleep(LINGER)
        timeout = max(LINGER, end - time.monotonic())
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
