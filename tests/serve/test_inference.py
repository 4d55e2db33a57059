"""`ModelInfer` on the wire: what is parsed is what was asked for, and what is encoded is what protobuf would say."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from digits.protos.inference.v2 import inference_pb2 as pb
from digits.serve.errors import CallError, InvalidRequest, NotFound
from digits.serve.job import Answers
from digits.serve.oip import infer
from digits.serve.oip.infer import parse
from digits.serve.oip.model_info import ELEMENTS, ModelInfo

Parameter = pb.InferParameter
Pixels = np.ndarray[Any, np.dtype[Any]]

MODEL = ModelInfo("digits", "7", has_novelty=True)
MAX_BATCH_SIZE = 1024
OUTPUTS = {"probabilities": ("FP32", 10), "digit": ("UINT8", 1), "confidence": ("FP32", 1), "novelty": ("FP32", 1)}


def pictures(count: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28), np.uint8)


def message(pixels: Pixels, *, typed: bool = False, **fields: Any) -> pb.ModelInferRequest:
    """A request for these images, as tritonclient writes it."""
    datatype, field = next(
        (name, field) for name, (field, dtype) in ELEMENTS.items() if np.dtype(dtype) == pixels.dtype
    )
    request = pb.ModelInferRequest(model_name="digits", **fields)
    tensor = request.inputs.add(name="pixels", datatype=datatype, shape=pixels.shape)
    if typed:
        getattr(tensor.contents, field).extend(pixels.ravel().tolist())
    else:
        request.raw_input_contents.append(pixels.tobytes())
    return request


def answers(count: int, seed: int = 0) -> Answers:
    probabilities = np.random.default_rng(seed).random((count, 10), np.float32)
    return Answers(
        digits=probabilities.argmax(axis=1).astype(np.uint8).tobytes(),
        confidences=probabilities.max(axis=1).tobytes(),
        probabilities=probabilities.tobytes(),
        batch_size=count,
        compute_microseconds=100,
        model_version="8",
        novelties=(-probabilities[:, 0]).tobytes(),
    )


def expected(batch: Answers, start: int, stop: int, names: list[str], identifier: str) -> pb.ModelInferResponse:
    """The response, by protobuf."""
    probabilities = np.frombuffer(batch.probabilities, np.float32).reshape(-1, 10)[start:stop]
    tensors = {
        "probabilities": probabilities,
        "digit": probabilities.argmax(axis=1).astype(np.uint8),
        "confidence": probabilities.max(axis=1),
        "novelty": -probabilities[:, 0],
    }
    names = names or list(OUTPUTS)
    return pb.ModelInferResponse(
        model_name="digits",
        model_version=batch.model_version,
        id=identifier,
        outputs=[
            pb.ModelInferResponse.InferOutputTensor(
                name=name, datatype=OUTPUTS[name][0], shape=[stop - start, OUTPUTS[name][1]]
            )
            for name in names
        ],
        raw_output_contents=[tensors[name].tobytes() for name in names],
    )


@given(st.data())
def test_any_mix_is_understood_and_answered(data: st.DataObject) -> None:
    """Same pixels whatever they are written in; the response is the one that protobuf makes of the call's own rows."""
    count, seed = data.draw(st.integers(1, 5)), data.draw(st.integers(0, 9))
    dtype = np.dtype(data.draw(st.sampled_from([element for _, element in ELEMENTS.values()])))
    shape = data.draw(st.sampled_from([(-1, 28, 28), (-1, 784), (-1, 1, 28, 28), (-1, 28, 28, 1)]))
    pixel_range = data.draw(st.sampled_from(["0-1", "0-255"]))
    digits = pictures(count, seed)
    if dtype.kind == "b":
        digits = (digits > 127) * np.uint8(255)
    elif dtype == np.int8:
        digits //= 2
    top = 255 if pixel_range == "0-1" and dtype.kind in "bf" else 1
    priority, timeout = data.draw(st.integers(0, 2**63)), data.draw(st.integers(0, 2**62))
    parameters = {"priority": Parameter(uint64_param=priority), "timeout": Parameter(int64_param=timeout)}
    if pixel_range == "0-255":
        parameters["pixel_range"] = Parameter(string_param="0-255")
    names = data.draw(st.lists(st.sampled_from(list(OUTPUTS)), unique=True))
    identifier = data.draw(st.text(max_size=300))
    sent = message(
        (digits.reshape(shape) / top).astype(dtype),
        typed=data.draw(st.booleans()) and dtype != np.float16,
        id=identifier,
        model_version=data.draw(st.sampled_from(["", "7"])),
        outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in names],
        parameters=parameters,
    )
    request = parse(sent.SerializeToString(), MODEL, MAX_BATCH_SIZE)
    assert (request.pixels, request.count, request.priority) == (digits.tobytes(), count, priority)
    assert request.timeout == (timeout / 1e6 if timeout else float("inf"))
    start = data.draw(st.integers(0, 3))
    batch = answers(start + count + data.draw(st.integers(0, 3)), seed)
    response = pb.ModelInferResponse.FromString(request.encode(batch, start, start + count, 5))
    assert response == expected(batch, start, start + count, names, identifier)


@given(st.text(max_size=50), st.integers(1, 3), st.sampled_from([np.uint8, np.float32]), st.booleans())
def test_the_way_for_one_image_is_a_short_cut_and_nothing_else(
    identifier: str, count: int, element: type[Any], twice: bool
) -> None:
    """It understands what it takes as the general way does, and leaves the rest to it."""
    pixels = pictures(count) if element is np.uint8 else pictures(count) / np.float32(255)
    sent = message(pixels, id=identifier)
    if twice:
        sent.raw_input_contents.append(bytes(784))
    outcomes: list[object] = []
    for way in (parse, lambda sent, *more: infer.understand(pb.ModelInferRequest.FromString(sent), *more)):
        try:
            request = way(sent.SerializeToString(), MODEL, MAX_BATCH_SIZE)
            outcomes.append((request.pixels, request.count, request.encode(answers(count), 0, count, 5)))
        except InvalidRequest as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


