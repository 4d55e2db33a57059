"""`ClassifyStream` and `ModelStreamInfer`: many requests on a stream, each answered, none of them able to end it."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from queue import SimpleQueue
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from digits.protos.digits.v1 import digits_pb2
from digits.protos.inference.v2 import inference_pb2
from digits.serve import classify
from digits.serve.errors import CallError, InvalidRequest, StreamsFull, internal_error
from digits.serve.job import Request, WaitingJob
from digits.serve.oip import infer
from digits.serve.services import DIGITS, INFERENCE, Services

WINDOW = 64  # requests of a stream that are in flight
FINAL = inference_pb2.InferParameter(bool_param=True)


class StreamMethod(ABC):
    """The messages of one streaming method."""

    ordered: bool  # whether answers come in the order of the requests, or as they are done

    @abstractmethod
    def read(self, message: bytes) -> tuple[str, Any]:
        """The id of a request, and the message of its call. Raises InvalidRequest if it is another message."""

    @abstractmethod
    def request(self, call: Any, services: Services) -> Request:
        """What that call asks for. Raises a CallError."""

    @abstractmethod
    def answer(self, request_id: str, outcome: bytes | CallError) -> Message:
        """The message that carries the response of a unary call, or the error."""


class ClassifyStream(StreamMethod):
    """Requests and responses of `Classify` are part of messages with an id."""

    ordered = False

    def read(self, message: bytes) -> tuple[str, Any]:
        try:
            request = digits_pb2.ClassifyStreamRequest.FromString(message)
        except DecodeError as error:
            raise InvalidRequest(f"the message is not a digits.v1.ClassifyStreamRequest: {error}") from error
        return request.request_id, request.request

    def request(self, call: Any, services: Services) -> Request:
        return classify.understand(call, services.max_batch_size)

    def answer(self, request_id: str, outcome: bytes | CallError) -> Message:
        answer = digits_pb2.ClassifyStreamResponse(request_id=request_id)
        if isinstance(outcome, CallError):
            answer.error.code = grpc.StatusCode[outcome.code].value[0]
            answer.error.message = str(outcome)
            answer.error.retry_after_ms = outcome.retry_after_ms
        else:
            answer.response.MergeFromString(outcome)
        return answer


class ModelStreamInfer(StreamMethod):
    """Messages are those of `ModelInfer`. In order, as from Triton: its clients may use no ids."""

    ordered = True

    def read(self, message: bytes) -> tuple[str, Any]:
        request = infer.read(message)
        return request.id, request

    def request(self, call: Any, services: Services) -> Request:
        return infer.understand(call, services.model, services.max_batch_size)

    def answer(self, request_id: str, outcome: bytes | CallError) -> Message:
        response = inference_pb2.ModelInferResponse(id=request_id, parameters={"triton_final_response": FINAL})
        if isinstance(outcome, CallError):
            return inference_pb2.ModelStreamInferResponse(infer_response=response, error_message=str(outcome))
        response.MergeFromString(outcome)
        return inference_pb2.ModelStreamInferResponse(infer_response=response)


STREAM_METHODS: dict[str, StreamMethod] = {
    f"/{DIGITS.full_name}/ClassifyStream": ClassifyStream(),
    f"/{INFERENCE.full_name}/ModelStreamInfer": ModelStreamInfer(),
}


class Stream:
    """One stream: a thread reads it and submits jobs, while the caller's thread iterates over the answers.

    Flow control is end to end: while WINDOW requests are unanswered, or their answers unread, no other is read.
    """

    def __init__(
        self,
        method: StreamMethod,
        messages: Iterator[bytes],
        services: Services,
        submit: Callable[[Request], WaitingJob],
    ) -> None:
        """`submit` makes a job of a request and puts it into the queue, or raises a CallError."""
        self._method = method
        self._messages = messages
        self._services = services
        self._submit = submit
        self._outcomes: SimpleQueue[tuple[str, Future[bytes]] | None] = SimpleQueue()  # None: no more are read
        self._window = threading.Semaphore(WINDOW)
        self._jobs: set[WaitingJob] = set()  # that are not answered
        self._read = 0
        self._ended = self._all_read = False

    def __iter__(self) -> Iterator[bytes]:
        """The answers; ends when all requests are read and answered, after `end`, or when the caller is gone."""
        try:
            threading.Thread(target=self._read_all, name="stream", daemon=True).start()
        except RuntimeError as error:  # other processes took its place since the server counted its threads
            raise StreamsFull(f"another stream cannot be read ({error}); close one, or try another server") from error
        reading, answered = True, 0
        while reading or answered < self._read:
            if (outcome := self._outcomes.get()) is None:
                reading = False
                continue
            try:
                message = self._answer(*outcome)
            except CancelledError:
                return  # the caller is gone
            yield message
            answered += 1
            self._window.release()

    @property
    def cut_short(self) -> bool:
        """Whether it ended before its caller had sent everything."""
        return self._ended and not self._all_read

    def end(self) -> None:
        """Reads no more; what was read is answered."""
        self._ended = True
        self._window.release()
        self._outcomes.put(None)

    def cancel(self) -> None:
        """Records that the caller is gone."""
        self.end()
        for job in list(self._jobs):
            job.cancel()

    def _answer(self, request_id: str, outcome: Future[bytes]) -> bytes:
        try:
            return self._method.answer(request_id, outcome.result()).SerializeToString()
        except CallError as error:
            self._services.count(error)
            return self._method.answer(request_id, error).SerializeToString()

    def _read_all(self) -> None:
        try:
            for message in self._messages:
                self._window.acquire()
                if self._ended:
                    break
                self._read += 1
                self._take(message)
            else:
                self._all_read = True
        except Exception:  # noqa: BLE001, S110 the caller is gone: grpcio's iterator raises a bare Exception
            pass
        self._outcomes.put(None)

    def _take(self, message: bytes) -> None:
        request_id, outcome = "", Future[bytes]()
        try:
            request_id, call = self._method.read(message)
            job = self._submit(self._services.accept(lambda asked: self._method.request(asked, self._services), call))
            outcome = job.outcome
            self._jobs.add(job)
            outcome.add_done_callback(lambda _: self._jobs.discard(job))
        except CallError as error:
            outcome.set_exception(error)
        except Exception as unforeseen:  # noqa: BLE001 the caller gets its id, the log has all of it
            outcome.set_exception(internal_error("a request of a stream failed", unforeseen))
        if self._method.ordered:
            self._outcomes.put((request_id, outcome))
        else:
            outcome.add_done_callback(lambda done: self._outcomes.put((request_id, done)))
