"""`Classify` on the wire: request bytes to a Request, its part of a batch's answers to response bytes."""

from functools import lru_cache, partial

import numpy as np

from digits.protos.digits.v1 import digits_pb2
from digits.serve.errors import InvalidRequest, read_message
from digits.serve.job import FOREVER, IMAGE_BYTES, Answers, Encode, Request
from digits.serve.pictures import Pictures

ONE_IMAGE = digits_pb2.ClassifyRequest(pixels=bytes(IMAGE_BYTES)).SerializeToString()
BEFORE_PIXELS = ONE_IMAGE.removesuffix(bytes(IMAGE_BYTES))
MAX_VARINT = 5  # bytes of a length
PIXELS, DIGITS, CONFIDENCES, PROBABILITIES = b"\x0a", b"\x0a", b"\x12", b"\x1a"  # tags of the fields
NOVELTIES, NOT_A_DIGIT = b"\x42", b"\x52"
NO_TAG = b"\x00"


def parse(message: bytes, max_batch_size: int) -> Request:
    """What a ClassifyRequest asks for, which may be Pictures, yet to be decoded. Raises InvalidRequest."""
    if len(message) == len(ONE_IMAGE) and message.startswith(BEFORE_PIXELS):  # most calls
        return Request(message[len(BEFORE_PIXELS) :], 1, encode)
    head = _before_pixels(len(message))
    if message.startswith(head):  # protobuf would copy the pixels twice
        return _of_pixels(memoryview(message)[len(head) :], max_batch_size, encode)
    return understand(read_message(digits_pb2.ClassifyRequest, message), max_batch_size)


def understand(request: digits_pb2.ClassifyRequest, max_batch_size: int) -> Request:
    """As `parse`, of a message that is read already."""
    timeout = request.timeout_microseconds / 1e6 or FOREVER
    encoder = encode_with_probabilities if request.include_probabilities else encode
    pixels = request.pixels
    if request.pictures:
        if pixels:
            raise InvalidRequest(f"the call has {len(pixels)} bytes of pixels and pictures too; expected one of them")
        _require_fit(len(request.pictures), "pictures", max_batch_size)
        files = list(request.pictures)
        return Pictures(b"", len(files), partial(encode_pictures, encoder), request.priority, timeout, files)
    return _of_pixels(pixels, max_batch_size, encoder, request.priority, timeout)


def encode(answers: Answers, start: int, stop: int, queue_microseconds: int) -> bytes:
    """The ClassifyResponse to images start to stop, cut from the batch's bytes.

    Packed digits are a byte each, since all are below 128, and packed floats are little-endian: numpy's memory is what
    protobuf expects (protobuf.dev, "Encoding"). A message is its fields one after another.
    """
    digits = answers.digits[start:stop]
    confidences = answers.confidences[4 * start : 4 * stop]
    novelties = answers.novelties[4 * start : 4 * stop]
    tail = _tail(answers, queue_microseconds)
    if stop - start == 1:  # lengths of one byte
        novelty = b"\x42\x04" + novelties if novelties else b""
        return b"\x0a\x01" + digits + b"\x12\x04" + confidences + novelty + tail
    novelty = _packed(NOVELTIES, novelties) if novelties else b""
    return _packed(DIGITS, digits) + _packed(CONFIDENCES, confidences) + novelty + tail


def encode_with_probabilities(answers: Answers, start: int, stop: int, queue_microseconds: int) -> bytes:
    """As `encode`, and all ten probabilities of each image."""
    probabilities = answers.probabilities[40 * start : 40 * stop]
    return encode(answers, start, stop, queue_microseconds) + _packed(PROBABILITIES, probabilities)


def encode_pictures(encoder: Encode, answers: Answers, start: int, stop: int, queue_microseconds: int) -> bytes:
    """As the encoder, and for each picture whether it does not show a digit, if the model has novelty."""
    response = encoder(answers, start, stop, queue_microseconds)
    if answers.novelty_threshold is None:
        return response
    novelties = np.frombuffer(answers.novelties[4 * start : 4 * stop], "<f4")
    rejected = (novelties > np.float32(answers.novelty_threshold)).tobytes()
    return response + _packed(NOT_A_DIGIT, rejected)


def _tail(answers: Answers, queue_microseconds: int) -> bytes:
    """What all calls that came together and ran together have in common."""
    tail = answers.memo.get(queue_microseconds)
    if tail is None:
        tail = digits_pb2.ClassifyResponse(
            model_version=answers.model_version,
            queue_microseconds=queue_microseconds,
            compute_microseconds=answers.compute_microseconds,
            batch_size=answers.batch_size,
            novelty_threshold=answers.novelty_threshold,
        ).SerializeToString()
        answers.memo[queue_microseconds] = tail
    return tail


def _packed(tag: bytes, elements: bytes) -> bytes:
    return tag + _varint(len(elements)) + elements


@lru_cache(maxsize=1024)
def _before_pixels(size: int) -> bytes:
    """The start of every message of `size` bytes that has pixels and no other field: their tag and length."""
    for length in range(max(0, size - 1 - MAX_VARINT), size):
        head = PIXELS + _varint(length)
        if len(head) + length == size:
            return head
    return NO_TAG


@lru_cache(maxsize=1024)
def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    varint = bytearray()
    while number > 127:  # noqa: PLR2004
        varint.append(number & 127 | 128)
        number >>= 7
    return bytes([*varint, number])


def _of_pixels(
    pixels: bytes | memoryview, max_batch_size: int, encoder: Encode, priority: int = 0, timeout: float = FOREVER
) -> Request:
    count, rest = divmod(len(pixels), IMAGE_BYTES)
    if rest or not count:
        raise InvalidRequest(f"pixels has {len(pixels)} bytes; expected a positive multiple of 784, one byte a pixel")
    _require_fit(count, "pixels", max_batch_size)
    return Request(pixels, count, encoder, priority, timeout)


def _require_fit(count: int, what: str, max_batch_size: int) -> None:
    if count > max_batch_size:
        raise InvalidRequest(f"{what} has {count} images; max_batch_size is {max_batch_size}: split the call")
