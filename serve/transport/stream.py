"""`ClassifyStream` and `ModelStreamInfer`: many requests on a stream, each answered, none of them able to end it."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import NamedTuple

import grpc
from google.protobuf.message import Message

from digits.protos.digits.v1 import digits_pb2
from digits.protos.inference.v2 import inference_pb2
from digits.serve import classify
from digits.serve.errors import CallError, StreamsFull, call_error, read_message
from digits.serve.job import Request, WaitingJob
from digits.serve.oip import infer
from digits.serve.services import DIGITS, INFERENCE, Services

WINDOW = 64  # requests of a stream that are in flight
FINAL = inference_pb2.InferParameter(bool_param=True)


class StreamMethod(NamedTuple):
    """The messages of one streaming method."""

    read: Callable[[bytes, Services], tuple[str, Callable[[], Request]]]  # a request's id, and what gives the request
    answer: Callable[[str, bytes | CallError], Message]  # carries the id, and the response of a unary call or the error
    ordered: bool  # whether answers come in the order of the requests, or as they are done


def _read_classify(message: bytes, services: Services) -> tuple[str, Callable[[], Request]]:
    """Requests and responses of `Classify` are part of messages with an id."""
    asked = read_message(digits_pb2.ClassifyStreamRequest, message)
    return asked.request_id, lambda: classify.understand(asked.request, services.max_batch_size)


def _answer_classify(request_id: str, outcome: bytes | CallError) -> Message:
    answer = digits_pb2.ClassifyStreamResponse(request_id=request_id)
    if isinstance(outcome, CallError):
        answer.error.code = grpc.StatusCode[outcome.code].value[0]
        answer.error.message = str(outcome)
        answer.error.retry_after_ms = outcome.retry_after_ms
    else:
        answer.response.MergeFromString(outcome)
    return answer


def _read_infer(message: bytes, services: Services) -> tuple[str, Callable[[], Request]]:
    request = read_message(inference_pb2.ModelInferRequest, message)
    return request.id, lambda: infer.understand(request, services.model, services.max_batch_size)


def _answer_infer(request_id: str, outcome: bytes | CallError) -> Message:
    response = inference_pb2.ModelInferResponse(id=request_id, parameters={"triton_final_response": FINAL})
    if isinstance(outcome, CallError):
        return inference_pb2.ModelStreamInferResponse(infer_response=response, error_message=str(outcome))
    response.MergeFromString(outcome)
    return inference_pb2.ModelStreamInferResponse(infer_response=response)


STREAM_METHODS = {
    f"/{DIGITS.full_name}/ClassifyStream": StreamMethod(_read_classify, _answer_classify, ordered=False),
    # In order, as from Triton: its clients may use no ids.
    f"/{INFERENCE.full_name}/ModelStreamInfer": StreamMethod(_read_infer, _answer_infer, ordered=True),
}


@dataclass(eq=False)
class Stream:
    """One stream: a thread reads it and submits jobs, while the caller's thread iterates over the answers.

    Flow control is end to end: while WINDOW requests are unanswered, or their answers unread, no other is read.
    """

    _method: StreamMethod
    _messages: Iterator[bytes]
    _services: Services
    _submit: Callable[[Callable[[], Request]], WaitingJob]  # puts what a request asks for into the queue, or raises
    _outcomes: SimpleQueue[tuple[str, Future[bytes]] | None] = field(default_factory=SimpleQueue)  # None: all are read
    _window: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(WINDOW))
    _jobs: set[WaitingJob] = field(default_factory=set)  # that are not answered
    _read: int = 0
    _ended: bool = False
    _all_read: bool = False

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
            request_id, parse = self._method.read(message, self._services)
            job = self._submit(parse)
            outcome = job.outcome
            self._jobs.add(job)
            outcome.add_done_callback(lambda _: self._jobs.discard(job))
        except Exception as error:  # noqa: BLE001 answered with a status
            outcome.set_exception(call_error("a request of a stream failed", error))
        if self._method.ordered:
            self._outcomes.put((request_id, outcome))
        else:
            outcome.add_done_callback(lambda done: self._outcomes.put((request_id, done)))
