"""How a stream's messages carry calls: what is sent as a call, and how its answer or its error comes back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import grpc
from google.protobuf.message import DecodeError

from digits.protos.digits.v1 import digits_pb2
from digits.protos.inference.v2 import inference_pb2
from digits.serve.errors import InvalidRequest
from digits.serve.services import CLASSIFY, DIGITS, INFERENCE, MODEL_INFER

if TYPE_CHECKING:
    from digits.serve.errors import CallError

FINAL = inference_pb2.InferParameter(bool_param=True)


class Framing(ABC):
    """The messages of one streaming method.

    Attributes:
        call: The method that a message is a call of.
        ordered: Whether answers come in the order of the requests.
    """

    call: str
    ordered: bool

    @abstractmethod
    def open(self, message: bytes) -> tuple[str, bytes]:
        """The id of a request, and the bytes of the call. Raises InvalidRequest if it is another message."""

    @abstractmethod
    def answer(self, request_id: str, response: bytes) -> bytes:
        """The message that carries a response."""

    @abstractmethod
    def failure(self, request_id: str, error: CallError) -> bytes:
        """The message that says a status."""


class ClassifyFraming(Framing):
    """`ClassifyStream`: calls and responses are part of messages with an id."""

    call = CLASSIFY
    ordered = False

    def open(self, message: bytes) -> tuple[str, bytes]:
        try:
            request = digits_pb2.ClassifyStreamRequest.FromString(message)
        except DecodeError as error:
            raise InvalidRequest(f"the message is not a digits.v1.ClassifyStreamRequest: {error}") from error
        return request.request_id, request.request.SerializeToString()

    def answer(self, request_id: str, response: bytes) -> bytes:
        outcome = digits_pb2.ClassifyStreamResponse(request_id=request_id)
        outcome.response.MergeFromString(response)
        return outcome.SerializeToString()

    def failure(self, request_id: str, error: CallError) -> bytes:
        code: int = grpc.StatusCode[error.code].value[0]
        return digits_pb2.ClassifyStreamResponse(
            request_id=request_id,
            error=digits_pb2.Error(code=code, message=str(error), retry_after_ms=error.retry_after_ms),
        ).SerializeToString()


class InferFraming(Framing):
    """`ModelStreamInfer`: messages are calls as they are. In order, as from Triton: its clients may use no ids."""

    call = MODEL_INFER
    ordered = True

    def open(self, message: bytes) -> tuple[str, bytes]:
        try:
            return inference_pb2.ModelInferRequest.FromString(message).id, message
        except DecodeError as error:
            raise InvalidRequest(f"the message is not an inference.ModelInferRequest: {error}") from error

    def answer(self, request_id: str, response: bytes) -> bytes:
        outcome = self._outcome(request_id)
        outcome.infer_response.MergeFromString(response)
        return outcome.SerializeToString()

    def failure(self, request_id: str, error: CallError) -> bytes:
        outcome = self._outcome(request_id)
        outcome.error_message = str(error)
        return outcome.SerializeToString()

    def _outcome(self, request_id: str) -> inference_pb2.ModelStreamInferResponse:
        response = inference_pb2.ModelInferResponse(id=request_id, parameters={"triton_final_response": FINAL})
        return inference_pb2.ModelStreamInferResponse(infer_response=response)


FRAMINGS: dict[str, Framing] = {
    f"/{DIGITS.full_name}/ClassifyStream": ClassifyFraming(),
    f"/{INFERENCE.full_name}/ModelStreamInfer": InferFraming(),
}