def test_what_only_looks_like_one_image_is_none() -> None:
    """An unknown field after the pixels that ends as a message with one image would."""
    pixels, decoy = pictures(1).tobytes(), pictures(1, seed=1).tobytes()
    inside = infer.OPENING + decoy
    unknown = b"\xa2\x06" + bytes([len(inside) & 127 | 128, len(inside) >> 7]) + inside  # field 100, bytes
    whole = message(np.frombuffer(pixels, np.uint8).reshape(1, 784)).SerializeToString()
    before = whole.removesuffix(infer.OPENING + pixels)
    for sent in (whole + unknown, unknown + whole, before + unknown + infer.OPENING + pixels):
        assert parse(sent, MODEL, MAX_BATCH_SIZE).pixels == pixels
    with pytest.raises(InvalidRequest, match="Expected 784, got 0"):
        parse(before + unknown, MODEL, MAX_BATCH_SIZE)


@given(st.binary(max_size=1200))
def test_no_bytes_end_in_anything_but_an_error_for_the_caller(junk: bytes) -> None:
    try:
        request = parse(junk, MODEL, MAX_BATCH_SIZE)
    except CallError:
        return
    assert len(request.pixels) == request.count * 784


SHADES = np.resize(np.arange(256, dtype=np.uint8), (1, 784))
ONE = pictures(1)
SEQUENCE = {"sequence_id": Parameter(int64_param=3), "sequence_start": Parameter(bool_param=True)}


@pytest.mark.parametrize(
    ("sent", "pixels"),
    [
        *((message(ONE.reshape(shape)), ONE) for shape in ((28, 28), (28, 28, 1), (784,))),
        (message(ONE.reshape(1, 784), parameters=SEQUENCE), ONE),  # unknown parameters are ignored
        (message(SHADES * np.float32(1 / 255)), SHADES),
        *((message(SHADES / np.float32(255) + np.float32(error)), SHADES) for error in (0, 0.0019, -0.0019)),
    ],
)
def test_one_image_needs_no_batch_dimension_and_each_shade_survives_fp32(
    sent: pb.ModelInferRequest, pixels: Pixels
) -> None:
    """With any error of rounding below half a shade.

    Empty typed contents, which some clients always send, do not contradict the raw ones.
    """
    for _ in range(2):
        request = parse(sent.SerializeToString(), MODEL, MAX_BATCH_SIZE)
        assert (request.pixels, request.count) == (pixels.tobytes(), 1)
        sent.inputs[0].contents.SetInParent()


def test_any_raw_bool_that_is_not_0_is_ink() -> None:
    sent = message(np.zeros((1, 784), np.bool_))
    sent.raw_input_contents[0] = bytes([0, 1, 2, 255]) * 196
    assert parse(sent.SerializeToString(), MODEL, MAX_BATCH_SIZE).pixels == bytes([0, 255, 255, 255]) * 196


@given(
    seed=st.integers(0, 99),
    start=st.integers(0, 3),
    count=st.integers(1, 3),
    classes=st.dictionaries(st.sampled_from(list(OUTPUTS)), st.integers(1, 2**40)),
    names=st.lists(st.sampled_from(list(OUTPUTS)), unique=True, min_size=1),
)
def test_classes_are_written_as_triton_writes_them(
    seed: int, start: int, count: int, classes: dict[str, int], names: list[str]
) -> None:
    """The highest elements of each image, each as std::to_string has it, and its column; no more than there are."""
    batch, stop = answers(start + count, seed), start + count
    asked = [pb.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in names]
    for output in asked:
        if output.name in classes:
            output.parameters["classification"].int64_param = classes[output.name]
    sent = message(pictures(count), outputs=asked, id="5")
    response = pb.ModelInferResponse.FromString(
        parse(sent.SerializeToString(), MODEL, MAX_BATCH_SIZE).encode(batch, start, stop, 5)
    )
    whole = expected(batch, start, stop, names, "5")
    for tensor, name, raw in zip(whole.outputs, names, whole.raw_output_contents, strict=True):
        if name in classes:
            datatype, columns = OUTPUTS[name]
            tensor.datatype, tensor.shape[1] = "BYTES", min(classes[name], columns)
            rows = np.frombuffer(raw, np.float32 if datatype == "FP32" else np.uint8).reshape(count, columns)
            index = names.index(name)
            whole.raw_output_contents[index] = b"".join(
                len(text).to_bytes(4, "little") + text
                for row in rows.tolist()
                for text in texts(name, row)[: tensor.shape[1]]
            )
    assert response == whole


def texts(name: str, row: list[float]) -> list[bytes]:
    """Of all columns of a row, the highest first."""
    ranked = sorted(enumerate(row), key=lambda element: -element[1])
    form = {"probabilities": "{0:f}:{1}:{1}", "digit": "{0:d}:{1}"}.get(name, "{0:f}:{1}")
    return [form.format(value, column).encode() for column, value in ranked]


def test_a_form_is_not_remembered_for_another_server() -> None:
    sent = message(pictures(1), model_version="7").SerializeToString()
    assert parse(sent, MODEL, MAX_BATCH_SIZE).count == 1
    with pytest.raises(NotFound, match="there is version '8'"):
        parse(sent, ModelInfo("digits", "8"), MAX_BATCH_SIZE)
