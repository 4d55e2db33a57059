"""What a ModelInferRequest that is not answered is told, word for word."""

import math
from typing import Any

import numpy as np
import pytest

from digits.images.arrays import NORMALIZED, SHAPES
from digits.protos.inference.v2 import inference_pb2 as pb
from digits.serve.errors import InvalidRequest, NotFound
from digits.serve.oip.infer import parse
from digits.serve.oip.model_info import ELEMENTS, ModelInfo

Request = pb.ModelInferRequest
Output = pb.ModelInferRequest.InferRequestedOutputTensor

SHAPE = f"unexpected shape for input 'pixels' for model 'digits'. Expected {SHAPES}, got "
SIZE = "input byte size mismatch for input 'pixels' for model 'digits'. Expected "
BATCH = "inference request batch-size must be "
TYPED = "unexpected explicit tensor data for input tensor 'pixels' for model 'digits'"
NO_INPUT = (
    "expected 1 inputs but got 0 inputs for model 'digits'. Got input(s) [], but missing required input(s) ['pixels']. "
    "Please provide all required input(s)."
)
VALUE = "input 'pixels' for model 'digits': pixel {} of image {} is {}; expected "
OTHER_RANGE = "the request parameter pixel_range '{}' takes the other range"
UP_TO_1 = f"0 to 1; {OTHER_RANGE.format('0-255')}"
OUTPUTS = "['probabilities', 'digit', 'confidence']"


def request(raw: list[bytes] | None = None, outputs: tuple[str, ...] = (), **tensor: Any) -> pb.ModelInferRequest:
    """One image, UINT8 and raw, but for what is said."""
    whole = {"name": "pixels", "datatype": "UINT8", "shape": [1, 28, 28]} | tensor
    return Request(
        model_name="digits",
        inputs=[Request.InferInputTensor(**whole)],
        outputs=[Output(name=name) for name in outputs],
        raw_input_contents=[bytes(784)] if raw is None else raw,
    )


def inputs(count: int) -> pb.ModelInferRequest:
    """A request with so many inputs of the right name."""
    found = request(raw=[bytes(784)] * count)
    del found.inputs[:]
    found.inputs.extend([request().inputs[0]] * count)
    return found


def typed(datatype: str, **contents: Any) -> pb.ModelInferRequest:
    return request(raw=[], datatype=datatype, contents=contents)


def floats(value: float, pixel_range: str = "") -> pb.ModelInferRequest:
    """Two images, FP32, with one pixel of this value."""
    pixels = np.zeros((2, 784), np.float32)
    pixels[1, 3] = value
    found = request(raw=[pixels.tobytes()], datatype="FP32", shape=[2, 784])
    if pixel_range:
        found.parameters["pixel_range"].string_param = pixel_range
    return found


def parameter(name: str, *, output: str = "", **value: Any) -> pb.ModelInferRequest:
    """With a parameter of the request, or of an output."""
    found = request(outputs=(output,) if output else ())
    (found.outputs[0] if output else found).parameters[name].CopyFrom(pb.InferParameter(**value))
    return found


TYPED_IN = f"{TYPED} in {{}}; datatype {{}} is expected in {{}}".format
PARAMETER = "invalid value for '{}' parameter: {}; expected {}".format
PARAMETER_TYPE = "invalid value type for '{}' parameter: string_param; expected int64_param or uint64_param".format
SHARED_MEMORY = "parameter 'shared_memory_region' of {} is not supported; expected none".format
REGION = {"shared_memory_region": pb.InferParameter(string_param="a")}
DATATYPE = f"inference input 'pixels' data-type is 'BYTES', but model 'digits' expects one of {list(ELEMENTS)}"
ODD_PIXEL = [0] * 700 + [300] + [0] * 83

