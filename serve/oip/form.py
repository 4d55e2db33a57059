"""The form of a ModelInferRequest: all of it but its id and its pixels, and how these are written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digits.images import arrays
from digits.images.arrays import PixelRange, to_uint8
from digits.images.digit import PIXELS
from digits.images.errors import ArrayError
from digits.protos.inference.v2 import inference_pb2
from digits.serve.errors import InvalidRequest
from digits.serve.job import Answers, Encode, Request
from digits.serve.oip.model_info import ELEMENTS, INPUT, ModelInfo, Output, quoted
from digits.serve.oip.response import Encoder, identity

Input = inference_pb2.ModelInferRequest.InferInputTensor
AskedOutput = inference_pb2.ModelInferRequest.InferRequestedOutputTensor
Parameters = Mapping[str, inference_pb2.InferParameter]

MOST_DIMENSIONS = 8  # that an error shows
SHARED_MEMORY = "shared_memory_region"
CLASSIFICATION = "classification"
OTHER_RANGE = "the request parameter pixel_range '{}' takes the other range"


@dataclass(frozen=True, slots=True)
class Form:
    """What all requests of one form have in common."""

    model_name: str  # whose input their pixels are, for errors
    count: int  # how many images
    datatype: str  # one of ELEMENTS
    pixel_range: PixelRange  # what floats are: "0-1" or "0-255"
    size: int  # how many bytes all elements have
    encode: Encode  # gives the response to one without an id
    encode_with_id: Callable[[bytes, Answers, int, int, int], bytes]  # to one with an id: takes `identity(id)` first
    priority: int  # as in Request
    timeout: float  # as in Request

    def request(self, data: bytes, identifier: str) -> Request:
        """The request of this form with these raw elements. Raises InvalidRequest if they do not fit."""
        encode = partial(self.encode_with_id, identity(identifier)) if identifier else self.encode
        return Request(self.to_bytes(data), self.count, encode, self.priority, self.timeout)

    def to_bytes(self, data: bytes) -> bytes:
        """The model's pixels, uint8 [count, 28, 28], of raw ones. Raises InvalidRequest if they do not fit."""
        self._require_size(len(data))
        if self.datatype == "UINT8":
            return data
        return self._to_uint8(np.frombuffer(data, ELEMENTS[self.datatype][1])).tobytes()

    def from_contents(self, contents: inference_pb2.InferTensorContents) -> bytes:
        """Typed elements as raw ones. Raises InvalidRequest for another type's field, or a value that is no pixel."""
        field, element = ELEMENTS[self.datatype]
        for other, _ in contents.ListFields():
            if other.name != field:
                raise InvalidRequest(
                    f"unexpected explicit tensor data for input tensor '{INPUT}' for model '{self.model_name}' in "
                    f"{other.name}; datatype {self.datatype} is expected in {field or 'raw_input_contents'}"
                )
        typed = getattr(contents, field) if field else ()
        self._require_size(len(typed) * np.dtype(element).itemsize)
        elements = np.array(typed)
        if elements.dtype.kind in "iu":
            elements = self._to_uint8(elements)  # before a narrower type could change the value
        return elements.astype(element).tobytes()

    def _require_size(self, size: int) -> None:
        if size != self.size:
            raise InvalidRequest(
                f"input byte size mismatch for input '{INPUT}' for model '{self.model_name}'. "
                f"Expected {self.size}, got {size}"
            )

    def _to_uint8(self, elements: NDArray[Any]) -> NDArray[np.uint8]:
        try:
            return to_uint8(elements, self.pixel_range, OTHER_RANGE)
        except ArrayError as error:
            raise InvalidRequest(f"input '{INPUT}' for model '{self.model_name}': {error}") from error


def read_form(message: bytes, model: ModelInfo, max_batch_size: int) -> Form:
    """Reads a ModelInferRequest without id, raw and typed contents. Raises InvalidRequest or NotFound."""
    request = inference_pb2.ModelInferRequest.FromString(message)
    model.require(request.model_name, request.model_version)
    tensor = _only_input(request.inputs[:2], model.name)  # a million would be as wrong as two
    count = _count(tensor.shape[: MOST_DIMENSIONS + 1], model.name, max_batch_size)
    size = count * PIXELS * np.dtype(ELEMENTS[tensor.datatype][1]).itemsize
    outputs = _outputs(request.outputs[: len(model.outputs) + 1], model)
    encoder = Encoder(model.name, count, outputs)
    encode = encoder.encode_classes if any(output.classes for output in outputs) else encoder.encode
    return Form(
        *(model.name, count, tensor.datatype, _pixel_range(request.parameters), size),
        partial(encode, b""),
        encode,
        _integer(request.parameters, "priority"),
        _integer(request.parameters, "timeout") / 1e6 or float("inf"),
    )


