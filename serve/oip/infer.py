"""`ModelInfer` on the wire: request bytes to a Request, which carries the encoder of its response."""

from functools import lru_cache

from google.protobuf.message import DecodeError

from digits.protos.inference.v2 import inference_pb2
from digits.serve.errors import CallError, InvalidRequest
from digits.serve.job import IMAGE_BYTES, Request
from digits.serve.oip.form import Form, read_form
from digits.serve.oip.model_info import ModelInfo, shortened

# Calls differ in their pixels and ids, and little else: what is left of a message, its form, is read once.
remembered_form = lru_cache(maxsize=256)(read_form)
LONGEST_REMEMBERED = 1024  # bytes

# Clients write the raw contents last. What comes before the pixels of one image, their tag and length, and how long a
# message may be that is tried for it.
ONE_IMAGE = inference_pb2.ModelInferRequest(raw_input_contents=[bytes(IMAGE_BYTES)]).SerializeToString()
OPENING = ONE_IMAGE.removesuffix(bytes(IMAGE_BYTES))
LONGEST_ONE_IMAGE = len(ONE_IMAGE) + 256


def parse(message: bytes, model: ModelInfo, max_batch_size: int) -> Request:
    """What a ModelInferRequest asks for; `inference.proto` says what it may.

    Raises:
        InvalidRequest: not a ModelInferRequest, or not one for this model.
        NotFound: for another model, or another version.
    """
    if len(message) <= LONGEST_ONE_IMAGE and message.startswith(OPENING, -len(ONE_IMAGE)):
        opened = opened_by(message[:-IMAGE_BYTES], model, max_batch_size)
        if opened is not None:
            form, identifier = opened
            return form.request(message[-IMAGE_BYTES:], identifier)
    return understand(read(message), model, max_batch_size)


@lru_cache(maxsize=256)
def opened_by(head: bytes, model: ModelInfo, max_batch_size: int) -> tuple[Form, str] | None:
    """The form and the id of every message that is `head` and then the pixels of one image; None if there is none.

    Without the OPENING at its end it must be a message by itself: then protobuf can read the rest in this way only.
    """
    try:
        request = inference_pb2.ModelInferRequest.FromString(head.removesuffix(OPENING))
        if request.raw_input_contents:
            return None
        identifier = request.id
        form = _form(request, model, max_batch_size)
    except (DecodeError, CallError):
        return None
    return (form, identifier) if form.pixels.size == IMAGE_BYTES else None


def read(message: bytes) -> inference_pb2.ModelInferRequest:
    """Raises InvalidRequest if it is another message."""
    try:
        return inference_pb2.ModelInferRequest.FromString(message)
    except DecodeError as error:
        raise InvalidRequest(f"the message is not an inference.ModelInferRequest: {error}") from error


def understand(request: inference_pb2.ModelInferRequest, model: ModelInfo, max_batch_size: int) -> Request:
    """As `parse`, of a message that is read already, and that changes by it."""
    identifier = request.id
    try:
        buffers = request.raw_input_contents
        if len(buffers) == 1:
            data = buffers[0]
            return _form(request, model, max_batch_size).request(data, identifier)
        return _without_raw(request, model, max_batch_size)
    except InvalidRequest as error:
        called = shortened(identifier) or "<id_unknown>"
        raise InvalidRequest(f"[request id: {called}] {error}") from error


def _form(request: inference_pb2.ModelInferRequest, model: ModelInfo, max_batch_size: int) -> Form:
    """The form of a request, which loses its id and its raw contents."""
    request.ClearField("id")
    request.ClearField("raw_input_contents")
    form = request.SerializeToString()
    return (remembered_form if len(form) <= LONGEST_REMEMBERED else read_form)(form, model, max_batch_size)


def _without_raw(request: inference_pb2.ModelInferRequest, model: ModelInfo, max_batch_size: int) -> Request:
    """Of a message whose pixels are typed, or that has too many raw ones."""
    identifier, buffers = request.id, len(request.raw_input_contents)
    contents = inference_pb2.InferTensorContents()
    if not buffers and request.inputs:
        contents.CopyFrom(request.inputs[0].contents)
        request.inputs[0].ClearField("contents")
    form = _form(request, model, max_batch_size)
    if buffers:
        raise InvalidRequest(f"expected 1 raw_input_contents but got {buffers} for model '{model.name}'")
    return form.request(form.pixels.from_contents(contents), identifier)