REFUSED = [
    (request(name="x"), "unexpected inference input 'x' for model 'digits'; expected 'pixels'"),
    (request(name="x" * 101), f"unexpected inference input '{'x' * 100}...' for model 'digits'; expected 'pixels'"),
    (inputs(0), NO_INPUT),
    (inputs(2), "input 'pixels' already exists in request: it is there 2 times"),
    (request(datatype="BYTES"), DATATYPE),
    (request(shape=[1, 27, 28]), f"{SHAPE}[1,27,28]"),
    (request(shape=[1, 28, 28, 2]), f"{SHAPE}[1,28,28,2]"),
    (request(shape=[]), f"{SHAPE}[]"),
    (request(shape=[1] * 9), f"{SHAPE}[1,1,1,1,1,1,1,1,...]"),
    (request(shape=[1, -28, -28]), f"{SHAPE}[1,-28,-28]"),
    (request(shape=[0, 784]), f"{BATCH}>= 1 for 'digits', got 0"),
    (request(shape=[-1, 28, 28]), f"{BATCH}>= 1 for 'digits', got -1"),
    (request(shape=[1025, 28, 28]), f"{BATCH}<= 1024 for 'digits', got 1025"),
    (request(shape=[2**62, 28, 28]), f"{BATCH}<= 1024 for 'digits', got {2**62}"),
    (request(raw=[bytes(783)]), f"{SIZE}784, got 783"),
    (request(raw=[]), f"{SIZE}784, got 0"),
    (request(datatype="FP32", shape=[2, 784], raw=[bytes(1568)]), f"{SIZE}6272, got 1568"),
    (typed("UINT8", uint_contents=[0] * 783), f"{SIZE}784, got 783"),
    (typed("FP32", fp32_contents=[0] * 785), f"{SIZE}3136, got 3140"),
    (request(raw=[bytes(784)] * 2), "expected 1 raw_input_contents but got 2 for model 'digits'"),
    (request(contents={"uint_contents": [1] * 784}), f"{TYPED}, binary data was already supplied."),
    (typed("UINT8", int_contents=[1] * 784), TYPED_IN("int_contents", "UINT8", "uint_contents")),
    (typed("FP16", fp32_contents=[0] * 784), TYPED_IN("fp32_contents", "FP16", "raw_input_contents")),
    (typed("UINT8", uint_contents=ODD_PIXEL), f"{VALUE.format(700, 0, 300)}0 to 255"),
    (typed("INT8", int_contents=ODD_PIXEL), f"{VALUE.format(700, 0, 300)}0 to 255"),
    (request(datatype="INT64", raw=[np.full(784, -1).tobytes()]), f"{VALUE.format(0, 0, -1)}0 to 255"),
    (floats(math.nan), f"{VALUE.format(3, 1, 'nan')}0 to 1; {NORMALIZED}"),
    (floats(-math.inf), f"{VALUE.format(3, 1, '-inf')}0 to 1; {NORMALIZED}"),
    (floats(3e38), f"{VALUE.format(3, 1, np.float32(3e38))}0 to 1; {NORMALIZED}"),
    (floats(255), f"{VALUE.format(3, 1, '255.0')}{UP_TO_1}"),
    (floats(-0.4242, "0-255"), f"{VALUE.format(3, 1, np.float32(-0.4242))}0 to 255; {NORMALIZED}"),
    (floats(-1, "0-255"), f"{VALUE.format(3, 1, '-1.0')}0 to 255; {NORMALIZED}"),
    (floats(0, "-1-1"), PARAMETER("pixel_range", "'-1-1'", "'0-1' or '0-255'")),
    (
        request(outputs=("logits",)),
        f"unexpected inference output 'logits' for model 'digits'; expected one of {OUTPUTS}",
    ),
    (request(outputs=("digit", "digit")), "output 'digit' already exists in request"),
    (parameter("classification", output="digit", int64_param=0), PARAMETER("classification", 0, "1 or more")),
    (parameter("classification", output="digit", string_param="3"), PARAMETER_TYPE("classification")),
    (parameter("shared_memory_region", output="digit", string_param="a"), SHARED_MEMORY("output 'digit'")),
    (request(raw=[], parameters=REGION), SHARED_MEMORY("input 'pixels'")),
    (parameter("priority", int64_param=-1), PARAMETER("priority", -1, "0 or more")),
    (parameter("timeout", string_param="1s"), PARAMETER_TYPE("timeout")),
]


@pytest.mark.parametrize(("sent", "text"), REFUSED, ids=[text for _, text in REFUSED])
@pytest.mark.parametrize(("identifier", "called"), [("", "<id_unknown>"), ("call 5", "call 5")])
def test_what_is_wrong_is_said_with_the_value_and_what_is_expected(
    sent: pb.ModelInferRequest, text: str, identifier: str, called: str
) -> None:
    """And with the id of the request, as Triton does."""
    named = Request(id=identifier)
    named.MergeFrom(sent)
    with pytest.raises(InvalidRequest) as caught:
        parse(named.SerializeToString(), ModelInfo("digits", "7"), 1024)
    assert str(caught.value) == f"[request id: {called}] {text}"
    assert caught.value.code == "INVALID_ARGUMENT"


def test_bytes_that_are_no_message_are_named_so() -> None:
    with pytest.raises(InvalidRequest, match=r"^the message is not an inference\.ModelInferRequest: "):
        parse(b"\xff", ModelInfo("digits", "7"), 1024)


@pytest.mark.parametrize(
    ("name", "version", "text"),
    [
        ("x", "", "'x' is not found; there is 'digits'"),
        ("", "", "'' is not found; there is 'digits'"),
        ("digits", "6", "'digits' version '6' is not found; there is version '7'"),
    ],
)
def test_a_model_that_is_not_here_is_not_found(name: str, version: str, text: str) -> None:
    sent = request()
    sent.model_name, sent.model_version = name, version
    with pytest.raises(NotFound) as caught:
        parse(sent.SerializeToString(), ModelInfo("digits", "7"), 1024)
    assert (caught.value.code, str(caught.value)) == ("NOT_FOUND", f"Request for unknown model: {text}")
