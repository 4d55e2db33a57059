"""grpcio's calls: each handler's way from the bytes of a call to a job, and from its outcome to a status."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from functools import partial
from typing import NoReturn

import grpc

from digits.serve.errors import CallError, Draining, StreamsFull, internal_error
from digits.serve.job import FOREVER, Request, WaitingJob
from digits.serve.oip.model_info import shortened
from digits.serve.pictures import Decoders, Pictures
from digits.serve.queue import JobQueue
from digits.serve.services import Services
from digits.serve.transport.stream import STREAM_METHODS, Stream, StreamMethod

Context = grpc.ServicerContext
Handlers = dict[str, "grpc.RpcMethodHandler[bytes, bytes]"]


class GrpcioCalls:
    """Handlers of all methods. Bytes in, bytes out: grpcio would answer a malformed message with INTERNAL."""

    def __init__(self, services: Services, queue: JobQueue, decoders: Decoders, max_streams: int) -> None:
        """At most `max_streams` streams may be open."""
        self._services = services
        self._queue = queue
        self._decoders = decoders
        self._max_streams = max_streams
        self._streams: set[Stream] = set()
        self._ending = False

    def handlers(self) -> Handlers:
        """By the full names of the methods."""
        unary = {path: partial(self._run_model, parse) for path, parse in self._services.hot.items()} | {
            path: lambda message, _context, respond=respond: respond(message)
            for path, respond in self._services.cold.items()
        }
        found: Handlers = {}
        for path, respond in unary.items():
            found[path] = grpc.unary_unary_rpc_method_handler(partial(self._answer, respond))
        for path, method in STREAM_METHODS.items():
            found[path] = grpc.stream_stream_rpc_method_handler(partial(self._stream, method))
        return found

    def end_streams(self) -> None:
        """Ends every stream once what was read of it is answered: an open stream would hold up a drain."""
        self._ending = True
        for stream in list(self._streams):
            stream.end()

    def _run_model(self, parse: Callable[[bytes], Request], message: bytes, context: Context) -> bytes:
        job = self._submit(_deadline(context), self._services.accept(parse, message))
        if not context.add_callback(job.cancel):
            job.cancel()  # the call has ended already
        return job.outcome.result()

    def _answer(self, respond: Callable[[bytes, Context], bytes], message: bytes, context: Context) -> bytes:
        try:
            return respond(message, context)
        except CancelledError:
            return b""  # the caller is gone
        except CallError as error:
            self._abort(context, error)
        except Exception as unforeseen:  # noqa: BLE001 the caller gets its id, the log has all of it
            self._abort(context, internal_error("a call failed", unforeseen))

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

    def _submit(self, deadline: float, request: Request) -> WaitingJob:
        job = WaitingJob(request, deadline)
        if isinstance(request, Pictures):
            self._decoders.put(job, request)
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

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        method = shortened(handler_call_details.method)

        def refuse(_messages: Iterator[bytes], context: Context) -> Iterator[bytes]:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{method} is not served; reflection lists what is")
            raise AssertionError  # abort has raised

        return grpc.stream_stream_rpc_method_handler(refuse)


def _deadline(context: Context) -> float:
    """When the caller stops waiting, on the clock of time.monotonic()."""
    remaining: float | None = context.time_remaining()  # None without a deadline, whatever its types say
    return FOREVER if remaining is None else time.monotonic() + remaining
