"""The calls that the servers are loaded with, and whether they are answered as they have to be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from google.protobuf.message import DecodeError

from digits.benchmarks.cells import CLASSIFY, FP32, JSON, RAW, UINT8
from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.exchange import exchange
from digits.benchmarks.settings import ECHO, TRITON
from digits.protos.digits.v1 import digits_pb2
from digits.protos.inference.v2 import inference_pb2

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from digits.benchmarks.cells import Cell
    from digits.benchmarks.h2load import Load

INFER = "/inference.GRPCInferenceService/ModelInfer"
METHODS = {
    CLASSIFY: "/digits.v1.DigitClassifier/Classify",
    UINT8: INFER,
    FP32: INFER,
    RAW: "/classify",
    JSON: "/classify",
}
CONTENT_TYPES = {RAW: "application/octet-stream", JSON: "application/json"}  # all others are gRPC
TIMEOUT = 10.0  # seconds
FRAME = 5  # bytes of gRPC's, before each message
TIMES_BYTES = 7  # in which the times and the batch size of an answer of Classify differ, at most
LEAST = 0.95  # of the body that the checked answer had, on the average: a call that failed has none


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A unary call, ready to be sent, to a server by its name."""

    cell: Cell
    server: str
    message: bytes
    digits: NDArray[np.int64]  # that its images show

    @property
    def method(self) -> str:
        return METHODS[self.cell.call]

    @property
    def content_type(self) -> str | None:
        """Of plain HTTP; None for gRPC."""
        return CONTENT_TYPES.get(self.cell.call)

    def require_answer(self, address: str) -> int:
        """Makes the call, and gives the size of its answer. Raises BenchmarkError if that is not what it has to be."""
        try:
            reply = exchange(address, self.method, self.message, self.content_type, TIMEOUT)
        except BenchmarkError as error:
            raise BenchmarkError(f"{self.server}, {self.cell.name}: {error}") from error
        if not self.is_right(reply):
            raise BenchmarkError(f"{self.server}, {self.cell.name}: a wrong answer of {len(reply)} bytes")
        return len(reply)

    def is_right(self, reply: bytes) -> bool:
        """Whether a reply has the digits of the images; an echo's, whether it is the message."""
        if self.server == ECHO:
            return reply == self.message
        try:
            return np.array_equal(self._digits_of(reply), self.digits)
        except (DecodeError, TypeError, ValueError):
            return False  # it is something else altogether

    def require_answers(self, load: Load, reply_bytes: int) -> None:
        """Raises BenchmarkError unless the answers of a load were as large as the one that was checked.

        Those of Classify differ by a few bytes, in their times; the statistics are exact, for servers of ours.
        """
        size = reply_bytes + (FRAME if self.content_type is None else 0)
        least = load.answered * (size - self._varies()) * LEAST
        if not load.answered or load.body_bytes < least:
            raise BenchmarkError(
                f"{self.server}, {self.cell.name}: {load.answered} calls brought {load.body_bytes} bytes, and not "
                f"{size} each: some of them failed"
            )

    def _varies(self) -> int:
        """By how many bytes one answer may be smaller than another."""
        return TIMES_BYTES if self.cell.call == CLASSIFY and self.server != ECHO else 0

    def _digits_of(self, reply: bytes) -> NDArray[np.int64]:
        if self.cell.call == CLASSIFY:
            return np.array(digits_pb2.ClassifyResponse.FromString(reply).digits, np.int64)
        rows = json.loads(reply) if self.cell.call == JSON else np.frombuffer(self._raw(reply), "<f4")
        digits: NDArray[np.int64] = np.reshape(rows, (-1, 10)).argmax(axis=1)
        return digits

    def _raw(self, reply: bytes) -> bytes:
        """The probabilities: float32, little-endian."""
        if self.cell.call == RAW:
            return reply
        (rows,) = inference_pb2.ModelInferResponse.FromString(reply).raw_output_contents
        return rows


def call_of(cell: Cell, server: str, pixels: NDArray[np.uint8], digits: NDArray[np.int64]) -> Call:
    """The cell's call, with the first of the images, uint8 [n, 28, 28], and the digits that are to be the answer."""
    pixels, digits = pixels[: cell.images], digits[: cell.images]
    return Call(cell, server, _message(cell.call, server, pixels), digits)


def _message(call: str, server: str, pixels: NDArray[np.uint8]) -> bytes:
    if call == CLASSIFY:
        return digits_pb2.ClassifyRequest(pixels=pixels.tobytes()).SerializeToString()
    if call == RAW:
        return pixels.tobytes()
    if call == JSON:
        return json.dumps({"pixels": pixels.tolist()}).encode()
    return _infer(pixels, floats=call == FP32, triton=server == TRITON)


def _infer(pixels: NDArray[np.uint8], *, floats: bool, triton: bool) -> bytes:
    """A ModelInferRequest with raw pixels: bytes, or floats of 0 to 1. Triton has a model of its own for floats."""
    wire = inference_pb2.ModelInferRequest
    tensor = wire.InferInputTensor(name="pixels", datatype="FP32" if floats else "UINT8", shape=pixels.shape)
    request = wire(
        model_name="digits_fp32" if triton and floats else "digits",
        inputs=[tensor],
        outputs=[wire.InferRequestedOutputTensor(name="probabilities")],
        raw_input_contents=[(pixels / np.float32(255) if floats else pixels).tobytes()],
    )
    return request.SerializeToString()
