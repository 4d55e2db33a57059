"""`ModelInfer` on the wire: request bytes to a Request, which carries the encoder of its response."""

from functools import lru_cache

from digits.protos.inference.v2 import inference_pb2
from digits.serve.errors import CallError, InvalidRequest, read_message
from digits.serve.job import IMAGE_BYTES, Request
from digits.serve.oip.form import Form, read_form
from digits.serve.oip.model_info import ModelInfo, shortened

# Calls differ in their pixels and ids, and little else: the rest of a message, its form, is read once.
remembered_form = lru_cache(maxsize=256)(read_form)
LONGEST_REMEMBERED = 1024  # bytes

# Clients write the raw contents last. OPENING comes before the pixels of one image: their tag and length.
# Messages longer than LONGEST_ONE_IMAGE are not searched for it.
ONE_IMAGE = inference_pb2.ModelInferRequest(raw_input_contents=[bytes(IMAGE_BYTES)]).SerializeToString()
OPENING = ONE_IMAGE.removesuffix(bytes(IMAGE_BYTES))
LONGEST_ONE_IMAGE = len(ONE_IMAGE) + 256


def parse(message: bytes, model: ModelInfo, max_batch_size: int) -> Request:
    """What a ModelInferRequest asks for; `inference.proto` says what it may. Raises InvalidRequest or NotFound."""
    if len(message) <= LONGEST_ONE_IMAGE and message.startswith(OPENING, -len(ONE_IMAGE)):
        opened = opened_by(message[:-IMAGE_BYTES], model, max_batch_size)
        if opened is not None:
            form, identifier = opened
            return form.request(message[-IMAGE_BYTES:], identifier)
    return understand(read_message(inference_pb2.ModelInferRequest, message), model, max_batch_size)


@lru_cache(maxsize=256)
def opened_by(head: bytes, model: ModelInfo, max_batch_size: int) -> tuple[Form, str] | None:
    """The form and the id of every message that is `head` and then the pixels of one image; None if it is no head.

    Without the OPENING at its end it must be a message by itself: then protobuf can read the rest in this way only.
    """
    try:
        request = read_message(inference_pb2.ModelInferRequest, head.removesuffix(OPENING))
        if request.raw_input_contents:
            return None
        identifier = request.id
        form = _form(request, model, max_batch_size)
    except CallError:
        return None
    return (form, identifier) if form.size == IMAGE_BYTES else None


def understand(request: inference_pb2.ModelInferRequest, model: ModelInfo, max_batch_size: int) -> Request:
    """As `parse`, of a message that is read already, and that changes by it."""
    identifier, buffers = request.id, list(request.raw_input_contents)
    contents = None if buffers else inference_pb2.InferTensorContents()
    try:
        if contents is not None and request.inputs:
            contents.CopyFrom(request.inputs[0].contents)
            request.inputs[0].ClearField("contents")
        form = _form(request, model, max_batch_size)
        if len(buffers) > 1:
            raise InvalidRequest(  # noqa: TRY301 completed below
                f"expected 1 raw_input_contents but got {len(buffers)} for model '{model.name}'"
            )
        return form.request(buffers[0] if contents is None else form.from_contents(contents), identifier)
    except InvalidRequest as error:
        called = shortened(identifier) or "<id_unknown>"
        raise InvalidRequest(f"[request id: {called}] {error}") from error


def _form(request: inference_pb2.ModelInferRequest, model: ModelInfo, max_batch_size: int) -> Form:
    """The form of a request, which loses its id and its raw contents."""
    request.ClearField("id")
    request.ClearField("raw_input_contents")
    form = request.SerializeToString()
    return (remembered_form if len(form) <= LONGEST_REMEMBERED else read_form)(form, model, max_batch_size)
