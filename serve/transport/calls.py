"""grpcio's calls: each handler's way from the bytes of a call to a job, and from its outcome to a status."""

from __future__ import annotations

import time
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import grpc

from digits.serve.errors import CallError, Draining, StreamsFull, internal_error
from digits.serve.job import FOREVER, Job
from digits.serve.oip.model_info import shortened
from digits.serve.pictures import Pictures
from digits.serve.transport.stream import STREAM_METHODS, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from digits.serve.job import Request
    from digits.serve.pictures import Decoders
    from digits.serve.queue import JobQueue
    from digits.serve.services import Services
    from digits.serve.transport.stream import StreamMethod

    Handlers = dict[str, grpc.RpcMethodHandler[bytes, bytes]]
    Respond = Callable[[bytes, grpc.ServicerContext], bytes]


class CallJob(Job):
    """A call that a thread of grpcio's waits for."""

    __slots__ = ("outcome",)

    def __init__(self, request: Request, deadline: float) -> None:
        super().__init__(request, time.monotonic(), deadline)
        self.outcome: Future[bytes] = Future()

    def answer(self, response: bytes) -> None:
        self.outcome.set_result(response)

    def fail(self, error: CallError) -> None:
        self.outcome.set_exception(error)

    def drop(self) -> None:
        self.outcome.cancel()


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
        hot = {path: partial(self._run_model, parse) for path, parse in self._services.hot.items()}
        cold = {path: partial(_respond_at_once, respond) for path, respond in self._services.cold.items()}
        unary: Handlers = {
            path: grpc.unary_unary_rpc_method_handler(partial(self._answer, each))
            for path, each in (hot | cold).items()
        }
        streaming: Handlers = {
            path: grpc.stream_stream_rpc_method_handler(partial(self._stream, method(self._services)))
            for path, method in STREAM_METHODS.items()
        }
        return unary | streaming

    def end_streams(self) -> None:
        """Ends every stream once what was read of it is answered: an open stream would hold up a drain."""
        self._ending = True
        for stream in list(self._streams):
            stream.end()

    def _run_model(self, parse: Callable[[bytes], Request], message: bytes, context: grpc.ServicerContext) -> bytes:
        job = self._submit(_deadline(context), self._services.accept(parse, message))
        if not context.add_callback(job.cancel):
            job.cancel()  # the call has ended already
        return job.outcome.result()

    def _answer(self, respond: Respond, message: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return respond(message, context)
        except CancelledError:
            return b""  # the caller is gone
        except CallError as error:
            self._abort(context, error)
        except Exception as unforeseen:  # noqa: BLE001 the caller gets its id, the log has all of it
            self._abort(context, internal_error("a call failed", unforeseen))

    def _stream(
        self, method: StreamMethod, messages: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[bytes]:
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
            self._abort(context, Draining("the server is draining; try another one"))

    def _submit(self, deadline: float, request: Request) -> CallJob:
        job = CallJob(request, deadline)
        if isinstance(request, Pictures):
            self._decoders.put(job, request)
        else:
            self._queue.put(job)
        return job

    def _abort(self, context: grpc.ServicerContext, error: CallError) -> NoReturn:
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

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        method = shortened(handler_call_details.method)

        def refuse(_messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{method} is not served; reflection lists what is")
            raise AssertionError  # abort has raised

        return grpc.stream_stream_rpc_method_handler(refuse)


def _respond_at_once(respond: Callable[[bytes], bytes], message: bytes, _context: grpc.ServicerContext) -> bytes:
    return respond(message)


def _deadline(context: grpc.ServicerContext) -> float:
    """When the caller stops waiting, on the clock of time.monotonic()."""
    remaining: float | None = context.time_remaining()  # None without a deadline, whatever its types say
    return FOREVER if remaining is None else time.monotonic() + remaining
