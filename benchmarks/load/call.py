"""The calls that a load consists of, and the check of their answers."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import ArrayLike, NDArray

from digits.benchmarks.errors import BenchmarkError
from digits.benchmarks.settings import ECHO, TRITON
from digits.model.engine import Engine
from digits.model.manifest import FP32 as FP32_VARIANT
from digits.model.repository import ModelVersion
from digits.protos.digits.v1 import digits_pb2
from digits.protos.inference.v2 import inference_pb2

Images = tuple[NDArray[np.uint8], NDArray[np.int64]]  # uint8 [n, 28, 28] and the digits that they show, int64 [n]

CLASSIFY, UINT8, FP32 = "Classify", "ModelInfer UINT8", "ModelInfer FP32"
RAW, JSON = "HTTP bytes", "HTTP JSON"  # for peers without gRPC
INFER = "/inference.GRPCInferenceService/ModelInfer"
METHODS = {CLASSIFY: "/digits.v1.DigitClassifier/Classify", UINT8: INFER, FP32: INFER}
HTTP = {RAW: "application/octet-stream", JSON: "application/json"}  # content types; all other kinds are gRPC
TIMEOUT = 10.0  # seconds
SHARES = (0, 10, 25, 50, 75, 90, 95, 99, 99.9, 99.99, 100)  # percent of the calls, whose latencies are kept
LOOPS = {"slo_ms": "highest with p99 <= {:g} ms", "rate": "open at {:g}/s", "share": "open at {:.0%}"}
CLEAR = 0.999  # probability
CLEAR_IMAGES = 64


class Point(NamedTuple):
    """A grid point: calls of one kind with so many images each, over so many connections."""

    kind: str
    images: int
    connections: int

    def __str__(self) -> str:
        many = "" if self.images == 1 else f" of {self.images} images"
        return f"{self.kind}{many}, {self.connections} connection{'' if self.connections == 1 else 's'}"

    @property
    def load(self) -> dict[str, Any]:
        """As the JSON describes it."""
        return {"method": self.kind, "images": self.images, "connections": self.connections}


class Call(NamedTuple):
    """A unary call, ready to be sent."""

    method: str  # such as /digits.v1.DigitClassifier/Classify; the path of an HTTP call
    message: bytes  # as it goes over the wire
    is_right: Callable[[bytes], bool]  # whether a reply is the expected one
    images: int = 1  # in the message
    kind: str = CLASSIFY  # or UINT8, FP32, RAW, JSON

    @property
    def content_type(self) -> str | None:
        """Of plain HTTP; None for gRPC."""
        return HTTP.get(self.kind)

    def require_answer(self, address: str, timeout: float = TIMEOUT) -> int:
        """Makes the call once and returns the size of its answer. Raises BenchmarkError unless the answer is right."""
        reply = unary(address, self.method, self.message, self.content_type, timeout)
        if not self.is_right(reply):
            raise BenchmarkError(f"a wrong answer of {len(reply):,} bytes")
        return len(reply)


def call_of(kind: str, server: str, images: Images, count: int) -> Call:
    """A call with the first `count` images, to a server by its name: the echo and Triton differ from the others."""
    pixels, digits = images[0][:count], images[1][:count]
    message = _message(kind, server, pixels)
    is_right = message.__eq__ if server == ECHO else lambda reply: _shows(kind, reply, digits)
    return Call(METHODS.get(kind, "/classify"), message, is_right, count, kind)


def load_text(load: dict[str, Any]) -> str:
    """The load of a measurement in a few words."""
    loop = "closed (asyncio)" if (load["loop"], load["generator"]) == ("closed", "asyncio") else load["loop"]
    for key, text in (
        ("slo_ms", "highest with p99 <= {:g} ms"),
        ("rate", "open at {:g}/s"),
        ("share", "open at {:.0%}"),
    ):
        loop = text.format(load[key]) if key in load else loop
    streams = f" x {load['streams']}" if load.get("streams", 1) > 1 else ""
    return f"{load['method']} x {load['images']}, {load['connections']}{streams} conn., {loop}"


def clear_images(version: ModelVersion, pixels: NDArray[np.uint8], labels: NDArray[np.integer]) -> Images:
    """The first 64 of the images that fp32 classifies as labelled, with a probability of at least 0.999.

    Every good variant of the model gives them the same digits, so the right answer is known.

    Raises BenchmarkError if there are fewer than 64.
    """
    answers = Engine(version.file(FP32_VARIANT), provider="cpu").run(pixels)
    chosen = np.flatnonzero((answers.max(axis=1) >= CLEAR) & (answers.argmax(axis=1) == labels))[:CLEAR_IMAGES]
    if len(chosen) < CLEAR_IMAGES:
        raise BenchmarkError(f"the model is sure and right about {len(chosen)} images; {CLEAR_IMAGES} are needed")
    return np.ascontiguousarray(pixels[chosen]), labels[chosen].astype(np.int64)


def latency_us(seconds: ArrayLike) -> dict[str, float] | None:
    """Percentiles of seconds [n] in microseconds, by names such as p99.9, interpolated linearly; None if n is 0.

    p0 and p100 are the least and the most.
    """
    if not np.size(seconds):
        return None
    values = np.percentile(np.asarray(seconds, np.float64) * 1e6, SHARES)
    return {f"p{share:g}": round(float(value), 1) for share, value in zip(SHARES, values, strict=True)}


def unary(address: str, path: str, message: bytes, content_type: str | None = None, timeout: float = TIMEOUT) -> bytes:
    """The body of the answer to one call: gRPC without a content type, else HTTP. Raises BenchmarkError if it fails."""
    try:
        if content_type is not None:
            return _http(address, path, message, content_type, timeout)
        with grpc.insecure_channel(address) as channel:
            method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
            return method(message, timeout=timeout)
    except grpc.RpcError as error:
        raise BenchmarkError(f"{address} does not answer: {status_text(error)}") from error
    except (OSError, http.client.HTTPException) as error:
        raise BenchmarkError(f"{address} does not answer: {error}") from error


def status_text(error: grpc.RpcError) -> str:
    """The status of a failed call, in one line."""
    return f"{error.code().name}: {' '.join(str(error.details()).split())}"


def _http(address: str, path: str, message: bytes, content_type: str, timeout: float) -> bytes:
    request = urllib.request.Request(f"http://{address}{path}", message, {"content-type": content_type})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=timeout) as answer:
            return answer.read()  # type: ignore[no-any-return] # urllib is untyped here
    except urllib.error.HTTPError as error:
        raise BenchmarkError(f"{error.code} {error.reason}: {error.read(200).decode(errors='replace')}") from error


def _message(kind: str, server: str, pixels: NDArray[np.uint8]) -> bytes:
    if kind == CLASSIFY:
        return digits_pb2.ClassifyRequest(pixels=pixels.tobytes()).SerializeToString()
    if kind in HTTP:
        return pixels.tobytes() if kind == RAW else json.dumps({"pixels": pixels.tolist()}).encode()
    floats, wire = kind == FP32, inference_pb2.ModelInferRequest
    request = wire(
        model_name="digits_fp32" if server == TRITON and floats else "digits",  # Triton has a model for each type
        inputs=[wire.InferInputTensor(name="pixels", datatype="FP32" if floats else "UINT8", shape=pixels.shape)],
        outputs=[wire.InferRequestedOutputTensor(name="probabilities")],
        raw_input_contents=[(pixels / np.float32(255) if floats else pixels).tobytes()],
    )
    return request.SerializeToString()


def _shows(kind: str, reply: bytes, digits: NDArray[np.int64]) -> bool:
    """Whether a reply of any content gives these digits."""
    try:
        if kind == CLASSIFY:
            return bool(list(digits_pb2.ClassifyResponse.FromString(reply).digits) == digits.tolist())
        if kind == JSON:
            rows = np.reshape(json.loads(reply), (-1, 10))
        else:
            (raw,) = [reply] if kind == RAW else inference_pb2.ModelInferResponse.FromString(reply).raw_output_contents
            rows = np.frombuffer(raw, "<f4").reshape(-1, 10)
        return bool(np.array_equal(rows.argmax(axis=1), digits))
    except (DecodeError, TypeError, ValueError):
        return False
