"""Whether the server answers each kind of call with the same bytes as the model in this process."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.load.call import status_text
from digits.protos.digits.v1 import digits_pb2
from digits.protos.digits.v1.digits_pb2_grpc import DigitClassifierStub
from digits.protos.inference.v2 import inference_pb2
from digits.protos.inference.v2.inference_pb2_grpc import GRPCInferenceServiceStub

Pixels = NDArray[np.uint8]
Rows = NDArray[np.float32]  # the whole answer to n images: [n, 12], probabilities, confidence and digit

BATCH = 1024  # images in a call of Classify and of ModelInfer
PATIENCE = 60.0  # seconds for a call
OUTPUTS = {"probabilities": "<f4", "confidence": "<f4", "digit": "u1"}  # of ModelInfer


def differing(address: str, call: str, pixels: Pixels, probabilities: Rows) -> int:
    """How many images, uint8 [n, 28, 28], get other bytes from the server than from this process, float32 [n, 10].

    Raises BenchmarkError if it does not answer.
    """
    parts = [pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH)]
    with grpc.insecure_channel(address) as channel:
        try:
            answers = np.concatenate(list(CALLS[call](channel, parts)))
        except grpc.RpcError as error:
            raise BenchmarkError(f"{call} at {address}: {status_text(error)}") from error
    expected = _rows(probabilities, probabilities.max(axis=1), probabilities.argmax(axis=1))
    if answers.shape != expected.shape:
        raise BenchmarkError(f"{call}: {len(answers):,} images are answered, and {len(pixels):,} were sent")
    return int((answers.view(np.uint32) != expected.view(np.uint32)).any(axis=1).sum())


def _rows(probabilities: Any, confidences: Any, digits: Any) -> Rows:
    rows = np.reshape(np.asarray(probabilities, np.float32), (-1, 10))
    return np.column_stack([rows, np.asarray(confidences, np.float32), np.asarray(digits, np.float32)])


def _request(pixels: Pixels) -> digits_pb2.ClassifyRequest:
    return digits_pb2.ClassifyRequest(pixels=pixels.tobytes(), include_probabilities=True)


def _response(response: digits_pb2.ClassifyResponse) -> Rows:
    return _rows(response.probabilities, response.confidences, response.digits)


def _classify(channel: grpc.Channel, parts: list[Pixels]) -> Iterator[Rows]:
    classify = DigitClassifierStub(channel).Classify
    return (_response(classify(_request(part), timeout=PATIENCE)) for part in parts)


def _stream(channel: grpc.Channel, parts: list[Pixels]) -> Iterator[Rows]:
    """One image in a message: the server's batches have changing sizes."""
    wire, found = digits_pb2.ClassifyStreamRequest, dict[int, Rows]()
    images = enumerate(image for part in parts for image in part)
    requests = (wire(request_id=str(i), request=_request(image)) for i, image in images)
    for answer in DigitClassifierStub(channel).ClassifyStream(requests, timeout=10 * PATIENCE):
        if answer.HasField("error"):
            raise BenchmarkError(f"ClassifyStream: {answer.error.message}")
        found[int(answer.request_id)] = _response(answer.response)
    return (rows for _, rows in sorted(found.items()))


def _infer(channel: grpc.Channel, parts: list[Pixels]) -> Iterator[Rows]:
    infer, wire = GRPCInferenceServiceStub(channel).ModelInfer, inference_pb2.ModelInferRequest
    for part in parts:
        request = wire(
            model_name="digits",
            inputs=[wire.InferInputTensor(name="pixels", datatype="UINT8", shape=part.shape)],
            outputs=[wire.InferRequestedOutputTensor(name=name) for name in OUTPUTS],
            raw_input_contents=[part.tobytes()],
        )
        raw = infer(request, timeout=PATIENCE).raw_output_contents
        yield _rows(*(np.frombuffer(one, kind) for one, kind in zip(raw, OUTPUTS.values(), strict=True)))


CALLS: dict[str, Callable[[grpc.Channel, list[Pixels]], Iterator[Rows]]] = {
    "Classify": _classify,
    "ClassifyStream": _stream,
    "ModelInfer": _infer,
}
