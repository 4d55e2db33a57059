"""`Classify` on the wire: request bytes to a Request, its part of a batch's answers to response bytes."""

from collections.abc import Callable

from google.protobuf.message import DecodeError

from digits.protos.digits.v1 import digits_pb2
from digits.serve.errors import InvalidRequest
from digits.serve.job import FOREVER, IMAGE_BYTES, Answers, Request
from digits.serve.pictures import Pictures

ONE_IMAGE = digits_pb2.ClassifyRequest(pixels=bytes(IMAGE_BYTES)).SerializeToString()
MAX_VARINT = 5  # bytes of a length
BEFORE_PIXELS = ONE_IMAGE.removesuffix(bytes(IMAGE_BYTES))


def parse(message: bytes, max_batch_size: int) -> Request:
    """What a ClassifyRequest asks for, which may be Pictures, yet to be decoded.

    Raises:
        InvalidRequest: not a ClassifyRequest, no whole number of images, none, or more than `max_batch_size`.
    """
    if len(message) == len(ONE_IMAGE) and message.startswith(BEFORE_PIXELS):  # most calls are this and nothing else
        return Request(message[len(BEFORE_PIXELS) :], 1, encode)
    if pixels := _nothing_but_pixels(message):
        return _of_pixels(pixels, max_batch_size, encode)
    try:
        request = digits_pb2.ClassifyRequest.FromString(message)
    except DecodeError as error:
        raise InvalidRequest(f"the message is not a digits.v1.ClassifyRequest: {error}") from error
    return understand(request, max_batch_size)


def understand(request: digits_pb2.ClassifyRequest, max_batch_size: int) -> Request:
    """As `parse`, of a message that has been read already."""
    timeout = request.timeout_microseconds / 1e6 or FOREVER
    encoder = encode_with_probabilities if request.include_probabilities else encode
    pixels = request.pixels
    if request.pictures:
        if pixels:
            raise InvalidRequest(f"the call has {len(pixels)} bytes of pixels and pictures too; expected one of them")
        _require_fit(len(request.pictures), "pictures", max_batch_size)
        files = list(request.pictures)
        return Pictures(b"", len(files), encoder, request.priority, timeout, files)
    return _of_pixels(pixels, max_batch_size, encoder, request.priority, timeout)


def encode(answers: Answers, start: int, stop: int, queue_microseconds: int) -> bytes:
    """The ClassifyResponse to images start to stop, cut from the batch's bytes.

    Packed digits are a byte each, since all are below 128, and packed floats are little-endian: what numpy holds is
    what protobuf wants (protobuf.dev, "Encoding"). A message is its fields one after another.
    """
    digits = answers.digits[start:stop]
    confidences = answers.confidences[4 * start : 4 * stop]
    if stop - start == 1:  # lengths of one byte
        return b"\x0a\x01" + digits + b"\x12\x04" + confidences + _tail(answers, queue_microseconds)
    packed = _field(b"\x0a", digits) + _field(b"\x12", confidences)
    return packed + _tail(answers, queue_microseconds)


def encode_with_probabilities(answers: Answers, start: int, stop: int, queue_microseconds: int) -> bytes:
    """As `encode`, and all ten probabilities of each image."""
    probabilities = answers.probabilities[40 * start : 40 * stop]
    return encode(answers, start, stop, queue_microseconds) + _field(b"\x1a", probabilities)


def _tail(answers: Answers, queue_microseconds: int) -> bytes:
    """What all calls have in common that came together and ran together."""
    tail = answers.memo.get(queue_microseconds)
    if tail is None:
        tail = digits_pb2.ClassifyResponse(
            model_version=answers.model_version,
            queue_microseconds=queue_microseconds,
            compute_microseconds=answers.compute_microseconds,
            batch_size=answers.batch_size,
        ).SerializeToString()
        answers.memo[queue_microseconds] = tail
    return tail


def _field(tag: bytes, content: bytes) -> bytes:
    """A length-delimited field; its length as a varint."""
    length, varint = len(content), bytearray()
    while length > 127:  # noqa: PLR2004 seven bits a byte
        varint.append(length & 127 | 128)
        length >>= 7
    varint.append(length)
    return tag + bytes(varint) + content


def _nothing_but_pixels(message: bytes) -> memoryview | None:
    """The pixels of a message that has no other field, where they are: protobuf would copy them twice."""
    if message[:1] != b"\x0a":
        return None
    length, place = 0, 0
    while place < MAX_VARINT:
        place += 1
        byte = message[place] if place < len(message) else 0
        length |= (byte & 127) << 7 * (place - 1)
        if byte < 128:  # noqa: PLR2004 the highest bit says that more follow
            break
    else:
        return None
    pixels = memoryview(message)[place + 1 :]
    return pixels if len(pixels) == length else None


def _of_pixels(
    pixels: bytes | memoryview,
    max_batch_size: int,
    encoder: Callable[[Answers, int, int, int], bytes],
    priority: int = 0,
    timeout: float = FOREVER,
) -> Request:
    count, rest = divmod(len(pixels), IMAGE_BYTES)
    if rest or not count:
        raise InvalidRequest(f"pixels has {len(pixels)} bytes; expected a positive multiple of 784, one byte a pixel")
    _require_fit(count, "pixels", max_batch_size)
    return Request(pixels, count, encoder, priority, timeout)


def _require_fit(count: int, what: str, max_batch_size: int) -> None:
    if count > max_batch_size:
        raise InvalidRequest(f"{what} has {count} images; max_batch_size is {max_batch_size}: split the call")
