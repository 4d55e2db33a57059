"""Whether the server answers each kind of call with the same bytes as the model in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import numpy as np

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.call import status_text
from digits.client import Client
from digits.protos.digits.v1 import digits_pb2
from digits.protos.digits.v1.digits_pb2_grpc import DigitClassifierStub
from digits.protos.inference.v2 import inference_pb2
from digits.protos.inference.v2.inference_pb2_grpc import GRPCInferenceServiceStub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from numpy.typing import NDArray

    from digits.client import Predictions

    Pixels = NDArray[np.uint8]
    Rows = NDArray[np.float32]

BATCH = 1024  # images in a call of Classify and of ModelInfer
PATIENCE = 60.0  # seconds for a call


def differing(address: str, call: str, pixels: Pixels, probabilities: Rows) -> int:
    """How many images, uint8 [n, 28, 28], get other bytes from the server than from this process, float32 [n, 10].

    Raises:
        BenchmarkError, ClientError: it does not answer.
    """
    answers = CALLS[call](address, pixels)
    expected = _rows(probabilities, probabilities.max(axis=1), probabilities.argmax(axis=1))
    if answers.shape != expected.shape:
        raise BenchmarkError(f"{call}: {len(answers):,} images are answered, and {len(pixels):,} were sent")
    return int((answers.view(np.uint32) != expected.view(np.uint32)).any(axis=1).sum())


def _rows(probabilities: Rows, confidences: Rows, digits: NDArray[Any]) -> Rows:
    """The whole answer to n images: float32 [n, 12]."""
    return np.column_stack([probabilities, confidences, digits.astype(np.float32)])


def _classify(address: str, pixels: Pixels) -> Rows:
    with Client(address) as client:
        return _joined(client.classify(part, include_probabilities=True, timeout=PATIENCE) for part in _parts(pixels))


def _stream(address: str, pixels: Pixels) -> Rows:
    """One image in a message: the server's batches have changing sizes."""
    requests = (
        digits_pb2.ClassifyStreamRequest(
            request_id=str(i),
            request=digits_pb2.ClassifyRequest(pixels=image.tobytes(), include_probabilities=True),
        )
        for i, image in enumerate(pixels)
    )
    rows = np.zeros((len(pixels), 12), np.float32)
    with grpc.insecure_channel(address) as channel:
        stream = DigitClassifierStub(channel).ClassifyStream(requests, timeout=10 * PATIENCE)
        try:
            for answer in stream:
                if answer.HasField("error"):
                    raise BenchmarkError(f"ClassifyStream at {address}: {answer.error.message}")
                found = answer.response
                rows[int(answer.request_id)] = [*found.probabilities, *found.confidences, *found.digits]
        except grpc.RpcError as error:
            raise BenchmarkError(f"ClassifyStream at {address}: {status_text(error)}") from error
    return rows


def _infer(address: str, pixels: Pixels) -> Rows:
    with grpc.insecure_channel(address) as channel:
        infer = GRPCInferenceServiceStub(channel).ModelInfer
        try:
            answers = [infer(_infer_request(part), timeout=PATIENCE) for part in _parts(pixels)]
        except grpc.RpcError as error:
            raise BenchmarkError(f"ModelInfer at {address}: {status_text(error)}") from error
    outputs = [answer.raw_output_contents for answer in answers]
    probabilities, confidences = (np.frombuffer(b"".join(each[i] for each in outputs), "<f4") for i in (0, 1))
    digits = np.frombuffer(b"".join(each[2] for each in outputs), np.uint8)
    return _rows(probabilities.reshape(-1, 10), confidences, digits)


def _infer_request(pixels: Pixels) -> inference_pb2.ModelInferRequest:
    wire = inference_pb2.ModelInferRequest
    return wire(
        model_name="digits",
        inputs=[wire.InferInputTensor(name="pixels", datatype="UINT8", shape=pixels.shape)],
        outputs=[wire.InferRequestedOutputTensor(name=name) for name in ("probabilities", "confidence", "digit")],
        raw_input_contents=[pixels.tobytes()],
    )


def _parts(pixels: Pixels) -> Iterator[Pixels]:
    return (pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH))


def _joined(answers: Iterator[Predictions]) -> Rows:
    return np.concatenate(
        [
            _rows(answer.probabilities, answer.confidences, answer.digits)
            for answer in answers
            if answer.probabilities is not None  # they were asked for
        ]
    )


CALLS: dict[str, Callable[[str, Pixels], Rows]] = {
    "Classify": _classify,
    "ClassifyStream": _stream,
    "ModelInfer": _infer,
}