def _only_input(tensors: Sequence[Input], model_name: str) -> Input:
    for tensor in tensors:
        if tensor.name != INPUT:
            raise InvalidRequest(
                f"unexpected inference input {quoted(tensor.name)} for model '{model_name}'; expected '{INPUT}'"
            )
    if not tensors:
        raise InvalidRequest(
            f"expected 1 inputs but got 0 inputs for model '{model_name}'. Got input(s) [], but missing required "
            f"input(s) ['{INPUT}']. Please provide all required input(s)."
        )
    if len(tensors) > 1:
        raise InvalidRequest(f"input '{INPUT}' already exists in request: it is there {len(tensors)} times")
    (tensor,) = tensors
    if tensor.datatype not in ELEMENTS:
        raise InvalidRequest(
            f"inference input '{INPUT}' data-type is {quoted(tensor.datatype)}, but model '{model_name}' expects one "
            f"of {list(ELEMENTS)}"
        )
    if tensor.contents.ListFields():  # an empty message is what some clients always send
        raise InvalidRequest(
            f"unexpected explicit tensor data for input tensor '{INPUT}' for model '{model_name}', binary data was "
            "already supplied."
        )
    _refuse_shared_memory(tensor.parameters, f"input '{INPUT}'")
    return tensor


def _count(shape: Sequence[int], model_name: str, max_batch_size: int) -> int:
    """How many images are in a tensor of that shape."""
    count = arrays.count(list(shape))
    if count is None:
        more = ",..." if len(shape) > MOST_DIMENSIONS else ""
        raise InvalidRequest(
            f"unexpected shape for input '{INPUT}' for model '{model_name}'. Expected {arrays.SHAPES}, "
            f"got [{','.join(map(str, shape[:MOST_DIMENSIONS]))}{more}]"
        )
    if not 1 <= count <= max_batch_size:
        bound = f"<= {max_batch_size}" if count > max_batch_size else ">= 1"
        raise InvalidRequest(f"inference request batch-size must be {bound} for '{model_name}', got {count}")
    return count


def _outputs(asked: Sequence[AskedOutput], model: ModelInfo) -> tuple[Output, ...]:
    """Those asked for, or all; as Triton does, with as many classes as there are if more are asked for."""
    known = {output.name: output for output in model.outputs}
    chosen: dict[str, Output] = {}
    for each in asked:
        if each.name not in known:
            raise InvalidRequest(
                f"unexpected inference output {quoted(each.name)} for model '{model.name}'; expected one of "
                f"{list(known)}"
            )
        if each.name in chosen:
            raise InvalidRequest(f"output '{each.name}' already exists in request")
        _refuse_shared_memory(each.parameters, f"output '{each.name}'")
        output = known[each.name]
        if CLASSIFICATION in each.parameters:
            output = replace(output, classes=min(_integer(each.parameters, CLASSIFICATION, least=1), output.columns))
        chosen[each.name] = output
    return tuple(chosen.values()) or model.outputs


def _refuse_shared_memory(parameters: Parameters, tensor: str) -> None:
    if SHARED_MEMORY in parameters:
        raise InvalidRequest(f"parameter '{SHARED_MEMORY}' of {tensor} is not supported; expected none")


def _integer(parameters: Parameters, name: str, least: int = 0) -> int:
    """A parameter of a request or an output; 0 if it is not given."""
    if name not in parameters:
        return 0
    parameter = parameters[name]
    if (kind := parameter.WhichOneof("parameter_choice")) not in {"int64_param", "uint64_param"}:
        raise InvalidRequest(f"invalid value type for '{name}' parameter: {kind}; expected int64_param or uint64_param")
    value = parameter.uint64_param or parameter.int64_param
    if value < least:
        raise InvalidRequest(f"invalid value for '{name}' parameter: {value}; expected {least} or more")
    return value


def _pixel_range(parameters: Parameters) -> PixelRange:
    value = parameters["pixel_range"].string_param if "pixel_range" in parameters else "0-1"
    for known in arrays.TOPS:
        if value == known:
            return known
    raise InvalidRequest(f"invalid value for 'pixel_range' parameter: {quoted(value)}; expected '0-1' or '0-255'")
