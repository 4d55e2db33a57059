"""The grpcio transport: every service on grpcio's own server, its calls on the way to the queue and back."""

from __future__ import annotations

import _thread
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import TYPE_CHECKING, NoReturn

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from digits.protos.digits.v1 import digits_pb2
from digits.serve import classify
from digits.serve.address import UNIX, require_free
from digits.serve.errors import CallError, StartError, internal_error
from digits.serve.health import Health
from digits.serve.job import Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from digits.serve.queue import JobQueue
    from digits.serve.settings import ServeSettings

    Handler = Callable[[bytes, grpc.ServicerContext], bytes]

SERVICE = digits_pb2.DESCRIPTOR.services_by_name["DigitClassifier"]
SPARE_THREADS = 16  # for calls that wait for no batch: refusals, health, reflection


class GrpcioTransport:
    """Turns calls into jobs and answers them. On grpcio's sync server, since grpc.aio's does not drain (grpc#37239)."""

    def __init__(self, settings: ServeSettings, queue: JobQueue, model_version: str, description: bytes) -> None:
        """Binds the address without serving it yet. Raises StartError if it cannot be had."""
        self._settings = settings
        self._queue = queue
        self._model_version = model_version
        self._description = description
        self._health = Health(SERVICE.full_name)
        threads = settings.max_queue_size + settings.max_batch_size + SPARE_THREADS
        _require_threads(threads)
        self._server = grpc.server(
            ThreadPoolExecutor(threads, "call"),
            maximum_concurrent_rpcs=threads,
            options=[
                ("grpc.so_reuseport", 0),  # or a second server on a busy port would succeed
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                ("grpc.max_send_message_length", -1),
                # Or grpcio would end some of a burst of calls with CANCELLED, from the 1,000th that waits for a thread.
                ("grpc.server.max_pending_requests", 2**31 - 1),
                ("grpc.server.max_pending_requests_hard_limit", 2**31 - 1),
            ],
        )
        # Bytes in, bytes out: grpcio would answer a malformed message with INTERNAL if it parsed it.
        handlers: dict[str, Handler] = {"Classify": self._classify, "GetModel": self._get_model}
        self._server.add_registered_method_handlers(
            SERVICE.full_name,
            {m.name: grpc.unary_unary_rpc_method_handler(handlers[m.name]) for m in SERVICE.methods},
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        services = (SERVICE.full_name, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
        reflection.enable_server_reflection((*services, reflection.SERVICE_NAME), self._server)
        self.address = self._bind(settings.address)

    def start(self) -> None:
        self._server.start()

    def withdraw(self) -> None:
        """Tells whoever watches health that this server is on its way out; it still serves."""
        self._health.enter_graceful_shutdown()

    def stop(self, timeout: float) -> bool:
        """Ends when every answer has been sent, after `timeout` seconds at the latest; whether it was in time."""
        stopped = self._server.stop(timeout)
        self._health.end_watches()
        return stopped.wait(timeout)

    def _bind(self, address: str) -> str:
        """The address with its real port."""
        require_free(address)
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise StartError(f"cannot listen on {address}: something else is there; give another --address") from error
        return address if address.startswith(UNIX) else f"{address.rpartition(':')[0]}:{port}"

    def _classify(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            pixels, include_probabilities = classify.parse(message, self._settings.max_batch_size)
            job = Job(pixels, deadline=_deadline(context))
            if not context.add_callback(job.cancel):
                return b""  # it has ended already
            self._queue.put(job)
            answer = job.answer.result()
            return classify.serialize(answer, self._model_version, include_probabilities=include_probabilities)
        except CancelledError:
            return b""  # nobody reads it
        except CallError as error:
            _abort(context, error)
        except Exception as unforeseen:  # noqa: BLE001 the caller gets its id, the log has it whole
            _abort(context, internal_error("Classify failed", unforeseen))

    def _get_model(self, _message: bytes, _context: grpc.ServicerContext) -> bytes:
        return self._description


def _deadline(context: grpc.ServicerContext) -> float:
    """When the caller stops waiting, on the clock of time.monotonic()."""
    remaining: float | None = context.time_remaining()  # None without a deadline, whatever its types say
    return float("inf") if remaining is None else time.monotonic() + remaining


def _abort(context: grpc.ServicerContext, error: CallError) -> NoReturn:
    """The one place where an error becomes a gRPC status."""
    context.set_trailing_metadata(error.trailing_metadata)
    context.abort(grpc.StatusCode[error.code], str(error))
    raise AssertionError  # abort has raised


def _require_threads(count: int) -> None:
    """Raises StartError unless so many threads can be had: the first that cannot would leave grpcio deaf for good."""
    enough = threading.Event()
    try:
        for _ in range(count):
            _thread.start_new_thread(enough.wait, ())  # threading.Thread waits a millisecond for each
    except RuntimeError as error:
        raise StartError(f"cannot have {count} threads here ({error}); lower --max-queue-size") from error
    finally:
        enough.set()
