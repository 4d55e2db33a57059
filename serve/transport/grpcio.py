"""The grpcio transport: every service on grpcio's own server.

It serves alone, or behind the native frontend on a Unix socket, where it gets the calls that the frontend passes on.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from functools import partial
from typing import NoReturn, TypeAlias

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from digits.protos.address import UNIX
from digits.serve.errors import CallError, Draining, StartError, StreamsFull, call_error
from digits.serve.job import FOREVER, Request, WaitingJob
from digits.serve.oip.model_info import shortened
from digits.serve.pictures import Decoders, Pictures
from digits.serve.process.threads import CallThreads, Pool
from digits.serve.queue import JobQueue
from digits.serve.services import DIGITS, INFERENCE, Services
from digits.serve.settings import ServeSettings
from digits.serve.transport.health import Health
from digits.serve.transport.stream import STREAM_METHODS, Stream, StreamMethod
from digits.serve.transport.transport import LINGER, MAX_METADATA_BYTES, Transport

UNBOUNDED = 2**31 - 1
REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"
GZIP = 0b101  # grpcio's algorithms by number: 0 is none, 1 is deflate, which the native frontend lacks, 2 is gzip

Context = grpc.ServicerContext
Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"


class GrpcioTransport(Transport):
    """On grpcio's sync server, since grpc.aio's does not drain (grpc#37239).

    Its handlers take bytes and give bytes: grpcio would answer a malformed message with INTERNAL.
    """

    calls_hold_threads = True

    def __init__(
        self, settings: ServeSettings, services: Services, threads: CallThreads, *, reuse_port: bool = False
    ) -> None:
        self._services = services
        self._queue = JobQueue(settings)
        self.sources = [self._queue]
        self.decoders = Decoders(self._queue, settings.max_queue_size)  # put jobs with pictures into the queue
        self.health = Health(DIGITS.full_name, INFERENCE.full_name)
        self._max_streams = threads.streams
        self._streams: set[Stream] = set()
        self._ending = False
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
                # As the native frontend does (docs/reference/wire.md):
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
        """Stops when every answer has been sent, at `end` of time.monotonic() at the latest; whether all were.

        Every stream ends once what was read of it is answered: an open stream would hold up a drain.
        """
        time.sleep(LINGER)
        timeout = max(LINGER, end - time.monotonic())
        stopped = self._server.stop(timeout)
        self.health.end_watches()
        self._ending = True
        for stream in list(self._streams):
            stream.end()
        return stopped.wait(timeout)

    def _register(self) -> None:
        unary = {path: partial(self._run_model, parse) for path, parse in self._services.hot.items()} | {
            path: lambda message, _context, respond=respond: respond(message)
            for path, respond in self._services.cold.items()
        }
        for service in (DIGITS, INFERENCE):
            handlers: dict[str, Handler] = {}
            for method in service.methods:
                path = f"/{service.full_name}/{method.name}"
                handlers[method.name] = (
                    grpc.stream_stream_rpc_method_handler(partial(self._stream, STREAM_METHODS[path]))
                    if path in STREAM_METHODS
                    else grpc.unary_unary_rpc_method_handler(partial(self._answer, unary[path]))
                )
            self._server.add_registered_method_handlers(service.full_name, handlers)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        names = (DIGITS.full_name, INFERENCE.full_name, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
        _add_reflection(self._server, names)
        self._server.add_generic_rpc_handlers((Unserved(),))

    def _bind(self, address: str) -> str:
        """The address with its real port."""
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise StartError(f"cannot listen on {address}: something else is there; give another --address") from error
        return address if address.startswith(UNIX) else f"{address.rpartition(':')[0]}:{port}"

    def _answer(self, respond: Callable[[bytes, Context], bytes], message: bytes, context: Context) -> bytes:
        try:
            return respond(message, context)
        except CancelledError:
            return b""  # the caller is gone
        except Exception as error:  # noqa: BLE001 answered with a status
            self._abort(context, call_error("a call failed", error))

    def _run_model(self, parse: Callable[[bytes], Request], message: bytes, context: Context) -> bytes:
        job = self._submit(_deadline(context), partial(parse, message))
        if not context.add_callback(job.cancel):
            job.cancel()  # the call has ended already
        return job.outcome.result()

    def _stream(self, method: StreamMethod, messages: Iterator[bytes], context: Context) -> Iterator[bytes]:
        if len(self._streams) >= self._max_streams:
            self._abort(context, StreamsFull(f"{self._max_streams} streams are open; close one, or try another server"))
        stream = Stream(method, messages, self._services, partial(self._submit, _deadline(context)))
        self._streams.add(stream)
        try:
            if self._ending:
                stream.end()
            if context.add_callback(stream.cancel):
                yield from stream
        except CallError as error:
            self._abort(context, error)
        finally:
            self._streams.discard(stream)
        if stream.cut_short:
            self._abort(context, Draining())

    def _submit(self, deadline: float, parse: Callable[[], Request]) -> WaitingJob:
        request = self._services.accept(parse)
        job = WaitingJob(request, deadline)
        if isinstance(request, Pictures):
            self.decoders.put(job, request)
        else:
            self._queue.put(job)
        return job

    def _abort(self, context: Context, error: CallError) -> NoReturn:
        """The one place where an error becomes a status of grpcio's."""
        self._services.count(error)
        # A gRPC client that retries by its service config waits for as long as the second key says (gRFC A6). The
        # native frontend rejects that key.
        pushback = (("grpc-retry-pushback-ms", str(error.retry_after_ms)),) if error.retry_after_ms else ()
        context.set_trailing_metadata((*error.trailing_metadata, *pushback))
        context.abort(grpc.StatusCode[error.code], str(error))
        raise AssertionError  # abort has raised


class Unserved(grpc.GenericRpcHandler):
    """Names a method that is not served, such as Triton's for shared memory; grpcio itself says only "not found"."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        method = shortened(handler_call_details.method)

        def refuse(_messages: Iterator[bytes], context: Context) -> Iterator[bytes]:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{method} is not served; reflection lists what is")
            raise AssertionError  # abort has raised

        return grpc.stream_stream_rpc_method_handler(refuse)


def _deadline(context: Context) -> float:
    """When the caller stops waiting, on the clock of time.monotonic()."""
    remaining: float | None = context.time_remaining()  # None without a deadline, whatever its types say
    return FOREVER if remaining is None else time.monotonic() + remaining


def _add_reflection(server: grpc.Server, services: Sequence[str]) -> None:
    """Describes these services and itself, as `v1` and, for older clients, as grpcio-reflection's `v1alpha`."""
    alpha = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
    text = text_format.MessageToString(alpha).replace("v1alpha", "v1")  # on the wire and in its messages the same
    v1 = text_format.Parse(text, descriptor_pb2.FileDescriptorProto())
    descriptor_pool.Default().AddSerializedFile(v1.SerializeToString())
    servicer = reflection.ReflectionServicer((*services, REFLECTION_V1, reflection.SERVICE_NAME))
    handler: Handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in (REFLECTION_V1, reflection.SERVICE_NAME):
        server.add_registered_method_handlers(name, {"ServerReflectionInfo": handler})
