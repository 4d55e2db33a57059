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
from digits.serve.transport.framing import FRAMINGS
from digits.serve.transport.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from digits.serve.job import Request
    from digits.serve.pictures import Decoders
    from digits.serve.queue import JobQueue
    from digits.serve.services import Services
    from digits.serve.transport.framing import Framing

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
    """Bytes in, bytes out: grpcio would answer a malformed message with INTERNAL if it parsed it."""

    def __init__(self, services: Services, queue: JobQueue, decoders: Decoders, max_streams: int) -> None:
        """At most `max_streams` streams are open at the same time."""
        self._services = services
        self._queue = queue
        self._decoders = decoders
        self._max_streams = max_streams
        self._streams: set[Stream] = set()
        self._ending = False

    def handlers(self) -> dict[str, grpc.RpcMethodHandler[bytes, bytes]]:
        """Handlers of all methods, by their full names."""
        hot = {method: self._waits_for_a_batch(parse) for method, parse in self._services.hot.items()}
        cold = {method: self._at_once(respond) for method, respond in self._services.cold.items()}
        unary: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            method: grpc.unary_unary_rpc_method_handler(self._guarded(each)) for method, each in (hot | cold).items()
        }
        streaming: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            method: grpc.stream_stream_rpc_method_handler(partial(self._stream, framing))
            for method, framing in FRAMINGS.items()
        }
        return unary | streaming

    def end_streams(self) -> None:
        """Ends every stream once what was read of it is answered: one that stays open would hold up a drain."""
        self._ending = True
        for stream in list(self._streams):
            stream.end()

    def _waits_for_a_batch(self, parse: Callable[[bytes], Request]) -> Respond:
        def respond(message: bytes, context: grpc.ServicerContext) -> bytes:
            job = CallJob(self._services.accept(parse, message), _deadline(context))
            if not context.add_callback(job.cancel):
                return b""  # it has ended already
            self._submit(job)
            return job.outcome.result()

        return respond

    def _at_once(self, answer: Callable[[bytes], bytes]) -> Respond:
        return lambda message, _context: answer(message)

    def _guarded(self, respond: Respond) -> Respond:
        def guarded(message: bytes, context: grpc.ServicerContext) -> bytes:
            try:
                return respond(message, context)
            except CancelledError:
                return b""  # nobody reads it
            except CallError as error:
                self._abort(context, error)
            except Exception as unforeseen:  # noqa: BLE001 the caller gets its id, the log has it whole
                self._abort(context, internal_error("a call failed", unforeseen))

        return guarded

    def _stream(self, framing: Framing, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        if len(self._streams) >= self._max_streams:
            self._abort(context, StreamsFull(f"{self._max_streams} streams are open; close one, or try another server"))
        stream = Stream(framing, messages, self._services, self._submit, _deadline(context))
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

    def _submit(self, job: Job) -> None:
        if isinstance(job.request, Pictures):
            self._decoders.put(job, job.request)
        else:
            self._queue.put(job)

    def _abort(self, context: grpc.ServicerContext, error: CallError) -> NoReturn:
        """The one place where an error becomes a status of grpcio's."""
        self._services.count(error)
        # A gRPC client that retries by its service config waits for as long as the second key says (gRFC A6). The
        # native frontend refuses that key.
        pushback = (("grpc-retry-pushback-ms", str(error.retry_after_ms)),) if error.retry_after_ms else ()
        context.set_trailing_metadata((*error.trailing_metadata, *pushback))
        context.abort(grpc.StatusCode[error.code], str(error))
        raise AssertionError  # abort has raised


class Unserved(grpc.GenericRpcHandler):
    """Answers methods that there are not, such as Triton's for shared memory; grpcio says no more than "not found"."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        method = shortened(handler_call_details.method)

        def refuse(_messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{method} is not served; reflection lists what is")
            raise AssertionError  # abort has raised

        return grpc.stream_stream_rpc_method_handler(refuse)


def _deadline(context: grpc.ServicerContext) -> float:
    """When the caller stops waiting, on the clock of time.monotonic()."""
    remaining: float | None = context.time_remaining()  # None without a deadline, whatever its types say
    return FOREVER if remaining is None else time.monotonic() + remaining
